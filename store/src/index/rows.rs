//! Rows of the small tables.

use wire::Tenant;
use wire::varint::{Reader, put};

use crate::block::BlockMeta;
use crate::journal::FileError;
use crate::tally::Tally;

/// The row of `meta`; its counts tell a lost row.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Head {
    #[prost(uint64, tag = "1")]
    pub(super) version: u64,
    /// Rises with every transaction.
    #[prost(uint64, tag = "2")]
    pub(super) commits: u64,
    #[prost(uint64, tag = "3")]
    pub(super) next_gen: u64,
    #[prost(uint32, tag = "4")]
    pub(super) blocks: u32,
    #[prost(uint32, tag = "5")]
    pub(super) sealed: u32,
    #[prost(uint32, tag = "6")]
    pub(super) totals: u32,
    /// By their numbers.
    #[prost(message, repeated, tag = "7")]
    pub(super) tenants: Vec<TenantRow>,
}

/// A tenant and how many pages it has.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TenantRow {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(uint32, tag = "2")]
    pub(super) pair_pages: u32,
    #[prost(uint32, tag = "3")]
    pub(super) series_pages: u32,
    /// How many series were dropped.
    #[prost(uint64, tag = "4")]
    pub(super) dropped: u64,
}

/// A block of the catalog.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct BlockRow {
    #[prost(string, tag = "1")]
    tenant: String,
    #[prost(sint64, tag = "2")]
    start_ms: i64,
    #[prost(sint64, tag = "3")]
    end_ms: i64,
    #[prost(sint64, tag = "4")]
    min_time: i64,
    #[prost(sint64, tag = "5")]
    max_time: i64,
    #[prost(uint32, tag = "6")]
    series: u32,
    #[prost(uint64, tag = "7")]
    samples: u64,
    #[prost(uint64, tag = "8")]
    bytes: u64,
    #[prost(string, tag = "9")]
    file: String,
    /// Devices, as steps.
    #[prost(uint32, repeated, tag = "10")]
    owners: Vec<u32>,
    #[prost(uint64, repeated, tag = "11")]
    owner_samples: Vec<u64>,
}

impl BlockRow {
    pub(super) fn of(meta: &BlockMeta) -> Self {
        let mut last = 0;
        let owners = meta.owners.iter().map(|(owner, _)| {
            let step = owner.wrapping_sub(last);
            last = *owner;
            step
        });
        BlockRow {
            tenant: meta.tenant.to_string(),
            start_ms: meta.start_ms,
            end_ms: meta.end_ms,
            min_time: meta.min_time,
            max_time: meta.max_time,
            series: meta.series,
            samples: meta.samples,
            bytes: meta.bytes,
            file: meta.file.clone(),
            owners: owners.collect(),
            owner_samples: meta.owners.iter().map(|(_, samples)| *samples).collect(),
        }
    }

    pub(super) fn meta(self, generation: u64) -> Result<BlockMeta, FileError> {
        let malformed = || FileError::Damaged("a block's row is malformed".into());
        // A file's name that leads out of its folder is not one that was written here.
        if self.owners.len() != self.owner_samples.len() || self.file.contains('/') {
            return Err(malformed());
        }
        let owners = self.owners.into_iter().scan(0u32, |last, step| {
            *last = last.wrapping_add(step);
            Some(*last)
        });
        Ok(BlockMeta {
            tenant: Tenant::new(self.tenant).map_err(|_| malformed())?,
            start_ms: self.start_ms,
            end_ms: self.end_ms,
            generation,
            min_time: self.min_time,
            max_time: self.max_time,
            series: self.series,
            samples: self.samples,
            bytes: self.bytes,
            owners: owners.zip(self.owner_samples).collect(),
            file: self.file,
        })
    }
}

/// A device's totals as varints; behind them, which older programs do not read, per file the step to its first number and the
/// samples taken of it.
pub(super) fn tally_row(tally: &Tally) -> Vec<u8> {
    let mut row = Vec::with_capacity(16);
    for count in [
        tally.taken,
        tally.same,
        tally.conflict,
        tally.retention,
        tally.damaged,
    ] {
        put(&mut row, count);
    }
    let mut last = 0;
    for (file, samples) in tally.by_file.iter() {
        put(&mut row, file - last);
        put(&mut row, *samples);
        last = file;
    }
    row
}

pub(super) fn read_tally(row: &[u8]) -> Result<Tally, FileError> {
    let malformed = || FileError::Damaged("a device's totals are malformed".into());
    let mut reader = Reader::new(row);
    let mut next = || reader.varint().map_err(|_| malformed());
    let mut tally = Tally {
        taken: next()?,
        same: next()?,
        conflict: next()?,
        retention: next()?,
        damaged: next()?,
        ..Tally::default()
    };
    let mut file = 0u64;
    while !reader.is_empty() {
        let mut next = || reader.varint().map_err(|_| malformed());
        file = file.checked_add(next()?).ok_or_else(malformed)?;
        tally.by_file.insert(file, next()?);
    }
    Ok(tally)
}
