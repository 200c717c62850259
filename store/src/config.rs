//! What an operator may set, with its defaults.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use wire::{Tenant, Timestamp};

use crate::disk::{Disk, SystemDisk};

/// Bounds and sizes of a store.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the store's files are written and read.
    pub disk: Arc<dyn Disk>,
    /// Free bytes of the file system below which commits are refused, so that what was committed can still be sealed.
    pub min_free_disk: u64,
    /// Which partition holds which series; [`crate::Store::set_hashrings`] changes it.
    pub hashrings: crate::rings::Hashrings,
    /// How long samples are kept; rows that are older when they arrive are dropped.
    pub retention_time: Duration,
    /// Bytes of blocks that are kept; the oldest go first. 0: as many as there are.
    pub retention_size: u64,
    /// What is different for a tenant.
    pub tenants: HashMap<Tenant, TenantConfig>,
    /// Series of one device that have rows in memory, or had lately; a list of series that would exceed it is dropped. 0: no
    /// limit.
    pub max_series_per_device: usize,
    /// The same for all series of a tenant.
    pub max_series_per_tenant: usize,
    /// Bytes of a journal file at which the next one is begun.
    pub journal_file_bytes: u64,
    /// Bytes of journal files at which windows are sealed for their sake. At twice as many nothing is granted.
    pub journal_bytes: u64,
    /// Bytes of redb's cache for the journal's newest file, and again for the dictionaries.
    pub cache_bytes: usize,
    /// The longest time a device keeps a record; a session let go is remembered for this and one day.
    pub max_age: Duration,
    /// How far ahead of the bridge's clock a row may be before it is quarantined.
    pub future_limit: Duration,
    /// Bytes of the quarantine table.
    pub quarantine_bytes: u64,
    /// How long a row waits in quarantine for its time to come.
    pub quarantine_time: Duration,
    /// Bytes of payload that refused records may hold together in the dead-letter table.
    pub dead_letter_bytes: u64,
    /// Refused records in the dead-letter table.
    pub dead_letters: usize,
    /// Label sets of dictionaries kept in memory over all devices; others are read from disk again when needed.
    pub cached_sets: usize,
    /// Bytes of rows in memory at which windows are sealed before they are over. At an eighth more no backlog is granted, at
    /// a quarter more nothing.
    pub head_bytes: usize,
    /// The same of rows that came when their window was long over.
    pub late_bytes: usize,
    /// Rows kept of each of the bridge's own groups of series ([`crate::Store::append_own`]).
    pub own_rows: usize,
}

/// What an operator may set for one tenant; `None`: as for all.
#[derive(Debug, Clone, Copy, Default)]
pub struct TenantConfig {
    /// How long samples are kept.
    pub retention_time: Option<Duration>,
    /// Bytes of the tenant's blocks that are kept; 0: no limit of its own.
    pub retention_size: u64,
    /// Series of the tenant; 0: no limit.
    pub max_series: Option<usize>,
}

impl Config {
    /// The oldest time that is kept of a tenant's samples.
    pub(crate) fn oldest_kept(&self, tenant: &Tenant, now: Timestamp) -> Timestamp {
        let own = self.tenants.get(tenant).and_then(|tenant| tenant.retention_time);
        now.minus(own.unwrap_or(self.retention_time))
    }

    /// Series that a tenant may have; 0: no limit.
    pub(crate) fn max_series_of(&self, tenant: &Tenant) -> usize {
        let own = self.tenants.get(tenant).and_then(|tenant| tenant.max_series);
        own.unwrap_or(self.max_series_per_tenant)
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            disk: Arc::new(SystemDisk),
            min_free_disk: 64 << 20,
            hashrings: crate::rings::Hashrings::default(),
            retention_time: Duration::from_secs(15 * 86_400),
            retention_size: 0,
            tenants: HashMap::new(),
            max_series_per_device: 100_000,
            max_series_per_tenant: 0,
            journal_file_bytes: 256 << 20,
            journal_bytes: 2 << 30,
            cache_bytes: 8 << 20,
            max_age: Duration::from_secs(7 * 86_400),
            future_limit: Duration::from_secs(600),
            quarantine_bytes: 64 << 20,
            quarantine_time: Duration::from_secs(7 * 86_400),
            dead_letter_bytes: 4 << 20,
            dead_letters: 1000,
            cached_sets: 100_000,
            head_bytes: 1 << 30,
            late_bytes: 128 << 20,
            own_rows: 1440,
        }
    }
}
