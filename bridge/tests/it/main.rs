//! The bridge as a whole: its HTTP API, and its life at a broker that is not ours.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]
#![expect(clippy::print_stdout, reason = "why a test skips")]

mod endpoints;
mod foreign_broker;
mod histograms;
mod http;
mod openapi;
mod peer;
mod prometheus_reads;
mod read;
mod server;
mod shapes;
mod status;
mod web;
