//! The real promtool.

use std::path::PathBuf;

#[path = "../../../promql/tests/prometheus/program.rs"]
mod of_prometheus;

/// Where it is; prints why nothing is compared if it is nowhere.
pub(crate) fn promtool() -> Option<PathBuf> {
    let found = of_prometheus::find("promtool", "PROMTOOL");
    found.inspect_err(|why| println!("not compared: {why}")).ok()
}
