//! HELP, TYPE and UNIT of a target's families, and which of them the WAL has yet to hear of.

use std::collections::HashMap;

use crate::exposition::MetricType;
use crate::input::MetricMetadata;

/// Families absent for longer than this many pages are forgotten, as in Prometheus.
const KEPT_PASSES: u64 = 10;

#[derive(Debug)]
struct Family {
    metadata: MetricMetadata,
    seen: u64,
    changed: bool,
}

/// The metadata of one target.
#[derive(Debug, Default)]
pub(super) struct MetadataCache {
    pass: u64,
    families: HashMap<String, Family>,
    /// Whether any family has `changed` set.
    changed: bool,
}

impl MetadataCache {
    pub(super) fn begin(&mut self) {
        self.pass += 1;
    }

    /// Lets `change` set a part of a family's metadata and say whether it was another before.
    pub(super) fn set(&mut self, name: &str, change: impl FnOnce(&mut MetricMetadata) -> bool) {
        if !self.families.contains_key(name) {
            let metadata = MetricMetadata {
                family: name.to_owned(),
                kind: MetricType::Unknown,
                help: String::new(),
                unit: String::new(),
            };
            self.families.insert(
                name.to_owned(),
                Family {
                    metadata,
                    seen: self.pass,
                    changed: true,
                },
            );
            self.changed = true;
        }
        if let Some(family) = self.families.get_mut(name) {
            family.seen = self.pass;
            let changed = change(&mut family.metadata);
            family.changed |= changed;
            self.changed |= changed;
        }
    }

    /// Ends a page that was read to its end.
    pub(super) fn finish(&mut self) {
        let oldest = self.pass.saturating_sub(KEPT_PASSES);
        self.families.retain(|_, family| family.seen >= oldest);
    }

    pub(super) fn take_changed(&mut self) -> Vec<MetricMetadata> {
        if !std::mem::take(&mut self.changed) {
            return Vec::new();
        }
        let mut metadata = Vec::new();
        for family in self.families.values_mut() {
            if std::mem::take(&mut family.changed) {
                metadata.push(family.metadata.clone());
            }
        }
        metadata.sort_unstable_by(|a, b| a.family.cmp(&b.family));
        metadata
    }
}
