//! Generated data of a small host under node_exporter's names: about 60 series, counters that rise, gauges that wander.

use wire::{Labels, Timestamp};

use super::source::{mix, unit};

/// How a series moves.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// The same for the life of the device.
    Constant(f64),
    /// Wanders around a mean by a share of it, on a grain.
    Wander { mean: f64, share: f64, grain: f64 },
    /// Rises by this much a second on the mean, on a grain.
    Counter { per_second: f64, grain: f64 },
    /// The time of day, seconds.
    Clock,
}

/// Metric, one label pair or none, shape.
type Spec = (&'static str, &'static [(&'static str, &'static str)], Shape);

const fn counter(per_second: f64, grain: f64) -> Shape {
    Shape::Counter { per_second, grain }
}

const fn wander(mean: f64, share: f64, grain: f64) -> Shape {
    Shape::Wander { mean, share, grain }
}

const PAGE: f64 = 4096.0;
const GB: f64 = (1u64 << 30) as f64;

/// The series of every device.
#[rustfmt::skip]
pub(crate) const SERIES: &[Spec] = &[
    ("node_boot_time_seconds", &[], Shape::Constant(1_790_000_000.0)),
    ("node_context_switches_total", &[], counter(900.0, 1.0)),
    ("node_cpu_seconds_total", &[("cpu", "0"), ("mode", "idle")], counter(0.86, 0.01)),
    ("node_cpu_seconds_total", &[("cpu", "0"), ("mode", "iowait")], counter(0.01, 0.01)),
    ("node_cpu_seconds_total", &[("cpu", "0"), ("mode", "irq")], counter(0.0, 0.01)),
    ("node_cpu_seconds_total", &[("cpu", "0"), ("mode", "nice")], counter(0.0, 0.01)),
    ("node_cpu_seconds_total", &[("cpu", "0"), ("mode", "softirq")], counter(0.01, 0.01)),
    ("node_cpu_seconds_total", &[("cpu", "0"), ("mode", "steal")], counter(0.0, 0.01)),
    ("node_cpu_seconds_total", &[("cpu", "0"), ("mode", "system")], counter(0.04, 0.01)),
    ("node_cpu_seconds_total", &[("cpu", "0"), ("mode", "user")], counter(0.08, 0.01)),
    ("node_cpu_seconds_total", &[("cpu", "1"), ("mode", "idle")], counter(0.88, 0.01)),
    ("node_cpu_seconds_total", &[("cpu", "1"), ("mode", "iowait")], counter(0.01, 0.01)),
    ("node_cpu_seconds_total", &[("cpu", "1"), ("mode", "irq")], counter(0.0, 0.01)),
    ("node_cpu_seconds_total", &[("cpu", "1"), ("mode", "nice")], counter(0.0, 0.01)),
    ("node_cpu_seconds_total", &[("cpu", "1"), ("mode", "softirq")], counter(0.01, 0.01)),
    ("node_cpu_seconds_total", &[("cpu", "1"), ("mode", "steal")], counter(0.0, 0.01)),
    ("node_cpu_seconds_total", &[("cpu", "1"), ("mode", "system")], counter(0.03, 0.01)),
    ("node_cpu_seconds_total", &[("cpu", "1"), ("mode", "user")], counter(0.07, 0.01)),
    ("node_disk_io_time_seconds_total", &[("device", "mmcblk0")], counter(0.02, 0.001)),
    ("node_disk_read_bytes_total", &[("device", "mmcblk0")], counter(20_000.0, 512.0)),
    ("node_disk_reads_completed_total", &[("device", "mmcblk0")], counter(1.0, 1.0)),
    ("node_disk_writes_completed_total", &[("device", "mmcblk0")], counter(3.0, 1.0)),
    ("node_disk_written_bytes_total", &[("device", "mmcblk0")], counter(60_000.0, 512.0)),
    ("node_entropy_available_bits", &[], Shape::Constant(256.0)),
    ("node_filefd_allocated", &[], wander(1200.0, 0.1, 32.0)),
    ("node_filesystem_avail_bytes", &[("mountpoint", "/")], wander(20.0 * GB, 0.01, PAGE)),
    ("node_filesystem_free_bytes", &[("mountpoint", "/")], wander(21.0 * GB, 0.01, PAGE)),
    ("node_filesystem_readonly", &[("mountpoint", "/")], Shape::Constant(0.0)),
    ("node_filesystem_size_bytes", &[("mountpoint", "/")], Shape::Constant(29.0 * GB)),
    ("node_forks_total", &[], counter(2.0, 1.0)),
    ("node_hwmon_temp_celsius", &[("chip", "soc"), ("sensor", "temp1")], wander(52.0, 0.1, 0.5)),
    ("node_intr_total", &[], counter(700.0, 1.0)),
    ("node_load1", &[], wander(0.4, 0.9, 0.01)),
    ("node_load15", &[], wander(0.3, 0.2, 0.01)),
    ("node_load5", &[], wander(0.35, 0.4, 0.01)),
    ("node_memory_Active_bytes", &[], wander(0.4 * GB, 0.05, PAGE)),
    ("node_memory_Buffers_bytes", &[], wander(0.05 * GB, 0.01, PAGE)),
    ("node_memory_Cached_bytes", &[], wander(0.5 * GB, 0.02, PAGE)),
    ("node_memory_Dirty_bytes", &[], wander(400_000.0, 0.9, PAGE)),
    ("node_memory_MemAvailable_bytes", &[], wander(1.2 * GB, 0.03, PAGE)),
    ("node_memory_MemFree_bytes", &[], wander(0.7 * GB, 0.05, PAGE)),
    ("node_memory_MemTotal_bytes", &[], Shape::Constant(2.0 * GB)),
    ("node_memory_SwapFree_bytes", &[], Shape::Constant(0.0)),
    ("node_memory_SwapTotal_bytes", &[], Shape::Constant(0.0)),
    ("node_network_receive_bytes_total", &[("device", "eth0")], counter(5000.0, 1.0)),
    ("node_network_receive_drop_total", &[("device", "eth0")], counter(0.0, 1.0)),
    ("node_network_receive_errs_total", &[("device", "eth0")], counter(0.0, 1.0)),
    ("node_network_receive_packets_total", &[("device", "eth0")], counter(20.0, 1.0)),
    ("node_network_transmit_bytes_total", &[("device", "eth0")], counter(4000.0, 1.0)),
    ("node_network_transmit_drop_total", &[("device", "eth0")], counter(0.0, 1.0)),
    ("node_network_transmit_errs_total", &[("device", "eth0")], counter(0.0, 1.0)),
    ("node_network_transmit_packets_total", &[("device", "eth0")], counter(18.0, 1.0)),
    ("node_network_up", &[("device", "eth0")], Shape::Constant(1.0)),
    ("node_procs_blocked", &[], Shape::Constant(0.0)),
    ("node_procs_running", &[], wander(2.0, 0.9, 1.0)),
    ("node_time_seconds", &[], Shape::Clock),
    ("node_uname_info", &[("machine", "aarch64"), ("release", "6.1.0"), ("sysname", "Linux")], Shape::Constant(1.0)),
    ("node_vmstat_pgfault", &[], counter(800.0, 1.0)),
    ("node_vmstat_pgmajfault", &[], counter(0.05, 1.0)),
];

/// The labels of a series, without job and instance.
pub(crate) fn labels(series: usize) -> Labels {
    let (name, pairs, _) = SERIES[series];
    Labels::new(pairs.iter().copied().chain([(wire::labels::METRIC_NAME, name)]))
        .expect("the table's label names are distinct and not empty")
}

/// The value of a series; a counter follows the scrape's time, so that rates are as the table says.
pub(crate) fn value(device: u32, scrape: u64, series: usize, time: Timestamp) -> f64 {
    let who = mix(u64::from(device), series as u64);
    let noise = unit(who, scrape);
    match SERIES[series].2 {
        Shape::Constant(v) => v,
        Shape::Clock => time.seconds(),
        Shape::Wander { mean, share, grain } => {
            let own = mean * (0.9 + 0.2 * unit(who, u64::MAX));
            ((own * (1.0 + share * (noise - 0.5))) / grain).round() * grain
        }
        Shape::Counter { per_second, grain } => {
            // Less than half a scrape's rise of noise, so that it never falls.
            let seconds = (time.ms() - 1_790_000_000_000).max(0) as f64 / 1000.0;
            let own = per_second * (0.8 + 0.4 * unit(who, u64::MAX));
            ((own * (seconds + 0.4 * noise)) / grain).floor() * grain
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_rise_and_labels_are_distinct() {
        let mut seen = std::collections::HashSet::new();
        for (series, (name, _, shape)) in SERIES.iter().enumerate() {
            assert!(seen.insert(labels(series)), "{series}");
            let at = |scrape: u64| {
                value(
                    7,
                    scrape,
                    series,
                    Timestamp::from_ms(1_795_000_000_000 + scrape as i64 * 1000),
                )
            };
            if matches!(shape, Shape::Counter { .. }) {
                assert!((0..100).all(|scrape| at(scrape) <= at(scrape + 1)), "{name}");
            }
        }
    }
}
