//! Batches, with and without a key: what is read is within the limits, and is written and read again bit for bit.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use wire::batch::{Batch, Encoding, Group, Header, Key, KeyId, Row, encode, peek};
use wire::dict::{DictHash, SeriesId};
use wire::limits::MAX_CELLS;
use wire::{BootId, Seq, SessionId, Timestamp};

const SERIES: usize = 64;

/// Session 0 is what a message without one names.
static KEY: LazyLock<Key> = LazyLock::new(|| {
    let values = [
        0.0,
        1.5,
        -0.0,
        f64::NAN,
        0.479 * 0.001,
        4096.0 * 4096.0,
        1e300,
        7.0,
    ];
    let group = Group {
        series: (0..SERIES as u32).map(SeriesId::new).collect(),
        rows: vec![Row {
            seq: Seq::FIRST,
            time: Timestamp::from_ms(1_700_000_000_000),
            mono_ms: 1000,
        }],
        values: values.into_iter().cycle().take(SERIES).collect(),
        ..Group::default()
    };
    let header = Header {
        session: SessionId::new(0),
        boot: BootId::new(0),
        dict: DictHash::from_bytes([1; 16]),
        total: SERIES as u64,
        clock_error_ms: 0,
    };
    let batch = Batch {
        header,
        groups: vec![group],
    };
    encode(&batch, Encoding::Defines(KeyId::FIRST))
        .key
        .expect("a defining batch has a key")
});

fn bits(batch: &Batch) -> Vec<u64> {
    batch
        .groups
        .iter()
        .flat_map(|group| &group.values)
        .map(|value| value.to_bits())
        .collect()
}

fuzz_target!(|body: &[u8]| {
    let payload = [&[0], body].concat();
    let Ok(raw) = peek(&payload) else { return };
    for key in [None, Some(&*KEY)] {
        let Ok(decoded) = raw.decode(SERIES, key) else {
            continue;
        };
        assert_eq!(raw.seqs(), &decoded.batch.seqs());
        assert!(
            decoded
                .batch
                .groups
                .iter()
                .map(|group| group.values.len())
                .sum::<usize>()
                <= MAX_CELLS
        );
        for how in [Encoding::SelfContained, Encoding::Keyed(&KEY)] {
            let again = encode(&decoded.batch, how).payload;
            let Ok(back) = peek(&again).and_then(|raw| raw.decode(SERIES, Some(&KEY))) else {
                panic!("what was read cannot be read again");
            };
            assert_eq!(bits(&back.batch), bits(&decoded.batch));
            assert_eq!(back.batch.samples(), decoded.batch.samples());
        }
    }
});
