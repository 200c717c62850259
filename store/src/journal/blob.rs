//! Values of the blob table.
//!
//! A commit is one stream of records, each after its length as a varint, cut into values: CRC32C (4 bytes, little-endian,
//! of all that follows), a flag (1: the stream goes on in the next value, 0: it ends here), bytes. redb keeps a value in
//! a page of 4 KiB x 2^k of which 16 bytes are its own (8 of them the key), so values are cut to fill their pages.

use bytes::{Buf, Bytes, BytesMut};
use prost::Message;

use crate::record::Record;

/// The longest value, bytes: a page of 256 KiB.
pub(crate) const MAX_VALUE: usize = 262_128;

/// CRC and flag.
const HEAD: usize = 5;

/// Values that the rest of a stream below `MAX_VALUE` may be cut into.
const MAX_PARTS: usize = 4;

/// Writes records into values.
pub(crate) fn encode(records: &[Record]) -> Vec<Vec<u8>> {
    let mut stream = Vec::with_capacity(records.iter().map(|r| r.encoded_len() + 4).sum());
    for record in records {
        record
            .encode_length_delimited(&mut stream)
            .expect("a Vec has room for any message");
    }
    let sizes = cut(stream.len());
    let last = sizes.len().saturating_sub(1);
    let mut rest = stream.as_slice();
    let mut values = Vec::with_capacity(sizes.len());
    for (i, size) in sizes.into_iter().enumerate() {
        let (part, after) = rest.split_at(size);
        rest = after;
        let mut value = Vec::with_capacity(HEAD + part.len());
        value.extend_from_slice(&[0; 4]);
        value.push(u8::from(i < last));
        value.extend_from_slice(part);
        let sum = crc32c::crc32c(&value[4..]);
        value[..4].copy_from_slice(&sum.to_le_bytes());
        values.push(value);
    }
    values
}

/// Sizes of the parts of a stream, each of which fills most of its page.
fn cut(mut len: usize) -> Vec<usize> {
    let mut sizes = Vec::new();
    while len > MAX_VALUE - HEAD {
        sizes.push(MAX_VALUE - HEAD);
        len -= MAX_VALUE - HEAD;
    }
    for _ in 1..MAX_PARTS {
        let page = room_of_page_above(len);
        let half = page / 2;
        // A page that is over seven eighths full is worth no further value.
        if len <= room(4096) || len * 8 >= page * 7 || half <= room(4096) {
            break;
        }
        let part = room_below(len);
        sizes.push(part);
        len -= part;
    }
    if len > 0 {
        sizes.push(len);
    }
    sizes
}

/// Stream bytes that a page takes.
fn room(page: usize) -> usize {
    page - 16 - HEAD
}

fn room_of_page_above(len: usize) -> usize {
    let mut page = 4096;
    while room(page) < len {
        page *= 2;
    }
    room(page)
}

fn room_below(len: usize) -> usize {
    let mut page = 4096;
    while room(page * 2) <= len {
        page *= 2;
    }
    room(page)
}

/// Why a stream is unreadable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BlobError {
    #[error("a value's checksum is wrong")]
    Checksum,
    #[error("a stream ends early")]
    Torn,
    #[error("a record is malformed")]
    Record,
}

/// Puts values together and takes records out.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    stream: BytesMut,
}

impl Reader {
    /// Takes the next value. At the end of a stream returns its records, else nothing.
    pub(crate) fn push(&mut self, value: &[u8]) -> Result<Vec<Record>, BlobError> {
        let (sum, rest) = value.split_at_checked(4).ok_or(BlobError::Torn)?;
        if crc32c::crc32c(rest).to_le_bytes() != sum {
            self.stream.clear();
            return Err(BlobError::Checksum);
        }
        let (flag, part) = rest.split_first().ok_or(BlobError::Torn)?;
        self.stream.extend_from_slice(part);
        match flag {
            0 => records(self.stream.split().freeze()),
            _ => Ok(Vec::new()),
        }
    }
}

fn records(mut stream: Bytes) -> Result<Vec<Record>, BlobError> {
    let mut records = Vec::new();
    while stream.has_remaining() {
        let len = prost::decode_length_delimiter(&mut stream).map_err(|_| BlobError::Record)?;
        if len > stream.len() {
            return Err(BlobError::Torn);
        }
        let record = Record::decode(stream.split_to(len)).map_err(|_| BlobError::Record)?;
        records.push(record);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::{BatchRecord, What};

    fn record(len: usize) -> Record {
        let payload: Vec<u8> = (0..len).map(|i| (i * 31) as u8).collect();
        Record {
            device: 7,
            received_ms: 5,
            what: Some(What::Batch(BatchRecord {
                payload: payload.into(),
                ..BatchRecord::default()
            })),
            ..Record::default()
        }
    }

    proptest! {
        #[test]
        fn records_survive_their_values(lens in proptest::collection::vec(0usize..70_000, 1..12)) {
            let records: Vec<Record> = lens.into_iter().map(record).collect();
            let mut reader = Reader::default();
            let mut found = Vec::new();
            for value in encode(&records) {
                prop_assert!(value.len() <= MAX_VALUE);
                found.extend(reader.push(&value).unwrap());
            }
            prop_assert_eq!(found, records);
        }

        #[test]
        fn parts_fill_their_pages(len in 1usize..1_000_000) {
            let sizes = cut(len);
            prop_assert_eq!(sizes.iter().sum::<usize>(), len);
            let pages: usize = sizes.iter().map(|s| room_of_page_above(*s) + 21).sum();
            prop_assert!(pages <= len + len / 5 + 4096, "{} bytes take {} in {:?}", len, pages, sizes);
        }

        #[test]
        fn arbitrary_bytes_are_an_error_or_records(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Reader::default().push(&bytes);
            let mut valid = crc32c::crc32c(&bytes).to_le_bytes().to_vec();
            valid.extend_from_slice(&bytes);
            let _ = Reader::default().push(&valid);
        }
    }

    #[test]
    fn a_flipped_bit_is_seen() {
        let mut value = encode(&[record(1000)]).remove(0);
        value[500] ^= 1;
        assert_eq!(Reader::default().push(&value), Err(BlobError::Checksum));
    }
}
