//! Collector `pressure`: stall times from /proc/pressure.

use super::{CollectError, Root, number};
use crate::exposition::MetricType::Counter;
use crate::exposition::PageWriter;

/// (resource, line, metric, help)
const STALLS: [(&str, &str, &str, &str); 5] = [
    (
        "cpu",
        "some",
        "node_pressure_cpu_waiting_seconds_total",
        "Total time in seconds that processes have waited for CPU time",
    ),
    (
        "io",
        "full",
        "node_pressure_io_stalled_seconds_total",
        "Total time in seconds no process could make progress due to IO congestion",
    ),
    (
        "io",
        "some",
        "node_pressure_io_waiting_seconds_total",
        "Total time in seconds that processes have waited due to IO congestion",
    ),
    (
        "memory",
        "full",
        "node_pressure_memory_stalled_seconds_total",
        "Total time in seconds no process could make progress due to memory congestion",
    ),
    (
        "memory",
        "some",
        "node_pressure_memory_waiting_seconds_total",
        "Total time in seconds that processes have waited for memory",
    ),
];

pub(super) fn pressure(root: &Root, page: &mut PageWriter) -> Result<(), CollectError> {
    for (resource, line, name, help) in STALLS {
        let text = root.read(format!("proc/pressure/{resource}"))?;
        let micros: u64 = number(name, total(&text, line))?;
        page.single(name, Counter, help, micros as f64 / 1000.0 / 1000.0);
    }
    Ok(())
}

/// The microseconds of `some avg10=0.00 avg60=0.00 avg300=0.00 total=123`.
fn total<'a>(text: &'a str, line: &str) -> Option<&'a str> {
    let fields = text.lines().find_map(|l| l.strip_prefix(line))?;
    fields
        .split_ascii_whitespace()
        .find_map(|field| field.strip_prefix("total="))
}
