//! The hashrings, changed while the store is in use.

use bytes::Bytes;

use super::{Store, Writer};
use crate::error::HashringsError;
use crate::rings::{Hashrings, Routing};

impl Store {
    /// The hashrings that route what comes.
    pub fn hashrings(&self) -> Hashrings {
        self.rings.current().file().clone()
    }

    /// Routes by other hashrings from the next commit on; says whether they are others. What is stored stays where it is:
    /// queries ask every partition, also those that left.
    ///
    /// # Errors
    /// They cannot be; those before route on.
    pub fn set_hashrings(&self, rings: &Hashrings) -> Result<bool, HashringsError> {
        // No commit is under way: each is routed by one generation.
        let _writer = self.writer();
        self.rings.new_partitions(rings)?;
        let before = self.rings.current().generation();
        Ok(self.rings.set(rings).generation() != before)
    }
}

impl Writer {
    /// What the next commit changes in the table of rings: the generation that routes it comes in, and those that routed
    /// nothing that the journal still has go.
    pub(super) fn ring_changes(&self, routing: &Routing) -> Vec<(u32, Option<Bytes>)> {
        let generation = routing.generation();
        if self.tables.rings.contains_key(&generation) {
            return Vec::new();
        }
        let oldest = self.journal.oldest();
        let is_over = |known: &&u32| self.routed.get(*known).is_none_or(|last| *last < oldest);
        let over = self.tables.rings.keys().filter(is_over);
        let mut changes: Vec<_> = over.map(|known| (*known, None)).collect();
        changes.push((generation, Some(routing.file().to_json().into())));
        changes
    }
}
