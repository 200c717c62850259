//! Times of a group's rows, kept apart from the group, so that most groups need not be read to know that they have none.

/// Between which times a group's rows are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// No row has an earlier time.
    pub(super) first: i64,
    /// Times of the last two rows; none has a later one.
    pub(super) last: [i64; 2],
}

impl Span {
    /// That of a group without a row.
    pub(super) const NONE: Span = Span {
        first: i64::MAX,
        last: [i64::MIN; 2],
    };

    /// Notes a row of a time.
    pub(super) fn note(&mut self, time: i64) {
        self.first = self.first.min(time);
        let [_, last] = self.last;
        if time > last {
            self.last = [last, time];
        }
    }
}
