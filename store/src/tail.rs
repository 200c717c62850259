//! Reads the journal from a place on, while it is written: the queue of every other destination.
//!
//! A [`Tail`] hands over the rows that were stored, results of rules among them, in the order of the journal, as series and
//! samples; it obeys the row masks and decides nothing. Its unit is a record (what one message of a device held): a [`Place`] names the next one,
//! so a destination that stopped goes on with no record left out. A tail has one commit of the journal in memory, the
//! keys of devices as they were at its place (those that the store has too are shared), and a bounded number of resolved
//! series.

mod commits;
mod devices;
mod lists;
mod own;
mod rows;
mod unpassed;

use std::collections::VecDeque;
use std::sync::Arc;

use wire::message::Histogram;
use wire::{Labels, Tenant, Timestamp};

use crate::Store;
use crate::receipt::StoredAlert;
use crate::record::{AlertRecord, Record, What};
use commits::Commits;
use devices::{Devices, Stored};
use lists::Lists;
use own::OwnRows;

pub use unpassed::Unpassed;

/// The next record to read: so many records of the commit whose first value has this number are done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Number of a commit's first value.
    pub number: u64,
    /// Records of that commit that are done.
    pub records: u64,
}

/// A sample of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Position of the series in [`Rows::series`].
    pub series: u32,
    /// ms since the epoch.
    pub time_ms: i64,
    /// The value, bit for bit as the device sent it.
    pub value: f64,
}

/// A native histogram of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramSample {
    /// Position of the series in [`Rows::series`].
    pub series: u32,
    /// ms since the epoch.
    pub time_ms: i64,
    /// As the device sent it.
    pub histogram: Histogram,
}

/// Stored rows of one list of series, of a device or results of rules, as one record has them.
#[derive(Debug, Clone)]
pub struct Rows<S> {
    /// When they arrived, by the bridge's clock.
    pub received: Timestamp,
    /// What the caller made of each series' labels.
    pub series: Arc<[S]>,
    /// The floats, series by series; those of a series in the order of the record's rows.
    pub samples: Vec<Sample>,
    /// The native histograms, in no order.
    pub histograms: Vec<HistogramSample>,
}

/// What a call has read.
#[derive(Debug)]
pub struct Piece<S> {
    /// The rows.
    pub rows: Vec<Rows<S>>,
    /// Samples in them, histograms included.
    pub samples: u64,
    /// The next record.
    pub place: Place,
}

/// What a call has passed over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Samples, histograms included.
    pub samples: u64,
    /// Times of the earliest and the latest of them, ms since the epoch; `None`: there was none.
    pub times: Option<(i64, i64)>,
    /// Nothing more is to be skipped.
    pub done: bool,
}

/// Why the journal could not be read; what was read before it stays read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the journal cannot be read: {0}")]
pub struct TailError(pub(crate) String);

/// Makes what a destination keeps of a series: whose it is, and its labels as they are stored.
pub type Resolve<'a, S> = dyn FnMut(&Tenant, &Labels) -> S + 'a;

/// What a record has for destinations.
#[derive(Debug)]
enum Taken {
    /// Stored rows of a device.
    Device(Stored),
    /// Results of rules.
    Own(OwnRows),
}

impl Taken {
    fn samples(&self) -> u64 {
        match self {
            Taken::Device(stored) => stored.samples(),
            Taken::Own(own) => own.samples(),
        }
    }

    fn times(&self) -> Option<(i64, i64)> {
        match self {
            Taken::Device(stored) => stored.times(),
            Taken::Own(own) => own.times(),
        }
    }
}

/// A reader of the journal.
#[derive(Debug)]
pub struct Tail<S> {
    store: Arc<Store>,
    place: Place,
    commits: Commits,
    /// Records of the commit at `place` that are to be read.
    rest: VecDeque<Record>,
    /// Number after that commit.
    after: u64,
    devices: Devices,
    lists: Lists<S>,
    /// Records that could not be read.
    damaged: u64,
}

impl<S> Tail<S> {
    /// A reader from a place on; what the journal does not have any more is passed over. `cached_series` bounds the
    /// resolved series kept. Reads the file of that place up to it for what comes after it.
    pub fn new(store: Arc<Store>, place: Place, cached_series: usize) -> Result<Self, TailError> {
        let mut tail = Tail {
            commits: Commits::default(),
            rest: VecDeque::new(),
            after: 0,
            place: Place::default(),
            devices: Devices::default(),
            lists: Lists::new(cached_series),
            damaged: 0,
            store,
        };
        tail.prime(place)?;
        Ok(tail)
    }

    /// Gathers names and keys from the start of a place's file up to it.
    fn prime(&mut self, place: Place) -> Result<(), TailError> {
        self.after = match self.commits.begin(&self.store, place.number)? {
            Some(file) => {
                self.devices.load(&self.store, &file)?;
                self.note_hole(place.number, file.first());
                file.first()
            }
            None => self.store.next_number(),
        };
        self.place.number = self.after;
        while self.place.number < place.number && self.fetch()? {
            while let Some(record) = self.pop() {
                self.devices.note(&self.store, &record);
            }
        }
        if self.place.number == place.number && place.records > 0 && self.fetch()? {
            while self.place.number == place.number && self.place.records < place.records {
                let Some(record) = self.pop() else { break };
                self.devices.note(&self.store, &record);
            }
        }
        Ok(())
    }

    /// The next record.
    pub fn place(&self) -> Place {
        self.place
    }

    /// When the next record arrived; `None`: there is none yet.
    pub fn next_received(&mut self) -> Result<Option<Timestamp>, TailError> {
        self.fetch()?;
        let next = self.rest.front();
        Ok(next.map(|record| Timestamp::from_ms(record.received_ms)))
    }

    /// Records and commits that could not be read so far; they were left out.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Reads on, to the end of the journal or until there are `max_samples`; the last record may go beyond.
    pub fn read(&mut self, max_samples: u64, resolve: &mut Resolve<'_, S>) -> Result<Piece<S>, TailError> {
        let mut rows = Vec::new();
        let mut samples = 0;
        while samples < max_samples && self.fetch()? {
            let Some(taken) = self.take() else { continue };
            samples += taken.samples();
            match taken {
                Taken::Device(stored) => {
                    rows::split(&stored, &self.store, &mut self.lists, resolve, &mut rows);
                }
                Taken::Own(own) => own.split(resolve, &mut rows),
            }
        }
        Ok(Piece {
            rows,
            samples,
            place: self.place,
        })
    }

    /// Passes over records and counts their samples: those of commits below a number, and those that arrived before a
    /// time; about `max_samples` of them in one call.
    pub fn skip(&mut self, below: u64, before: Timestamp, max_samples: u64) -> Result<Skipped, TailError> {
        let mut skipped = Skipped::default();
        while skipped.samples < max_samples {
            let next = match self.fetch()? {
                true => self.rest.front(),
                false => None,
            };
            let received = next.map(|record| Timestamp::from_ms(record.received_ms));
            if received.is_none_or(|at| self.place.number >= below && at >= before) {
                skipped.done = true;
                break;
            }
            if let Some(taken) = self.take() {
                skipped.samples += taken.samples();
                skipped.times = join(skipped.times, taken.times());
            }
        }
        Ok(skipped)
    }

    /// Reads on for alerts alone, to the end of the journal or until there are `most`.
    pub fn alerts(&mut self, most: usize) -> Result<Vec<StoredAlert>, TailError> {
        let mut alerts = Vec::new();
        while alerts.len() < most && self.fetch()? {
            let Some(record) = self.pop() else { break };
            let Some(device) = self.devices.name(&record) else {
                continue;
            };
            if let Some(What::Alert(AlertRecord { alert: Some(alert) })) = record.what {
                alerts.push(StoredAlert {
                    device,
                    received: Timestamp::from_ms(record.received_ms),
                    alert,
                });
            }
        }
        Ok(alerts)
    }

    /// The next record's stored rows, if it has any.
    fn take(&mut self) -> Option<Taken> {
        let record = self.pop()?;
        let has_rows = matches!(
            record.what,
            Some(What::Batch(_) | What::Released(_) | What::Results(_))
        );
        let taken = match &record.what {
            Some(What::Results(results)) => {
                OwnRows::read(results, Timestamp::from_ms(record.received_ms)).map(Taken::Own)
            }
            _ => self.devices.stored(&self.store, record).map(Taken::Device),
        };
        self.damaged += u64::from(has_rows && taken.is_none());
        taken
    }

    /// Has a record at hand; false: there is none yet.
    fn fetch(&mut self) -> Result<bool, TailError> {
        while self.rest.is_empty() {
            if self.after >= self.store.next_number() {
                return Ok(false);
            }
            let commit = self.commits.read(&self.store, self.after)?;
            self.note_hole(self.after, commit.first);
            self.place = Place {
                number: commit.first,
                records: 0,
            };
            self.rest = commit.records;
            self.after = commit.after;
            if self.rest.is_empty() {
                self.damaged += 1;
                self.place.number = self.after;
            }
        }
        Ok(true)
    }

    /// Values that ought to be there and are not.
    fn note_hole(&mut self, from: u64, to: u64) {
        if from > 0 && from < to {
            self.damaged += 1;
            tracing::error!(from, to, "values of the journal are gone before they were read");
        }
    }

    fn pop(&mut self) -> Option<Record> {
        let record = self.rest.pop_front()?;
        self.place.records += 1;
        if self.rest.is_empty() {
            self.place = Place {
                number: self.after,
                records: 0,
            };
        }
        Some(record)
    }
}

fn join(a: Option<(i64, i64)>, b: Option<(i64, i64)>) -> Option<(i64, i64)> {
    match (a, b) {
        (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
        (a, b) => a.or(b),
    }
}
