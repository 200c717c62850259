//! What the demo shows while it runs: one line that renews itself at a terminal, a plain line every 5 s elsewhere.

use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

use crate::output::Output;
use crate::simulate::device::Totals;
use crate::simulate::meter::Meter;
use crate::simulate::report::per;

/// How often a plain line is written.
const PLAIN: Duration = Duration::from_secs(5);

/// The live display.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    devices: u64,
    interval: Duration,
    last: Option<(Instant, Totals, u64)>,
}

impl Progress {
    /// Starts the display for so many devices that scrape once per interval.
    pub(crate) fn new(watched: bool, devices: u64, interval: Duration) -> Self {
        let bar = watched.then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} [{elapsed_precise}] {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Progress {
            bar,
            devices,
            interval,
            last: None,
        }
    }

    /// Renews the line when it is time.
    pub(crate) fn show(&mut self, totals: &Totals, meter: &Meter, out: &mut Output) -> Result<()> {
        let every = if self.bar.is_some() {
            Duration::from_secs(1)
        } else {
            PLAIN
        };
        let bytes = meter.stream_bytes();
        let Some((at, before, bytes_before)) = self.last else {
            self.last = Some((Instant::now(), *totals, bytes));
            return Ok(());
        };
        if at.elapsed() < every {
            return Ok(());
        }
        let new = totals.acked.saturating_sub(before.acked);
        let text = format!(
            "{} of {} devices, {:.0} samples/s stored, {:.2} B/sample on the wire, lag {:.1} s",
            totals.connected,
            self.devices,
            new as f64 / at.elapsed().as_secs_f64(),
            per(bytes - bytes_before, new),
            per(totals.pending_records, self.devices) * self.interval.as_secs_f64(),
        );
        self.last = Some((Instant::now(), *totals, bytes));
        match &self.bar {
            Some(bar) => {
                bar.set_message(text);
                bar.tick();
                Ok(())
            }
            None => out.note(&text),
        }
    }

    /// Takes the line away.
    pub(crate) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
