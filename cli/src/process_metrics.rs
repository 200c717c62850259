//! What every process shows on /metrics: process_* and backhaul_build_info.

use anyhow::Result;
use prometheus::process_collector::ProcessCollector;
use prometheus::{Gauge, Opts, Registry};

/// Registers both.
pub(crate) fn register(registry: &Registry, program: &str) -> Result<()> {
    registry.register(Box::new(ProcessCollector::for_self()))?;
    let info = Gauge::with_opts(
        Opts::new(
            "backhaul_build_info",
            "A metric with the constant value 1, labelled by program and version.",
        )
        .const_label("program", program)
        .const_label("version", env!("CARGO_PKG_VERSION")),
    )?;
    info.set(1.0);
    registry.register(Box::new(info))?;
    Ok(())
}
