//! One rule group at its own times.

use std::sync::Arc;
use std::time::Duration;

use rules::{Alert, AlertState, DueAlert, Evaluation, GroupState, WaitFor};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use wire::{Labels, Tenant, Timestamp};

use super::late::{Late, evaluate_again};
use super::storage::Results;
use super::view::GroupView;
use super::{Key, Shared};
use crate::admission::{NotAdmitted, Queue, Running};
use crate::alerts::{Evaluated, Report, pair};
use crate::blocking::blocking;

/// Between two looks at whether the devices' data is complete.
const LOOK: Duration = Duration::from_millis(500);

const MINUTE: Duration = Duration::from_secs(60);

/// A group and what it needs.
pub(crate) struct Evaluator {
    shared: Arc<Shared>,
    key: Key,
    state: GroupState,
    late: Late,
    complained: Option<Instant>,
}

impl Evaluator {
    pub(super) fn new(shared: Arc<Shared>, key: Key, state: GroupState) -> Self {
        Evaluator {
            late: Late::new(millis_of(state.interval_ms())),
            shared,
            key,
            state,
            complained: None,
        }
    }

    fn tenant(&self) -> &Tenant {
        &self.key.0
    }

    /// Evaluates until `stop`; returns what the group remembers.
    pub(super) async fn run(mut self, stop: CancellationToken) -> GroupState {
        let group = self.key.1.clone();
        self.shared.metrics.group(&group, &self.state);
        self.publish();
        let mut at_ms = self.state.next_at(self.shared.now().ms());
        loop {
            tokio::select! {
                () = stop.cancelled() => return self.state,
                () = self.due(at_ms) => {}
            }
            self = self.evaluate(at_ms).await;
            if !stop.is_cancelled() {
                self = self.catch_up().await;
            }
            let next_ms = self.state.next_at(self.shared.now().ms().max(at_ms));
            let missed = (next_ms - at_ms) / self.state.interval_ms() - 1;
            self.shared.metrics.missed(&group, missed);
            at_ms = next_ms;
        }
    }

    /// Waits until a time is to be evaluated: until it is there, and its data is, as far as the group waits for it.
    async fn due(&self, at_ms: i64) {
        let interval_ms = self.state.interval_ms();
        let until = |ms: i64| Duration::from_millis(u64::try_from(ms - self.shared.now().ms()).unwrap_or(0));
        match self.state.group().wait_for {
            None => sleep(until(at_ms)).await,
            Some(WaitFor::Time(wait_ms)) => sleep(until(at_ms + wait_ms)).await,
            Some(WaitFor::Share(share)) => {
                sleep(until(at_ms)).await;
                // The next time has its own evaluation.
                let last_ms = at_ms + interval_ms / 10 * 9;
                let data_ms = Timestamp::from_ms(at_ms - self.state.query_offset_ms());
                while self.shared.now().ms() < last_ms {
                    let (complete, all) = self.shared.fleet.complete(self.tenant(), data_ms);
                    if complete as f64 >= share * all as f64 {
                        return;
                    }
                    sleep(LOOK).await;
                }
                self.shared.metrics.incomplete(&self.key.1);
            }
        }
    }

    /// One evaluation, on a blocking thread, when a slot is free.
    async fn evaluate(self, at_ms: i64) -> Self {
        let Some(running) = self.slot().await else {
            self.shared.metrics.missed(&self.key.1, 1);
            return self;
        };
        blocking(move || {
            let mut this = self;
            let evaluation = this.evaluate_now(at_ms, &running);
            this.tell(at_ms);
            this.shared
                .metrics
                .evaluated(&this.key.1, &this.state, &evaluation);
            this.publish();
            running.observe();
            this
        })
        .await
    }

    /// A slot within the group's interval; `None`: there was none.
    async fn slot(&self) -> Option<Running> {
        let deadline = Instant::now() + millis_of(self.state.interval_ms());
        loop {
            match self.shared.admission.admit(Queue::Rules, deadline).await {
                Ok(running) => return Some(running),
                Err(NotAdmitted::TooMany(_)) if Instant::now() < deadline => sleep(LOOK).await,
                Err(_) => return None,
            }
        }
    }

    fn evaluate_now(&mut self, at_ms: i64, running: &Running) -> Evaluation {
        let shared = Arc::clone(&self.shared);
        let tenant = self.key.0.clone();
        let mut results = Results::new(&shared, &tenant, running);
        let evaluation = self.state.evaluate(at_ms, &mut results);
        match results.commit() {
            Ok(recorded) => shared.metrics.recorded(&recorded),
            Err(error) => {
                shared.metrics.dropped("commit", evaluation.samples as u64);
                self.complain(&format!("its results are not stored: {error}"));
            }
        }
        for (rule, error) in &evaluation.failures {
            let name = self
                .state
                .rules()
                .get(*rule)
                .map_or("", |rule| &*rule.rule().name)
                .to_owned();
            self.complain(&format!("rule {name} fails: {error}"));
        }
        evaluation
    }

    /// Once a minute, however often it fails.
    fn complain(&mut self, what: &str) {
        if self.complained.is_none_or(|at| at.elapsed() >= MINUTE) {
            self.complained = Some(Instant::now());
            tracing::warn!(group = self.key.1, tenant = %self.key.0, "{what}");
        }
    }

    /// Hands the alerts on; they are told to Alertmanagers from there.
    fn tell(&mut self, at_ms: i64) {
        let due = self.state.due(at_ms);
        // An alert that is not due was told, and goes on.
        let mut active: Vec<Labels> = Vec::new();
        for rule in self.state.rules() {
            active.extend(
                rule.alerts()
                    .filter(|alert| is_active(alert))
                    .map(|a| labels(&a.labels)),
            );
        }
        self.shared.alerts.evaluated(Evaluated {
            tenant: self.key.0.to_string(),
            group: self.key.1.clone(),
            firing: due
                .iter()
                .filter(|alert| !alert.is_resolved)
                .map(report)
                .collect(),
            active,
        });
    }

    /// Evaluates recording rules again for what late data touched.
    async fn catch_up(mut self) -> Self {
        let now = self.shared.now();
        let tenant = self.key.0.clone();
        let Some(range) = self.late.look(&self.shared.fleet.completeness(&tenant), now) else {
            return self;
        };
        if !self
            .state
            .rules()
            .iter()
            .any(|rule| rule.rule().alerting().is_none())
        {
            return self;
        }
        let Some(running) = self.slot().await else {
            return self;
        };
        blocking(move || {
            let mut this = self;
            match evaluate_again(&this.shared, &tenant, &this.state, range, &running) {
                Ok(recorded) => {
                    this.shared.metrics.evaluated_again(&this.key.1);
                    this.shared.metrics.recorded(&recorded);
                }
                Err(error) => this.complain(&format!("late data is not taken in: {error}")),
            }
            this
        })
        .await
    }

    fn publish(&self) {
        self.shared.views.put(&self.key, GroupView::of(&self.state));
    }
}

fn is_active(alert: &Alert) -> bool {
    matches!(alert.state, AlertState::Pending | AlertState::Firing)
}

fn report(alert: &DueAlert) -> Report {
    Report {
        labels: labels(&alert.labels),
        annotations: alert
            .annotations
            .iter()
            .map(|(name, value)| pair(name, value))
            .collect(),
        generator_url: alert.generator_url.clone(),
        starts_ms: alert.starts_at_ms,
        ends_ms: 0,
    }
}

fn labels(set: &promql::Labels) -> Labels {
    Labels::of_sorted(set.iter())
}

fn millis_of(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
