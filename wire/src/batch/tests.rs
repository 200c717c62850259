use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::dict::SeriesId;
use crate::limits::MAX_NUMBER;
use crate::limits::MAX_SERIES;
use crate::message::{BucketSpan, ExemplarCell, Histogram, HistogramCell, Metadata, Pair};
use crate::time::Timestamp;

const STALE: u64 = 0x7ff0_0000_0000_0002;

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-50_000i64..50_000).prop_map(|n| n as f64),
        2 => (any::<i32>(), 1i32..12).prop_map(|(n, e)| f64::from(n) / 10f64.powi(e)),
        2 => (0i32..1_000_000, 1i32..12).prop_map(|(n, e)| f64::from(n) * 10f64.powi(-e)),
        1 => (0u32..1 << 30).prop_map(|n| f64::from(n) * 4096.0),
        1 => any::<u64>().prop_map(f64::from_bits),
        1 => prop_oneof![
            Just(f64::from_bits(STALE)), Just(f64::NAN), Just(-0.0), Just(0.0), Just(f64::INFINITY),
            Just(f64::NEG_INFINITY), Just(f64::MAX), Just(f64::MIN_POSITIVE), Just(5e-324), Just(2e15),
            Just(f64::from_bits(0xfff8_dead_beef_0001)),
        ],
    ]
}

/// A series' values: constant, drifting, or anything.
fn column(rows: usize) -> impl Strategy<Value = Vec<f64>> {
    prop_oneof![
        value().prop_map(move |v| vec![v; rows]),
        (any::<i32>(), any::<i16>()).prop_map(move |(start, step)| {
            (0..rows)
                .map(|r| f64::from(start) + f64::from(step) * r as f64)
                .collect()
        }),
        vec(value(), rows),
    ]
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let regular =
        (1u64..1 << 40, -(1i64 << 40)..1 << 45, 0u64..1 << 40, 1usize..9).prop_map(|(seq, time, mono, n)| {
            let row = |r: u64| Row {
                seq: Seq::new(seq + r),
                time: Timestamp::from_ms(time + 15_000 * r as i64),
                mono_ms: mono + 15_000 * r,
            };
            (0..n as u64).map(row).collect()
        });
    let any_row =
        (1u64..=MAX_NUMBER, -(1i64 << 53)..=1 << 53, 0u64..=MAX_NUMBER).prop_map(|(seq, time, mono_ms)| {
            Row {
                seq: Seq::new(seq),
                time: Timestamp::from_ms(time),
                mono_ms,
            }
        });
    prop_oneof![regular, vec(any_row, 1..9)]
}

fn histogram() -> impl Strategy<Value = Histogram> {
    (
        any::<bool>(),
        any::<u64>(),
        value(),
        -4i32..=8,
        vec(any::<i64>(), 0..5),
        vec(value(), 0..4),
    )
        .prop_map(|(float, count, sum, schema, deltas, counts)| Histogram {
            float,
            count,
            count_float: sum,
            sum,
            schema,
            zero_threshold: 1e-128,
            positive_spans: vec![BucketSpan {
                offset: -3,
                length: deltas.len() as u32,
            }],
            positive_deltas: deltas,
            negative_counts: counts.clone(),
            custom_values: counts,
            reset_hint: 2,
            start_ms: -5,
            ..Histogram::default()
        })
}

fn group() -> impl Strategy<Value = Group> {
    let ids = proptest::collection::btree_set(0u32..300, 0..20);
    (ids, rows(), any::<bool>()).prop_flat_map(|(ids, rows, all)| {
        let (series, count) = (ids.len(), rows.len());
        let cells = series * count;
        let holes = vec(
            any::<prop::sample::Index>(),
            if all || cells == 0 { 0..1 } else { 1..cells + 1 },
        );
        (
            vec(column(count), series),
            holes,
            vec((any::<bool>(), histogram()), 8),
            vec((0..count as u32, "[a-z]{1,9}"), 0..3),
        )
            .prop_map(move |(columns, holes, extra, metadata)| {
                let mut group = Group {
                    series: ids.iter().map(|id| SeriesId::new(*id)).collect(),
                    rows: rows.clone(),
                    values: columns.concat(),
                    ..Group::default()
                };
                let holes: Vec<usize> = holes
                    .iter()
                    .filter(|_| cells > 0)
                    .map(|at| at.index(cells))
                    .collect();
                punch(&mut group, &holes, extra);
                group.metadata = metadata
                    .into_iter()
                    .map(|(row, family)| Metadata {
                        row,
                        family,
                        ..Metadata::default()
                    })
                    .collect();
                group
            })
    })
}

/// Takes out cells, and puts a histogram or exemplar in the place of some.
fn punch(group: &mut Group, holes: &[usize], extra: Vec<(bool, Histogram)>) {
    if holes.is_empty() {
        return;
    }
    let rows = group.rows.len();
    let mut present = Presence::none(group.values.len());
    for cell in 0..group.values.len() {
        present.set(cell, !holes.contains(&cell));
    }
    let mut unique = holes.to_vec();
    unique.sort_unstable();
    unique.dedup();
    for (&cell, (histogram, content)) in unique.iter().zip(extra) {
        let (position, row) = ((cell / rows) as u32, (cell % rows) as u32);
        if histogram {
            group.histograms.push(HistogramCell {
                position,
                row,
                histogram: Some(content),
            });
        } else {
            let labels = vec![Pair {
                name: "trace_id".into(),
                value: "x".into(),
            }];
            group.exemplars.push(ExemplarCell {
                position,
                row,
                labels,
                value: content.sum,
                time_ms: -1,
            });
        }
    }
    for &cell in &unique {
        group.values[cell] = 0.0;
    }
    group.present = Some(present);
}

fn header() -> Header {
    Header {
        session: SessionId::new(0xdead_beef),
        boot: BootId::new(77),
        dict: DictHash::from_bytes([9; 16]),
        total: 12_345,
        clock_error_ms: 20,
    }
}

fn batch() -> impl Strategy<Value = Batch> {
    vec(group(), 1..4).prop_map(|groups| Batch {
        header: header(),
        groups,
    })
}

/// The same series with other values, sometimes.
fn later(batch: &Batch, columns: &[f64]) -> Batch {
    let mut later = batch.clone();
    for group in &mut later.groups {
        for (cell, value) in columns.iter().cycle().take(group.values.len()).enumerate() {
            let present = group.present.as_ref().is_none_or(|p| p.get(cell));
            if present && value.to_bits() % 3 == 0 {
                group.values[cell] = *value;
            }
        }
    }
    later
}

/// All content, floats as bits, so that NaNs compare.
fn bits(batch: &Batch) -> impl PartialEq + std::fmt::Debug + use<> {
    let group = |g: &Group| {
        let protos: Vec<Vec<u8>> = (g.histograms.iter().map(prost::Message::encode_to_vec))
            .chain(g.exemplars.iter().map(prost::Message::encode_to_vec))
            .chain(g.metadata.iter().map(prost::Message::encode_to_vec))
            .collect();
        let values: Vec<u64> = g.values.iter().map(|v| v.to_bits()).collect();
        (
            g.series.clone(),
            g.rows.clone(),
            values,
            g.present.clone(),
            protos,
        )
    };
    (batch.header, batch.groups.iter().map(group).collect::<Vec<_>>())
}

fn decoded(payload: &[u8], key: Option<&Key>) -> Decoded {
    peek(payload).unwrap().decode(300, key).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_self_contained_batch_comes_back_bit_for_bit(batch in batch()) {
        let encoded = encode(&batch, Encoding::SelfContained);
        prop_assert_eq!(&encoded.key, &None);
        let raw = peek(&encoded.payload).unwrap();
        prop_assert_eq!(raw.seqs(), &batch.seqs());
        prop_assert_eq!((raw.key(), raw.defines(), raw.dict()), (None, None, Some(header().dict)));
        let decoded = raw.decode(300, None).unwrap();
        prop_assert_eq!(bits(&decoded.batch), bits(&batch));
        prop_assert_eq!(decoded.batch.samples(), batch.samples());
    }

    #[test]
    fn a_keyed_batch_comes_back_bit_for_bit_by_the_receiver_s_key(batch in batch(), other in vec(value(), 20)) {
        let mut encoder = Encoder::new();
        let defining = encoder.encode(&batch, Encoding::Defines(KeyId::FIRST));
        let received = decoded(&defining.payload, None);
        prop_assert_eq!(bits(&received.batch), bits(&batch));
        prop_assert_eq!(&received.key, &defining.key);
        let key = received.key.unwrap();
        for batch in [later(&batch, &other), batch] {
            let keyed = encoder.encode(&batch, Encoding::Keyed(&key));
            let raw = peek(&keyed.payload).unwrap();
            prop_assert_eq!((raw.key(), raw.dict()), (Some(key.id()), None));
            prop_assert_eq!(raw.decode(300, None), Err(BatchError::KeyMissing(key.id())));
            prop_assert_eq!(bits(&raw.decode(300, Some(&key)).unwrap().batch), bits(&batch));
        }
    }

    #[test]
    fn a_keyed_batch_may_have_groups_that_the_key_lacks(before in batch(), after in batch()) {
        let key = encode(&before, Encoding::Defines(KeyId::FIRST)).key.unwrap();
        let keyed = encode(&after, Encoding::Keyed(&key));
        let raw = peek(&keyed.payload).unwrap();
        prop_assert_eq!(bits(&raw.decode(300, Some(&key)).unwrap().batch), bits(&after));
    }

    #[test]
    fn a_group_of_a_log_comes_back_bit_for_bit(group in group(), other in vec(value(), 20)) {
        let mut encoder = Encoder::new();
        let first = encoder.encode_group(&group, None);
        let (read, key) = decode_group(&first.bytes, 300, None).unwrap();
        prop_assert_eq!(&key, &first.key);
        let alone = Batch { header: header(), groups: vec![group] };
        let whole = |group| bits(&Batch { header: header(), groups: vec![group] });
        prop_assert_eq!(whole(read), bits(&alone));
        let next = later(&alone, &other);
        let second = encoder.encode_group(&next.groups[0], key.as_ref());
        prop_assert_eq!(&second.key, &None);
        let (read, _) = decode_group(&second.bytes, 300, key.as_ref()).unwrap();
        prop_assert_eq!(whole(read), bits(&next));
    }

    #[test]
    fn flipped_bytes_neither_panic_nor_yield_cells_beyond_the_limits(
        batch in batch(),
        other in vec(value(), 20),
        flips in vec((any::<usize>(), any::<u8>()), 1..8),
        keyed in any::<bool>(),
    ) {
        let defining = encode(&batch, Encoding::Defines(KeyId::FIRST));
        let key = defining.key.unwrap();
        let payload = match keyed {
            true => encode(&later(&batch, &other), Encoding::Keyed(&key)).payload,
            false => defining.payload,
        };
        let mut body = crate::payload::open(&payload, 1 << 20).unwrap().into_owned();
        for (at, byte) in flips {
            let at = at % body.len();
            body[at] = byte;
        }
        body.insert(0, 0);
        for key in [None, Some(&key)] {
            check(&body, key);
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_batch_and_harm_nobody(bytes in vec(any::<u8>(), 0..300), batch in batch()) {
        let mut body = vec![0, 8, 1];
        body.extend(&bytes);
        let key = encode(&batch, Encoding::Defines(KeyId::FIRST)).key.unwrap();
        check(&bytes, Some(&key));
        check(&body, Some(&key));
        let _ = decode_group(&bytes, 300, key.groups().first());
        let _ = decode_group(&bytes, 300, None);
    }
}

/// Decodes what may be anything; what decodes must be within the limits and encode again.
fn check(payload: &[u8], key: Option<&Key>) {
    if let Ok(decoded) = peek(payload).and_then(|raw| raw.decode(300, key)) {
        assert!(
            decoded
                .batch
                .groups
                .iter()
                .all(|g| g.values.len() == g.series.len() * g.rows.len())
        );
        assert!(
            decoded
                .batch
                .groups
                .iter()
                .flat_map(|g| g.series.iter())
                .all(|id| id.index() < 300)
        );
        let again = encode(&decoded.batch, Encoding::SelfContained);
        let back = peek(&again.payload).unwrap().decode(300, None).unwrap();
        assert_eq!(bits(&back.batch), bits(&decoded.batch));
    }
}

fn row(seq: u64) -> Row {
    Row {
        seq: Seq::new(seq),
        time: Timestamp::from_ms(1_700_000_000_000),
        mono_ms: 5,
    }
}

fn one(series: usize, rows: usize) -> Batch {
    let group = Group {
        series: (0..series as u32).map(SeriesId::new).collect(),
        rows: (0..rows as u64).map(|r| row(r + 1)).collect(),
        values: vec![1.0; series * rows],
        ..Group::default()
    };
    Batch {
        header: header(),
        groups: vec![group],
    }
}

#[test]
fn a_small_message_cannot_ask_for_more_cells_than_the_limit() {
    let payload = encode(&one(MAX_SERIES, 11), Encoding::SelfContained).payload;
    assert!(payload.len() < 20_000);
    assert_eq!(
        peek(&payload).unwrap().decode(MAX_SERIES, None),
        Err(BatchError::Limit("values"))
    );
    let rows = encode(&one(1, crate::limits::MAX_ROWS + 1), Encoding::SelfContained).payload;
    assert_eq!(peek(&rows), Err(BatchError::Limit("rows")));
}

#[test]
fn a_message_of_empty_messages_is_refused_before_they_are_made() {
    // 30,000 groups of two bytes each.
    let mut body = vec![8, 1];
    body.extend([0x4a, 0].repeat(30_000));
    let payload = crate::payload::seal(&body);
    assert_eq!(peek(&payload), Err(BatchError::Limit("memory of a message")));
}

#[test]
fn series_beyond_the_dictionary_and_wrong_keys_are_told_apart() {
    let batch = one(4, 1);
    let defining = encode(&batch, Encoding::Defines(KeyId::FIRST));
    let raw = peek(&defining.payload).unwrap();
    assert_eq!(raw.decode(3, None), Err(BatchError::Malformed("runs")));
    let key = raw.decode(4, None).unwrap().key.unwrap();
    let second = encode(&batch, Encoding::Defines(KeyId::FIRST.next()))
        .key
        .unwrap();
    let keyed = encode(&batch, Encoding::Keyed(&second)).payload;
    assert_eq!(
        peek(&keyed).unwrap().decode(4, Some(&key)),
        Err(BatchError::KeyMissing(second.id()))
    );
    let mut other = batch;
    other.header.session = SessionId::new(1);
    let alone = encode(&other, Encoding::Keyed(&key)).payload;
    assert_eq!(peek(&alone).unwrap().key(), None);
}

#[test]
fn a_newer_version_tells_its_session_and_seqs() {
    let payload = encode(&one(2, 3), Encoding::SelfContained).payload;
    let mut body = crate::payload::open(&payload, 1000).unwrap().into_owned();
    assert_eq!(body[..2], [8, 1]);
    body[1] = 2;
    body.insert(0, 0);
    let newer = Newer {
        version: 2,
        session: header().session,
        seqs: (1..=3).map(Seq::new).collect(),
    };
    assert_eq!(peek(&body), Err(BatchError::Version(newer)));
}

#[test]
fn two_samples_in_one_place_are_refused() {
    let cell = |row| HistogramCell {
        position: 0,
        row,
        histogram: Some(Histogram::default()),
    };
    let mut float_too = one(1, 2);
    float_too.groups[0].histograms = vec![cell(1)];
    let mut twice = float_too.clone();
    twice.groups[0].present = Some(Presence::none(2));
    twice.groups[0].histograms = vec![cell(1), cell(1)];
    for batch in [float_too, twice] {
        let payload = encode(&batch, Encoding::SelfContained).payload;
        assert!(matches!(
            peek(&payload).unwrap().decode(1, None),
            Err(BatchError::Malformed(_))
        ));
    }
}

#[test]
fn samples_are_counted_by_row() {
    let mut batch = one(3, 2);
    let group = &mut batch.groups[0];
    let mut present = Presence::none(6);
    for cell in [0, 1, 3] {
        present.set(cell, true);
    }
    group.present = Some(present);
    group.histograms = vec![HistogramCell {
        position: 2,
        row: 0,
        histogram: Some(Histogram::default()),
    }];
    assert_eq!(
        (group.samples_of_row(0), group.samples_of_row(1), group.samples()),
        (2, 2, 4)
    );
    assert_eq!(
        (group.value(1, 0), group.value(1, 1), group.value(9, 0)),
        (None, Some(1.0), None)
    );
    assert_eq!(batch.last_seq(), Some(Seq::new(2)));
}

/// What a keyed batch costs beside its columns, so that small targets stay small.
#[test]
fn the_header_of_a_keyed_batch_of_an_unchanged_row_is_small() {
    let key = encode(&one(50, 1), Encoding::Defines(KeyId::FIRST)).key.unwrap();
    let mut next = one(50, 1);
    next.groups[0].rows = vec![Row {
        seq: Seq::new(300),
        time: Timestamp::from_ms(1_700_000_885_017),
        mono_ms: 5 + 885_017,
    }];
    let payload = encode(&next, Encoding::Keyed(&key)).payload;
    assert!(payload.len() <= 30, "{} bytes", payload.len());
}
