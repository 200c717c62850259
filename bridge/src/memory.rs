//! How much memory this process may use, from what Linux says, and what of it devices may fill.
//!
//! A control group (v2) limits all below it, so the least `memory.max` from the process's group up to the root counts;
//! without one it is the machine's memory. What cannot be read counts as not limited.

use std::fs;
use std::path::Path;

/// Bounds of the default ingest budget, bytes.
const LEAST_BUDGET: u64 = 256 << 20;
const MOST_BUDGET: u64 = 4 << 30;

/// The default ingest budget in bytes: a quarter of the memory, within the bounds.
pub(crate) fn ingest_budget() -> u64 {
    budget_of(memory_bytes())
}

fn budget_of(memory: Option<u64>) -> u64 {
    memory.map_or(LEAST_BUDGET, |bytes| (bytes / 4).clamp(LEAST_BUDGET, MOST_BUDGET))
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
    fn the_budget_is_a_quarter_of_the_memory_within_its_bounds() {
        assert_eq!(budget_of(Some(8 << 30)), 2 << 30);
        assert_eq!(budget_of(Some(512 << 20)), LEAST_BUDGET);
        assert_eq!(budget_of(Some(1 << 40)), MOST_BUDGET);
        assert_eq!(budget_of(None), LEAST_BUDGET);
        let real = ingest_budget();
        assert!((LEAST_BUDGET..=MOST_BUDGET).contains(&real));
    }
}
