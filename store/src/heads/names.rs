//! Names and values of labels, and label sets, without reading a sample.
//!
//! With a time, a series counts if a piece, an open sample or a block about that time has it. Blocks are opened before the
//! partition is locked; those that a seal adds meanwhile hold what the heads had when they were listed, so then both are
//! listed again.

use std::sync::Arc;

use roaring::RoaringBitmap;
use wire::{Labels, Tenant};

use super::Heads;
use super::presence::Presence;
use super::registry::{Registry, Texts};
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

impl About<'_> {
    fn has(&self, series: u32) -> bool {
        let Opened { blocks, any, .. } = self.opened;
        *any || self.heads.has(series) || blocks.iter().any(|block| block.has(series))
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
            let there: Vec<u32> = found.into_iter().filter(|series| about.has(*series)).collect();
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
        let mut names = Texts::default();
        self.look(tenant, matchers, time, |registry, found, has| match found {
            None => registry.add_names(&mut names, has),
            Some(found) => {
                for series in found {
                    let mut new = registry.texts(series).filter(|(name, _)| !names.contains(*name));
                    let new: Vec<String> = match new.next().filter(|_| has(series)) {
                        Some(first) => std::iter::once(first)
                            .chain(new)
                            .map(|(n, _)| n.to_owned())
                            .collect(),
                        None => continue,
                    };
                    names.extend(new);
                }
            }
        });
        sorted(names)
    }

    /// Values of a label of the series that satisfy every matcher, and about a time if one is given; sorted.
    pub(crate) fn label_values(
        &self,
        tenant: &Tenant,
        name: &str,
        matchers: &[Matcher],
        time: Option<(i64, i64)>,
    ) -> Vec<String> {
        let mut values = Texts::default();
        self.look(tenant, matchers, time, |registry, found, has| match found {
            None => registry.add_values(name, &mut values, has),
            Some(found) => {
                for series in found {
                    let value = registry
                        .texts(series)
                        .find(|(n, _)| *n == name)
                        .map(|(_, value)| value);
                    if let Some(value) = value
                        && !values.contains(value)
                        && has(series)
                    {
                        values.insert(value.to_owned());
                    }
                }
            }
        });
        sorted(values)
    }

    /// Shows each partition's registry, the series that satisfy the matchers (`None`: all), and which are about the time.
    fn look(
        &self,
        tenant: &Tenant,
        matchers: &[Matcher],
        time: Option<(i64, i64)>,
        mut see: impl FnMut(&Registry, Option<RoaringBitmap>, &dyn Fn(u32) -> bool),
    ) {
        let found = |head: &TenantHead| (!matchers.is_empty()).then(|| head.registry().find(matchers));
        match time {
            None => self.each_head(tenant, |head| see(head.registry(), found(head), &|_| true)),
            Some(range) => self.each_head_about(tenant, range, |head, about| {
                see(head.registry(), found(head), &|series| about.has(series));
            }),
        }
    }
}

fn sorted(texts: Texts) -> Vec<String> {
    let mut texts: Vec<String> = texts.into_iter().collect();
    texts.sort_unstable();
    texts
}
