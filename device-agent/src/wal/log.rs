//! The log itself: opening, appending, reading.
//!
//! Rows that arrive together are written by one append and made durable by one fsync. A record whose bytes could not be
//! written still has its seq and counts in the running total: it is a gap from the start.

use std::io;

use wire::batch::Row;
use wire::dict::Dictionary;
use wire::{BootId, Seq, SeqSet, SessionId};

use crate::input::{Moment, ScrapeRow};
use crate::wal::folder::{AppendError, Folder, SegmentName};
use crate::wal::format::{HEADER, Kind, RECORD, RecordHeader, SegmentHeader, put_record};
use crate::wal::gaps::Reason;
use crate::wal::house::House;
use crate::wal::ledger::Ledger;
use crate::wal::reader::{LoggedRow, ReadLimit, ReadRows, read_dictionary, read_rows};
use crate::wal::recover::{MAX_SEGMENT, recover};
use crate::wal::session::{Segment, Session};
use crate::wal::writer::{Part, Writer};
use crate::wal::{Faults, OpenError, SyncPolicy, WalConfig};

/// Sizes of a segment, bytes.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = 16 << 10..=1 << 20;

/// An open log.
#[derive(Debug)]
pub(crate) struct Wal {
    pub(crate) config: WalConfig,
    pub(crate) folder: Folder,
    pub(crate) ledger: Ledger,
    pub(crate) faults: Faults,
    pub(crate) house: House,
    writer: Writer,
    session: SessionId,
    boot: BootId,
    next_number: u64,
    /// Bytes of the segment that is open for appending, those in `buffer` included.
    open_bytes: Option<u64>,
    /// Its file exists.
    made: bool,
    /// Its end is in doubt: nothing more may be appended.
    damaged: bool,
    segment_bytes: u64,
    buffer: Vec<u8>,
    buffered: Vec<(RecordHeader, u32, LoggedRow)>,
}

impl Wal {
    /// Opens or makes a log and starts a session. `now` stamps nothing but the housekeeping.
    ///
    /// # Errors
    /// Only for the folder itself, see [`OpenError`].
    pub(crate) fn open(
        config: WalConfig,
        session: SessionId,
        boot: BootId,
        now: Moment,
    ) -> Result<Wal, OpenError> {
        let mut folder = Folder::open(&config.storage)?;
        let names = folder.list()?;
        let mut faults = Faults::default();
        let mut ledger = recover(&mut folder, &names, &mut faults);
        ledger.add(Session::new(session, boot, false));
        let last = names.last().and_then(|&name| {
            let bytes = folder.read(name, MAX_SEGMENT).ok()?;
            Some(read_dictionary(&bytes, name.session))
        });
        let segment_bytes = (config.max_bytes / 16).clamp(*SEGMENT_BYTES.start(), *SEGMENT_BYTES.end());
        let mut wal = Wal {
            config,
            folder,
            ledger,
            faults,
            house: House::new(now),
            writer: Writer::new(last.unwrap_or_default()),
            session,
            boot,
            next_number: names.last().map_or(1, |name| name.number + 1),
            open_bytes: None,
            made: false,
            damaged: false,
            segment_bytes,
            buffer: Vec::new(),
            buffered: Vec::new(),
        };
        wal.drop_old_sessions();
        wal.write_meta();
        Ok(wal)
    }

    /// This run's session.
    pub(crate) fn session(&self) -> SessionId {
        self.session
    }

    /// This boot.
    pub(crate) fn boot(&self) -> BootId {
        self.boot
    }

    /// The books, and the label sets of this run's rows with their lineage, which rises when ids change their meaning.
    pub(crate) fn books(&mut self) -> (&mut Ledger, &Dictionary, u32) {
        (&mut self.ledger, self.writer.dictionary(), self.writer.lineage)
    }

    /// Series that found no place in the dictionary, counted row by row.
    pub(crate) fn refused_series(&self) -> u64 {
        self.writer.refused
    }

    /// Logs scrapes; returns the records that are in the log, durable if the policy says so, in order of their seqs.
    pub(crate) fn append(&mut self, rows: Vec<ScrapeRow>, trusted: bool) -> Vec<LoggedRow> {
        let mut logged = Vec::with_capacity(rows.len());
        for row in rows {
            if self.writer.is_full(&row) {
                self.flush(&mut logged);
                self.open_bytes = None;
                self.writer.new_segment();
            }
            for part in self.writer.parts(row) {
                self.put(part, trusted, &mut logged);
            }
        }
        self.flush(&mut logged);
        logged
    }

    fn put(&mut self, mut part: Part, trusted: bool, logged: &mut Vec<LoggedRow>) {
        let (last, total) = self.reserved();
        let stamp = match part.group.rows.first_mut() {
            Some(row) => {
                row.seq = Seq::new(last + 1);
                *row
            }
            None => return,
        };
        let full = self.open_bytes.is_some_and(|bytes| bytes >= self.segment_bytes);
        if full || self.open_bytes.is_none() {
            self.flush(logged);
            self.rotate();
        }
        let dictionary = self.writer.dictionary_records();
        let Some(payload) = self.writer.payload(&part) else {
            self.buffer_dictionary(dictionary, last, total, &stamp);
            return part
                .halves()
                .into_iter()
                .for_each(|half| self.put(half, trusted, logged));
        };
        self.buffer_dictionary(dictionary, last, total, &stamp);
        let samples = part.group.samples();
        let header = RecordHeader {
            kind: Kind::Row,
            trusted,
            samples: u32::try_from(samples).unwrap_or(u32::MAX),
            seq: stamp.seq,
            total: total + samples,
            stamp: stamp_of(&stamp),
        };
        let row = LoggedRow {
            seq: header.seq,
            total: header.total,
            stamp: header.stamp,
            trusted,
            lineage: self.writer.lineage,
            group: part.group,
        };
        let offset = self.buffer_record(&header, &payload);
        self.buffered.push((header, offset, row));
    }

    /// Last seq and running total, buffered records included.
    fn reserved(&mut self) -> (u64, u64) {
        match self.buffered.last() {
            Some((header, ..)) => (header.seq.get(), header.total),
            None => self.ledger.current().map_or((0, 0), |s| (s.last, s.total)),
        }
    }

    fn buffer_dictionary(&mut self, payloads: Vec<Vec<u8>>, last: u64, total: u64, row: &Row) {
        for payload in payloads {
            let header = RecordHeader {
                kind: Kind::Dictionary,
                trusted: true,
                samples: 0,
                seq: Seq::new(last),
                total,
                stamp: stamp_of(row),
            };
            self.buffer_record(&header, &payload);
        }
    }

    fn buffer_record(&mut self, header: &RecordHeader, payload: &[u8]) -> u32 {
        let at = self.open_bytes.unwrap_or(HEADER as u64);
        put_record(&mut self.buffer, self.session, header, payload);
        self.open_bytes = Some(at + (RECORD + payload.len()) as u64);
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    /// The next records go to a new segment, made when they are flushed.
    fn rotate(&mut self) {
        self.sync();
        self.writer.new_segment();
        self.buffer.clear();
        self.made = false;
        self.damaged = false;
        self.open_bytes = Some(HEADER as u64);
    }

    /// Writes what is buffered; on failure everything of it becomes a gap.
    fn flush(&mut self, logged: &mut Vec<LoggedRow>) {
        if self.buffered.is_empty() {
            return;
        }
        let buffer = std::mem::take(&mut self.buffer);
        let buffered = std::mem::take(&mut self.buffered);
        self.make_room(buffer.len() as u64);
        let mut written = self.write(&buffer, &buffered[0].0);
        if written.is_err() && !self.damaged && self.free_settled() {
            written = self.write(&buffer, &buffered[0].0);
        }
        match written {
            Ok(()) => {
                let current = self.ledger.current();
                if let Some(session) = current {
                    if let Some(segment) = session.segments.back_mut() {
                        segment.bytes += buffer.len() as u64;
                    }
                    buffered
                        .iter()
                        .for_each(|(header, offset, _)| session.enter(header, *offset));
                }
                logged.extend(buffered.into_iter().map(|(.., row)| row));
            }
            Err(error) => self.lose(&buffered, &error),
        }
        self.buffer = buffer;
        self.buffer.clear();
    }

    fn write(&mut self, buffer: &[u8], first: &RecordHeader) -> io::Result<()> {
        if !self.made {
            self.make_segment(first)?;
        }
        self.folder.append(buffer).map_err(|e| match e {
            AppendError::Undone(e) => e,
            AppendError::Damaged(e) => {
                self.damaged = true;
                e
            }
        })?;
        if self.config.sync == SyncPolicy::Always {
            return self.folder.sync().inspect_err(|_| self.damaged = true);
        }
        self.house.unsynced = true;
        Ok(())
    }

    fn make_segment(&mut self, first: &RecordHeader) -> io::Result<()> {
        let name = SegmentName {
            number: self.next_number,
            session: self.session,
        };
        let header = SegmentHeader {
            session: self.session,
            number: name.number,
            boot: self.boot,
            first: first.seq,
            total_before: first.total - u64::from(first.samples),
            stamp: first.stamp,
        };
        self.next_number += 1;
        self.folder
            .create(name, &header.encode(), self.config.sync != SyncPolicy::Never)?;
        self.made = true;
        self.damaged = false;
        if let Some(session) = self.ledger.current() {
            session.segments.push_back(Segment {
                number: name.number,
                bytes: HEADER as u64,
                first: first.seq,
                records: Vec::new(),
                total: header.total_before,
                times: None,
            });
        }
        Ok(())
    }

    /// The rows could not be written: they count, and are given up. The next ones go to a new segment, as these may
    /// have left a part in this one, and later rows would refer to them.
    fn lose(&mut self, rows: &[(RecordHeader, u32, LoggedRow)], error: &io::Error) {
        self.faults.append += 1;
        tracing::warn!(%error, records = rows.len(), "cannot write to the WAL; scrapes are dropped");
        self.open_bytes = None;
        let (Some((first, ..)), Some((last, ..))) = (rows.first(), rows.last()) else {
            return;
        };
        let samples = last.total - (first.total - u64::from(first.samples));
        let times = (first.stamp.wall, last.stamp.wall);
        self.ledger
            .enter_hole(self.session, last.seq.get(), samples, times, Reason::WalBytes);
    }

    /// The first wanted rows of a session, out of one segment. What is there and cannot be read is given up; what is no
    /// longer pending is among the unreadable.
    pub(crate) fn read(&mut self, id: SessionId, wanted: &SeqSet, limit: ReadLimit) -> ReadRows {
        let pending = self.ledger.session(id).map(Session::pending).unwrap_or_default();
        let mut gone = wanted.clone();
        gone.remove_all(&pending);
        let mut here = wanted.clone();
        here.remove_all(&gone);
        let mut bytes = Vec::new();
        if let Some((number, last)) = self.segment_of(id, &here) {
            here.remove_range(last.next(), Seq::new(u64::MAX));
            bytes = self
                .folder
                .read(SegmentName { number, session: id }, MAX_SEGMENT)
                .unwrap_or_else(|error| {
                    self.faults.read += 1;
                    tracing::warn!(segment = number, %error, "a WAL segment cannot be read");
                    Vec::new()
                });
        }
        let mut read = read_rows(&bytes, id, &here, limit);
        if !read.unreadable.is_empty() {
            self.faults.corrupt += 1;
            self.ledger.give_up(id, &read.unreadable, Reason::WalCorrupt);
        }
        read.unreadable.insert_all(&gone);
        read
    }

    /// Number and last seq of the segment that has the first of some records.
    fn segment_of(&self, id: SessionId, seqs: &SeqSet) -> Option<(u64, Seq)> {
        let segment = self.ledger.session(id)?.segment_of(seqs.first()?)?;
        Some((segment.number, Seq::new(segment.last())))
    }
}

fn stamp_of(row: &Row) -> Moment {
    Moment {
        wall: row.time,
        mono_ms: row.mono_ms,
    }
}
