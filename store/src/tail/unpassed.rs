//! What was settled after a place: the records that `ack_after` may not ack yet when a bridge starts.

use std::collections::HashMap;

use wire::{DeviceName, Seq, SeqSet, SessionId};

use super::TailError;
use super::commits::Commits;
use super::devices::Devices;
use crate::Store;
use crate::record::{Record, What};

/// Records that one commit holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpassed {
    /// Number of the commit's last value.
    pub number: u64,
    /// Their seqs.
    pub seqs: HashMap<(DeviceName, SessionId), SeqSet>,
}

impl Unpassed {
    /// The records of each commit that ends at a number or later, oldest first.
    pub fn since(store: &Store, number: u64) -> Result<Vec<Unpassed>, TailError> {
        let mut commits = Commits::default();
        let mut devices = Devices::default();
        let Some(file) = commits.begin(store, number)? else {
            return Ok(Vec::new());
        };
        devices.load(store, &file)?;
        let (mut next, end) = (file.first(), store.next_number());
        let mut found = Vec::new();
        while next < end {
            let commit = commits.read(store, next)?;
            next = commit.after;
            let mut seqs: HashMap<_, SeqSet> = HashMap::new();
            for record in &commit.records {
                let name = devices.name(record);
                if let Some((name, (session, of_record))) = name.zip(seqs_of(record)) {
                    seqs.entry((name, session)).or_default().insert_all(&of_record);
                }
            }
            if commit.after > number && !seqs.is_empty() {
                found.push(Unpassed {
                    number: commit.after - 1,
                    seqs,
                });
            }
        }
        Ok(found)
    }
}

/// Records that a destination is sent, or that are acked with those.
fn seqs_of(record: &Record) -> Option<(SessionId, SeqSet)> {
    match record.what.as_ref()? {
        What::Batch(batch) => {
            let raw = wire::batch::peek(&batch.payload).ok()?;
            Some((raw.session(), raw.seqs().clone()))
        }
        What::Alert(record) => {
            let alert = record.alert.as_ref()?;
            let seqs = std::iter::once(Seq::new(alert.seq)).collect();
            Some((SessionId::new(alert.session), seqs))
        }
        _ => None,
    }
}
