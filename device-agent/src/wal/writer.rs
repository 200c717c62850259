//! From scrapes to records: the session's dictionary, the references of the open segment, and splitting.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use wire::batch::{Encoder, Group, GroupKey, Row};
use wire::dict::{self, DictHash, Dictionary, SeriesId};
use wire::limits::MAX_MESSAGE;
use wire::{Labels, Seq, message};

use crate::input::{MetricMetadata, ScrapeRow, TargetId};
use crate::wal::reader::put_varint;

/// Series of one record. Values, ids and modes of this many fit a message however badly they compress.
const MAX_SERIES_OF_RECORD: usize = 4096;

/// Bytes of metadata text in one record; the rest waits for the target's next one.
const MAX_METADATA: usize = 8192;

/// Bytes of a record's body; a batch of it alone stays within a message.
const MAX_RECORD_BODY: usize = MAX_MESSAGE - 1024;

/// A dictionary is rebuilt when it is larger than this and more than half of it is unused.
const REBUILD_FROM: usize = 256;

/// Turns scrapes into groups and payloads.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    dictionary: Dictionary,
    ids: HashMap<u64, SeriesId>,
    hasher: RandomState,
    targets: HashMap<TargetId, Target>,
    encoder: Encoder,
    /// Of the open segment: sets of the dictionary that it has.
    written: Option<(DictHash, usize)>,
    references: HashMap<(TargetId, usize), (Seq, GroupKey)>,
    /// Rises when the dictionary is rebuilt: ids mean the same only within one lineage.
    pub(crate) lineage: u32,
    /// Series that found no place in the dictionary, rows counted.
    pub(crate) refused: u64,
}

#[derive(Debug, Default)]
struct Target {
    slots: Vec<Option<SeriesId>>,
    metadata: Vec<MetricMetadata>,
}

/// A part of a scrape that becomes one record; its row's seq is still to be set.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) target: TargetId,
    place: usize,
    pub(crate) group: Group,
}

impl Writer {
    /// A writer that goes on with an earlier session's dictionary.
    pub(crate) fn new(dictionary: Dictionary) -> Writer {
        let mut writer = Writer::default();
        for (n, set) in (0u32..).zip(dictionary.sets()) {
            writer.ids.insert(writer.hasher.hash_one(set), SeriesId::new(n));
        }
        writer.dictionary = dictionary;
        writer
    }

    /// All label sets so far.
    pub(crate) fn dictionary(&self) -> &Dictionary {
        &self.dictionary
    }

    /// A segment is opened: nothing of it can be referred to yet. A dictionary that is mostly unused is rebuilt.
    pub(crate) fn new_segment(&mut self) {
        self.written = None;
        self.references.clear();
        let live = self.targets.values().flat_map(|t| &t.slots).flatten().count();
        if self.dictionary.len() > REBUILD_FROM && live > 0 && live * 2 < self.dictionary.len() {
            self.rebuild();
        }
    }

    fn rebuild(&mut self) {
        let old = std::mem::take(&mut self.dictionary);
        self.lineage += 1;
        self.ids.clear();
        self.encoder = Encoder::new();
        let mut targets = std::mem::take(&mut self.targets);
        for slot in targets.values_mut().flat_map(|t| &mut t.slots) {
            *slot = slot.and_then(|id| old.get(id)).and_then(|set| self.id_of(set));
        }
        self.targets = targets;
    }

    /// The id of a label set, a new one if there is none; `None` over a limit.
    fn id_of(&mut self, set: &Labels) -> Option<SeriesId> {
        let hash = self.hasher.hash_one(set);
        if let Some(&id) = self.ids.get(&hash)
            && self.dictionary.get(id) == Some(set)
        {
            return Some(id);
        }
        let id = self.dictionary.append(set.clone()).ok()?;
        self.ids.insert(hash, id);
        Some(id)
    }

    /// Whether a scrape's new series could exceed the dictionary's limit, so that a segment with a rebuilt one is due.
    pub(crate) fn is_full(&self, row: &ScrapeRow) -> bool {
        self.dictionary.len() + row.new_series.len() > wire::limits::MAX_SERIES
    }

    /// The scrape as groups of one row each; seqs are zero.
    pub(crate) fn parts(&mut self, row: ScrapeRow) -> Vec<Part> {
        for (slot, labels) in &row.new_series {
            let id = self.id_of(labels);
            let slots = &mut self.targets.entry(row.target).or_default().slots;
            if slots.len() <= slot.index() {
                slots.resize(slot.index() + 1, None);
            }
            slots[slot.index()] = id;
        }
        let ended = row.ended;
        let target = self.targets.entry(row.target).or_default();
        target.metadata.extend(row.metadata);
        let mut cells: Vec<(SeriesId, f64)> = Vec::with_capacity(row.values.len());
        for (slot, value) in row.values {
            match target.slots.get(slot.index()).copied().flatten() {
                Some(id) => cells.push((id, value)),
                None => self.refused += 1,
            }
        }
        cells.sort_by_key(|(id, _)| *id);
        cells.dedup_by_key(|(id, _)| *id);
        let stamp = Row {
            seq: Seq::new(0),
            time: row.time,
            mono_ms: row.mono_ms,
        };
        let chunks = cells.chunks(MAX_SERIES_OF_RECORD).enumerate();
        let mut parts: Vec<Part> = chunks
            .map(|(place, cells)| part(row.target, place, cells, stamp))
            .collect();
        if let Some(first) = parts.first_mut() {
            first.group.metadata = take_metadata(&mut target.metadata);
        }
        if ended {
            self.targets.remove(&row.target);
        }
        parts
    }

    /// Dictionary records that the open segment needs before the next row.
    pub(crate) fn dictionary_records(&mut self) -> Vec<Vec<u8>> {
        let now = (self.dictionary.hash(), self.dictionary.len());
        if self.written.map_or(0, |(_, len)| len) == now.1 {
            return Vec::new();
        }
        let payloads = dict::encode(&self.dictionary, self.written);
        self.written = Some(now);
        payloads
    }

    /// The payload of a part whose seq is set; `None` if it would be too large for a message.
    pub(crate) fn payload(&mut self, part: &Part) -> Option<Vec<u8>> {
        let seq = part.group.rows.first().map_or(Seq::new(0), |row| row.seq);
        let reference = self.references.get(&(part.target, part.place));
        let reference = reference.filter(|(_, key)| *key.series() == part.group.series);
        let mut payload = Vec::new();
        put_varint(&mut payload, reference.map_or(0, |(at, _)| seq.get() - at.get()));
        let encoded = self
            .encoder
            .encode_group(&part.group, reference.map(|(_, key)| key));
        payload.extend_from_slice(&encoded.bytes);
        if payload.len() > MAX_RECORD_BODY {
            return None;
        }
        if let Some(key) = encoded.key {
            self.references.insert((part.target, part.place), (seq, key));
        }
        Some(payload)
    }
}

impl Part {
    /// Two parts with half of the series each.
    pub(crate) fn halves(self) -> [Part; 2] {
        let Group {
            series,
            rows,
            values,
            metadata,
            ..
        } = self.group;
        let middle = series.len() / 2;
        let half = |series: &[SeriesId], values: &[f64], metadata| Group {
            series: series.into(),
            rows: rows.clone(),
            values: values.to_vec(),
            metadata,
            ..Group::default()
        };
        // Places of halves never meet those of whole parts, so that each keeps its reference.
        let place = (self.place + 1) << 16;
        [
            Part {
                target: self.target,
                place,
                group: half(&series[..middle], &values[..middle], metadata),
            },
            Part {
                target: self.target,
                place: place + 1,
                group: half(&series[middle..], &values[middle..], Vec::new()),
            },
        ]
    }
}

fn part(target: TargetId, place: usize, cells: &[(SeriesId, f64)], stamp: Row) -> Part {
    Part {
        target,
        place,
        group: Group {
            series: cells.iter().map(|(id, _)| *id).collect(),
            rows: vec![stamp],
            values: cells.iter().map(|(_, value)| *value).collect(),
            ..Group::default()
        },
    }
}

/// As much of the waiting metadata as one record takes.
fn take_metadata(waiting: &mut Vec<MetricMetadata>) -> Vec<message::Metadata> {
    let mut bytes = 0;
    let size = |m: &MetricMetadata| m.family.len() + m.help.len() + m.unit.len() + 16;
    let fits = waiting.iter().take_while(|m| {
        bytes += size(m);
        bytes <= MAX_METADATA
    });
    // A single text over the limit travels alone: it is bounded by the parser of the page.
    let count = fits.count().max(usize::from(!waiting.is_empty()));
    let taken = waiting.drain(..count);
    taken
        .map(|m| message::Metadata {
            row: 0,
            family: m.family,
            kind: m.kind.as_str().to_owned(),
            help: m.help,
            unit: m.unit,
        })
        .collect()
}
