//! The window's past after a restart, out of the log: rules that look back an hour need not wait for one.

use std::collections::HashMap;
use std::path::Path;

use promql::Labels;
use wire::BootId;
use wire::dict::SeriesId;

use super::columns::MARGIN;
use super::engine::Engine;
use super::window::Place;
use crate::input::Moment;
use crate::wal::{Logged, replay};

impl Engine {
    /// Takes in what the log in a folder has of the time that rules look back, of series of which nothing is kept. Scrapes of
    /// an earlier boot count by the wall clock, where it was trusted.
    pub(super) fn refill(&mut self, folder: &Path, boot: BootId, now: Moment) {
        let back_ms = self.window.back_ms().saturating_add(MARGIN);
        let age = |logged: Logged| {
            let age = match logged.boot == boot {
                true => now.mono_ms.checked_signed_diff(logged.stamp.mono_ms),
                false => logged
                    .trusted
                    .then(|| now.wall.ms().saturating_sub(logged.stamp.wall.ms())),
            };
            age.filter(|age| (0..=back_ms).contains(age))
        };
        let now_ms = self.time_of(now.mono_ms);
        let filled = self.window.filled();
        let mut places: HashMap<(u64, SeriesId), Option<Place>> = HashMap::new();
        let read = replay(
            folder,
            |logged| age(logged).is_some(),
            |segment, logged, group, dictionary| {
                let at_ms = now_ms - age(logged).unwrap_or(0);
                for (s, id) in group.series.iter().enumerate() {
                    let (Some(value), Some(labels)) = (group.value(s, 0), dictionary.get(*id)) else {
                        continue;
                    };
                    let place = places.entry((segment, *id)).or_insert_with(|| {
                        let place = self.window.place(&Labels::of_sorted(labels.iter()), at_ms);
                        place.filter(|place| !filled.contains(place))
                    });
                    if let Some(place) = place {
                        self.window.push(*place, at_ms, value);
                    }
                }
            },
        );
        if let Err(error) = read {
            tracing::warn!(%error, "the log cannot be read for rules; they begin without a past");
        }
    }
}
