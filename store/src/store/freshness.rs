//! Which devices' data an answer should not be taken for whole.

use std::collections::BTreeSet;

use wire::{DeviceId, Tenant, Timestamp};

use super::{Store, read};

/// A device with gaps in a range of time, or without news since some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// The device.
    pub device: DeviceId,
    /// Time of its newest sample, if that is before the time asked for.
    pub silent_since: Option<Timestamp>,
    /// Samples of the gaps that overlap the range.
    pub gap_samples: u64,
    /// Why they were dropped.
    pub gap_reasons: BTreeSet<&'static str>,
}

impl Store {
    /// The devices of a tenant with gaps that overlap a range of Unix ms, both ends included, or whose samples end before a
    /// time. Gaps of unknown time are left out: they would be in every range.
    pub fn lacking(&self, tenant: &Tenant, (start_ms, end_ms): (i64, i64), since: Timestamp) -> Vec<Lacking> {
        let ledger = read(&self.ledger);
        let mut all = Vec::new();
        for (_, device) in ledger.devices() {
            let silent = device.newest().filter(|newest| *newest < since);
            // Names are read of few, as most devices are on time and whole.
            if silent.is_none() && device.gaps().next().is_none() || device.name().tenant() != tenant {
                continue;
            }
            let (mut gap_samples, mut gap_reasons) = (0_u64, BTreeSet::new());
            for gap in device.gaps() {
                let (from, to) = (gap.from.or(gap.to), gap.to.or(gap.from));
                if from.is_some_and(|from| from.ms() <= end_ms) && to.is_some_and(|to| to.ms() >= start_ms) {
                    gap_samples = gap_samples.saturating_add(gap.samples);
                    gap_reasons.insert(gap.reason);
                }
            }
            if silent.is_some() || !gap_reasons.is_empty() {
                all.push(Lacking {
                    device: device.name().device().clone(),
                    silent_since: silent,
                    gap_samples,
                    gap_reasons,
                });
            }
        }
        all
    }
}
