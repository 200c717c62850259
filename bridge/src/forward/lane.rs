//! One shard's part of a round: requests one after the other, each again until it is answered for good.
//!
//! Pure: it says what to do next, and is told what was answered. A request that is refused is halved until what is to
//! blame stands alone, so that one bad series does not cost the others; how many requests that may take is bounded, and
//! the bound shrinks while nothing of what is refused can be saved.

use std::collections::VecDeque;
use std::time::Duration;

use super::answer::{Manners, Verdict};
use super::part::Part;

/// Waits between tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    pub(crate) least: Duration,
    pub(crate) most: Duration,
}

/// What a lane did so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Done {
    /// Written by the destination.
    pub(crate) sent: u64,
    /// Refused for good.
    pub(crate) refused: u64,
    /// Histograms that 1.0 cannot carry.
    pub(crate) histograms: u64,
    /// Latest time of a written sample, ms since the epoch.
    pub(crate) latest_ms: Option<i64>,
}

/// What a lane wants.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Send the current part.
    Send,
    /// Wait, then send the current part.
    Wait(Duration),
}

/// Requests that halving may cost for one part.
const MOST_TRIES: u32 = 512;
const LEAST_TRIES: u32 = 8;

/// How hard to look for what is good in a refused part; kept from round to round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Patience(u32);

impl Default for Patience {
    fn default() -> Self {
        Patience(MOST_TRIES)
    }
}

/// The parts of one shard.
#[derive(Debug)]
pub(crate) struct Lane {
    parts: VecDeque<Part>,
    /// How many parts at the front are what is left of a refused one; 0: none.
    halves: usize,
    /// Requests that halving may still cost.
    tries: u32,
    /// Something of the part that is halved was written.
    saved: bool,
    patience: Patience,
    backoff: Backoff,
    wait: Duration,
    attempt: u32,
    done: Done,
}

impl Lane {
    pub(crate) fn new(parts: Vec<Part>, backoff: Backoff, patience: Patience) -> Self {
        Lane {
            parts: parts.into(),
            halves: 0,
            tries: 0,
            saved: false,
            patience,
            backoff,
            wait: backoff.least,
            attempt: 0,
            done: Done::default(),
        }
    }

    /// What is to be sent now, without what the protocol cannot carry; `None`: the lane is done.
    pub(crate) fn current(&mut self, manners: &Manners) -> Option<&Part> {
        loop {
            let part = self.parts.front_mut()?;
            self.done.histograms += part.retain_histograms(|h| manners.protocol.takes(h));
            if part.samples() > 0 {
                break;
            }
            self.next_part();
        }
        self.parts.front()
    }

    /// How often the current part was tried.
    pub(crate) fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The current part was answered.
    pub(crate) fn answered(&mut self, verdict: &Verdict, jitter: f64) -> Next {
        match verdict {
            Verdict::Older => return Next::Send,
            Verdict::Later(least) => {
                let wait = self.wait.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 4.0).max(*least);
                self.wait = (self.wait * 2).min(self.backoff.most);
                self.attempt += 1;
                return Next::Wait(wait);
            }
            Verdict::Written(written) => self.written(*written),
            Verdict::Refused => self.refused(),
        }
        self.wait = self.backoff.least;
        self.attempt = 0;
        Next::Send
    }

    fn written(&mut self, written: u64) {
        if let Some(part) = self.parts.front() {
            self.done.sent += written;
            self.done.refused += part.samples() - written.min(part.samples());
            self.done.latest_ms = self.done.latest_ms.max(part.times().map(|(_, latest)| latest));
            if self.halves > 0 && !self.saved {
                self.saved = true;
                self.tries = MOST_TRIES;
            }
        }
        self.next_part();
    }

    fn refused(&mut self) {
        let Some(part) = self.parts.pop_front() else {
            return;
        };
        if self.halves == 0 {
            (self.halves, self.saved, self.tries) = (1, false, self.patience.0);
        }
        let samples = part.samples();
        let halves = if self.tries < 2 { None } else { part.halves() };
        match halves {
            Some((first, second)) => {
                self.tries -= 2;
                self.halves += 1;
                self.parts.push_front(second);
                self.parts.push_front(first);
            }
            None => {
                self.done.refused += samples;
                self.passed_half();
            }
        }
    }

    fn next_part(&mut self) {
        self.parts.pop_front();
        self.passed_half();
    }

    fn passed_half(&mut self) {
        if self.halves > 0 {
            self.halves -= 1;
            if self.halves == 0 {
                let next = if self.saved {
                    MOST_TRIES
                } else {
                    self.patience.0 / 4
                };
                self.patience = Patience(next.max(LEAST_TRIES));
            }
        }
    }

    /// Whether every part was answered for good.
    pub(crate) fn is_done(&self) -> bool {
        self.parts.is_empty()
    }

    /// What was done, what was not, and the patience for the next round.
    pub(crate) fn end(self) -> (Done, Vec<Part>, Patience) {
        (self.done, self.parts.into(), self.patience)
    }
}

#[cfg(test)]
mod tests;
