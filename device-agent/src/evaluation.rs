//! Rules on the device: evaluated over what its own scrapes brought, with or without a link.
//!
//! `rule_files` reads the files that `patterns` name and refuses what the device cannot hold; `window` keeps the samples
//! that rules read, only those and only as long; `engine` evaluates groups at their times; `task` runs it between the inputs
//! and the log, so that rules see a scrape as it is logged, hands results to the log and alerts to the desk, and takes other
//! rules over. `state_file` keeps what is pending and firing over restarts; `refill` takes the window's past from the log's
//! segments.
//!
//! Rules live on a clock of their own that follows the monotonic one and takes over corrections of the wall clock with
//! all the times that it has given, so a jump neither fires nor ends an alert.

mod columns;
mod engine;
mod metrics;
mod outlet;
mod patterns;
mod refill;
mod rule_files;
mod state_file;
mod task;
#[cfg(test)]
mod tests;
mod window;

pub(crate) use engine::{Engine, EngineConfig};
pub(crate) use metrics::RuleMetrics;
pub(crate) use rule_files::load;
pub use rule_files::{RuleFilesError, Rules};
pub(crate) use task::{Change, Surroundings, Task};
