//! Who answers: this engine, or a Prometheus.

use promql::{Options, ParseOptions, eval_instant, eval_range, parse_with};

use crate::outcome::Outcome;
use crate::peer::Peer;
use crate::script::{Line, When};
use crate::storage::Storage;

/// An engine and what was loaded into it.
pub(crate) enum Engine {
    Ours(Storage),
    Peer(Peer),
}

/// Upstream's harness runs with delayed name removal.
fn options() -> Options<'static> {
    Options {
        delayed_name_removal: true,
        ..Options::default()
    }
}

impl Engine {
    pub(crate) fn clear(&mut self) {
        match self {
            Self::Ours(storage) => *storage = Storage::default(),
            Self::Peer(peer) => peer.clear(),
        }
    }

    pub(crate) fn load(&mut self, step_ms: i64, lines: &[Line]) -> Result<(), String> {
        match self {
            Self::Ours(storage) => {
                storage.load(step_ms, lines);
                Ok(())
            }
            Self::Peer(peer) => peer.load(step_ms, lines),
        }
    }

    /// The answer to a query, or the error's text.
    pub(crate) fn evaluate(&mut self, query: &str, when: When) -> Result<Outcome, String> {
        match self {
            Self::Peer(peer) => match when {
                When::Instant { at } => peer.instant(query, at),
                When::Range { start, end, step } => peer.range(query, start, end, step),
            },
            Self::Ours(storage) => {
                let plan = parse_with(query, ParseOptions::ALL).map_err(|error| error.to_string())?;
                let answer = match when {
                    When::Instant { at } => eval_instant(&plan, at, storage, &options()),
                    When::Range { start, end, step } => {
                        eval_range(&plan, start, end, step, storage, &options())
                    }
                };
                answer.map(Outcome::from).map_err(|error| error.to_string())
            }
        }
    }
}
