//! Bits in a row, the highest of a byte first.

/// Bytes that are filled bit by bit.
#[derive(Debug, Default)]
pub(super) struct Bits {
    bytes: Vec<u8>,
    /// Bits of the last byte that are not used.
    free: u32,
}

impl Bits {
    /// Bits after whole bytes.
    pub(super) fn after(bytes: Vec<u8>) -> Self {
        Bits { bytes, free: 0 }
    }

    /// Adds the lowest `count` bits of a number, at most 64.
    pub(super) fn put(&mut self, bits: u64, count: u32) {
        let mut left = count;
        while left > 0 {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            let taken = left.min(self.free);
            let part = (bits >> (left - taken)) & ((1 << taken) - 1);
            if let Some(last) = self.bytes.last_mut() {
                *last |= (part as u8) << (self.free - taken);
            }
            self.free -= taken;
            left -= taken;
        }
    }

    /// Adds whole bytes at whatever bit.
    pub(super) fn put_bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.put(u64::from(*byte), 8);
        }
    }

    /// The bytes, the last filled up with zeros.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
