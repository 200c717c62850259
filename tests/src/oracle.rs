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

/// The value of a series at a time. As on the page of a real host, most series rarely change, some count, and one in
/// eight is noise, which differs from one millisecond to the next.
pub fn value(series: u32, time: Timestamp) -> f64 {
    let ms = u64::try_from(time.ms()).unwrap_or(0);
    let n = u64::from(series) + 1;
    let value = match series % 8 {
        0 => ms % 1_000_000_007 * n % 4_294_967_291,
        1 => ms / 1000 * n,
        2 => ms / 100,
        3 => ms / 60_000 % 977,
        4 => ms / 3_600_000 * n,
        _ => n * 4096,
    };
    value as f64
}
