//! Unit tests of rules, in promtool's format (`promtool test rules`) and with its words.
//!
//! A file names rule files and has tests: series, and what alerts and expressions must give at which time. A test
//! evaluates all groups at each evaluation interval over series in memory. The caller reads the files.

mod file;
pub(crate) mod memory;
mod outcome;
mod run;
mod show;

pub use file::{TestFileError, UnitTests};
pub use run::TestOptions;

#[cfg(test)]
mod tests;
