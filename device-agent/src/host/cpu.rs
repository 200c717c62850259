//! Collector `cpu`: time per processor and mode, from /proc/stat.

use std::collections::BTreeMap;

use super::{CollectError, Root, number};
use crate::exposition::{MetricType, PageWriter};

/// The kernel counts in hundredths of a second on every platform (USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

/// A processor whose idle time falls by more than this was taken away and brought back, seconds.
const HOTPLUG_JUMP: f64 = 3.0;

/// Columns of /proc/stat, then guest times.
const MODES: [&str; 8] = [
    "user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal",
];
const IDLE: usize = 3;
const GUEST_MODES: [&str; 2] = ["user", "nice"];

/// Seconds by column; columns that an old kernel lacks are 0.
type Times = [f64; 10];

/// The last times: the kernel's idle and iowait can fall a little, which would read as a counter reset.
#[derive(Debug, Default)]
pub(super) struct CpuCounters(BTreeMap<u32, Times>);

impl CpuCounters {
    pub(super) fn collect(&mut self, root: &Root, page: &mut PageWriter) -> Result<(), CollectError> {
        let now = parse(&root.read("proc/stat")?)?;
        if now.is_empty() {
            return Err(CollectError::NoData);
        }
        self.0.retain(|cpu, _| now.contains_key(cpu));
        for (cpu, times) in now {
            let kept = self.0.entry(cpu).or_insert(times);
            if times[IDLE] + HOTPLUG_JUMP < kept[IDLE] {
                *kept = times;
            }
            for (old, new) in kept.iter_mut().zip(times) {
                *old = old.max(new);
            }
        }
        self.write(page);
        Ok(())
    }

    fn write(&self, page: &mut PageWriter) {
        let guest = "node_cpu_guest_seconds_total";
        page.family(
            guest,
            MetricType::Counter,
            "Seconds the CPUs spent in guests (VMs) for each mode.",
        );
        for (cpu, times) in &self.0 {
            for (mode, seconds) in GUEST_MODES.iter().zip(&times[MODES.len()..]) {
                page.sample(guest, &[("cpu", &cpu.to_string()), ("mode", mode)], *seconds);
            }
        }
        let name = "node_cpu_seconds_total";
        page.family(name, MetricType::Counter, "Seconds the CPUs spent in each mode.");
        for (cpu, times) in &self.0 {
            for (mode, seconds) in MODES.iter().zip(times) {
                page.sample(name, &[("cpu", &cpu.to_string()), ("mode", mode)], *seconds);
            }
        }
    }
}

fn parse(stat: &str) -> Result<BTreeMap<u32, Times>, CollectError> {
    let mut cpus = BTreeMap::new();
    for line in stat.lines() {
        let mut words = line.split_ascii_whitespace();
        let cpu = words
            .next()
            .and_then(|word| word.strip_prefix("cpu"))
            .filter(|cpu| !cpu.is_empty());
        let Some(cpu) = cpu else { continue };
        let mut times = Times::default();
        for (time, word) in times.iter_mut().zip(words) {
            *time = number::<u64>("proc/stat", Some(word))? as f64 / TICKS_PER_SECOND;
        }
        cpus.insert(number("proc/stat", Some(cpu))?, times);
    }
    Ok(cpus)
}
