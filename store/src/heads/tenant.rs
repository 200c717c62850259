//! A tenant's head in one partition: its series, the groups that hold their rows, and what is counted of each window.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use prost::Message;

use super::cells::{Cells, RowCells};
use super::delivery::{Arrival, Delivery, Done, Job};
use super::group::Group;
use super::layout::Part;
use super::registry::{Place, Registered, Registry};
use super::segment::Rows;
use super::span::Span;
use super::stored::{Behind, Stored};
use super::window_head::{Histogram, WindowHead, WindowTally, histogram_bytes};
use crate::block::BlockFile;
use crate::ledger::DeviceRef;
use crate::results::OWNER;
use crate::sealed::{RecordId, Sealed};
use crate::tally::Tally;
use crate::window::Window;

/// Groups of each device in a partition; beyond them each series of a new list gets a group of its own, of which there
/// can be no more than series.
const MAX_GROUPS: usize = 64;

/// Groups beside its first in which a series of the bridge's may be, a result of rules or of its own: rules and devices are
/// many, and each may have its list, but one whose list changes each time is not to leave a group behind each time. Beyond
/// them as above.
const MAX_LISTS: usize = 3;

/// One tenant in one partition.
#[derive(Debug)]
pub(crate) struct TenantHead {
    pub(super) registry: Registry,
    pub(super) groups: Vec<Option<Group>>,
    pub(super) free: Vec<u32>,
    /// By number of a group.
    spans: Vec<Span>,
    by_list: HashMap<u64, Vec<u32>>,
    keyed: RandomState,
    pub(super) counts: HashMap<Option<DeviceRef>, Counts>,
    /// Places of series that are in more than one group, but the first, which the registry has.
    pub(super) more: HashMap<u32, Vec<Place>, RandomState>,
    pub(super) windows: BTreeMap<Window, WindowHead>,
    /// What seals that are under way took.
    pub(super) sealing: BTreeMap<Window, WindowHead>,
    /// What blocks have of each window.
    pub(super) sealed: BTreeMap<Window, Sealed>,
    /// By rising generation.
    pub(super) blocks: Vec<Arc<BlockFile>>,
    /// Rises when blocks change.
    pub(super) version: u64,
    /// No block has a later time.
    pub(super) newest_stored: i64,
}

impl Default for TenantHead {
    fn default() -> Self {
        TenantHead {
            registry: Registry::default(),
            groups: Vec::new(),
            free: Vec::new(),
            spans: Vec::new(),
            by_list: HashMap::new(),
            keyed: RandomState::default(),
            counts: HashMap::new(),
            more: HashMap::default(),
            windows: BTreeMap::new(),
            sealing: BTreeMap::new(),
            sealed: BTreeMap::new(),
            blocks: Vec::new(),
            version: 0,
            newest_stored: i64::MIN,
        }
    }
}

/// What a device has in a head.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) groups: usize,
    /// Series whose first group is the device's.
    pub(super) series: usize,
}

/// Where samples of one series are.
pub(crate) enum Source {
    /// Copies of open samples: (time, order, value).
    Open(Vec<(i64, u64, f64)>),
    /// Rows, and the series' position in them.
    Rows(Rows, usize),
}

impl Source {
    /// Samples that it has at most.
    pub(super) fn len(&self) -> usize {
        match self {
            Source::Open(open) => open.len(),
            Source::Rows(rows, _) => rows.len(),
        }
    }
}

impl TenantHead {
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().flatten()
    }

    pub(super) fn group(&self, group: u32) -> Option<&Group> {
        self.groups.get(group as usize)?.as_ref()
    }

    /// Windows with rows that no seal has taken.
    pub(crate) fn windows(&self) -> &BTreeMap<Window, WindowHead> {
        &self.windows
    }

    /// Adds what became of a device's samples that are in no block.
    pub(crate) fn add_tally(&self, device: DeviceRef, sum: &mut Tally) {
        for head in self.windows.values().chain(self.sealing.values()) {
            if let Some(tally) = head.tallies.get(&device) {
                sum.add(&tally.tally);
            }
        }
    }

    /// Whether a series is in a group.
    pub(crate) fn is_active<'a>(&self, labels: impl Iterator<Item = (&'a str, &'a str)>) -> bool {
        let series = self.registry.find_labels(labels);
        series.is_some_and(|series| self.registry.place(series).is_some())
    }

    /// Series in groups of devices, of one or of all.
    pub(crate) fn active(&self, device: Option<DeviceRef>) -> usize {
        match device {
            Some(_) => self.counts.get(&device).map_or(0, |counts| counts.series),
            None => {
                let devices = self.counts.iter().filter(|(owner, _)| owner.is_some());
                devices.map(|(_, counts)| counts.series).sum()
            }
        }
    }

    /// Registers series, each with its position in a list, and finds or makes the groups that hold them; emits each with
    /// its positions.
    pub(crate) fn place<'a, L>(
        &mut self,
        owner: Option<DeviceRef>,
        sets: impl Iterator<Item = (u32, L)>,
        mut emit: impl FnMut(u32, Vec<u32>),
    ) where
        L: Iterator<Item = (&'a str, &'a str)>,
    {
        let found = self.registry.register(sets);
        let is_new = found.iter().any(|(_, found)| found.is_new);
        let (mut list, mut alone) = first_and_repeated(found);
        let known = match is_new {
            // No group has a new series.
            true => None,
            false => self.find_group(owner, &series_of(&list)),
        };
        if known.is_none() && self.is_full(owner, &list) {
            alone.append(&mut list);
        }
        if !list.is_empty() {
            let group = known.unwrap_or_else(|| self.add_group(owner, series_of(&list)));
            emit(group, list.iter().map(|(position, _)| *position).collect());
        }
        for (position, series) in alone {
            let known = self.find_group(owner, &[series]);
            let group = known.unwrap_or_else(|| self.add_group(owner, vec![series]));
            emit(group, vec![position]);
        }
    }

    /// Whether a new list is to have a group for each of its series, and none for all.
    fn is_full(&self, owner: Option<DeviceRef>, list: &[(u32, u32)]) -> bool {
        match owner {
            None | Some(OWNER) => {
                let lists = |series| self.more.get(series).map_or(0, Vec::len);
                list.iter().any(|(_, series)| lists(series) >= MAX_LISTS)
            }
            Some(_) => self.counts.get(&owner).map_or(0, |counts| counts.groups) >= MAX_GROUPS,
        }
    }

    fn find_group(&self, owner: Option<DeviceRef>, series: &[u32]) -> Option<u32> {
        self.by_list
            .get(&self.keyed.hash_one(series))?
            .iter()
            .copied()
            .find(|group| {
                self.group(*group)
                    .is_some_and(|group| group.owner() == owner && **group.series() == *series)
            })
    }

    fn add_group(&mut self, owner: Option<DeviceRef>, series: Vec<u32>) -> u32 {
        let number = self.free.pop().unwrap_or(self.groups.len() as u32);
        if number as usize == self.groups.len() {
            self.groups.push(None);
            self.spans.push(Span::NONE);
        }
        self.spans[number as usize] = Span::NONE;
        let hash = self.keyed.hash_one(series.as_slice());
        self.by_list.entry(hash).or_default().push(number);
        let mut group = Group::new(owner, series);
        let mut first_here = 0;
        for (position, series) in group.series().clone().iter().enumerate() {
            let place = Place {
                group: number,
                position: position as u32,
            };
            let Some(first) = self.registry.place_first(*series, place) else {
                first_here += 1;
                continue;
            };
            let others = self.more.entry(*series).or_default();
            for other in std::iter::once(&first).chain(others.iter()) {
                if let Some(Some(sibling)) = self.groups.get_mut(other.group as usize) {
                    sibling.add_sibling(number);
                }
                group.add_sibling(other.group);
            }
            others.push(place);
        }
        self.groups[number as usize] = Some(group);
        let counts = self.counts.entry(owner).or_default();
        counts.groups += 1;
        counts.series += first_here;
        number
    }

    /// Takes a group out of those that are found by their series.
    pub(super) fn unlist(&mut self, number: u32, series: &[u32]) {
        let hash = self.keyed.hash_one(series);
        if let Some(groups) = self.by_list.get_mut(&hash) {
            groups.retain(|group| *group != number);
            if groups.is_empty() {
                self.by_list.remove(&hash);
            }
        }
    }

    pub(super) fn places_of(&self, series: u32) -> impl Iterator<Item = Place> + '_ {
        self.registry
            .place(series)
            .into_iter()
            .chain(self.other_places(series))
    }

    /// Places of a series but the first.
    pub(super) fn other_places(&self, series: u32) -> impl Iterator<Item = Place> + '_ {
        self.more.get(&series).into_iter().flatten().copied()
    }

    /// What blocks may have at the times of a group's rows; `None` if nothing.
    fn behind(&self, part: &Part, delivery: &Delivery<'_>) -> Option<Behind> {
        let (first, last) = delivery.span()?;
        if first > self.newest_stored {
            return None;
        }
        let has_owner = |file: &&Arc<BlockFile>| {
            let owners = &file.meta().owners;
            owners
                .binary_search_by_key(&delivery.owner, |(owner, _)| *owner)
                .is_ok()
        };
        let blocks: Vec<_> = self.blocks_in(first, last).filter(has_owner).cloned().collect();
        let group = self.group(part.group())?;
        (!blocks.is_empty()).then(|| Behind {
            blocks,
            series: group.series().clone(),
            version: self.version,
        })
    }

    /// Adds the taken rows of a batch's group. What it gives back is to be frozen and put by [`TenantHead::put`], and the
    /// count of samples that took the place of another value. `stored` is what blocks have at the rows' times; if that is not known as of now, nothing is done but to say what
    /// to read.
    pub(super) fn append(
        &mut self,
        part: &Part,
        delivery: &Delivery<'_>,
        stored: &Stored,
    ) -> Result<(Vec<Job>, u64), Behind> {
        if stored.version != self.version
            && let Some(behind) = self.behind(part, delivery)
        {
            return Err(behind);
        }
        let (mut jobs, mut replaced) = (Vec::new(), 0);
        let arrival = delivery.arrival;
        let record = RecordId {
            number: arrival.number,
            device: delivery.owner,
        };
        for (at, (window, rows)) in delivery.windows().iter().enumerate() {
            if arrival.replayed && self.sealed.get(window).is_some_and(|sealed| sealed.has(record)) {
                continue;
            }
            if !delivery.has_any(part, at) {
                continue;
            }
            self.note(part, *window, arrival);
            let Some(Some(group)) = self.groups.get_mut(part.group() as usize) else {
                continue;
            };
            let mut tally = WindowTally::default();
            let mut taken = 0;
            let bulk = delivery.bulk(part, at, group);
            for row in rows {
                let count = delivery.count(part, *row);
                taken += count;
                self.count_repeats(part, delivery, (*row, stored), &mut tally);
                if bulk.is_none() && count > 0 {
                    self.push(part, delivery, *row, &mut jobs);
                }
            }
            jobs.extend(bulk);
            taken += self.add_histograms(part, delivery, (at, stored), &mut tally);
            replaced += tally.tally.conflict;
            if let Some(head) = self.windows.get_mut(window) {
                let counts = head.tallies.entry(delivery.owner).or_default();
                counts.add(&tally);
                counts.tally.take(arrival.file, taken);
            }
        }
        Ok((jobs, replaced))
    }

    /// Notes that a group gets rows of a window.
    fn note(&mut self, part: &Part, window: Window, arrival: Arrival) {
        let head = self
            .windows
            .entry(window)
            .or_insert_with(|| WindowHead::new(arrival.number, arrival.received_ms));
        head.note(arrival.number, arrival.received_ms);
        if let Some(Some(group)) = self.groups.get_mut(part.group() as usize)
            && group.list(window)
        {
            head.groups.push(part.group());
        }
    }

    /// Notes that a group gets a row of a time.
    fn note_time(&mut self, group: u32, time: i64) {
        if let Some(span) = self.spans.get_mut(group as usize) {
            span.note(time);
        }
    }

    /// Between which times all rows of a group are.
    pub(super) fn span(&self, group: u32) -> Span {
        self.spans.get(group as usize).copied().unwrap_or(Span::NONE)
    }

    fn push(&mut self, part: &Part, delivery: &Delivery<'_>, row: u32, jobs: &mut Vec<Job>) {
        self.note_time(part.group(), delivery.stamp(row).0);
        let windows = &mut self.windows;
        let mut grown = |window: Window, bytes: usize| {
            if let Some(head) = windows.get_mut(&window) {
                head.grow(bytes as isize);
            }
        };
        if let Some(Some(group)) = self.groups.get_mut(part.group() as usize) {
            let closed = delivery.push(part, row, group, &mut grown);
            jobs.extend(closed.into_iter().flatten().map(|c| Job::closed(part.group(), c)));
        }
    }

    /// Puts frozen pieces where they belong.
    pub(crate) fn put(&mut self, done: impl IntoIterator<Item = Done>) {
        for done in done {
            let (first, last) = done.span();
            self.note_time(done.group(), first);
            self.note_time(done.group(), last);
            let Some(Some(group)) = self.groups.get_mut(done.group() as usize) else {
                continue;
            };
            let (window, bytes) = done.put(group);
            if let Some(head) = self.windows.get_mut(&window) {
                head.grow(bytes);
            }
        }
    }

    /// Says how many there are.
    fn add_histograms(
        &mut self,
        part: &Part,
        delivery: &Delivery<'_>,
        (at, stored): (usize, &Stored),
        tally: &mut WindowTally,
    ) -> u64 {
        let (window, _) = &delivery.windows()[at];
        let (Some(Some(group)), Some(head)) = (
            self.groups.get(part.group() as usize),
            self.windows.get_mut(window),
        ) else {
            return 0;
        };
        let mut taken = 0;
        let sealing = self.sealing.get(window).map(|head| head.histograms.clone());
        for cell in delivery.histograms(at) {
            let Some(histogram) = &cell.histogram else {
                continue;
            };
            let Ok(at) = part.positions().binary_search(&cell.position) else {
                continue;
            };
            let bytes: Arc<[u8]> = histogram.encode_to_vec().into();
            let key = (group.series()[at], delivery.stamp(cell.row).0);
            taken += 1;
            head.grow(histogram_bytes(&bytes) as isize);
            let here = head.histograms.get(&key);
            let here = here
                .or_else(|| sealing.as_ref()?.get(&key))
                .map(|old| &*old.bytes);
            let below = stored.histogram(key.0, key.1).filter(|_| here.is_none());
            if let Some(old) = here.or(below) {
                tally.replaced(*old == *bytes, below.is_some());
            }
            let owner = delivery.owner;
            let new = Histogram { owner, bytes };
            if let Some(old) = Arc::make_mut(&mut head.histograms).insert(key, new) {
                head.grow(-(histogram_bytes(&old.bytes) as isize));
            }
        }
        taken
    }

    /// Adds a row of the bridge's own series and lets rows beyond `keep` go.
    pub(crate) fn append_own(
        &mut self,
        part: &Part,
        stamp: (i64, u64),
        row: &Arc<Cells>,
        keep: usize,
    ) -> Vec<Job> {
        self.note_time(part.group(), stamp.0);
        let Some(Some(group)) = self.groups.get_mut(part.group() as usize) else {
            return Vec::new();
        };
        let row = RowCells::shared(row.clone(), 0, part.positions().clone());
        group.list(Window::of(stamp.0));
        let closed = group.push(stamp, row, None, &mut |_, _| {});
        group.keep(keep);
        let jobs = closed.into_iter().flatten();
        jobs.map(|closed| Job::closed(part.group(), closed)).collect()
    }

    fn may_repeat(&self, group: u32, time: i64) -> bool {
        self.group(group).is_some_and(|group| {
            let siblings = group.siblings().iter();
            group.holds(time)
                || siblings
                    .filter_map(|other| self.group(*other))
                    .any(|g| g.holds(time))
        })
    }

    fn count_repeats(
        &self,
        part: &Part,
        delivery: &Delivery<'_>,
        (row, stored): (u32, &Stored),
        tally: &mut WindowTally,
    ) {
        let time = delivery.stamp(row).0;
        let in_heads = self.may_repeat(part.group(), time);
        if !in_heads && stored.is_empty() {
            return;
        }
        let series = self.group(part.group()).map_or(&[][..], |group| group.series());
        for (series, value) in series.iter().zip(delivery.cells(part, row)) {
            let Some(value) = value else { continue };
            let here = if in_heads {
                self.winner(*series, time)
            } else {
                None
            };
            let below = stored.value(*series, time).filter(|_| here.is_none());
            if let Some(old) = here.or(below) {
                tally.replaced(old.to_bits() == value.to_bits(), below.is_some());
            }
        }
    }

    /// The value that a series has at a time.
    fn winner(&self, series: u32, time: i64) -> Option<f64> {
        self.places_of(series)
            .filter_map(|place| self.group(place.group)?.at(place.position as usize, time))
            .max_by_key(|(order, _)| *order)
            .map(|(_, value)| value)
    }

    /// Histograms of a series in a range of time, both ends included; of one time the later wins.
    pub(crate) fn histograms(
        &self,
        series: u32,
        (start, end): (i64, i64),
    ) -> impl Iterator<Item = (i64, &Histogram)> {
        // A range that ends before it starts has none.
        let range = (start <= end).then(|| Window::of(start)..=Window::of(end));
        let sealing = range
            .clone()
            .into_iter()
            .flat_map(|range| self.sealing.range(range));
        let windows = sealing.chain(range.into_iter().flat_map(|range| self.windows.range(range)));
        let cells = windows.flat_map(move |(_, head)| head.histograms.range((series, start)..=(series, end)));
        cells.map(|((_, time), histogram)| (*time, histogram))
    }

    /// Whether a window of a range of time has any histogram.
    pub(super) fn has_histograms(&self, (start, end): (i64, i64)) -> bool {
        let range = Window::of(start)..=Window::of(end);
        let windows = |heads: &BTreeMap<Window, WindowHead>| {
            heads
                .range(range.clone())
                .any(|(_, head)| !head.histograms.is_empty())
        };
        start <= end && (windows(&self.sealing) || windows(&self.windows))
    }

    /// Where a series' samples of a range of time are; `only` of one owner, if given.
    pub(crate) fn sources(
        &self,
        series: u32,
        (start, end): (i64, i64),
        only: Option<DeviceRef>,
    ) -> Vec<Source> {
        let mut sources = Vec::new();
        for place in self.places_of(series) {
            let Some(group) = self.group(place.group) else {
                continue;
            };
            if only.is_some() && group.owner() != only {
                continue;
            }
            let position = place.position as usize;
            for rows in group.closed(start, end) {
                sources.push(Source::Rows(rows.clone(), position));
            }
            let open: Vec<_> = group.open(position, start, end).collect();
            if !open.is_empty() {
                sources.push(Source::Open(open));
            }
        }
        sources
    }
}

/// Positions in a list, and numbers of series.
type Places = Vec<(u32, u32)>;

/// The same labels twice in one list: the later ones stand alone, so that a row has one value per series.
fn first_and_repeated(found: Vec<(u32, Registered)>) -> (Places, Places) {
    let list = found
        .into_iter()
        .map(|(position, found)| (position, found.series));
    let list: Vec<(u32, u32)> = list.collect();
    let mut sorted = series_of(&list);
    sorted.sort_unstable();
    if sorted.is_sorted_by(|a, b| a < b) {
        return (list, Vec::new());
    }
    let mut seen = HashSet::with_capacity_and_hasher(list.len(), RandomState::default());
    list.into_iter().partition(|(_, series)| seen.insert(*series))
}

fn series_of(list: &[(u32, u32)]) -> Vec<u32> {
    list.iter().map(|(_, series)| *series).collect()
}
