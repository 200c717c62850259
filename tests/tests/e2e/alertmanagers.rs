//! A real cluster of three Alertmanagers, gossiping: what devices raise reaches a webhook once, with its true times,
//! whoever is killed meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::link::Quality;
use tests::settings::{number, seed};
use tests::site::{free_port, now};
use tests::{Api, BridgePlan, Link, Part, Site};
use wire::time::{parse_rfc3339, rfc3339_of};

use super::device_alerts::{alert, site, start_daemon};

const PATIENCE: Duration = Duration::from_secs(60);

/// How long an Alertmanager waits for each peer before it; notifications of one group are this far apart at most. On a busy
/// machine, gossip of one second ago is not everywhere, and they repeat one another; by itself it is 15 seconds.
const PEER_TIMEOUT: Duration = Duration::from_secs(3);

/// How often an Alertmanager looks at a group: longer than the last of three waits for its peers. It waits with what it knew
/// when it looked, so that one whose looks were not at the times of the others' would page again what is over meanwhile.
const GROUP_INTERVAL: Duration = Duration::from_secs(10);

/// Whether a program is there; says that it is not.
pub(super) fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        println!("skipped: {program} is not installed; Debian has it in prometheus-alertmanager");
    }
    found
}

/// What a webhook receiver got: of each alert by name, its notifications.
type Got = Arc<Mutex<BTreeMap<String, Vec<Notice>>>>;

#[derive(Debug, Clone)]
struct Notice {
    status: String,
    start: String,
    /// The Alertmanager's URL.
    by: String,
}

/// A webhook receiver.
pub(super) struct Webhook {
    port: u16,
    got: Got,
}

impl Webhook {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let got = Got::default();
        let into = Arc::clone(&got);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let into = Arc::clone(&into);
                thread::spawn(move || while take(&stream, &into).is_some() {});
            }
        });
        Webhook { port, got }
    }

    fn of(&self, name: &str) -> Vec<Notice> {
        self.got.lock().unwrap().get(name).cloned().unwrap_or_default()
    }

    pub(super) fn count(&self, name: &str, status: &str) -> usize {
        self.of(name)
            .iter()
            .filter(|notice| notice.status == status)
            .count()
    }

    /// How often the Alertmanager of a port told a status.
    fn count_by(&self, port: u16, name: &str, status: &str) -> usize {
        let end = format!(":{port}");
        let by_it = |notice: &&Notice| notice.status == status && notice.by.ends_with(&end);
        self.of(name).iter().filter(by_it).count()
    }
}

/// Takes one request of a connection; `None`: it is over.
fn take(mut stream: &TcpStream, got: &Got) -> Option<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))?;
    let mut body = vec![0; length.trim().parse().ok()?];
    stream.read_exact(&mut body).ok()?;
    let page: Value = serde_json::from_slice(&body).ok()?;
    for alert in page["alerts"].as_array()? {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name = text(&alert["labels"]["alertname"]);
        let notice = Notice {
            status: text(&alert["status"]),
            start: text(&alert["startsAt"]),
            by: text(&page["externalURL"]),
        };
        got.lock().unwrap().entry(name).or_default().push(notice);
    }
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .ok()
}

/// Three Alertmanagers of a site.
pub(super) struct Cluster {
    http: Vec<u16>,
    gossip: Vec<u16>,
    running: Vec<Option<Part>>,
    /// How often each was killed.
    killed: [usize; 3],
}

impl Cluster {
    pub(super) fn start(site: &Site, webhook: &Webhook) -> Self {
        let config = format!(
            "route: {{receiver: hook, group_by: [alertname, device_id], group_wait: 1s, \
             group_interval: {interval}s, repeat_interval: 4h}}\n\
             receivers:\n- name: hook\n  webhook_configs:\n  - {{url: 'http://127.0.0.1:{port}/', send_resolved: true}}\n",
            interval = GROUP_INTERVAL.as_secs(),
            port = webhook.port
        );
        fs::write(site.path().join("alertmanager.yml"), config).unwrap();
        let mut cluster = Cluster {
            http: (0..3).map(|_| free_port()).collect(),
            gossip: (0..3).map(|_| free_port()).collect(),
            running: vec![None, None, None],
            killed: [0; 3],
        };
        for n in 0..3 {
            cluster.run(site, n);
        }
        for port in &cluster.http {
            site.wait_until("an Alertmanager is ready", PATIENCE, || {
                Api::new(*port).is_ready()
            });
        }
        let peers = |port: &u16| {
            let (_, body) = Api::new(*port).get("/api/v2/status", &[]).ok()?;
            let status: Value = serde_json::from_str(&body).ok()?;
            Some(status["cluster"]["peers"].as_array()?.len())
        };
        site.wait_until("they know each other", PATIENCE, || {
            cluster.http.iter().all(|port| peers(port) == Some(3))
        });
        cluster
    }

    fn run(&mut self, site: &Site, n: usize) {
        let dir = site.path();
        let mut args = vec![
            format!("--config.file={}", dir.join("alertmanager.yml").display()),
            format!(
                "--storage.path={}",
                dir.join(format!("alertmanager-{n}")).display()
            ),
            format!("--web.listen-address=127.0.0.1:{}", self.http[n]),
            format!("--cluster.listen-address=127.0.0.1:{}", self.gossip[n]),
            format!("--cluster.peer-timeout={}s", PEER_TIMEOUT.as_secs()),
            "--cluster.gossip-interval=50ms".to_owned(),
            "--cluster.settle-timeout=5s".to_owned(),
        ];
        let others = (0..3).filter(|peer| *peer != n);
        args.extend(others.map(|peer| format!("--cluster.peer=127.0.0.1:{}", self.gossip[peer])));
        let name = format!("alertmanager-{n}");
        let part = Part::start(&name, "prometheus-alertmanager".as_ref(), &args, &site.log(&name));
        self.running[n] = Some(part);
    }

    /// The section of a bridge that tells all of them, and shows short alerts for a time that fits the cluster's: they end
    /// midway between two looks at their group.
    fn alerting(&self) -> Value {
        let targets: Vec<String> = self.http.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        json!({
            "min_firing": "15s",
            "alertmanagers": [{"timeout": "2s", "static_configs": [{"targets": targets}]}],
        })
    }

    pub(super) fn plan(&self) -> BridgePlan {
        BridgePlan {
            alerting: self.alerting(),
            ..BridgePlan::default()
        }
    }
}

pub(super) fn post(site: &Site, alerts: &Value) {
    site.wait_until("the agent takes an alert", PATIENCE, || {
        matches!(
            site.daemon_api().post_json("/api/v2/alerts", alerts),
            Ok((200, _))
        )
    });
}

#[test]
fn an_alert_raised_offline_an_hour_ago_pages_once_with_its_true_start() {
    if !has("prometheus-alertmanager") {
        return;
    }
    let (site, config) = site("offline-1");
    let webhook = Webhook::start();
    let cluster = Cluster::start(&site, &webhook);
    let _bridge = site.start_bridge_as(&cluster.plan());
    let _daemon = start_daemon(&site, &config);
    let hour_ago = now().ms() - 3_600_000;
    post(&site, &alert("Fires", hour_ago, now().ms() + 3_600_000));
    // It came and went while nobody could hear it.
    post(&site, &alert("Gone", hour_ago, now().ms() + 3_600_000));
    post(&site, &alert("Gone", hour_ago, hour_ago + 60_000));
    thread::sleep(Duration::from_secs(2));
    assert!(webhook.got.lock().unwrap().is_empty());

    let _broker = site.start_broker();
    site.wait_until("both have paged, and one is over", PATIENCE, || {
        webhook.count("Fires", "firing") > 0 && webhook.count("Gone", "resolved") > 0
    });
    // Whoever would repeat it has done so by then.
    thread::sleep(GROUP_INTERVAL + PEER_TIMEOUT * 3);
    let start = |name: &str| -> Vec<Option<i64>> {
        webhook
            .of(name)
            .iter()
            .map(|notice| parse_rfc3339(&notice.start))
            .collect()
    };
    assert_eq!(webhook.count("Fires", "firing"), 1, "{:?}", webhook.of("Fires"));
    assert_eq!(start("Fires"), [Some(hour_ago)]);
    assert_eq!(webhook.of("Gone").len(), 2, "{:?}", webhook.of("Gone"));
    assert_eq!(start("Gone"), [Some(hour_ago); 2]);
    let device = site.api().device("offline-1").unwrap();
    assert_eq!((device.alerts_firing, device.alerts_pending), (1, 0));
}

/// Who is killed next, and comes back.
fn strike(site: &Site, cluster: &mut Cluster, parts: &mut [Part; 3], config: &std::path::Path, who: usize) {
    match who {
        0 => parts[0] = again(&mut parts[0], || site.start_broker()),
        1 => {
            let plan = cluster.plan();
            parts[1] = again(&mut parts[1], || site.start_bridge_as(&plan));
        }
        2 => parts[2] = again(&mut parts[2], || site.start_daemon(config)),
        more => {
            let n = more - 3;
            if let Some(mut part) = cluster.running[n].take() {
                part.kill();
            }
            cluster.killed[n] += 1;
            thread::sleep(Duration::from_millis(fastrand::u64(0..2000)));
            cluster.run(site, n);
        }
    }
}

fn again(part: &mut Part, start: impl FnOnce() -> Part) -> Part {
    part.kill();
    thread::sleep(Duration::from_millis(fastrand::u64(0..1500)));
    start()
}

#[test]
fn no_life_cycle_is_lost_whoever_is_killed() {
    if !has("prometheus-alertmanager") {
        return;
    }
    let seed = seed();
    fastrand::seed(seed);
    println!("seed {seed}");
    let cycles: usize = number("BACKHAUL_ALERT_CYCLES", 12);
    let (site, config) = site("cycles-1");
    let webhook = Webhook::start();
    let mut cluster = Cluster::start(&site, &webhook);
    let broker = site.start_broker();
    let bridge = site.start_bridge_as(&cluster.plan());
    let daemon = start_daemon(&site, &config);
    let mut parts = [broker, bridge, daemon];
    let name = |n: usize| format!("Cycle{n}");
    for begin in (0..cycles).step_by(4) {
        let these = begin..(begin + 4).min(cycles);
        let starts = now().ms();
        for n in these.clone() {
            post(&site, &alert(&name(n), starts, starts + 3_600_000));
            if fastrand::bool() {
                let who = fastrand::usize(0..6);
                strike(&site, &mut cluster, &mut parts, &config, who);
            }
        }
        thread::sleep(Duration::from_millis(fastrand::u64(0..3000)));
        for n in these {
            post(&site, &alert(&name(n), starts, now().ms()));
        }
    }
    let all = |status: &str| (0..cycles).all(|n| webhook.count(&name(n), status) > 0);
    let began = Instant::now();
    site.wait_until("every one has paged and is over", PATIENCE * 3, || {
        all("firing") && all("resolved")
    });
    thread::sleep(GROUP_INTERVAL + PEER_TIMEOUT * 3);
    let of = |status: &str| -> usize { (0..cycles).map(|n| webhook.count(&name(n), status)).sum() };
    let (firing, resolved) = (of("firing"), of("resolved"));
    println!(
        "{cycles} cycles, {firing} pages, {resolved} resolved, settled in {:?}",
        began.elapsed()
    );
    let got = || webhook.got.lock().unwrap();
    if cluster.killed == [0; 3] {
        assert_eq!((firing, resolved), (cycles, cycles), "{:?}", got());
    }
    // One that comes back has forgotten what it told, and looks at other times than its peers: they may repeat one another.
    // But none of them hears of an alert again that is over.
    for (port, killed) in cluster.http.iter().zip(cluster.killed) {
        for n in 0..cycles {
            let pages = webhook.count_by(*port, &name(n), "firing");
            assert!(
                pages <= 1 + killed,
                "{port} was killed {killed} times: {:?}",
                got()
            );
        }
    }
}

#[test]
fn a_link_that_flaps_repeats_and_resolves_nothing() {
    if !has("prometheus-alertmanager") {
        return;
    }
    let seconds: u64 = number("BACKHAUL_FLAP_SECONDS", 24);
    let phase: u64 = number("BACKHAUL_FLAP_PHASE_SECONDS", 4);
    let (site, config) = site("flaps-1");
    let link = Link::new(site.mqtt_port(), Quality::PERFECT);
    let text = fs::read_to_string(&config).unwrap();
    let through = text.replace(&site.mqtt_port().to_string(), &link.port().to_string());
    fs::write(&config, through).unwrap();
    let webhook = Webhook::start();
    let cluster = Cluster::start(&site, &webhook);
    let plan = BridgePlan {
        // A device is silent soon, but what it raised is held.
        alerting: {
            let mut alerting = cluster.alerting();
            alerting["silent_after"] = json!("1s");
            alerting
        },
        ..BridgePlan::default()
    };
    let _parts = (
        site.start_broker(),
        site.start_bridge_as(&plan),
        start_daemon(&site, &config),
    );
    let start = now().ms();
    let fires = || alert("Flaps", start, now().ms() + 60_000);
    post(&site, &fires());
    site.wait_until("it pages", PATIENCE, || webhook.count("Flaps", "firing") > 0);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(seconds) {
        link.close();
        link.cut();
        thread::sleep(Duration::from_secs(phase));
        link.open();
        post(&site, &fires());
        thread::sleep(Duration::from_secs(phase));
    }
    let of = |status: &str| webhook.count("Flaps", status);
    assert_eq!(
        (of("firing"), of("resolved")),
        (1, 0),
        "{:?}",
        webhook.of("Flaps")
    );
    post(&site, &alert("Flaps", start, now().ms()));
    site.wait_until("its end is told", PATIENCE, || of("resolved") > 0);
    assert!(link.connections() > seconds / phase / 4, "{}", link.connections());
}

#[test]
fn the_alerts_of_a_prometheus_on_the_device_reach_the_cluster_with_its_labels() {
    if !has("prometheus-alertmanager") || super::promtool::promtool(&["--version"]).is_none() {
        return;
    }
    let (site, config) = site("prom-1");
    let webhook = Webhook::start();
    let cluster = Cluster::start(&site, &webhook);
    let _parts = (
        site.start_broker(),
        site.start_bridge_as(&cluster.plan()),
        start_daemon(&site, &config),
    );
    let dir = site.path();
    let rules = "groups: [{name: g, interval: 1s, rules: [{alert: Local, expr: vector(1), labels: {device_id: forged}}]}]";
    fs::write(dir.join("local.yml"), rules).unwrap();
    let agent = site.daemon_api().base().trim_start_matches("http://").to_owned();
    let text = format!(
        "global: {{evaluation_interval: 1s, external_labels: {{rack: r7}}}}\nrule_files: [local.yml]\n\
         alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{agent}']}}]}}]}}\n"
    );
    fs::write(dir.join("prometheus.yml"), text).unwrap();
    let args = [
        format!("--config.file={}", dir.join("prometheus.yml").display()),
        format!("--storage.tsdb.path={}", dir.join("prometheus").display()),
        format!("--web.listen-address=127.0.0.1:{}", free_port()),
        "--rules.alert.resend-delay=1s".to_owned(),
    ];
    let _prometheus = Part::start(
        "prometheus",
        "prometheus".as_ref(),
        &args,
        &site.log("prometheus"),
    );
    let found = || -> Option<Value> {
        let (_, body) = Api::new(cluster.http[2]).get("/api/v2/alerts", &[]).ok()?;
        let alerts: Value = serde_json::from_str(&body).ok()?;
        let alert = alerts
            .as_array()?
            .iter()
            .find(|a| a["labels"]["alertname"] == "Local")?;
        Some(alert["labels"].clone())
    };
    site.wait_until("the cluster has it", PATIENCE, || found().is_some());
    assert_eq!(
        found(),
        Some(json!({
            "alertname": "Local", "device_id": "prom-1", "exported_device_id": "forged", "plant": "north",
            "rack": "r7", "tenant": "default"
        }))
    );
}

fn amtool(site: &Site, args: &[&str]) -> String {
    let url = format!("--alertmanager.url={}", site.api().base());
    let out = Command::new("amtool").arg(url).args(args).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        out.status.success(),
        "{args:?}: {text} {}",
        String::from_utf8_lossy(&out.stderr)
    );
    text
}

#[test]
fn amtool_works_against_the_bridge() {
    if !has("prometheus-alertmanager") || !has("amtool") {
        return;
    }
    let (site, _) = site("amtool-1");
    let webhook = Webhook::start();
    let cluster = Cluster::start(&site, &webhook);
    let _parts = (site.start_broker(), site.start_bridge_as(&cluster.plan()));
    site.wait_until("the bridge is ready", PATIENCE, || site.api().is_ready());
    amtool(
        &site,
        &[
            "alert",
            "add",
            "ByHand",
            "severity=info",
            "--annotation=summary=x",
        ],
    );
    site.wait_until("amtool sees it", PATIENCE, || {
        amtool(&site, &["alert", "query", "severity=info"]).contains("ByHand")
    });
    let one: Value =
        serde_json::from_str(&amtool(&site, &["alert", "query", "-o", "json", "ByHand"])).unwrap();
    assert_eq!(one[0]["labels"]["tenant"], "default");
    let id = amtool(
        &site,
        &["silence", "add", "--comment=x", "--author=me", "alertname=ByHand"],
    );
    assert!(amtool(&site, &["silence", "query"]).contains("ByHand"));
    site.wait_until("it is silenced", PATIENCE, || {
        !amtool(&site, &["alert", "query"]).contains("ByHand")
    });
    amtool(&site, &["silence", "expire", id.trim()]);
    site.wait_until("it is heard again", PATIENCE, || {
        amtool(&site, &["alert", "query"]).contains("ByHand")
    });
    assert!(amtool(&site, &["config", "show"]).contains("hook"));
    assert!(amtool(&site, &["cluster", "show"]).contains("Cluster Status"));
    assert_eq!(site.api().get("/api/v1/alertmanagers", &[]).unwrap().0, 200);
    // An alert that cannot be one is named, and the others of its request are taken.
    let mixed = json!([
        {"labels": {}},
        {"labels": {"alertname": "Good"}, "startsAt": rfc3339_of(now().ms())},
    ]);
    let (code, why) = site.api().post_json("/api/v2/alerts", &mixed).unwrap();
    assert_eq!(code, 400, "{why}");
    assert!(why.contains("at least one label"), "{why}");
    site.wait_until("the good one is there", PATIENCE, || {
        amtool(&site, &["alert", "query"]).contains("Good")
    });
}
