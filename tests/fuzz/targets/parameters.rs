//! Parameters of HTTP requests: any query string, form and tenant is read or refused.
//!
//! The first line is the query string, the second one the tenant, the rest the form.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (query, rest) = text.split_once('\n').unwrap_or((text, ""));
    let (tenant, form) = rest.split_once('\n').unwrap_or((rest, ""));
    bridge::fuzz::parameters(query, tenant, form);
});
