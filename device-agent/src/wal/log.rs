//! The log itself: opening, appending, reading.
//!
//! Rows that arrive together are written by one append and made durable by one fsync. A record whose bytes could not be
//! written still has its seq and counts in the running total: it is a gap from the start.

use wire::dict::Dictionary;
use wire::{BootId, Seq, SeqSet, SessionId};

use crate::input::Moment;
use crate::wal::append::Buffered;
use crate::wal::folder::{Folder, SegmentName};
use crate::wal::gaps::Reason;
use crate::wal::house::House;
use crate::wal::ledger::Ledger;
use crate::wal::reader::{ReadLimit, ReadRows, read_dictionary, read_rows};
use crate::wal::recover::{MAX_SEGMENT, recover};
use crate::wal::session::Session;
use crate::wal::writer::Writer;
use crate::wal::{Faults, OpenError, WalConfig};

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
    pub(super) writer: Writer,
    pub(super) session: SessionId,
    pub(super) boot: BootId,
    pub(super) next_number: u64,
    /// Bytes of the segment that is open for appending, those in `buffer` included.
    pub(super) open_bytes: Option<u64>,
    /// Its file exists.
    pub(super) made: bool,
    /// Its end is in doubt: nothing more may be appended.
    pub(super) damaged: bool,
    pub(super) segment_bytes: u64,
    pub(super) buffer: Vec<u8>,
    pub(super) buffered: Vec<Buffered>,
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
        let folder = Folder::open(&config.storage)?;
        Wal::open_in(folder, config, session, boot, now)
    }

    /// As [`Wal::open`], in a folder that is open.
    pub(super) fn open_in(
        mut folder: Folder,
        config: WalConfig,
        session: SessionId,
        boot: BootId,
        now: Moment,
    ) -> Result<Wal, OpenError> {
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

    /// The first wanted rows of a session, out of one segment. What is there and cannot be read is given up; what is no
    /// longer pending is among the unreadable.
    pub(crate) fn read(&mut self, id: SessionId, wanted: &SeqSet, limit: ReadLimit) -> ReadRows {
        let (bytes, here, gone) = self.segment_with(id, wanted);
        let mut read = read_rows(&bytes, id, &here, limit);
        if !read.unreadable.is_empty() {
            self.faults.corrupt += 1;
            self.ledger.give_up(id, &read.unreadable, Reason::WalCorrupt);
        }
        read.unreadable.insert_all(&gone);
        read
    }

    /// The bytes of the segment that has the first of the wanted records that are pending, which of them it accounts for,
    /// and those that are not pending.
    pub(super) fn segment_with(&mut self, id: SessionId, wanted: &SeqSet) -> (Vec<u8>, SeqSet, SeqSet) {
        let pending = self.ledger.session(id).map(Session::pending).unwrap_or_default();
        let mut here = wanted.common(&pending);
        let mut gone = wanted.clone();
        gone.remove_all(&here);
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
        (bytes, here, gone)
    }

    /// Number and last seq of the segment that has the first of some records.
    fn segment_of(&self, id: SessionId, seqs: &SeqSet) -> Option<(u64, Seq)> {
        let segment = self.ledger.session(id)?.segment_of(seqs.first()?)?;
        Some((segment.number, Seq::new(segment.last().0)))
    }
}
