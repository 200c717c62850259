//! A group's results as rows of the log: series of the device, under slots of a target of its own.

use std::collections::{BTreeMap, HashMap};

use ::rules::{Sample, SampleValue};
use promql::{is_stale, stale_nan};
use wire::Labels;

use crate::input::{Moment, ScrapeRow, Slot, TargetId};

/// The job of results that have none.
const JOB: &str = "backhaul-agent";

/// See the module.
#[derive(Debug)]
pub(super) struct Outlet {
    target: TargetId,
    slots: HashMap<Labels, Slot>,
    free: Vec<Slot>,
    /// Slots whose series has ended; free from the next row on.
    ended: Vec<Slot>,
    next: u32,
}

/// Labels that results get unless they have them.
#[derive(Debug, Clone)]
pub(super) struct Defaults(BTreeMap<String, String>);

impl Defaults {
    /// Job, instance and external labels.
    pub(super) fn new(device: &str, external_labels: &BTreeMap<String, String>) -> Defaults {
        let mut labels = external_labels.clone();
        labels.entry("job".to_owned()).or_insert_with(|| JOB.to_owned());
        labels
            .entry("instance".to_owned())
            .or_insert_with(|| device.to_owned());
        Defaults(labels)
    }

    fn apply(&self, labels: &promql::Labels) -> Option<Labels> {
        let missing = self.0.iter().filter(|(name, _)| labels.get(name).is_empty());
        let added = missing.map(|(name, value)| (name.as_str(), value.as_str()));
        Labels::new(labels.iter().chain(added)).ok()
    }
}

impl Outlet {
    pub(super) fn new(target: TargetId) -> Outlet {
        Outlet {
            target,
            slots: HashMap::new(),
            free: Vec::new(),
            ended: Vec::new(),
            next: 0,
        }
    }

    /// A row of the samples of one evaluation; `None` if there is none.
    pub(super) fn row(&mut self, samples: Vec<Sample>, at: Moment, defaults: &Defaults) -> Option<ScrapeRow> {
        let ended = std::mem::take(&mut self.ended);
        self.free.extend(ended);
        let mut row = self.empty(at);
        row.values.reserve(samples.len());
        for sample in samples {
            let (SampleValue::Float(value), Some(labels)) = (sample.value, defaults.apply(&sample.labels))
            else {
                continue;
            };
            let slot = self.slot(&labels, &mut row);
            row.values.push((slot, value));
            if is_stale(value) {
                self.slots.remove(&labels);
                self.ended.push(slot);
            }
        }
        (!row.values.is_empty()).then_some(row)
    }

    /// Whose number its rows have.
    pub(super) fn target(&self) -> TargetId {
        self.target
    }

    /// A row that ends all series, and the target itself if it is gone `for_good`; `None` if there is none.
    pub(super) fn end(&mut self, at: Moment, for_good: bool) -> Option<ScrapeRow> {
        let mut row = self.empty(at);
        row.ended = for_good;
        row.values = self.slots.drain().map(|(_, slot)| (slot, stale_nan())).collect();
        row.values.sort_unstable_by_key(|(slot, _)| slot.index());
        self.ended.extend(row.values.iter().map(|(slot, _)| *slot));
        (!row.values.is_empty() || (for_good && self.next > 0)).then_some(row)
    }

    fn empty(&self, at: Moment) -> ScrapeRow {
        ScrapeRow {
            target: self.target,
            time: at.wall,
            mono_ms: at.mono_ms,
            new_series: Vec::new(),
            values: Vec::new(),
            metadata: Vec::new(),
            ended: false,
        }
    }

    fn slot(&mut self, labels: &Labels, row: &mut ScrapeRow) -> Slot {
        if let Some(&slot) = self.slots.get(labels) {
            return slot;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            Slot::new(self.next - 1)
        });
        self.slots.insert(labels.clone(), slot);
        row.new_series.push((slot, labels.clone()));
        slot
    }
}
