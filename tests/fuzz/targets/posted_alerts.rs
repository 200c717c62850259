//! Bodies of Alertmanager's API: alerts as callers post them, silences as they are confined to a tenant.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| bridge::fuzz::alertmanager_bodies(body));
