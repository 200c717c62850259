//! The broker over real sockets and real TLS, a file per behaviour.

#![expect(
    clippy::unwrap_used,
    reason = "a failed step ends the test, also in what tests share"
)]

mod acl;
mod bridge;
mod certificates;
mod clients;
mod credit;
mod harness;
mod kills;
mod malformed;
mod operators;
mod path;
mod service;
