//! Collectors `meminfo` and `vmstat`.

use procfs::{FromRead as _, VmStat};

use super::{CollectError, Root, number};
use crate::exposition::{MetricType, PageWriter};

/// Every field of /proc/meminfo as `node_memory_<field>`, with `_bytes` where the kernel gives a unit.
pub(super) fn meminfo(root: &Root, page: &mut PageWriter) -> Result<(), CollectError> {
    for line in root.read("proc/meminfo")?.lines() {
        let Some((field, rest)) = line.split_once(':') else {
            continue;
        };
        let mut words = rest.split_ascii_whitespace();
        let Some(value) = words.next() else { continue };
        let value: f64 = number(field, Some(value))?;
        // `Active(anon)` becomes `Active_anon`.
        let field = field.trim().replace('(', "_").replace(')', "");
        let (field, value) = match words.next() {
            Some("kB") => (format!("{field}_bytes"), value * 1024.0),
            _ => (field, value),
        };
        let help = format!("Memory information field {field}.");
        page.single(&format!("node_memory_{field}"), MetricType::Gauge, &help, value);
    }
    Ok(())
}

/// node_exporter's choice of /proc/vmstat: paging, swapping, faults and the OOM killer.
pub(super) fn vmstat(root: &Root, page: &mut PageWriter) -> Result<(), CollectError> {
    let text = root.read("proc/vmstat")?;
    let stat = VmStat::from_read(text.as_bytes()).map_err(|e| CollectError::Format(e.to_string()))?;
    let mut fields: Vec<(String, i64)> = stat.0.into_iter().filter(|(name, _)| is_chosen(name)).collect();
    fields.sort_unstable();
    for (field, value) in fields {
        let help = format!("/proc/vmstat information field {field}.");
        page.single(
            &format!("node_vmstat_{field}"),
            MetricType::Unknown,
            &help,
            value as f64,
        );
    }
    Ok(())
}

fn is_chosen(field: &str) -> bool {
    ["oom_kill", "pgpg", "pswp"]
        .iter()
        .any(|prefix| field.starts_with(prefix))
        || (field.starts_with("pg") && field.contains("fault"))
}
