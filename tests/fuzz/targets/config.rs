//! Channel `config`: what is read is written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::config::{decode, encode, named};

fuzz_target!(|body: &[u8]| {
    let payload = [&[0], body].concat();
    let name = named(&payload);
    if let Ok(config) = decode(&payload) {
        assert_eq!(name, config.hash);
        let (hash, again) = encode(config.rule_files.clone()).expect("files that were read");
        assert_eq!(hash, config.hash);
        assert_eq!(decode(&again).expect("own payload").rule_files, config.rule_files);
    }
});
