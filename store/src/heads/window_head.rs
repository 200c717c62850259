//! What a tenant has of a window in one partition, its groups' rows apart: numbers, counts, histograms.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::ledger::DeviceRef;
use crate::tally::Tally;
use crate::window::Window;

/// How long after its end a window waits for rows that are a little late, ms.
pub(crate) const GRACE_MS: i64 = 600_000;

/// How long nothing came for a window that is over before it is sealed, ms.
const QUIET_MS: i64 = 60_000;

/// How long a window waits at most, from when it was over or, if it was begun later, from then, ms.
const WAIT_MS: i64 = 900_000;

/// A native histogram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Histogram {
    pub(crate) owner: DeviceRef,
    /// Protobuf.
    pub(crate) bytes: Arc<[u8]>,
}

/// Histograms by series and time.
pub(crate) type Histograms = BTreeMap<(u32, i64), Histogram>;

/// Counts of a device in a window.
#[derive(Debug, Default)]
pub(crate) struct WindowTally {
    pub(crate) tally: Tally,
    /// Those of `same` and `conflict` whose place was taken in a block.
    same_in_blocks: u64,
    conflict_in_blocks: u64,
}

impl WindowTally {
    /// Counts a sample whose place was taken, by an equal one or not, in a block or in the heads.
    pub(crate) fn replaced(&mut self, equal: bool, in_block: bool) {
        let in_block = u64::from(in_block);
        if equal {
            self.tally.same += 1;
            self.same_in_blocks += in_block;
        } else {
            self.tally.conflict += 1;
            self.conflict_in_blocks += in_block;
        }
    }

    /// Samples that stand in a block of the window already.
    pub(crate) fn in_blocks(&self) -> u64 {
        self.same_in_blocks + self.conflict_in_blocks
    }

    /// Blocks of the window go, so that what replaced samples of theirs does so no more.
    pub(crate) fn lose_blocks(&mut self) {
        self.tally.same -= std::mem::take(&mut self.same_in_blocks);
        self.tally.conflict -= std::mem::take(&mut self.conflict_in_blocks);
    }

    pub(crate) fn add(&mut self, other: &WindowTally) {
        self.tally.add(&other.tally);
        self.same_in_blocks += other.same_in_blocks;
        self.conflict_in_blocks += other.conflict_in_blocks;
    }
}

/// A window since it was last handed to a seal.
#[derive(Debug)]
pub(crate) struct WindowHead {
    /// Number of the first record with rows of it.
    pub(crate) first_number: u64,
    /// When the first and the last of its rows came, ms.
    pub(crate) begun_ms: i64,
    pub(crate) last_ms: i64,
    /// Bytes of memory.
    pub(crate) bytes: usize,
    pub(crate) tallies: HashMap<DeviceRef, WindowTally>,
    pub(crate) histograms: Arc<Histograms>,
    /// Groups with rows of it.
    pub(crate) groups: Vec<u32>,
}

impl WindowHead {
    pub(crate) fn new(number: u64, now_ms: i64) -> Self {
        WindowHead {
            first_number: number,
            begun_ms: now_ms,
            last_ms: now_ms,
            bytes: 0,
            tallies: HashMap::new(),
            histograms: Arc::default(),
            groups: Vec::new(),
        }
    }

    /// Notes a record with rows of it.
    pub(crate) fn note(&mut self, number: u64, now_ms: i64) {
        self.first_number = self.first_number.min(number);
        self.begun_ms = self.begun_ms.min(now_ms);
        self.last_ms = self.last_ms.max(now_ms);
    }

    pub(crate) fn grow(&mut self, bytes: isize) {
        self.bytes = self.bytes.saturating_add_signed(bytes);
    }

    /// Whether its first row came when the window was long over.
    pub(crate) fn is_late(&self, window: Window) -> bool {
        self.begun_ms >= window.end_ms().saturating_add(GRACE_MS)
    }

    /// Whether it is time to seal it.
    pub(crate) fn is_due(&self, window: Window, now_ms: i64) -> bool {
        let over = window.end_ms().saturating_add(GRACE_MS);
        if now_ms < over {
            return false;
        }
        let waited = now_ms.saturating_sub(over.max(self.begun_ms));
        // What is late comes from devices that were away; their next rows may be minutes off.
        let quiet = !self.is_late(window) && now_ms.saturating_sub(self.last_ms) >= QUIET_MS;
        quiet || waited >= WAIT_MS
    }

    /// Puts another's counts back in, of rows that came before.
    pub(crate) fn take_back(&mut self, before: WindowHead) {
        self.note(before.first_number, before.last_ms);
        self.begun_ms = self.begun_ms.min(before.begun_ms);
        self.bytes += before.bytes;
        for (device, tally) in before.tallies {
            self.tallies.entry(device).or_default().add(&tally);
        }
        let newer = std::mem::replace(&mut self.histograms, before.histograms);
        let histograms = Arc::make_mut(&mut self.histograms);
        histograms.extend(newer.iter().map(|(key, histogram)| (*key, histogram.clone())));
    }
}

/// Bytes of memory of a histogram in its map.
pub(crate) fn histogram_bytes(bytes: &[u8]) -> usize {
    bytes.len() + 96
}
