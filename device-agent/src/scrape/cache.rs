//! What a target remembers between scrapes.
//!
//! Texts of series (all bytes before the value) lead to slots. Lines come in the same order from scrape to scrape, so each
//! text also knows which one followed it: an unchanged page costs one comparison per line, and one hash lookup where the
//! order changed. Several texts may mean the same series (labels in another order); `by_labels` finds the slot then.
//!
//! A pass is `begin`, then `find`/`insert` and `mark` per sample, then `finish` or `abandon`. An abandoned pass leaves
//! nothing behind, so that a target that fails with ever new series cannot grow the cache.

mod metadata;

use std::collections::HashMap;
use std::sync::Arc;

use wire::Labels;

use crate::exposition::MetricType;
use crate::input::{MetricMetadata, Slot};
use metadata::MetadataCache;

/// A series of a page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) slot: Slot,
    /// It was on this page before.
    pub(super) scraped_before: bool,
}

#[derive(Debug)]
struct Text {
    bytes: Arc<[u8]>,
    slot: Slot,
    /// Index of the text that followed it last.
    next: u32,
    /// Pass that last saw it.
    seen: u64,
    /// Pass that added it.
    added: u64,
}

#[derive(Debug)]
struct Series {
    labels: Arc<Labels>,
    /// Pass of its last sample; u64::MAX for a reserved slot, so that the page's is always the second.
    scraped: u64,
    /// Pass of its last sample without an explicit time: only such a series gets a stale marker.
    tracked: u64,
    /// Pass that bound it.
    bound: u64,
    /// Its last tracked sample was handed out, and no stale marker since.
    alive: bool,
}

/// The cache of one target.
#[derive(Debug)]
pub(super) struct ScrapeCache {
    /// Slots below this are not of the page.
    reserved: u32,
    /// The pass that is under way or comes next, from 1.
    pass: u64,
    texts: Vec<Option<Text>>,
    free_texts: Vec<u32>,
    by_text: HashMap<Arc<[u8]>, u32>,
    slots: Vec<Option<Series>>,
    free_slots: Vec<Slot>,
    by_labels: HashMap<Arc<Labels>, Slot>,
    /// Index of the text of the line before, none before the first.
    last: Option<u32>,
    /// Index of the text of the first line.
    first: u32,
    metadata: MetadataCache,
}

impl ScrapeCache {
    /// A cache that leaves the slots below `reserved` alone.
    pub(super) fn new(reserved: u32) -> Self {
        ScrapeCache {
            reserved,
            pass: 1,
            texts: Vec::new(),
            free_texts: Vec::new(),
            by_text: HashMap::new(),
            slots: (0..reserved).map(|_| None).collect(),
            free_slots: Vec::new(),
            by_labels: HashMap::new(),
            last: None,
            first: 0,
            metadata: MetadataCache::default(),
        }
    }

    /// Binds one of the reserved slots: a series of the page with these labels counts as a duplicate of it.
    pub(super) fn reserve(&mut self, slot: Slot, labels: Labels) {
        let labels = Arc::new(labels);
        self.by_labels.insert(Arc::clone(&labels), slot);
        if let Some(place) = self.slots.get_mut(slot.index()) {
            *place = Some(Series {
                labels,
                scraped: u64::MAX,
                tracked: 0,
                bound: 0,
                alive: false,
            });
        }
    }

    /// Starts a pass over a page.
    pub(super) fn begin(&mut self) {
        self.last = None;
        self.metadata.begin();
    }

    /// The text that the next line will have if the page is as it was; empty: unknown.
    pub(super) fn expected(&self) -> &[u8] {
        match self.text(self.successor()) {
            Some(text) => &text.bytes,
            None => &[],
        }
    }

    /// The series of a text seen before; the text becomes the line before the next one.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Option<Found> {
        let predicted = self.successor();
        let index = match self.text(predicted) {
            Some(text) if *text.bytes == *bytes => predicted,
            _ => *self.by_text.get(bytes)?,
        };
        let slot = self.text(index)?.slot;
        self.follow(index);
        Some(self.found(slot))
    }

    /// Adds a text that `find` does not know. True if its labels got a new slot.
    pub(super) fn insert(&mut self, bytes: &[u8], labels: &Labels) -> (Found, bool) {
        let known = self.by_labels.get(labels).copied();
        let slot = known.unwrap_or_else(|| self.bind(labels));
        let bytes: Arc<[u8]> = bytes.into();
        let text = Text {
            bytes: Arc::clone(&bytes),
            slot,
            next: u32::MAX,
            seen: self.pass,
            added: self.pass,
        };
        let index = match self.free_texts.pop() {
            Some(index) => {
                self.texts[index as usize] = Some(text);
                index
            }
            None => {
                self.texts.push(Some(text));
                (self.texts.len() - 1) as u32
            }
        };
        self.by_text.insert(bytes, index);
        self.follow(index);
        (self.found(slot), known.is_none())
    }

    /// Notes a sample of the series in this pass.
    pub(super) fn mark(&mut self, slot: Slot, tracked: bool) {
        if slot.index() < self.reserved as usize {
            return;
        }
        if let Some(series) = self.slots.get_mut(slot.index()).and_then(Option::as_mut) {
            series.scraped = self.pass;
            if tracked {
                series.tracked = self.pass;
            }
        }
    }

    /// Ends a pass: calls `vanished` for every series that was alive and is not any more. With `forget`, what the page
    /// did not name loses its slot.
    pub(super) fn finish(&mut self, forget: bool, mut vanished: impl FnMut(Slot)) {
        let pass = self.pass;
        for (slot, series) in self.of_page() {
            let tracked = series.tracked == pass;
            if std::mem::replace(&mut series.alive, tracked) && !tracked {
                vanished(slot);
            }
        }
        if forget {
            self.free(|text| text.seen != pass, |series| series.scraped != pass);
            self.metadata.finish();
        }
        self.pass += 1;
    }

    /// Ends a failed pass, or a scrape without a page: calls `vanished` for every series that was alive.
    pub(super) fn abandon(&mut self, mut vanished: impl FnMut(Slot)) {
        for (slot, series) in self.of_page() {
            if std::mem::replace(&mut series.alive, false) {
                vanished(slot);
            }
        }
        let pass = self.pass;
        self.free(|text| text.added == pass, |series| series.bound == pass);
        self.pass += 1;
    }

    pub(super) fn set_help(&mut self, family: &str, text: &str) {
        self.metadata.set(family, |m| replace(&mut m.help, text));
    }

    pub(super) fn set_unit(&mut self, family: &str, unit: &str) {
        self.metadata.set(family, |m| replace(&mut m.unit, unit));
    }

    pub(super) fn set_type(&mut self, family: &str, kind: MetricType) {
        self.metadata
            .set(family, |m| std::mem::replace(&mut m.kind, kind) != kind);
    }

    /// Metadata that changed since this was last called.
    pub(super) fn changed_metadata(&mut self) -> Vec<MetricMetadata> {
        self.metadata.take_changed()
    }

    fn text(&self, index: u32) -> Option<&Text> {
        self.texts.get(index as usize)?.as_ref()
    }

    fn successor(&self) -> u32 {
        match self.last {
            Some(last) => self.text(last).map_or(u32::MAX, |text| text.next),
            None => self.first,
        }
    }

    /// Makes a text the last one, and remembers its place.
    fn follow(&mut self, index: u32) {
        match self
            .last
            .and_then(|last| self.texts.get_mut(last as usize)?.as_mut())
        {
            Some(last) => last.next = index,
            None => self.first = index,
        }
        self.last = Some(index);
        if let Some(text) = self.texts.get_mut(index as usize).and_then(Option::as_mut) {
            text.seen = self.pass;
        }
    }

    fn found(&self, slot: Slot) -> Found {
        let series = self.slots.get(slot.index()).and_then(Option::as_ref);
        Found {
            slot,
            scraped_before: series.is_some_and(|series| series.scraped >= self.pass),
        }
    }

    fn bind(&mut self, labels: &Labels) -> Slot {
        let labels = Arc::new(labels.clone());
        let series = Series {
            labels: Arc::clone(&labels),
            scraped: 0,
            tracked: 0,
            bound: self.pass,
            alive: false,
        };
        let slot = match self.free_slots.pop() {
            Some(slot) => {
                self.slots[slot.index()] = Some(series);
                slot
            }
            None => {
                self.slots.push(Some(series));
                Slot::new((self.slots.len() - 1) as u32)
            }
        };
        self.by_labels.insert(labels, slot);
        slot
    }

    fn of_page(&mut self) -> impl Iterator<Item = (Slot, &mut Series)> {
        let reserved = self.reserved as usize;
        let numbered = (0u32..).zip(self.slots.iter_mut()).skip(reserved);
        numbered.filter_map(|(number, series)| Some((Slot::new(number), series.as_mut()?)))
    }

    fn free(&mut self, drop_text: impl Fn(&Text) -> bool, drop_series: impl Fn(&Series) -> bool) {
        for (index, place) in (0u32..).zip(&mut self.texts) {
            if let Some(text) = place.take_if(|text| drop_text(text)) {
                self.by_text.remove(&text.bytes);
                self.free_texts.push(index);
            }
        }
        for (number, place) in (0u32..).zip(&mut self.slots).skip(self.reserved as usize) {
            if let Some(series) = place.take_if(|series| drop_series(series)) {
                self.by_labels.remove(&series.labels);
                self.free_slots.push(Slot::new(number));
            }
        }
    }
}

/// Whether the text changed.
fn replace(place: &mut String, text: &str) -> bool {
    let changed = place != text;
    if changed {
        text.clone_into(place);
    }
    changed
}
