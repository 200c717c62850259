//! What an answer says of the devices it rests on: who has gaps in the range (a warning: the data is gone), and who is
//! late (an info: it will come).

use std::collections::BTreeSet;

use wire::{DeviceId, DeviceName, Tenant};

use super::App;

/// Devices whose gaps are looked up for one answer; a ledger entry is not small.
const MAX_LOOKED_UP: usize = 256;

/// The time that an answer covers, Unix ms.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) lookback_ms: i64,
}

/// Notes on an answer.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) warnings: Vec<String>,
    pub(crate) infos: Vec<String>,
}

/// Looks at the devices that a query has read.
pub(crate) fn of(app: &App, tenant: &Tenant, devices: &BTreeSet<String>, span: Span) -> Notes {
    let mut notes = Notes::default();
    for (nth, id) in devices.iter().enumerate() {
        let Ok(device) = DeviceId::new(id.as_str()) else {
            continue;
        };
        let name = DeviceName::new(tenant.clone(), device);
        if let Some(until) = app.fleet.get(&name).complete_until
            && until.ms() < span.end_ms.saturating_sub(span.lookback_ms)
        {
            notes.infos.push(format!(
                "device {id:?} is late: complete until {:.3}",
                until.seconds()
            ));
        }
        if nth < MAX_LOOKED_UP {
            notes.warnings.extend(gaps(app, &name, span));
        }
    }
    if devices.len() > MAX_LOOKED_UP {
        let more = devices.len() - MAX_LOOKED_UP;
        notes.infos.push(format!(
            "{more} more devices were not checked for gaps; ask for them by device_id"
        ));
    }
    notes
}

/// One warning for all gaps of a device in the range.
fn gaps(app: &App, name: &DeviceName, span: Span) -> Option<String> {
    let ledger = app.store.device(name)?;
    let mut samples = 0;
    let mut reasons = BTreeSet::new();
    for gap in &ledger.gaps {
        let from = gap.from.or(gap.to).map(|t| t.ms());
        let to = gap.to.or(gap.from).map(|t| t.ms());
        // A gap of unknown time may be anywhere; it would stand in every answer for ever.
        if let (Some(from), Some(to)) = (from, to)
            && from <= span.end_ms
            && to >= span.start_ms
        {
            samples += gap.samples;
            reasons.insert(gap.reason);
        }
    }
    let reasons: Vec<&str> = reasons.into_iter().collect();
    let device = name.device();
    (!reasons.is_empty()).then(|| {
        format!(
            "device \"{device}\" has gaps in the range: {samples} samples dropped ({})",
            reasons.join(", ")
        )
    })
}
