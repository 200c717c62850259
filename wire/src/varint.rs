//! LEB128 varints, as in protobuf, and a reader that never goes past its bytes.

/// The bytes end too early, or a varint does not fit 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short;

/// Writes a number.
pub fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Writes a number as its zigzag.
pub fn put_signed(out: &mut Vec<u8>, n: i64) {
    put(out, zigzag(n));
}

/// Maps numbers near 0 of either sign to small ones.
pub const fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

/// Undoes `zigzag`.
pub const fn unzigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

/// Reads a column from its start.
#[derive(Debug, Clone)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads these bytes.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    /// Whether nothing is left.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is left.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The next byte.
    #[inline]
    pub fn byte(&mut self) -> Result<u8, Short> {
        let (&byte, rest) = self.0.split_first().ok_or(Short)?;
        self.0 = rest;
        Ok(byte)
    }

    /// The next bytes.
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Short> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Short)?;
        self.0 = rest;
        Ok(taken)
    }

    /// The next number.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, Short> {
        match *self.0 {
            [byte, ref rest @ ..] if byte < 0x80 => {
                self.0 = rest;
                Ok(u64::from(byte))
            }
            [low, high, ref rest @ ..] if high < 0x80 => {
                self.0 = rest;
                Ok(u64::from(low & 0x7f) | u64::from(high) << 7)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Short> {
        let mut n = 0u64;
        for (at, &byte) in self.0.iter().take(10).enumerate() {
            if at == 9 && byte > 1 {
                return Err(Short);
            }
            n |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                self.0 = &self.0[at + 1..];
                return Ok(n);
            }
        }
        Err(Short)
    }

    /// How many of the next numbers, at most `most`, are 0: they are taken.
    #[inline]
    pub fn zeros(&mut self, most: usize) -> usize {
        if self.0.first() != Some(&0) {
            return 0;
        }
        let bytes = &self.0[..most.min(self.0.len())];
        let (words, _) = bytes.as_chunks::<16>();
        let sure = 16
            * words
                .iter()
                .take_while(|word| u128::from_ne_bytes(**word) == 0)
                .count();
        let zeros = sure + bytes[sure..].iter().take_while(|byte| **byte == 0).count();
        self.0 = &self.0[zeros..];
        zeros
    }

    /// The next number that was written as its zigzag.
    #[inline]
    pub fn signed(&mut self) -> Result<i64, Short> {
        self.varint().map(unzigzag)
    }

    /// A varint that counts or indexes things in memory.
    pub(crate) fn size(&mut self) -> Result<usize, Short> {
        usize::try_from(self.varint()?).map_err(|_| Short)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_survive(numbers in proptest::collection::vec(any::<i64>(), 0..20), shift in 0u32..64) {
            let mut out = Vec::new();
            for n in &numbers {
                put_signed(&mut out, n >> shift);
            }
            let mut reader = Reader::new(&out);
            for n in &numbers {
                prop_assert_eq!(reader.signed(), Ok(n >> shift));
            }
            prop_assert!(reader.is_empty());
            prop_assert_eq!(reader.varint(), Err(Short));
        }
    }

    #[test]
    fn zeros_are_taken_together() {
        for (count, most) in [(0, 9), (1, 9), (5, 3), (16, 16), (40, 40), (40, 20), (47, 50)] {
            let bytes = [vec![0; count], vec![7, 0]].concat();
            let mut reader = Reader::new(&bytes);
            let taken = count.min(most);
            assert_eq!(reader.zeros(most), taken);
            assert_eq!(reader.rest().len(), bytes.len() - taken);
        }
        assert_eq!(Reader::new(&[0; 20]).zeros(30), 20);
        assert_eq!(Reader::new(&[]).zeros(1), 0);
    }

    #[test]
    fn a_varint_of_more_than_64_bits_is_refused() {
        assert_eq!(Reader::new(&[0xff; 11]).varint(), Err(Short));
        assert_eq!(
            Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).varint(),
            Err(Short)
        );
    }
}
