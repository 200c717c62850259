//! A snapshot of a bridge under load: sound, readable by others, and restored, the devices refill what came after it, also
//! hours of it.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use store::{Wanted, check, dump};
use tests::settings::number;
use tests::{AgentPlan, BridgePlan, Part, Site, check as contract, programs};

use super::promtool::promtool;

fn acked(site: &Site, plan: &AgentPlan) -> u64 {
    plan.names().iter().map(|name| site.status(name).acked).sum()
}

/// Takes a snapshot; its name.
pub(super) fn snapshot(site: &Site) -> String {
    let (status, body) = site.api().post("/api/v1/admin/tsdb/snapshot", &[]).unwrap();
    assert_eq!(status, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["status"], "success", "{body}");
    answer["data"]["name"].as_str().unwrap().to_owned()
}

/// What promtool makes of a dump has as many samples.
fn read_by_promtool(site: &Site, dir: &Path) {
    if promtool(&["--version"]).is_none() {
        return;
    }
    let wanted = Wanted {
        tenant: "default".parse().unwrap(),
        matchers: bridge::parse_selector("oracle_value").unwrap(),
        start_ms: i64::MIN,
        end_ms: i64::MAX,
    };
    let (text, blocks) = (site.path().join("dump.om"), site.path().join("blocks"));
    let mut out = BufWriter::new(File::create(&text).unwrap());
    let dumped = dump(dir, &wanted, &mut out, &mut |_| {}, &mut |_, _| {}).unwrap();
    assert!(dumped.samples > 0, "{dumped:?}");
    let (text, blocks) = (text.to_str().unwrap(), blocks.to_str().unwrap());
    promtool(&[
        "tsdb",
        "create-blocks-from",
        "openmetrics",
        "--quiet",
        text,
        blocks,
    ]);
    // promtool reads a whole database, which has this folder.
    fs::create_dir_all(Path::new(blocks).join("wal")).unwrap();
    let read = promtool(&["tsdb", "dump", blocks]).unwrap();
    assert_eq!(read.lines().count() as u64, dumped.samples);
}

/// Kills the bridge and puts a snapshot in the place of its data.
pub(super) fn restore(site: &Site, bridge: &mut Part, name: &str) {
    bridge.kill();
    let (data, lost) = (site.path().join("data"), site.path().join("data.lost"));
    fs::rename(&data, &lost).unwrap();
    fs::rename(lost.join("snapshots").join(name), &data).unwrap();
}

#[test]
fn a_snapshot_under_load_is_sound_and_the_devices_refill_what_came_after_it() {
    let site = Site::new(programs!());
    let plan = AgentPlan {
        series: 50,
        past_rows: 200,
        ..AgentPlan::new("snap").times(3)
    };
    site.issue(&plan);
    let _broker = site.start_broker();
    let busy = BridgePlan {
        busy: true,
        ..BridgePlan::default()
    };
    let mut bridge = site.start_bridge_as(&busy);
    let _agent = site.start_agent(&plan);
    let wait_for = |samples: u64| {
        site.wait_until("samples are acked", Duration::from_secs(60), || {
            acked(&site, &plan) >= samples
        });
    };
    let data = site.path().join("data");
    let mut names = Vec::new();
    for n in 1..=3 {
        wait_for(n * 12_000);
        names.push(snapshot(&site));
    }
    let (status, body) = site
        .api()
        .post("/api/v1/admin/tsdb/snapshot", &[("skip_head", "true")])
        .unwrap();
    assert!(status == 400 && body.contains("skip_head"), "{body}");
    let mut blocks = 0;
    for name in &names {
        // The bridge goes on meanwhile.
        let report = check(&data.join("snapshots").join(name), &mut |_| {}).unwrap();
        assert_eq!(report.damage, [], "{name}: {report:?}");
        assert_eq!(report.devices, 3, "{name}: {report:?}");
        blocks += report.blocks;
    }
    assert!(blocks > 0, "none was taken after a seal");
    read_by_promtool(&site, &data.join("snapshots").join(&names[1]));

    wait_for(acked(&site, &plan) + 6000);
    restore(&site, &mut bridge, &names[0]);
    let mut bridge = site.start_bridge_as(&busy);
    contract::drained(&site, &[&plan], Duration::from_secs(60));
    let samples = contract::delivered(&site, &plan);
    assert_eq!(samples.lost(), 0, "{samples:?}");
    bridge.terminate(Duration::from_secs(20));
    assert_eq!(check(&data, &mut |_| {}).unwrap().damage, []);
}

/// Has the devices live through a time of the past, from so many ms ago to so many, 120 times as fast.
fn live(site: &Site, plan: &AgentPlan, from_ms: i64, to_ms: i64) {
    const STEP: Duration = Duration::from_millis(100);
    const STEP_MS: i64 = 12_000;
    for ago_ms in (to_ms..from_ms)
        .step_by(STEP_MS as usize)
        .collect::<Vec<_>>()
        .iter()
        .rev()
    {
        for name in plan.names() {
            site.set_clock(Some(&name), -ago_ms);
        }
        std::thread::sleep(STEP);
    }
}

#[test]
fn what_devices_measured_in_the_hours_since_a_snapshot_comes_back_after_it_is_restored() {
    let age_ms: i64 = 60_000 * number("BACKHAUL_SNAPSHOT_MINUTES", 12);
    let site = Site::new(programs!());
    let plan = AgentPlan {
        series: 50,
        made_up_times: true,
        ..AgentPlan::new("aged").times(3)
    };
    site.issue(&plan);
    let busy = BridgePlan {
        busy: true,
        ..BridgePlan::default()
    };
    let _broker = site.start_broker();
    let mut bridge = site.start_bridge_as(&busy);
    for name in plan.names() {
        site.set_clock(Some(&name), -age_ms * 4 / 3);
    }
    let _agent = site.start_agent(&plan);
    live(&site, &plan, age_ms * 4 / 3, age_ms);
    let name = snapshot(&site);
    live(&site, &plan, age_ms, 0);
    // Nothing is owed any more when the bridge is lost.
    contract::drained(&site, &[&plan], Duration::from_secs(60));
    let before = contract::delivered(&site, &plan).stored;
    let kept = check(&site.path().join("data/snapshots").join(&name), &mut |_| {}).unwrap();
    assert_eq!(kept.damage, []);

    restore(&site, &mut bridge, &name);
    let _bridge = site.start_bridge_as(&busy);
    let known = || -> u64 {
        let of = |id: &str| site.api().device(id).map_or(0, |device| device.samples.stored);
        plan.names().iter().map(|name| of(name.device().as_str())).sum()
    };
    site.wait_until("everything is stored again", Duration::from_secs(120), || {
        known() == before
    });
    let after = contract::delivered(&site, &plan);
    println!(
        "{} samples in the snapshot, {before} when the bridge was lost, {after:?}",
        kept.samples
    );
    assert!(kept.samples * 2 < before);
    assert_eq!((after.stored, after.lost()), (before, 0));
}
