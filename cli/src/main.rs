//! The backhaul binary.
fn main() {}
