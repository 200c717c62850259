//! A window that other rules read from now on.

use std::collections::HashSet;

use rules::Reading;

use super::{Bound, Held, Place, Window};

impl Window {
    /// Changes what is kept to what some rules read. Of a series that both read, what is kept stays if it reaches as far
    /// back as they look, or `anyway`.
    pub(in crate::evaluation) fn change(
        &mut self,
        readings: impl IntoIterator<Item = Reading>,
        budget: usize,
        anyway: bool,
    ) {
        let before = std::mem::replace(self, Window::new(readings, budget));
        self.refused = before.refused;
        for kept in &mut self.readings {
            let same = before.readings.iter().find(|old| old.matchers == kept.matchers);
            kept.hole_ms = same.and_then(|old| old.hole_ms);
        }
        for held in before.series.into_iter().flatten() {
            self.take_over(held, anyway);
        }
        for (target, mut slots) in before.targets {
            for (labels, bound) in &mut slots {
                *bound = self.bound(labels);
                self.count_bound(bound, 1);
            }
            self.targets.insert(target, slots);
        }
    }

    fn take_over(&mut self, before: Held, anyway: bool) {
        let newest_ms = before.columns.last();
        let place = match (self.bound(&before.labels), newest_ms) {
            (Bound::Kept(Place(place)), _) => place,
            (Bound::Refused(readings), Some(newest_ms)) => return self.miss(&readings, newest_ms),
            (Bound::Refused(_) | Bound::Unread, _) => return,
        };
        let Some(now) = self.series.get_mut(place).and_then(Option::as_mut) else {
            return;
        };
        if !anyway && now.back_ms > before.back_ms {
            return;
        }
        let growth = before.columns.bytes();
        if self.bytes + growth <= self.budget {
            now.columns = before.columns;
            self.bytes += growth;
        } else if let Some(newest_ms) = newest_ms {
            let readings = now.readings.clone();
            self.miss(&readings, newest_ms);
        }
    }

    /// The series that have samples.
    pub(in crate::evaluation) fn filled(&self) -> HashSet<Place> {
        let has_samples = |place: &usize| {
            let held = self.series[*place].as_ref();
            held.is_some_and(|held| !held.columns.is_empty())
        };
        (0..self.series.len()).filter(has_samples).map(Place).collect()
    }
}
