//! `ack_after`: what is committed and has not reached the destination that acks wait for.
//!
//! Acks and the credit of a commit are held until the destination has passed its number; credit is what bounds them. A
//! full answer leaves out what is held.

use std::collections::{HashMap, VecDeque};

use store::{SessionReceipt, Unpassed};
use wire::{DeviceName, SeqSet, SessionId};

use super::group::Finish;

/// What is owed once a commit is passed.
#[derive(Debug, Default)]
pub(crate) struct Owed {
    /// What each session is told, and how many batches of its device were in the commit.
    pub(crate) parts: Vec<(SessionReceipt, u32)>,
    /// Credit to give back.
    pub(crate) finishes: Vec<Finish>,
}

#[derive(Debug)]
struct Held {
    number: u64,
    seqs: Vec<((DeviceName, SessionId), SeqSet)>,
    owed: Owed,
}

/// Commits that are not passed yet.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Everything below this number is passed.
    below: u64,
    held: VecDeque<Held>,
    unpassed: HashMap<(DeviceName, SessionId), SeqSet>,
}

impl Gate {
    /// A gate at the start of a bridge: what the journal holds from a number on is not passed.
    pub(crate) fn new(below: u64, journaled: Vec<Unpassed>) -> Self {
        let mut gate = Gate {
            below,
            held: VecDeque::new(),
            unpassed: HashMap::new(),
        };
        for commit in journaled {
            gate.push(commit.number, commit.seqs.into_iter().collect(), Owed::default());
        }
        gate
    }

    /// Whether a commit, by its last number, has to wait.
    pub(crate) fn holds(&self, number: u64) -> bool {
        number >= self.below
    }

    /// Keeps what a commit owes.
    pub(crate) fn hold(&mut self, number: u64, owed: Owed) {
        let seqs = owed.parts.iter().map(|(part, _)| {
            let key = (part.device.clone(), part.session);
            (key, part.newly_settled.clone())
        });
        let seqs = seqs.filter(|(_, seqs)| !seqs.is_empty()).collect();
        self.push(number, seqs, owed);
    }

    fn push(&mut self, number: u64, seqs: Vec<((DeviceName, SessionId), SeqSet)>, owed: Owed) {
        for (key, seqs) in &seqs {
            self.unpassed.entry(key.clone()).or_default().insert_all(seqs);
        }
        self.held.push_back(Held { number, seqs, owed });
    }

    /// The destination has passed everything below a number: what is owed now.
    pub(crate) fn passed(&mut self, below: u64) -> Vec<Owed> {
        self.below = self.below.max(below);
        let mut due = Vec::new();
        while self.held.front().is_some_and(|held| held.number < self.below) {
            let Some(held) = self.held.pop_front() else { break };
            for (key, seqs) in held.seqs {
                if let Some(left) = self.unpassed.get_mut(&key) {
                    left.remove_all(&seqs);
                    if left.is_empty() {
                        self.unpassed.remove(&key);
                    }
                }
            }
            due.push(held.owed);
        }
        due
    }

    /// Takes out of a session's seqs those that may not be acked yet.
    pub(crate) fn leave_out(&self, device: &DeviceName, session: SessionId, seqs: &mut SeqSet) {
        if let Some(unpassed) = self.unpassed.get(&(device.clone(), session)) {
            seqs.remove_all(unpassed);
        }
    }
}
