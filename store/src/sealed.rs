//! What blocks have of a window: the rows of records up to a number, but those that could not be read when it was sealed.
//!
//! A record that lacks its dictionary is left out of the heads at a start, and read at a later one if the device has brought the
//! dictionary again. A seal in between has a number above the record's and not its rows, so it says which records it
//! lacks: replay would take them for sealed.
//!
//! In an index: the number (8 bytes, little-endian), then for each such record the step to its number and its device's
//! number, as varints.

use std::sync::Arc;

use wire::varint::{Reader, put};

use crate::ledger::DeviceRef;

/// A record of a device in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RecordId {
    pub(crate) number: u64,
    pub(crate) device: DeviceRef,
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) number: u64,
    /// Rising.
    lacks: Arc<[RecordId]>,
}

impl Sealed {
    /// Whether blocks have the rows of a record.
    pub(crate) fn has(&self, record: RecordId) -> bool {
        record.number <= self.number && self.lacks.binary_search(&record).is_err()
    }

    /// Whether no block has those of some record.
    pub(crate) fn lacks_any(&self) -> bool {
        !self.lacks.is_empty()
    }

    /// The same after a seal up to a number, if the heads lack some records, in order.
    pub(crate) fn then(&self, number: u64, left_out: &[RecordId]) -> Sealed {
        let lacked = |record: &&RecordId| record.number <= number && !self.has(**record);
        Sealed {
            number,
            lacks: left_out.iter().filter(lacked).copied().collect(),
        }
    }

    /// Its row, without a sum.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = self.number.to_le_bytes().to_vec();
        let mut last = 0;
        for record in &*self.lacks {
            put(&mut row, record.number - last);
            put(&mut row, u64::from(record.device));
            last = record.number;
        }
        row
    }

    /// `None`: the row is malformed.
    pub(crate) fn decode(row: &[u8]) -> Option<Sealed> {
        let (number, rest) = row.split_first_chunk::<8>()?;
        let mut reader = Reader::new(rest);
        let mut lacks: Vec<RecordId> = Vec::new();
        while !reader.is_empty() {
            let last = lacks.last().copied();
            let step = reader.varint().ok()?;
            let record = RecordId {
                number: last.map_or(0, |last| last.number).checked_add(step)?,
                device: DeviceRef::try_from(reader.varint().ok()?).ok()?,
            };
            if last.is_some_and(|last| last >= record) {
                return None;
            }
            lacks.push(record);
        }
        Some(Sealed {
            number: u64::from_le_bytes(*number),
            lacks: lacks.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records(places: impl IntoIterator<Item = (u64, DeviceRef)>) -> Vec<RecordId> {
        let record = |(number, device)| RecordId { number, device };
        places.into_iter().map(record).collect()
    }

    fn has(sealed: &Sealed, number: u64, device: DeviceRef) -> bool {
        sealed.has(RecordId { number, device })
    }

    #[test]
    fn a_seal_lacks_what_was_left_out_unless_an_earlier_one_has_it() {
        let first = Sealed::default().then(10, &records([(4, 1), (4, 2), (12, 1)]));
        assert!(has(&first, 3, 1) && has(&first, 4, 3) && has(&first, 10, 1));
        assert!(!has(&first, 4, 1) && !has(&first, 4, 2) && !has(&first, 12, 1));
        // (4, 2) is read now; (9, 1) is not any more, but was sealed.
        let second = first.then(20, &records([(4, 1), (9, 1), (12, 1)]));
        assert!(has(&second, 4, 2) && has(&second, 9, 1));
        assert!(!has(&second, 4, 1) && !has(&second, 12, 1));
        let third = second.then(21, &[]);
        assert!(has(&third, 4, 1) && !third.lacks_any());
    }

    proptest! {
        #[test]
        fn a_row_is_read_as_it_was_written(number: u64, lacks: std::collections::BTreeSet<(u64, u32)>) {
            let sealed = Sealed { number, lacks: records(lacks).into() };
            prop_assert_eq!(Sealed::decode(&sealed.encode()), Some(sealed));
        }

        #[test]
        fn any_bytes_are_a_row_that_is_written_alike_or_none(bytes: Vec<u8>) {
            if let Some(sealed) = Sealed::decode(&bytes) {
                prop_assert_eq!(Sealed::decode(&sealed.encode()), Some(sealed));
            }
        }
    }
}
