//! Appending: from scrapes to bytes in the open segment.

use std::io;

use wire::Seq;
use wire::batch::Row;

use crate::input::{Moment, ScrapeRow};
use crate::wal::SyncPolicy;
use crate::wal::folder::{AppendError, SegmentName};
use crate::wal::format::{HEADER, Kind, RECORD, RecordHeader, SegmentHeader, put_record};
use crate::wal::gaps::Reason;
use crate::wal::log::Wal;
use crate::wal::reader::LoggedRow;
use crate::wal::segment::Segment;
use crate::wal::writer::Part;

/// A record that is not written yet.
#[derive(Debug)]
pub(super) struct Buffered {
    pub(super) header: RecordHeader,
    /// `None`: an alert.
    pub(super) row: Option<LoggedRow>,
}

impl Wal {
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
        self.turn_segment(logged);
        let dictionary = self.writer.dictionary_records();
        let Some(payload) = self.writer.payload(&part) else {
            self.buffer_dictionary(dictionary, last, total, stamp_of(&stamp));
            return part
                .halves()
                .into_iter()
                .for_each(|half| self.put(half, trusted, logged));
        };
        self.buffer_dictionary(dictionary, last, total, stamp_of(&stamp));
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
        self.buffer_record(&header, &payload);
        self.buffered.push(Buffered {
            header,
            row: Some(row),
        });
    }

    /// A full segment makes way for a new one, and so does none.
    pub(super) fn turn_segment(&mut self, logged: &mut Vec<LoggedRow>) {
        let full = self.open_bytes.is_some_and(|bytes| bytes >= self.segment_bytes);
        if full || self.open_bytes.is_none() {
            self.flush(logged);
            self.rotate();
        }
    }

    /// Last seq and running total, buffered records included.
    pub(super) fn reserved(&mut self) -> (u64, u64) {
        match self.buffered.last() {
            Some(Buffered { header, .. }) => (header.seq.get(), header.total),
            None => self.ledger.current().map_or((0, 0), |s| (s.last, s.total)),
        }
    }

    pub(super) fn buffer_dictionary(&mut self, payloads: Vec<Vec<u8>>, last: u64, total: u64, stamp: Moment) {
        for payload in payloads {
            let header = RecordHeader {
                kind: Kind::Dictionary,
                trusted: true,
                samples: 0,
                seq: Seq::new(last),
                total,
                stamp,
            };
            self.buffer_record(&header, &payload);
        }
    }

    pub(super) fn buffer_record(&mut self, header: &RecordHeader, payload: &[u8]) {
        let at = self.open_bytes.unwrap_or(HEADER as u64);
        put_record(&mut self.buffer, self.session, header, payload);
        self.open_bytes = Some(at + (RECORD + payload.len()) as u64);
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
    pub(super) fn flush(&mut self, logged: &mut Vec<LoggedRow>) {
        if self.buffered.is_empty() {
            return;
        }
        let buffer = std::mem::take(&mut self.buffer);
        let buffered = std::mem::take(&mut self.buffered);
        self.make_room(buffer.len() as u64);
        let mut written = self.write(&buffer, &buffered[0].header);
        if written.is_err() && !self.damaged && self.free_settled() {
            written = self.write(&buffer, &buffered[0].header);
        }
        match written {
            Ok(()) => {
                let current = self.ledger.current();
                if let Some(session) = current {
                    if let Some(segment) = session.segments.back_mut() {
                        segment.bytes += buffer.len() as u64;
                    }
                    buffered.iter().for_each(|record| session.enter(&record.header));
                }
                logged.extend(buffered.into_iter().filter_map(|record| record.row));
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
            let segment = Segment::new(name.number, HEADER as u64, first.seq, header.total_before);
            session.segments.push_back(segment);
        }
        Ok(())
    }

    /// The records could not be written: they count, and are given up. The next ones go to a new segment, as these may
    /// have left a part in this one, and later rows would refer to them.
    fn lose(&mut self, records: &[Buffered], error: &io::Error) {
        self.faults.append += 1;
        tracing::warn!(%error, records = records.len(), "cannot write to the WAL; records are dropped");
        self.open_bytes = None;
        let headers = || records.iter().map(|record| record.header);
        let (Some(first), Some(last)) = (headers().next(), headers().next_back()) else {
            return;
        };
        let alerts = headers().filter(|header| header.kind == Kind::Alert);
        self.ledger
            .lose_alerts(self.session, alerts.map(|header| header.seq), Reason::WalBytes);
        let times = (first.stamp.wall, last.stamp.wall);
        let end = (last.seq.get(), last.total);
        self.ledger.enter_hole(self.session, end, times, Reason::WalBytes);
    }
}

fn stamp_of(row: &Row) -> Moment {
    Moment {
        wall: row.time,
        mono_ms: row.mono_ms,
    }
}
