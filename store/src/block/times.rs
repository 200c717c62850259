//! A times column: the first time, the first step, then the steps' differences, all zigzag varints; times rise.

use wire::varint::{Reader, put_signed};

use super::page::PageError;

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
            prop_assert_eq!(found, times);
        }

        #[test]
        fn arbitrary_bytes_are_an_error_or_rising_times(bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0)], 0..80), count in 0usize..100) {
            let mut found = Vec::new();
            if decode(&bytes, count, &mut found).is_ok() {
                prop_assert_eq!(found.len(), count);
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
