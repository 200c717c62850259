//! The times at which an expression is evaluated.

/// Equidistant times: `start_ms`, `start_ms + step_ms`, ...; at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    start_ms: i64,
    step_ms: i64,
    len: usize,
}

impl Grid {
    /// One time.
    pub(crate) fn single(time_ms: i64) -> Self {
        Self {
            start_ms: time_ms,
            step_ms: 1,
            len: 1,
        }
    }

    /// Times from `start_ms` on, up to `end_ms` at most; `None` when there is none or more than memory could hold.
    pub(crate) fn new(start_ms: i64, end_ms: i64, step_ms: i64) -> Option<Self> {
        if step_ms <= 0 || end_ms < start_ms {
            return None;
        }
        let len = (i128::from(end_ms) - i128::from(start_ms)) / i128::from(step_ms) + 1;
        let len = usize::try_from(len).ok()?;
        Some(Self {
            start_ms,
            step_ms,
            len,
        })
    }

    /// How many times there are.
    pub(crate) fn len(self) -> usize {
        self.len
    }

    /// The time at an index below [`Grid::len`], Unix ms.
    pub(crate) fn time_ms(self, index: usize) -> i64 {
        // The time itself fits; only the distance from a very early start may not, and wrapping twice undoes that.
        self.start_ms
            .wrapping_add(self.step_ms.wrapping_mul(index as i64))
    }

    /// The distance between times in ms.
    pub(crate) fn step_ms(self) -> i64 {
        self.step_ms
    }

    /// The first time.
    pub(crate) fn start_ms(self) -> i64 {
        self.start_ms
    }

    /// The last time.
    pub(crate) fn end_ms(self) -> i64 {
        self.time_ms(self.len - 1)
    }

    /// All times.
    pub(crate) fn times_ms(self) -> impl Iterator<Item = i64> {
        (0..self.len).map(move |index| self.time_ms(index))
    }
}
