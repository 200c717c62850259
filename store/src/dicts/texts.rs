//! Texts that dictionaries share, each once: key -> payload codec byte and text.
//!
//! The key is the XXH3-128 of the text, or the next number above it that has no other text, as devices choose texts: one
//! that is made to collide costs a look more and takes nobody's place. A text is written in the transaction that first
//! names it and goes in the one that takes its last name away.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;
use redb::{ReadOnlyTable, ReadableTable, Table, TableDefinition, WriteTransaction};
use wire::limits::MAX_BODY;
use wire::payload;
use xxhash_rust::xxh3::xxh3_128;

use crate::journal::FileError;

pub(super) const TEXTS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("texts");

/// How many texts are remembered with their keys.
const RECENT: usize = 16;

/// Texts that were named lately, so that the next device's need not be read to be compared.
#[derive(Debug, Clone, Default)]
pub(super) struct Recent(VecDeque<(u128, Bytes)>);

impl Recent {
    fn key(&self, text: &[u8]) -> Option<u128> {
        let mut known = self.0.iter();
        known.find(|(_, known)| known == text).map(|(key, _)| *key)
    }

    fn push(&mut self, key: u128, text: Bytes) {
        self.0.truncate(RECENT - 1);
        self.0.push_front((key, text));
    }
}

/// The key of a text, which is written if it is not there.
pub(super) fn put(
    table: &mut Table<'_, u128, &'static [u8]>,
    recent: &mut Recent,
    text: Bytes,
) -> Result<u128, FileError> {
    if let Some(key) = recent.key(&text) {
        return Ok(key);
    }
    let mut key = xxh3_128(&text);
    loop {
        let known = table
            .get(key)
            .map_err(FileError::of)?
            .map(|known| is(known.value(), &text));
        if known == Some(false) {
            key = key.wrapping_add(1);
            continue;
        }
        if known.is_none() {
            let sealed = payload::seal(&text);
            table.insert(key, sealed.as_slice()).map_err(FileError::of)?;
        }
        recent.push(key, text);
        return Ok(key);
    }
}

/// Whether a value is a text.
fn is(value: &[u8], text: &[u8]) -> bool {
    payload::open(value, MAX_BODY).is_ok_and(|known| *known == *text)
}

/// A text by its key.
pub(super) fn get(table: &ReadOnlyTable<u128, &'static [u8]>, key: u128) -> Option<Bytes> {
    let sealed = table.get(key).ok()??;
    let text = payload::open(sealed.value(), MAX_BODY).ok()?;
    Some(text.into_owned().into())
}

/// Removes all texts but some.
pub(super) fn keep(txn: &WriteTransaction, used: &HashSet<u128>) -> Result<(), FileError> {
    let mut table = txn.open_table(TEXTS).map_err(FileError::of)?;
    table.retain(|key, _| used.contains(&key)).map_err(FileError::of)
}
