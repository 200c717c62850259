//! Rule files for devices: who is to evaluate which, and the message that is pushed to each.
//!
//! Of the entries of `device_rule_files` the first one that matches a device is its; a device of none gets a configuration
//! without files, once it has another. All is checked when it is read: that a device can evaluate the rules, and that an
//! entry's files fit one message. The ingest pushes (`ingest::pushes`): when a state shows that a device has another
//! configuration, and when what is wanted of it changes.

mod file;
mod follow;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use glob::Pattern;
use rules::FileOptions;
use wire::message::RuleFile;
use wire::{DeviceName, Tenant};

use crate::rules::{RuleFilesError, paths};

pub use file::{DeviceRulesError, DeviceRulesFile, check};
pub(crate) use follow::Watch;

/// How old a sample may be and still count on a device, ms.
const LOOKBACK_MS: i64 = 300_000;

/// What is configured, to be read at the start, on SIGHUP, and when a file changes.
#[derive(Debug, Clone, Default)]
pub struct DeviceRuleFiles {
    /// The entries, in order.
    pub entries: Vec<DeviceRuleEntry>,
    /// The folder from which files are named on devices.
    pub folder: PathBuf,
}

/// An entry: rule files of some devices.
#[derive(Debug, Clone)]
pub struct DeviceRuleEntry {
    tenant: Tenant,
    devices: Vec<Pattern>,
    rule_files: Vec<PathBuf>,
}

/// What every device is to have.
#[derive(Debug, Clone)]
pub(crate) struct DeviceRules {
    entries: Vec<(DeviceRuleEntry, Wanted)>,
    /// Of devices that no entry matches.
    none: Wanted,
}

/// A configuration as it is pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Names it; 0: it has no files.
    pub(crate) hash: u64,
    /// The message.
    pub(crate) payload: Bytes,
}

impl DeviceRuleEntry {
    /// An entry of a tenant's devices whose ids match one of some patterns (`*`, `?`, `[…]`); files are patterns, too.
    ///
    /// # Errors
    /// The pattern that is none, and why.
    pub fn new(
        tenant: Tenant,
        devices: &[String],
        rule_files: Vec<PathBuf>,
    ) -> Result<DeviceRuleEntry, String> {
        let pattern = |text: &String| Pattern::new(text).map_err(|error| format!("{text:?}: {error}"));
        Ok(DeviceRuleEntry {
            tenant,
            devices: devices.iter().map(pattern).collect::<Result<_, _>>()?,
            rule_files,
        })
    }

    fn matches(&self, device: &DeviceName) -> bool {
        let id = device.device().as_str();
        self.tenant == *device.tenant() && self.devices.iter().any(|pattern| pattern.matches(id))
    }
}

/// The files of each entry.
type Texts = Vec<Vec<RuleFile>>;

impl DeviceRuleFiles {
    /// All files as they are now.
    fn texts(&self) -> Result<Texts, RuleFilesError> {
        let entries = self.entries.iter();
        let texts = |entry: &DeviceRuleEntry| {
            let paths = paths(&entry.rule_files)?.into_iter();
            paths.map(|path| self.text(&path)).collect::<Result<_, _>>()
        };
        entries.map(texts).collect()
    }

    fn text(&self, path: &Path) -> Result<RuleFile, RuleFilesError> {
        let text = std::fs::read_to_string(path).map_err(|source| RuleFilesError::Io {
            path: path.to_owned(),
            source,
        })?;
        let name = path.strip_prefix(&self.folder).unwrap_or(path);
        Ok(RuleFile {
            name: name.display().to_string(),
            text,
        })
    }

    /// What is wanted with these files.
    ///
    /// # Errors
    /// One is no rule file or none for a device, or an entry's files are too large; all that is wrong with the rules of all
    /// files is named.
    fn checked(&self, texts: Texts) -> Result<DeviceRules, RuleFilesError> {
        let faults: Vec<_> = texts.iter().flatten().flat_map(faults_of).collect();
        if !faults.is_empty() {
            return Err(RuleFilesError::Rules(faults));
        }
        let entry = |(number, (entry, files)): (usize, (&DeviceRuleEntry, Vec<RuleFile>))| {
            for file in &files {
                for_devices(file)?;
            }
            let wanted = Wanted::of(files).map_err(|error| RuleFilesError::Device {
                at: format!("device_rule_files[{number}]"),
                reason: error.to_string(),
            })?;
            Ok((entry.clone(), wanted))
        };
        let entries = self.entries.iter().zip(texts).enumerate().map(entry);
        Ok(DeviceRules {
            entries: entries.collect::<Result<_, RuleFilesError>>()?,
            none: Wanted::none(),
        })
    }
}

/// What is wrong with the rules of a file.
fn faults_of(file: &RuleFile) -> Vec<rules::RuleError> {
    let parsed = rules::parse(&file.text, &file.name, &FileOptions::default());
    parsed.err().unwrap_or_default()
}

/// Whether a device can evaluate the groups of a file; how much memory they need, only the device knows.
fn for_devices(file: &RuleFile) -> Result<(), RuleFilesError> {
    let groups = rules::parse(&file.text, &file.name, &FileOptions::default());
    for group in groups.map_err(RuleFilesError::Rules)? {
        if let Some(reason) = group.window(LOOKBACK_MS, 0).needs_store() {
            return Err(RuleFilesError::Device {
                at: format!("{}: group {:?}", file.name, group.name),
                reason: reason.to_owned(),
            });
        }
    }
    Ok(())
}

impl Wanted {
    fn of(files: Vec<RuleFile>) -> Result<Wanted, wire::config::ConfigError> {
        let (hash, payload) = wire::config::encode(files)?;
        let payload = payload.into();
        Ok(Wanted { hash, payload })
    }

    fn none() -> Wanted {
        Wanted::of(Vec::new()).expect("no files are within every limit")
    }
}

impl DeviceRules {
    /// What a device is to have.
    pub(crate) fn of(&self, device: &DeviceName) -> &Wanted {
        let found = self.entries.iter().find(|(entry, _)| entry.matches(device));
        found.map_or(&self.none, |(_, wanted)| wanted)
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// The present of what is wanted, shared by those who push and those who tell.
pub(crate) type Current = tokio::sync::watch::Receiver<Arc<DeviceRules>>;

#[cfg(test)]
mod tests {
    use super::*;

    fn files(dir: &Path, entries: &[(&str, &str)]) -> DeviceRuleFiles {
        let tenant = Tenant::new("default").unwrap();
        let entry = |(devices, files): &(&str, &str)| {
            let devices = [(*devices).to_owned()];
            DeviceRuleEntry::new(tenant.clone(), &devices, vec![dir.join(files)]).unwrap()
        };
        DeviceRuleFiles {
            entries: entries.iter().map(entry).collect(),
            folder: dir.to_owned(),
        }
    }

    fn rule(expr: &str) -> String {
        format!("groups:\n- name: g\n  rules:\n  - {{alert: A, expr: '{expr}'}}\n")
    }

    #[test]
    fn the_first_entry_that_matches_a_device_is_its() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("gw")).unwrap();
        std::fs::write(dir.path().join("gw/a.yml"), rule("up == 0")).unwrap();
        std::fs::write(dir.path().join("all.yml"), rule("up == 1")).unwrap();
        let files = files(dir.path(), &[("gw-*", "gw/*.yml"), ("*", "all.yml")]);
        let read = files.checked(files.texts().unwrap()).unwrap();
        let of = |name: &str| read.of(&name.parse().unwrap()).clone();
        let gateway = wire::config::decode(&of("default.gw-1").payload).unwrap();
        assert_eq!(gateway.rule_files[0].name, "gw/a.yml");
        assert_eq!(gateway.hash, of("default.gw-2").hash);
        assert_ne!(of("default.other").hash, gateway.hash);
        let none = of("acme.gw-1");
        assert_eq!(none.hash, 0);
        assert!(wire::config::decode(&none.payload).unwrap().rule_files.is_empty());
    }

    #[test]
    fn what_no_device_could_evaluate_is_refused_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |text: &str| {
            std::fs::write(dir.path().join("r.yml"), text).unwrap();
            let files = files(dir.path(), &[("*", "r.yml")]);
            files.checked(files.texts().unwrap()).unwrap_err().to_string()
        };
        assert!(refused(&rule("sum(")).starts_with("r.yml:4: group \"g\", rule 1"));
        let fixed = refused(&rule("up @ 0"));
        assert!(fixed.starts_with("r.yml: group \"g\": @ looks"), "{fixed}");
        assert!(refused("groups: [{name: g, wait_for: 2m, rules: []}]").contains("wait_for"));
        let mut random = fastrand::Rng::with_seed(7);
        let long: String = std::iter::repeat_with(|| random.alphanumeric())
            .take(90_000)
            .collect();
        let large = refused(&format!("{}# {long}\n", rule("up")));
        assert!(
            large.starts_with("device_rule_files[0]: the rule files take ") && large.contains("65536"),
            "{large}"
        );
    }
}
