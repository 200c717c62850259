//! How much memory this process may use, from what Linux says, and what of it each part may fill.
//!
//! A control group (v2) limits all below it, so the least `memory.max` from the process's group up to the root counts;
//! without one it is the machine's memory. What cannot be read counts as not limited.

use std::fs;
use std::path::Path;

/// What is assumed where Linux does not say.
const UNKNOWN: u64 = 1 << 30;

/// Bounds of the ingest budget, bytes.
const LEAST_INGEST: u64 = 64 << 20;
const MOST_INGEST: u64 = 4 << 30;

/// Bounds of the samples that a query may hold, Prometheus's default above.
const LEAST_SAMPLES: u64 = 1_000_000;
const MOST_SAMPLES: u64 = 50_000_000;

/// The least bytes that queries may hold together.
const LEAST_QUERY_BYTES: u64 = 64 << 20;

/// Bytes of a sample that a query holds: time and value.
const SAMPLE_BYTES: u64 = 16;

/// What of the allowed memory each part may fill. Of the whole, rows in memory have half, late ones a tenth of it,
/// payloads that devices were granted a fifth, and queries a fifth, of which one may have half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budgets {
    /// Bytes of rows in memory at which windows are sealed early (`store::Config::head_bytes`).
    pub heads: usize,
    /// The same of late rows (`store::Config::late_bytes`).
    pub late: usize,
    /// Payload bytes that devices may have been granted and that are not yet committed.
    pub ingest: u64,
    /// Samples that a query may hold at once.
    pub query_samples: u64,
    /// Bytes that a query may hold at once.
    pub query_bytes: u64,
    /// The same of all queries together.
    pub query_total_bytes: u64,
}

impl Budgets {
    /// The budgets of a percentage of this process's memory: the control group's `memory.max`, else the machine's.
    pub fn of_percent(percent: u8) -> Self {
        Budgets::of(memory_bytes().unwrap_or(UNKNOWN), percent)
    }

    fn of(memory: u64, percent: u8) -> Self {
        let allowed = memory / 100 * u64::from(percent.min(100));
        let queries = (allowed / 5).max(LEAST_QUERY_BYTES);
        let bytes = |share: u64| usize::try_from(allowed / 10 * share).unwrap_or(usize::MAX);
        Budgets {
            heads: bytes(5),
            late: bytes(1),
            ingest: (allowed / 5).clamp(LEAST_INGEST, MOST_INGEST),
            query_bytes: queries / 2,
            query_total_bytes: queries,
            query_samples: (allowed / 5 / SAMPLE_BYTES).clamp(LEAST_SAMPLES, MOST_SAMPLES),
        }
    }
}

fn memory_bytes() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = group_of(&groups).ancestors().filter_map(|group| {
        fs::read_to_string(Path::new("/sys/fs/cgroup").join(group).join("memory.max")).ok()
    });
    let total = fs::read_to_string("/proc/meminfo").ok();
    least(limits, total.as_deref())
}

/// The process's group, relative to the root of the groups.
fn group_of(groups: &str) -> &Path {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    Path::new(own.unwrap_or_default())
}

fn least(limits: impl Iterator<Item = String>, meminfo: Option<&str>) -> Option<u64> {
    limits
        .filter_map(|limit| limit.trim().parse().ok())
        .chain(meminfo.and_then(total_of))
        .min()
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:        8388608 kB\nMemFree:         1024 kB\n";

    #[test]
    fn a_control_group_s_limit_counts_before_the_machine_s_memory() {
        let limits = |all: &[&str]| {
            all.iter()
                .map(|s| (*s).to_owned())
                .collect::<Vec<_>>()
                .into_iter()
        };
        let of = |all: &[&str]| least(limits(all), Some(MEMINFO));
        assert_eq!(of(&["2147483648\n", "max\n"]), Some(2 << 30));
        assert_eq!(of(&["max\n", "1073741824\n"]), Some(1 << 30));
        assert_eq!(of(&["max\n"]), Some(8 << 30));
        assert_eq!(of(&[]), Some(8 << 30));
        assert_eq!(least(limits(&["max"]), Some("MemTotal: many kB")), None);
    }

    #[test]
    fn the_process_s_group_is_that_of_version_two() {
        let mixed = "5:memory:/other\n0::/system.slice/backhaul.service\n";
        assert_eq!(group_of(mixed), Path::new("system.slice/backhaul.service"));
        assert_eq!(group_of("0::/\n"), Path::new(""));
        assert_eq!(group_of("5:memory:/other\n"), Path::new(""));
    }

    #[test]
    fn the_budgets_share_what_is_allowed() {
        let budgets = Budgets::of(10 << 30, 60);
        let sum = budgets.heads as u64 + budgets.late as u64 + budgets.ingest;
        assert!(sum + budgets.query_total_bytes <= 6 << 30, "{budgets:?}");
        assert!(budgets.heads as u64 > (3 << 30) - 1000 && budgets.query_samples == MOST_SAMPLES);
        let small = Budgets::of(256 << 20, 60);
        assert_eq!((small.ingest, small.query_samples), (LEAST_INGEST, 2_013_265));
        assert_eq!(small.query_total_bytes, LEAST_QUERY_BYTES);
        assert_eq!(budgets.query_bytes, budgets.query_total_bytes / 2);
        assert_eq!(Budgets::of(1 << 42, 100).ingest, MOST_INGEST);
        assert!(Budgets::of_percent(60).heads > 0);
    }
}
