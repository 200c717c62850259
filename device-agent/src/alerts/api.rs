//! The agent as an Alertmanager for programs on the device: POST `/api/v2/alerts`, as Prometheus sends it; GET of the same
//! (`listing`) and of `/api/v2/status`, as amtool asks for them.
//!
//! Only peers on loopback may post and list: an alert names this device, and nothing here knows another.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tokio::sync::{Semaphore, watch};
use wire::time::{parse_rfc3339, rfc3339_of};

use super::desk::{DeskHandle, Refusal};
use super::posted::{Draft, Posted};
use crate::input::Moment;

/// Largest body, bytes.
const MAX_BODY: usize = 1 << 20;

/// Most alerts of one request; Prometheus sends 256 at most unless told otherwise.
const MAX_ALERTS: usize = 1000;

/// Requests whose bodies are in memory at once.
const TURNS: usize = 4;

/// Invalid alerts that an answer names.
const NAMED: usize = 10;

/// What the routes need.
#[derive(Debug, Clone)]
pub(crate) struct AlertApi {
    pub(super) desk: DeskHandle,
    external_labels: watch::Receiver<Arc<BTreeMap<String, String>>>,
    started: Moment,
    /// Requests that may be in memory at once.
    turns: Arc<Semaphore>,
}

/// As Alertmanager's API: errors are JSON texts.
pub(super) type Answer<T = ()> = Result<T, (StatusCode, Json<String>)>;

impl AlertApi {
    pub(crate) fn new(
        desk: DeskHandle,
        external_labels: watch::Receiver<Arc<BTreeMap<String, String>>>,
    ) -> AlertApi {
        AlertApi {
            desk,
            external_labels,
            started: Moment::now(),
            turns: Arc::new(Semaphore::new(TURNS)),
        }
    }
}

/// An alert as it stands in a request. Keys that are not for its sender to set (status, receivers) are passed over.
#[derive(Debug, Deserialize)]
struct PostableAlert {
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default, rename = "startsAt")]
    starts_at: Option<String>,
    #[serde(default, rename = "endsAt")]
    ends_at: Option<String>,
    #[serde(default, rename = "generatorURL")]
    generator_url: String,
}

/// The alerts of a request, counted while they are read.
#[derive(Debug)]
struct PostableAlerts(Vec<PostableAlert>);

impl<'de> Deserialize<'de> for PostableAlerts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Vec<PostableAlert>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MAX_ALERTS} alerts")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut alerts = Vec::new();
                while let Some(alert) = seq.next_element()? {
                    if alerts.len() == MAX_ALERTS {
                        return Err(serde::de::Error::invalid_length(MAX_ALERTS + 1, &self));
                    }
                    alerts.push(alert);
                }
                Ok(alerts)
            }
        }
        deserializer.deserialize_seq(List).map(PostableAlerts)
    }
}

/// POST `/api/v2/alerts`: 200 once the log has what is new; 400 if some are invalid, the others are taken.
pub(crate) async fn post_alerts(
    State(api): State<AlertApi>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Answer {
    only_from_here(peer)?;
    let kind = request.headers().get(header::CONTENT_TYPE);
    // A web page can post other types to loopback without being asked.
    if !kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json")) {
        return Err(refusal(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Type must be application/json",
        ));
    }
    // The others wait without their bodies.
    let _turn = api.turns.acquire().await;
    let body = to_bytes(request.into_body(), MAX_BODY).await.map_err(|error| {
        let reason = format!("cannot read the body, of which {MAX_BODY} bytes are allowed: {error}");
        refusal(StatusCode::PAYLOAD_TOO_LARGE, reason)
    })?;
    let PostableAlerts(alerts) =
        serde_json::from_slice(&body).map_err(|error| refusal(StatusCode::BAD_REQUEST, error))?;
    let (posted, invalid) = api.check(alerts, Moment::now());
    api.desk.assert(posted).await.map_err(|error| match error {
        Refusal::Full(_) => refusal(StatusCode::TOO_MANY_REQUESTS, error),
        Refusal::NotLogged | Refusal::Stopping => refusal(StatusCode::SERVICE_UNAVAILABLE, error),
    })?;
    match invalid.is_empty() {
        true => Ok(()),
        false => Err(refusal(StatusCode::BAD_REQUEST, invalid.join("; "))),
    }
}

/// Refuses other machines.
pub(super) fn only_from_here(peer: SocketAddr) -> Answer {
    if peer.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    let reason = "alerts are of this device only: ask at the agent's loopback address";
    Err(refusal(StatusCode::FORBIDDEN, reason))
}

pub(super) fn refusal(status: StatusCode, reason: impl ToString) -> (StatusCode, Json<String>) {
    (status, Json(reason.to_string()))
}

impl AlertApi {
    /// The valid alerts, and what is wrong with the first of the others.
    fn check(&self, alerts: Vec<PostableAlert>, now: Moment) -> (Vec<Posted>, Vec<String>) {
        let (mut posted, mut invalid, mut unnamed) = (Vec::new(), Vec::new(), 0);
        for (number, alert) in (1..).zip(alerts) {
            let name = alert.labels.get("alertname").cloned().unwrap_or_default();
            match self
                .draft(alert)
                .and_then(|draft| draft.check(now).map_err(|e| e.to_string()))
            {
                Ok(alert) => posted.push(alert),
                Err(reason) if invalid.len() < NAMED => {
                    invalid.push(format!("alert {number}, {name:?}: {reason}"));
                }
                Err(_) => unnamed += 1,
            }
        }
        if unnamed > 0 {
            invalid.push(format!("and {unnamed} more"));
        }
        (posted, invalid)
    }

    fn draft(&self, alert: PostableAlert) -> Result<Draft, String> {
        let time = |key: &str, text: Option<String>| match text {
            None => Ok(None),
            Some(text) => parse_rfc3339(&text)
                .map(Some)
                .ok_or_else(|| format!("{key}: {text:?} is no time of RFC 3339")),
        };
        let draft = Draft {
            starts_ms: time("startsAt", alert.starts_at)?,
            ends_ms: time("endsAt", alert.ends_at)?,
            labels: alert.labels,
            annotations: alert.annotations,
            generator_url: alert.generator_url,
        };
        Ok(draft.with_external(&self.external_labels.borrow()))
    }
}

/// GET `/api/v2/status`, which amtool asks for before everything else.
pub(crate) async fn status(State(api): State<AlertApi>) -> Json<serde_json::Value> {
    Json(serde_json::json!({
        "cluster": { "status": "disabled", "peers": [] },
        "config": { "original": "route:\n  receiver: bridge\nreceivers:\n- name: bridge\n" },
        "uptime": rfc3339_of(api.started.wall.ms()),
        "versionInfo": {
            "version": env!("CARGO_PKG_VERSION"),
            "branch": "",
            "buildDate": "",
            "buildUser": "",
            "goVersion": "",
            "revision": "",
        },
    }))
}
