//! Plans what becomes of quarantined rows.

use bytes::Bytes;
use wire::Timestamp;
use wire::batch::Batch;
use wire::dict::Dictionary;

use super::{Effect, Plan};
use crate::ledger::{DELETED, Fact, QUARANTINE_EXPIRED};
use crate::quarantine::{Held, self_contained};
use crate::record::{Record, ReleasedRecord, RemovedRecord, What};
use crate::subset::subset;

/// Why rows leave the quarantine for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    /// They are still ahead of the clock after `quarantine_time`.
    Expired,
    /// An operator dropped them.
    Deleted,
}

impl Removal {
    fn reason(self) -> &'static str {
        match self {
            Removal::Expired => QUARANTINE_EXPIRED,
            Removal::Deleted => DELETED,
        }
    }
}

/// Takes a row of the table out: its rows that are not after `due` go into the heads, the others expire.
pub(crate) fn release(
    plan: &mut Plan,
    number: u64,
    held: &Held,
    dict: &Dictionary,
    due: Timestamp,
    now: Timestamp,
) {
    let decoded = wire::batch::peek(&held.payload).and_then(|raw| raw.decode(dict.len(), None));
    let Ok(decoded) = decoded else {
        return remove(plan, number, held, Removal::Expired, now);
    };
    let batch = decoded.batch;
    let rows = || batch.groups.iter().flat_map(|group| &group.rows);
    let come: Vec<bool> = rows().map(|row| row.time <= due).collect();
    let (batch, payload) = match come.contains(&false) {
        false => (batch, held.payload.clone()),
        true => {
            let some = subset(&batch, &come);
            let payload = self_contained(&some);
            (some, payload)
        }
    };
    let samples = batch.samples();
    if samples > 0 {
        put(plan, number, held, (batch, payload), now);
    }
    let left = held.rows.samples.saturating_sub(samples);
    if left > 0 {
        gone(plan, (number, left), held, Removal::Expired, now);
    }
    plan.quarantine.push((number, None));
}

/// Takes a row of the table out, and its samples are gone.
pub(crate) fn remove(plan: &mut Plan, number: u64, held: &Held, why: Removal, now: Timestamp) {
    gone(plan, (number, held.rows.samples), held, why, now);
    plan.quarantine.push((number, None));
}

fn put(plan: &mut Plan, number: u64, held: &Held, (batch, payload): (Batch, Bytes), now: Timestamp) {
    let samples = batch.samples();
    let what = ReleasedRecord {
        number,
        samples,
        payload,
    };
    let effect = released(held.device, held.rows.device.clone(), now, batch);
    plan.records.push(record(held, now, What::Released(what)));
    plan.effects.push(effect);
}

/// What a `released` record does, planned just now or read again.
pub(crate) fn released(device: u32, name: wire::DeviceName, received: Timestamp, batch: Batch) -> Effect {
    let rows = batch.groups.iter().flat_map(|group| &group.rows);
    let times: Vec<Timestamp> = rows.map(|row| row.time).collect();
    Effect {
        device,
        name,
        received,
        fact: Fact::Released {
            samples: batch.samples(),
            newest: times.iter().copied().max().unwrap_or_default(),
        },
        rows: Some((batch, vec![true; times.len()])),
        key: None,
    }
}

fn gone(plan: &mut Plan, (number, samples): (u64, u64), held: &Held, why: Removal, now: Timestamp) {
    let reason = why.reason();
    let what = RemovedRecord {
        number,
        samples,
        reason: reason.to_owned(),
    };
    plan.records.push(record(held, now, What::Removed(what)));
    plan.effects.push(Effect {
        device: held.device,
        name: held.rows.device.clone(),
        received: now,
        fact: Fact::Removed { samples, reason },
        rows: None,
        key: None,
    });
}

fn record(held: &Held, now: Timestamp, what: What) -> Record {
    Record {
        device: held.device,
        name: String::new(),
        received_ms: now.ms(),
        ring: 0,
        what: Some(what),
    }
}
