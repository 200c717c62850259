//! A device as the tests need one: a dictionary, a session, and records that become entries.

use std::path::Path;
use std::sync::Arc;

use store::{BatchEntry, Config, Entry, Lane, Store};
use wire::batch::{Batch, Encoding, Group, Header, Key, KeyId, Presence, Row, encode, peek};
use wire::dict::{Dictionary, SeriesId};
use wire::message::{Histogram, HistogramCell, SessionState};
use wire::{BootId, DeviceName, Labels, Seq, SessionId, Tenant, Timestamp};

pub(crate) const START: i64 = 1_795_000_000_000;

/// Some journal files of a few hundred KB, so that tests roll over; samples of any age.
pub(crate) fn config() -> Config {
    Config {
        journal_file_bytes: 200_000,
        retention_time: std::time::Duration::from_secs(100 * 365 * 86_400),
        ..Config::default()
    }
}

pub(crate) fn open(dir: &Path) -> Store {
    open_with(dir, config())
}

pub(crate) fn open_with(dir: &Path, config: Config) -> Store {
    let store = Store::open(dir, config, &mut |_| {}).unwrap();
    assert_eq!(store.damage(), []);
    store
}

pub(crate) fn tenant() -> Tenant {
    Tenant::new("acme").unwrap()
}

/// What one record holds: seq, time, and a value or nothing per series.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    pub(crate) seq: u64,
    pub(crate) time: i64,
    pub(crate) values: Vec<Option<f64>>,
    /// Count of a native histogram of the last series, which then has no value.
    pub(crate) histogram: Option<u64>,
}

impl Record {
    pub(crate) fn samples(&self) -> u64 {
        self.values.iter().flatten().count() as u64 + u64::from(self.histogram.is_some())
    }
}

pub(crate) struct Device {
    pub(crate) name: DeviceName,
    pub(crate) session: SessionId,
    dict: Dictionary,
    /// Running total after each seq, from 0.
    totals: Vec<u64>,
}

impl Device {
    /// A device of the test's tenant whose series are `m{i="0"}` and so on.
    pub(crate) fn new(id: &str, session: u64, series: usize) -> Self {
        Device::of(&format!("acme.{id}"), session, series)
    }

    pub(crate) fn of(name: &str, session: u64, series: usize) -> Self {
        let mut dict = Dictionary::new();
        for i in 0..series {
            dict.append(labels(&[("__name__", "m"), ("i", &i.to_string())]))
                .unwrap();
        }
        Device {
            name: name.parse().unwrap(),
            session: SessionId::new(session),
            dict,
            totals: vec![0],
        }
    }

    pub(crate) fn add_series(&mut self, set: Labels) {
        self.dict.append(set).unwrap();
    }

    pub(crate) fn series(&self) -> usize {
        self.dict.len()
    }

    pub(crate) fn restart(&mut self, session: u64) {
        self.session = SessionId::new(session);
        self.totals = vec![0];
    }

    /// Makes the next record, every series present.
    pub(crate) fn record(&mut self, time: i64, value: impl Fn(usize) -> f64) -> Record {
        let values = (0..self.dict.len()).map(|i| Some(value(i))).collect();
        self.sparse(time, values)
    }

    pub(crate) fn sparse(&mut self, time: i64, values: Vec<Option<f64>>) -> Record {
        self.add(time, values, None)
    }

    /// Makes the next record, with a native histogram of so many observations in the place of the last series' value.
    pub(crate) fn with_histogram(&mut self, time: i64, mut values: Vec<Option<f64>>, count: u64) -> Record {
        if let Some(last) = values.last_mut() {
            *last = None;
        }
        self.add(time, values, Some(count))
    }

    fn add(&mut self, time: i64, values: Vec<Option<f64>>, histogram: Option<u64>) -> Record {
        let record = Record {
            seq: self.totals.len() as u64,
            time,
            values,
            histogram,
        };
        self.totals.push(self.total() + record.samples());
        record
    }

    pub(crate) fn last(&self) -> u64 {
        self.totals.len() as u64 - 1
    }

    /// Running total after the last record.
    pub(crate) fn total(&self) -> u64 {
        self.totals.last().copied().unwrap_or(0)
    }

    pub(crate) fn total_at(&self, seq: u64) -> u64 {
        self.totals[seq as usize]
    }

    pub(crate) fn dictionary(&self) -> Dictionary {
        self.dict.clone()
    }

    pub(crate) fn put_dictionary(&self, store: &Store) {
        store.put_dictionary(&self.name, self.dictionary()).unwrap();
    }

    pub(crate) fn batch(&self, records: &[Record]) -> Batch {
        let rows = records.len();
        let series = records[0].values.len();
        let cells = || (0..series).flat_map(|s| records.iter().map(move |r| r.values[s]));
        let mut present = Presence::none(series * rows);
        for (cell, value) in cells().enumerate() {
            present.set(cell, value.is_some());
        }
        let all = present.count() == present.len();
        let group = Group {
            series: (0..series as u32).map(SeriesId::new).collect(),
            rows: records
                .iter()
                .map(|record| Row {
                    seq: Seq::new(record.seq),
                    time: Timestamp::from_ms(record.time),
                    mono_ms: record.seq * 1000,
                })
                .collect(),
            values: cells().map(|value| value.unwrap_or(0.0)).collect(),
            present: (!all).then_some(present),
            histograms: records
                .iter()
                .enumerate()
                .filter_map(|(row, record)| Some(histogram(series - 1, row, record.histogram?)))
                .collect(),
            ..Group::default()
        };
        let highest = records.iter().map(|record| record.seq).max().unwrap_or(0);
        Batch {
            header: Header {
                session: self.session,
                boot: BootId::new(7),
                dict: self.dict.hash(),
                total: self.totals[highest as usize],
                clock_error_ms: 0,
            },
            groups: vec![group],
        }
    }

    /// A delivery as the bridge makes it of a payload: opened and decoded.
    pub(crate) fn entry(&self, records: &[Record], how: Encoding<'_>) -> BatchEntry {
        let payload = encode(&self.batch(records), how).payload;
        let raw = peek(&payload).unwrap();
        let key = match how {
            Encoding::Keyed(key) if raw.key().is_some() => Some(key),
            _ => None,
        };
        let decoded = raw.decode(self.dict.len(), key).unwrap();
        BatchEntry {
            device: self.name.clone(),
            lane: Lane::Fresh,
            received: Timestamp::from_ms(START + 3_600_000),
            payload: payload.into(),
            batch: decoded.batch,
            keyed: raw.key(),
            defines: decoded.key.map(Arc::new),
        }
    }

    pub(crate) fn deliver(&self, records: &[Record]) -> Entry {
        Entry::Batch(self.entry(records, Encoding::SelfContained))
    }

    pub(crate) fn define(&self, records: &[Record], key: u32) -> (Entry, Arc<Key>) {
        let how = Encoding::Defines(KeyId::new(key).unwrap());
        let entry = self.entry(records, how);
        let key = entry.defines.clone().unwrap();
        (Entry::Batch(entry), key)
    }

    pub(crate) fn keyed(&self, records: &[Record], key: &Key) -> Entry {
        Entry::Batch(self.entry(records, Encoding::Keyed(key)))
    }

    /// What the device says of its session, its log starting at `oldest` (0: empty).
    pub(crate) fn seen(&self, oldest: u64) -> Entry {
        self.state(oldest, self.last(), false)
    }

    pub(crate) fn state(&self, oldest: u64, last: u64, closed: bool) -> Entry {
        Entry::SessionSeen {
            device: self.name.clone(),
            received: Timestamp::from_ms(START + 3_600_000),
            state: SessionState {
                session: self.session.get(),
                boot: 7,
                oldest,
                total_before: self.totals[oldest.saturating_sub(1) as usize],
                last,
                total: self.totals[last as usize],
                unacked: 0,
                closed,
                dropped: 0,
            },
        }
    }

    pub(crate) fn gap(&self, first: u64, last: u64) -> Entry {
        Entry::Gap {
            device: self.name.clone(),
            received: Timestamp::from_ms(START + 3_600_000),
            gap: wire::message::Gap {
                session: self.session.get(),
                first,
                last,
                from_ms: START,
                to_ms: START + 1000,
                samples: self.totals[last as usize] - self.totals[first as usize - 1],
                reason: "wal_bytes".into(),
                alerts: 0,
            },
        }
    }
}

fn histogram(series: usize, row: usize, count: u64) -> HistogramCell {
    HistogramCell {
        position: series as u32,
        row: row as u32,
        histogram: Some(Histogram {
            count,
            sum: count as f64 * 0.5,
            zero_count: count,
            ..Histogram::default()
        }),
    }
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::new(pairs.iter().copied()).unwrap()
}

/// generated = stored + dropped + pending, and what is read back is what was stored or recovered less what was removed.
pub(crate) fn assert_equation(store: &Store, name: &DeviceName) {
    let device = store.device(name).unwrap();
    let dropped: u64 = device.dropped.values().sum();
    let removed: u64 = device.removed.values().sum();
    assert_eq!(
        device.generated,
        device.stored + dropped + device.pending,
        "{device:?}"
    );
    let read = store.read_back(name);
    assert_eq!(
        read.samples + read.joined + removed + device.quarantined,
        device.stored + device.recovered,
        "{device:?}"
    );
    assert_eq!(read.duplicates, 0);
}
