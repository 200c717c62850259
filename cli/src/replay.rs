//! Progress of the store's start: the journal is replayed into the heads.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a log line is written where nobody watches.
const PLAIN: Duration = Duration::from_secs(5);

/// The display.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    last: Instant,
}

impl Progress {
    /// A bar for a person, or log lines.
    pub(crate) fn new(watched: bool) -> Self {
        let bar = watched.then(|| {
            let bar = ProgressBar::hidden();
            if let Ok(style) =
                ProgressStyle::with_template("replaying the journal: file {pos} of {len} {wide_bar} {msg}")
            {
                bar.set_style(style);
            }
            bar
        });
        Progress {
            bar,
            last: Instant::now(),
        }
    }

    /// One step of the replay.
    pub(crate) fn show(&mut self, step: store::Progress) {
        match &self.bar {
            Some(bar) => {
                // Shown only once it takes long enough to be read.
                if bar.is_hidden() && self.last.elapsed() > Duration::from_millis(300) {
                    bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
                }
                bar.set_length(step.files_total as u64);
                bar.set_position(step.files as u64);
                bar.set_message(format!("{} samples", step.samples));
            }
            None if self.last.elapsed() > PLAIN => {
                self.last = Instant::now();
                tracing::info!(
                    files = step.files,
                    files_total = step.files_total,
                    samples = step.samples,
                    "replaying the journal"
                );
            }
            None => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
