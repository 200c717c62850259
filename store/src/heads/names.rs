//! Names and values of labels, and label sets, without reading a sample.
//!
//! With a time, a series counts if a piece, an open sample or a block about that time has it. Blocks are opened before the
//! partition is locked; those that a seal adds meanwhile hold what the heads had when they were listed, so then both are
//! listed again.

use std::collections::BTreeSet;
use std::sync::Arc;

use roaring::RoaringBitmap;
use wire::{Labels, Tenant};

use super::Heads;
use super::presence::Presence;
use super::registry::{Counts, Known, Place, Registry, Values};
use super::tenant::TenantHead;
use crate::block::Block;
use crate::matcher::Matcher;

/// How often blocks are listed again because they changed meanwhile.
const MAX_TRIES: usize = 8;

/// Open blocks about a time.
struct Opened {
    blocks: Vec<Arc<Block>>,
    /// A block that cannot be read may have any series.
    any: bool,
    version: u64,
}

/// What a partition has about a time.
struct About<'a> {
    opened: &'a Opened,
    heads: Presence<'a>,
}

impl Counts for About<'_> {
    fn series(&self, series: u32, first: Option<Place>) -> bool {
        let Opened { blocks, any, .. } = self.opened;
        *any || self.heads.has(series, first) || blocks.iter().any(|block| block.has(series))
    }

    fn first_in(&self, group: u32) -> Known {
        let Opened { blocks, any, .. } = self.opened;
        match self.heads.first_in(group) {
            Known::None if *any || !blocks.is_empty() => Known::Unknown,
            known => known,
        }
    }
}

/// Which series are asked for.
enum Asked<'a> {
    Every,
    About(&'a About<'a>),
}

impl Counts for Asked<'_> {
    fn series(&self, series: u32, first: Option<Place>) -> bool {
        match self {
            Asked::Every => true,
            Asked::About(about) => about.series(series, first),
        }
    }

    fn first_in(&self, group: u32) -> Known {
        match self {
            Asked::Every => Known::All,
            Asked::About(about) => about.first_in(group),
        }
    }
}

impl Heads {
    pub(super) fn each_head(&self, tenant: &Tenant, mut see: impl FnMut(&TenantHead)) {
        for partition in 0..self.rings.count() {
            if let Some(head) = self.read(partition).tenants.get(tenant) {
                see(head);
            }
        }
    }

    /// Shows each partition's head, with the blocks about a time.
    fn each_head_about(
        &self,
        tenant: &Tenant,
        range: (i64, i64),
        mut see: impl FnMut(&TenantHead, &About<'_>),
    ) {
        for partition in 0..self.rings.count() {
            let mut tries = 0..MAX_TRIES;
            loop {
                let (files, version) = match self.read(partition).tenants.get(tenant) {
                    Some(head) => {
                        let files: Vec<_> = head.blocks_in(range.0, range.1).cloned().collect();
                        (files, head.version)
                    }
                    None => break,
                };
                let mut opened = Opened {
                    blocks: Vec::with_capacity(files.len()),
                    any: false,
                    version,
                };
                for file in files {
                    match file.open() {
                        Ok(block) => opened.blocks.push(block),
                        Err(_) => opened.any = true,
                    }
                }
                let partition = self.read(partition);
                let Some(head) = partition.tenants.get(tenant) else {
                    break;
                };
                if head.version == opened.version || tries.next().is_none() {
                    let heads = Presence::new(head, range);
                    let opened = &opened;
                    see(head, &About { opened, heads });
                    break;
                }
            }
        }
    }

    /// Labels of series that satisfy every matcher and may have samples in the range, sorted. A block that cannot be read
    /// may have any.
    pub(crate) fn series(&self, tenant: &Tenant, matchers: &[Matcher], range: (i64, i64)) -> Vec<Labels> {
        let mut all = Vec::new();
        let mut partitions = 0;
        self.each_head_about(tenant, range, |head, about| {
            let found = head.registry().find(matchers);
            let there = head.registry().counted(&found, about);
            partitions += usize::from(!there.is_empty());
            let order = head.registry().order(&there);
            all.extend(
                order
                    .into_iter()
                    .map(|at| head.registry().labels(there[at as usize])),
            );
        });
        if partitions > 1 {
            all.sort();
            all.dedup();
        }
        all
    }

    /// Names of labels of the series that satisfy every matcher, and about a time if one is given; sorted.
    pub(crate) fn label_names(
        &self,
        tenant: &Tenant,
        matchers: &[Matcher],
        time: Option<(i64, i64)>,
    ) -> Vec<String> {
        let mut names = BTreeSet::new();
        self.look(tenant, matchers, time, |registry, found, counts| match found {
            None => registry.add_names(&mut names, counts),
            Some(found) => registry.add_names_of(&found, &mut names, counts),
        });
        names.into_iter().collect()
    }

    /// Values of a label of the series that satisfy every matcher, and about a time if one is given; sorted.
    pub(crate) fn label_values(
        &self,
        tenant: &Tenant,
        name: &str,
        matchers: &[Matcher],
        time: Option<(i64, i64)>,
    ) -> Vec<Arc<str>> {
        let mut values = Values::default();
        self.look(tenant, matchers, time, |registry, found, counts| match found {
            None => registry.add_values(name, &mut values, counts),
            Some(found) => registry.add_values_of(&found, name, &mut values, counts),
        });
        values.into_texts()
    }

    /// Shows each partition's registry, the series that satisfy the matchers (`None`: all), and which are about the time.
    fn look(
        &self,
        tenant: &Tenant,
        matchers: &[Matcher],
        time: Option<(i64, i64)>,
        mut see: impl FnMut(&Registry, Option<RoaringBitmap>, &Asked<'_>),
    ) {
        let found = |head: &TenantHead| (!matchers.is_empty()).then(|| head.registry().find(matchers));
        match time {
            None => self.each_head(tenant, |head| see(head.registry(), found(head), &Asked::Every)),
            Some(range) => self.each_head_about(tenant, range, |head, about| {
                see(head.registry(), found(head), &Asked::About(about));
            }),
        }
    }
}
