//! The harness, end-to-end tests, faults and benches.
