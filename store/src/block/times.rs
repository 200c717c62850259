//! A times column: the first time, the first step, then the steps' differences, all zigzag varints; times rise.

use std::ops::Range;
use std::sync::Arc;

use wire::varint::{Reader, put_signed};

use super::page::PageError;

/// Times of a column, which rise. Those at one interval, as most are, need no list.
#[derive(Debug, Clone)]
pub(crate) enum ColumnTimes {
    Listed(Arc<Vec<i64>>),
    /// One at least.
    Steady {
        first: i64,
        step: i64,
        count: usize,
    },
}

impl ColumnTimes {
    pub(crate) fn len(&self) -> usize {
        match self {
            ColumnTimes::Listed(list) => list.len(),
            ColumnTimes::Steady { count, .. } => *count,
        }
    }

    /// The time at a place below [`ColumnTimes::len`].
    pub(crate) fn at(&self, place: usize) -> i64 {
        match self {
            ColumnTimes::Listed(list) => list[place],
            ColumnTimes::Steady { first, step, .. } => first + step * place as i64,
        }
    }

    /// How many come before a time; with `also`, or are it.
    pub(crate) fn before(&self, time_ms: i64, also: bool) -> usize {
        let comes_before = |time: i64| time < time_ms || (also && time == time_ms);
        let (mut from, mut until) = (0, self.len());
        if until > 0 && comes_before(self.at(until - 1)) {
            return until;
        }
        while from < until {
            let middle = from.midpoint(until);
            match comes_before(self.at(middle)) {
                true => from = middle + 1,
                false => until = middle,
            }
        }
        from
    }

    /// Some of them.
    pub(crate) fn iter(&self, places: Range<usize>) -> impl DoubleEndedIterator<Item = i64> + Clone + '_ {
        places.map(|place| self.at(place))
    }

    /// Appends some of them.
    pub(crate) fn append_to(&self, places: Range<usize>, out: &mut Vec<i64>) {
        match self {
            ColumnTimes::Listed(list) => out.extend_from_slice(&list[places]),
            ColumnTimes::Steady { .. } => out.extend(self.iter(places)),
        }
    }

    /// Whether they are the same because they are the same list, or at the same interval from the same time on.
    pub(crate) fn are(&self, other: &Self) -> bool {
        match (self, other) {
            (ColumnTimes::Listed(a), ColumnTimes::Listed(b)) => Arc::ptr_eq(a, b),
            (
                ColumnTimes::Steady { first, step, .. },
                ColumnTimes::Steady {
                    first: f, step: s, ..
                },
            ) => (first, step) == (f, s),
            _ => false,
        }
    }
}

/// Appends a column.
pub(crate) fn encode(times: &[i64], out: &mut Vec<u8>) {
    let (mut last, mut step) = (0i64, 0i64);
    for (at, time) in times.iter().enumerate() {
        let now = time.wrapping_sub(last);
        put_signed(out, now.wrapping_sub(step));
        // The first is no step.
        step = if at > 0 { now } else { 0 };
        last = *time;
    }
}

/// The `count` times of a column.
pub(crate) fn read(bytes: &[u8], count: usize) -> Result<ColumnTimes, PageError> {
    if let Some(steady) = steady(bytes, count) {
        return Ok(steady);
    }
    let mut list = Vec::new();
    decode(bytes, count, &mut list)?;
    Ok(ColumnTimes::Listed(Arc::new(list)))
}

/// The times, if they are at one interval.
fn steady(bytes: &[u8], count: usize) -> Option<ColumnTimes> {
    let mut reader = Reader::new(bytes);
    let first = reader.signed().ok()?;
    let step = reader.signed().ok()?;
    let more = count.checked_sub(2)?;
    let is_whole = reader.zeros(more) == more && reader.is_empty();
    let all = step.checked_mul(i64::try_from(count).ok()?);
    let fits = step > 0 && all.and_then(|all| first.checked_add(all)).is_some();
    (is_whole && fits).then_some(ColumnTimes::Steady { first, step, count })
}

/// Replaces `out` by the `count` times of a column.
pub(crate) fn decode(bytes: &[u8], count: usize, out: &mut Vec<i64>) -> Result<(), PageError> {
    out.clear();
    // A time takes a byte or more.
    if count > bytes.len() {
        return Err(PageError);
    }
    out.resize(count, 0);
    let mut reader = Reader::new(bytes);
    if let Some((first, mut left)) = out.split_first_mut() {
        *first = reader.signed()?;
        let (mut last, mut step) = (*first, 0i64);
        while !left.is_empty() {
            let zeros = reader.zeros(left.len());
            let (steady, later) = std::mem::take(&mut left).split_at_mut(zeros);
            last = go_on(steady, last, step)?;
            if let Some((time, later)) = later.split_first_mut() {
                step = step.wrapping_add(reader.signed()?);
                *time = last.wrapping_add(step);
                if *time <= last {
                    return Err(PageError);
                }
                (last, left) = (*time, later);
            }
        }
    }
    match reader.is_empty() {
        true => Ok(()),
        false => Err(PageError),
    }
}

/// Times at one interval after the last; the last of them.
fn go_on(steady: &mut [i64], last: i64, step: i64) -> Result<i64, PageError> {
    if steady.is_empty() {
        return Ok(last);
    }
    let all = step.checked_mul(steady.len() as i64).filter(|all| *all > 0);
    let end = all.and_then(|all| last.checked_add(all)).ok_or(PageError)?;
    let mut at = last;
    for time in steady {
        at += step;
        *time = at;
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn times_survive(mut times in proptest::collection::vec(any::<i64>(), 0..60)) {
            times.sort_unstable();
            times.dedup();
            let mut bytes = Vec::new();
            encode(&times, &mut bytes);
            let mut found = vec![1];
            prop_assert_eq!(decode(&bytes, times.len(), &mut found), Ok(()));
            prop_assert_eq!(found, times);
        }

        #[test]
        fn times_at_few_intervals_survive(parts in proptest::collection::vec((1i64..4, 1usize..50), 1..5)) {
            let mut times = vec![0];
            for (step, count) in parts {
                let last = times[times.len() - 1];
                times.extend((1..=count as i64).map(|steps| last + step * steps));
            }
            let (mut bytes, mut found) = (Vec::new(), Vec::new());
            encode(&times, &mut bytes);
            prop_assert_eq!(decode(&bytes, times.len(), &mut found), Ok(()));
            prop_assert_eq!(&found, &times);
            let read = read(&bytes, times.len()).unwrap();
            let steps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let is_steady = steps.iter().all(|step| *step == steps[0]);
            prop_assert_eq!(matches!(read, ColumnTimes::Steady { .. }), is_steady);
            prop_assert_eq!(read.iter(0..read.len()).collect::<Vec<_>>(), times.clone());
            for time in -1..=times[times.len() - 1] + 1 {
                prop_assert_eq!(read.before(time, false), times.partition_point(|t| *t < time));
                prop_assert_eq!(read.before(time, true), times.partition_point(|t| *t <= time));
            }
        }

        #[test]
        fn arbitrary_bytes_are_an_error_or_rising_times(bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0)], 0..80), count in 0usize..100) {
            let mut found = Vec::new();
            let read = read(&bytes, count);
            prop_assert_eq!(read.is_ok(), decode(&bytes, count, &mut found).is_ok());
            if let Ok(times) = read {
                prop_assert_eq!(found.len(), count);
                prop_assert_eq!(times.iter(0..count).collect::<Vec<_>>(), found.clone());
                prop_assert!(found.is_sorted_by(|a, b| a < b));
            }
            prop_assert_eq!(decode(&bytes, usize::MAX, &mut found), Err(PageError));
        }
    }

    #[test]
    fn a_scrape_takes_a_byte() {
        let times: Vec<i64> = (0..240).map(|n| 1_795_000_000_000 + n * 15_000 + n % 3).collect();
        let mut bytes = Vec::new();
        encode(&times, &mut bytes);
        assert!(bytes.len() < 240 + 12);
    }
}
