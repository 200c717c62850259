//! The device daemon: inputs, WAL, uplink.

pub mod exposition;
pub mod input;
