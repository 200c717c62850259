//! Rows of a batch's group on their way into heads.

use std::sync::Arc;

use wire::batch::Group as Rows;
use wire::message::HistogramCell;

use super::cells::{Cells, RowCells};
use super::group::{Closed, Group};
use super::layout::Part;
use super::piece::{Freezer, Piece, ROWS};
use super::segment;
use crate::ledger::DeviceRef;
use crate::window::Window;

/// When rows came, as the record of the journal has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// Number of the last value of the record's commit.
    pub(crate) number: u64,
    /// First number of the journal's file that it counts to.
    pub(crate) file: u64,
    /// When it arrived, ms.
    pub(crate) received_ms: i64,
    /// Generation of the ring that places its series.
    pub(crate) ring: u32,
    /// It is read again from the journal: rows that blocks have are skipped.
    pub(crate) replayed: bool,
}

/// The taken rows of a batch's group.
pub(crate) struct Delivery<'a> {
    /// Without their values.
    pub(crate) rows: &'a Rows,
    cells: Arc<Cells>,
    pub(crate) owner: DeviceRef,
    pub(crate) arrival: Arrival,
    /// Order of the group's first row among the device's.
    order: u64,
    /// Taken rows by window.
    windows: Vec<(Window, Vec<u32>)>,
    /// Histograms of taken rows: the place of the window and that of the cell, sorted.
    histograms: Vec<(u32, u32)>,
    span: Option<(i64, i64)>,
    /// Every cell has a value.
    whole: bool,
    /// All rows go into one window together, and every part has all of them, so that the cells go when the rows do: a part that
    /// has few rows would hold the values of all others for as long as its buffer fills.
    together: bool,
}

/// Rows to be frozen outside the partition's lock.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) group: u32,
    what: What,
}

#[derive(Debug)]
enum What {
    Closed(Closed),
    /// Rows of the batch itself, which are in no buffer.
    Bulk {
        window: Window,
        rows: Vec<u32>,
        modes: Box<[u8]>,
    },
}

/// A job done.
pub(crate) struct Done(Job, Piece);

impl<'a> Delivery<'a> {
    /// Takes the values out of the group.
    pub(crate) fn new(
        rows: &'a mut Rows,
        take: &[bool],
        (owner, arrival, order): (DeviceRef, Arrival, u64),
    ) -> Self {
        let cells = Arc::new(Cells::new(std::mem::take(&mut rows.values), rows.rows.len()));
        let rows = &*rows;
        let mut windows: Vec<(Window, Vec<u32>)> = Vec::new();
        let mut span: Option<(i64, i64)> = None;
        for (r, row) in rows
            .rows
            .iter()
            .enumerate()
            .filter(|(r, _)| take.get(*r) == Some(&true))
        {
            let time = row.time.ms();
            let (first, last) = span.unwrap_or((time, time));
            span = Some((first.min(time), last.max(time)));
            let window = Window::of(time);
            match windows.binary_search_by_key(&window, |(w, _)| *w) {
                Ok(at) => windows[at].1.push(r as u32),
                Err(at) => windows.insert(at, (window, vec![r as u32])),
            }
        }
        let place = |(at, cell): (usize, &HistogramCell)| {
            let row = rows.rows.get(cell.row as usize)?;
            let window = windows.binary_search_by_key(&Window::of(row.time.ms()), |(w, _)| *w);
            let taken = take.get(cell.row as usize) == Some(&true);
            Some((window.ok().filter(|_| taken)? as u32, at as u32))
        };
        let mut histograms: Vec<(u32, u32)> = rows.histograms.iter().enumerate().filter_map(place).collect();
        histograms.sort_unstable();
        let whole = rows.present.is_none() && cells.is_of(rows.series.len());
        let of_one = windows
            .first()
            .is_some_and(|(_, taken)| taken.len() == rows.rows.len());
        Delivery {
            rows,
            cells,
            owner,
            arrival,
            order,
            windows,
            histograms,
            span,
            whole,
            together: whole && of_one && rows.rows.len() <= ROWS,
        }
    }

    /// Taken rows by window, in order of windows.
    pub(crate) fn windows(&self) -> &[(Window, Vec<u32>)] {
        &self.windows
    }

    /// The first and the last time of the taken rows.
    pub(crate) fn span(&self) -> Option<(i64, i64)> {
        self.span
    }

    /// Times of the taken rows, in order, each once.
    pub(crate) fn times(&self) -> Vec<i64> {
        let rows = self.windows.iter().flat_map(|(_, rows)| rows);
        let mut times: Vec<i64> = rows.map(|row| self.stamp(*row).0).collect();
        times.sort_unstable();
        times.dedup();
        times
    }

    /// Time and order of a row.
    pub(crate) fn stamp(&self, row: u32) -> (i64, u64) {
        (
            self.rows.rows[row as usize].time.ms(),
            self.order + u64::from(row),
        )
    }

    fn cell(&self, position: u32, row: u32) -> Option<f64> {
        let cell = position as usize * self.rows.rows.len() + row as usize;
        match &self.rows.present {
            Some(present) if !present.get(cell) => None,
            _ => self.cells.get(position as usize, row as usize),
        }
    }

    /// Values of a part's series in a row.
    pub(crate) fn cells<'p>(
        &'p self,
        part: &'p Part,
        row: u32,
    ) -> impl ExactSizeIterator<Item = Option<f64>> + 'p {
        part.positions()
            .iter()
            .map(move |position| self.cell(*position, row))
    }

    /// How many values a part's series have in a row.
    pub(crate) fn count(&self, part: &Part, row: u32) -> u64 {
        match self.whole {
            true => part.positions().len() as u64,
            false => self.cells(part, row).flatten().count() as u64,
        }
    }

    /// Whether a part's series have anything in the rows of a window.
    pub(crate) fn has_any(&self, part: &Part, window: usize) -> bool {
        let (_, rows) = &self.windows[window];
        let of_part = |position: &u32| part.positions().binary_search(position).is_ok();
        self.whole
            || rows.iter().any(|row| self.count(part, *row) > 0)
            || self.histograms(window).any(|cell| of_part(&cell.position))
    }

    /// Histograms in the rows of a window, in the batch's order.
    pub(crate) fn histograms(&self, window: usize) -> impl Iterator<Item = &HistogramCell> {
        let start = self.histograms.partition_point(|(at, _)| (*at as usize) < window);
        let of_window = self.histograms[start..].iter();
        of_window
            .take_while(move |(at, _)| *at as usize == window)
            .filter_map(|(_, cell)| self.rows.histograms.get(*cell as usize))
    }

    /// Adds a row to a group's open rows.
    pub(crate) fn push(
        &self,
        part: &Part,
        row: u32,
        group: &mut Group,
        grown: &mut dyn FnMut(Window, usize),
    ) -> [Option<Closed>; 2] {
        let positions = part.positions();
        let cells = match self.together {
            true => RowCells::shared(self.cells.clone(), row, positions.clone()),
            false => RowCells::alone(self.cells(part, row).map(Option::unwrap_or_default).collect()),
        };
        let has = |at: usize| self.cell(positions[at], row).is_some();
        group.push(self.stamp(row), cells, (!self.whole).then_some(&has), grown)
    }

    /// The rows of a window as a job of their own, if they are many and no two of one time.
    pub(crate) fn bulk(&self, part: &Part, at: usize, group: &mut Group) -> Option<Job> {
        let (window, rows) = &self.windows[at];
        if !group.takes_bulk(*window, rows.len(), self.whole) {
            return None;
        }
        let mut rows = rows.clone();
        rows.sort_by_key(|row| self.stamp(*row).0);
        if rows.windows(2).any(|w| self.stamp(w[0]).0 == self.stamp(w[1]).0) {
            return None;
        }
        let modes = group.lend_modes();
        let what = What::Bulk {
            window: *window,
            rows,
            modes,
        };
        Some(Job {
            group: part.group(),
            what,
        })
    }

    /// Freezes a job's rows.
    pub(crate) fn freeze(&self, mut job: Job, part: &Part, freezer: &mut Freezer) -> Done {
        let piece = match &mut job.what {
            What::Closed(closed) => closed.rows.freeze(&mut closed.modes, freezer),
            What::Bulk { rows, modes, .. } => {
                let stamps: Vec<(i64, u64)> = rows.iter().map(|row| self.stamp(*row)).collect();
                freezer.freeze(&stamps, modes, |at, column| {
                    let position = part.positions()[at];
                    let mut mask = 0u32;
                    for (at, row) in rows.iter().enumerate() {
                        if let Some(value) = self.cell(position, *row) {
                            column.push(value);
                            mask |= 1u32.wrapping_shl(at as u32);
                        }
                    }
                    (column.len() < rows.len()).then_some(mask)
                })
            }
        };
        Done(job, piece)
    }
}

impl Job {
    pub(crate) fn closed(group: u32, closed: Closed) -> Self {
        Job {
            group,
            what: What::Closed(closed),
        }
    }

    /// Freezes rows of the bridge's own.
    pub(crate) fn freeze_own(mut self, freezer: &mut Freezer) -> Option<Done> {
        match &mut self.what {
            What::Closed(closed) => {
                let piece = closed.rows.freeze(&mut closed.modes, freezer);
                Some(Done(self, piece))
            }
            What::Bulk { .. } => None,
        }
    }
}

impl Done {
    pub(crate) fn group(&self) -> u32 {
        self.0.group
    }

    /// The times of its first and its last row.
    pub(crate) fn span(&self) -> (i64, i64) {
        (self.1.first(), self.1.last())
    }

    /// Puts the piece where it belongs. Gives the window and the bytes of memory that it takes more, or less.
    pub(crate) fn put(self, group: &mut Group) -> (Window, isize) {
        let Done(job, piece) = self;
        let (window, grown) = match job.what {
            What::Closed(closed) => {
                let window = closed.window;
                (window, group.frozen(closed, piece))
            }
            What::Bulk { window, modes, .. } => {
                let bytes = piece.bytes() as isize;
                group.return_modes(modes);
                group.add(window, segment::Rows::Frozen(piece.into()));
                (window, bytes)
            }
        };
        (window, grown + group.gather(window))
    }
}
