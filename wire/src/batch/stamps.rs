//! The seqs, times and monotonic times of a group's rows, one column after the other.

use crate::batch::BatchError;
use crate::batch::group::Row;
use crate::batch::key::GroupKey;
use crate::batch::tokens::{TokenReader, TokenWriter};
use crate::limits::MAX_NUMBER;
use crate::number::Seq;
use crate::time::Timestamp;
use crate::varint::{Reader, put, put_signed};

/// Time minus monotonic time of a row, ms.
pub(crate) fn offset_ms(row: &Row) -> i64 {
    row.time.ms().wrapping_sub(row.mono_ms as i64)
}

/// The column of a group with at least one row.
pub(crate) fn encode(rows: &[Row], reference: Option<&GroupKey>) -> Vec<u8> {
    let mut out = Vec::new();
    let seqs: Vec<i64> = rows.iter().map(|row| row.seq.get() as i64).collect();
    put(&mut out, seqs[0] as u64);
    put_changes(&mut out, &seqs, true);

    let times: Vec<i64> = rows.iter().map(|row| row.time.ms()).collect();
    put_signed(
        &mut out,
        times[0].wrapping_sub(reference.map_or(0, |key| key.time_ms)),
    );
    put_changes(&mut out, &times, true);

    let offsets: Vec<i64> = rows.iter().map(offset_ms).collect();
    if reference.is_none_or(|key| offsets.iter().any(|offset| *offset != key.offset_ms)) {
        put_signed(
            &mut out,
            offsets[0].wrapping_sub(reference.map_or(0, |key| key.offset_ms)),
        );
        put_changes(&mut out, &offsets, false);
    }
    out
}

/// Tokens of what follows the first number: deltas, or deltas of deltas.
fn put_changes(out: &mut Vec<u8>, numbers: &[i64], twice: bool) {
    let mut tokens = TokenWriter::default();
    let mut before = 0;
    for pair in numbers.windows(2) {
        let delta = pair[1].wrapping_sub(pair[0]);
        tokens.push(out, delta.wrapping_sub(before));
        before = if twice { delta } else { 0 };
    }
    tokens.flush(out);
}

/// Reads as many numbers, the first of which is given.
fn next_changes(
    reader: &mut Reader<'_>,
    first: i64,
    count: usize,
    twice: bool,
) -> Result<Vec<i64>, BatchError> {
    let mut tokens = TokenReader::default();
    let mut numbers = Vec::with_capacity(count);
    let (mut number, mut delta) = (first, 0i64);
    numbers.push(first);
    for _ in 1..count {
        let token = tokens.next(reader)?;
        delta = if twice { delta.wrapping_add(token) } else { token };
        number = number.wrapping_add(delta);
        numbers.push(number);
    }
    match tokens.inside_run() {
        true => Err(BatchError::Malformed("zeros beyond the last row")),
        false => Ok(numbers),
    }
}

/// Reads the seqs, with which the column begins, of `count` rows, at least 1.
pub(crate) fn decode_seqs(reader: &mut Reader<'_>, count: usize) -> Result<Vec<i64>, BatchError> {
    let first = reader.varint()? as i64;
    let seqs = next_changes(reader, first, count, true)?;
    match seqs.iter().all(|seq| (1..=MAX_NUMBER as i64).contains(seq)) {
        true => Ok(seqs),
        false => Err(BatchError::Malformed("seq")),
    }
}

/// Reads the column of `count` rows, at least 1.
pub(crate) fn decode(
    column: &[u8],
    count: usize,
    reference: Option<&GroupKey>,
) -> Result<Vec<Row>, BatchError> {
    let mut reader = Reader::new(column);
    let seqs = decode_seqs(&mut reader, count)?;
    let first = reader
        .signed()?
        .wrapping_add(reference.map_or(0, |key| key.time_ms));
    let times = next_changes(&mut reader, first, count, true)?;
    let offsets = match reference {
        Some(key) if reader.is_empty() => vec![key.offset_ms; count],
        _ => {
            let first = reader
                .signed()?
                .wrapping_add(reference.map_or(0, |key| key.offset_ms));
            next_changes(&mut reader, first, count, false)?
        }
    };
    if !reader.is_empty() {
        return Err(BatchError::Malformed("bytes after the times"));
    }
    let rows = seqs.into_iter().zip(times).zip(offsets);
    rows.map(|((seq, time), offset)| row(seq, time, offset)).collect()
}

fn row(seq: i64, time: i64, offset: i64) -> Result<Row, BatchError> {
    let mono = u64::try_from(time.wrapping_sub(offset)).unwrap_or(u64::MAX);
    if time.unsigned_abs() > MAX_NUMBER || mono > MAX_NUMBER {
        return Err(BatchError::Limit("time"));
    }
    Ok(Row {
        seq: Seq::new(seq as u64),
        time: Timestamp::from_ms(time),
        mono_ms: mono,
    })
}
