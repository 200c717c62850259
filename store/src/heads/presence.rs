//! Which series have samples about a time, asked of many series: what holds for all of a group is looked up once.

use std::cell::Cell;

use super::group::Group;
use super::tenant::TenantHead;

/// What a group's series have in a range of time.
#[derive(Debug, Clone, Copy)]
enum Held {
    Nothing,
    /// Open rows, in which values may be absent.
    Open,
    /// Whole pieces count, and the newest row.
    All,
}

impl Held {
    fn of(group: &Group, (start, end): (i64, i64)) -> Self {
        if (start..=end).contains(&group.newest()) || group.closed(start, end).next().is_some() {
            Held::All
        } else if group.meets(start, end) {
            Held::Open
        } else {
            Held::Nothing
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

    fn held(&self, group: u32) -> Held {
        let Some(known) = self.groups.get(group as usize) else {
            return Held::Nothing;
        };
        known.get().unwrap_or_else(|| {
            let group = self.head.group(group);
            let held = group.map_or(Held::Nothing, |group| Held::of(group, self.range));
            known.set(Some(held));
            held
        })
    }

    /// Whether a series may have samples; whole pieces count, and the newest row.
    pub(super) fn has(&self, series: u32) -> bool {
        let (start, end) = self.range;
        let mut places = self.head.places_of(series);
        places.any(|place| match self.held(place.group) {
            Held::Nothing => false,
            Held::All => true,
            Held::Open => self.head.group(place.group).is_some_and(|group| {
                let mut open = group.open(place.position as usize, start, end);
                open.next().is_some()
            }),
        }) || self.any_histogram && self.head.histograms(series, self.range).next().is_some()
    }
}
