//! The loop of one input: wait for the tick, get the page, hand on the rows.

use std::time::{Duration, Instant};

use prometheus::{Encoder as _, Registry, TextEncoder};
use reqwest::Client;
use tokio_util::sync::CancellationToken;
use wire::Timestamp;

use super::http::{FetchError, FetchRules, fetch};
use super::schedule::Schedule;
use super::{ScrapeError, ScrapeTarget, Scraped};
use crate::host::Host;
use crate::input::{InputMetrics, Moment, RowSender, ScrapeRow};

/// Where an input's pages come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A target that is scraped over HTTP.
    Http(Client, FetchRules),
    /// The host; None while a collection runs.
    Host(Option<Box<Host>>),
    /// The agent's own metrics.
    Own(Registry),
}

/// Why a source gave no page.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("collecting host metrics failed: {0}")]
    Host(#[from] tokio::task::JoinError),
    #[error(transparent)]
    Own(#[from] prometheus::Error),
}

impl Source {
    async fn page(&mut self, page: &mut Vec<u8>) -> Result<(), SourceError> {
        match self {
            Source::Http(client, rules) => fetch(client, rules, page).await?,
            Source::Host(place) => {
                let mut host = place.take().unwrap_or_default();
                // Reads of /proc and /sys may block, statvfs of a dead network mount for long.
                let (host, collected) = tokio::task::spawn_blocking(move || {
                    let collected = host.collect().to_vec();
                    (host, collected)
                })
                .await?;
                *place = Some(host);
                *page = collected;
            }
            Source::Own(registry) => {
                page.clear();
                TextEncoder::new().encode(&registry.gather(), page)?;
            }
        }
        Ok(())
    }
}

/// An input and all it needs to run.
#[derive(Debug)]
pub(crate) struct InputTask {
    /// For logs: the target's URL, or which input it is.
    pub(crate) name: String,
    pub(crate) source: Source,
    pub(crate) target: ScrapeTarget,
    pub(crate) schedule: Schedule,
    pub(crate) metrics: InputMetrics,
    pub(crate) out: RowSender,
}

impl InputTask {
    /// Scrapes until `stop` is cancelled or nobody takes the rows any more; or until `remove` is, which ends the target's
    /// series.
    pub(crate) async fn run(mut self, stop: CancellationToken, remove: CancellationToken) {
        let mut page = Vec::new();
        let mut last = None;
        let mut failing = false;
        loop {
            let tick = self.next_tick(last);
            let scraped = tokio::select! {
                () = stop.cancelled() => return,
                () = remove.cancelled() => break,
                scraped = self.scrape(tick, &mut page, &mut failing) => scraped,
            };
            last = scraped.rows.first().map(|row| (tick, row.mono_ms));
            for row in scraped.rows {
                if !self.hand_on(row, &stop).await {
                    return;
                }
            }
        }
        if let Some(row) = self.target.removed(Moment::now()) {
            self.hand_on(row, &stop).await;
        }
    }

    /// Sends a row; false: everything stops.
    async fn hand_on(&mut self, row: ScrapeRow, stop: &CancellationToken) -> bool {
        let samples = row.values.len() as u64;
        let sent = tokio::select! {
            () = stop.cancelled() => return false,
            sent = self.out.send(row) => sent.is_ok(),
        };
        self.metrics.samples.inc_by(if sent { samples } else { 0 });
        sent
    }

    /// `last`: the tick of the scrape before, and the boot clock when it began.
    fn next_tick(&self, last: Option<(Timestamp, u64)>) -> Timestamp {
        let now = Moment::now();
        let Some((tick, mono_ms)) = last else {
            return self.schedule.next_after(now.wall);
        };
        self.metrics
            .skipped
            .inc_by(self.schedule.ticks_in(now.mono_ms.saturating_sub(mono_ms)));
        self.schedule.next_tick(tick, now.wall)
    }

    /// Waits for the tick and scrapes.
    async fn scrape(&mut self, tick: Timestamp, page: &mut Vec<u8>, failing: &mut bool) -> Scraped {
        let wait = tick.ms().saturating_sub(Moment::now().wall.ms());
        tokio::time::sleep(Duration::from_millis(u64::try_from(wait).unwrap_or(0))).await;
        let now = Moment::now();
        let at = now.at_wall(self.schedule.align(tick, now.wall));
        let began = Instant::now();
        let got = self.source.page(page).await;
        let scraped = self
            .target
            .scraped(at, got.is_ok().then_some(&page[..]), began.elapsed());
        self.note(got.err(), &scraped, failing);
        scraped
    }

    /// Counts the scrape; logs when a target starts or ceases to fail.
    fn note(&self, fetch_error: Option<SourceError>, scraped: &Scraped, failing: &mut bool) {
        self.metrics.scrapes.inc();
        self.metrics.duplicates.inc_by(scraped.duplicates as u64);
        let (cause, error) = match (fetch_error, &scraped.error) {
            (Some(error), _) => ("fetch", error.to_string()),
            (None, Some(error @ ScrapeError::Exposition(_))) => ("exposition", error.to_string()),
            (None, Some(error @ ScrapeError::SampleLimit { .. })) => ("sample_limit", error.to_string()),
            (None, None) => {
                if std::mem::take(failing) {
                    tracing::info!(target = %self.name, "scrape succeeds again");
                }
                return;
            }
        };
        self.metrics.failed.with_label_values(&[cause]).inc();
        if !std::mem::replace(failing, true) {
            tracing::warn!(target = %self.name, cause, error, "scrape failed");
        }
    }
}
