//! The engine between the inputs and the log.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use wire::message::RulesState;

use super::engine::{Engine, Round};
use super::metrics::RuleMetrics;
use super::state_file::StateFile;
use crate::agent;
use crate::alerts::{DeskHandle, Draft};
use crate::input::{Moment, RowReceiver, RowSender};

/// How often the state is written although no alert changed, ms.
const SAVE_EVERY: u64 = 5 * 60_000;

/// A running engine.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) engine: Engine,
    /// Scrapes as they come.
    pub(crate) rows: RowReceiver,
    /// The same on their way to the log, and results between them.
    pub(crate) log: RowSender,
    pub(crate) desk: DeskHandle,
    /// The log's; `None`: nothing outlives the process.
    pub(crate) folder: Option<PathBuf>,
    pub(crate) metrics: RuleMetrics,
    /// What the fleet is told.
    pub(crate) told: watch::Sender<RulesState>,
}

impl Task {
    /// Runs until the inputs end or the log is gone. Must not begin before the log is open, whose folder it shares.
    pub(crate) async fn run(self) {
        let now = Moment::now();
        let Some(mut task) = self.restore(now).await else {
            return;
        };
        let mut saved_ms = now.mono_ms;
        loop {
            let wake = task.wake();
            tokio::select! {
                row = task.rows.recv() => {
                    let Some(row) = row else { break };
                    task.engine.take(&row);
                    if task.log.send(row).await.is_err() {
                        break;
                    }
                }
                () = sleep_until(wake) => {
                    let Some((back, changed)) = task.evaluate().await else { return };
                    task = back;
                    let mono_ms = Moment::now().mono_ms;
                    if changed || mono_ms.saturating_sub(saved_ms) >= SAVE_EVERY {
                        saved_ms = mono_ms;
                        task.save().await;
                    }
                }
            }
        }
        task.save().await;
    }

    /// Goes on from the state and the scrapes of an earlier run. `None`: the runtime ends.
    async fn restore(self, now: Moment) -> Option<Task> {
        let restored = tokio::task::spawn_blocking(move || {
            let mut task = self;
            if let Some(folder) = &task.folder {
                task.engine.load(&StateFile::in_folder(folder).read(), now);
                task.engine.refill(folder, agent::boot(), now);
            }
            task
        });
        restored.await.ok()
    }

    fn wake(&self) -> Instant {
        let now_ms = Moment::now().mono_ms;
        let due_ms = self.engine.due_mono_ms().unwrap_or(u64::MAX);
        // At least once a minute, so that a clock that was set is followed.
        let wait = due_ms.saturating_sub(now_ms).min(60_000);
        Instant::now() + Duration::from_millis(wait)
    }

    /// Evaluates what is due; whether an alert changed. `None`: a rule panicked, and the engine with it is gone.
    async fn evaluate(self) -> Option<(Task, bool)> {
        let Task {
            mut engine,
            rows,
            log,
            desk,
            folder,
            metrics,
            told,
        } = self;
        let evaluated = tokio::task::spawn_blocking(move || {
            let rounds = engine.evaluate(Moment::now());
            (engine, rounds)
        });
        let Ok((engine, rounds)) = evaluated.await else {
            tracing::error!("the evaluation of rules died; rules are not evaluated any more, scrapes go on");
            pass_on(rows, log).await;
            return None;
        };
        let mut task = Task {
            engine,
            rows,
            log,
            desk,
            folder,
            metrics,
            told,
        };
        let mut changed = false;
        for round in rounds {
            changed |= round.changed;
            task.publish(round).await;
        }
        task.metrics.tell(&task.engine);
        task.told.send_replace(task.engine.summary());
        Some((task, changed))
    }

    async fn publish(&mut self, round: Round) {
        self.metrics.evaluated(&round);
        for (rule, reason) in &round.failures {
            tracing::debug!(group = %round.group, rule, reason, "a rule failed");
        }
        if let Some(row) = round.row {
            // A log that is gone shows at the next row.
            self.log.send(row).await.ok();
        }
        let now = Moment::now();
        let check = |draft: Draft| match draft.check(now) {
            Ok(posted) => Some(posted),
            Err(error) => {
                tracing::warn!(group = %round.group, %error, "an alert cannot be logged");
                None
            }
        };
        let posted: Vec<_> = round.alerts.into_iter().filter_map(check).collect();
        if posted.is_empty() {
            return;
        }
        if let Err(error) = self.desk.assert(posted).await {
            // They are asserted again, as to an Alertmanager that is away.
            tracing::warn!(group = %round.group, %error, "alerts of rules are not taken");
        }
    }

    async fn save(&mut self) {
        let Some(folder) = &self.folder else { return };
        let file = StateFile::in_folder(folder);
        let state = self.engine.state();
        let written = tokio::task::spawn_blocking(move || file.write(state)).await;
        if let Ok(Err(error)) = written {
            self.metrics.save_errors.inc();
            tracing::warn!(%error, "cannot write the rules' state");
        }
    }
}

async fn pass_on(mut rows: RowReceiver, log: RowSender) {
    while let Some(row) = rows.recv().await {
        if log.send(row).await.is_err() {
            return;
        }
    }
}
