//! What an index holds, as far as it must be known to write it: all but the series, of which the last pages are.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use prost::Message;
use roaring::RoaringBitmap;
use wire::Tenant;

use super::Change;
use super::file::version_of;
use super::list::{PairHash, PairKeys, SeriesList};
use super::pages::Tail;
use super::rows::{BlockRow, Head, TenantRow, tally_row};
use crate::block::summed;
use crate::journal::FileError;
use crate::ledger::DeviceRef;
use crate::sealed::Sealed;
use crate::tally::Tally;

/// The tables that fit in memory.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Small {
    pub(super) commits: u64,
    pub(super) next_gen: u64,
    /// By their numbers, with the series that were dropped.
    pub(super) tenants: Vec<(Tenant, RoaringBitmap)>,
    /// Rows, encoded.
    pub(super) blocks: BTreeMap<u64, Arc<[u8]>>,
    pub(super) sealed: BTreeMap<(u16, i64), Sealed>,
    pub(super) totals: BTreeMap<DeviceRef, Tally>,
}

/// Where a tenant's pages go on.
#[derive(Debug, Default)]
pub(super) struct TenantPages {
    pairs: Tail,
    series: Tail,
    known: HashMap<PairHash, u32>,
    next_pair: u32,
}

/// Both.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) small: Small,
    /// By tenant, as in `small`.
    pub(super) pages: Vec<TenantPages>,
    pub(super) keys: PairKeys,
}

/// A row with its sum; `None` takes it out.
type Row<K> = (K, Option<Vec<u8>>);

/// Rows of a transaction.
#[derive(Debug, Default)]
pub(super) struct Writes {
    /// The small tables are emptied first, and pages beyond `page_counts` go.
    pub(super) whole: bool,
    pub(super) page_counts: Vec<(u32, u32)>,
    pub(super) head: Vec<u8>,
    pub(super) pairs: Vec<((u16, u32), Vec<u8>)>,
    pub(super) series: Vec<((u16, u32), Vec<u8>)>,
    pub(super) dropped: Vec<(u16, Vec<u8>)>,
    pub(super) blocks: Vec<Row<u64>>,
    pub(super) sealed: Vec<Row<(u16, i64)>>,
    pub(super) totals: Vec<Row<DeviceRef>>,
}

/// A change that is not durable yet.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    pub(super) writes: Writes,
    small: Small,
    /// The tenants whose pages grew.
    pages: BTreeMap<u16, Growth>,
}

#[derive(Debug, Default)]
struct Growth {
    pairs: Tail,
    series: Tail,
    new: HashMap<PairHash, u32>,
    next_pair: u32,
}

impl TenantPages {
    /// Takes up a tenant's pages where they ended; `list` has all pairs, by their numbers.
    pub(super) fn go_on(pairs: Tail, series: Tail, list: &SeriesList, keys: &PairKeys) -> Self {
        let count = list.pair_count() as u32;
        let known = (0..count).map(|pair| {
            let (name, value) = list.pair(pair);
            (keys.hash(name, value), pair)
        });
        TenantPages {
            pairs,
            series,
            known: known.collect(),
            next_pair: count,
        }
    }
}

impl Growth {
    fn of(pages: Option<&TenantPages>) -> Self {
        pages.map_or_else(Growth::default, |pages| Growth {
            pairs: pages.pairs.clone(),
            series: pages.series.clone(),
            new: HashMap::new(),
            next_pair: pages.next_pair,
        })
    }

    fn add(
        &mut self,
        list: &SeriesList,
        known: Option<&TenantPages>,
        keys: &PairKeys,
        tenant: u16,
        writes: &mut Writes,
    ) {
        let (mut pair_pages, mut series_pages) = (Vec::new(), Vec::new());
        let mut numbers = vec![u32::MAX; list.pair_count()];
        let mut pairs = Vec::new();
        for (id, local) in list.numbered() {
            pairs.clear();
            for pair in local {
                let number = &mut numbers[*pair as usize];
                if *number == u32::MAX {
                    let (name, value) = list.pair(*pair);
                    let hash = keys.hash(name, value);
                    let old = known.and_then(|known| known.known.get(&hash)).copied();
                    *number = old.unwrap_or_else(|| {
                        *self.new.entry(hash).or_insert_with(|| {
                            self.pairs.push_pair((name, value), &mut pair_pages);
                            self.next_pair += 1;
                            self.next_pair - 1
                        })
                    });
                }
                pairs.push(*number);
            }
            self.series.push_series(id, &pairs, &mut series_pages);
        }
        let key = |(page, bytes): (u32, Vec<u8>)| ((tenant, page), summed(&bytes));
        writes.pairs.extend(pair_pages.into_iter().map(key));
        writes.series.extend(series_pages.into_iter().map(key));
    }
}

impl Small {
    pub(super) fn counts(&self) -> (u32, u32, u32) {
        (
            self.blocks.len() as u32,
            self.sealed.len() as u32,
            self.totals.len() as u32,
        )
    }

    fn tenant(&mut self, tenant: &Tenant) -> Result<u16, FileError> {
        let known = self.tenants.iter().position(|(known, _)| known == tenant);
        let number = known.unwrap_or(self.tenants.len());
        if known.is_none() {
            self.tenants.push((tenant.clone(), RoaringBitmap::new()));
        }
        u16::try_from(number).map_err(|_| FileError::Damaged("an index holds at most 65,536 tenants".into()))
    }

    /// Takes a change of the small tables in, and writes its rows.
    fn change(&mut self, change: &Change, writes: &mut Writes) -> Result<(), FileError> {
        self.commits += 1;
        self.next_gen = self.next_gen.max(change.next_gen);
        for (tenant, id) in &change.dropped_series {
            let number = self.tenant(tenant)?;
            self.tenants[usize::from(number)].1.insert(*id);
            if writes.dropped.last().is_none_or(|(last, _)| *last != number) {
                writes.dropped.push((number, Vec::new()));
            }
        }
        for generation in &change.remove {
            self.blocks.remove(generation);
            writes.blocks.push((*generation, None));
        }
        for meta in &change.add {
            self.next_gen = self.next_gen.max(meta.generation.saturating_add(1));
            let row = BlockRow::of(meta).encode_to_vec();
            writes.blocks.push((meta.generation, Some(summed(&row))));
            self.blocks.insert(meta.generation, row.into());
        }
        for (tenant, window) in &change.unsealed {
            let key = (self.tenant(tenant)?, window.start_ms());
            self.sealed.remove(&key);
            writes.sealed.push((key, None));
        }
        for (tenant, window, sealed) in &change.sealed {
            let key = (self.tenant(tenant)?, window.start_ms());
            self.sealed.insert(key, sealed.clone());
            writes.sealed.push((key, Some(summed(&sealed.encode()))));
        }
        for (device, tally) in &change.totals {
            let row = (*tally != Tally::default()).then(|| summed(&tally_row(tally)));
            match row {
                Some(_) => drop(self.totals.insert(*device, tally.clone())),
                None => drop(self.totals.remove(device)),
            }
            writes.totals.push((*device, row));
        }
        Ok(())
    }

    /// Writes all rows.
    fn write_all(&self, writes: &mut Writes) {
        writes.whole = true;
        let dropped = (0..)
            .zip(&self.tenants)
            .filter(|(_, (_, dropped))| !dropped.is_empty());
        writes.dropped = dropped.map(|(number, _)| (number, Vec::new())).collect();
        let blocks = self.blocks.iter();
        writes.blocks = blocks
            .map(|(generation, row)| (*generation, Some(summed(row))))
            .collect();
        let sealed = self.sealed.iter();
        writes.sealed = sealed
            .map(|(key, sealed)| (*key, Some(summed(&sealed.encode()))))
            .collect();
        let totals = self.totals.iter();
        writes.totals = totals
            .map(|(device, tally)| (*device, Some(summed(&tally_row(tally)))))
            .collect();
    }
}

impl State {
    pub(super) fn new(small: Small) -> Self {
        State {
            small,
            ..State::default()
        }
    }

    /// Forgets all series and what was dropped of them.
    pub(super) fn take_series(&mut self) -> (Vec<TenantPages>, Vec<RoaringBitmap>) {
        let dropped = self
            .small
            .tenants
            .iter_mut()
            .map(|(_, dropped)| std::mem::take(dropped));
        (std::mem::take(&mut self.pages), dropped.collect())
    }

    /// Undoes it.
    pub(super) fn put_series(&mut self, (pages, dropped): (Vec<TenantPages>, Vec<RoaringBitmap>)) {
        self.pages = pages;
        for ((_, held), dropped) in self.small.tenants.iter_mut().zip(dropped) {
            *held = dropped;
        }
    }

    /// Works out what a change writes. `whole`: the small tables and the last pages are written as they then are,
    /// whatever the file has.
    pub(super) fn prepare(&self, change: &Change, whole: bool) -> Result<Prepared, FileError> {
        let mut prepared = Prepared {
            small: self.small.clone(),
            ..Prepared::default()
        };
        let Prepared { writes, small, pages } = &mut prepared;
        for (tenant, list) in &change.series {
            let number = small.tenant(tenant)?;
            let known = self.pages.get(usize::from(number));
            let growth = pages.entry(number).or_insert_with(|| Growth::of(known));
            growth.add(list, known, &self.keys, number, writes);
        }
        small.change(change, writes)?;
        if whole {
            small.write_all(writes);
            for (number, known) in (0..).zip(&self.pages) {
                pages.entry(number).or_insert_with(|| Growth::of(Some(known)));
            }
        }
        for (number, growth) in pages.iter_mut() {
            let key = |(page, bytes): (u32, Vec<u8>)| ((*number, page), summed(&bytes));
            writes.pairs.extend(growth.pairs.flush(whole).map(key));
            writes.series.extend(growth.series.flush(whole).map(key));
        }
        for (number, row) in &mut writes.dropped {
            let mut bytes = Vec::new();
            small.tenants[usize::from(*number)].1.serialize_into(&mut bytes)?;
            *row = summed(&bytes);
        }
        for number in 0..small.tenants.len() {
            let grown = pages.get(&(number as u16)).map(|g| (&g.pairs, &g.series));
            let kept = self.pages.get(number).map(|p| (&p.pairs, &p.series));
            let count = grown
                .or(kept)
                .map_or((0, 0), |(pairs, series)| (pairs.pages(), series.pages()));
            writes.page_counts.push(count);
        }
        writes.head = summed(&head(small, &writes.page_counts).encode_to_vec());
        Ok(prepared)
    }

    /// Lets a change go that a file may have: its place in the order of commits is not used again.
    pub(super) fn skip(&mut self, failed: &Prepared) {
        self.small.commits = failed.small.commits;
    }

    /// Takes a change in that is durable.
    pub(super) fn apply(&mut self, prepared: Prepared) {
        self.small = prepared.small;
        self.pages
            .resize_with(self.small.tenants.len(), TenantPages::default);
        for (number, growth) in prepared.pages {
            let pages = &mut self.pages[usize::from(number)];
            pages.pairs = growth.pairs;
            pages.series = growth.series;
            pages.known.extend(growth.new);
            pages.next_pair = growth.next_pair;
        }
    }
}

fn head(small: &Small, page_counts: &[(u32, u32)]) -> Head {
    let (blocks, sealed, totals) = small.counts();
    let tenants = small.tenants.iter().zip(page_counts);
    Head {
        version: version_of(small),
        commits: small.commits,
        next_gen: small.next_gen,
        blocks,
        sealed,
        totals,
        tenants: tenants
            .map(|((tenant, dropped), (pair_pages, series_pages))| TenantRow {
                name: tenant.to_string(),
                pair_pages: *pair_pages,
                series_pages: *series_pages,
                dropped: dropped.len(),
            })
            .collect(),
    }
}
