//! What the environment may change: how long and how hard the end-to-end tests try.
//!
//! | variable | default | what |
//! |---|---|---|
//! | `BACKHAUL_SEED` | random, printed | of everything random in a test |
//! | `BACKHAUL_KILL_ROUNDS` | 6 | kills |
//! | `BACKHAUL_ABSENT_SECONDS`, `BACKHAUL_ABSENT_DEVICES` | 10, 10 | how long the bridge is away, and from how many |
//! | `BACKHAUL_SLOW_SERIES`, `BACKHAUL_SLOW_INTERVAL_MS` | 60, 2000 | the device behind the slow link |
//! | `BACKHAUL_FORWARD_SECONDS` | 6 | how long destinations of remote write are stopped |
//! | `BACKHAUL_SNAPSHOT_MINUTES` | 12 | how old a snapshot is when it is restored, by the devices' clocks; at most 120 |
//! | `BACKHAUL_ALERT_CYCLES` | 12 | alerts that are raised and end while processes are killed |
//! | `BACKHAUL_PEERS_DIR` | unset | a folder with newer destinations, as `usr/bin/prometheus` |
//! | `BACKHAUL_FAULT_ROUNDS`, `BACKHAUL_FAULT_SITES` | 12, 2 | rounds of random faults, over how many sites at once |
//! | `BACKHAUL_KEEP` | unset | if set, a failing test leaves its folder |

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
