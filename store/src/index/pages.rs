//! Pages of pairs and of series, which grow at their end.
//!
//! A tenant's pairs of name and value are numbered as they come: each is the name's length, name, the value's length,
//! value (lengths are varints). A series is the zigzag step of its id from the one before in the page, then:
//!
//! - 0 and a mask, if it has as many pairs as the one before, at most 60: per bit set the zigzag step of the pair from
//!   the one at the same place before
//! - else its number of pairs plus 1, then the pairs
//!
//! A page is compressed with snappy. When it has more than 64 KiB the next one begins, which knows nothing of it.

use wire::varint::{Reader, Short, put, put_signed};

use super::list::SeriesList;
use crate::journal::FileError;

/// Bytes after which a page is full.
const FULL: usize = 64 << 10;

/// Bytes of a page at most: one series or pair goes beyond what is full.
const MAX: usize = 1 << 20;

/// Longer lists are written whole.
const MAX_MASK: usize = 60;

/// The last page of a kind.
#[derive(Debug, Default, Clone)]
pub(super) struct Tail {
    /// Its number.
    page: u32,
    bytes: Vec<u8>,
    id: u32,
    pairs: Vec<u32>,
    changed: bool,
}

impl Tail {
    /// Takes up a page where it ended.
    pub(super) fn go_on(page: u32, bytes: Vec<u8>, last: Option<(u32, Vec<u32>)>) -> Self {
        let (id, pairs) = last.unwrap_or_default();
        Tail {
            page,
            bytes,
            id,
            pairs,
            changed: false,
        }
    }

    pub(super) fn push_pair(&mut self, (name, value): (&str, &str), pages: &mut Vec<(u32, Vec<u8>)>) {
        self.make_room(pages);
        for text in [name, value] {
            put(&mut self.bytes, text.len() as u64);
            self.bytes.extend_from_slice(text.as_bytes());
        }
    }

    pub(super) fn push_series(&mut self, id: u32, pairs: &[u32], pages: &mut Vec<(u32, Vec<u8>)>) {
        self.make_room(pages);
        put_signed(&mut self.bytes, i64::from(id) - i64::from(self.id));
        let same_length = pairs.len() == self.pairs.len() && pairs.len() <= MAX_MASK;
        if same_length {
            let both = || {
                self.pairs
                    .iter()
                    .zip(pairs)
                    .enumerate()
                    .filter(|(_, (a, b))| a != b)
            };
            let mask = both().fold(0, |mask, (at, _)| mask | 1u64 << at);
            self.bytes.push(0);
            put(&mut self.bytes, mask);
            for (_, (before, now)) in both() {
                put_signed(&mut self.bytes, i64::from(*now) - i64::from(*before));
            }
        } else {
            put(&mut self.bytes, pairs.len() as u64 + 1);
            pairs
                .iter()
                .for_each(|pair| put(&mut self.bytes, u64::from(*pair)));
        }
        self.id = id;
        self.pairs.clear();
        self.pairs.extend_from_slice(pairs);
    }

    fn make_room(&mut self, pages: &mut Vec<(u32, Vec<u8>)>) {
        if self.bytes.len() > FULL {
            pages.extend(self.flush(false));
            *self = Tail {
                page: self.page + 1,
                ..Tail::default()
            };
        }
        self.changed = true;
    }

    /// The page as it is, if it has changed, or anyway.
    pub(super) fn flush(&mut self, anyway: bool) -> Option<(u32, Vec<u8>)> {
        let wanted = std::mem::take(&mut self.changed) || (anyway && !self.bytes.is_empty());
        wanted.then(|| (self.page, compress(&self.bytes)))
    }

    /// How many pages there are.
    pub(super) fn pages(&self) -> u32 {
        self.page + u32::from(!self.bytes.is_empty())
    }
}

fn compress(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new()
        .compress_vec(bytes)
        .expect("snappy compresses anything below 4 GiB; a page is far smaller")
}

fn malformed() -> FileError {
    FileError::Damaged("a page of the index is malformed".into())
}

fn short(_: Short) -> FileError {
    malformed()
}

/// The bytes of a page.
pub(super) fn decompress(page: &[u8]) -> Result<Vec<u8>, FileError> {
    match snap::raw::decompress_len(page) {
        // Snappy makes at most 22 bytes of one.
        Ok(len) if len <= MAX && len / 32 <= page.len() => {}
        _ => return Err(malformed()),
    }
    snap::raw::Decoder::new()
        .decompress_vec(page)
        .map_err(|_| malformed())
}

/// Adds the pairs of a page.
pub(super) fn read_pairs(bytes: &[u8], list: &mut SeriesList) -> Result<(), FileError> {
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        let name = read_text(&mut reader)?;
        let value = read_text(&mut reader)?;
        list.push_pair(name, value);
    }
    Ok(())
}

fn read_text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, FileError> {
    let len = usize::try_from(reader.varint().map_err(short)?).map_err(|_| malformed())?;
    let bytes = reader.take(len).map_err(short)?;
    std::str::from_utf8(bytes).map_err(|_| malformed())
}

/// Adds the series of a page that `keep` wants; returns the last one.
pub(super) fn read_series(
    bytes: &[u8],
    list: &mut SeriesList,
    keep: impl Fn(u32) -> bool,
) -> Result<(u32, Vec<u32>), FileError> {
    let mut reader = Reader::new(bytes);
    let (mut id, mut pairs) = (0u32, Vec::new());
    while !reader.is_empty() {
        id = step(id, &mut reader)?;
        match reader.varint().map_err(short)? {
            0 if pairs.len() <= MAX_MASK => {
                let mut mask = reader.varint().map_err(short)?;
                while mask != 0 {
                    let pair: &mut u32 = pairs
                        .get_mut(mask.trailing_zeros() as usize)
                        .ok_or_else(malformed)?;
                    *pair = step(*pair, &mut reader)?;
                    mask &= mask - 1;
                }
            }
            0 => return Err(malformed()),
            count => {
                pairs.clear();
                for _ in 1..count {
                    let pair = reader.varint().map_err(short)?;
                    pairs.push(u32::try_from(pair).map_err(|_| malformed())?);
                }
            }
        }
        if keep(id) && !list.push_numbers(id, &pairs) {
            return Err(malformed());
        }
    }
    Ok((id, pairs))
}

fn step(from: u32, reader: &mut Reader<'_>) -> Result<u32, FileError> {
    let to = i64::from(from).wrapping_add(reader.signed().map_err(short)?);
    u32::try_from(to).map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn series_survive_their_pages(series in proptest::collection::vec((any::<u32>(), proptest::collection::vec(0u32..500, 0..70)), 1..200)) {
            let (mut tail, mut pages) = (Tail::default(), Vec::new());
            for (id, pairs) in &series {
                tail.push_series(*id, pairs, &mut pages);
            }
            pages.extend(tail.flush(false));
            let mut list = SeriesList::default();
            (0..500).for_each(|n| { list.push_pair("name", &n.to_string()); });
            for (_, page) in &pages {
                read_series(&decompress(page).unwrap(), &mut list, |_| true).unwrap();
            }
            let found: Vec<(u32, Vec<u32>)> = list.numbered().map(|(id, pairs)| (id, pairs.to_vec())).collect();
            prop_assert_eq!(found, series);
        }

        #[test]
        fn arbitrary_bytes_are_an_error_or_a_page(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut list = SeriesList::default();
            let _ = decompress(&bytes);
            let _ = read_pairs(&bytes, &mut list);
            let _ = read_series(&bytes, &mut list, |_| true);
            prop_assert!(list.len() <= bytes.len());
            list.iter().for_each(|(_, labels)| { labels.count(); });
        }
    }
}
