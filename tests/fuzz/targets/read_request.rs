//! Bodies of remote read, as they come and once decompressed.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| bridge::fuzz::read_request(body));
