//! Web configuration files (`--web.config.file`): any text is taken or refused. It names no file that is there.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| bridge::fuzz::web_file(text));
