//! The write-ahead log: every record is in it before it is published. docs/wal.md has the format and its argument.

use std::path::PathBuf;
use std::time::Duration;

/// Where the log is and how much it may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalConfig {
    /// A folder, or memory.
    pub storage: Storage,
    /// Most bytes of all segments.
    pub max_bytes: u64,
    /// Oldest record kept.
    pub max_age: Duration,
    /// When appended records become durable.
    pub sync: SyncPolicy,
}

/// Where segments live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// Files in this folder, created with its parents if it is not there.
    Folder(PathBuf),
    /// Memory: nothing survives the process. For load generators.
    Memory,
}

/// When appended records become durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Before they are published.
    Always,
    /// At least this often; what a power cut takes may already be stored at the bridge.
    Interval(Duration),
    /// When the system pleases.
    Never,
}

/// Why a log could not be opened. A corrupt log opens.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds it.
    #[error("the WAL in {0} belongs to another running agent")]
    Locked(PathBuf),
    /// The folder cannot be made, listed or locked.
    #[error("the WAL folder {path}: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
