//! Chunks: what is read is written and read again, bit for bit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use store::seam::{ChunkEncoder, decode_chunk};

fuzz_target!(|bytes: &[u8]| {
    for count in [1, 2, 31, 130, 300] {
        let mut values = Vec::new();
        if decode_chunk(bytes, count, &mut values).is_none() {
            continue;
        }
        assert_eq!(values.len(), count);
        let (mut chunk, mut again) = (Vec::new(), Vec::new());
        ChunkEncoder::default().encode(&values, &mut 0, &mut chunk);
        decode_chunk(&chunk, count, &mut again).expect("an own chunk");
        assert!(values.iter().zip(&again).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
});
