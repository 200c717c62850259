//! A tenant's head in one partition: its series, and the groups that hold their rows.

use std::collections::HashMap;
use std::sync::Arc;

use wire::Labels;
use wire::batch::Group as Rows;
use xxhash_rust::xxh3::Xxh3;

use super::Tally;
use super::group::Group;
use super::layout::Part;
use super::piece::{Freezer, Piece};
use super::postings::Postings;
use crate::ledger::DeviceRef;

/// Groups of each device in a partition; beyond them each series of a new list gets a group of its own, of which there
/// can be no more than series.
const MAX_GROUPS: usize = 64;

/// One tenant in one partition.
#[derive(Debug, Default)]
pub(crate) struct TenantHead {
    postings: Postings,
    groups: Vec<Group>,
    by_list: HashMap<u64, Vec<u32>>,
    counts: HashMap<Option<DeviceRef>, usize>,
    /// The first group of each series and its position in it; further ones in `more`.
    places: Vec<(u32, u32)>,
    more: HashMap<u32, Vec<(u32, u32)>>,
}

/// What appending needs beside the rows.
pub(crate) struct Tools<'a> {
    pub(crate) tally: &'a mut Tally,
    pub(crate) freezer: &'a mut Freezer,
}

/// Where samples of one series are.
pub(crate) enum Source {
    /// Copies of open samples: (time, order, value).
    Open(Vec<(i64, u64, f64)>),
    /// A frozen piece and the series' position in it.
    Frozen(Arc<Piece>, usize),
}

impl TenantHead {
    pub(crate) fn postings(&self) -> &Postings {
        &self.postings
    }

    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The number of a series, given its labels and their hash.
    pub(crate) fn register(&mut self, labels: &Labels, hash: u64) -> u32 {
        let (series, new) = self.postings.register(labels, hash);
        if new {
            self.places.push((u32::MAX, 0));
        }
        series
    }

    /// Finds or makes the groups that hold a list of (position, series), and emits each with its positions.
    pub(crate) fn groups_for(
        &mut self,
        owner: Option<DeviceRef>,
        mut list: Vec<(u32, u32)>,
        mut emit: impl FnMut(u32, Vec<u32>),
    ) {
        // The same labels twice in one list: the later ones stand alone, so that a row has one value per series.
        let mut seen = std::collections::HashSet::new();
        let mut alone: Vec<(u32, u32)> = Vec::new();
        list.retain(|entry| {
            let first = seen.insert(entry.1);
            if !first {
                alone.push(*entry);
            }
            first
        });
        let count = self.counts.get(&owner).copied().unwrap_or(0);
        if count >= MAX_GROUPS && self.find_group(owner, &series_of(&list)).is_none() {
            alone.append(&mut list);
        }
        if !list.is_empty() {
            let group = self.group(owner, series_of(&list));
            emit(group, list.iter().map(|(position, _)| *position).collect());
        }
        for (position, series) in alone {
            let group = self.group(owner, vec![series]);
            emit(group, vec![position]);
        }
    }

    fn find_group(&self, owner: Option<DeviceRef>, series: &[u32]) -> Option<u32> {
        self.by_list.get(&hash_of(series))?.iter().copied().find(|group| {
            let group = &self.groups[*group as usize];
            group.owner() == owner && group.series() == series
        })
    }

    fn group(&mut self, owner: Option<DeviceRef>, series: Vec<u32>) -> u32 {
        if let Some(group) = self.find_group(owner, &series) {
            return group;
        }
        let number = self.groups.len() as u32;
        self.by_list.entry(hash_of(&series)).or_default().push(number);
        *self.counts.entry(owner).or_default() += 1;
        let mut group = Group::new(owner, series);
        for (position, series) in group.series().to_vec().into_iter().enumerate() {
            let place = &mut self.places[series as usize];
            if place.0 == u32::MAX {
                *place = (number, position as u32);
                continue;
            }
            let first = place.0;
            let others = self.more.entry(series).or_default();
            for other in std::iter::once(first).chain(others.iter().map(|(group, _)| *group)) {
                self.groups[other as usize].add_sibling(number);
                group.add_sibling(other);
            }
            others.push((number, position as u32));
        }
        self.groups.push(group);
        number
    }

    fn places_of(&self, series: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        let first = self.places[series as usize];
        let more = self.more.get(&series).into_iter().flatten().copied();
        std::iter::once(first)
            .filter(|(group, _)| *group != u32::MAX)
            .chain(more)
    }

    /// Appends the taken rows of a batch's group.
    pub(crate) fn append(
        &mut self,
        part: &Part,
        rows: &Rows,
        take: &[bool],
        order: u64,
        writer: &mut Tools<'_>,
    ) {
        let count = rows.rows.len();
        for (r, row) in rows
            .rows
            .iter()
            .enumerate()
            .filter(|(r, _)| take.get(*r) == Some(&true))
        {
            let time = row.time.ms();
            let order = order + r as u64;
            let values = part.positions().iter().map(|position| {
                let cell = *position as usize * count + r;
                match &rows.present {
                    None => rows.values.get(cell).copied(),
                    Some(present) => present.get(cell).then(|| rows.values[cell]),
                }
            });
            writer.tally.taken += match rows.present {
                None => part.positions().len() as u64,
                Some(_) => values.clone().flatten().count() as u64,
            };
            if self.may_repeat(part.group(), time) {
                self.count_repeats(part.group(), time, values.clone(), writer.tally);
            }
            self.groups[part.group()].push(time, order, values, writer.freezer);
        }
    }

    /// Appends a row of the bridge's own series and lets rows beyond `keep` go.
    pub(crate) fn append_own(
        &mut self,
        part: &Part,
        (time, order): (i64, u64),
        row: &[(Labels, f64)],
        keep: usize,
        freezer: &mut Freezer,
    ) {
        let group = &mut self.groups[part.group()];
        let values = part
            .positions()
            .iter()
            .map(|position| Some(row[*position as usize].1));
        group.push(time, order, values, freezer);
        group.keep(keep);
    }

    fn may_repeat(&self, group: usize, time: i64) -> bool {
        let group = &self.groups[group];
        group.holds(time)
            || group
                .siblings()
                .iter()
                .any(|other| self.groups[*other as usize].holds(time))
    }

    fn count_repeats(
        &self,
        group: usize,
        time: i64,
        values: impl Iterator<Item = Option<f64>>,
        tally: &mut Tally,
    ) {
        for (series, value) in self.groups[group].series().iter().zip(values) {
            let Some(value) = value else { continue };
            let winner = self
                .places_of(*series)
                .filter_map(|(group, position)| self.groups[group as usize].at(position as usize, time))
                .max_by_key(|(order, _)| *order);
            match winner {
                Some((_, old)) if old.to_bits() == value.to_bits() => tally.same += 1,
                Some(_) => tally.conflict += 1,
                None => {}
            }
        }
    }

    /// Where a series' samples of a range of time are.
    pub(crate) fn sources(&self, series: u32, start: i64, end: i64) -> Vec<Source> {
        let mut sources = Vec::new();
        for (group, position) in self.places_of(series) {
            let (group, position) = (&self.groups[group as usize], position as usize);
            for piece in group.pieces(start, end) {
                sources.push(Source::Frozen(piece.clone(), position));
            }
            let open: Vec<_> = group.open(position, start, end).collect();
            if !open.is_empty() {
                sources.push(Source::Open(open));
            }
        }
        sources
    }
}

fn series_of(list: &[(u32, u32)]) -> Vec<u32> {
    list.iter().map(|(_, series)| *series).collect()
}

fn hash_of(series: &[u32]) -> u64 {
    let mut hash = Xxh3::new();
    for number in series {
        hash.update(&number.to_le_bytes());
    }
    hash.digest()
}
