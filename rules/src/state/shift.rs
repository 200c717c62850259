//! A state whose clock was set: all of its times move with it.

use super::GroupState;
use super::alert::Alert;

impl GroupState {
    /// Moves all times by so many ms, as if the clock had always been right by that much: how long alerts are pending or
    /// firing stays the same.
    pub fn shift(&mut self, by_ms: i64) {
        let shifted = |time: &mut i64| *time = time.saturating_add(by_ms);
        self.last_evaluation_ms.iter_mut().for_each(shifted);
        for state in &mut self.rules {
            state.shift(by_ms);
        }
    }
}

impl Alert {
    /// As [`GroupState::shift`].
    pub(super) fn shift(&mut self, by_ms: i64) {
        let times = [
            Some(&mut self.active_at_ms),
            self.fired_at_ms.as_mut(),
            self.resolved_at_ms.as_mut(),
            self.last_sent_ms.as_mut(),
            self.valid_until_ms.as_mut(),
            self.keep_firing_since_ms.as_mut(),
        ];
        for time in times.into_iter().flatten() {
            *time = time.saturating_add(by_ms);
        }
    }
}
