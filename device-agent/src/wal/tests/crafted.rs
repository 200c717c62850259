//! The log against files made by hand: what they say is booked once, and where they make no sense the books add up.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use wire::message::{self, Range, ReasonCount};
use wire::{BootId, Seq, SeqSet, SessionId};

use super::{ALL, check_freed, check_sums, fill, moment, open, scrape};
use crate::wal::Reason;
use crate::wal::format::{Kind, RecordHeader, SegmentHeader, put_record};
use crate::wal::meta::{AnchorMeta, GapMeta, Meta, SessionMeta};

/// Small numbers, which meet others, and some at the limits.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        20 => 0u64..30,
        1 => (1u64 << 32) - 2..(1 << 32) + 2,
        1 => (1u64 << 53) - 2..(1 << 53) + 2,
        1 => u64::MAX - 2..=u64::MAX,
    ]
}

fn range() -> impl Strategy<Value = Range> {
    (number(), 0u64..6).prop_map(|(first, more)| Range { first, more })
}

fn ranges() -> impl Strategy<Value = Vec<Range>> {
    proptest::collection::vec(range(), 0..4)
}

prop_compose! {
    fn session_meta()(
        session in 1u64..4,
        numbers in proptest::array::uniform5(number()),
        settled in ranges(),
        dropped in ranges(),
        alerts in ranges(),
        anchor in proptest::option::of((any::<i64>(), number())),
    ) -> SessionMeta {
        let [freed, freed_total, last, total, dropped_samples] = numbers;
        let anchor = anchor.map(|(offset_ms, error_ms)| AnchorMeta { offset_ms, error_ms });
        SessionMeta {
            session, boot: 9, freed, freed_total, last, total, settled, dropped, dropped_samples, anchor, alerts,
        }
    }
}

prop_compose! {
    fn gap_meta()(
        session in 1u64..5,
        first in number(),
        more in 0u64..5,
        each in proptest::collection::vec(1u32..9, 0..5),
        samples in number(),
        total_before in number(),
        whole in any::<bool>(),
        confirmed in any::<bool>(),
        reason in 0..Reason::ALL.len(),
    ) -> GapMeta {
        let more = if whole && !each.is_empty() { each.len() as u64 - 1 } else { more };
        let gap = message::Gap {
            session,
            first,
            last: first.saturating_add(more),
            samples: if whole { each.iter().map(|&n| u64::from(n)).sum() } else { samples },
            reason: Reason::ALL[reason].as_str().to_owned(),
            ..message::Gap::default()
        };
        GapMeta { gap: Some(gap), total_before, each, confirmed }
    }
}

prop_compose! {
    fn meta()(
        sessions in proptest::collection::vec(session_meta(), 0..4),
        gaps in proptest::collection::vec(gap_meta(), 0..4),
        generated_before in number(),
        dropped in number(),
    ) -> Meta {
        let dropped = vec![ReasonCount { reason: "wal_age".to_owned(), samples: dropped }];
        Meta { generated_before, dropped, sessions, gaps, ..Meta::default() }
    }
}

/// A record: samples, how far seq and total go beyond the record before, whether its clock was trusted, and a payload;
/// of no samples: a dictionary.
type Step = (u32, u64, u64, bool, Vec<u8>);

fn step() -> impl Strategy<Value = Step> {
    let skip = || prop_oneof![10 => Just(0u64), 3 => 0u64..5, 1 => number()];
    let payload = proptest::collection::vec(prop_oneof![0u8..4, any::<u8>()], 0..40);
    (0u32..9, skip(), skip(), proptest::bool::weighted(0.9), payload)
}

fn write_segment(dir: &Path, session: u64, number: u64, start: (u64, u64), steps: &[Step]) {
    let stamp = moment(number);
    let (mut seq, mut total) = start;
    let session = SessionId::new(session);
    let header = SegmentHeader {
        session,
        number,
        boot: BootId::new(9),
        first: Seq::new(seq),
        total_before: total,
        stamp,
    };
    let mut bytes = header.encode();
    for (samples, skip, more, trusted, payload) in steps {
        let kind = if *samples == 0 {
            Kind::Dictionary
        } else {
            Kind::Row
        };
        if kind == Kind::Row {
            seq = seq.saturating_add(*skip).saturating_add(1);
            total = total.saturating_add(*more).saturating_add(u64::from(*samples));
        }
        let header = RecordHeader {
            kind,
            trusted: *trusted,
            samples: *samples,
            seq: Seq::new(seq),
            total,
            stamp,
        };
        put_record(&mut bytes, session, &header, payload);
    }
    fs::write(dir.join(format!("{session}-{number:016x}.wal")), bytes).unwrap();
}

/// Records of ten samples each.
fn tens(dir: &Path, number: u64, first: u64, count: usize) {
    let steps = vec![(10, 0, 0, true, Vec::new()); count];
    write_segment(dir, 1, number, (first - 1, (first - 1) * 10), &steps);
}

#[test]
fn a_gap_at_the_edge_of_a_hole_keeps_its_records_and_the_hole_has_the_others() {
    let dir = tempfile::tempdir().unwrap();
    // A sync failed: records 4 and 5 were given up, yet 4 is there. Then 5 to 7 are lost.
    tens(dir.path(), 1, 1, 4);
    tens(dir.path(), 2, 8, 2);
    let gap = message::Gap {
        session: 1,
        first: 4,
        last: 5,
        samples: 20,
        reason: "wal_bytes".to_owned(),
        ..message::Gap::default()
    };
    let meta = Meta {
        sessions: vec![SessionMeta {
            session: 1,
            dropped: vec![Range { first: 4, more: 1 }],
            ..SessionMeta::default()
        }],
        gaps: vec![GapMeta {
            gap: Some(gap),
            total_before: 30,
            ..GapMeta::default()
        }],
        ..Meta::default()
    };
    fs::write(dir.path().join("meta"), meta.to_bytes()).unwrap();
    let wal = open(dir.path(), 2, 64 << 10);
    let gaps: Vec<_> = (wal.ledger.gaps().iter())
        .map(|gap| {
            (
                gap.first.get(),
                gap.last.get(),
                gap.total_before,
                gap.samples,
                gap.reason,
            )
        })
        .collect();
    assert_eq!(
        gaps,
        [(4, 5, 30, 20, Reason::WalBytes), (6, 7, 50, 20, Reason::WalLost)]
    );
    let pending: Vec<_> = wal.ledger.sessions()[0].pending().ranges().collect();
    assert_eq!(pending, [Seq::new(1)..=Seq::new(3), Seq::new(8)..=Seq::new(9)]);
}

proptest! {
    #[test]
    fn files_that_contradict_each_other_are_read(
        meta in meta(),
        files in proptest::collection::vec(
            (1u64..4, (number(), number()), proptest::collection::vec(step(), 0..8)), 0..6),
        settled in proptest::collection::vec((1u64..30, 0u64..9), 0..4),
    ) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("meta"), meta.to_bytes()).unwrap();
        for (number, (session, start, steps)) in (1..).zip(&files) {
            write_segment(dir.path(), *session, number, *start, steps);
        }
        for run in 10..12 {
            let mut wal = open(dir.path(), run, 64 << 10);
            check_sums(&wal);
            wal.append(vec![scrape(1, 5, true)], true);
            let ids: Vec<SessionId> = wal.ledger.sessions().iter().map(|s| s.id).collect();
            let mut some = SeqSet::new();
            for &(first, more) in &settled {
                some.insert_range(Seq::new(first), Seq::new(first + more));
            }
            for &id in &ids {
                let mark = wal.ledger.gaps().mark();
                wal.ledger.replace(id, &some, mark);
                wal.ledger.redeclare(id, Reason::WalCorrupt);
                check_sums(&wal);
                wal.ledger.replace(id, &SeqSet::new(), mark);
                wal.ledger.redeclare(id, Reason::WalCorrupt);
                let pending = wal.ledger.session(id).unwrap().pending();
                if id != wal.session() {
                    wal.read(id, &pending, ALL);
                }
                check_sums(&wal);
            }
            wal.close();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_meta_counts_as_absent(
        records in 1u64..300,
        at in any::<proptest::sample::Index>(),
        bits in proptest::option::of(1u8..),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let id = SessionId::new(1);
        let mut wal = open(dir.path(), 1, 64 << 10);
        fill(&mut wal, records, 30);
        wal.close();
        drop(wal);
        let path = dir.path().join("meta");
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        match bits {
            Some(bits) => bytes[at] ^= bits,
            None => bytes.truncate(at),
        }
        fs::write(&path, bytes).unwrap();
        let mut wal = open(dir.path(), 2, 64 << 10);
        prop_assert_eq!(wal.faults.meta, 1);
        prop_assert_eq!(wal.ledger.session(id).unwrap().last, records);
        check_freed(&mut wal, id, 30);
    }
}
