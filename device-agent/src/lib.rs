//! The device daemon: inputs, WAL, uplink.
