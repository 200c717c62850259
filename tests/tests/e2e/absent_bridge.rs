//! With the bridge away, devices go on: the memory of broker and agents stays flat, and nothing is lost.

use std::time::{Duration, Instant};

use tests::settings::number;
use tests::{AgentPlan, Part, Site, check, programs};

/// How much more a process may hold at the end of the absence than soon after its begin: pages that the allocator
/// keeps, and a few dozen bytes for each record that waits.
const GROWTH: u64 = 8 << 20;

#[test]
fn memory_stays_flat_while_the_bridge_is_away_and_nothing_is_lost() {
    let absence = Duration::from_secs(number("BACKHAUL_ABSENT_SECONDS", 10));
    let devices = number("BACKHAUL_ABSENT_DEVICES", 10);
    let site = Site::new(programs!());
    let plan = AgentPlan {
        interval_ms: 1000,
        ..AgentPlan::new("absent").times(devices)
    };
    site.issue(&plan);
    let broker = site.start_broker();
    let mut bridge = site.start_bridge();
    let agents = site.start_agent(&plan);
    let names = plan.names();
    site.wait_until("every device delivers", Duration::from_secs(60), || {
        names.iter().all(|name| site.status(name).acked > 0)
    });

    bridge.terminate(Duration::from_secs(20));
    let gone = Instant::now();
    // Devices publish until they miss an answer, a minute or more; queues fill to their bounds.
    std::thread::sleep(absence.mul_f64(0.3).min(Duration::from_secs(120)));
    let parts = [&broker, &agents];
    let start = parts.map(Part::resident_bytes);
    let mut most = start;
    while gone.elapsed() < absence {
        std::thread::sleep(Duration::from_millis(500));
        for (most, part) in most.iter_mut().zip(parts) {
            *most = (*most).max(part.resident_bytes());
        }
    }
    for ((part, start), most) in parts.iter().zip(start).zip(most) {
        println!("{}: {} KiB, at most {} KiB", part.name(), start >> 10, most >> 10);
        assert!(start > 0, "{} still runs", part.name());
        assert!(
            most < start + GROWTH,
            "{} grew from {start} to {most} bytes",
            part.name()
        );
    }
    let waiting: u64 = names.iter().map(|name| site.status(name).pending_records).sum();
    println!("{waiting} records wait after {:?}", gone.elapsed());
    let due = absence.as_secs() * u64::from(devices);
    assert!(
        waiting > due / 2,
        "the devices went on: {waiting} records wait, {due} were due"
    );

    let back = Instant::now();
    let _bridge = site.start_bridge();
    check::drained(&site, &[&plan], Duration::from_secs(120));
    println!("drained {:?} after the bridge came back", back.elapsed());
    let samples = check::delivered(&site, &plan);
    let generated: u64 = names.iter().map(|name| site.status(name).generated).sum();
    assert_eq!((samples.generated, samples.lost()), (generated, 0), "{samples:?}");
}
