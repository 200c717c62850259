//! What is true of one connection: credit, the dictionaries sent on it, the states and their answers.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use wire::dict::DictHash;
use wire::{BridgeEpoch, Nonce};

use crate::delivery::fresh::ActiveKey;
use crate::delivery::outbox::{Lane, MessageId};
use crate::delivery::window::Window;

/// States of a connection that may still be answered.
const STATES: usize = 64;

/// A connection to a broker.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) nonce: Nonce,
    pub(crate) epoch: Option<BridgeEpoch>,
    /// The answer to this state or a later one lets rows be published.
    pub(crate) opens_at: u32,
    pub(crate) open: bool,
    /// Alerts may go before it is open: none that went on it is given up.
    pub(crate) alerts_first: bool,
    pub(crate) window: Window,
    pub(crate) fresh: Credit,
    pub(crate) backlog: Credit,
    pub(crate) pace: Pace,
    pub(crate) key: Option<ActiveKey>,
    /// Dictionaries sent on this connection, and in which message their last part went.
    pub(crate) sent: BTreeMap<DictHash, (usize, MessageId)>,
    /// Parts of a dictionary that are still to go.
    pub(crate) parts: VecDeque<Bytes>,
    pub(crate) parts_of: Option<(DictHash, usize)>,
    states: VecDeque<SentState>,
    pub(crate) last_state_ms: Option<u64>,
    /// Published and not PUBACKed: size and time.
    pub(crate) unacked: BTreeMap<MessageId, (usize, u64)>,
    /// Bytes that each lane got, weighted by its share.
    turns: [u64; 2],
}

/// A state that was published.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SentState {
    pub(crate) number: u32,
    pub(crate) at_ms: u64,
    /// Gaps up to this one existed.
    pub(crate) gap_mark: u64,
}

/// Bytes of one lane.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Credit {
    pub(crate) published: u64,
    pub(crate) granted: u64,
    /// Something did not fit.
    pub(crate) waits: bool,
}

/// The granted rate of the backlog as a bucket of bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    rate: u64,
    bytes: i64,
    filled_ms: u64,
}

impl Connection {
    pub(crate) fn new(nonce: Nonce) -> Connection {
        Connection {
            nonce,
            epoch: None,
            opens_at: 1,
            open: false,
            alerts_first: true,
            window: Window::new(),
            fresh: Credit::default(),
            backlog: Credit::default(),
            pace: Pace::default(),
            key: None,
            sent: BTreeMap::new(),
            parts: VecDeque::new(),
            parts_of: None,
            states: VecDeque::new(),
            last_state_ms: None,
            unacked: BTreeMap::new(),
            turns: [0; 2],
        }
    }

    /// Number of the next state.
    pub(crate) fn next_state(&self) -> u32 {
        self.states.back().map_or(1, |s| s.number + 1)
    }

    pub(crate) fn state_sent(&mut self, state: SentState) {
        self.last_state_ms = Some(state.at_ms);
        if self.states.len() >= STATES {
            self.states.pop_front();
        }
        self.states.push_back(state);
    }

    /// A state of this connection; `None` if it was not sent, or long ago.
    pub(crate) fn state(&self, number: u32) -> Option<SentState> {
        self.states.iter().find(|s| s.number == number).copied()
    }

    /// The mark of gaps that the last state knew.
    pub(crate) fn gaps_told(&self) -> u64 {
        self.states.back().map_or(0, |s| s.gap_mark)
    }

    /// A bridge of another epoch answers: what was sent is forgotten, and nothing goes until it has answered a state.
    pub(crate) fn restart(&mut self, epoch: BridgeEpoch) {
        self.epoch = Some(epoch);
        self.ask_first();
        self.key = None;
        self.forget_dictionaries();
        // Limits of the earlier bridge mean nothing; this one's come with its acks.
        self.fresh.granted = 0;
        self.backlog.granted = 0;
    }

    /// Nothing more goes until a state has been answered that is still to be sent.
    pub(crate) fn ask_first(&mut self) {
        self.open = false;
        self.alerts_first = false;
        self.opens_at = self.next_state();
        self.last_state_ms = None;
    }

    pub(crate) fn forget_dictionaries(&mut self) {
        self.sent.clear();
        self.parts.clear();
        self.parts_of = None;
    }

    /// Notes that a lane published so much; alerts are outside credit and turns.
    pub(crate) fn spent(&mut self, lane: Lane, bytes: usize) {
        let bytes = bytes as u64;
        let (mine, other, credit) = match lane {
            Lane::Fresh => (0, 1, &mut self.fresh),
            Lane::Backlog => (1, 0, &mut self.backlog),
            Lane::Alert => return,
        };
        credit.published += bytes;
        // Shares 70 and 30; a lane that was idle does not save up.
        self.turns[mine] += bytes * [3, 7][mine];
        let floor = self.turns[mine].saturating_sub(1 << 20);
        self.turns[other] = self.turns[other].max(floor);
    }

    /// Whether it is the fresh lane's turn when both have something.
    pub(crate) fn is_fresh_turn(&self) -> bool {
        self.turns[0] <= self.turns[1]
    }
}

impl Credit {
    /// Whether so many bytes more are within what is granted; remembers that they were not.
    pub(crate) fn covers(&mut self, bytes: usize) -> bool {
        let fits = self.published + bytes as u64 <= self.granted;
        self.waits |= !fits;
        fits
    }

    /// A new limit; limits only rise.
    pub(crate) fn grant(&mut self, limit: u64) {
        if limit > self.granted {
            self.granted = limit;
            self.waits = false;
        }
    }
}

impl Pace {
    /// A rate in bytes per second; 0: no limit.
    pub(crate) fn set(&mut self, rate: u64, now_ms: u64) {
        self.fill(now_ms);
        self.rate = rate;
    }

    /// Whether a message may go now; it may exceed what is in the bucket, the next one then waits.
    pub(crate) fn is_ready(&mut self, now_ms: u64) -> bool {
        self.fill(now_ms);
        self.rate == 0 || self.bytes >= 0
    }

    pub(crate) fn took(&mut self, bytes: usize) {
        if self.rate > 0 {
            self.bytes -= i64::try_from(bytes).unwrap_or(i64::MAX);
        }
    }

    /// When a message may go; `None`: now.
    pub(crate) fn ready_ms(&self) -> Option<u64> {
        let debt = u64::try_from(-self.bytes).ok().filter(|_| self.rate > 0)?;
        (debt > 0).then(|| self.filled_ms + (debt * 1000).div_ceil(self.rate))
    }

    fn fill(&mut self, now_ms: u64) {
        let passed = now_ms.saturating_sub(self.filled_ms).min(1000);
        self.filled_ms = now_ms;
        let room = i64::try_from(self.rate / 4).unwrap_or(i64::MAX);
        let more = i64::try_from(self.rate.saturating_mul(passed) / 1000).unwrap_or(i64::MAX);
        self.bytes = self.bytes.saturating_add(more).min(room);
    }
}
