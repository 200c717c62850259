//! The value columns of a group while it is written.

use crate::batch::decimal::{self, RAW};
use crate::batch::group::Group;
use crate::batch::key::GroupKey;
use crate::batch::presence::Presence;
use crate::batch::tokens::TokenWriter;
use crate::batch::{runs, stamps, xor};
use crate::message;
use crate::varint::{put, put_signed};

/// Deltas of deltas are tried from as many values on.
const ORDER_FROM: usize = 5;

/// Collects the columns; kept between groups for its memory.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    changed: Vec<u8>,
    modes: Vec<u8>,
    /// Series with the default mode since the last entry in `modes`.
    default_run: u64,
    /// The default where there is no reference: the byte before.
    mode_before: u8,
    first: Vec<u8>,
    vals: Vec<u8>,
    tokens: TokenWriter,
    raw: Vec<u8>,
    mantissas: Vec<i64>,
    deltas: Vec<i64>,
}

impl Columns {
    /// Starts a group.
    pub(crate) fn reset(&mut self, series: usize) {
        for column in [&mut self.modes, &mut self.first, &mut self.vals, &mut self.raw] {
            column.clear();
        }
        self.changed.clear();
        self.changed.resize(series.div_ceil(8), 0);
        self.default_run = 0;
        self.mode_before = 0;
        self.tokens = TokenWriter::default();
    }

    /// Notes which series differ from their references, where every cell has a value.
    pub(crate) fn mark_changed(&mut self, values: &[f64], rows: usize, bits: &[u64]) {
        if rows == 1 {
            let eights = values.chunks(8).zip(bits.chunks(8));
            for (byte, (values, bits)) in self.changed.iter_mut().zip(eights) {
                let differs = values
                    .iter()
                    .zip(bits)
                    .map(|(value, bits)| value.to_bits() != *bits);
                *byte = differs
                    .enumerate()
                    .fold(0, |byte, (at, differs)| byte | u8::from(differs) << at);
            }
            return;
        }
        for (at, (cells, bits)) in values.chunks_exact(rows).zip(bits).enumerate() {
            let differs = cells.iter().any(|value| value.to_bits() != *bits);
            self.changed[at / 8] |= u8::from(differs) << (at % 8);
        }
    }

    /// Notes that the series at a position differs from its reference.
    pub(crate) fn set_changed(&mut self, at: usize) {
        self.changed[at / 8] |= 1 << (at % 8);
    }

    /// The byte of the bitmap for eight positions.
    pub(crate) fn changed_byte(&self, byte: usize) -> u8 {
        self.changed[byte]
    }

    /// Adds the values of a changed series as differences from its reference (bits and mode). `last` is the mode that it
    /// was last written in.
    #[inline]
    pub(crate) fn push_keyed(&mut self, values: &[f64], reference: (u64, u8), last: &mut u8) {
        let (bits, key_mode) = reference;
        let mode = decimal::fit(values, [key_mode, *last], &mut self.mantissas);
        *last = mode;
        if mode == RAW {
            self.push_mode(RAW << 2, key_mode << 2);
            self.push_raw(values, bits);
            return;
        }
        let base = decimal::mantissa(f64::from_bits(bits), mode).unwrap_or(0);
        self.tokens
            .push(&mut self.vals, self.mantissas[0].wrapping_sub(base));
        let order = self.push_deltas();
        self.push_mode(mode << 2 | order, key_mode << 2);
    }

    /// Adds the values of the series at a position without a reference; returns the mode that it is written in.
    pub(crate) fn push_alone(&mut self, at: usize, values: &[f64], last: &mut u8) -> u8 {
        let Some((first, rest)) = values.split_first() else {
            return 0;
        };
        let constant = rest.iter().all(|value| value.to_bits() == first.to_bits());
        let values = if constant { &values[..1] } else { values };
        if !constant {
            self.set_changed(at);
        }
        let mode = decimal::fit(values, [*last, RAW], &mut self.mantissas);
        *last = mode;
        let order = match mode {
            RAW => {
                self.push_raw(values, 0);
                0
            }
            _ => {
                put_signed(&mut self.first, self.mantissas[0]);
                self.push_deltas()
            }
        };
        self.push_mode(mode << 2 | order, self.mode_before);
        self.mode_before = mode << 2 | order;
        mode
    }

    /// Adds the differences between the mantissas; returns their order.
    #[inline]
    fn push_deltas(&mut self) -> u8 {
        if self.mantissas.len() < 2 {
            return 0;
        }
        self.deltas.clear();
        self.deltas.extend(
            self.mantissas
                .windows(2)
                .map(|pair| pair[1].wrapping_sub(pair[0])),
        );
        let order = u8::from(self.deltas.len() + 1 >= ORDER_FROM && twice_is_shorter(&self.deltas));
        let mut before = 0;
        for delta in &self.deltas {
            self.tokens.push(&mut self.vals, delta.wrapping_sub(before));
            before = if order == 1 { *delta } else { 0 };
        }
        order
    }

    fn push_raw(&mut self, values: &[f64], mut before: u64) {
        for value in values {
            xor::put(&mut self.raw, before, value.to_bits());
            before = value.to_bits();
        }
    }

    #[inline]
    fn push_mode(&mut self, byte: u8, default: u8) {
        if byte == default {
            self.default_run += 1;
        } else {
            put(&mut self.modes, std::mem::take(&mut self.default_run));
            self.modes.push(byte);
        }
    }

    /// Ends the group.
    pub(crate) fn message(&mut self, group: &Group, reference: Option<&GroupKey>) -> message::Group {
        self.tokens.flush(&mut self.vals);
        let series = match reference {
            Some(_) => Vec::new(),
            None => runs::encode(group.series.iter().map(|id| u64::from(id.get()))).1,
        };
        let rows = group.rows.len();
        let changed: &[u8] = match self.changed.iter().any(|byte| *byte != 0) {
            true => &self.changed,
            false => &[],
        };
        message::Group {
            series: series.into(),
            key_group: 0,
            more_rows: rows as u32 - 1,
            stamps: stamps::encode(&group.rows, reference).into(),
            present: group
                .present
                .as_ref()
                .map_or_else(Vec::new, |p: &Presence| p.encode(rows))
                .into(),
            changed: changed.to_vec().into(),
            modes: self.modes.clone().into(),
            first: self.first.clone().into(),
            vals: self.vals.clone().into(),
            raw: self.raw.clone().into(),
            histograms: group.histograms.clone(),
            exemplars: group.exemplars.clone(),
            metadata: group.metadata.clone(),
        }
    }
}

/// Whether deltas of deltas take at least a twentieth fewer bytes.
fn twice_is_shorter(deltas: &[i64]) -> bool {
    let size = |n: i64| u64::from(70 - (n.unsigned_abs() | 1).leading_zeros()) / 7;
    let once: u64 = deltas.iter().map(|delta| size(*delta)).sum();
    let between = deltas.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]));
    let twice: u64 = size(deltas[0]) + between.map(size).sum::<u64>();
    twice * 20 <= once * 19
}
