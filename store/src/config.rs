//! What an operator may set, with its defaults.

use std::sync::Arc;
use std::time::Duration;

use crate::disk::{Disk, SystemDisk};

/// Bounds and sizes of a store.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the store's files are written and read.
    pub disk: Arc<dyn Disk>,
    /// Free bytes of the file system below which commits are refused, so that what was committed can still be sealed.
    pub min_free_disk: u64,
    /// In-process shards of the heads, named `p000`, `p001`, … on the ring; 1 to 256.
    pub partitions: u32,
    /// How the ring spreads series over the partitions.
    pub algorithm: crate::ring::Algorithm,
    /// Bytes of journal and dictionaries on disk at which [`crate::Store::full`] turns true.
    pub retention_size: u64,
    /// Bytes of a journal file at which the next one is begun.
    pub journal_file_bytes: u64,
    /// Bytes of redb's cache for the journal's newest file, and again for the dictionaries.
    pub cache_bytes: usize,
    /// The longest time a device keeps a record; a session let go is remembered for this and one day.
    pub max_age: Duration,
    /// How far ahead of the bridge's clock a row may be before it is quarantined.
    pub future_limit: Duration,
    /// Bytes of payload that quarantined rows may hold together.
    pub quarantine_bytes: u64,
    /// Bytes of payload that refused records may hold together in the dead-letter table.
    pub dead_letter_bytes: u64,
    /// Refused records in the dead-letter table.
    pub dead_letters: usize,
    /// Label sets of dictionaries kept in memory over all devices; others are read from disk again when needed.
    pub cached_sets: usize,
    /// Rows kept of each of the bridge's own groups of series ([`crate::Store::append_own`]).
    pub own_rows: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            disk: Arc::new(SystemDisk),
            min_free_disk: 64 << 20,
            partitions: 4,
            algorithm: crate::ring::Algorithm::Ketama,
            retention_size: 2 << 30,
            journal_file_bytes: 256 << 20,
            cache_bytes: 8 << 20,
            max_age: Duration::from_secs(7 * 86_400),
            future_limit: Duration::from_secs(600),
            quarantine_bytes: 64 << 20,
            dead_letter_bytes: 4 << 20,
            dead_letters: 1000,
            cached_sets: 1_000_000,
            own_rows: 1440,
        }
    }
}
