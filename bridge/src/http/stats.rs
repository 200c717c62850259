//! `stats` of a query's answer: where its time went and how many samples it read, in Prometheus's shape.

use std::io::Write;
use std::time::{Duration, Instant};

/// The clock of a query from its arrival on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stats {
    parsed: Duration,
    queued: Instant,
}

impl Stats {
    /// Begins when the query is parsed, which took so long, and goes into the queue.
    pub(super) fn new(parsed: Duration) -> Self {
        Stats {
            parsed,
            queued: Instant::now(),
        }
    }

    /// Writes the member `stats` after others. Series are read and put in order while they are evaluated, so those two
    /// times are 0; both counts are the samples that were loaded from the store.
    pub(super) fn write(&self, out: &mut Vec<u8>, began: Instant, evaluated: Duration, loaded: u64) {
        let waited = began.saturating_duration_since(self.queued).as_secs_f64();
        let (parsed, evaluated) = (self.parsed.as_secs_f64(), evaluated.as_secs_f64());
        let total = parsed + evaluated;
        // A `Vec` takes everything that is written.
        let _ = write!(
            out,
            ",\"stats\":{{\"timings\":{{\"evalTotalTime\":{total:.9},\"resultSortTime\":0,\"queryPreparationTime\":{parsed:.9},\
             \"innerEvalTime\":{evaluated:.9},\"execQueueTime\":{waited:.9},\"execTotalTime\":{:.9}}},\
             \"samples\":{{\"totalQueryableSamples\":{loaded},\"peakSamples\":{loaded}}}}}",
            total + waited,
        );
    }
}
