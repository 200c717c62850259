//! Pages of block files and the chunks in them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use store::seam::read_page;

fuzz_target!(|bytes: &[u8]| {
    for count in [1, 2, 120, 1440] {
        if let Some(chunks) = read_page(bytes, count) {
            assert!(chunks * 3 <= bytes.len());
        }
    }
});
