//! Housekeeping of the log: budgets, syncs by interval, the meta file.

use wire::limits::MAX_RANGES;
use wire::message::{self, ReasonCount};
use wire::seqs::to_ranges;

use crate::input::Moment;
use crate::wal::SyncPolicy;
use crate::wal::folder::{Folder, SegmentName};
use crate::wal::gaps::{Gap, Reason};
use crate::wal::log::Wal;
use crate::wal::meta::{AnchorMeta, GapMeta, Meta, SessionMeta};
use crate::wal::session::{Anchor, Session};

/// How often changes of acks reach the disk, ms.
const META_EVERY: u64 = 60_000;

/// Sessions beyond this many are freed if they are wholly settled.
const KEEP_SETTLED: usize = 32;

/// Sessions with records beyond this many are freed whatever they hold.
const KEEP_SESSIONS: usize = 200;

/// Sessions beyond this many are let go if they have nothing but gaps; a state lists at most 256.
const MAX_SESSIONS: usize = 250;

/// When what was last done.
#[derive(Debug)]
pub(crate) struct House {
    meta_written: u64,
    synced: u64,
    pub(crate) unsynced: bool,
}

impl House {
    pub(crate) fn new(now: Moment) -> House {
        House {
            meta_written: now.mono_ms,
            synced: now.mono_ms,
            unsynced: false,
        }
    }
}

impl Wal {
    /// What is due: call it every second or so. `wall` is the trusted time, if there is one.
    pub(crate) fn keep(&mut self, now: Moment, wall_is_trusted: bool) {
        if let SyncPolicy::Interval(every) = self.config.sync
            && u128::from(now.mono_ms.saturating_sub(self.house.synced)) >= every.as_millis()
        {
            self.sync();
            self.house.synced = now.mono_ms;
        }
        if wall_is_trusted {
            self.free_old(now);
        }
        if self.ledger.changed && now.mono_ms.saturating_sub(self.house.meta_written) >= META_EVERY {
            self.house.meta_written = now.mono_ms;
            self.write_meta();
        }
    }

    /// Makes everything durable, for an orderly end.
    pub(crate) fn close(&mut self) {
        self.sync();
        self.write_meta();
    }

    /// Makes appended records durable, if some are not and the policy is not `never`.
    pub(crate) fn sync(&mut self) {
        if !self.house.unsynced || self.config.sync == SyncPolicy::Never {
            return;
        }
        match self.folder.sync() {
            Ok(()) => self.house.unsynced = false,
            Err(error) => {
                self.faults.append += 1;
                tracing::warn!(%error, "cannot sync the WAL");
            }
        }
    }

    /// Sets the anchor of a boot's clock, durably.
    pub(crate) fn anchor(&mut self, anchor: Anchor) {
        let boot = self.boot();
        for id in self
            .ledger
            .sessions()
            .iter()
            .map(|s| (s.id, s.boot))
            .collect::<Vec<_>>()
        {
            if id.1 == boot
                && let Some(session) = self.ledger.session_mut(id.0)
            {
                session.anchor = Some(anchor);
            }
        }
        self.write_meta();
    }

    /// Frees segments until this many bytes more are within the budget.
    pub(crate) fn make_room(&mut self, bytes: u64) {
        while self.ledger.bytes() + bytes > self.config.max_bytes {
            let Some(id) = self.ledger.next_to_free() else {
                return;
            };
            self.free(id, Reason::WalBytes);
        }
    }

    /// Frees the oldest wholly settled segment; says whether there was one.
    pub(crate) fn free_settled(&mut self) -> bool {
        let next = self.ledger.next_to_free();
        let done = next.filter(|&id| self.ledger.session(id).is_some_and(Session::oldest_is_done));
        done.inspect(|&id| self.free(id, Reason::WalBytes)).is_some()
    }

    fn free_old(&mut self, now: Moment) {
        let limit = now.wall.minus(self.config.max_age);
        while let Some(old) = self.ledger.sessions().iter().find(|s| {
            let closed = s.closed || s.segments.len() > 1;
            let oldest = s.segments.front();
            closed && oldest.is_some_and(|segment| segment.is_before(limit, s.anchor))
        }) {
            let id = old.id;
            self.free(id, Reason::WalAge);
        }
    }

    /// Keeps the number of sessions within what a state can list: those with records, and those with nothing but gaps.
    pub(crate) fn drop_old_sessions(&mut self) {
        loop {
            let sessions = self.ledger.sessions();
            let mut logged = sessions.iter().filter(|s| s.closed && !s.segments.is_empty());
            let settled = logged.clone().find(|s| s.pending_records == 0);
            let surplus = match (logged.clone().count(), sessions.len()) {
                (n, _) if n >= KEEP_SESSIONS => settled.or_else(|| logged.next()),
                (_, all) if all > KEEP_SETTLED => settled,
                _ => None,
            };
            let Some(id) = surplus.map(|s| s.id) else { break };
            self.free(id, Reason::WalBytes);
        }
        while self.ledger.sessions().len() > MAX_SESSIONS && self.ledger.forget_gaps() {}
    }

    /// Frees a session's oldest segment: books, meta, then the file. On a full disk meta finds its room only then.
    fn free(&mut self, id: wire::SessionId, reason: Reason) {
        let Some(segment) = self.ledger.free_oldest(id, reason) else {
            return;
        };
        let told = self.write_meta();
        let name = SegmentName {
            number: segment.number,
            session: id,
        };
        if let Err(error) = self.folder.remove(name) {
            self.faults.append += 1;
            tracing::warn!(%error, segment = name.number, "cannot remove a freed WAL segment");
        }
        if !told {
            self.write_meta();
        }
    }

    /// Writes the meta file, and says whether it could; if not, the log goes on without, see docs/wal.md.
    pub(crate) fn write_meta(&mut self) -> bool {
        if matches!(self.folder, Folder::Memory(_)) {
            return true;
        }
        self.sync();
        let meta = self.meta();
        let written = self.folder.write_meta(&meta.to_bytes());
        match &written {
            Ok(()) => self.ledger.changed = false,
            Err(error) => {
                self.faults.meta += 1;
                tracing::warn!(%error, "cannot write the WAL's meta file");
            }
        }
        written.is_ok()
    }

    fn meta(&self) -> Meta {
        let durable = !self.house.unsynced;
        let known = self.ledger.known.as_ref();
        Meta {
            generated_before: self.ledger.generated_before,
            dropped: (self.ledger.dropped_confirmed().iter())
                .map(|(reason, &samples)| ReasonCount {
                    reason: reason.as_str().to_owned(),
                    samples,
                })
                .collect(),
            sessions: self
                .ledger
                .sessions()
                .iter()
                .map(|s| session_meta(s, durable))
                .collect(),
            gaps: self.ledger.gaps().iter().map(gap_meta).collect(),
            let_go: self.ledger.let_go.iter().map(|id| id.get()).collect(),
            epoch: known.map_or(0, |k| k.epoch.get()),
            dictionaries: known.map_or_else(Vec::new, |k| k.to_meta()),
        }
    }
}

fn session_meta(session: &Session, durable: bool) -> SessionMeta {
    let known = session.closed || durable;
    SessionMeta {
        session: session.id.get(),
        boot: session.boot.get(),
        freed: session.freed,
        freed_total: session.freed_total,
        last: if known { session.last } else { session.freed },
        total: if known { session.total } else { session.freed_total },
        settled: to_ranges(&session.settled, MAX_RANGES),
        dropped: to_ranges(&session.dropped, MAX_RANGES),
        dropped_samples: session.dropped_samples,
        alerts: to_ranges(&session.dropped_alerts(), MAX_RANGES),
        anchor: session.anchor.map(|a| AnchorMeta {
            offset_ms: a.offset_ms,
            error_ms: a.error_ms,
        }),
    }
}

fn gap_meta(gap: &Gap) -> GapMeta {
    GapMeta {
        gap: Some(message::Gap {
            session: gap.session.get(),
            first: gap.first.get(),
            last: gap.last.get(),
            from_ms: gap.from.ms(),
            to_ms: gap.to.ms(),
            samples: gap.samples,
            reason: gap.reason.as_str().to_owned(),
            alerts: 0,
        }),
        total_before: gap.total_before,
        each: gap.each.clone(),
        confirmed: gap.confirmed,
    }
}
