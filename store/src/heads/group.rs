//! Series of one partition whose rows arrive together: shared times, open rows, frozen pieces, each of one window.
//!
//! Rows of the newest window are open in `fresh`; rows of any other, one window at a time, in `late`, so that a draining
//! backlog does not break up the fresh rows' pieces. Both are closed at 32 rows, and when a row of another window comes,
//! and are frozen outside the partition's lock. Pieces may overlap in time; readers merge.

use std::sync::Arc;

use super::cells::RowCells;
use super::piece::{Freezer, MAX_ROWS, Piece, ROWS};
use super::rows::OpenRows;
use super::segment::{Rows, Segment};
use crate::ledger::DeviceRef;
use crate::window::Window;

/// Rows of one window from which on a batch's are frozen at once, if the window is not the newest.
const BULK: usize = 8;

/// A group of series.
#[derive(Debug)]
pub(crate) struct Group {
    owner: Option<DeviceRef>,
    series: Arc<[u32]>,
    modes: Box<[u8]>,
    fresh: Open,
    late: Open,
    /// In order of windows.
    windows: Vec<GroupWindow>,
    /// No row has a later time.
    newest: i64,
    /// Groups that share a series with this one.
    siblings: Vec<u32>,
}

/// Rows that more are added to.
#[derive(Debug)]
struct Open {
    window: Window,
    rows: OpenRows,
}

/// What a group has of a window, open rows apart.
#[derive(Debug)]
struct GroupWindow {
    window: Window,
    /// The window's list of groups has this one.
    listed: bool,
    segments: Vec<Segment>,
}

/// Closed rows on their way to become a piece, with the modes of the group's series.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) window: Window,
    pub(crate) rows: Arc<OpenRows>,
    pub(crate) modes: Box<[u8]>,
}

impl Default for Open {
    fn default() -> Self {
        Open {
            window: Window::of(i64::MIN),
            rows: OpenRows::default(),
        }
    }
}

impl Group {
    pub(crate) fn new(owner: Option<DeviceRef>, series: Vec<u32>) -> Self {
        Group {
            owner,
            modes: vec![0; series.len()].into(),
            series: series.into(),
            fresh: Open::default(),
            late: Open::default(),
            windows: Vec::new(),
            newest: i64::MIN,
            siblings: Vec::new(),
        }
    }

    pub(crate) fn owner(&self) -> Option<DeviceRef> {
        self.owner
    }

    pub(crate) fn series(&self) -> &Arc<[u32]> {
        &self.series
    }

    pub(crate) fn siblings(&self) -> &[u32] {
        &self.siblings
    }

    pub(crate) fn add_sibling(&mut self, group: u32) {
        if let Err(at) = self.siblings.binary_search(&group) {
            self.siblings.insert(at, group);
        }
    }

    pub(crate) fn remove_sibling(&mut self, group: u32) {
        if let Ok(at) = self.siblings.binary_search(&group) {
            self.siblings.remove(at);
        }
    }

    /// Whether it holds no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// No row has a later time than this.
    pub(crate) fn newest(&self) -> i64 {
        self.newest
    }

    fn find(&self, window: Window) -> Result<usize, usize> {
        self.windows.binary_search_by_key(&window, |w| w.window)
    }

    fn window(&mut self, window: Window) -> &mut GroupWindow {
        let at = match self.find(window) {
            Ok(at) => at,
            Err(at) => {
                let new = GroupWindow {
                    window,
                    listed: false,
                    segments: Vec::new(),
                };
                self.windows.insert(at, new);
                at
            }
        };
        &mut self.windows[at]
    }

    /// Begins to hold a window; true if the window's list lacks the group, which it has from now on.
    pub(crate) fn list(&mut self, window: Window) -> bool {
        if self.fresh.window == window && !self.fresh.rows.is_empty() {
            return false;
        }
        !std::mem::replace(&mut self.window(window).listed, true)
    }

    fn segments(&self, window: Window) -> &[Segment] {
        self.find(window).map_or(&[], |at| &self.windows[at].segments)
    }

    fn open_of(&self, window: Window) -> impl Iterator<Item = &OpenRows> {
        [&self.fresh, &self.late]
            .into_iter()
            .filter(move |open| open.window == window)
            .map(|open| &open.rows)
    }

    /// Whether a row has exactly this time.
    pub(crate) fn holds(&self, time: i64) -> bool {
        if time > self.newest {
            return false;
        }
        let window = Window::of(time);
        let Ok(at) = self.find(window) else { return false };
        self.open_of(window).any(|rows| rows.times().any(|t| t == time))
            || self.windows[at].segments.iter().any(|s| s.rows.holds(time))
    }

    /// The winning sample of a series at a time, as (order, value).
    pub(crate) fn at(&self, position: usize, time: i64) -> Option<(u64, f64)> {
        let window = Window::of(time);
        let mut best: Option<(u64, f64)> = None;
        let mut see = |t: i64, order: u64, value: f64| {
            if t == time && best.is_none_or(|(o, _)| o < order) {
                best = Some((order, value));
            }
        };
        for rows in self.open_of(window) {
            rows.samples(position).for_each(|(t, o, v)| see(t, o, v));
        }
        let mut scratch = Vec::new();
        for segment in self.segments(window).iter().filter(|s| s.rows.holds(time)) {
            segment.rows.samples(position, &mut scratch, &mut see);
        }
        best
    }

    /// Whether so many rows of a window, in one batch, are better frozen at once than added one by one.
    pub(crate) fn takes_bulk(&self, window: Window, rows: usize, whole: bool) -> bool {
        let most = if whole { MAX_ROWS } else { ROWS };
        let least = match self.fresh.window == window {
            true => ROWS,
            false => BULK,
        };
        (least..=most).contains(&rows)
    }

    /// Adds a row; `present` says of the series at a position whether it has a value, `None`: all have. Rows that were open
    /// and are so no more come back to be frozen, and then to [`Group::frozen`]. `grown` gets the bytes of memory that the
    /// window takes more.
    pub(crate) fn push(
        &mut self,
        stamp: (i64, u64),
        row: RowCells,
        present: Option<&dyn Fn(usize) -> bool>,
        grown: &mut dyn FnMut(Window, usize),
    ) -> [Option<Closed>; 2] {
        self.newest = self.newest.max(stamp.0);
        let window = Window::of(stamp.0);
        let late = window < self.fresh.window;
        let turned = match late {
            true => self.late.window != window,
            false => self.fresh.window != window,
        };
        let before = turned.then(|| self.close(late)).flatten();
        let open = if late { &mut self.late } else { &mut self.fresh };
        open.window = window;
        let bytes = open.rows.bytes();
        open.rows.push(stamp, row, self.series.len(), present);
        grown(window, open.rows.bytes() - bytes);
        let after = open.rows.is_full().then(|| self.close(late)).flatten();
        [before, after]
    }

    /// Closes an open buffer that has rows. They stay where readers find them.
    fn close(&mut self, late: bool) -> Option<Closed> {
        let open = if late { &mut self.late } else { &mut self.fresh };
        if open.rows.is_empty() {
            return None;
        }
        let window = open.window;
        let rows = Arc::new(std::mem::take(&mut open.rows));
        self.add(window, Rows::Closed(rows.clone()));
        Some(Closed {
            window,
            rows,
            modes: self.lend_modes(),
        })
    }

    /// The modes of the series; they come back with a piece.
    pub(crate) fn lend_modes(&mut self) -> Box<[u8]> {
        match self.modes.is_empty() {
            // Lent already: two pieces at once are rare.
            true => vec![0; self.series.len()].into(),
            false => std::mem::take(&mut self.modes),
        }
    }

    /// Adds rows that are frozen or closed.
    pub(crate) fn add(&mut self, window: Window, rows: Rows) {
        if let Rows::Frozen(piece) = &rows {
            self.newest = self.newest.max(piece.last());
        }
        self.window(window)
            .segments
            .push(Segment { rows, sealing: false });
    }

    pub(crate) fn return_modes(&mut self, modes: Box<[u8]>) {
        self.modes = modes;
    }

    /// Puts a piece in the place of the rows it was frozen from. A seal may have taken them meanwhile. Gives the bytes
    /// of memory that the window takes more, or less.
    pub(crate) fn frozen(&mut self, closed: Closed, piece: Piece) -> isize {
        self.modes = closed.modes;
        let mut grown = 0;
        if let Ok(at) = self.find(closed.window) {
            let there = self.windows[at].segments.iter_mut().find(
                |segment| matches!(&segment.rows, Rows::Closed(rows) if Arc::ptr_eq(rows, &closed.rows)),
            );
            if let Some(segment) = there {
                grown = piece.bytes() as isize - closed.rows.bytes() as isize;
                segment.rows = Rows::Frozen(Arc::new(piece));
            }
        }
        grown
    }

    /// Makes one piece of the last ones of a window, once they have as many rows as one may, or the last of them has fewer
    /// than it could, as no more are to follow. Gives the bytes of memory that the window takes more, or less.
    pub(crate) fn gather(&mut self, window: Window) -> isize {
        let Ok(at) = self.find(window) else { return 0 };
        let segments = &mut self.windows[at].segments;
        let small = |segment: &&Segment| segment.small_piece().is_some();
        let run = segments.iter().rev().take_while(small).count();
        let from = segments.len() - run.min(MAX_ROWS / ROWS);
        let pieces: Vec<&Piece> = segments[from..].iter().filter_map(Segment::small_piece).collect();
        let is_last = pieces.last().is_some_and(|piece| piece.rows() < ROWS);
        if pieces.len() < 2 || !(is_last || pieces.len() == MAX_ROWS / ROWS) {
            return 0;
        }
        let before: usize = pieces.iter().map(|piece| piece.bytes()).sum();
        let Some(joined) = Freezer::default().join(&pieces, self.series.len()) else {
            return 0;
        };
        let grown = joined.bytes() as isize - before as isize;
        segments.truncate(from);
        segments.push(Segment {
            rows: Rows::Frozen(Arc::new(joined)),
            sealing: false,
        });
        grown
    }

    /// Hands all rows of a window to a seal; they stay where readers find them.
    pub(crate) fn take(&mut self, window: Window) -> Vec<Rows> {
        for late in [false, true] {
            let open = if late { &self.late } else { &self.fresh };
            if open.window == window
                && let Some(closed) = self.close(late)
            {
                self.modes = closed.modes;
            }
        }
        let Ok(at) = self.find(window) else {
            return Vec::new();
        };
        self.windows[at].listed = false;
        let new = self.windows[at].segments.iter_mut().filter(|s| !s.sealing);
        new.map(|segment| {
            segment.sealing = true;
            segment.rows.clone()
        })
        .collect()
    }

    /// Drops what a seal took of a window.
    pub(crate) fn sealed(&mut self, window: Window) {
        let Ok(at) = self.find(window) else { return };
        self.windows[at].segments.retain(|segment| !segment.sealing);
        if !self.windows[at].listed && self.windows[at].segments.is_empty() {
            self.windows.remove(at);
        }
    }

    /// Takes back what a seal took of a window and could not write; true as [`Group::list`].
    pub(crate) fn unsealed(&mut self, window: Window) -> bool {
        let entry = self.window(window);
        entry
            .segments
            .iter_mut()
            .for_each(|segment| segment.sealing = false);
        self.list(window)
    }

    /// Lets the oldest rows go while more than `rows` are left without them.
    pub(crate) fn keep(&mut self, rows: usize) {
        let closed = self.windows.iter().flat_map(|window| &window.segments);
        let mut held: usize = closed.map(|segment| segment.rows.len()).sum();
        held += self.fresh.rows.len() + self.late.rows.len();
        let mut at = 0;
        while let Some(window) = self.windows.get_mut(at) {
            while let Some(first) = window.segments.first()
                && held - first.rows.len() >= rows
            {
                held -= first.rows.len();
                window.segments.remove(0);
            }
            let name = window.window;
            if !self.windows[at].segments.is_empty() || self.open_of(name).any(|open| !open.is_empty()) {
                at += 1;
            } else {
                self.windows.remove(at);
            }
        }
    }

    /// Rows that reach into a range of time, both ends included.
    pub(crate) fn closed(&self, start: i64, end: i64) -> impl Iterator<Item = &Rows> {
        self.windows
            .iter()
            .filter(move |window| window.window.start_ms() <= end && window.window.end_ms() > start)
            .flat_map(|window| &window.segments)
            .map(|segment| &segment.rows)
            .filter(move |rows| rows.meets(start, end))
    }

    /// Runs of rows, those that take more included, and the times of the first and the last row.
    pub(crate) fn extent(&self) -> (usize, Option<(i64, i64)>) {
        let closed = self.windows.iter().flat_map(|window| &window.segments);
        let closed = closed.filter_map(|segment| segment.rows.span());
        let open = [&self.fresh, &self.late].into_iter();
        let open = open.filter_map(|open| super::segment::span(open.rows.times()));
        closed.chain(open).fold((0, None), |(runs, all), (first, last)| {
            let (from, to) = all.unwrap_or((first, last));
            (runs + 1, Some((first.min(from), last.max(to))))
        })
    }

    /// Whether there are rows in a range of time, both ends included; of closed ones whole pieces count.
    pub(crate) fn meets(&self, start: i64, end: i64) -> bool {
        let mut open = [&self.fresh, &self.late]
            .into_iter()
            .flat_map(|open| open.rows.times());
        self.newest >= start
            && (open.any(|time| (start..=end).contains(&time)) || self.closed(start, end).next().is_some())
    }

    /// The newest open sample of a series in a range of time, both ends included.
    pub(crate) fn newest_open(&self, position: usize, start: i64, end: i64) -> Option<(i64, u64, f64)> {
        let newest = |rows: &OpenRows| rows.newest(position, start, end);
        let later = |sample: Option<(i64, u64, f64)>| sample.map(|(time, order, _)| (time, order));
        let (fresh, late) = (newest(&self.fresh.rows), newest(&self.late.rows));
        if later(fresh) >= later(late) { fresh } else { late }
    }

    /// Appends the open samples of a series in a range of time, both ends included, as (time, order, value).
    pub(crate) fn copy_open(&self, position: usize, range: (i64, i64), out: &mut Vec<(i64, u64, f64)>) {
        for open in [&self.fresh, &self.late] {
            open.rows.copy(position, range, out);
        }
    }

    /// Open samples of a series in a range of time, as (time, order, value).
    pub(crate) fn open(
        &self,
        position: usize,
        start: i64,
        end: i64,
    ) -> impl Iterator<Item = (i64, u64, f64)> + '_ {
        [&self.fresh, &self.late]
            .into_iter()
            .flat_map(move |open| open.rows.samples(position))
            .filter(move |(time, _, _)| (start..=end).contains(time))
    }
}
