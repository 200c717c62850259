//! The state of a rule group as a device keeps it: any bytes are read or refused, and what was read is written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rules::{FileOptions, GroupState, Options, parse};
use xxhash_rust::xxh64::xxh64;

const FILE: &str = "groups:\n- name: g\n  rules:\n  - {alert: A, expr: a, for: 1h}\n  - {record: r, expr: a}\n";

fuzz_target!(|body: &[u8]| {
    let groups = parse(FILE, "fuzz", &FileOptions::default()).expect("a file of our own");
    let group = groups.into_iter().next().expect("its group");
    let headed = [b"BHRS\x01", xxh64(body, 0).to_le_bytes().as_slice(), body].concat();
    for bytes in [body, headed.as_slice()] {
        let mut state = GroupState::new(group.clone(), Options::default());
        if state.load(bytes, 0).is_err() {
            continue;
        }
        let written = state.to_bytes();
        let mut again = GroupState::new(group.clone(), Options::default());
        again.load(&written, 0).expect("own bytes");
        let _ = state.due(0);
    }
});
