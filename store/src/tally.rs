//! What became of a device's samples after they were stored.

use crate::few::Few;

/// Files that are told apart: more are there only while a destination lags behind, and the newest matter.
const MAX_FILES: usize = 16;

/// Counts of samples of a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    /// Those taken, by the first number of the journal's file that they count to; of files that are gone nothing is
    /// told.
    pub(crate) by_file: Few<u64, u64>,
}

impl Tally {
    /// Counts samples that were taken.
    pub(crate) fn take(&mut self, file: u64, samples: u64) {
        self.taken += samples;
        if samples > 0 {
            *self.by_file.entry(file) += samples;
        }
    }

    /// Adds the counts of another.
    pub(crate) fn add(&mut self, other: &Tally) {
        self.taken += other.taken;
        self.same += other.same;
        self.conflict += other.conflict;
        self.retention += other.retention;
        self.damaged += other.damaged;
        for (file, samples) in other.by_file.iter() {
            *self.by_file.entry(file) += samples;
        }
    }

    /// Those taken of files from one on; 0: all.
    pub(crate) fn taken_from(&self, file: u64) -> u64 {
        match file {
            0 => self.taken,
            _ => self.by_file.from(file).map(|(_, samples)| samples).sum(),
        }
    }

    /// Tells files before one apart no longer, as they are gone, nor any that are beyond the bound.
    pub(crate) fn forget_files(&mut self, before: u64) {
        let beyond = self.by_file.iter().rev().nth(MAX_FILES);
        let beyond = beyond.map_or(0, |(file, _)| file.saturating_add(1));
        self.by_file.retain(|file| file >= before.max(beyond));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_told_by_file_while_the_file_is_there() {
        let (mut tally, mut more) = (Tally::default(), Tally::default());
        tally.take(1, 10);
        tally.take(50, 0);
        more.take(1, 1);
        more.take(70, 5);
        tally.add(&more);
        let from = |tally: &Tally| [0, 1, 2, 70, 71].map(|file| tally.taken_from(file));
        assert_eq!(from(&tally), [16, 16, 5, 5, 0]);
        tally.forget_files(70);
        assert_eq!(from(&tally), [16, 5, 5, 5, 0]);
        assert_eq!(tally.by_file.len(), 1);
        (100..100 + MAX_FILES as u64).for_each(|file| tally.take(file, 1));
        tally.forget_files(70);
        assert_eq!((tally.by_file.len(), tally.taken), (MAX_FILES, 32));
        assert_eq!(tally.taken_from(1), 16);
    }
}
