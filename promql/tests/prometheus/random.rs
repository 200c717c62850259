//! Random numbers of which a seed says everything.

/// A small generator (xorshift64*).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        (drawn % bound.max(1) as u64) as usize
    }

    pub(crate) fn choose<'i>(&mut self, items: &[&'i str]) -> &'i str {
        items.get(self.below(items.len())).copied().unwrap_or_default()
    }
}
