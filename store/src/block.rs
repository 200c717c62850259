//! Block files: one tenant's samples of one window or day in one partition.
//!
//! A block is a redb database written in one transaction, closed, renamed, and never written again. Tables:
//!
//! - `meta`: "block" -> sum, then a protobuf ([`Head`])
//! - `chunks`: u64 -> page of (series id step, times column, chunk) from the page's first id on; the key is that id << 32,
//!   plus, if the page goes on with the series of the one before, how many have done so
//! - `times`: u32, first column -> page of (owner, count, times)
//! - `owners`: u32, a device's number -> sum, samples of it, columns of it (varints, the columns as steps)
//! - `histograms`: (u32 series, i64 time) -> sum, owner (varint), a native histogram (protobuf)
//! - `series`: 0 -> sum, roaring bitmap of the series with chunks; 1 -> the same of those with histograms
//!
//! Pages are of `page`; a sum is the CRC32C of what follows it, 4 bytes, little-endian: redb checks its own only when it
//! repairs. A series stands once or more, in order; of one time the later one wins. A chunk has as many values as its
//! times column has times.

mod checked;
mod columns;
mod files;
mod merge;
mod page;
mod reader;
#[cfg(test)]
mod tests;
mod times;
mod verify;
mod writer;

use redb::TableDefinition;
use wire::Tenant;
use wire::varint::Reader;

use crate::journal::FileError;
use crate::ledger::DeviceRef;

pub(crate) use files::{BlockFile, Blocks};
pub(crate) use merge::{MAX_VALUES, merge};
pub(crate) use reader::Block;
pub(crate) use times::ColumnTimes;
pub(crate) use writer::{TimesId, Writer};

/// Format version of block files.
pub(crate) const VERSION: u32 = 1;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const CHUNKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("chunks");
const TIMES: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("times");
const OWNERS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("owners");
const HISTOGRAMS: TableDefinition<'_, (u32, i64), &[u8]> = TableDefinition::new("histograms");
const SERIES: TableDefinition<'_, u8, &[u8]> = TableDefinition::new("series");

/// The key of the only row of `meta`.
const BLOCK: &str = "block";

/// Keys of `series`.
const WITH_CHUNKS: u8 = 0;
const WITH_HISTOGRAMS: u8 = 1;

/// What the catalog knows of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlockMeta {
    pub(crate) tenant: Tenant,
    /// The first time of its window or day, ms.
    pub(crate) start_ms: i64,
    /// The first time after it, ms.
    pub(crate) end_ms: i64,
    /// Rises with every block of a partition; of one time the higher one wins.
    pub(crate) generation: u64,
    /// Time of the earliest sample, ms.
    pub(crate) min_time: i64,
    /// Time of the latest sample, ms.
    pub(crate) max_time: i64,
    pub(crate) series: u32,
    /// Samples in the file, histograms included.
    pub(crate) samples: u64,
    /// Bytes that the file takes on disk; its end is sparse.
    pub(crate) bytes: u64,
    /// Samples of each device in the file, in order of their numbers; in the catalog less those whose time and series an
    /// older block of the window has, so that sums over blocks count none twice.
    pub(crate) owners: Vec<(DeviceRef, u64)>,
    /// The file's name in the partition's folder.
    pub(crate) file: String,
}

/// The row of `meta`.
#[derive(Clone, PartialEq, prost::Message)]
struct Head {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(string, tag = "2")]
    tenant: String,
    #[prost(sint64, tag = "3")]
    start_ms: i64,
    #[prost(sint64, tag = "4")]
    end_ms: i64,
    #[prost(uint64, tag = "5")]
    generation: u64,
    #[prost(sint64, tag = "6")]
    min_time: i64,
    #[prost(sint64, tag = "7")]
    max_time: i64,
    #[prost(uint32, tag = "8")]
    series: u32,
    #[prost(uint64, tag = "9")]
    samples: u64,
    #[prost(uint32, tag = "10")]
    columns: u32,
}

/// Bytes after their sum.
pub(crate) fn summed(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + bytes.len());
    out.extend_from_slice(&crc32c::crc32c(bytes).to_le_bytes());
    out.extend_from_slice(bytes);
    out
}

/// Bytes whose sum is right.
pub(crate) fn unsummed(bytes: &[u8]) -> Result<&[u8], FileError> {
    match bytes.split_first_chunk::<4>() {
        Some((sum, rest)) if crc32c::crc32c(rest) == u32::from_le_bytes(*sum) => Ok(rest),
        _ => Err(damaged("a row's checksum is wrong")),
    }
}

/// The owner and the bytes of a histogram's row.
fn owner_of_histogram(row: &[u8]) -> Result<(DeviceRef, &[u8]), FileError> {
    let mut reader = Reader::new(unsummed(row)?);
    match reader.varint().ok().and_then(|owner| u32::try_from(owner).ok()) {
        Some(owner) => Ok((owner, reader.rest())),
        None => Err(damaged("a histogram's row is malformed")),
    }
}

fn damaged(what: impl Into<String>) -> FileError {
    FileError::Damaged(what.into())
}

impl From<page::PageError> for FileError {
    fn from(error: page::PageError) -> Self {
        damaged(error.to_string())
    }
}

/// Decodes all of a page but its sum as chunks of `count` values; how many there are, or `None` if it is malformed.
pub(crate) fn read_page(bytes: &[u8], count: usize) -> Option<usize> {
    let mut page = page::Page::parse(bytes).ok()?;
    let (mut values, mut chunks) = (Vec::new(), 0);
    while let Some((_, _, body)) = page.next().ok()? {
        values.clear();
        crate::chunk::decode(body, count, &mut values).ok()?;
        chunks += 1;
    }
    Some(chunks)
}
