//! Who answers: this engine, a Prometheus, or both, which must agree in what they note and how they fail.

use promql::{Options, ParseOptions, eval_instant, eval_range, parse_with};

use crate::outcome::Outcome;
use crate::peer::Peer;
use crate::script::{Line, When};
use crate::storage::Storage;

/// An engine and what was loaded into it.
pub(crate) enum Engine {
    Ours(Storage),
    Peer(Peer),
    Both(Both),
}

/// Two engines, and where they last differed.
pub(crate) struct Both {
    pub(crate) peer: Peer,
    pub(crate) ours: Storage,
    difference: Option<String>,
}

impl Both {
    pub(crate) fn new(peer: Peer) -> Self {
        Self {
            peer,
            ours: Storage::default(),
            difference: None,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.peer.clear();
        self.ours = Storage::default();
    }

    pub(crate) fn load(&mut self, step_ms: i64, lines: &[Line]) -> Result<(), String> {
        self.ours.load(step_ms, lines);
        self.peer.load(step_ms, lines)
    }
}

impl Engine {
    pub(crate) fn clear(&mut self) {
        match self {
            Self::Ours(storage) => *storage = Storage::default(),
            Self::Peer(peer) => peer.clear(),
            Self::Both(both) => both.clear(),
        }
    }

    pub(crate) fn load(&mut self, step_ms: i64, lines: &[Line]) -> Result<(), String> {
        match self {
            Self::Ours(storage) => {
                storage.load(step_ms, lines);
                Ok(())
            }
            Self::Peer(peer) => peer.load(step_ms, lines),
            Self::Both(both) => both.load(step_ms, lines),
        }
    }

    /// The answer to a query, or the error's text.
    pub(crate) fn evaluate(&mut self, query: &str, when: When) -> Result<Outcome, String> {
        match self {
            Self::Ours(storage) => ask_ours(storage, query, when, true),
            Self::Peer(peer) => ask_peer(peer, query, when),
            Self::Both(both) => {
                let ours = ask_ours(&both.ours, query, when, both.peer.delayed_name_removal);
                let difference = difference(&ours, &ask_peer(&mut both.peer, query, when));
                let described = difference.map(|difference| format!("{query} {when:?}: {difference}"));
                both.difference = both.difference.take().or(described);
                ours
            }
        }
    }

    /// Where two engines differed since the last call.
    pub(crate) fn take_difference(&mut self) -> Option<String> {
        match self {
            Self::Both(both) => both.difference.take(),
            Self::Ours(_) | Self::Peer(_) => None,
        }
    }
}

pub(crate) fn ask_peer(peer: &mut Peer, query: &str, when: When) -> Result<Outcome, String> {
    match when {
        When::Instant { at } => peer.instant(query, at),
        When::Range { start, end, step } => peer.range(query, start, end, step),
    }
}

/// This engine's answer. Upstream's harness runs with delayed name removal.
pub(crate) fn ask_ours(
    storage: &Storage,
    query: &str,
    when: When,
    delayed_name_removal: bool,
) -> Result<Outcome, String> {
    let options = Options {
        delayed_name_removal,
        ..Options::default()
    };
    let plan = parse_with(query, ParseOptions::ALL).map_err(|error| error.to_string())?;
    let answer = match when {
        When::Instant { at } => eval_instant(&plan, at, storage, &options),
        When::Range { start, end, step } => eval_range(&plan, start, end, step, storage, &options),
    };
    answer.map(Outcome::from).map_err(|error| error.to_string())
}

/// What is different in notes and errors. Prometheus's order of notes is random.
pub(crate) fn difference(ours: &Result<Outcome, String>, theirs: &Result<Outcome, String>) -> Option<String> {
    let notes = |outcome: &Result<Outcome, String>| {
        outcome.clone().map(|outcome| {
            let mut notes = outcome.warnings;
            notes.extend(outcome.infos);
            notes.sort();
            notes
        })
    };
    let (ours, theirs) = (notes(ours), notes(theirs));
    (ours != theirs).then(|| format!("this engine: {ours:?}, Prometheus: {theirs:?}"))
}
