//! The log against damage: what is read is what was written, and nothing is unaccounted for.

mod crafted;
mod power;

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use wire::{BootId, Labels, Seq, SeqSet, SessionId, Timestamp};

use super::*;
use crate::input::{Moment, ScrapeRow, Slot, TargetId};

const ALL: ReadLimit = ReadLimit {
    rows: 1000,
    values: 1 << 20,
};

fn moment(ms: u64) -> Moment {
    Moment {
        wall: Timestamp::from_ms(1_700_000_000_000 + ms.cast_signed()),
        mono_ms: ms,
    }
}

/// The scrape of a number: its series, and values that tell it from others.
fn scrape(n: u64, series: u32, first: bool) -> ScrapeRow {
    let labels = |s: u32| Labels::new([("__name__", format!("m{s}")), ("job", "test".to_owned())]).unwrap();
    ScrapeRow {
        target: TargetId::new(0),
        time: moment(n * 1000).wall,
        mono_ms: n * 1000,
        new_series: (0..if first { series } else { 0 })
            .map(|s| (Slot::new(s), labels(s)))
            .collect(),
        values: (0..series).map(|s| (Slot::new(s), value(n, s))).collect(),
        metadata: Vec::new(),
        ended: false,
    }
}

fn value(n: u64, series: u32) -> f64 {
    (n * 1000 + u64::from(series)) as f64 + 0.25
}

fn config(dir: &Path, max_bytes: u64, sync: SyncPolicy) -> WalConfig {
    WalConfig {
        storage: Storage::Folder(dir.to_path_buf()),
        max_bytes,
        max_age: std::time::Duration::from_secs(7 * 86_400),
        sync,
    }
}

fn open(dir: &Path, session: u64, max_bytes: u64) -> Wal {
    let config = config(dir, max_bytes, SyncPolicy::Never);
    Wal::open(config, SessionId::new(session), BootId::new(9), moment(0)).unwrap()
}

/// Appends scrapes 1..=n of some series each.
fn fill(wal: &mut Wal, n: u64, series: u32) {
    for at in 1..=n {
        wal.append(vec![scrape(at, series, at == 1)], true);
    }
}

fn read_all(wal: &mut Wal, id: SessionId) -> Vec<LoggedRow> {
    let mut wanted = wal.ledger.session(id).map(Session::pending).unwrap_or_default();
    if let Some(session) = wal.ledger.session(id) {
        wanted.remove_all(&session.alerts);
    }
    let mut rows = Vec::new();
    while let Some(first) = wanted.first() {
        let read = wal.read(id, &wanted, ALL);
        let done = read
            .rows
            .iter()
            .map(|r| r.seq)
            .chain(read.unreadable.last())
            .max();
        wanted.remove_range(first, done.unwrap());
        rows.extend(read.rows);
    }
    rows
}

/// Everything read is as written, and pending, settled and given up samples make the total.
fn check(wal: &mut Wal, id: SessionId, series: u32) {
    for row in read_all(wal, id) {
        let n = row.seq.get();
        assert_eq!(row.total, n * u64::from(series));
        assert_eq!(row.group.rows[0].time, moment(n * 1000).wall);
        let expected: Vec<u64> = (0..series).map(|s| value(n, s).to_bits()).collect();
        let found: Vec<u64> = row.group.values.iter().map(|v| v.to_bits()).collect();
        assert_eq!(found, expected, "record {n}");
    }
    let gaps: u64 = wal.ledger.gaps().of(id).map(|gap| gap.samples).sum();
    let Some(session) = wal.ledger.session(id) else {
        return;
    };
    assert_eq!(session.total, session.last * u64::from(series));
    assert_eq!(
        session.pending_samples,
        session.pending_records * u64::from(series)
    );
    assert_eq!(session.pending().len(), session.pending_records);
    let settled = session.settled.len() * u64::from(series);
    assert_eq!(session.pending_samples + settled + gaps, session.total);
}

fn segments(dir: &Path) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|p| p.extension().is_some_and(|e| e == "wal"))
        .collect();
    files.sort();
    files
}

#[test]
fn records_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut wal = open(dir.path(), 1, 1 << 20);
    fill(&mut wal, 50, 20);
    wal.close();
    drop(wal);
    let mut wal = open(dir.path(), 2, 1 << 20);
    let id = SessionId::new(1);
    assert_eq!(read_all(&mut wal, id).len(), 50);
    check(&mut wal, id, 20);
    assert_eq!(wal.ledger.generated(), 1000);
    // The dictionary goes on, so the bridge has it already.
    assert_eq!(wal.books().1.len(), 20);
}

#[test]
fn a_second_agent_is_kept_out() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(dir.path(), 1, 1 << 20);
    let second = Wal::open(
        config(dir.path(), 1 << 20, SyncPolicy::Always),
        SessionId::new(2),
        BootId::new(9),
        moment(0),
    );
    assert!(matches!(second, Err(OpenError::Locked(_))));
}

#[test]
fn a_tail_cut_at_any_byte_costs_only_the_records_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let mut wal = open(dir.path(), 1, 1 << 20);
    fill(&mut wal, 3, 5);
    drop(wal);
    let file = segments(dir.path()).remove(0);
    let whole = fs::read(&file).unwrap();
    for cut in 0..whole.len() {
        fs::remove_file(dir.path().join("meta")).unwrap();
        fs::write(&file, &whole[..cut]).unwrap();
        let mut wal = open(dir.path(), 2, 1 << 20);
        check(&mut wal, SessionId::new(1), 5);
        assert_eq!(wal.ledger.gaps().iter().count(), 0, "cut at {cut}");
    }
}

#[test]
fn a_durable_record_that_is_gone_from_the_end_is_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let mut wal = Wal::open(
        config(dir.path(), 1 << 20, SyncPolicy::Always),
        SessionId::new(1),
        BootId::new(9),
        moment(0),
    )
    .unwrap();
    fill(&mut wal, 10, 5);
    wal.close();
    drop(wal);
    let file = segments(dir.path()).remove(0);
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 3]).unwrap();
    for run in 2..4 {
        let mut wal = open(dir.path(), run, 1 << 20);
        let gaps: Vec<_> = wal.ledger.gaps().iter().map(|g| (g.reason, g.samples)).collect();
        assert_eq!(gaps, [(Reason::WalLost, 5)], "run {run}");
        check(&mut wal, SessionId::new(1), 5);
        wal.close();
    }
}

#[test]
fn space_is_made_by_giving_up_the_oldest_and_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let id = SessionId::new(1);
    let mut wal = open(dir.path(), 1, 64 << 10);
    fill(&mut wal, 2000, 40);
    assert!(wal.ledger.bytes() <= 80 << 10);
    check(&mut wal, id, 40);
    let dropped = wal.ledger.dropped();
    assert!(dropped[&Reason::WalBytes] > 0);
    drop(wal);
    let mut wal = open(dir.path(), 2, 64 << 10);
    assert_eq!(wal.ledger.dropped(), dropped);
    check(&mut wal, id, 40);
    assert_eq!(wal.ledger.session(id).unwrap().last, 2000);
}

#[test]
fn settled_records_make_space_without_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let id = SessionId::new(1);
    let mut wal = open(dir.path(), 1, 64 << 10);
    for n in 1..=2000 {
        wal.append(vec![scrape(n, 40, n == 1)], true);
        wal.ledger.settle(id, Seq::new(n), Seq::new(n));
    }
    assert_eq!(wal.ledger.gaps().iter().count(), 0);
    assert_eq!(wal.ledger.pending(), (0, 0));
    assert!(wal.ledger.session(id).unwrap().freed > 0);
}

#[test]
fn a_gap_leaves_out_what_turns_out_to_be_stored() {
    let dir = tempfile::tempdir().unwrap();
    let id = SessionId::new(1);
    let mut wal = open(dir.path(), 1, 1 << 20);
    fill(&mut wal, 10, 5);
    let published = wal.ledger.current().unwrap().published.as_mut().unwrap();
    published.insert_range(Seq::new(3), Seq::new(4));
    let all: SeqSet = (1..=10).map(Seq::new).collect();
    wal.ledger.give_up(id, &all, Reason::WalAge);
    let mark = wal.ledger.gaps().mark();
    wal.ledger.replace(id, &[Seq::new(4)].into_iter().collect(), mark);
    let gaps: Vec<_> = wal
        .ledger
        .gaps()
        .iter()
        .map(|g| (g.first.get(), g.last.get(), g.samples))
        .collect();
    assert_eq!(gaps, [(1, 3, 15), (5, 10, 30)]);
    assert_eq!(wal.ledger.dropped()[&Reason::WalAge], 45);
    wal.ledger.replace(id, &all, mark);
    assert_eq!(wal.ledger.gaps().iter().count(), 0);
}

#[test]
fn many_starts_without_a_bridge_cost_only_the_oldest_sessions() {
    let dir = tempfile::tempdir().unwrap();
    for session in 1..=300 {
        let mut wal = open(dir.path(), session, 1 << 20);
        wal.append(vec![scrape(session, 5, true)], true);
    }
    let wal = open(dir.path(), 301, 1 << 20);
    assert_eq!(wal.ledger.generated(), 1500);
    let (records, samples) = wal.ledger.pending();
    assert_eq!((records, samples), (199, 995));
    let dropped = wal.ledger.dropped();
    assert_eq!(dropped.into_iter().collect::<Vec<_>>(), [(Reason::WalBytes, 505)]);
    assert_eq!(wal.ledger.sessions().len(), 250);
    let oldest_logged = wal.ledger.sessions().iter().find(|s| s.pending_records > 0);
    assert_eq!(oldest_logged.unwrap().id, SessionId::new(102));
}

#[test]
fn records_of_a_wrong_clock_age_only_once_their_time_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let mut wal = open(dir.path(), 1, 1 << 20);
    let mut row = scrape(1, 5, true);
    row.time = Timestamp::from_ms(7);
    wal.append(vec![row], false);
    drop(wal);
    let mut wal = open(dir.path(), 2, 1 << 20);
    let week = 7 * 86_400_000;
    wal.keep(moment(week), true);
    assert_eq!(wal.ledger.pending(), (1, 5));
    let anchor = |offset_ms| Anchor {
        offset_ms,
        error_ms: 1,
    };
    wal.anchor(anchor(moment(0).wall.ms()));
    wal.keep(moment(week + 1000), true);
    assert_eq!(wal.ledger.pending(), (1, 5));
    wal.keep(moment(week + 1001), true);
    assert_eq!(wal.ledger.dropped()[&Reason::WalAge], 5);
}

#[test]
fn too_many_gaps_are_merged_with_what_is_between_them() {
    let dir = tempfile::tempdir().unwrap();
    let id = SessionId::new(1);
    let mut wal = open(dir.path(), 1, 64 << 20);
    fill(&mut wal, 3000, 5);
    let mut last = 0;
    // Neighbours that are near each other, and others that are not.
    let odd: SeqSet = (1..1400)
        .map(|n| (n / 7) * 13 + n % 7 * 2 + 1)
        .map(Seq::new)
        .collect();
    wal.ledger.give_up(id, &odd, Reason::WalAge);
    let mark = wal.ledger.gaps().mark();
    wal.ledger.replace(id, &SeqSet::new(), mark);
    let some: SeqSet = (2700..3000).step_by(2).map(Seq::new).collect();
    wal.ledger.give_up(id, &some, Reason::WalBytes);
    let count = wal.ledger.gaps().iter().count();
    assert!((900..=1024).contains(&count), "{count}");
    for gap in wal.ledger.gaps().iter() {
        assert_eq!(gap.samples, (gap.last.get() - gap.first.get() + 1) * 5);
        assert_eq!(gap.total_before, (gap.first.get() - 1) * 5);
    }
    let mut gaps: Vec<_> = wal.ledger.gaps().iter().map(|g| (g.first, g.last)).collect();
    gaps.sort_unstable();
    for (first, end) in gaps {
        assert!(first.get() > last);
        last = end.get();
    }
    check(&mut wal, id, 5);
    assert_eq!(
        wal.ledger.dropped().values().sum::<u64>() + wal.ledger.pending().1,
        15_000
    );
}

#[test]
fn scrapes_of_many_series_are_split_and_keep_their_values() {
    let dir = tempfile::tempdir().unwrap();
    let mut wal = open(dir.path(), 1, 16 << 20);
    let series = 9000;
    let mut row = scrape(1, series, true);
    for (s, (_, value)) in row.values.iter_mut().enumerate() {
        *value = f64::from_bits((s as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) & !(0x7ff << 52));
    }
    let bits: Vec<u64> = row.values.iter().map(|(_, v)| v.to_bits()).collect();
    let logged = wal.append(vec![row], true);
    assert!(logged.len() >= 3);
    drop(wal);
    let mut wal = open(dir.path(), 2, 16 << 20);
    let rows = read_all(&mut wal, SessionId::new(1));
    let read: Vec<u64> = rows
        .iter()
        .flat_map(|r| &r.group.values)
        .map(|v| v.to_bits())
        .collect();
    assert_eq!(read, bits);
}

#[test]
fn rows_that_cannot_be_written_are_a_gap_and_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("wal");
    let id = SessionId::new(1);
    let mut wal = open(&inner, 1, 1 << 20);
    fs::remove_dir_all(&inner).unwrap();
    wal.append(vec![scrape(1, 5, true)], true);
    fs::create_dir(&inner).unwrap();
    wal.append(vec![scrape(2, 5, false)], true);
    let gaps: Vec<_> = wal
        .ledger
        .gaps()
        .iter()
        .map(|g| (g.first.get(), g.samples, g.reason))
        .collect();
    assert_eq!(gaps, [(1, 5, Reason::WalBytes)]);
    check(&mut wal, id, 5);
    assert_eq!(read_all(&mut wal, id).len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn damage_anywhere_yields_true_values_and_exact_totals(
        records in 5u64..200,
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<proptest::sample::Index>(), 1u8..), 1..6),
        lose_meta in any::<bool>(),
        lose_segment in any::<Option<proptest::sample::Index>>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let id = SessionId::new(1);
        let mut wal = open(dir.path(), 1, 64 << 10);
        fill(&mut wal, records, 30);
        drop(wal);
        if lose_meta {
            fs::remove_file(dir.path().join("meta")).unwrap();
        }
        for (file, at, bits) in flips {
            let files = segments(dir.path());
            let file = &files[file.index(files.len())];
            let mut bytes = fs::read(file).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= bits;
            fs::write(file, bytes).unwrap();
        }
        let files = segments(dir.path());
        if let (Some(lost), true) = (lose_segment, files.len() > 2) {
            fs::remove_file(&files[1 + lost.index(files.len() - 2)]).unwrap();
        }
        for run in 2..4 {
            let mut wal = open(dir.path(), run, 64 << 10);
            check_freed(&mut wal, id, 30);
            wal.close();
        }
    }

    #[test]
    fn arbitrary_bytes_are_walked_without_a_record(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let found = format::walk(&bytes, SessionId::new(1)).count();
        prop_assert!(found <= 1);
    }
}

/// As `check`, with what was freed before a lost meta file left out.
fn check_freed(wal: &mut Wal, id: SessionId, series: u32) {
    let Some(session) = wal.ledger.session(id) else {
        return;
    };
    let (freed, freed_total) = (session.freed, session.freed_total);
    assert_eq!(freed_total, freed * u64::from(series));
    for row in read_all(wal, id) {
        let n = row.seq.get();
        let expected: Vec<u64> = (0..series).map(|s| value(n, s).to_bits()).collect();
        let found: Vec<u64> = row.group.values.iter().map(|v| v.to_bits()).collect();
        assert_eq!(found, expected, "record {n}");
    }
    let session = wal.ledger.session(id).unwrap();
    assert_eq!(session.total, session.last * u64::from(series));
    let above = wal.ledger.gaps().of(id).filter(|gap| gap.first.get() > freed);
    let gaps: u64 = above.map(|gap| gap.samples).sum();
    assert_eq!(session.pending_samples + gaps + freed_total, session.total);
}

/// What is pending is counted as such.
fn check_sums(wal: &Wal) {
    for session in wal.ledger.sessions() {
        let pending = session.pending();
        assert_eq!(session.pending_records, pending.len());
        assert_eq!(session.pending_samples, session.samples_of(&pending));
    }
}

fn alert(n: u64, text: usize) -> AlertEntry {
    let pair = |name: &str, value: String| wire::message::Pair {
        name: name.to_owned(),
        value,
    };
    AlertEntry {
        at: moment(n * 1000),
        alert: wire::message::Alert {
            labels: vec![pair("alertname", n.to_string())],
            annotations: vec![pair("text", "x".repeat(text))],
            starts_ms: 1_700_000_000_000,
            ..wire::message::Alert::default()
        },
    }
}

#[test]
fn alerts_lie_between_scrapes_and_come_back_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let mut wal = open(dir.path(), 1, 1 << 20);
    let id = wal.session();
    let (before, durable) = wal.append_alerts(vec![alert(1, 10), alert(2, 30_000)], false);
    fill(&mut wal, 5, 3);
    let (after, _) = wal.append_alerts((8..12).map(|n| alert(n, 30_000)).collect(), true);
    assert_eq!((before.len(), durable, after.len()), (2, true, 4));
    assert_eq!(wal.ledger.pending(), (11, 15));
    drop(wal);
    let mut wal = open(dir.path(), 2, 1 << 20);
    assert_eq!(wal.ledger.pending(), (11, 15));
    let wanted = wal.ledger.session(id).unwrap().alerts.clone();
    assert_eq!(wanted.len(), 6);
    // As many as 64 KiB have.
    let read = wal.read_alerts(id, &wanted);
    assert_eq!(read.alerts.len(), 3);
    assert!(read.gone.is_empty());
    let first = &read.alerts[0];
    assert_eq!(
        (first.seq, first.total, first.stamp, first.trusted),
        (Seq::new(1), 0, moment(1000), false)
    );
    assert_eq!(first.alert, alert(1, 10).alert);
    assert_eq!((read.alerts[2].total, read.alerts[2].trusted), (15, true));
    assert_eq!(read_all(&mut wal, id).len(), 5);
}

#[test]
fn an_alert_that_found_no_room_is_declared_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut wal = open(dir.path(), 1, 32 << 10);
    let id = wal.session();
    wal.append_alerts(vec![alert(1, 10)], true);
    // Frees the first segments.
    for n in 2..40 {
        wal.append(vec![scrape(n, 100, n == 2)], true);
        wal.append_alerts(vec![alert(n, 2000)], true);
    }
    let dropped = |wal: &Wal| wal.ledger.session(id).unwrap().dropped_alerts();
    let lost = dropped(&wal);
    assert!(lost.contains(Seq::new(1)));
    assert_eq!(wal.ledger.lost_alerts().get(&Reason::WalBytes), Some(&lost.len()));
    drop(wal);
    let mut wal = open(dir.path(), 2, 32 << 10);
    assert_eq!(dropped(&wal), lost);
    // The bridge has the gaps: nothing is owed of them any more.
    let mut settled = SeqSet::new();
    settled.insert_range(Seq::FIRST, lost.last().unwrap());
    wal.ledger.replace(id, &settled, wal.ledger.gaps().mark());
    assert!(dropped(&wal).is_empty());
}
