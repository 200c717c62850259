//! A clock that a test sets: so many ms ahead of this machine's, as a file says.

use std::path::Path;

use device_agent::input::Moment;
use wire::Timestamp;

/// How far a clock's file says it is ahead, ms; 0 without a file.
pub fn ahead_ms(file: &Path) -> i64 {
    std::fs::read_to_string(file)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0)
}

/// The time by such a clock.
pub fn now(file: &Path) -> Timestamp {
    Timestamp::from_ms(Moment::now().wall.ms() + ahead_ms(file))
}
