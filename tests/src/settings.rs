//! What the environment may change: how long and how hard the tests try.

use std::env;
use std::str::FromStr;

/// The number that a variable gives, or the default.
///
/// # Panics
/// If the variable holds something else: a mistyped run must not pass for the one that was asked for.
pub fn number<N: FromStr>(name: &str, default: N) -> N {
    match env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name}={text:?} is no number")),
        Err(_) => default,
    }
}

/// The seed of what a test does at random: `BACKHAUL_SEED`, or a new one. Print it, so that a failure can be repeated.
pub fn seed() -> u64 {
    number("BACKHAUL_SEED", fastrand::u64(..))
}
