//! What became of a device's samples after they were stored.

/// Counts of samples of a device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Put into heads or blocks, histograms included.
    pub(crate) taken: u64,
    /// Were there already, with the same value.
    pub(crate) same: u64,
    /// Replaced another value of the same time.
    pub(crate) conflict: u64,
    /// Gone with a block that was older than what is kept.
    pub(crate) retention: u64,
    /// Gone with a block that was damaged.
    pub(crate) damaged: u64,
}

impl Tally {
    /// Adds the counts of another.
    pub(crate) fn add(&mut self, other: Tally) {
        self.taken += other.taken;
        self.same += other.same;
        self.conflict += other.conflict;
        self.retention += other.retention;
        self.damaged += other.damaged;
    }
}
