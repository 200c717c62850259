//! The section `device_rule_files` of the config file.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_saphyr::Spanned;
use wire::Tenant;

use super::{DeviceRuleEntry, DeviceRuleFiles};
use crate::rules::check_pattern;

/// The tenant of an entry that names none.
const TENANT: &str = "default";

/// An entry as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceRulesFile {
    tenant: Option<Spanned<String>>,
    /// None: all.
    devices: Option<Vec<Spanned<String>>>,
    rule_files: Vec<Spanned<PathBuf>>,
}

/// Why the section is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {key}: {reason}")]
pub struct DeviceRulesError {
    /// Line of the file, from 1.
    pub line: u64,
    /// The key's path.
    pub key: String,
    /// What is wrong.
    pub reason: String,
}

/// Checks what was written; relative paths count from `folder`.
///
/// # Errors
/// The first key that is wrong.
pub fn check(section: &[DeviceRulesFile], folder: &Path) -> Result<DeviceRuleFiles, DeviceRulesError> {
    let entries = section.iter().enumerate();
    let entries = entries.map(|(number, entry)| entry.check(number, folder));
    Ok(DeviceRuleFiles {
        entries: entries.collect::<Result<_, _>>()?,
        folder: folder.to_owned(),
    })
}

impl DeviceRulesFile {
    fn check(&self, number: usize, folder: &Path) -> Result<DeviceRuleEntry, DeviceRulesError> {
        let fault = |line: u64, key: &str, reason: String| DeviceRulesError {
            line,
            key: format!("device_rule_files[{number}].{key}"),
            reason,
        };
        let tenant = self.tenant.as_ref();
        let tenant = Tenant::new(tenant.map_or(TENANT, |text| &text.value)).map_err(|error| {
            let line = tenant.map_or(0, |text| text.referenced.line());
            fault(line, "tenant", error.to_string())
        })?;
        let mut files = Vec::new();
        for file in &self.rule_files {
            let path = folder.join(&file.value);
            check_pattern(&path).map_err(|reason| fault(file.referenced.line(), "rule_files", reason))?;
            files.push(path);
        }
        let all = vec!["*".to_owned()];
        let Some(patterns) = &self.devices else {
            return DeviceRuleEntry::new(tenant, &all, files).map_err(|reason| fault(0, "devices", reason));
        };
        for text in patterns {
            DeviceRuleEntry::new(tenant.clone(), std::slice::from_ref(&text.value), Vec::new())
                .map_err(|reason| fault(text.referenced.line(), "devices", reason))?;
        }
        let devices: Vec<String> = patterns.iter().map(|text| text.value.clone()).collect();
        DeviceRuleEntry::new(tenant, &devices, files).map_err(|reason| fault(0, "devices", reason))
    }
}
