//! A bridge whose disk was wiped is refilled by the devices; what no device still has is declared as a gap.

use std::path::Path;
use std::time::Duration;

use tests::{AgentPlan, Site, check, programs};

#[test]
fn wiped_bridge_is_refilled_from_what_the_devices_still_have() {
    let site = Site::new(programs!());
    let plan = AgentPlan::new("wiped-1");
    site.issue(&plan);
    let _broker = site.start_broker();
    let mut bridge = site.start_bridge();
    let _agent = site.start_agent(&plan);
    let status = || site.status(&plan.name());
    site.wait_until("samples are acked", Duration::from_secs(30), || {
        status().acked > 1000
    });

    bridge.kill();
    std::fs::remove_dir_all(site.path().join("data")).unwrap();
    let _bridge = site.start_bridge();
    site.hush();
    let stored = || site.api().device("wiped-1").map_or(0, |d| d.samples.stored);
    site.wait_until(
        "all that the device has is stored again",
        Duration::from_secs(60),
        || status().quiet && stored() == status().generated,
    );
    check::drained(&site, &[&plan], Duration::from_secs(30));
    let samples = check::delivered(&site, &plan);
    assert_eq!((samples.stored, samples.lost()), (status().generated, 0));
}

#[test]
fn what_a_wiped_bridge_lost_for_good_is_a_gap() {
    let site = Site::new(programs!());
    // A log of a few small segments, which acked records leave soon.
    let plan = AgentPlan {
        series: 200,
        interval_ms: 50,
        wal_bytes: 64 << 10,
        ..AgentPlan::new("wiped-2")
    };
    site.issue(&plan);
    let _broker = site.start_broker();
    let mut bridge = site.start_bridge();
    let _agent = site.start_agent(&plan);
    let status = || site.status(&plan.name());
    site.wait_until("samples are acked", Duration::from_secs(30), || {
        status().acked > 0
    });
    let wal = site.path().join("agents").join("wiped-2");
    let first = oldest_segment(&wal);
    site.wait_until("acked records leave the log", Duration::from_secs(60), || {
        oldest_segment(&wal) > first
    });
    assert_eq!(status().dropped, 0, "only acked records have left the log");

    bridge.kill();
    std::fs::remove_dir_all(site.path().join("data")).unwrap();
    let before = status().acked;
    let _bridge = site.start_bridge();
    site.wait_until("new samples are acked", Duration::from_secs(30), || {
        status().acked > before
    });
    check::drained(&site, &[&plan], Duration::from_secs(60));
    let samples = check::delivered(&site, &plan);
    assert_eq!(samples.generated, status().generated, "{samples:?}");
    let lost = samples.dropped.get("lost_at_store").copied().unwrap_or(0);
    assert!(lost > 0 && lost == samples.lost(), "{samples:?}");
    assert!(samples.stored > 0, "{samples:?}");
}

/// The name of the log's oldest segment; numbers rise within the one session of this log.
fn oldest_segment(wal: &Path) -> String {
    let files = std::fs::read_dir(wal)
        .unwrap()
        .flatten()
        .filter_map(|e| e.file_name().into_string().ok());
    files
        .filter(|name| name.ends_with(".wal"))
        .min()
        .unwrap_or_default()
}
