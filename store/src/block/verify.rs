//! Reads all of a block and holds it against what it says of itself.

use std::collections::BTreeMap;

use redb::{ReadTransaction, ReadableTable};
use roaring::RoaringBitmap;

use super::page::Page;
use super::reader::{check_key, held, out_of_order};
use super::{Block, CHUNKS, HISTOGRAMS, OWNERS, TIMES, damaged, owner_of_histogram, times};
use crate::chunk;
use crate::journal::{FileError, guard};
use crate::ledger::DeviceRef;

/// What was found in a sound block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) series: u32,
    /// Histograms included.
    pub(crate) samples: u64,
    /// Samples of each device, in order of their numbers.
    pub(crate) owners: Vec<(DeviceRef, u64)>,
}

struct Found {
    /// Owner and count of each times column.
    columns: Vec<(DeviceRef, u32)>,
    with_chunks: RoaringBitmap,
    with_histograms: RoaringBitmap,
    owners: BTreeMap<DeviceRef, u64>,
    samples: u64,
}

impl Block {
    /// Checks every sum, the order of all rows, decodes all samples, and compares counts; `progress` gets the samples
    /// seen so far.
    pub(crate) fn verify(&self, progress: &mut dyn FnMut(u64)) -> Result<Verified, FileError> {
        guard(|| {
            let read = self.begin()?;
            let mut found = Found {
                columns: columns(&read)?,
                with_chunks: RoaringBitmap::new(),
                with_histograms: RoaringBitmap::new(),
                owners: BTreeMap::new(),
                samples: 0,
            };
            found
                .owners
                .extend(found.columns.iter().map(|(owner, _)| (*owner, 0)));
            found.chunks(&read, progress)?;
            found.histograms(&read)?;
            progress(found.samples);
            found.compare(self, &read)?;
            Ok(Verified {
                series: found.with_chunks.union_len(&found.with_histograms) as u32,
                samples: found.samples,
                owners: found.owners.into_iter().collect(),
            })
        })
    }
}

fn columns(read: &ReadTransaction) -> Result<Vec<(DeviceRef, u32)>, FileError> {
    let table = read.open_table(TIMES).map_err(FileError::of)?;
    let (mut columns, mut decoded) = (Vec::new(), Vec::new());
    for row in table.iter().map_err(FileError::of)? {
        let (first, bytes) = row.map_err(FileError::of)?;
        let mut page = Page::open(bytes.value())?;
        if first.value() as usize != columns.len() || page.first() != first.value() {
            return Err(damaged("times columns out of order"));
        }
        while let Some((owner, count, body)) = page.next()? {
            times::decode(body, count as usize, &mut decoded)?;
            columns.push((owner, count));
        }
    }
    Ok(columns)
}

impl Found {
    fn chunks(&mut self, read: &ReadTransaction, progress: &mut dyn FnMut(u64)) -> Result<(), FileError> {
        let table = read.open_table(CHUNKS).map_err(FileError::of)?;
        let (mut last, mut goes_on, mut values) = (None, false, Vec::new());
        for row in table.iter().map_err(FileError::of)? {
            let (key, bytes) = row.map_err(FileError::of)?;
            let mut page = Page::open(bytes.value())?;
            check_key(key.value(), &page)?;
            let mut at = page.first();
            // A page begins with the series of the one before exactly if that one says so.
            if goes_on != (last == Some(at)) || last > Some(at) || goes_on != (key.value() as u32 > 0) {
                return Err(out_of_order());
            }
            while let Some((step, column, chunk)) = page.next()? {
                at = at.checked_add(step).ok_or_else(out_of_order)?;
                let column = self.columns.get(column as usize);
                let (owner, count) = *column.ok_or_else(|| damaged("a times column is missing"))?;
                values.clear();
                chunk::decode(chunk, count as usize, &mut values)
                    .map_err(|error| damaged(format!("series {at}: {error}")))?;
                self.with_chunks.insert(at);
                self.count(owner, u64::from(count));
            }
            last = Some(at);
            goes_on = page.goes_on();
            progress(self.samples);
        }
        match goes_on {
            true => Err(damaged("its last page says that there is another")),
            false => Ok(()),
        }
    }

    fn histograms(&mut self, read: &ReadTransaction) -> Result<(), FileError> {
        let table = read.open_table(HISTOGRAMS).map_err(FileError::of)?;
        for row in table.iter().map_err(FileError::of)? {
            let (key, row) = row.map_err(FileError::of)?;
            let (owner, _) = owner_of_histogram(row.value())?;
            self.with_histograms.insert(key.value().0);
            self.count(owner, 1);
        }
        Ok(())
    }

    fn count(&mut self, owner: DeviceRef, samples: u64) {
        *self.owners.entry(owner).or_default() += samples;
        self.samples += samples;
    }

    fn compare(&self, block: &Block, read: &ReadTransaction) -> Result<(), FileError> {
        let mut of_owner: BTreeMap<DeviceRef, Vec<u32>> = BTreeMap::new();
        for (number, (owner, _)) in (0..).zip(&self.columns) {
            of_owner.entry(*owner).or_default().push(number);
        }
        let table = read.open_table(OWNERS).map_err(FileError::of)?;
        let mut owners = BTreeMap::new();
        for row in table.iter().map_err(FileError::of)? {
            let (owner, row) = row.map_err(FileError::of)?;
            let held = held(row.value())?;
            if of_owner.remove(&owner.value()).unwrap_or_default() != held.columns {
                return Err(damaged("a device's row has other columns than the times"));
            }
            owners.insert(owner.value(), held.samples);
        }
        let head = block.head();
        let series = self.with_chunks.union_len(&self.with_histograms);
        let same_ids = block.has_ids(&self.with_chunks, &self.with_histograms);
        let counts = (series, self.samples, self.columns.len());
        let said = (u64::from(head.series), head.samples, head.columns as usize);
        if owners != self.owners || counts != said || !same_ids {
            return Err(damaged("its counts are not those of what is in it"));
        }
        Ok(())
    }
}
