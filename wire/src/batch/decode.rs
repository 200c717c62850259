//! Reads groups.

use std::sync::Arc;

use crate::batch::decimal::{self, RAW};
use crate::batch::group::Group;
use crate::batch::key::GroupKey;
use crate::batch::presence::Presence;
use crate::batch::raw::GROUP;
use crate::batch::tokens::TokenReader;
use crate::batch::{BatchError, runs, stamps, xor};
use crate::dict::SeriesId;
use crate::limits::{MAX_CELLS, MAX_LABELS, MAX_ROWS, MAX_SERIES};
use crate::message;
use crate::shape;
use crate::varint::{Reader, Short};

/// What the groups of a message may take.
#[derive(Debug)]
pub(crate) struct Budget {
    series: u64,
    cells: usize,
}

impl Budget {
    /// For series of a dictionary of this length.
    pub(crate) fn new(series: usize) -> Self {
        Budget {
            series: series.min(MAX_SERIES) as u64,
            cells: MAX_CELLS,
        }
    }

    fn take_cells(&mut self, series: usize, rows: usize) -> Result<usize, BatchError> {
        let left = series
            .checked_mul(rows)
            .and_then(|cells| self.cells.checked_sub(cells));
        self.cells = left.ok_or(BatchError::Limit("values"))?;
        Ok(series * rows)
    }
}

/// Reads what `Encoder::encode_group` wrote with the same reference. `series` is the dictionary's length. Also returns
/// what later groups may refer to, if this one stands alone. A group that needs a reference and gets none, or one of
/// other series, is malformed or comes back wrong: the log says which belongs to which.
pub fn decode_group(
    bytes: &[u8],
    series: usize,
    reference: Option<&GroupKey>,
) -> Result<(Group, Option<GroupKey>), BatchError> {
    let body = bytes::Bytes::copy_from_slice(bytes);
    let message: message::Group = shape::decode_unversioned(body, GROUP)?;
    let reference = match message.key_group {
        0 => None,
        _ => Some(reference.ok_or(BatchError::Malformed("a group without its reference"))?),
    };
    group(&message, reference, &mut Budget::new(series))
}

/// Reads a group, and makes the key's group of one without a reference.
pub(crate) fn group(
    message: &message::Group,
    reference: Option<&GroupKey>,
    budget: &mut Budget,
) -> Result<(Group, Option<GroupKey>), BatchError> {
    let row_count = message.more_rows as usize + 1;
    if row_count > MAX_ROWS {
        return Err(BatchError::Limit("rows"));
    }
    let series = read_series(message, reference, row_count, budget)?;
    let rows = stamps::decode(&message.stamps, row_count, reference)?;
    let present = match message.present.is_empty() {
        true => None,
        false => Some(Presence::decode(&message.present, series.len(), row_count)?),
    };
    let (values, key) = match reference {
        Some(reference) => (read_keyed(message, row_count, present.as_ref(), reference)?, None),
        None => {
            let (values, bits, modes) = read_alone(message, series.len(), row_count, present.as_ref())?;
            let key = GroupKey {
                series: series.clone(),
                bits,
                modes,
                time_ms: rows[0].time.ms(),
                offset_ms: stamps::offset_ms(&rows[0]),
            };
            (values, Some(key))
        }
    };
    let group = Group {
        series,
        rows,
        values,
        present,
        histograms: message.histograms.clone(),
        exemplars: message.exemplars.clone(),
        metadata: message.metadata.clone(),
    };
    check_cells(&group)?;
    Ok((group, key))
}

fn read_series(
    message: &message::Group,
    reference: Option<&GroupKey>,
    rows: usize,
    budget: &mut Budget,
) -> Result<Arc<[SeriesId]>, BatchError> {
    if let Some(reference) = reference {
        budget.take_cells(reference.series.len(), rows)?;
        let known = reference
            .series
            .last()
            .is_none_or(|id| u64::from(id.get()) < budget.series);
        return match known && message.series.is_empty() {
            true => Ok(reference.series.clone()),
            false => Err(BatchError::Malformed("series")),
        };
    }
    let runs = runs::decode_all(&message.series, budget.series)?;
    let count = runs.iter().map(|run| run.end - run.start).sum::<u64>() as usize;
    budget.take_cells(count, rows)?;
    Ok(runs
        .into_iter()
        .flatten()
        .map(|id| SeriesId::new(id as u32))
        .collect())
}

/// The modes column.
struct Modes<'a> {
    reader: Reader<'a>,
    gap: Option<u64>,
}

impl<'a> Modes<'a> {
    fn new(column: &'a [u8]) -> Result<Self, Short> {
        let mut modes = Modes {
            reader: Reader::new(column),
            gap: None,
        };
        modes.read_gap()?;
        Ok(modes)
    }

    fn read_gap(&mut self) -> Result<(), Short> {
        self.gap = match self.reader.is_empty() {
            true => None,
            false => Some(self.reader.varint()?),
        };
        Ok(())
    }

    #[inline]
    fn next(&mut self, default: u8) -> Result<u8, BatchError> {
        match &mut self.gap {
            None => Ok(default),
            Some(gap @ 1..) => {
                *gap -= 1;
                Ok(default)
            }
            Some(0) => {
                let byte = self.reader.byte()?;
                self.read_gap()?;
                match decimal::is_mode(byte >> 2) && byte & 3 <= u8::from(byte >> 2 != RAW) {
                    true => Ok(byte),
                    false => Err(BatchError::Malformed("mode")),
                }
            }
        }
    }
}

/// The value columns of a group while they are read.
struct Columns<'a> {
    changed: &'a [u8],
    modes: Modes<'a>,
    first: Reader<'a>,
    vals: Reader<'a>,
    tokens: TokenReader,
    raw: Reader<'a>,
}

impl<'a> Columns<'a> {
    fn new(message: &'a message::Group, series: usize) -> Result<Self, BatchError> {
        let changed = &message.changed;
        // Bits after the last series.
        let used = (series + 7) % 8 + 1;
        let spare = changed.last().map_or(0, |byte| u32::from(*byte) >> used);
        if !changed.is_empty() && (changed.len() != series.div_ceil(8) || spare != 0) {
            return Err(BatchError::Malformed("bitmap of changes"));
        }
        Ok(Columns {
            changed,
            modes: Modes::new(&message.modes)?,
            first: Reader::new(&message.first),
            vals: Reader::new(&message.vals),
            tokens: TokenReader::default(),
            raw: Reader::new(&message.raw),
        })
    }

    fn is_changed(&self, at: usize) -> bool {
        self.changed
            .get(at / 8)
            .is_some_and(|byte| byte >> (at % 8) & 1 == 1)
    }

    /// Fills the cells of a series with differences from its reference.
    #[inline]
    fn read_changed(&mut self, cells: &mut [f64], bits: u64, key_mode: u8) -> Result<(), BatchError> {
        let byte = self.modes.next(key_mode << 2)?;
        let mode = byte >> 2;
        if mode == RAW {
            return self.read_raw(cells, bits);
        }
        let base = decimal::mantissa(f64::from_bits(bits), mode).unwrap_or(0);
        let Some((first, rest)) = cells.split_first_mut() else {
            return Ok(());
        };
        let number = base.wrapping_add(self.tokens.next(&mut self.vals)?);
        *first = decimal::float(number, mode);
        let value = *first;
        self.read_steps(rest, byte, number, value)
    }

    /// Fills cells whose mantissas are steps from that of the cell before them.
    #[inline]
    fn read_steps(
        &mut self,
        cells: &mut [f64],
        byte: u8,
        mut number: i64,
        mut value: f64,
    ) -> Result<(), BatchError> {
        let (twice, mode) = (byte & 3 == 1, byte >> 2);
        let mut delta = 0i64;
        for cell in cells {
            let token = self.tokens.next(&mut self.vals)?;
            delta = if twice { delta.wrapping_add(token) } else { token };
            if delta != 0 {
                number = number.wrapping_add(delta);
                value = decimal::float(number, mode);
            }
            *cell = value;
        }
        Ok(())
    }

    fn read_raw(&mut self, cells: &mut [f64], mut bits: u64) -> Result<(), BatchError> {
        for cell in cells {
            bits = xor::next(&mut self.raw, bits)?;
            *cell = f64::from_bits(bits);
        }
        Ok(())
    }

    fn end(self) -> Result<(), BatchError> {
        let empty = self.first.is_empty() && self.vals.is_empty() && self.raw.is_empty();
        match empty && self.modes.gap.is_none() && !self.tokens.inside_run() {
            true => Ok(()),
            false => Err(BatchError::Malformed("bytes after the last value")),
        }
    }
}

/// The cells of one series: read in place where all have a float, else one after the other and then spread.
struct Cells<'a> {
    rows: usize,
    present: Option<&'a Presence>,
    some: Vec<f64>,
}

impl<'a> Cells<'a> {
    fn new(rows: usize, present: Option<&'a Presence>) -> Self {
        Cells {
            rows,
            present,
            some: Vec::new(),
        }
    }

    /// Has `read` fill the cells that have a float of the series at a position.
    #[inline]
    fn fill(
        &mut self,
        values: &mut [f64],
        at: usize,
        read: impl FnOnce(&mut [f64]) -> Result<(), BatchError>,
    ) -> Result<(), BatchError> {
        let start = at * self.rows;
        let cells = &mut values[start..start + self.rows];
        let Some(present) = self.present else {
            return read(cells);
        };
        let has = |row: &usize| present.get(start + row);
        self.some.clear();
        self.some.resize((0..self.rows).filter(has).count(), 0.0);
        read(&mut self.some)?;
        for (row, value) in (0..self.rows).filter(has).zip(&self.some) {
            cells[row] = *value;
        }
        Ok(())
    }
}

fn read_keyed(
    message: &message::Group,
    rows: usize,
    present: Option<&Presence>,
    reference: &GroupKey,
) -> Result<Vec<f64>, BatchError> {
    let mut columns = Columns::new(message, reference.series.len())?;
    let mut values = reference_values(&reference.bits, rows);
    if let Some(present) = present {
        for (cell, value) in values.iter_mut().enumerate() {
            if !present.get(cell) {
                *value = 0.0;
            }
        }
    }
    let mut cells = Cells::new(rows, present);
    for (byte, bitmap) in message.changed.iter().enumerate() {
        let mut bitmap = *bitmap;
        while bitmap != 0 {
            let at = byte * 8 + bitmap.trailing_zeros() as usize;
            bitmap &= bitmap - 1;
            let (bits, key_mode) = (reference.bits[at], reference.modes[at]);
            cells.fill(&mut values, at, |cells| {
                columns.read_changed(cells, bits, key_mode)
            })?;
        }
    }
    columns.end()?;
    Ok(values)
}

/// The reference's value in every row.
fn reference_values(bits: &[u64], rows: usize) -> Vec<f64> {
    if rows == 1 {
        return bits.iter().map(|bits| f64::from_bits(*bits)).collect();
    }
    let mut values = vec![0.0; bits.len() * rows];
    for (cells, bits) in values.chunks_exact_mut(rows).zip(bits) {
        cells.fill(f64::from_bits(*bits));
    }
    values
}

type Alone = (Vec<f64>, Vec<u64>, Vec<u8>);

/// Values, and the bits and modes of a key's group.
fn read_alone(
    message: &message::Group,
    series: usize,
    rows: usize,
    present: Option<&Presence>,
) -> Result<Alone, BatchError> {
    let mut columns = Columns::new(message, series)?;
    let mut values = vec![0.0; series * rows];
    let (mut bits, mut modes) = (Vec::with_capacity(series), Vec::with_capacity(series));
    let (mut byte, mut cells) = (0, Cells::new(rows, present));
    for at in 0..series {
        let changed = columns.is_changed(at);
        cells.fill(&mut values, at, |cells| {
            let Some((first, rest)) = cells.split_first_mut() else {
                bits.push(0);
                modes.push(0);
                return Ok(());
            };
            byte = columns.modes.next(byte)?;
            let mode = byte >> 2;
            let mut mantissa = 0;
            *first = if mode == RAW {
                f64::from_bits(xor::next(&mut columns.raw, 0)?)
            } else {
                mantissa = columns.first.signed()?;
                decimal::float(mantissa, mode)
            };
            bits.push(first.to_bits());
            modes.push(mode);
            match (changed, mode) {
                (false, _) => rest.fill(*first),
                (true, RAW) => columns.read_raw(rest, first.to_bits())?,
                (true, _) => columns.read_steps(rest, byte, mantissa, *first)?,
            }
            Ok(())
        })?;
    }
    columns.end()?;
    Ok((values, bits, modes))
}

/// Histograms and exemplars must belong to a cell or row that there is, and no cell may hold two samples.
fn check_cells(group: &Group) -> Result<(), BatchError> {
    let rows = group.rows.len();
    let within = |position: u32, row: u32| (position as usize) < group.series.len() && (row as usize) < rows;
    let mut taken = Vec::with_capacity(group.histograms.len());
    for cell in &group.histograms {
        if !within(cell.position, cell.row) || cell.histogram.is_none() {
            return Err(BatchError::Malformed("histogram"));
        }
        if group.value(cell.position as usize, cell.row as usize).is_some() {
            return Err(BatchError::Malformed("a float and a histogram in one place"));
        }
        taken.push((cell.position, cell.row));
    }
    taken.sort_unstable();
    if taken.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(BatchError::Malformed("two histograms in one place"));
    }
    for exemplar in &group.exemplars {
        if !within(exemplar.position, exemplar.row) {
            return Err(BatchError::Malformed("exemplar"));
        }
        if exemplar.labels.len() > MAX_LABELS {
            return Err(BatchError::Limit("labels of an exemplar"));
        }
    }
    match group
        .metadata
        .iter()
        .all(|metadata| (metadata.row as usize) < rows)
    {
        true => Ok(()),
        false => Err(BatchError::Malformed("metadata")),
    }
}
