//! What a run measured, as the last line of stdout.

use anyhow::Result;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::Serialize;

use super::device::Totals;
use super::meter::Meter;

/// Samples, bytes of the TLS streams both ways, seconds.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    generated: u64,
    acked: u64,
    dropped: u64,
    wire_bytes: u64,
    handshake_bytes: u64,
    wire_bytes_per_sample: f64,
    samples_per_second: f64,
    seconds: f64,
    cpu_seconds: f64,
}

impl Report {
    /// Puts the figures together.
    pub(crate) fn new(totals: &Totals, meter: &Meter, seconds: f64, cpu_seconds: f64) -> Self {
        Report {
            generated: totals.generated,
            acked: totals.acked,
            dropped: totals.dropped,
            wire_bytes: meter.stream_bytes(),
            handshake_bytes: meter.handshake_bytes(),
            wire_bytes_per_sample: per(meter.stream_bytes(), totals.generated),
            samples_per_second: totals.generated as f64 / seconds,
            seconds,
            cpu_seconds,
        }
    }
}

/// A ratio of counters, 0 of nothing.
pub(crate) fn per(of: u64, each: u64) -> f64 {
    if each == 0 { 0.0 } else { of as f64 / each as f64 }
}

/// CPU time of this process so far, user and system, seconds.
pub(crate) fn cpu_seconds() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok((usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6)
}
