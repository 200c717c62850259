//! Groups as a log keeps them: what is read is written and read again bit for bit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::batch::{Encoder, Group, decode_group};

const SERIES: usize = 64;

fn bits(group: &Group) -> Vec<u64> {
    group.values.iter().map(|value| value.to_bits()).collect()
}

// The first bytes, up to a length in the first of all, are a group alone; the rest is one that may refer to it.
fuzz_target!(|bytes: &[u8]| {
    let Some((&len, rest)) = bytes.split_first() else {
        return;
    };
    let (first, second) = rest.split_at(rest.len().min(len as usize));
    let Ok((_, key)) = decode_group(first, SERIES, None) else {
        return;
    };
    let Ok((group, _)) = decode_group(second, SERIES, key.as_ref()) else {
        return;
    };
    let again = Encoder::new().encode_group(&group, key.as_ref());
    let (back, _) = decode_group(&again.bytes, SERIES, key.as_ref()).expect("own group");
    assert_eq!(bits(&back), bits(&group));
    assert_eq!(back.rows, group.rows);
});
