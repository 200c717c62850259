//! How full the store is, for those who grant and those who watch.

use super::Store;

/// What is not to be granted just now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// Everything may be granted.
    #[default]
    None,
    /// No backlog: what is in memory has to become blocks first.
    Backlog,
    /// Nothing: memory, the journal or the disk are at their limits.
    All,
}

/// What the store takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Blocks.
    pub blocks: usize,
    /// Bytes of blocks.
    pub block_bytes: u64,
    /// Journal files.
    pub journal_files: usize,
    /// Bytes of journal files on disk.
    pub journal_bytes: u64,
    /// Bytes of the dictionaries' file.
    pub dictionary_bytes: u64,
    /// Series in memory or in blocks.
    pub series: usize,
    /// Bytes of rows in memory, roughly.
    pub head_bytes: usize,
    /// Those of rows that came late.
    pub late_bytes: usize,
    /// Bytes of labels in memory and what finds them, roughly.
    pub label_bytes: usize,
}

impl Store {
    /// What must not be granted now. Cheap enough to ask after each commit.
    pub fn pressure(&self) -> Pressure {
        let free = self.config.disk.free(&self.dir).unwrap_or(0);
        let (head, late) = self.heads.row_bytes();
        let most = self.config.head_bytes;
        let journal = self.writer().journal.bytes();
        let late_over = late > self.config.late_bytes.saturating_add(self.config.late_bytes / 4);
        if free < self.config.min_free_disk
            || head > most.saturating_add(most / 4)
            || journal > self.config.journal_bytes.saturating_mul(2)
        {
            Pressure::All
        } else if head > most.saturating_add(most / 8) || late_over {
            Pressure::Backlog
        } else {
            Pressure::None
        }
    }

    /// What the store takes just now.
    pub fn usage(&self) -> Usage {
        let blocks: Vec<u64> = (0..self.partitions().len())
            .flat_map(|number| self.heads.blocks(number))
            .map(|file| file.meta().bytes)
            .collect();
        let heads = self.heads.usage();
        let (journal_files, journal_bytes) = {
            let writer = self.writer();
            (writer.journal.files(), writer.journal.bytes())
        };
        Usage {
            blocks: blocks.len(),
            block_bytes: blocks.iter().sum(),
            journal_files,
            journal_bytes,
            dictionary_bytes: self.dicts.bytes(),
            series: heads.series,
            head_bytes: heads.head_bytes,
            late_bytes: heads.late_bytes,
            label_bytes: heads.registry_bytes,
        }
    }
}
