//! `/api/v1/targets` and `scrape_pools`: the fleet's scrape targets with their health.
//!
//! Devices scrape, so a target is what `up` says of it: its labels, its health and its last scrape are those of the newest
//! sample. The targets of a device that nothing came of within the lookback are as they were then, health `unknown`; a
//! device without any `up` is a target by itself. What only the device knows (the URL, the error's text, the timeout) is an empty text.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use axum::extract::State;
use promql::{EvalError, is_stale};
use store::{Matcher, SeriesSlice};
use wire::labels::{DEVICE_ID, METRIC_NAME};
use wire::{Labels, Tenant};

use super::App;
use super::envelope::{ApiError, Success};
use super::evaluate::evaluate;
use super::params::Params;
use super::source::{eval_error, within};
use super::{json, time};
use crate::admission::{Queue, Running};

/// Silent devices whose last targets are looked up for one answer.
const MAX_SILENT: usize = 1000;

/// A target.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Target {
    /// Its labels, without a metric's name.
    pub(super) labels: Labels,
    health: Health,
    /// Unix ms; `None`: never heard of.
    last_scrape_ms: Option<i64>,
    /// Seconds.
    duration: f64,
    /// ms between its last two scrapes.
    interval_ms: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Up,
    Down,
    /// Nothing came of its device for longer than the lookback.
    Silent,
    /// Its device sends no `up`.
    Untold,
}

impl Health {
    fn word(self) -> &'static str {
        match self {
            Health::Up => "up",
            Health::Down => "down",
            Health::Silent | Health::Untold => "unknown",
        }
    }

    fn error(self) -> &'static str {
        match self {
            Health::Up => "",
            Health::Down => "the device could not scrape it",
            Health::Silent => "nothing newer has come from the device",
            Health::Untold => "the device sends no up",
        }
    }
}

/// GET `targets`.
pub(crate) async fn targets(State(app): State<App>, params: Params) -> Result<Success, ApiError> {
    let state = params.get("state").to_ascii_lowercase();
    let (active_wanted, dropped_wanted) = match state.as_str() {
        "" | "any" => (true, true),
        "active" => (true, false),
        "dropped" => (false, true),
        _ => (false, false),
    };
    let (tenant, pool) = (params.tenant().clone(), params.get("scrapePool").to_owned());
    let shared = app.clone();
    evaluate(&shared, Queue::Api, shared.config.query_timeout, move |running| {
        let mut all = active(&app, &tenant, running)?;
        all.retain(|target| pool.is_empty() || target.pool() == pool);
        let pools = pools(&all);
        let shown = if active_wanted { all.as_slice() } else { &[] };
        let data = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"{\"activeTargets\":");
            json::list(out, shown, |out, target| target.write(out));
            // What relabelling drops, a device does not tell.
            out.extend_from_slice(b",\"droppedTargets\":[],\"droppedTargetCounts\":");
            match dropped_wanted {
                true => json::object(out, &pools, |out, pool| {
                    json::text(out, pool);
                    out.extend_from_slice(b":0");
                }),
                false => out.extend_from_slice(b"null"),
            }
            out.push(b'}');
        };
        Ok(Success::new(data, &[], &[]))
    })
    .await
}

/// GET `scrape_pools`: the jobs.
pub(crate) async fn scrape_pools(State(app): State<App>, params: Params) -> Result<Success, ApiError> {
    let tenant = params.tenant().clone();
    let shared = app.clone();
    evaluate(&shared, Queue::Api, shared.config.query_timeout, move |running| {
        let all = active(&app, &tenant, running)?;
        let pools = pools(&all);
        let data = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"{\"scrapePools\":");
            json::list(out, &pools, |out, pool| json::text(out, pool));
            out.push(b'}');
        };
        Ok(Success::new(data, &[], &[]))
    })
    .await
}

fn pools(targets: &[Target]) -> BTreeSet<&str> {
    targets
        .iter()
        .map(Target::pool)
        .filter(|pool| !pool.is_empty())
        .collect()
}

/// The targets of a tenant, by their labels.
pub(super) fn active(app: &App, tenant: &Tenant, running: &Running) -> Result<Vec<Target>, EvalError> {
    let lookback_ms = i64::try_from(app.config.lookback_delta.as_millis()).unwrap_or(i64::MAX);
    let now_ms = (app.config.clock)().ms();
    let search = Search {
        app,
        tenant,
        lookback_ms,
        running,
    };
    let mut all = search.at(now_ms, None)?;
    let heard: BTreeSet<&str> = all.iter().filter_map(|t| t.labels.get(DEVICE_ID)).collect();
    let silent = app.store.ledger().into_iter().filter(|ledger| {
        ledger.device.tenant() == tenant && !heard.contains(ledger.device.device().as_str())
    });
    let mut quiet = Vec::new();
    for ledger in silent.take(MAX_SILENT) {
        if running.interrupt.is_raised() {
            return Err(EvalError::Canceled);
        }
        let id = ledger.device.device().as_str();
        let newest = ledger.newest_sample.map(|at| at.ms());
        let last = match newest {
            Some(newest) => search.at(newest, Some(id))?,
            None => Vec::new(),
        };
        let is_silent = newest.is_none_or(|newest| newest <= now_ms.saturating_sub(lookback_ms));
        let health = if is_silent { Health::Silent } else { Health::Untold };
        match last.is_empty() {
            true => quiet.extend(Target::by_itself(id, health, newest)),
            false => quiet.extend(last.into_iter().map(|target| Target { health, ..target })),
        }
    }
    all.append(&mut quiet);
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(all)
}

struct Search<'a> {
    app: &'a App,
    tenant: &'a Tenant,
    lookback_ms: i64,
    running: &'a Running,
}

impl Search<'_> {
    /// The targets that a time sees, of one device if it is named.
    fn at(&self, now_ms: i64, device: Option<&str>) -> Result<Vec<Target>, EvalError> {
        let slices = self.newest("up", now_ms, device)?;
        let mut durations: BTreeMap<Labels, f64> = BTreeMap::new();
        for slice in self.newest("scrape_duration_seconds", now_ms, device)? {
            let last = slice.values.last().copied().filter(|value| value.is_finite());
            durations.insert(nameless(&slice.labels), last.unwrap_or(0.0));
        }
        let target = |slice: SeriesSlice| {
            let (last_ms, up) = slice.times_ms.last().copied().zip(slice.values.last().copied())?;
            let labels = nameless(&slice.labels);
            let before = slice
                .times_ms
                .len()
                .checked_sub(2)
                .and_then(|at| slice.times_ms.get(at));
            (!is_stale(up)).then(|| Target {
                health: if up == 0.0 { Health::Down } else { Health::Up },
                last_scrape_ms: Some(last_ms),
                duration: durations.get(&labels).copied().unwrap_or(0.0),
                interval_ms: before.map(|before| last_ms - before),
                labels,
            })
        };
        Ok(slices.into_iter().filter_map(target).collect())
    }

    fn newest(&self, metric: &str, now_ms: i64, device: Option<&str>) -> Result<Vec<SeriesSlice>, EvalError> {
        let mut matchers = vec![Matcher::equal(METRIC_NAME, metric)];
        matchers.extend(device.map(|id| Matcher::equal(DEVICE_ID, id)));
        let from_ms = now_ms.saturating_sub(self.lookback_ms).saturating_add(1);
        let store = &self.app.store;
        let selection = store.selection(self.tenant, matchers, (from_ms, now_ms), false);
        let most = self.app.config.query_max_samples;
        let (found, _) = within(self.running, most, |limits| selection.read_all(limits));
        found.map_err(eval_error)
    }
}

fn nameless(labels: &Labels) -> Labels {
    // Part of a label set is one.
    Labels::new(labels.iter().filter(|(name, _)| *name != METRIC_NAME)).unwrap_or_default()
}

impl Target {
    /// The one that stands for a device without any.
    fn by_itself(device: &str, health: Health, newest_ms: Option<i64>) -> Option<Target> {
        Some(Target {
            labels: Labels::new([(DEVICE_ID, device)]).ok()?,
            health,
            last_scrape_ms: newest_ms,
            duration: 0.0,
            interval_ms: None,
        })
    }

    fn pool(&self) -> &str {
        self.labels.get("job").unwrap_or("")
    }

    fn write(&self, out: &mut Vec<u8>) {
        let discovered = [
            ("__address__", self.labels.get("instance").unwrap_or("")),
            ("job", self.pool()),
        ];
        out.extend_from_slice(b"{\"discoveredLabels\":");
        json::labels(out, discovered.into_iter());
        out.extend_from_slice(b",\"labels\":");
        json::labels(out, self.labels.iter());
        out.extend_from_slice(b",\"scrapePool\":");
        json::text(out, self.pool());
        out.extend_from_slice(b",\"scrapeUrl\":\"\",\"globalUrl\":\"\",\"lastError\":");
        json::text(out, self.health.error());
        let last = self
            .last_scrape_ms
            .map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), time::rfc3339_of);
        let interval = self.interval_ms.map(promql::format_duration).unwrap_or_default();
        // A `Vec` takes everything that is written.
        let _ = write!(
            out,
            ",\"lastScrape\":\"{last}\",\"lastScrapeDuration\":{},\"health\":\"{}\",\"scrapeInterval\":\"{interval}\",\"scrapeTimeout\":\"\"}}",
            self.duration,
            self.health.word(),
        );
    }
}
