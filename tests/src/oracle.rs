//! What test agents measure: a value that its series and time determine.

use wire::{Labels, Timestamp};

/// The metric's name.
pub const METRIC: &str = "oracle_value";

/// The labels of a series of the device.
///
/// # Panics
/// Never: the names are distinct.
pub fn labels(series: u32, instance: &str) -> Labels {
    let n = series.to_string();
    Labels::new([
        ("__name__", METRIC),
        ("n", &n),
        ("job", "oracle"),
        ("instance", instance),
    ])
    .expect("four distinct names")
}

/// The value of a series at a time: an integer that differs from that of its neighbours in both.
pub fn value(series: u32, time: Timestamp) -> f64 {
    let ms = u64::try_from(time.ms()).unwrap_or(0);
    (ms % 1_000_000_007 * u64::from(series + 1) % 4_294_967_291) as f64
}
