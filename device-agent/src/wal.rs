//! The write-ahead log: every record is in it before it is published. docs/wal.md has the format and its argument.
//!
//! Calls block on the disk; the agent makes them off its event loop.

mod alerts;
mod append;
mod disk;
mod folder;
mod format;
mod gaps;
mod house;
mod known;
mod ledger;
mod log;
mod meta;
mod reader;
mod recover;
mod replay;
mod segment;
mod session;
#[cfg(test)]
mod tests;
mod writer;

use std::path::PathBuf;
use std::time::Duration;

pub(crate) use alerts::{AlertEntry, LoggedAlert, ReadAlerts};
pub(crate) use gaps::{Gap, Reason};
pub(crate) use known::Known;
pub(crate) use ledger::Ledger;
pub(crate) use log::Wal;
pub(crate) use reader::{LoggedRow, ReadLimit, ReadRows};
pub(crate) use replay::{Logged, has_logged, replay};
pub(crate) use session::{Anchor, Session};

/// Where the log is and how much it may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalConfig {
    /// A folder, or memory.
    pub storage: Storage,
    /// Most bytes of all segments; at least a few segments of 16 KiB are used whatever it says.
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

/// What went wrong with the log, counted since the start of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Faults {
    /// Appends that failed; their rows were dropped.
    pub(crate) append: u64,
    /// Meta files that could not be written or read.
    pub(crate) meta: u64,
    /// Segments that could not be read.
    pub(crate) read: u64,
    /// Damaged stretches with intact records after them.
    pub(crate) corrupt: u64,
    /// Damaged ends of segments.
    pub(crate) torn: u64,
}
