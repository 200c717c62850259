//! Cursors: how far each destination of the journal has come.
//!
//! A row is the number of the first value that the destination still needs (8 bytes, little-endian), and what else it
//! wants to remember. No file that holds that value or a later one is unlinked.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::journal::Rows;

/// A destination's place in the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The first value that it still needs.
    pub number: u64,
    /// What else it remembers.
    pub state: Bytes,
}

impl Cursor {
    pub(crate) fn encode(&self) -> Bytes {
        let mut row = BytesMut::with_capacity(8 + self.state.len());
        row.put_u64_le(self.number);
        row.put_slice(&self.state);
        row.freeze()
    }

    /// A row; `None` if it is too short to be one.
    pub(crate) fn decode(row: &Bytes) -> Option<Self> {
        let mut row = row.clone();
        let number = row.try_get_u64_le().ok()?;
        Some(Cursor { number, state: row })
    }
}

/// The first value that any destination needs; `None`: there is none, or it needs none.
pub(crate) fn oldest(rows: &Rows<String>) -> Option<u64> {
    // A row that is no cursor holds everything: its owner has to put it right.
    rows.values()
        .map(|row| Cursor::decode(row).map_or(0, |cursor| cursor.number))
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_row_and_the_oldest_counts() {
        let cursor = |number, state: &'static [u8]| Cursor {
            number,
            state: Bytes::from_static(state),
        };
        let all = [cursor(7, b"x"), cursor(u64::MAX, b"")];
        let mut rows = Rows::new();
        for (n, cursor) in all.iter().enumerate() {
            assert_eq!(Cursor::decode(&cursor.encode()).as_ref(), Some(cursor));
            rows.insert(n.to_string(), cursor.encode());
        }
        assert_eq!(oldest(&rows), Some(7));
        rows.insert("broken".to_owned(), Bytes::from_static(b"short"));
        assert_eq!((oldest(&rows), oldest(&Rows::new())), (Some(0), None));
    }
}
