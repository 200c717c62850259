//! Rule files as they are configured: patterns per tenant, read into groups.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rules::{FileOptions, Group, Options, RuleError};
use wire::Tenant;

use crate::config::Config;
use crate::millis;

/// Rule files of a site: what is configured, to be read at the start and on SIGHUP.
#[derive(Debug, Clone, Default)]
pub struct RuleFiles {
    /// Patterns of paths (`*`, `?` and `[…]`), by tenant.
    pub patterns: Vec<(Tenant, Vec<PathBuf>)>,
    /// Interval of groups that name none (`global.evaluation_interval`); `None`: a minute.
    pub interval: Option<Duration>,
    /// Query offset of groups that name none (`global.rule_query_offset`).
    pub query_offset: Duration,
}

/// The groups that were read.
#[derive(Debug, Clone, Default)]
pub struct TenantRules {
    groups: Vec<(Tenant, Group)>,
    options: Options,
}

/// Why rule files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuleFilesError {
    /// A pattern that is none.
    #[error("rule_files: {pattern}: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Files are read, and wrong: one line per fault.
    #[error("{}", join(.0))]
    Rules(Vec<RuleError>),
    /// Files are rule files, but not for devices.
    #[error("{at}: {reason}")]
    Device {
        /// The group, or the entry of `device_rule_files`.
        at: String,
        /// Why.
        reason: String,
    },
}

fn join(errors: &[RuleError]) -> String {
    let lines: Vec<String> = errors.iter().map(RuleError::to_string).collect();
    lines.join("\n")
}

impl RuleFiles {
    /// Reads all files that the patterns name now.
    ///
    /// # Errors
    /// A file cannot be read, or is no rule file; all that is wrong with all files is named.
    pub fn read(&self, config: &Config) -> Result<TenantRules, RuleFilesError> {
        let options = FileOptions {
            extensions: true,
            promql: config.features.parse,
        };
        let (mut groups, mut faults) = (Vec::new(), Vec::new());
        for (tenant, patterns) in &self.patterns {
            for path in paths(patterns)? {
                let io = |source| RuleFilesError::Io {
                    path: path.clone(),
                    source,
                };
                let text = std::fs::read_to_string(&path).map_err(io)?;
                match rules::parse(&text, &path.display().to_string(), &options) {
                    Ok(all) => groups.extend(all.into_iter().map(|group| (tenant.clone(), group))),
                    Err(all) => faults.extend(all),
                }
            }
        }
        match faults.is_empty() {
            true => Ok(TenantRules {
                groups,
                options: self.options(config),
            }),
            false => Err(RuleFilesError::Rules(faults)),
        }
    }
}

impl RuleFiles {
    fn options(&self, config: &Config) -> Options {
        let default = Options::default();
        Options {
            external_labels: promql::Labels::of_sorted(config.external_labels.iter()),
            external_url: config.external_url.clone(),
            interval_ms: self.interval.map_or(default.interval_ms, millis),
            query_offset_ms: millis(self.query_offset),
            resend_delay_ms: millis(config.resend_delay),
            ..default
        }
    }
}

/// The files of some patterns, each once, in order.
pub(crate) fn paths(patterns: &[PathBuf]) -> Result<Vec<PathBuf>, RuleFilesError> {
    let mut paths = Vec::new();
    for pattern in patterns {
        let text = pattern.to_string_lossy();
        let found = glob::glob(&text).map_err(|error| RuleFilesError::Pattern {
            pattern: text.to_string(),
            reason: error.to_string(),
        })?;
        for path in found {
            paths.push(path.map_err(|error| RuleFilesError::Io {
                path: error.path().to_owned(),
                source: error.into(),
            })?);
        }
    }
    paths.sort();
    paths.dedup();
    Ok(paths)
}

impl TenantRules {
    /// How many groups there are.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub(super) fn groups(&self) -> &[(Tenant, Group)] {
        &self.groups
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }
}

/// Checks that a pattern is one, where it is configured.
///
/// # Errors
/// What is wrong with it.
pub fn check_pattern(pattern: &Path) -> Result<(), String> {
    glob::Pattern::new(&pattern.to_string_lossy())
        .map(drop)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_pattern_are_read_once_and_all_faults_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let group = |name: &str, expr: &str| {
            format!(
                "groups:\n- name: {name}\n  wait_for: 90%\n  rules:\n  - {{record: 'a:b', expr: '{expr}'}}\n"
            )
        };
        write("a.yml", &group("a", "sum(up)"));
        write("b.yml", &group("b", "sum(up)"));
        write("note.txt", "no rules");
        let tenant = Tenant::new("default").unwrap();
        let files = RuleFiles {
            patterns: vec![(tenant, vec![dir.path().join("*.yml"), dir.path().join("a.yml")])],
            ..RuleFiles::default()
        };
        let config = Config::new("_backhaul.bridge".parse().unwrap());
        let read = files.read(&config).unwrap();
        let names: Vec<&str> = read.groups().iter().map(|(_, group)| &*group.name).collect();
        assert_eq!((names, read.len()), (vec!["a", "b"], 2));
        write("b.yml", &group("b", "sum("));
        write("c.yml", "groups: [{}]\n");
        let error = files.read(&config).unwrap_err().to_string();
        assert!(error.contains("b.yml:5") && error.contains("c.yml:1"), "{error}");
    }
}
