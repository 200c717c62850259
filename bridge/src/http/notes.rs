//! What an answer says of the devices that its selectors match: who has gaps in the range (a warning: the data is gone),
//! and who is late (an info: it will come). A device of which nothing was found counts as well as one that was read.

use std::collections::{BTreeMap, BTreeSet};

use store::{Lacking, Matcher, Test};
use wire::labels::DEVICE_ID;
use wire::{DeviceId, Tenant, Timestamp};

use super::App;
use super::source::Read;
use super::time::rfc3339_of;
use crate::device_series::JOB;

/// Devices that a note names; the others it counts.
const EXAMPLES: usize = 3;

/// Notes on an answer.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) warnings: Vec<String>,
    pub(crate) infos: Vec<String>,
}

/// Looks at the devices that a query was about.
pub(crate) fn of(app: &App, tenant: &Tenant, read: &Read, lookback_ms: i64) -> Notes {
    let Some((start_ms, end_ms)) = read.range else {
        return Notes::default();
    };
    // Nobody is late for what is yet to come.
    let now_ms = (app.config.clock)().ms();
    let due = Timestamp::from_ms(end_ms.min(now_ms).saturating_sub(lookback_ms));
    let lacking = app.store.lacking(tenant, (start_ms, end_ms), due);
    let behind = app.fleet.behind(tenant, due);
    let suspects: BTreeSet<&DeviceId> = lacking
        .iter()
        .map(|lacking| &lacking.device)
        .chain(behind.iter().map(|(device, _)| device))
        .collect();
    if suspects.is_empty() {
        return Notes::default();
    }
    let matched = matched(app, tenant, read, &suspects);
    let has_gaps = |lacking: &&Lacking| !lacking.gap_reasons.is_empty() && matched.contains(&lacking.device);
    let gaps: Vec<&Lacking> = lacking.iter().filter(has_gaps).collect();
    let mut late: BTreeMap<&DeviceId, Timestamp> = BTreeMap::new();
    for lacking in &lacking {
        late.extend(lacking.silent_since.map(|newest| (&lacking.device, newest)));
    }
    // What is known to be whole is never later than the newest sample.
    late.extend(behind.iter().map(|(device, until)| (device, *until)));
    late.retain(|device, _| matched.contains(*device));
    Notes {
        warnings: gap_warning(&gaps).into_iter().collect(),
        infos: late_info(&late).into_iter().collect(),
    }
}

/// Those of some devices that a selector matches, whatever the time.
fn matched(app: &App, tenant: &Tenant, read: &Read, suspects: &BTreeSet<&DeviceId>) -> BTreeSet<DeviceId> {
    let is_read = |device: &DeviceId| read.devices.contains(device.as_str());
    let mut matched: BTreeSet<DeviceId> = BTreeSet::new();
    matched.extend(
        suspects
            .iter()
            .filter(|device| is_read(device))
            .map(|device| (*device).clone()),
    );
    // Most often there is nobody but who was read, and no look into the index is needed.
    if matched.len() < suspects.len() {
        let not_ours = Matcher {
            name: "job".to_owned(),
            test: Test::NotEqual(JOB.to_owned()),
        };
        for selector in read.selectors.values() {
            let matchers = [selector.as_slice(), std::slice::from_ref(&not_ours)].concat();
            for id in app.store.label_values(tenant, DEVICE_ID, &matchers) {
                matched.extend(
                    DeviceId::new(&*id)
                        .ok()
                        .filter(|device| suspects.contains(device)),
                );
            }
        }
    }
    matched
}

/// One warning for all gaps.
fn gap_warning(gaps: &[&Lacking]) -> Option<String> {
    let samples = gaps
        .iter()
        .fold(0_u64, |sum, gap| sum.saturating_add(gap.gap_samples));
    let reasons: BTreeSet<&str> = gaps.iter().flat_map(|gap| &gap.gap_reasons).copied().collect();
    let reasons = reasons.into_iter().collect::<Vec<_>>().join(", ");
    match gaps {
        [] => None,
        [one] => Some(format!(
            "device \"{}\" has gaps in the range: {samples} samples dropped ({reasons})",
            one.device
        )),
        all => {
            let examples = all
                .iter()
                .map(|gap| format!("\"{}\" {}", gap.device, gap.gap_samples));
            Some(format!(
                "{} devices have gaps in the range: {samples} samples dropped ({reasons}): {}",
                all.len(),
                some(examples)
            ))
        }
    }
}

/// One info for all that is late.
fn late_info(late: &BTreeMap<&DeviceId, Timestamp>) -> Option<String> {
    let until = |until: &Timestamp| format!("complete until {}", rfc3339_of(until.ms()));
    match late.len() {
        0 => None,
        1 => late
            .iter()
            .next()
            .map(|(device, at)| format!("device \"{device}\" is late: {}", until(at))),
        count => {
            let examples = late
                .iter()
                .map(|(device, at)| format!("\"{device}\" {}", until(at)));
            Some(format!("{count} devices are late: {}", some(examples)))
        }
    }
}

/// The first of a list, and how many more there are.
fn some(examples: impl ExactSizeIterator<Item = String>) -> String {
    let more = examples.len().saturating_sub(EXAMPLES);
    let shown = examples.take(EXAMPLES).collect::<Vec<_>>().join(", ");
    match more {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(id: &str) -> DeviceId {
        DeviceId::new(id).unwrap()
    }

    #[test]
    fn many_late_devices_are_counted_and_some_named() {
        let devices: Vec<DeviceId> = (1..=5).map(|n| device(&format!("gw-{n}"))).collect();
        let mut late = BTreeMap::new();
        assert_eq!(late_info(&late), None);
        let at = Timestamp::from_ms(1_795_305_600_000);
        late.extend(devices.iter().map(|device| (device, at)));
        let at = "complete until 2026-11-22T00:00:00Z";
        assert_eq!(
            late_info(&late).unwrap(),
            format!("5 devices are late: \"gw-1\" {at}, \"gw-2\" {at}, \"gw-3\" {at} and 2 more")
        );
    }

    #[test]
    fn gaps_of_many_devices_add_up() {
        let lacking = |n: u64, reason| Lacking {
            device: device(&format!("gw-{n}")),
            silent_since: None,
            gap_samples: n,
            gap_reasons: BTreeSet::from([reason]),
        };
        let all = [lacking(1, "wal_bytes"), lacking(2, "wal_age")];
        let all: Vec<&Lacking> = all.iter().collect();
        assert_eq!(
            gap_warning(&all).unwrap(),
            "2 devices have gaps in the range: 3 samples dropped (wal_age, wal_bytes): \"gw-1\" 1, \"gw-2\" 2"
        );
        assert_eq!(gap_warning(&[]), None);
    }
}
