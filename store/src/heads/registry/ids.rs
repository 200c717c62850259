//! The series of a pair: a list in no order while they are few, a bitmap beyond.

use std::borrow::Cow;

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

    /// All of them.
    pub(super) fn set(&self) -> Cow<'_, RoaringBitmap> {
        match self {
            Ids::Many(ids, latest) if latest.is_empty() => Cow::Borrowed(ids),
            ids => Cow::Owned(union(std::iter::once(ids))),
        }
    }

    /// Bytes of memory, roughly.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Ids::Few(ids) => 4 * ids.capacity(),
            Ids::Many(ids, latest) => ids.serialized_size() + 4 * latest.capacity(),
        }
    }
}

/// All series of several sets.
pub(super) fn union<'i>(sets: impl Iterator<Item = &'i Ids>) -> RoaringBitmap {
    let (mut union, mut few) = (RoaringBitmap::new(), Vec::new());
    for ids in sets {
        match ids {
            Ids::Few(ids) => few.extend(ids),
            Ids::Many(ids, latest) => {
                union |= ids;
                few.extend(latest);
            }
        }
    }
    // To append to a bitmap costs a fraction of a search in it.
    few.sort();
    few.dedup();
    let mut rest = RoaringBitmap::new();
    // In order as they are, all are taken.
    let _ = rest.append(few);
    match union.is_empty() {
        true => rest,
        false => union | rest,
    }
}

/// Puts the latest into the bitmap.
fn settle(ids: &mut RoaringBitmap, latest: &mut Vec<u32>) {
    latest.sort_unstable();
    ids.extend(latest.drain(..));
}
