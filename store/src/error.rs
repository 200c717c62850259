//! Errors, one enum per operation; the variants are what a caller decides on.

use std::io;
use std::path::PathBuf;

use wire::DeviceName;
use wire::dict::DictHash;

/// Why a folder does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{0} is locked: another process serves this folder")]
    Locked(PathBuf),
    /// A newer backhaul wrote it.
    #[error(
        "{path} has format version {found}, this backhaul reads up to {known}; use the version that wrote it"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// A file is damaged and cannot be set aside without losing more than it holds.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How.
        what: String,
    },
    /// The configuration contradicts itself.
    #[error("{0}")]
    Config(String),
    /// The disk or the file system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// Why a commit did not happen. Nothing of it took effect, and the store goes on.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The disk refused (full, or failing); try again later.
    #[error("the journal cannot be written: {0}")]
    Disk(String),
    /// Too little room is left on the disk; try again when there is more.
    #[error(
        "{free} bytes are free on the disk and {needed} are to stay free; make room or lower the retention"
    )]
    NoRoom {
        /// Free bytes.
        free: u64,
        /// Bytes that are to stay free.
        needed: u64,
    },
    /// A batch names a dictionary that was never put.
    #[error("device {device} has no dictionary {hash:?}; put it before its batches")]
    UnknownDictionary {
        /// Who.
        device: DeviceName,
        /// Which.
        hash: DictHash,
    },
}

/// Why the hashrings stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashringsError {
    /// A store has no more than [`crate::MAX_PARTITIONS`].
    #[error(
        "the store would have {0} partitions, those that left the hashrings included; it can have {max}: \
         name partitions that are there already",
        max = crate::MAX_PARTITIONS
    )]
    TooManyPartitions(usize),
}

/// Why a query has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// It would read more samples than allowed.
    #[error("the query would read more than {limit} samples")]
    TooManySamples {
        /// The limit given.
        limit: usize,
    },
    /// It would take more memory than it was given.
    #[error("the query would take more memory than it is given")]
    TooMuchMemory,
    /// Nobody waits for it any more.
    #[error("the query was interrupted")]
    Interrupted,
    /// A block that has samples of it cannot be read.
    #[error("{0}")]
    Unreadable(String),
}

/// A file or record that was put aside at start, for the log and the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file, at its new place if it was moved.
    pub path: PathBuf,
    /// What is wrong with it and what was done.
    pub what: String,
}
