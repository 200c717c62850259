//! Prometheus's rules without I/O: files, alert state, templates.
//!
//! [`parse()`] reads a rule file into [`Group`]s. Nothing here has a clock, threads or a runtime: times come from the
//! caller in Unix ms, data from its storage.

mod file;
mod group;
pub mod template;

pub use file::{FileOptions, MAX_FILE_BYTES, RuleError, parse};
pub use group::{Action, Alerting, Group, Pairs, Rule, WaitFor};
