//! What the inputs hand to the WAL.
//!
//! Every input (a scraped target, the host, the agent itself) is a [`TargetId`] and publishes [`ScrapeRow`]s into one
//! bounded channel. A row names its series by [`Slot`], a small number that stands for the same labels from row to row of
//! a target, so that all work per scrape goes by index; labels travel only when a slot is bound. When the channel is full
//! the input waits and skips ticks: nothing piles up, and the next row carries its true time.
//!
//! A reader keeps `slots: Vec<Labels>` per target and, per row, first applies `new_series`, then reads `values`.

mod alert;
mod inlets;
mod metrics;
mod moment;
mod set;

use tokio::sync::mpsc;
use wire::{Labels, Timestamp};

use crate::exposition::MetricType;
pub(crate) use alert::AlertGroup;
pub use alert::{AlertReceiver, AlertSender, alert_channel};
pub use inlets::{Inlets, Pushes};
pub use metrics::InputMetrics;
pub use moment::Moment;
pub use set::{InputConfig, Inputs, TargetConfig};

/// An input of this agent, or a group of its rules; a number is given again only after its target has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetId(u32);

impl TargetId {
    /// The target of a number.
    pub const fn new(number: u32) -> Self {
        TargetId(number)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// A series of one target. Slots are dense: a target of 500 series uses about the first 500.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u32);

impl Slot {
    /// The slot of a number.
    pub const fn new(number: u32) -> Self {
        Slot(number)
    }

    /// Where a table by slot keeps it.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One scrape of one target; also one record of the WAL.
#[derive(Debug, Clone, PartialEq)]
pub struct ScrapeRow {
    /// Which target.
    pub target: TargetId,
    /// Time of every value of the row by this device's wall clock, right or not.
    pub time: Timestamp,
    /// Milliseconds since boot (suspended time included) at `time`.
    pub mono_ms: u64,
    /// Slots bound from this row on. A slot whose series vanished (its stale marker was sent in an earlier row) may be
    /// bound again, to other labels.
    pub new_series: Vec<(Slot, Labels)>,
    /// Samples, in the order of the page; no slot twice. Stale markers are NaN with the bits of [`STALE_NAN`].
    pub values: Vec<(Slot, f64)>,
    /// Metadata that is new or changed.
    pub metadata: Vec<MetricMetadata>,
    /// The target ends with this row: its slots stand for nothing any more, and its number may be another's.
    pub ended: bool,
}

/// Type, help and unit of a metric family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricMetadata {
    /// Name of the family.
    pub family: String,
    /// TYPE.
    pub kind: MetricType,
    /// HELP, or empty.
    pub help: String,
    /// UNIT, or empty.
    pub unit: String,
}

/// The bits of the NaN that says that a series has ended.
pub const STALE_NAN: u64 = 0x7ff0_0000_0000_0002;

/// The channel's inlet.
pub type RowSender = mpsc::Sender<ScrapeRow>;

/// The channel's outlet.
pub type RowReceiver = mpsc::Receiver<ScrapeRow>;

/// A channel that holds this many rows at most.
pub fn channel(rows: usize) -> (RowSender, RowReceiver) {
    mpsc::channel(rows)
}
