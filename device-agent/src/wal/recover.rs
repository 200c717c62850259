//! The books out of whatever the folder holds. Never fails: what cannot be read becomes a gap or never was.

use wire::seqs::from_ranges;
use wire::{BootId, Seq, SessionId, Timestamp};

use crate::wal::Faults;
use crate::wal::folder::{Folder, SegmentName};
use crate::wal::format::{Found, Kind, RecordHeader, SegmentHeader, walk};
use crate::wal::gaps::{Gap, Reason};
use crate::wal::known::Known;
use crate::wal::ledger::Ledger;
use crate::wal::meta::{Meta, SessionMeta};
use crate::wal::session::{Anchor, Segment, Session};

/// Largest segment that is read, bytes; this program writes none over a MiB and a scrape.
pub(crate) const MAX_SEGMENT: u64 = 16 << 20;

/// Reads meta and all segments.
pub(crate) fn recover(folder: &mut Folder, names: &[SegmentName], faults: &mut Faults) -> Ledger {
    let bytes = folder.read_meta();
    let meta = bytes.as_deref().and_then(Meta::from_bytes);
    if bytes.is_some() && meta.is_none() {
        faults.meta += 1;
    }
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
    let gaps = meta.gaps.iter().filter_map(gap_of);
    gaps.for_each(|gap| ledger.gaps_mut().push(gap));
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
    for known in ledger.sessions().iter().map(|s| s.id).collect::<Vec<_>>() {
        let before = (faults.corrupt, faults.torn, faults.read);
        for &name in names.iter().filter(|name| name.session == known) {
            segment(folder, name, &mut ledger, faults, before);
        }
        let durable = meta.sessions.iter().find(|m| m.session == known.get());
        lost_end(&mut ledger, known, durable);
        ledger.let_go_of(known);
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
/// `before`: the faults before this session.
fn segment(
    folder: &mut Folder,
    name: SegmentName,
    ledger: &mut Ledger,
    faults: &mut Faults,
    before: (u64, u64, u64),
) {
    let bytes = match folder.read(name, MAX_SEGMENT) {
        Ok(bytes) => bytes,
        Err(e) => {
            faults.read += 1;
            tracing::warn!(segment = name.number, error = %e, "a WAL segment cannot be read");
            return;
        }
    };
    let boot = SegmentHeader::decode(&bytes, name.session).map(|header| header.boot);
    let freed = ledger.session(name.session).map_or(0, |s| s.freed);
    let rows: Vec<(usize, RecordHeader)> = rows(&bytes, name.session, faults).collect();
    if rows.iter().all(|(_, header)| header.seq.get() <= freed) {
        return remove(folder, name);
    }
    let Some(session) = ledger.session_mut(name.session) else {
        return;
    };
    if let Some(boot) = boot {
        session.boot = boot;
    }
    session.segments.push_back(Segment {
        number: name.number,
        bytes: bytes.len() as u64,
        first: Seq::new(session.last + 1),
        records: Vec::new(),
        total: session.total,
        times: None,
    });
    let whole = (faults.corrupt, faults.torn, faults.read) == before;
    for (offset, header) in rows {
        enter(ledger, name.session, &header, offset, whole);
    }
}

/// The intact rows of a segment; what is between them is counted.
fn rows<'a>(
    bytes: &'a [u8],
    session: SessionId,
    faults: &'a mut Faults,
) -> impl Iterator<Item = (usize, RecordHeader)> + 'a {
    walk(bytes, session).filter_map(move |found| match found {
        Found::Record(offset, header, _) => (header.kind == Kind::Row).then_some((offset, header)),
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

fn enter(ledger: &mut Ledger, id: SessionId, header: &RecordHeader, offset: usize, whole: bool) {
    let Some(session) = ledger.session_mut(id) else {
        return;
    };
    let seq = header.seq.get();
    let before = header.total.saturating_sub(u64::from(header.samples));
    // Nothing repeats within a session; an intact record that does is of no file of ours.
    if seq <= session.last || before < session.total {
        return;
    }
    let unknown_start = session.last == 0 && session.freed == 0 && session.settled.is_empty();
    if unknown_start && seq > 1 && session.dropped.is_empty() {
        // Freed before, and meta is gone: the bridge knows what it lacks.
        session.freed = seq - 1;
        session.freed_total = before;
        session.last = seq - 1;
        session.total = before;
    }
    if seq > session.last + 1 || before > session.total {
        let at = (session.newest.wall, header.stamp.wall);
        let samples = before - session.total;
        let reason = if whole {
            Reason::WalLost
        } else {
            Reason::WalCorrupt
        };
        ledger.enter_hole(id, seq - 1, samples, at, reason);
    }
    if let (Some(session), Ok(offset)) = (ledger.session_mut(id), u32::try_from(offset)) {
        session.enter(header, offset);
    }
}

/// Records that meta knew to be durable and that no segment has.
fn lost_end(ledger: &mut Ledger, id: SessionId, durable: Option<&SessionMeta>) {
    let (Some(meta), Some(session)) = (durable, ledger.session(id)) else {
        return;
    };
    if meta.last > session.last && meta.total >= session.total {
        let at = session.newest.wall;
        let samples = meta.total - session.total;
        ledger.enter_hole(id, meta.last, samples, (at, at), Reason::WalLost);
    }
}
