//! Rule files: Prometheus's format (its `model/rulefmt`), strictly.
//!
//! Unknown keys are refused. Errors name file and line, the group and the rule; all wrong rules of a file are reported
//! at once, an error of YAML itself alone.

mod check;
mod raw;

use thiserror::Error;

use crate::group::Group;

/// Longest rule file in bytes.
pub const MAX_FILE_BYTES: usize = 16 << 20;

/// What a file may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileOptions {
    /// Keys that Prometheus does not know: `wait_for`.
    pub extensions: bool,
    /// Parts of PromQL beyond the stable ones.
    pub promql: promql::ParseOptions,
}

/// What is wrong with a rule file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RuleError {
    /// The file as a whole, or its YAML.
    #[error("{file}:{line}: {reason}")]
    File {
        /// The file.
        file: String,
        /// Line, from 1; 0 if none is to blame.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// A group.
    #[error("{file}:{line}: group {group:?}: {reason}")]
    Group {
        /// The file.
        file: String,
        /// Line, from 1.
        line: u64,
        /// The group's name.
        group: String,
        /// What is wrong.
        reason: String,
    },
    /// A rule.
    #[error("{file}:{line}: group {group:?}, rule {rule}, {name:?}: {reason}")]
    Rule {
        /// The file.
        file: String,
        /// Line, from 1.
        line: u64,
        /// The group's name.
        group: String,
        /// Which rule of the group, from 1.
        rule: usize,
        /// The rule's name.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

/// Reads and checks a rule file; `file` is its name for errors and in groups.
///
/// # Errors
/// All that is wrong with it.
pub fn parse(text: &str, file: &str, options: &FileOptions) -> Result<Vec<Group>, Vec<RuleError>> {
    let whole = |line, reason| {
        let file = file.to_owned();
        vec![RuleError::File { file, line, reason }]
    };
    if text.len() > MAX_FILE_BYTES {
        let reason = format!(
            "{} bytes are more than a rule file may have, {MAX_FILE_BYTES}; split it",
            text.len()
        );
        return Err(whole(0, reason));
    }
    let raw = raw::read(text).map_err(|(line, reason)| whole(line, reason))?;
    check::Check::new(file, options).groups(raw)
}

#[cfg(test)]
mod tests;
