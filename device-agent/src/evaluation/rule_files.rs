//! The rule files of a config: found, read, and held against what a device can evaluate.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ::rules::{FileOptions, Group, Reading, RuleError, parse};
use promql::format_duration;
use wire::units::ByteSize;
use xxhash_rust::xxh64::Xxh64;

use super::columns::SAMPLE;

/// How old, in ms, a sample may be and still count: Prometheus's default.
pub(super) const LOOKBACK_MS: i64 = 5 * 60_000;

/// Largest rule file of a device, bytes.
const MAX_FILE: u64 = 1 << 20;

/// Most files.
const MAX_FILES: usize = 100;

/// Rules that a device can evaluate.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    pub(super) groups: Vec<Group>,
    /// Interval of groups that name none (`global.evaluation_interval`), ms.
    pub(super) interval_ms: i64,
    /// Most memory of the samples that rules read (`rules_memory`), bytes.
    pub(super) memory: usize,
    /// XXH64 of the files' bytes, in order.
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
}

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
        let name = file.display().to_string();
        let groups = parse(&text, &name, &FileOptions::default()).map_err(RuleFilesError::Rules)?;
        for group in groups {
            check(&group, scrape_ms, memory).map_err(|reason| RuleFilesError::Group {
                file: name.clone(),
                group: group.name.clone(),
                reason,
            })?;
            rules.groups.push(group);
        }
    }
    rules.hash = hash.digest();
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
    if window.has_fixed_times() {
        return Err(
            "@ looks further back with every evaluation, which no window on a device can hold".to_owned(),
        );
    }
    if window.has_template_queries {
        let reason = "a template asks queries, whose series the device does not keep; use labels and $value";
        return Err(reason.to_owned());
    }
    let least = |reading: &Reading| {
        let samples = reading.back_ms / scrape_ms.max(1) + 1;
        usize::try_from(samples)
            .unwrap_or(usize::MAX)
            .saturating_mul(SAMPLE)
    };
    let needed = window.readings.iter().map(least).fold(0, usize::saturating_add);
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

/// The files of all patterns, each once, in order. A pattern without wildcards must be there.
fn files(patterns: &[PathBuf]) -> Result<Vec<PathBuf>, RuleFilesError> {
    let mut found: Vec<PathBuf> = Vec::new();
    for pattern in patterns {
        let mut files = match matching(pattern)? {
            Some(files) => files,
            None => vec![pattern.clone()],
        };
        files.sort();
        files.retain(|file| !found.contains(file));
        found.append(&mut files);
        if found.len() > MAX_FILES {
            let reason = format!("more than {MAX_FILES} rule files");
            return Err(RuleFilesError::Read {
                file: pattern.clone(),
                cause: io::Error::new(io::ErrorKind::FileTooLarge, reason),
            });
        }
    }
    Ok(found)
}

/// The files that a pattern stands for; `None` if it has no wildcard.
fn matching(pattern: &Path) -> Result<Option<Vec<PathBuf>>, RuleFilesError> {
    let refused = |reason| RuleFilesError::Pattern {
        pattern: pattern.display().to_string(),
        reason,
    };
    let name = pattern.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| refused("names no file"))?;
    let folder = pattern.parent().unwrap_or(Path::new(""));
    if folder.to_str().is_some_and(|folder| folder.contains(['*', '?'])) {
        return Err(refused("* and ? may stand in the last part of the path only"));
    }
    if !name.contains(['*', '?']) {
        return Ok(None);
    }
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(|cause| RuleFilesError::Read {
        file: folder.to_owned(),
        cause,
    })?;
    let fits = |entry: &fs::DirEntry| {
        let file = entry.file_name();
        file.to_str()
            .is_some_and(|file| !file.starts_with('.') && is_like(file.as_bytes(), name.as_bytes()))
    };
    let files = entries.iter().filter(|entry| fits(entry)).map(fs::DirEntry::path);
    Ok(Some(files.filter(|file| file.is_file()).collect()))
}

/// Whether a name is as a pattern says: `*` is any text, `?` any byte.
fn is_like(name: &[u8], pattern: &[u8]) -> bool {
    let (mut n, mut p) = (0, 0);
    // Where the last `*` stands, and how much it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[n] => {
                n += 1;
                p += 1;
            }
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                (n, p) = (taken + 1, at + 1);
            }
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
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

    #[test]
    fn patterns_name_files_in_order_and_each_once() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.yml", "a.yml", ".c.yml", "a.yaml"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let names = |patterns: &[&str]| {
            let patterns: Vec<PathBuf> = patterns.iter().map(|p| dir.path().join(p)).collect();
            let found = files(&patterns).map_err(|e| e.to_string())?;
            Ok::<_, String>(
                found
                    .iter()
                    .map(|f| f.file_name().unwrap().to_str().unwrap().to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(names(&["b.yml", "*.yml"]).unwrap(), ["b.yml", "a.yml"]);
        assert_eq!(names(&["?.y*ml"]).unwrap(), ["a.yaml", "a.yml", "b.yml"]);
        assert!(names(&["x*"]).unwrap().is_empty());
        assert!(names(&["*/a.yml"]).unwrap_err().contains("last part"));
        for (name, pattern, fits) in [
            ("abc", "a*c", true),
            ("abc", "*", true),
            ("aXbXc", "a*X?", true),
            ("abc", "a?", false),
            ("abc", "*b", false),
            ("", "*", true),
        ] {
            assert_eq!(
                is_like(name.as_bytes(), pattern.as_bytes()),
                fits,
                "{name} {pattern}"
            );
        }
    }
}
