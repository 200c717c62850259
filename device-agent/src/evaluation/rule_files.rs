//! The rule files of a config: found, read, and held against what a device can evaluate.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ::rules::{FileOptions, Group, Reading, RuleError, parse};
use promql::format_duration;
use wire::message::RuleFile;
use wire::units::ByteSize;
use xxhash_rust::xxh64::Xxh64;

use super::columns::SAMPLE;
use super::patterns::files;

/// How old, in ms, a sample may be and still count: Prometheus's default.
pub(super) const LOOKBACK_MS: i64 = 5 * 60_000;

/// Largest rule file of a device, bytes.
const MAX_FILE: u64 = 1 << 20;

/// Rules that a device can evaluate.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    pub(super) groups: Vec<Group>,
    /// Interval of groups that name none (`global.evaluation_interval`), ms.
    pub(super) interval_ms: i64,
    /// Interval of the fastest target, ms.
    pub(super) scrape_ms: i64,
    /// Most memory of the samples that rules read (`rules_memory`), bytes.
    pub(super) memory: usize,
    /// XXH64 of the bytes of the device's own files, in order.
    pub(super) hash: u64,
}

/// Why rule files are refused.
#[derive(Debug, thiserror::Error)]
pub enum RuleFilesError {
    /// A pattern is none.
    #[error("{pattern:?}: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file or folder cannot be read, or there are too many.
    #[error("{}: {cause}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// What is wrong with the rules of one file, each with its line.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Rules(Vec<RuleError>),
    /// A group that a device cannot evaluate.
    #[error("{file}: group {group:?}: {reason}")]
    Group {
        /// The file.
        file: String,
        /// The group.
        group: String,
        /// Why.
        reason: String,
    },
    /// Each group can be evaluated, but not all of them.
    #[error("all rules together need {needed}, more than rules_memory of {memory}")]
    Memory {
        /// For one series of each selection.
        needed: ByteSize,
        /// The budget.
        memory: ByteSize,
    },
}

/// What the files of a pushed configuration are called before their names, so that none is taken for one of the device.
const PUSHED: &str = "bridge:";

/// Reads and checks rule files. `patterns` are paths in which `*` and `?` may stand in the last part; `interval_ms` is that of
/// groups that name none, `scrape_ms` that of the fastest target, `memory` the budget in bytes.
///
/// # Errors
/// The first file that cannot be read, all that is wrong with its rules, or a group beyond the budget.
pub(crate) fn load(
    patterns: &[PathBuf],
    interval_ms: i64,
    scrape_ms: i64,
    memory: usize,
) -> Result<Rules, RuleFilesError> {
    let mut rules = Rules {
        groups: Vec::new(),
        interval_ms,
        scrape_ms,
        memory,
        hash: 0,
    };
    let mut hash = Xxh64::new(0);
    for file in files(patterns)? {
        let text = read(&file).map_err(|cause| RuleFilesError::Read {
            file: file.clone(),
            cause,
        })?;
        hash.update(text.as_bytes());
        rules.add(&file.display().to_string(), &text)?;
    }
    rules.hash = hash.digest();
    rules.check_memory()?;
    Ok(rules)
}

impl Rules {
    /// Whether there is nothing to evaluate.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// How many rules there are.
    pub fn count(&self) -> usize {
        self.groups.iter().map(|group| group.rules.len()).sum()
    }

    /// These rules and those of files that were pushed.
    ///
    /// # Errors
    /// As of [`load`], with `bridge:` before the names of files.
    pub(crate) fn with_pushed(&self, files: &[RuleFile]) -> Result<Rules, RuleFilesError> {
        let mut rules = self.clone();
        for file in files {
            rules.add(&format!("{PUSHED}{}", file.name), &file.text)?;
        }
        rules.check_memory()?;
        Ok(rules)
    }

    fn add(&mut self, file: &str, text: &str) -> Result<(), RuleFilesError> {
        let groups = parse(text, file, &FileOptions::default()).map_err(RuleFilesError::Rules)?;
        for group in groups {
            check(&group, self.scrape_ms, self.memory).map_err(|reason| RuleFilesError::Group {
                file: file.to_owned(),
                group: group.name.clone(),
                reason,
            })?;
            self.groups.push(group);
        }
        Ok(())
    }

    /// Whether one series of each selection has room, those of several rules counted once.
    fn check_memory(&self) -> Result<(), RuleFilesError> {
        let mut selections: Vec<Reading> = Vec::new();
        for reading in self.readings() {
            match selections.iter_mut().find(|one| one.matchers == reading.matchers) {
                Some(one) => one.back_ms = one.back_ms.max(reading.back_ms),
                None => selections.push(reading),
            }
        }
        match least(&selections, self.scrape_ms) {
            needed if needed > self.memory => Err(RuleFilesError::Memory {
                needed: ByteSize::new(needed as u64 / 1024 * 1024),
                memory: ByteSize::new(self.memory as u64),
            }),
            _ => Ok(()),
        }
    }

    /// What all of them read.
    pub(super) fn readings(&self) -> Vec<Reading> {
        let windows = self.groups.iter().map(|group| group.window(LOOKBACK_MS, 0));
        windows.flat_map(|window| window.readings).collect()
    }
}

fn read(file: &Path) -> io::Result<String> {
    let size = fs::metadata(file)?.len();
    if size > MAX_FILE {
        let reason = format!("{size} bytes are more than the {MAX_FILE} of a rule file on a device");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    fs::read_to_string(file)
}

/// Whether a device can evaluate a group. How many series an expression selects is not known before it runs; what one
/// series of each takes is the least that it needs.
fn check(group: &Group, scrape_ms: i64, memory: usize) -> Result<(), String> {
    let window = group.window(LOOKBACK_MS, 0);
    if let Some(reason) = window.needs_store() {
        return Err(reason.to_owned());
    }
    let needed = least(&window.readings, scrape_ms);
    if needed > memory {
        return Err(format!(
            "it looks back {} and needs {} for one series of each selection alone, more than rules_memory of {}; \
             shorten the ranges or raise rules_memory",
            format_duration(window.back_ms()),
            ByteSize::new(needed as u64 / 1024 * 1024),
            ByteSize::new(memory as u64)
        ));
    }
    Ok(())
}

/// Memory of one series of each selection, bytes.
fn least(selections: &[Reading], scrape_ms: i64) -> usize {
    let one = |reading: &Reading| {
        let samples = reading.back_ms / scrape_ms.max(1) + 1;
        usize::try_from(samples)
            .unwrap_or(usize::MAX)
            .saturating_mul(SAMPLE)
    };
    selections.iter().map(one).fold(0, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(expr: &str) -> Group {
        let text = format!("groups:\n- name: g\n  rules:\n  - alert: A\n    expr: '{expr}'\n");
        parse(&text, "r.yml", &FileOptions::default()).unwrap().remove(0)
    }

    #[test]
    fn a_group_beyond_the_budget_is_refused_with_what_to_do() {
        let check = |expr: &str| check(&group(expr), 1000, 1 << 20);
        assert_eq!(check("rate(a[1h]) > 1"), Ok(()));
        let reason = check("rate(a[30d]) > 1").unwrap_err();
        assert!(
            reason.starts_with("it looks back 30d and needs 40500KB for one series")
                && reason.contains("more than rules_memory of 1MB"),
            "{reason}"
        );
        assert!(check("a @ 0 > 1").unwrap_err().starts_with("@ looks"));
    }
}
