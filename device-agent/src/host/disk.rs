//! Collector `diskstats`: I/O per whole disk, from /proc/diskstats.

use procfs::{DiskStat, DiskStats, FromRead as _};

use super::{CollectError, Root};
use crate::exposition::MetricType::{self, Counter, Gauge};
use crate::exposition::PageWriter;

/// /proc/diskstats counts in these, whatever the device has, bytes.
const SECTOR: f64 = 512.0;

/// The kernel's milliseconds in seconds: a product, as in node_exporter, for the same last bit.
const SECONDS_PER_MS: f64 = 0.001;

struct Field {
    name: &'static str,
    kind: MetricType,
    help: &'static str,
    /// None where the kernel is too old for it.
    value: fn(&DiskStat) -> Option<f64>,
}

const fn counter(name: &'static str, help: &'static str, value: fn(&DiskStat) -> Option<f64>) -> Field {
    Field {
        name,
        kind: Counter,
        help,
        value,
    }
}

const FIELDS: [Field; 17] = [
    counter(
        "node_disk_discard_time_seconds_total",
        "This is the total number of seconds spent by all discards.",
        |d| Some(d.time_discarding? as f64 * SECONDS_PER_MS),
    ),
    counter(
        "node_disk_discarded_sectors_total",
        "The total number of sectors discarded successfully.",
        |d| Some(d.sectors_discarded? as f64),
    ),
    counter(
        "node_disk_discards_completed_total",
        "The total number of discards completed successfully.",
        |d| Some(d.discards? as f64),
    ),
    counter(
        "node_disk_discards_merged_total",
        "The total number of discards merged.",
        |d| Some(d.discards_merged? as f64),
    ),
    counter(
        "node_disk_flush_requests_time_seconds_total",
        "This is the total number of seconds spent by all flush requests.",
        |d| Some(d.time_flushing? as f64 * SECONDS_PER_MS),
    ),
    counter(
        "node_disk_flush_requests_total",
        "The total number of flush requests completed successfully",
        |d| Some(d.flushes? as f64),
    ),
    Field {
        name: "node_disk_io_now",
        kind: Gauge,
        help: "The number of I/Os currently in progress.",
        value: |d| Some(d.in_progress as f64),
    },
    counter(
        "node_disk_io_time_seconds_total",
        "Total seconds spent doing I/Os.",
        |d| Some(d.time_in_progress as f64 * SECONDS_PER_MS),
    ),
    counter(
        "node_disk_io_time_weighted_seconds_total",
        "The weighted # of seconds spent doing I/Os.",
        |d| Some(d.weighted_time_in_progress as f64 * SECONDS_PER_MS),
    ),
    counter(
        "node_disk_read_bytes_total",
        "The total number of bytes read successfully.",
        |d| Some(d.sectors_read as f64 * SECTOR),
    ),
    counter(
        "node_disk_read_time_seconds_total",
        "The total number of seconds spent by all reads.",
        |d| Some(d.time_reading as f64 * SECONDS_PER_MS),
    ),
    counter(
        "node_disk_reads_completed_total",
        "The total number of reads completed successfully.",
        |d| Some(d.reads as f64),
    ),
    counter(
        "node_disk_reads_merged_total",
        "The total number of reads merged.",
        |d| Some(d.merged as f64),
    ),
    counter(
        "node_disk_write_time_seconds_total",
        "This is the total number of seconds spent by all writes.",
        |d| Some(d.time_writing as f64 * SECONDS_PER_MS),
    ),
    counter(
        "node_disk_writes_completed_total",
        "The total number of writes completed successfully.",
        |d| Some(d.writes as f64),
    ),
    counter(
        "node_disk_writes_merged_total",
        "The number of writes merged.",
        |d| Some(d.writes_merged as f64),
    ),
    counter(
        "node_disk_written_bytes_total",
        "The total number of bytes written successfully.",
        |d| Some(d.sectors_written as f64 * SECTOR),
    ),
];

pub(super) fn diskstats(root: &Root, page: &mut PageWriter) -> Result<(), CollectError> {
    let text = root.read("proc/diskstats")?;
    let stats = DiskStats::from_read(text.as_bytes()).map_err(|e| CollectError::Format(e.to_string()))?;
    let disks: Vec<DiskStat> = stats
        .0
        .into_iter()
        .filter(|disk| !is_excluded(&disk.name))
        .collect();
    for field in &FIELDS {
        let values = disks.iter().filter_map(|disk| Some((disk, (field.value)(disk)?)));
        let mut values = values.peekable();
        if values.peek().is_some() {
            page.family(field.name, field.kind, field.help);
        }
        for (disk, value) in values {
            page.sample(field.name, &[("device", &disk.name)], value);
        }
    }
    Ok(())
}

/// node_exporter's default: `^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$`, that is RAM and loop devices, floppies
/// and partitions.
fn is_excluded(name: &str) -> bool {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if stem.len() == name.len() {
        return false;
    }
    let letter = |rest: &str| rest.len() == 1 && rest.starts_with(|c: char| c.is_ascii_lowercase());
    let partition = ["hd", "sd", "vd", "xvd"]
        .iter()
        .any(|disk| stem.strip_prefix(disk).is_some_and(letter));
    matches!(stem, "zram" | "ram" | "loop" | "fd") || partition || is_nvme_partition_stem(stem)
}

/// `nvme0n1p`
fn is_nvme_partition_stem(stem: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let parts = stem
        .strip_prefix("nvme")
        .and_then(|rest| rest.strip_suffix('p'))
        .and_then(|rest| rest.split_once('n'));
    parts.is_some_and(|(controller, namespace)| digits(controller) && digits(namespace))
}
