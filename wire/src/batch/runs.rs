//! Rising numbers as runs: varint pairs of how many numbers are left out before a run, and its length less one.

use std::ops::Range;

use crate::batch::BatchError;
use crate::varint::{Reader, put};

/// How many runs there are, and their column.
///
/// # Panics
/// If the numbers do not rise.
pub(crate) fn encode(numbers: impl Iterator<Item = u64>) -> (u64, Vec<u8>) {
    let (mut runs, mut out) = (0, Vec::new());
    let mut run: Option<Range<u64>> = None;
    let mut done = 0;
    let mut close = |run: Range<u64>, out: &mut Vec<u8>| {
        let gap = run.start.checked_sub(done).expect("numbers of runs rise");
        put(out, gap);
        put(out, run.end - run.start - 1);
        done = run.end;
    };
    for n in numbers {
        match &mut run {
            Some(run) if run.end == n => run.end += 1,
            _ => {
                if let Some(run) = run.replace(n..n + 1) {
                    close(run, &mut out);
                }
                runs += 1;
            }
        }
    }
    if let Some(run) = run {
        close(run, &mut out);
    }
    (runs, out)
}

/// Reads `count` runs of numbers below `end`.
pub(crate) fn decode(reader: &mut Reader<'_>, count: u64, end: u64) -> Result<Vec<Range<u64>>, BatchError> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for _ in 0..count {
        let next = runs.last().map_or(0, |run| run.end);
        runs.push(decode_run(reader, next, end)?);
    }
    Ok(runs)
}

/// Reads the runs of a whole column, of numbers below `end`.
pub(crate) fn decode_all(column: &[u8], end: u64) -> Result<Vec<Range<u64>>, BatchError> {
    let mut reader = Reader::new(column);
    let mut runs: Vec<Range<u64>> = Vec::new();
    while !reader.is_empty() {
        let next = runs.last().map_or(0, |run| run.end);
        runs.push(decode_run(&mut reader, next, end)?);
    }
    Ok(runs)
}

fn decode_run(reader: &mut Reader<'_>, next: u64, end: u64) -> Result<Range<u64>, BatchError> {
    let (gap, more) = (reader.varint()?, reader.varint()?);
    let first = next.checked_add(gap);
    match first.and_then(|first| Some(first..first.checked_add(more)?.checked_add(1)?)) {
        Some(run) if run.end <= end => Ok(run),
        _ => Err(BatchError::Malformed("runs")),
    }
}
