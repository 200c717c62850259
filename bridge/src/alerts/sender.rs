//! One Alertmanager: is told what is due, again until it takes it, independently of the others of its cluster.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Method;
use reqwest::Url;
use reqwest::header::CONTENT_TYPE;
use serde::Serialize;
use std::collections::BTreeMap;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wire::Labels;

use super::book::Notice;
use super::config::Cluster;
use super::keeper::Shared;
use super::life::{LATE, SILENT};
use crate::http_client::{Caller, ClientError, no_answer};
use crate::relabel::{Rule, relabel};
use wire::time::rfc3339_of;

/// Alerts of one request, as Prometheus has it.
const BATCH: usize = 256;

/// Between two looks at what is due.
const LOOK: Duration = Duration::from_secs(1);

const LEAST_BACKOFF: Duration = Duration::from_millis(500);
const MOST_BACKOFF: Duration = Duration::from_secs(30);

const MINUTE: Duration = Duration::from_secs(60);

/// Bytes of an answer that are looked at, for the log.
const MOST_ANSWER: usize = 1024;

/// What is sent of an alert (Alertmanager's api/v2/openapi.yaml, postableAlert).
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Postable<'a> {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<&'a str, &'a str>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "str::is_empty")]
    generator_url: &'a str,
}

/// What an alert is made of before it is sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Dress {
    /// Added where they are absent.
    pub(super) external_labels: Labels,
    pub(super) relabel: Vec<Rule>,
}

impl Dress {
    /// Labels as they are sent; `None`: relabelling drops the alert.
    fn labels(&self, notice: &Notice, of_cluster: &[Rule]) -> Option<BTreeMap<String, String>> {
        let own = notice
            .labels
            .iter()
            .filter(|pair| ![LATE, SILENT].contains(&&*pair.name));
        let mut set: BTreeMap<&str, &str> = self.external_labels.iter().collect();
        set.extend(own.map(|pair| (&*pair.name, &*pair.value)));
        let labels = Labels::new(set).ok()?;
        let labels = relabel(&relabel(&labels, &self.relabel)?, of_cluster)?;
        Some(labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect())
    }
}

/// Refused alerts that the log does not have yet. Whoever posts alerts can have many refused.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    alerts: usize,
    logged: Option<Instant>,
}

impl Refusals {
    /// Counts more of them; how many to log now, which is once a minute at most.
    fn count(&mut self, alerts: usize, now: Instant) -> Option<usize> {
        self.alerts += alerts;
        let waits = self.logged.is_some_and(|at| now < at + MINUTE);
        (!waits).then(|| {
            self.logged = Some(now);
            std::mem::take(&mut self.alerts)
        })
    }
}

/// How a request ended.
enum Outcome {
    Taken,
    /// The alerts are to blame.
    Refused(String),
    /// The Alertmanager, or the way to it, is.
    Later(String),
}

/// A task's things.
pub(super) struct Sender {
    pub(super) url: Url,
    pub(super) name: String,
    pub(super) cluster: Arc<Cluster>,
    pub(super) dress: Arc<Dress>,
    pub(super) shared: Arc<Shared>,
    pub(super) caller: Mutex<Option<Caller>>,
    pub(super) refusals: Mutex<Refusals>,
}

impl Sender {
    /// Sends until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let (mut failures, mut complained) = (0u32, None::<Instant>);
        loop {
            let changed = self.shared.changed.notified();
            let due = self.due();
            let wait = match due.is_empty() {
                true => LOOK,
                false => match self.send(due).await {
                    Ok(()) => {
                        if failures > 0 {
                            tracing::info!(alertmanager = %self.name, "it takes alerts again");
                        }
                        failures = 0;
                        continue_after(&stop)
                    }
                    Err(error) => {
                        if complained.is_none_or(|at| at.elapsed() >= MINUTE) {
                            complained = Some(Instant::now());
                            tracing::warn!(alertmanager = %self.name, error, "alerts wait for it");
                        }
                        failures += 1;
                        backoff(failures)
                    }
                },
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
                () = changed, if failures == 0 => {}
            }
        }
    }

    fn due(&self) -> Vec<Notice> {
        let shared = &self.shared;
        shared.book().due(
            &self.name,
            BATCH,
            (shared.now_ms(), &|device| shared.silence(device)),
        )
    }

    /// Sends a batch; what is refused is sent alert by alert, so that one bad one keeps no other back.
    async fn send(&self, due: Vec<Notice>) -> Result<(), String> {
        match self.post(&due).await {
            Outcome::Taken => self.taken(&due),
            Outcome::Later(error) => return Err(error),
            Outcome::Refused(_) if due.len() > 1 => {
                for notice in due {
                    let one = [notice];
                    match self.post(&one).await {
                        Outcome::Taken => self.taken(&one),
                        Outcome::Later(error) => return Err(error),
                        Outcome::Refused(answer) => self.refused(&one, &answer),
                    }
                }
            }
            Outcome::Refused(answer) => self.refused(&due, &answer),
        }
        Ok(())
    }

    fn taken(&self, notices: &[Notice]) {
        let delays = self
            .shared
            .book()
            .accepted(&self.name, notices, self.shared.now_ms());
        self.shared.metrics.taken(&self.name, notices.len(), &delays);
    }

    /// They are done with, or the same answer would come for ever.
    fn refused(&self, notices: &[Notice], answer: &str) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(alerts) = refusals.count(notices.len(), Instant::now()) {
            let pairs = |notice: &Notice| {
                let pairs = notice.labels.iter().map(|pair| (&*pair.name, &*pair.value));
                Labels::of_sorted(pairs).to_string()
            };
            let one = notices.first().map(pairs);
            tracing::error!(alertmanager = %self.name, alerts, one, answer, "it refuses alerts; they are not sent again until they change");
        }
        drop(refusals);
        self.shared.metrics.dropped("refused", notices.len());
        self.shared
            .book()
            .accepted(&self.name, notices, self.shared.now_ms());
    }

    /// The client, made anew after a failure: its files of TLS may have changed.
    fn caller(&self) -> Result<Caller, ClientError> {
        let mut kept = self.caller.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some(caller) => Ok(caller.clone()),
            None => {
                let caller = Caller::new(&self.url, &self.cluster.access, self.cluster.timeout)?;
                *kept = Some(caller.clone());
                Ok(caller)
            }
        }
    }

    fn forget_caller(&self) {
        *self.caller.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    async fn post(&self, notices: &[Notice]) -> Outcome {
        let mut dropped = 0;
        let body: Vec<Postable<'_>> = notices
            .iter()
            .filter_map(|notice| {
                let labels = self.dress.labels(notice, &self.cluster.alert_relabel);
                dropped += usize::from(labels.is_none());
                Some(postable(notice, labels?))
            })
            .collect();
        self.shared.metrics.dropped("relabel", dropped);
        if body.is_empty() {
            return Outcome::Taken;
        }
        let Ok(body) = serde_json::to_vec(&body) else {
            return Outcome::Refused("no JSON can be made of it".to_owned());
        };
        let timer = self.shared.metrics.timer(&self.name);
        let outcome = self.try_post(body).await;
        timer.observe_duration();
        let outcome = outcome.unwrap_or_else(|error| Outcome::Later(no_answer(&error)));
        if matches!(outcome, Outcome::Later(_)) {
            self.forget_caller();
        }
        if !matches!(outcome, Outcome::Taken) {
            self.shared.metrics.failed(&self.name, notices.len());
        }
        outcome
    }

    async fn try_post(&self, body: Vec<u8>) -> Result<Outcome, ClientError> {
        let caller = self.caller()?;
        let post = caller.request(Method::POST, |_| ()).await?;
        let mut response = post
            .header(CONTENT_TYPE, "application/json")
            .body(body)
            .send()
            .await?;
        let status = response.status();
        let mut text = Vec::new();
        while text.len() < MOST_ANSWER {
            let Some(chunk) = response.chunk().await? else {
                break;
            };
            text.extend_from_slice(&chunk[..chunk.len().min(MOST_ANSWER - text.len())]);
        }
        let answer = format!("{} {}", status.as_u16(), String::from_utf8_lossy(&text).trim());
        Ok(match status.as_u16() {
            200..300 => Outcome::Taken,
            400 | 413 | 422 => Outcome::Refused(answer),
            _ => Outcome::Later(answer),
        })
    }
}

/// No wait, but for the end.
fn continue_after(stop: &CancellationToken) -> Duration {
    if stop.is_cancelled() { LOOK } else { Duration::ZERO }
}

/// With full jitter, so that bridges that lost the same Alertmanager do not come back at once.
fn backoff(failures: u32) -> Duration {
    let most = LEAST_BACKOFF
        .saturating_mul(1 << failures.min(10))
        .min(MOST_BACKOFF);
    LEAST_BACKOFF + most.mul_f64(fastrand::f64())
}

fn postable(notice: &Notice, labels: BTreeMap<String, String>) -> Postable<'_> {
    let annotations = notice.annotations.iter().map(|pair| (&*pair.name, &*pair.value));
    Postable {
        labels,
        annotations: annotations.collect(),
        starts_at: rfc3339_of(notice.starts_ms),
        ends_at: rfc3339_of(notice.ends_ms),
        generator_url: &notice.generator_url,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::life::pair;
    use crate::relabel::RuleText;

    #[test]
    fn refusals_are_logged_once_a_minute_with_all_that_came_since() {
        let (mut refusals, began) = (Refusals::default(), Instant::now());
        let mut count = |alerts, seconds| refusals.count(alerts, began + Duration::from_secs(seconds));
        assert_eq!(count(3, 0), Some(3));
        assert_eq!((count(1, 1), count(256, 59)), (None, None));
        assert_eq!((count(1, 60), count(1, 61)), (Some(258), None));
    }

    #[test]
    fn an_alert_is_sent_with_external_labels_and_without_its_policies() {
        let notice = Notice {
            key: 1,
            change: 1,
            firing: true,
            labels: vec![pair("alertname", "Hot"), pair(LATE, "drop"), pair("site", "own")],
            annotations: vec![pair("summary", "x")],
            generator_url: String::new(),
            starts_ms: 1_500,
            ends_ms: 61_500,
        };
        let drop = |value: &str| {
            let text = RuleText {
                source_labels: vec!["alertname".to_owned()],
                regex: Some(value.to_owned()),
                action: Some("drop".to_owned()),
                ..RuleText::default()
            };
            vec![Rule::new(text).unwrap()]
        };
        let dress = Dress {
            external_labels: Labels::new([("site", "all"), ("region", "eu")]).unwrap(),
            relabel: drop("Cold"),
        };
        let labels = dress.labels(&notice, &[]).unwrap();
        let json = serde_json::to_value(postable(&notice, labels)).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "labels": {"alertname": "Hot", "region": "eu", "site": "own"},
                "annotations": {"summary": "x"},
                "startsAt": "1970-01-01T00:00:01.5Z",
                "endsAt": "1970-01-01T00:01:01.5Z",
            })
        );
        assert_eq!(dress.labels(&notice, &drop("Hot")), None);
    }
}
