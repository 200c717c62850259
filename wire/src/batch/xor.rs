//! Values of mode 31: the bits of each, XORed with those before.
//!
//! A control byte, trailing zero bytes << 4 | significant bytes, then the significant bytes, lowest first; 0 is an
//! equal value.

use crate::batch::BatchError;
use crate::varint::Reader;

/// Writes the bits of a value after those before it.
pub fn put(out: &mut Vec<u8>, before: u64, bits: u64) {
    let xor = before ^ bits;
    if xor == 0 {
        out.push(0);
        return;
    }
    let trailing = xor.trailing_zeros() as usize / 8;
    let significant = 8 - xor.leading_zeros() as usize / 8 - trailing;
    out.push((trailing << 4 | significant) as u8);
    out.extend_from_slice(&xor.to_le_bytes()[trailing..trailing + significant]);
}

/// Reads the bits of a value after those before it.
pub fn next(reader: &mut Reader<'_>, before: u64) -> Result<u64, BatchError> {
    let control = reader.byte()?;
    let (trailing, significant) = ((control >> 4) as usize, (control & 15) as usize);
    if trailing + significant > 8 || (significant == 0 && trailing > 0) {
        return Err(BatchError::Malformed("control byte of a raw value"));
    }
    let mut xor = [0; 8];
    xor[trailing..trailing + significant].copy_from_slice(reader.take(significant)?);
    Ok(before ^ u64::from_le_bytes(xor))
}
