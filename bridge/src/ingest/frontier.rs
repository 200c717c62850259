//! Up to when a session's data is complete: the time of the last row before the first hole in its seqs.
//!
//! Rows beyond a hole wait as (seq, time) pairs, the last of each batch, at most 256 of them; when the hole fills, the
//! frontier moves to the last pair below the new end. What is thrown away makes the frontier late, never early.

use std::collections::BTreeMap;

use wire::message::SessionState;
use wire::{Seq, SeqSet, Timestamp};

const MAX_WAITING: usize = 256;

/// The frontier of one session.
#[derive(Debug, Default)]
pub(crate) struct Frontier {
    complete: Option<Timestamp>,
    end: u64,
    oldest: u64,
    last: u64,
    waiting: BTreeMap<Seq, Timestamp>,
}

impl Frontier {
    /// A batch's last row.
    pub(crate) fn row(&mut self, seq: Seq, time: Timestamp) {
        self.waiting.insert(seq, time);
        if self.waiting.len() > MAX_WAITING {
            self.waiting.pop_first();
        }
    }

    /// The device says where its records begin and end.
    pub(crate) fn told(&mut self, state: &SessionState) {
        self.oldest = state.oldest;
        self.last = self.last.max(state.last);
    }

    /// Records that the device has are missing here.
    pub(crate) fn is_behind(&self) -> bool {
        self.end < self.last
    }

    /// The session's settled records changed.
    pub(crate) fn settled(&mut self, settled: &SeqSet) {
        // What is below the device's oldest record will never come; a device that told none begins at its first.
        let oldest = Seq::new(self.oldest.max(1));
        let covering = settled
            .ranges()
            .find(|r| *r.start() <= oldest && r.end().next() >= oldest);
        let Some(end) = covering.map(|r| *r.end()) else {
            return;
        };
        self.end = end.get();
        let beyond = self.waiting.split_off(&end.next());
        let below = std::mem::replace(&mut self.waiting, beyond);
        self.complete = self.complete.max(below.into_values().max());
    }

    /// The time up to which nothing is missing, as far as is known.
    pub(crate) fn complete_until(&self) -> Option<Timestamp> {
        self.complete
    }
}
