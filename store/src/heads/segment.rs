//! Rows of a group that take no more: frozen, or full and not frozen yet.

use std::sync::Arc;

use super::piece::Piece;
use super::rows::OpenRows;

/// Rows of one window.
#[derive(Debug, Clone)]
pub(crate) enum Rows {
    Frozen(Arc<Piece>),
    Closed(Arc<OpenRows>),
}

/// Rows of one window, and whether a seal has taken them.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) rows: Rows,
    pub(crate) sealing: bool,
}

impl Segment {
    /// The piece that no seal has taken, if it is small.
    pub(crate) fn small_piece(&self) -> Option<&Piece> {
        let piece = self.rows.piece().filter(|piece| piece.is_small());
        piece.filter(|_| !self.sealing)
    }
}

impl Rows {
    /// Whether a row has exactly this time.
    pub(crate) fn holds(&self, time: i64) -> bool {
        match self {
            Rows::Frozen(piece) => piece.holds(time),
            Rows::Closed(rows) => rows.times().any(|t| t == time),
        }
    }

    /// Whether it may have rows in a range of time, both ends included.
    pub(crate) fn meets(&self, start: i64, end: i64) -> bool {
        match self {
            Rows::Frozen(piece) => piece.first() <= end && piece.last() >= start,
            Rows::Closed(rows) => rows.times().any(|time| (start..=end).contains(&time)),
        }
    }

    /// Times of the first and the last row.
    pub(crate) fn span(&self) -> Option<(i64, i64)> {
        match self {
            Rows::Frozen(piece) => Some((piece.first(), piece.last())),
            Rows::Closed(rows) => span(rows.times()),
        }
    }

    /// The samples of a series, as (time, order, value), in no order.
    pub(crate) fn samples(
        &self,
        position: usize,
        scratch: &mut Vec<f64>,
        mut see: impl FnMut(i64, u64, f64),
    ) {
        match self {
            Rows::Closed(rows) => rows.samples(position).for_each(|(t, o, v)| see(t, o, v)),
            Rows::Frozen(piece) => piece.samples(position, scratch, see),
        }
    }

    /// The piece, if they are frozen.
    pub(crate) fn piece(&self) -> Option<&Piece> {
        match self {
            Rows::Frozen(piece) => Some(piece),
            Rows::Closed(_) => None,
        }
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Rows::Frozen(piece) => piece.rows(),
            Rows::Closed(rows) => rows.len(),
        }
    }
}

/// The first and the last of some times.
pub(super) fn span(times: impl Iterator<Item = i64>) -> Option<(i64, i64)> {
    times.fold(None, |all, time| {
        let (first, last) = all.unwrap_or((time, time));
        Some((time.min(first), time.max(last)))
    })
}
