//! Which times are right: the wall clock when something vouches for it, else the bridge's time as an anchor.
//!
//! An anchor says what the true time is at a monotonic time of this boot, within the round trip of the exchange that
//! taught it. A wall clock that agrees with it is left alone.

use wire::Timestamp;

use crate::input::Moment;
use crate::wal::{Anchor, Ledger, Session};

/// A wall clock within this of the anchor, beyond the anchor's own error, is right, ms.
const AGREES: u64 = 2000;

/// What vouches for the wall clock from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClockTrust {
    /// The bridge's time, asked for on each connection.
    #[default]
    Measured,
    /// Whoever runs the agent: NTP is known to be synchronised, or times are made up.
    Assumed,
}

/// A record's place in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placed {
    /// As it was logged, or corrected, within an error in ms; 0: trusted.
    At(Timestamp, u64),
    /// Nothing says when it was; it may become known.
    NotYet,
}

/// This boot's clock.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    trust: ClockTrust,
    anchor: Option<Anchor>,
}

impl Clock {
    pub(crate) fn new(trust: ClockTrust) -> Clock {
        Clock { trust, anchor: None }
    }

    /// Whether the wall clock is right at this moment.
    pub(crate) fn is_right(&self, now: Moment) -> bool {
        match (self.trust, self.anchor) {
            (ClockTrust::Assumed, _) => true,
            (ClockTrust::Measured, Some(anchor)) => agrees(anchor, now),
            (ClockTrust::Measured, None) => false,
        }
    }

    /// Takes the bridge's time from an answer to a question of an earlier moment. Returns the anchor if it is better
    /// than the one there was.
    pub(crate) fn learn(&mut self, bridge_ms: i64, asked_ms: u64, now: Moment) -> Option<Anchor> {
        let round_trip = now.mono_ms.saturating_sub(asked_ms);
        // The bridge read its clock within the round trip: the middle is off by half of it at most.
        let middle = asked_ms + round_trip / 2;
        let anchor = Anchor {
            offset_ms: bridge_ms.saturating_sub(middle.cast_signed()),
            error_ms: round_trip.max(1),
        };
        let better = self.anchor.is_none_or(|old| {
            // Clocks drift: an old anchor loses to one that disagrees with it.
            anchor.error_ms * 2 <= old.error_ms
                || anchor.offset_ms.abs_diff(old.offset_ms) > old.error_ms + anchor.error_ms
        });
        if better {
            self.anchor = Some(anchor);
        }
        better.then_some(anchor)
    }
}

fn agrees(anchor: Anchor, at: Moment) -> bool {
    let right = anchor.offset_ms.saturating_add(at.mono_ms.cast_signed());
    right.abs_diff(at.wall.ms()) <= anchor.error_ms.saturating_add(AGREES)
}

/// When a record was, by its clocks and whether the wall clock was trusted.
pub(crate) fn place(stamp: Moment, trusted: bool, session: &Session, ledger: &Ledger) -> Placed {
    if trusted {
        return Placed::At(stamp.wall, 0);
    }
    match session.anchor.or_else(|| estimate(session, ledger)) {
        Some(anchor) if agrees(anchor, stamp) => Placed::At(stamp.wall, 0),
        Some(anchor) => {
            let ms = anchor.offset_ms.saturating_add(stamp.mono_ms.cast_signed());
            Placed::At(Timestamp::from_ms(ms), anchor.error_ms)
        }
        None => Placed::NotYet,
    }
}

/// Between the last trusted time before a boot and the start of the next boot with an anchor, in the middle.
fn estimate(session: &Session, ledger: &Ledger) -> Option<Anchor> {
    let sessions = ledger.sessions();
    let at = sessions.iter().position(|s| s.id == session.id)?;
    let after = sessions[at..]
        .iter()
        .filter(|s| s.boot != session.boot)
        .find_map(|s| s.anchor)?;
    let before = sessions[..at]
        .iter()
        .rev()
        .filter(|s| s.boot != session.boot)
        .find_map(last_trusted);
    let longest = sessions
        .iter()
        .filter(|s| s.boot == session.boot)
        .map(|s| s.newest.mono_ms)
        .max();
    // The boot began at `latest` at the latest, as its last record was before the next boot.
    let latest = after.offset_ms.saturating_sub(longest.unwrap_or(0).cast_signed());
    let earliest = before.map_or(latest, |t| t.ms().min(latest));
    Some(Anchor {
        offset_ms: earliest + (latest - earliest) / 2,
        error_ms: (latest.abs_diff(earliest) / 2)
            .saturating_add(after.error_ms)
            .max(1),
    })
}

fn last_trusted(session: &Session) -> Option<Timestamp> {
    let anchored = session.anchor.map(|anchor| {
        Timestamp::from_ms(
            anchor
                .offset_ms
                .saturating_add(session.newest.mono_ms.cast_signed()),
        )
    });
    anchored.max(session.trusted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall: i64, mono_ms: u64) -> Moment {
        Moment {
            wall: Timestamp::from_ms(wall),
            mono_ms,
        }
    }

    #[test]
    fn a_wall_clock_is_right_once_the_bridge_agrees() {
        let mut clock = Clock::new(ClockTrust::Measured);
        assert!(!clock.is_right(at(1_000_000, 500)));
        let anchor = clock.learn(1_000_150, 500, at(1_000_000 + 200, 700)).unwrap();
        assert_eq!((anchor.offset_ms, anchor.error_ms), (1_000_150 - 600, 200));
        assert!(clock.is_right(at(1_000_500, 1000)));
        assert!(!clock.is_right(at(5_000_000, 1000)));
    }

    #[test]
    fn a_worse_anchor_is_not_taken_unless_it_disagrees() {
        let mut clock = Clock::new(ClockTrust::Measured);
        clock.learn(1000, 0, at(0, 100)).unwrap();
        assert_eq!(clock.learn(1400, 400, at(0, 600)), None);
        assert!(clock.learn(9000, 1000, at(0, 1200)).is_some());
    }
}
