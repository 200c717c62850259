//! End-to-end tests over real processes; each file one behaviour.

mod kill;
mod promtool;
mod wiped;
