//! Unit tests of rules, in promtool's format.

pub(crate) mod memory;
