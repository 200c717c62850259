//! Flags and settings of the store and of what memory it may fill.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bridge::{Budgets, HashringFile};
use clap::Args;
use serde::Deserialize;
use store::TenantConfig;
use store::ring::Algorithm;
use wire::Tenant;
use wire::units::{ByteSize, PromDuration};

use crate::folder::Folder;
use crate::settings::parse;

/// The default of `--memory.allowed-percent`.
const ALLOWED_PERCENT: u8 = 60;

/// The most that is kept free by default.
const MOST_MIN_FREE: u64 = 1 << 30;

/// Flags of the store; what is given here wins over the file.
#[derive(Debug, Args)]
pub(crate) struct StorageArgs {
    /// Folder of the store [default: DIR/data]
    #[arg(long = "storage.path")]
    path: Option<PathBuf>,
    /// How long samples are kept [default: 15d]
    #[arg(long = "storage.retention.time")]
    retention_time: Option<PromDuration>,
    /// Bytes of blocks that are kept, the newest; 0: no limit [default: 0]
    #[arg(long = "storage.retention.size")]
    retention_size: Option<ByteSize>,
    /// Free bytes on the store's disk below which nothing is taken in [default: 5 % of it, at most 1GB]
    #[arg(long = "storage.min-free-disk")]
    min_free_disk: Option<ByteSize>,
    /// Active series of a tenant; what would exceed it is dropped and counted; 0: no limit [default: 0]
    #[arg(long = "storage.max-series-per-tenant")]
    max_series_per_tenant: Option<usize>,
    /// Active series of a device; 0: no limit [default: 100000]
    #[arg(long = "storage.max-series-per-device")]
    max_series_per_device: Option<usize>,
    /// Percent of the memory (the control group's limit, else the machine's) that samples in memory, ingest and queries
    /// may fill [default: 60]
    #[arg(long = "memory.allowed-percent", value_parser = clap::value_parser!(u8).range(1..=100))]
    allowed_percent: Option<u8>,
    /// Hashring file in Thanos Receive's format; its endpoints name partitions of the store [default: one ketama ring of
    /// p000 to p003]. Read again when it changes and on SIGHUP
    #[arg(long = "receive.hashrings-file")]
    hashrings_file: Option<PathBuf>,
    /// How rings of the file hash that do not say it: hashmod or ketama [default: hashmod]
    #[arg(long = "receive.hashrings-algorithm")]
    hashrings_algorithm: Option<Algorithm>,
}

/// Where the store is, its bounds, and what follows from the memory.
#[derive(Debug)]
pub(crate) struct Storage {
    /// The folder.
    pub(crate) path: PathBuf,
    /// Bounds of the store, but the hashrings, which are read when it is opened.
    pub(crate) config: store::Config,
    /// Shares of the memory.
    pub(crate) budgets: Budgets,
    /// The hashring file.
    pub(crate) hashrings: Option<HashringFile>,
}

impl Storage {
    /// The defaults for a folder.
    pub(crate) fn of_folder(path: PathBuf) -> Self {
        let budgets = Budgets::of_percent(ALLOWED_PERCENT);
        let config = store::Config {
            min_free_disk: default_min_free(&path),
            head_bytes: budgets.heads,
            late_bytes: budgets.late,
            ..store::Config::default()
        };
        Storage {
            path,
            config,
            budgets,
            hashrings: None,
        }
    }

    /// A bridge's settings, with its shares of the memory.
    pub(crate) fn configure(&self, config: bridge::Config) -> bridge::Config {
        bridge::Config {
            ingest_budget: self.budgets.ingest,
            query_max_samples: self.budgets.query_samples,
            query_max_bytes: self.budgets.query_bytes,
            query_total_bytes: self.budgets.query_total_bytes,
            hashrings: self.hashrings.clone(),
            ..config
        }
    }
}

impl StorageArgs {
    /// The flags' values, the file's or the defaults.
    pub(crate) fn resolve(self, file: &StorageFile, folder: &Folder) -> Storage {
        let path = self.path.or_else(|| file.path.clone());
        let path = path.unwrap_or_else(|| folder.data());
        let percent = self.allowed_percent.or(file.allowed_percent);
        let budgets = Budgets::of_percent(percent.unwrap_or(ALLOWED_PERCENT));
        let default = store::Config::default();
        let time = self.retention_time.or(file.retention.time);
        let size = self.retention_size.or(file.retention.size);
        let min_free = self.min_free_disk.or(file.min_free_disk);
        let per_tenant = self.max_series_per_tenant.or(file.max_series_per_tenant);
        let per_device = self.max_series_per_device.or(file.max_series_per_device);
        let config = store::Config {
            min_free_disk: min_free.map_or_else(|| default_min_free(&path), ByteSize::get),
            retention_time: time.map_or(default.retention_time, PromDuration::get),
            retention_size: size.map_or(default.retention_size, ByteSize::get),
            max_series_per_tenant: per_tenant.unwrap_or(default.max_series_per_tenant),
            max_series_per_device: per_device.unwrap_or(default.max_series_per_device),
            tenants: file.tenants.clone().into_iter().collect(),
            head_bytes: budgets.heads,
            late_bytes: budgets.late,
            ..default
        };
        let algorithm = self.hashrings_algorithm.or(file.hashrings_algorithm);
        let hashrings = self.hashrings_file.or_else(|| file.hashrings_file.clone());
        Storage {
            path,
            config,
            budgets,
            hashrings: hashrings.map(|path| HashringFile {
                path,
                algorithm: algorithm.unwrap_or(Algorithm::Hashmod),
                reload: Arc::default(),
            }),
        }
    }
}

/// 5 % of the file system that a folder is or will be on, at most [`MOST_MIN_FREE`].
fn default_min_free(path: &Path) -> u64 {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = absolute.ancestors().find(|ancestor| ancestor.exists());
    let size = there
        .and_then(|there| nix::sys::statvfs::statvfs(there).ok())
        .map(|fs| fs.blocks().saturating_mul(fs.fragment_size()));
    size.map_or(MOST_MIN_FREE, |size| (size / 20).min(MOST_MIN_FREE))
}

/// `storage`, `memory` and `receive` of the configuration file.
#[derive(Debug, Default)]
pub(crate) struct StorageFile {
    path: Option<PathBuf>,
    retention: Retention,
    min_free_disk: Option<ByteSize>,
    max_series_per_tenant: Option<usize>,
    max_series_per_device: Option<usize>,
    tenants: BTreeMap<Tenant, TenantConfig>,
    allowed_percent: Option<u8>,
    hashrings_file: Option<PathBuf>,
    hashrings_algorithm: Option<Algorithm>,
}

#[derive(Debug, Default)]
struct Retention {
    time: Option<PromDuration>,
    size: Option<ByteSize>,
}

/// `storage` as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawStorage {
    path: Option<PathBuf>,
    retention: RawRetention,
    min_free_disk: Option<String>,
    max_series_per_tenant: Option<usize>,
    max_series_per_device: Option<usize>,
    tenants: BTreeMap<String, RawTenant>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawRetention {
    time: Option<String>,
    size: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawTenant {
    retention: RawRetention,
    max_series: Option<usize>,
}

/// `memory` as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawMemory {
    allowed_percent: Option<u8>,
}

/// `receive` as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawReceive {
    hashrings_file: Option<PathBuf>,
    hashrings_algorithm: Option<String>,
}

impl StorageFile {
    /// Checks what was written; an error names its key.
    pub(crate) fn new(storage: RawStorage, memory: &RawMemory, receive: RawReceive) -> Result<Self> {
        if let Some(percent) = memory.allowed_percent
            && !(1..=100).contains(&percent)
        {
            bail!("memory.allowed_percent: {percent} is not between 1 and 100");
        }
        let tenants = storage.tenants.into_iter().map(|(name, tenant)| {
            let key = format!("storage.tenants.{name}");
            let retention = tenant.retention.checked(&key)?;
            let config = TenantConfig {
                retention_time: retention.time.map(PromDuration::get),
                retention_size: retention.size.map_or(0, ByteSize::get),
                max_series: tenant.max_series,
            };
            Ok((Tenant::new(name).context(key)?, config))
        });
        Ok(StorageFile {
            tenants: tenants.collect::<Result<_>>()?,
            path: storage.path,
            retention: storage.retention.checked("storage")?,
            min_free_disk: parse(storage.min_free_disk).context("storage.min_free_disk")?,
            max_series_per_tenant: storage.max_series_per_tenant,
            max_series_per_device: storage.max_series_per_device,
            allowed_percent: memory.allowed_percent,
            hashrings_file: receive.hashrings_file,
            hashrings_algorithm: parse(receive.hashrings_algorithm).context("receive.hashrings_algorithm")?,
        })
    }
}

impl RawRetention {
    fn checked(self, key: &str) -> Result<Retention> {
        let time: Option<PromDuration> = parse(self.time).with_context(|| format!("{key}.retention.time"))?;
        if time.is_some_and(|time| time.get() == Duration::ZERO) {
            bail!("{key}.retention.time: it must be longer than 0");
        }
        let size = parse(self.size).with_context(|| format!("{key}.retention.size"))?;
        Ok(Retention { time, size })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        storage: StorageArgs,
    }

    fn file(text: &str) -> Result<StorageFile> {
        StorageFile::new(
            serde_saphyr::from_str(text)?,
            &RawMemory::default(),
            RawReceive::default(),
        )
    }

    fn resolve(flags: &[&str], text: &str) -> Storage {
        let flags = Flags::parse_from(std::iter::once(&"x").chain(flags));
        flags
            .storage
            .resolve(&file(text).unwrap(), &Folder::new("/nonexistent/dir"))
    }

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let text = "retention: {time: 30d, size: 10GB}\nmin_free_disk: 2GB\nmax_series_per_device: 7\n";
        let found = resolve(&["--storage.retention.time", "1d"], text);
        assert_eq!(found.path, Path::new("/nonexistent/dir/data"));
        assert_eq!(found.config.retention_time, DAY);
        assert_eq!(found.config.retention_size, 10 << 30);
        assert_eq!(found.config.min_free_disk, 2 << 30);
        assert_eq!(found.config.max_series_per_device, 7);
        let default = resolve(&[], "{}");
        assert_eq!(default.config.retention_time, 15 * DAY);
        assert!((1..=MOST_MIN_FREE).contains(&default.config.min_free_disk));
        assert_eq!(default.config.head_bytes, default.budgets.heads);
        let half = resolve(&["--memory.allowed-percent", "30"], "{}");
        assert!(half.budgets.heads < default.budgets.heads);
    }

    #[test]
    fn a_tenant_may_have_bounds_of_its_own() {
        let found = resolve(&[], "tenants:\n  acme: {retention: {time: 90d}, max_series: 5}\n");
        let acme = found.config.tenants[&Tenant::new("acme").unwrap()];
        assert_eq!((acme.retention_time, acme.max_series), (Some(90 * DAY), Some(5)));
        for (text, key) in [
            ("tenants: {a.b: {}}", "storage.tenants.a.b"),
            (
                "tenants: {a: {retention: {time: soon}}}",
                "storage.tenants.a.retention.time",
            ),
            ("retention: {time: 0s}", "storage.retention.time"),
            ("min_free_disk: much", "storage.min_free_disk"),
        ] {
            let error = format!("{:#}", file(text).unwrap_err());
            assert!(error.contains(key), "{error}");
        }
    }
}
