//! Real destinations of remote write end up with every stored sample, whatever is stopped or killed meanwhile.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::remote::{Kind, Samples, of_query};
use tests::settings::number;
use tests::{AgentPlan, Api, BridgePlan, Part, Remote, Site, check, oracle, programs};

use super::promtool::{check_metrics, promtool};

/// A short deadline, so that tests do not wait for full requests.
fn queue() -> serde_json::Value {
    json!({"batch_send_deadline": "500ms", "max_backoff": "1s"})
}

fn stored(site: &Site, device: &str) -> Samples {
    let selector = format!("{}{{device_id=\"{device}\"}}", oracle::METRIC);
    of_query(&site.api(), &selector).expect("a query for the device's samples")
}

fn ready(site: &Site, remote: &Remote) {
    site.wait_until(
        &format!("{} answers", remote.name),
        Duration::from_secs(60),
        || remote.samples("nobody").is_ok_and(|samples| samples.is_empty()),
    );
}

/// Waits until a destination has passed everything that is stored, and checks that its counters add up.
fn passed_all(site: &Site, name: &str, plans: &[&AgentPlan], patience: Duration) -> tests::api::Passed {
    let total = || -> Option<u64> {
        let of = |id: &str| site.api().device(id).ok().map(|d| d.samples.stored);
        plans
            .iter()
            .flat_map(|plan| plan.names())
            .map(|n| of(n.device().as_str()))
            .sum()
    };
    site.wait_until(&format!("{name} has passed everything"), patience, || {
        let passed = site.api().destination(name).map(|d| d.samples.passed);
        passed.ok() == total()
    });
    let samples = site.api().destination(name).unwrap().samples;
    assert_eq!(
        samples.passed,
        samples.sent + samples.dropped.values().sum::<u64>()
    );
    samples
}

/// What was stored and is not there, or is there and was not stored.
fn difference(site: &Site, remote: &Remote, plan: &AgentPlan) -> Vec<String> {
    let mut found = Vec::new();
    for name in plan.names() {
        let id = name.device().as_str();
        let stored = stored(site, id);
        let there = match remote.samples(id) {
            Ok(there) => there,
            Err(error) => return vec![error],
        };
        assert!(!stored.is_empty());
        let missing = stored.iter().filter(|(key, value)| there.get(key) != Some(value));
        let more = there.iter().filter(|(key, _)| !stored.contains_key(key));
        found.extend(missing.map(|sample| format!("{id} lacks {sample:?}")));
        found.extend(more.map(|sample| format!("{id} has {sample:?} too much")));
    }
    found
}

#[test]
fn destinations_that_were_stopped_get_everything_though_the_bridge_was_killed_meanwhile() {
    let remotes = Remote::installed();
    if remotes.is_empty() {
        return;
    }
    let seconds: u64 = number("BACKHAUL_FORWARD_SECONDS", 6);
    let site = Site::new(programs!());
    let to = |remote: &Remote| json!({"name": remote.name, "url": remote.url(), "queue_config": queue(), "external_labels": {"site": "a"}});
    let settings = BridgePlan {
        remote_write: remotes.iter().map(to).collect(),
        // Sealed blocks take files out of the journal as soon as no cursor needs them.
        busy: true,
        ..BridgePlan::default()
    };
    let plan = AgentPlan::new("forward").times(3);
    site.issue(&plan);
    let start = || {
        remotes
            .iter()
            .map(|remote| remote.start(&site))
            .collect::<Vec<Part>>()
    };
    let mut running = start();
    remotes.iter().for_each(|remote| ready(&site, remote));
    let _broker = site.start_broker();
    let mut bridge = site.start_bridge_as(&settings);
    let _agent = site.start_agent(&plan);
    let has_some = |remote: &Remote| {
        remote
            .samples("forward-0")
            .is_ok_and(|samples| !samples.is_empty())
    };
    site.wait_until("destinations get samples", Duration::from_secs(60), || {
        remotes.iter().all(has_some)
    });

    for (remote, part) in remotes.iter().zip(&mut running) {
        remote.stop(part);
    }
    std::thread::sleep(Duration::from_millis(seconds * 500));
    bridge.kill();
    bridge = site.start_bridge_as(&settings);
    std::thread::sleep(Duration::from_millis(seconds * 500));
    let errors = |remote: &Remote| {
        site.api()
            .destination(&remote.name)
            .is_ok_and(|d| d.error.is_some())
    };
    site.wait_until("the bridge says what is wrong", Duration::from_secs(30), || {
        remotes.iter().all(errors)
    });
    running = start();
    remotes
        .iter()
        .for_each(|remote| site.wait_until("it answers", Duration::from_secs(60), || has_some(remote)));
    // Once more while it catches up.
    std::thread::sleep(Duration::from_millis(300));
    bridge.kill();
    let _bridge = site.start_bridge_as(&settings);

    check::drained(&site, &[&plan], Duration::from_secs(60));
    for remote in &remotes {
        let samples = passed_all(&site, &remote.name, &[&plan], Duration::from_secs(60));
        let mut difference = difference(&site, remote, &plan);
        difference.truncate(10);
        assert!(
            difference.is_empty(),
            "{}: {difference:?} {samples:?}",
            remote.name
        );
        assert!(samples.dropped.is_empty(), "{}: {samples:?}", remote.name);
        let speaks = site.api().destination(&remote.name).unwrap().protobuf_message;
        println!("{}: {} samples in {speaks}", remote.name, samples.sent);
        let knows_2_0 = remote.name == "newer-prometheus";
        assert_eq!(
            speaks == "io.prometheus.write.v2.Request",
            knows_2_0,
            "{}",
            remote.name
        );
    }
    running
        .iter_mut()
        .for_each(|part| part.terminate(Duration::from_secs(60)));
}

#[test]
fn a_destination_that_refuses_old_samples_gets_all_others_and_rules_drop_what_they_say() {
    let remotes: Vec<Remote> = Remote::installed()
        .into_iter()
        .filter(|remote| remote.kind == Kind::Prometheus)
        .map(Remote::in_order)
        .collect();
    if remotes.is_empty() {
        return;
    }
    let site = Site::new(programs!());
    let drop_some = json!([
        {"source_labels": ["n"], "regex": "1[0-9]", "action": "drop"},
        {"regex": "job", "action": "labeldrop"},
    ]);
    let to = |remote: &Remote| json!({"name": remote.name, "url": remote.url(), "queue_config": queue(), "write_relabel_configs": drop_some});
    let settings = BridgePlan {
        remote_write: remotes.iter().map(to).collect(),
        ..BridgePlan::default()
    };
    let fresh = AgentPlan::new("fresh");
    // Prometheus takes what is at most an hour older than its newest sample, as long as it has not been compacted.
    let old = AgentPlan {
        past_rows: 180,
        past_interval_ms: 60_000,
        ..AgentPlan::new("old")
    };
    site.issue(&fresh);
    site.issue(&old);
    let _running: Vec<Part> = remotes.iter().map(|remote| remote.start(&site)).collect();
    remotes.iter().for_each(|remote| ready(&site, remote));
    let _parts = (
        site.start_broker(),
        site.start_bridge_as(&settings),
        site.start_agent(&fresh),
    );
    let has_some = |remote: &Remote| remote.samples("fresh").is_ok_and(|samples| !samples.is_empty());
    site.wait_until("destinations get samples", Duration::from_secs(60), || {
        remotes.iter().all(has_some)
    });
    let _old = site.start_agent(&old);
    site.wait_until("the old samples come", Duration::from_secs(60), || {
        site.status(&old.name()).acked > 3600
    });
    check::drained(&site, &[&fresh, &old], Duration::from_secs(60));
    for remote in &remotes {
        let samples = passed_all(&site, &remote.name, &[&fresh, &old], Duration::from_secs(60));
        println!("{}: {samples:?}", remote.name);
        // Ten series of twenty are dropped by rule.
        assert_eq!(samples.dropped("relabel") * 2, samples.passed);
        assert!(samples.dropped("refused") > 500, "{samples:?}");
        let of = |id: &str| remote.samples(id).unwrap();
        let (fresh_there, old_there) = (of("fresh"), of("old"));
        let kept =
            |stored: Samples| -> Samples { stored.into_iter().filter(|((n, _), _)| *n < 10).collect() };
        assert_eq!(fresh_there, kept(stored(&site, "fresh")));
        let old_stored = kept(stored(&site, "old"));
        assert!(
            old_there
                .iter()
                .all(|(key, value)| old_stored.get(key) == Some(value))
        );
        let missing = (old_stored.len() - old_there.len()) as u64;
        assert_eq!(missing, samples.dropped("refused"), "{samples:?}");
        assert_eq!((fresh_there.len() + old_there.len()) as u64, samples.sent);
        let api = remote.api();
        assert_eq!(api.query("count(oracle_value{job!=\"\"})").unwrap(), []);
    }
}

#[test]
fn a_backlog_over_its_budget_is_skipped_counted_and_declared() {
    let Some(remote) = Remote::prometheus() else {
        return;
    };
    let site = Site::new(programs!());
    let settings = BridgePlan {
        remote_write: json!([{
            "name": "p", "url": remote.url(), "queue_config": queue(), "max_backlog_bytes": "300KB",
        }]),
        journal_file_bytes: Some(30_000),
        ..BridgePlan::default()
    };
    let plan = AgentPlan {
        interval_ms: 20,
        series: 200,
        ..AgentPlan::new("gap")
    };
    site.issue(&plan);
    let mut running = remote.start(&site);
    ready(&site, &remote);
    let _parts = (
        site.start_broker(),
        site.start_bridge_as(&settings),
        site.start_agent(&plan),
    );
    let sent = || site.api().destination("p").map_or(0, |d| d.samples.sent);
    site.wait_until("samples are sent", Duration::from_secs(60), || sent() > 0);
    // Of a request under way when it is stopped or given up, nobody would know whether it was taken.
    let pause = || {
        site.pause(true);
        site.wait_until("all is delivered", Duration::from_secs(60), || {
            let status = site.status(&plan.name());
            status.paused && status.pending_records == 0
        });
    };
    pause();
    passed_all(&site, "p", &[&plan], Duration::from_secs(60));
    remote.stop(&mut running);
    site.pause(false);
    site.wait_until("a gap is declared", Duration::from_secs(120), || {
        site.api().destination("p").is_ok_and(|d| !d.gaps.is_empty())
    });
    pause();
    // The bridge looks at the budget every second: what is to be skipped is skipped before the destination is back.
    let passed = || site.api().destination("p").map(|d| d.samples.passed);
    let (mut before, mut since) = (passed(), Instant::now());
    site.wait_until("nothing more is skipped", Duration::from_secs(60), || {
        let now = passed();
        if now != before {
            (before, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_secs(5)
    });
    let metric = "backhaul_remote_write_samples_dropped_total";
    let before = sent();
    let _running = remote.start(&site);
    site.wait_until("samples are sent again", Duration::from_secs(60), || {
        sent() > before
    });
    check::drained(&site, &[&plan], Duration::from_secs(60));
    let samples = passed_all(&site, "p", &[&plan], Duration::from_secs(60));
    let gaps = site.api().destination("p").unwrap().gaps;
    println!("{samples:?} {gaps:?}");
    let skipped = samples.dropped("backlog");
    assert!(skipped > 0 && samples.dropped.len() == 1, "{samples:?}");
    assert_eq!(gaps.iter().map(|gap| gap.samples).sum::<u64>(), skipped);
    assert_eq!(remote.samples("gap").unwrap().len() as u64, samples.sent);
    let url = remote.url();
    let series = format!("{metric}{{reason=\"backlog\",remote_name=\"p\",url=\"{url}\"}}");
    assert_eq!(site.api().metric(&series).unwrap(), skipped as f64);
    if promtool(&["--version"]).is_some() {
        check_metrics(&site.api().get("/metrics", &[]).unwrap().1);
    }
}

#[test]
fn acks_wait_for_the_destination_that_is_named() {
    let Some(remote) = Remote::prometheus() else {
        return;
    };
    let site = Site::new(programs!());
    let settings = BridgePlan {
        remote_write: json!([{"name": "p", "url": remote.url(), "queue_config": queue()}]),
        ack_after: Some("p".to_owned()),
        ..BridgePlan::default()
    };
    let plan = AgentPlan::new("held");
    site.issue(&plan);
    let mut running = remote.start(&site);
    ready(&site, &remote);
    let _broker = site.start_broker();
    let mut bridge = site.start_bridge_as(&settings);
    let _agent = site.start_agent(&plan);
    let acked = || site.status(&plan.name()).acked;
    site.wait_until("the device is acked", Duration::from_secs(60), || acked() > 0);
    remote.stop(&mut running);
    let api: Api = site.api();
    site.wait_until("the bridge finds it gone", Duration::from_secs(60), || {
        api.destination("p").is_ok_and(|d| d.error.is_some())
    });
    // Acks under way arrive.
    std::thread::sleep(Duration::from_secs(5));
    let stored = || api.device("held").map_or(0, |d| d.samples.stored);
    let (before, stored_before) = (acked(), stored());
    site.wait_until("more is stored", Duration::from_secs(30), || {
        stored() > stored_before + 200
    });
    // Neither now nor after a restart is what only the journal has acked.
    bridge.kill();
    let _bridge = site.start_bridge_as(&settings);
    site.wait_until("more is stored", Duration::from_secs(60), || {
        stored() > stored_before + 400
    });
    std::thread::sleep(Duration::from_secs(3));
    assert!(site.status(&plan.name()).connected);
    assert_eq!(acked(), before, "{} are stored", stored());
    let _running = remote.start(&site);
    site.wait_until("the device is acked again", Duration::from_secs(60), || {
        acked() > before
    });
    check::drained(&site, &[&plan], Duration::from_secs(90));
    check::delivered(&site, &plan);
    assert_eq!(difference(&site, &remote, &plan), Vec::<String>::new());
}

#[test]
fn a_destination_behind_mutual_tls_is_verified_and_gets_everything() {
    let Some(remote) = Remote::prometheus() else {
        return;
    };
    let remote = remote.behind_tls();
    let site = Site::new(programs!());
    let to = |name: &str, tls: serde_json::Value| json!({"name": name, "url": remote.url(), "queue_config": queue(), "tls_config": tls});
    let with = |server_name: &str| {
        json!({
            "ca_file": "certs/ca.crt", "cert_file": "certs/bridge.crt", "key_file": "certs/bridge.key",
            "server_name": server_name,
        })
    };
    let settings = BridgePlan {
        remote_write: json!([
            to("right", with("localhost")),
            to("wrong name", with("other.example")),
            to(
                "no certificate",
                json!({"ca_file": "certs/ca.crt", "server_name": "localhost"})
            ),
            to("no CA", json!({})),
        ]),
        ..BridgePlan::default()
    };
    let plan = AgentPlan::new("tls");
    site.issue(&plan);
    let _running = remote.start(&site);
    let _parts = (
        site.start_broker(),
        site.start_bridge_as(&settings),
        site.start_agent(&plan),
    );
    let destination = |name: &str| site.api().destination(name);
    site.wait_until("samples are sent", Duration::from_secs(60), || {
        destination("right").is_ok_and(|d| d.samples.sent > 100)
    });
    check::drained(&site, &[&plan], Duration::from_secs(60));
    let samples = passed_all(&site, "right", &[&plan], Duration::from_secs(60));
    assert!(samples.dropped.is_empty(), "{samples:?}");
    for name in ["wrong name", "no certificate", "no CA"] {
        site.wait_until("it says why", Duration::from_secs(30), || {
            destination(name).is_ok_and(|d| d.error.is_some())
        });
        let other = destination(name).unwrap();
        println!("{name}: {:?}", other.error);
        assert_eq!(
            (other.samples.sent, other.samples.dropped.len()),
            (0, 0),
            "{name}"
        );
    }
}
