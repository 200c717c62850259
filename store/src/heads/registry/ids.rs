//! The series of a pair: a list in no order while they are few, a bitmap beyond.

use roaring::RoaringBitmap;

/// The longest list.
const FEW: usize = 256;

/// The latest of many are put into the bitmap so many at a time, as each would be a search in it.
const LATEST: usize = 64;

/// A set of series.
#[derive(Debug)]
pub(super) enum Ids {
    Few(Vec<u32>),
    /// And the latest, in no order.
    Many(RoaringBitmap, Vec<u32>),
}

impl Default for Ids {
    fn default() -> Self {
        Ids::Few(Vec::new())
    }
}

impl Ids {
    /// Adds series that are not there.
    pub(super) fn add(&mut self, series: impl ExactSizeIterator<Item = u32>) {
        match self {
            Ids::Many(ids, latest) => {
                latest.extend(series);
                if latest.len() >= LATEST {
                    settle(ids, latest);
                }
            }
            Ids::Few(ids) if ids.len() + series.len() > FEW => {
                ids.extend(series);
                *self = Ids::Many(ids.drain(..).collect(), Vec::new());
            }
            Ids::Few(ids) => {
                if ids.len() + series.len() > ids.capacity() {
                    // Doubling would leave half of most lists empty.
                    ids.reserve_exact(series.len().max(ids.len() / 4 + 1));
                }
                ids.extend(series);
            }
        }
    }

    pub(super) fn remove(&mut self, series: u32) {
        match self {
            Ids::Many(ids, latest) => {
                settle(ids, latest);
                ids.remove(series);
            }
            Ids::Few(ids) => {
                if let Some(at) = ids.iter().position(|id| *id == series) {
                    ids.swap_remove(at);
                }
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Ids::Few(ids) => ids.is_empty(),
            Ids::Many(ids, latest) => ids.is_empty() && latest.is_empty(),
        }
    }

    /// Whether `wanted` is true of any.
    pub(super) fn any(&self, mut wanted: impl FnMut(u32) -> bool) -> bool {
        match self {
            Ids::Few(ids) => ids.iter().any(|series| wanted(*series)),
            Ids::Many(ids, latest) => latest.iter().any(|series| wanted(*series)) || ids.iter().any(wanted),
        }
    }

    /// Adds all to a set.
    pub(super) fn add_to(&self, set: &mut RoaringBitmap) {
        match self {
            Ids::Few(ids) => set.extend(ids),
            Ids::Many(ids, latest) => {
                *set |= ids;
                set.extend(latest);
            }
        }
    }

    pub(super) fn to_set(&self) -> RoaringBitmap {
        let mut set = RoaringBitmap::new();
        self.add_to(&mut set);
        set
    }

    /// Bytes of memory, roughly.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Ids::Few(ids) => 4 * ids.capacity(),
            Ids::Many(ids, latest) => ids.serialized_size() + 4 * latest.capacity(),
        }
    }
}

/// Puts the latest into the bitmap.
fn settle(ids: &mut RoaringBitmap, latest: &mut Vec<u32>) {
    latest.sort_unstable();
    ids.extend(latest.drain(..));
}
