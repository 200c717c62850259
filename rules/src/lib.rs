//! Prometheus's rules without I/O: files, alert state, templates.
//!
//! [`parse()`] reads a rule file into [`Group`]s. A [`GroupState`] evaluates one over a [`Storage`], keeps its alerts
//! and says which of them are due to be sent. Nothing here has a clock, threads or a runtime: times come from the
//! caller in Unix ms, data from its storage.
//!
//! ```
//! use rules::{FileOptions, GroupState, Options, parse};
//!
//! let text = "groups: [{name: g, rules: [{alert: Down, expr: up == 0, for: 5m}]}]";
//! let groups = parse(text, "rules.yml", &FileOptions::default()).expect("a valid file");
//! let group = groups.into_iter().next().expect("its group");
//! assert_eq!(group.window(300_000, 0).back_ms(), 300_000);
//! let state = GroupState::new(group, Options::default());
//! assert!(state.next_at(1_700_000_000_000) <= 1_700_000_060_000);
//! ```

mod file;
mod group;
mod lint;
mod schedule;
mod state;
mod storage;
pub mod template;
pub mod unit_test;
mod window;
mod yaml;

pub use file::{FileOptions, MAX_FILE_BYTES, RuleError, parse};
pub use group::{Action, Alerting, Group, Pairs, Rule, WaitFor};
pub use lint::{Duplicate, duplicates};
pub use state::{
    Alert, AlertState, DueAlert, Evaluation, GroupState, Health, MAX_STATE_BYTES, Options, RuleState,
    StateError,
};
pub use storage::{AppendError, Refused, Sample, SampleValue, Storage};
pub use window::{Reading, Window};
