//! Whether the delivery contract was kept: the equation as the bridge's ledger has it, and every sample as it is read
//! back.

use std::time::Duration;

use wire::{DeviceName, Timestamp};

use crate::api::Samples;
use crate::oracle;
use crate::plan::AgentPlan;
use crate::site::Site;

/// Stops the inputs, and waits until every device of the plan has nothing left to deliver.
///
/// # Panics
/// If that takes longer than `patience`.
pub fn drained(site: &Site, plans: &[&AgentPlan], patience: Duration) {
    site.hush();
    let names: Vec<DeviceName> = plans.iter().flat_map(|plan| plan.names()).collect();
    site.wait_until("everything is delivered", patience, || {
        names.iter().all(|name| {
            let status = site.status(name);
            status.quiet && status.connected && status.pending_records == 0 && status.gaps == 0
        })
    });
}

/// Checks each device of a plan whose data is [`drained`]: generated = stored + dropped, nothing is pending or doubled,
/// and each sample that is found is one that was measured. Returns the sum of the ledgers' terms.
///
/// # Panics
/// If the contract is broken.
pub fn delivered(site: &Site, plan: &AgentPlan) -> Samples {
    let mut sum = Samples {
        generated: 0,
        stored: 0,
        dropped: Default::default(),
        pending: 0,
    };
    for name in plan.names() {
        let samples = device(site, plan, name.device().as_str());
        sum.generated += samples.generated;
        sum.stored += samples.stored;
        for (reason, count) in samples.dropped {
            *sum.dropped.entry(reason).or_default() += count;
        }
    }
    sum
}

fn device(site: &Site, plan: &AgentPlan, id: &str) -> Samples {
    let api = site.api();
    // The last word about totals may be in the state that follows the last ack.
    let settled = || api.device(id).is_ok_and(|d| d.samples.pending == 0);
    site.wait_until(
        &format!("{id} has nothing pending at the bridge"),
        Duration::from_secs(60),
        settled,
    );
    let found = api.device(id).expect("the bridge knew the device a moment ago");
    let samples = found.samples;
    assert_eq!(
        samples.generated,
        samples.stored + samples.lost(),
        "{id}: the equation does not hold: {samples:?}"
    );
    let gaps: u64 = found.gaps.iter().map(|gap| gap.samples).sum();
    assert_eq!(
        gaps,
        samples.lost(),
        "{id}: every dropped sample is in a gap: {:?}",
        found.gaps
    );

    let equation = api.equation(id).expect("the bridge knew the device a moment ago");
    assert_eq!(equation.duplicates, 0, "{id}: {equation:?}");
    assert_eq!(equation.quarantined, 0, "{id}: {equation:?}");
    assert_eq!(equation.removed.values().sum::<u64>(), 0, "{id}: {equation:?}");
    assert_eq!(
        equation.read_back, samples.stored,
        "{id}: {equation:?} {samples:?}"
    );
    assert_eq!(
        queried(site, plan, id),
        samples.stored,
        "{id}: queries find another number of samples"
    );
    samples
}

/// Samples that a query finds, each compared with what the oracle says.
fn queried(site: &Site, plan: &AgentPlan, id: &str) -> u64 {
    let expr = format!("{}{{device_id=\"{id}\"}}[3h]", oracle::METRIC);
    let series = site.api().query(&expr).expect("a query for the device's samples");
    assert!(
        series.len() <= plan.series as usize,
        "{id}: {} series",
        series.len()
    );
    let mut read = 0;
    for one in &series {
        let n: u32 = one.metric["n"].parse().expect("label n is a number");
        for (at, value) in &one.samples {
            let time = Timestamp::from_ms((at * 1000.0).round() as i64);
            assert_eq!(*value, oracle::value(n, time), "{id}: series {n} at {time:?}");
        }
        assert!(
            one.samples.windows(2).all(|w| w[0].0 < w[1].0),
            "{id}: series {n} has a time twice"
        );
        read += one.samples.len() as u64;
    }
    read
}
