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
                ProgressStyle::with_template("replaying the journal {wide_bar} {bytes}/{total_bytes} {eta}")
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
        let (done, total) = (step.done_bytes, step.total_bytes);
        match &self.bar {
            Some(bar) => {
                // Shown only once it takes long enough to be read.
                if bar.is_hidden() && self.last.elapsed() > Duration::from_millis(300) {
                    bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
                }
                bar.set_length(total);
                bar.set_position(done);
                if done == total {
                    bar.finish_and_clear();
                }
            }
            None if self.last.elapsed() > PLAIN => {
                self.last = Instant::now();
                tracing::info!(done_bytes = done, total_bytes = total, "replaying the journal");
            }
            None => {}
        }
    }
}
