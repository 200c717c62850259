//! The engine between the inputs and the log.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use wire::message::RulesState;

use super::engine::{Engine, EngineConfig, Round};
use super::metrics::RuleMetrics;
use super::rule_files::Rules;
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
    pub(crate) surroundings: Surroundings,
}

/// What the engine has around it.
#[derive(Debug)]
pub(crate) struct Surroundings {
    /// Scrapes as they come.
    pub(crate) rows: RowReceiver,
    /// The same on their way to the log, and results between them.
    pub(crate) log: RowSender,
    pub(crate) desk: DeskHandle,
    /// The log's; `None`: nothing outlives the process.
    pub(crate) folder: Option<PathBuf>,
    pub(crate) metrics: RuleMetrics,
    /// What the fleet is told.
    pub(crate) told: watch::Sender<Option<RulesState>>,
    /// Other rules.
    pub(crate) changes: mpsc::Receiver<Change>,
}

/// Rules that are to be evaluated instead of those before.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) rules: Rules,
    pub(crate) config: EngineConfig,
    /// Told once they are.
    pub(crate) done: oneshot::Sender<()>,
}

impl Task {
    /// Runs until the inputs end or the log is gone. Must not begin before the log is open, whose folder it shares.
    pub(crate) async fn run(self) {
        let now = Moment::now();
        let folder = self.surroundings.folder.clone();
        let restored = self.off_loop(move |engine| {
            if let Some(folder) = &folder {
                engine.load(&StateFile::in_folder(folder).read(), now);
                engine.refill(folder, agent::boot(), now);
            }
        });
        let Some((mut task, ())) = restored.await else {
            return;
        };
        let mut saved_ms = now.mono_ms;
        loop {
            let wake = task.wake();
            let around = &mut task.surroundings;
            let is_to_save = tokio::select! {
                row = around.rows.recv() => {
                    let Some(row) = row else { break };
                    task.engine.take(&row);
                    if around.log.send(row).await.is_err() {
                        break;
                    }
                    false
                }
                Some(change) = around.changes.recv() => {
                    let Some(changed) = task.change(change).await else { return };
                    task = changed;
                    true
                }
                () = sleep_until(wake) => {
                    let Some((evaluated, changed)) = task.evaluate().await else { return };
                    task = evaluated;
                    changed || Moment::now().mono_ms.saturating_sub(saved_ms) >= SAVE_EVERY
                }
            };
            if is_to_save {
                saved_ms = Moment::now().mono_ms;
                task.save().await;
            }
        }
        task.save().await;
    }

    /// Works with the engine off the event loop. `None`: a rule panicked, and the engine with it is gone.
    async fn off_loop<R: Send + 'static>(
        self,
        work: impl FnOnce(&mut Engine) -> R + Send + 'static,
    ) -> Option<(Task, R)> {
        let Task {
            mut engine,
            surroundings,
        } = self;
        let worked = tokio::task::spawn_blocking(move || {
            let result = work(&mut engine);
            (engine, result)
        });
        let Ok((engine, result)) = worked.await else {
            tracing::error!("the evaluation of rules died; rules are not evaluated any more, scrapes go on");
            pass_on(surroundings.rows, surroundings.log).await;
            return None;
        };
        let task = Task { engine, surroundings };
        Some((task, result))
    }

    fn wake(&self) -> Instant {
        let now_ms = Moment::now().mono_ms;
        let due_ms = self.engine.due_mono_ms().unwrap_or(u64::MAX);
        // At least once a minute, so that a clock that was set is followed.
        let wait = due_ms.saturating_sub(now_ms).min(60_000);
        Instant::now() + Duration::from_millis(wait)
    }

    /// Evaluates what is due; whether an alert changed.
    async fn evaluate(self) -> Option<(Task, bool)> {
        let (mut task, rounds) = self.off_loop(|engine| engine.evaluate(Moment::now())).await?;
        let mut changed = false;
        for round in rounds {
            changed |= round.changed;
            task.publish(round).await;
        }
        task.tell();
        Some((task, changed))
    }

    /// Takes other rules over.
    async fn change(self, change: Change) -> Option<Task> {
        let Change { rules, config, done } = change;
        let folder = self.surroundings.folder.clone();
        let before = self.engine.group_keys();
        let changed = self.off_loop(move |engine| {
            let log = folder.as_deref().map(|folder| (folder, agent::boot()));
            engine.change(rules, config, Moment::now(), log)
        });
        let (task, ends) = changed.await?;
        for row in ends {
            // A log that is gone shows at the next row.
            task.surroundings.log.send(row).await.ok();
        }
        let now = task.engine.group_keys();
        for gone in before.difference(&now) {
            task.surroundings.metrics.forget(gone);
        }
        task.tell();
        // Whoever asked may be gone.
        done.send(()).ok();
        Some(task)
    }

    fn tell(&self) {
        self.surroundings.metrics.tell(&self.engine);
        self.surroundings.told.send_replace(self.engine.summary());
    }

    async fn publish(&mut self, round: Round) {
        let around = &self.surroundings;
        around.metrics.evaluated(&round);
        for (rule, reason) in &round.failures {
            tracing::debug!(group = %round.group, rule, reason, "a rule failed");
        }
        if let Some(row) = round.row {
            // A log that is gone shows at the next row.
            around.log.send(row).await.ok();
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
        if let Err(error) = around.desk.assert(posted).await {
            // They are asserted again, as to an Alertmanager that is away.
            tracing::warn!(group = %round.group, %error, "alerts of rules are not taken");
        }
    }

    async fn save(&mut self) {
        let Some(folder) = &self.surroundings.folder else {
            return;
        };
        let file = StateFile::in_folder(folder);
        let state = self.engine.state();
        let written = tokio::task::spawn_blocking(move || file.write(state)).await;
        if let Ok(Err(error)) = written {
            self.surroundings.metrics.save_errors.inc();
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
