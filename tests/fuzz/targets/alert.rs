//! Channel `alert`: what is read is written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::alert::{decode, encode};

fuzz_target!(|body: &[u8]| {
    let payload = [&[0], body].concat();
    if let Ok(message) = decode(&payload) {
        let again = decode(&encode(&message)).expect("own payload");
        assert_eq!(encode(&again), encode(&message));
    }
});
