//! The book in a file beside the log's segments: `<wal.dir>/alerts`, replaced by rename. `BHALRT01`, the CRC32C (u32) of the
//! rest, a prost message.
//!
//! It is written before a record is logged, with the alert marked as not logged, and after it; whether a kill in between left
//! the record in the log is looked up there. Without the file, or with a damaged one, every alert that fires is
//! logged once more; one whose source is gone too is left to the bridge.

use std::io;
use std::path::{Path, PathBuf};

use prost::Message;
use wire::Labels;
use wire::message::{Alert, Pair};

use super::book::{Book, Entry, MAX_ALERTS};
use super::posted::Posted;
use crate::durable;

const MAGIC: &[u8; 8] = b"BHALRT01";

/// Larger files are none of ours, bytes.
const MAX_FILE: u64 = 16 << 20;

#[derive(Clone, PartialEq, Message)]
struct StoredBook {
    #[prost(message, repeated, tag = "1")]
    alerts: Vec<StoredAlert>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredAlert {
    /// Of one that fires, `ends_ms` is the end by its latest assertion that was stored.
    #[prost(message, optional, tag = "1")]
    alert: Option<Alert>,
    #[prost(bool, tag = "2")]
    ended: bool,
    #[prost(bool, tag = "3")]
    logged: bool,
    #[prost(uint64, tag = "4")]
    patience_ms: u64,
}

/// Where the book is kept.
#[derive(Debug)]
pub(super) struct BookFile(PathBuf);

impl BookFile {
    /// The file in a log's folder.
    pub(super) fn in_folder(folder: &Path) -> BookFile {
        BookFile(folder.join("alerts"))
    }

    /// What is stored; nothing if there is no file, or it cannot be read, which is logged.
    pub(super) fn read(&self) -> Vec<Entry> {
        match durable::read(&self.0, MAX_FILE) {
            Ok(None) => return Vec::new(),
            Ok(Some(bytes)) => {
                if let Some(entries) = decode(&bytes) {
                    return entries;
                }
                tracing::warn!(file = %self.0.display(), "the known alerts are damaged; those that fire are logged again");
            }
            Err(error) => tracing::warn!(file = %self.0.display(), %error, "cannot read the known alerts"),
        }
        Vec::new()
    }

    /// Replaces the file, durably.
    pub(super) fn write(&self, book: &Book) -> io::Result<()> {
        durable::replace(&self.0, &encode(book))
    }
}

fn encode(book: &Book) -> Vec<u8> {
    let stored = |entry: &Entry| StoredAlert {
        alert: Some(entry.posted.record(Some(entry.posted.ends_ms))),
        ended: entry.ended,
        logged: entry.logged,
        patience_ms: entry.patience_ms,
    };
    let body = StoredBook {
        alerts: book.entries().map(stored).collect(),
    }
    .encode_to_vec();
    let crc = crc32c::crc32c(&body).to_le_bytes();
    [&MAGIC[..], &crc, &body].concat()
}

fn decode(bytes: &[u8]) -> Option<Vec<Entry>> {
    let (crc, body) = bytes.strip_prefix(MAGIC)?.split_at_checked(4)?;
    let intact = crc32c::crc32c(body).to_le_bytes() == crc;
    let stored = intact.then(|| StoredBook::decode(body).ok()).flatten()?;
    stored.alerts.into_iter().take(MAX_ALERTS).map(entry).collect()
}

fn entry(stored: StoredAlert) -> Option<Entry> {
    let alert = stored.alert?;
    let posted = Posted {
        labels: set(&alert.labels)?,
        annotations: set(&alert.annotations)?,
        generator_url: alert.generator_url,
        starts_ms: alert.starts_ms,
        ends_ms: alert.ends_ms,
    };
    Some(Entry::stored(
        posted,
        stored.ended,
        stored.logged,
        stored.patience_ms,
    ))
}

fn set(pairs: &[Pair]) -> Option<Labels> {
    Labels::new(pairs.iter().map(|pair| (&pair.name, &pair.value))).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::alerts::book::tests::{moment, posted};

    #[test]
    fn a_book_is_read_as_it_was_written_and_a_damaged_one_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let file = BookFile::in_folder(dir.path());
        assert!(file.read().is_empty());
        let mut book = Book::default();
        book.assert(posted("Hot", 1000, 60_000), moment(2000)).unwrap();
        book.logged();
        book.assert(posted("Cold", 1000, 1500), moment(2000)).unwrap();
        file.write(&book).unwrap();
        let restored = Book::restored(file.read(), moment(2000));
        let told = |book: &Book| {
            book.entries()
                .map(|e| (e.posted.clone(), e.ended, e.logged))
                .collect::<Vec<_>>()
        };
        assert_eq!(told(&restored), told(&book));
        assert_eq!(restored.unlogged().len(), 1);

        let path = dir.path().join("alerts");
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 4;
            fs::write(&path, &damaged).unwrap();
            assert!(file.read().is_empty(), "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert!(file.read().is_empty(), "cut at {at}");
        }
    }
}
