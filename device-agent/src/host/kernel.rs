//! Collectors of single kernel files: `entropy`, `filefd`, `loadavg`, `stat`, `time`, `uname`.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{CollectError, Root, number};
use crate::exposition::MetricType::{Counter, Gauge};
use crate::exposition::PageWriter;

pub(super) fn entropy(root: &Root, page: &mut PageWriter) -> Result<(), CollectError> {
    let folder = "proc/sys/kernel/random";
    let available = number(
        "entropy_avail",
        Some(&root.read(format!("{folder}/entropy_avail"))?),
    )?;
    let size = number("poolsize", Some(&root.read(format!("{folder}/poolsize"))?))?;
    page.single(
        "node_entropy_available_bits",
        Gauge,
        "Bits of available entropy.",
        available,
    );
    page.single(
        "node_entropy_pool_size_bits",
        Gauge,
        "Bits of entropy pool.",
        size,
    );
    Ok(())
}

pub(super) fn filefd(root: &Root, page: &mut PageWriter) -> Result<(), CollectError> {
    let text = root.read("proc/sys/fs/file-nr")?;
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let allocated = number("proc/sys/fs/file-nr", words.first().copied())?;
    let maximum = number("proc/sys/fs/file-nr", words.get(2).copied())?;
    page.single(
        "node_filefd_allocated",
        Gauge,
        "File descriptor statistics: allocated.",
        allocated,
    );
    page.single(
        "node_filefd_maximum",
        Gauge,
        "File descriptor statistics: maximum.",
        maximum,
    );
    Ok(())
}

pub(super) fn loadavg(root: &Root, page: &mut PageWriter) -> Result<(), CollectError> {
    let text = root.read("proc/loadavg")?;
    let mut words = text.split_ascii_whitespace();
    for minutes in ["1", "5", "15"] {
        let load = number("proc/loadavg", words.next())?;
        page.single(
            &format!("node_load{minutes}"),
            Gauge,
            &format!("{minutes}m load average."),
            load,
        );
    }
    Ok(())
}

pub(super) fn stat(root: &Root, page: &mut PageWriter) -> Result<(), CollectError> {
    let text = root.read("proc/stat")?;
    for (key, name, kind, help) in [
        (
            "btime",
            "node_boot_time_seconds",
            Gauge,
            "Node boot time, in unixtime.",
        ),
        (
            "ctxt",
            "node_context_switches_total",
            Counter,
            "Total number of context switches.",
        ),
        ("processes", "node_forks_total", Counter, "Total number of forks."),
        (
            "intr",
            "node_intr_total",
            Counter,
            "Total number of interrupts serviced.",
        ),
        (
            "procs_blocked",
            "node_procs_blocked",
            Gauge,
            "Number of processes blocked waiting for I/O to complete.",
        ),
        (
            "procs_running",
            "node_procs_running",
            Gauge,
            "Number of processes in runnable state.",
        ),
    ] {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        let value: u64 = number(key, line.and_then(|line| line.split_ascii_whitespace().next()))?;
        page.single(name, kind, help, value as f64);
    }
    Ok(())
}

pub(super) fn time(page: &mut PageWriter) -> Result<(), CollectError> {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|_| CollectError::NoData)?;
    let help = "System time in seconds since epoch (1970).";
    page.single("node_time_seconds", Gauge, help, since.as_secs_f64());
    Ok(())
}

pub(super) fn uname(page: &mut PageWriter) -> Result<(), CollectError> {
    let names = nix::sys::utsname::uname().map_err(|e| CollectError::Format(format!("uname: {e}")))?;
    let labels = [
        ("domainname", names.domainname().to_string_lossy()),
        ("machine", names.machine().to_string_lossy()),
        ("nodename", names.nodename().to_string_lossy()),
        ("release", names.release().to_string_lossy()),
        ("sysname", names.sysname().to_string_lossy()),
        ("version", names.version().to_string_lossy()),
    ];
    let labels: Vec<(&str, &str)> = labels
        .iter()
        .map(|(name, value)| (*name, value.as_ref()))
        .collect();
    let help = "Labeled system information as provided by the uname system call.";
    page.family("node_uname_info", Gauge, help);
    page.sample("node_uname_info", &labels, 1.0);
    Ok(())
}
