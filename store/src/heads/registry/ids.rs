//! The series of a pair: a sorted list while they are few, a bitmap beyond.

use roaring::RoaringBitmap;

/// The longest list.
const FEW: usize = 256;

/// A set of series.
#[derive(Debug)]
pub(super) enum Ids {
    Few(Vec<u32>),
    Many(RoaringBitmap),
}

impl Default for Ids {
    fn default() -> Self {
        Ids::Few(Vec::new())
    }
}

impl Ids {
    pub(super) fn insert(&mut self, series: u32) {
        match self {
            Ids::Many(ids) => {
                ids.insert(series);
            }
            Ids::Few(ids) => {
                let Err(at) = ids.binary_search(&series) else {
                    return;
                };
                if ids.len() == FEW {
                    let mut many: RoaringBitmap = ids.iter().copied().collect();
                    many.insert(series);
                    *self = Ids::Many(many);
                    return;
                }
                if ids.len() == ids.capacity() {
                    // Doubling would leave half of most lists empty.
                    ids.reserve_exact(ids.len() / 4 + 1);
                }
                ids.insert(at, series);
            }
        }
    }

    pub(super) fn remove(&mut self, series: u32) {
        match self {
            Ids::Many(ids) => {
                ids.remove(series);
            }
            Ids::Few(ids) => {
                if let Ok(at) = ids.binary_search(&series) {
                    ids.remove(at);
                }
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Ids::Few(ids) => ids.is_empty(),
            Ids::Many(ids) => ids.is_empty(),
        }
    }

    /// Adds all to a set.
    pub(super) fn add_to(&self, set: &mut RoaringBitmap) {
        match self {
            Ids::Few(ids) => set.extend(ids),
            Ids::Many(ids) => *set |= ids,
        }
    }

    pub(super) fn to_set(&self) -> RoaringBitmap {
        match self {
            Ids::Few(ids) => ids.iter().copied().collect(),
            Ids::Many(ids) => ids.clone(),
        }
    }

    /// Bytes of memory, roughly.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Ids::Few(ids) => 4 * ids.capacity(),
            Ids::Many(ids) => ids.serialized_size(),
        }
    }
}
