//! The proof at the end of a demo: every term of the delivery contract, with what was found by reading the store back.
//!
//! Per device `generated = stored + dropped + pending`, and what queries find is `stored + recovered - removed -
//! quarantined`, with no sample twice. `generated` is compared with what the agents themselves counted.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::api::ApiArgs;
use crate::output::Output;
use crate::simulate::device::Totals;
use crate::simulate::meter::Meter;
use crate::simulate::report::per;

/// The figures of a run.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    devices: usize,
    generated: u64,
    stored: u64,
    dropped: u64,
    pending: u64,
    recovered: u64,
    removed: u64,
    quarantined: u64,
    read_back: u64,
    duplicates: u64,
    wire_bytes: u64,
    handshake_bytes: u64,
    wire_bytes_per_sample: f64,
    disk_bytes: u64,
    faults: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Terms {
    devices: Vec<Device>,
}

#[derive(Debug, Deserialize)]
struct Device {
    device_id: String,
    generated: u64,
    stored: u64,
    dropped: BTreeMap<String, u64>,
    pending: u64,
    recovered: u64,
    removed: BTreeMap<String, u64>,
    quarantined: u64,
    read_back: u64,
    duplicates: u64,
}

impl Device {
    fn dropped(&self) -> u64 {
        self.dropped.values().sum()
    }

    fn removed(&self) -> u64 {
        self.removed.values().sum()
    }

    fn faults(&self) -> impl Iterator<Item = String> {
        let id = &self.device_id;
        let settled = self.stored + self.dropped() + self.pending;
        let found = self.read_back + self.removed() + self.quarantined;
        let unequal = (self.generated != settled).then(|| {
            format!(
                "{id}: generated {} but stored + dropped + pending is {settled}",
                self.generated
            )
        });
        let unread = (self.stored + self.recovered != found).then(|| {
            format!(
                "{id}: stored {} and recovered {} but read back + removed + quarantined is {found}",
                self.stored, self.recovered
            )
        });
        let twice =
            (self.duplicates > 0).then(|| format!("{id}: {} samples are there twice", self.duplicates));
        let late = (self.pending > 0).then(|| format!("{id}: {} samples are still pending", self.pending));
        [unequal, unread, twice, late].into_iter().flatten()
    }
}

/// Asks the bridge for the terms of every device.
pub(super) async fn read_back(
    api: &ApiArgs,
    agents: &Totals,
    meter: &Meter,
    disk_bytes: u64,
) -> Result<Summary> {
    let devices = api.get::<Terms>("fleet/equation", &[]).await?.data.devices;
    let sum = |of: fn(&Device) -> u64| devices.iter().map(of).sum::<u64>();
    let generated = sum(|d| d.generated);
    let mut faults: Vec<String> = devices.iter().flat_map(Device::faults).collect();
    if agents.pending_records > 0 {
        faults.push(format!(
            "the agents still hold {} records without an ack",
            agents.pending_records
        ));
    }
    if generated < agents.generated {
        faults.push(format!(
            "the agents made {} samples, the bridge knows of {generated}",
            agents.generated
        ));
    }
    Ok(Summary {
        devices: devices.len(),
        generated,
        stored: sum(|d| d.stored),
        dropped: sum(Device::dropped),
        pending: sum(|d| d.pending),
        recovered: sum(|d| d.recovered),
        removed: sum(Device::removed),
        quarantined: sum(|d| d.quarantined),
        read_back: sum(|d| d.read_back),
        duplicates: sum(|d| d.duplicates),
        wire_bytes: meter.stream_bytes(),
        handshake_bytes: meter.handshake_bytes(),
        wire_bytes_per_sample: per(meter.stream_bytes(), agents.generated),
        disk_bytes,
        faults,
    })
}

impl Summary {
    /// Prints the equation.
    pub(super) fn print(&self, out: &mut Output) -> Result<()> {
        out.line(&format!(
            "generated {} = stored {} + dropped {} + pending {}   ({} devices)",
            self.generated, self.stored, self.dropped, self.pending, self.devices
        ))?;
        out.line(&format!(
            "read back {} = stored {} + recovered {} - removed {} - quarantined {}, duplicates {}",
            self.read_back, self.stored, self.recovered, self.removed, self.quarantined, self.duplicates
        ))?;
        out.line(&format!(
            "wire {} bytes ({:.2} per sample, TLS and acks included; handshakes {} bytes apart), disk {} bytes",
            self.wire_bytes, self.wire_bytes_per_sample, self.handshake_bytes, self.disk_bytes
        ))
    }

    /// An error that names what does not hold.
    pub(super) fn verdict(&self) -> Result<()> {
        if self.faults.is_empty() {
            return Ok(());
        }
        bail!("the equation does not hold:\n  {}", self.faults.join("\n  "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(generated: u64, stored: u64, read_back: u64) -> Device {
        Device {
            device_id: "d".into(),
            generated,
            stored,
            dropped: BTreeMap::from([("wal_bytes".into(), 5)]),
            pending: 0,
            recovered: 0,
            removed: BTreeMap::from([("conflict".into(), 2)]),
            quarantined: 0,
            read_back,
            duplicates: 0,
        }
    }

    #[test]
    fn every_term_that_is_off_is_named() {
        assert_eq!(device(105, 100, 98).faults().count(), 0);
        assert_eq!(device(106, 100, 98).faults().count(), 1);
        assert_eq!(device(106, 100, 97).faults().count(), 2);
    }
}
