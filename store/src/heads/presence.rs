//! Which series have samples about a time, asked of many series: what holds for all of a group is looked up once.

use std::cell::Cell;

use super::registry::{Known, Place};
use super::tenant::TenantHead;

/// What a group's series have in a range of time.
#[derive(Debug, Clone, Copy)]
enum Held {
    Nothing,
    /// Open rows, in which values may be absent.
    Open,
    /// Whole pieces count, and the newest two rows.
    All,
}

impl Held {
    fn of(head: &TenantHead, group: u32, (start, end): (i64, i64)) -> Self {
        // Most often the span tells, and what a group has need not be read.
        let span = head.span(group);
        let [_, last] = span.last;
        // Without a row the first is later than the last.
        if last < start.max(span.first) || span.first > end {
            return Held::Nothing;
        }
        if span.last.iter().any(|time| (start..=end).contains(time)) {
            return Held::All;
        }
        match head.group(group) {
            Some(group) if group.closed(start, end).next().is_some() => Held::All,
            Some(group) if group.meets(start, end) => Held::Open,
            _ => Held::Nothing,
        }
    }
}

/// What heads have in a range of time, both ends included.
pub(super) struct Presence<'h> {
    head: &'h TenantHead,
    range: (i64, i64),
    any_histogram: bool,
    /// By number of the group, as they are come upon.
    groups: Vec<Cell<Option<Held>>>,
}

impl<'h> Presence<'h> {
    pub(super) fn new(head: &'h TenantHead, range: (i64, i64)) -> Self {
        Presence {
            head,
            range,
            any_histogram: head.has_histograms(range),
            groups: vec![Cell::new(None); head.groups.len()],
        }
    }

    #[inline]
    fn held(&self, group: u32) -> Held {
        let Some(known) = self.groups.get(group as usize) else {
            return Held::Nothing;
        };
        known.get().unwrap_or_else(|| {
            let held = Held::of(self.head, group, self.range);
            known.set(Some(held));
            held
        })
    }

    /// What is known of series that are in a group first.
    #[inline]
    pub(super) fn first_in(&self, group: u32) -> Known {
        match self.held(group) {
            Held::All => Known::All,
            Held::Nothing if self.head.more.is_empty() && !self.any_histogram => Known::None,
            Held::Nothing | Held::Open => Known::Unknown,
        }
    }

    /// Whether a series, which is in a group first, may have samples; whole pieces count, and the newest rows.
    #[inline]
    pub(super) fn has(&self, series: u32, first: Option<Place>) -> bool {
        first.is_some_and(|place| self.has_at(place))
            || !self.head.more.is_empty() && self.head.other_places(series).any(|place| self.has_at(place))
            || self.any_histogram && self.head.histograms(series, self.range).next().is_some()
    }

    #[inline]
    fn has_at(&self, place: Place) -> bool {
        let (start, end) = self.range;
        match self.held(place.group) {
            Held::Nothing => false,
            Held::All => true,
            Held::Open => self.head.group(place.group).is_some_and(|group| {
                let mut open = group.open(place.position as usize, start, end);
                open.next().is_some()
            }),
        }
    }
}
