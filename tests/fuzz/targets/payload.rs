//! Payloads open within the limit or not at all.
#![no_main]

use libfuzzer_sys::fuzz_target;

const MAX: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(body) = wire::payload::open(bytes, MAX) {
        assert!(body.len() <= MAX);
        let sealed = wire::payload::seal(&body);
        assert_eq!(wire::payload::open(&sealed, MAX).as_deref(), Ok(body.as_ref()));
    }
});
