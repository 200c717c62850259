//! The books out of whatever the folder holds. Never fails: what cannot be read becomes a gap or never was.

use wire::limits::MAX_NUMBER;
use wire::seqs::from_ranges;
use wire::{BootId, Seq, SessionId, Timestamp};

use crate::wal::Faults;
use crate::wal::folder::{Folder, SegmentName};
use crate::wal::format::{Found, Kind, RecordHeader, SegmentHeader, walk};
use crate::wal::gaps::{Gap, Reason};
use crate::wal::known::Known;
use crate::wal::ledger::Ledger;
use crate::wal::meta::{Meta, SessionMeta};
use crate::wal::segment::Segment;
use crate::wal::session::{Anchor, Session};

/// Largest segment that is read, bytes; this program writes none over a MiB and a scrape.
pub(crate) const MAX_SEGMENT: u64 = 16 << 20;

/// Reads meta and all segments.
pub(crate) fn recover(folder: &mut Folder, names: &[SegmentName], faults: &mut Faults) -> Ledger {
    let meta = match folder.read_meta() {
        Ok(bytes) => bytes.map_or_else(|| Some(Meta::default()), |bytes| Meta::from_bytes(&bytes)),
        Err(error) => {
            tracing::warn!(%error, "the WAL's meta file cannot be read");
            None
        }
    };
    faults.meta += u64::from(meta.is_none());
    let meta = meta.unwrap_or_default();
    let mut ledger = Ledger::default();
    ledger.generated_before = meta.generated_before;
    ledger.let_go = meta.let_go.iter().map(|&id| SessionId::new(id)).collect();
    ledger.known = Known::from_meta(meta.epoch, &meta.dictionaries);
    for count in &meta.dropped {
        if let Some(reason) = Reason::from_text(&count.reason) {
            ledger.add_dropped(reason, count.samples);
        }
    }
    meta.sessions.iter().for_each(|m| ledger.add(session_of(m)));
    meta.gaps
        .iter()
        .filter_map(gap_of)
        .for_each(|gap| ledger.enter_gap(gap));
    let (gone, names): (Vec<_>, Vec<_>) = names
        .iter()
        .partition(|name| ledger.let_go.contains(&name.session));
    // Their removal was not durable.
    gone.into_iter().for_each(|name| remove(folder, name));
    for &name in &names {
        if ledger.session(name.session).is_none() {
            ledger.add(Session::new(name.session, BootId::new(0), true));
        }
    }
    for id in ledger.sessions().iter().map(|s| s.id).collect::<Vec<_>>() {
        let known = meta.sessions.iter().find(|m| m.session == id.get());
        let before = (faults.corrupt, faults.torn, faults.read);
        for &name in names.iter().filter(|name| name.session == id) {
            segment(folder, name, &mut ledger, faults, known.is_some(), before);
        }
        if let Some(meta) = known {
            lost_end(&mut ledger, id, meta);
        }
        ledger.let_go_of(id);
    }
    ledger
}

fn remove(folder: &mut Folder, name: SegmentName) {
    if let Err(e) = folder.remove(name) {
        tracing::warn!(segment = name.number, error = %e, "a freed WAL segment cannot be removed");
    }
}

fn session_of(meta: &SessionMeta) -> Session {
    let mut session = Session::new(SessionId::new(meta.session), BootId::new(meta.boot), true);
    session.freed = meta.freed;
    session.freed_total = meta.freed_total;
    session.last = meta.freed;
    session.total = meta.freed_total;
    session.settled = from_ranges(&meta.settled).unwrap_or_default();
    session.dropped = from_ranges(&meta.dropped).unwrap_or_default();
    session.dropped_samples = meta.dropped_samples;
    session.alerts = from_ranges(&meta.alerts).unwrap_or_default();
    session.anchor = meta.anchor.map(|a| Anchor {
        offset_ms: a.offset_ms,
        error_ms: a.error_ms,
    });
    session
}

fn gap_of(meta: &crate::wal::meta::GapMeta) -> Option<Gap> {
    let gap = meta.gap.as_ref()?;
    Some(Gap {
        session: SessionId::new(gap.session),
        first: Seq::new(gap.first),
        last: Seq::new(gap.last.max(gap.first)),
        total_before: meta.total_before,
        samples: gap.samples,
        each: meta.each.clone(),
        from: Timestamp::from_ms(gap.from_ms),
        to: Timestamp::from_ms(gap.to_ms),
        reason: Reason::from_text(&gap.reason)?,
        confirmed: meta.confirmed,
        told: false,
        id: 0,
    })
}

/// Enters one segment; removes it if all of it was freed before, or nothing of it is intact.
/// `known`: meta has the session; `before`: the faults before this session.
fn segment(
    folder: &mut Folder,
    name: SegmentName,
    ledger: &mut Ledger,
    faults: &mut Faults,
    known: bool,
    before: (u64, u64, u64),
) {
    let bytes = match folder.read(name, MAX_SEGMENT) {
        Ok(bytes) => bytes,
        Err(e) => {
            faults.read += 1;
            tracing::warn!(segment = name.number, error = %e, "a WAL segment cannot be read");
            if let Some(session) = ledger.session_mut(name.session) {
                session.unread = true;
            }
            return;
        }
    };
    let boot = SegmentHeader::decode(&bytes, name.session).map(|header| header.boot);
    let freed = ledger.session(name.session).map_or(0, |s| s.freed);
    let rows: Vec<RecordHeader> = rows(&bytes, name.session, faults).collect();
    if rows.iter().all(|header| header.seq.get() <= freed) {
        return remove(folder, name);
    }
    let Some(session) = ledger.session_mut(name.session) else {
        return;
    };
    if let Some(boot) = boot {
        session.boot = boot;
    }
    let next = Seq::new(session.last + 1);
    let segment = Segment::new(name.number, bytes.len() as u64, next, session.total);
    session.segments.push_back(segment);
    let whole = (faults.corrupt, faults.torn, faults.read) == before;
    for header in rows {
        enter(ledger, name.session, &header, known, whole);
    }
}

/// The intact records of a segment that have a seq of their own; what is between them is counted.
fn rows<'a>(
    bytes: &'a [u8],
    session: SessionId,
    faults: &'a mut Faults,
) -> impl Iterator<Item = RecordHeader> + 'a {
    walk(bytes, session).filter_map(move |found| match found {
        Found::Record(header, _) => (header.kind != Kind::Dictionary).then_some(header),
        Found::Damage(_) => {
            faults.corrupt += 1;
            None
        }
        Found::Tail(_) => {
            faults.torn += 1;
            None
        }
    })
}

fn enter(ledger: &mut Ledger, id: SessionId, header: &RecordHeader, known: bool, whole: bool) {
    let Some(session) = ledger.session_mut(id) else {
        return;
    };
    let seq = header.seq.get();
    let before = header.total.checked_sub(u64::from(header.samples));
    let segment = session.segments.back();
    let fits = seq.max(header.total) <= MAX_NUMBER && segment.is_some_and(|s| s.has_room(seq, header.total));
    let Some(before) = before.filter(|_| fits) else {
        return;
    };
    if !known && session.last == 0 && seq > 0 {
        // Freed before, and meta is gone: the bridge knows what it lacks.
        session.start_after(seq - 1, before);
    }
    // Nothing repeats within a session, and totals go on from record to record: one that says otherwise is not ours.
    if seq <= session.last || before < session.total || (seq == session.last + 1 && before > session.total) {
        return;
    }
    if seq > session.last + 1 {
        let times = (session.newest.wall, header.stamp.wall);
        let reason = if whole {
            Reason::WalLost
        } else {
            Reason::WalCorrupt
        };
        ledger.enter_hole(id, (seq - 1, before), times, reason);
    }
    if let Some(session) = ledger.session_mut(id) {
        session.enter(header);
    }
}

/// Records that meta knew to be durable, or to be dropped, and that no segment has.
fn lost_end(ledger: &mut Ledger, id: SessionId, meta: &SessionMeta) {
    let Some(session) = ledger.session(id) else {
        return;
    };
    let at = session.newest.wall;
    let dropped = ledger.gaps().of(id).map(Gap::after).max();
    let end = dropped.unwrap_or_default().max((meta.last, meta.total));
    if end.0 > session.last && end.1 >= session.total {
        ledger.enter_hole(id, end, (at, at), Reason::WalLost);
    }
}
