//! The journal, the ledger of what was delivered, heads and blocks.
//!
//! A [`Store`] owns one folder. [`Store::commit`] makes a group of deliveries durable in one transaction of the
//! journal, drops rows that are settled already one by one, and then puts the new rows into the heads, where queries
//! find them. [`Store::maintain`] writes what is over into blocks and frees the journal. At start the ledger and what is in
//! no block yet are rebuilt from the journal. docs/store.md has the format and why a crash at any point loses nothing and
//! doubles nothing.

mod block;
mod check;
mod chunk;
mod config;
mod cursors;
mod dicts;
mod disk;
mod dump;
mod entry;
mod error;
mod few;
mod heads;
mod index;
mod journal;
mod keys;
mod ledger;
mod letters;
mod matcher;
mod metadata;
mod overlay;
mod plan;
mod quarantine;
mod query;
mod receipt;
mod record;
mod results;
pub mod ring;
mod rings;
mod seal;
mod sealed;
#[doc(hidden)]
pub mod seam;
mod snapshot;
mod status;
mod store;
mod subset;
mod tail;
mod tally;
mod window;

pub use check::{Report, Step, check};
pub use config::{Config, TenantConfig};
pub use cursors::Cursor;
pub use dicts::NewDictionary;
pub use disk::{Access, Disk, SystemDisk};
pub use dump::{DumpError, Dumped, Wanted, dump};
pub use entry::{BatchEntry, Entry, Lane, RefusedReason, Seen};
pub use error::{CommitError, Damage, HashringsError, OpenError, SelectError};
pub use heads::Selection;
pub use ledger::{DeviceLedger, GapView, Reasons, SessionLedger};
pub use letters::DeadLetter;
pub use matcher::{Matcher, Predicate, Test};
pub use metadata::Metadata;
pub use quarantine::Quarantined;
pub use query::{ReadBack, ReadLimits, SeriesSlice};
pub use receipt::{Receipt, SessionReceipt, StoredAlert};
pub use results::{OwnSample, OwnValue, Recorded};
pub use rings::{Hashring, HashringError, Hashrings, MAX_FILE, MAX_PARTITIONS};
pub use snapshot::{Beside, SNAPSHOTS, SnapshotError};
pub use status::{ActiveSeries, HeadStatus};
pub use store::{Lacking, Pressure, Progress, Room, Round, Store, Usage};
pub use tail::{HistogramSample, Piece, Place, Resolve, Rows, Sample, Skipped, Tail, TailError, Unpassed};
