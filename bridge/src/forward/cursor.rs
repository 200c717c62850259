//! What a destination remembers beside its number: its place in that commit, and what became of every sample before it.
//!
//! Stored with the number in one row (docs/forward.md), so place and counters never disagree.

use std::collections::BTreeMap;

use prost::Message;
use store::{Cursor, Place};
use wire::Timestamp;

/// Gaps kept; of more, the two oldest become one.
const MOST_GAPS: usize = 100;

/// Samples that a destination did not get in time.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Gap {
    /// Times of the earliest and latest sample, ms since the epoch.
    #[prost(sint64, tag = "1")]
    pub(crate) from_ms: i64,
    #[prost(sint64, tag = "2")]
    pub(crate) to_ms: i64,
    #[prost(uint64, tag = "3")]
    pub(crate) samples: u64,
    /// When it was declared, ms since the epoch.
    #[prost(sint64, tag = "4")]
    pub(crate) declared_ms: i64,
}

impl Gap {
    fn join(&mut self, other: &Gap) {
        self.from_ms = self.from_ms.min(other.from_ms);
        self.to_ms = self.to_ms.max(other.to_ms);
        self.samples += other.samples;
    }
}

/// Samples by reason.
#[derive(Clone, PartialEq, Eq, Message)]
struct Count {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(uint64, tag = "2")]
    samples: u64,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct State {
    #[prost(uint64, tag = "1")]
    records: u64,
    #[prost(uint64, tag = "2")]
    sent: u64,
    #[prost(message, repeated, tag = "3")]
    dropped: Vec<Count>,
    #[prost(message, repeated, tag = "4")]
    gaps: Vec<Gap>,
    #[prost(uint64, tag = "5")]
    skipped_bytes: u64,
}

/// Counters of one destination since it was first configured: every sample passed is sent or dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Written by the destination.
    pub(crate) sent: u64,
    /// Not sent, or refused, by reason.
    pub(crate) dropped: BTreeMap<String, u64>,
    /// What was passed over because the backlog was full, oldest first.
    pub(crate) gaps: Vec<Gap>,
    /// Journal bytes of it, roughly.
    pub(crate) skipped_bytes: u64,
}

/// The reason of what a full backlog passes over.
pub(crate) const BACKLOG: &str = "backlog";

impl Totals {
    /// Counts samples that are not sent.
    pub(crate) fn drop(&mut self, reason: &str, samples: u64) {
        if samples > 0 {
            *self.dropped.entry(reason.to_owned()).or_default() += samples;
        }
    }

    /// Declares a gap, or that the last one goes on.
    pub(crate) fn gap(
        &mut self,
        samples: u64,
        times: Option<(i64, i64)>,
        bytes: u64,
        now: Timestamp,
        goes_on: bool,
    ) {
        let Some((from_ms, to_ms)) = times.filter(|_| samples > 0) else {
            return;
        };
        self.drop(BACKLOG, samples);
        self.skipped_bytes += bytes;
        let gap = Gap {
            from_ms,
            to_ms,
            samples,
            declared_ms: now.ms(),
        };
        match self.gaps.last_mut() {
            Some(last) if goes_on => last.join(&gap),
            _ => self.gaps.push(gap),
        }
        if self.gaps.len() > MOST_GAPS {
            let oldest = self.gaps.remove(0);
            self.gaps[0].join(&oldest);
        }
    }

    /// The row of the table.
    pub(crate) fn row(&self, place: Place) -> Cursor {
        let state = State {
            records: place.records,
            sent: self.sent,
            dropped: self
                .dropped
                .iter()
                .map(|(reason, samples)| Count {
                    reason: reason.clone(),
                    samples: *samples,
                })
                .collect(),
            gaps: self.gaps.clone(),
            skipped_bytes: self.skipped_bytes,
        };
        Cursor {
            number: place.number,
            state: state.encode_to_vec().into(),
        }
    }

    /// Reads a row; a malformed state counts as an empty one, as the number is what matters.
    pub(crate) fn of(cursor: &Cursor) -> (Place, Totals) {
        let state = State::decode(cursor.state.clone()).unwrap_or_default();
        let place = Place {
            number: cursor.number,
            records: state.records,
        };
        let dropped = state.dropped.into_iter().map(|c| (c.reason, c.samples));
        let totals = Totals {
            sent: state.sent,
            dropped: dropped.collect(),
            gaps: state.gaps,
            skipped_bytes: state.skipped_bytes,
        };
        (place, totals)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn gaps_are_counted_and_bounded() {
        let mut totals = Totals::default();
        for n in 0..250 {
            totals.gap(2, Some((n, n + 1)), 10, Timestamp::from_ms(n), false);
        }
        assert_eq!(totals.gaps.len(), MOST_GAPS);
        assert_eq!(totals.gaps.iter().map(|gap| gap.samples).sum::<u64>(), 500);
        assert_eq!((totals.gaps[0].from_ms, totals.dropped[BACKLOG]), (0, 500));
        let place = Place {
            number: 7,
            records: 3,
        };
        assert_eq!(Totals::of(&totals.row(place)), (place, totals));
    }

    proptest! {
        #[test]
        fn any_row_is_a_place(number: u64, bytes: Vec<u8>) {
            let cursor = Cursor { number, state: bytes.into() };
            prop_assert_eq!(Totals::of(&cursor).0.number, number);
        }
    }
}
