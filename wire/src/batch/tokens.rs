//! Differences as tokens: varint 0 is one zero, 1 and a varint `r` are `r + 2` zeros, and any other `z` is the number
//! whose zigzag is `z - 1`. Most differences of a metrics page are zero, and runs of them span series.

use crate::varint::{Reader, Short, put, unzigzag, zigzag};

/// Writes a column of tokens.
#[derive(Debug, Default)]
pub(crate) struct TokenWriter {
    zeros: u64,
}

impl TokenWriter {
    #[inline]
    pub(crate) fn push(&mut self, out: &mut Vec<u8>, n: i64) {
        if n == 0 {
            self.zeros += 1;
        } else {
            self.flush(out);
            // i64::MIN would wrap to the token of one zero; limits keep every difference far from it.
            put(out, zigzag(n).wrapping_add(1));
        }
    }

    /// Ends the column.
    #[inline]
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) {
        match std::mem::take(&mut self.zeros) {
            0 => {}
            1 => out.push(0),
            many => {
                out.push(1);
                put(out, many - 2);
            }
        }
    }
}

/// Reads a column of tokens.
#[derive(Debug, Default)]
pub(crate) struct TokenReader {
    zeros: u64,
}

impl TokenReader {
    #[inline]
    pub(crate) fn next(&mut self, reader: &mut Reader<'_>) -> Result<i64, Short> {
        if self.zeros > 0 {
            self.zeros -= 1;
            return Ok(0);
        }
        match reader.varint()? {
            0 => Ok(0),
            1 => {
                self.zeros = reader.varint()?.checked_add(1).ok_or(Short)?;
                Ok(0)
            }
            z => Ok(unzigzag(z - 1)),
        }
    }

    /// Whether a run of zeros is left over.
    pub(crate) fn inside_run(&self) -> bool {
        self.zeros > 0
    }
}
