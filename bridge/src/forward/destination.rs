//! One destination at work: reads the journal from its cursor on and sends it in rounds.
//!
//! A round is what the journal has next, at most `capacity` samples for each shard; its shards send at once, each its
//! series in order of time, and the next round begins when all are done. So no series is ever overtaken by itself, also
//! when the number of shards changes, and the cursor moves over whole records only. Memory is a round's.

mod budget;
mod gather;

use std::sync::Arc;
use std::time::Duration;

use store::{Place, Store, Tail, TailError};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use wire::Timestamp;

use super::Passed;
use super::config::RemoteWrite;
use super::cursor::Totals;
use super::instruments::Instruments;
use super::lane::{Lane, Patience};
use super::part::Left;
use super::sending::{Sending, run_lane};
use super::series::Series;
use super::status::{Destinations, Status};
use crate::blocking::blocking;
use gather::Batch;

/// How often the budget is looked at while a round is under way.
const BUDGET_LOOK: Duration = Duration::from_secs(1);

/// The longest time that a cursor that moved is in memory only.
const WRITE_CURSOR: Duration = Duration::from_secs(2);

/// How long requests under way may take after the shutdown began.
const LINGER: Duration = Duration::from_secs(3);

/// Wait after an error of the journal or the configuration's files.
const AFTER_ERROR: Duration = Duration::from_secs(5);

/// Series of which the labels are kept ready.
const CACHED_SERIES: usize = 1_000_000;

type Reader = Tail<Option<Arc<Series>>>;

/// A destination.
pub(super) struct Destination {
    pub(super) config: Arc<RemoteWrite>,
    pub(super) store: Arc<Store>,
    pub(super) instruments: Instruments,
    pub(super) status: Arc<Destinations>,
    /// Is told every number below which everything is passed.
    pub(super) passed: Option<Passed>,
    pub(super) clock: fn() -> Timestamp,
}

/// What changes while it runs.
struct Desk {
    to: Destination,
    /// Once the files of the configuration could be read.
    sending: Option<Sending>,
    tail: Option<Reader>,
    place: Place,
    totals: Totals,
    shards: usize,
    patience: Patience,
    /// Nothing was sent since the last gap, so that what follows is part of it.
    gap_open: bool,
    /// Since when the cursor is in memory only.
    noted: Option<Instant>,
    /// Bytes of journal from the place on, as they were last measured.
    pending: u64,
}

/// How a round ended.
enum Ended {
    Done,
    /// The backlog is over its budget: what is left of the round is given up.
    OverBudget,
    Stopped,
}

impl Destination {
    /// Sends until `stop`.
    pub(super) async fn run(self, (place, totals): (Place, Totals), stop: CancellationToken) {
        let name = self.config.name.clone();
        self.status.put(
            &name,
            Status {
                url: self.config.shown_url(),
                protocol: self.config.protocol,
                number: place.number,
                pending_bytes: 0,
                totals: totals.clone(),
                last_sent: None,
                error: None,
            },
        );
        let (store, row) = (self.store.clone(), totals.row(place));
        let work = async {
            // Durable before the tail looks where the journal begins, so that nothing is freed from under it.
            let written = blocking(move || {
                store.note_cursor(&name, Some(&row));
                store.write_cursors()
            });
            if let Err(error) = written.await {
                self.complain(&error.to_string()).await;
            }
            let mut desk = self.desk(place, totals).await;
            desk.pass(desk.place).await;
            desk.work(&stop).await;
            desk.write_cursor().await;
        };
        // Waiting for files of the configuration, or for a journal that cannot be read, holds up no shutdown.
        tokio::select! {
            () = work => {}
            () = async { stop.cancelled().await; tokio::time::sleep(LINGER * 2).await } => {}
        }
    }

    async fn desk(self, place: Place, totals: Totals) -> Desk {
        let tail = loop {
            let store = self.store.clone();
            let opened = blocking(move || Tail::new(store, place, CACHED_SERIES)).await;
            match opened {
                Ok(tail) => break tail,
                Err(error) => self.complain(&error.to_string()).await,
            }
        };
        Desk {
            sending: None,
            place: tail.place(),
            tail: Some(tail),
            totals,
            shards: self.config.queue.min_shards,
            patience: Patience::default(),
            gap_open: false,
            noted: None,
            pending: 0,
            to: self,
        }
    }

    /// Says why nothing is sent, and waits.
    async fn complain(&self, error: &str) {
        tracing::error!(remote_name = self.config.name, %error, "nothing is sent");
        self.status
            .change(&self.config.name, |status| status.error = Some(error.to_owned()));
        tokio::time::sleep(AFTER_ERROR).await;
    }
}

impl Desk {
    async fn work(&mut self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            self.measure().await;
            if self.is_over_budget(None) {
                self.skip().await;
            }
            let Some(sending) = self.sending().await else {
                continue;
            };
            let Some(batch) = self.gather(stop).await else {
                return;
            };
            self.round(batch, &sending, stop).await;
        }
    }

    /// The way to the destination; `None`: not now.
    async fn sending(&mut self) -> Option<Sending> {
        if self.sending.is_none() {
            match Sending::new(&self.to) {
                Ok(sending) => self.sending = Some(sending),
                Err(error) => self.to.complain(&error.to_string()).await,
            }
        }
        self.sending.clone()
    }

    /// Uses the tail on a thread that may block.
    async fn with_tail<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Reader) -> Result<T, TailError> + Send + 'static,
    ) -> Option<T> {
        let mut tail = self.tail.take()?;
        let (tail, done) = blocking(move || {
            let done = work(&mut tail);
            (tail, done)
        })
        .await;
        self.to.instruments.damaged(tail.damaged());
        self.tail = Some(tail);
        match done {
            Ok(done) => Some(done),
            Err(error) => {
                self.to.complain(&error.to_string()).await;
                None
            }
        }
    }

    /// Sends a round and moves the cursor over it.
    async fn round(&mut self, batch: Batch, sending: &Sending, stop: &CancellationToken) {
        let queue = self.to.config.queue;
        let samples = batch.gathered.samples();
        let tenants_apart = self.to.config.tenant_header.is_some();
        let (shards, left) = batch
            .gathered
            .shards(self.shards, queue.max_samples_per_send, tenants_apart);
        let cancel = CancellationToken::new();
        let mut lanes = JoinSet::new();
        for parts in shards {
            let lane = Lane::new(parts, queue.backoff, self.patience);
            lanes.spawn(run_lane(lane, sending.clone(), cancel.clone()));
        }
        let mut ended = Vec::new();
        let end = self.watch(&mut lanes, &mut ended, batch.received, stop).await;
        if !matches!(end, Ended::Done) {
            cancel.cancel();
            while let Some(lane) = lanes.join_next().await {
                ended.extend(lane);
            }
        }
        if matches!(end, Ended::Stopped) && ended.iter().any(|lane| !lane.is_done()) {
            // The cursor stays; what was written of the round is sent again.
            return;
        }
        self.settle(ended, left, batch.place).await;
        self.adapt(samples);
        self.write_cursor_when_due().await;
    }

    /// Waits for a round's lanes, for as long as the budget and the shutdown allow.
    async fn watch(
        &mut self,
        lanes: &mut JoinSet<Lane>,
        ended: &mut Vec<Lane>,
        received: Option<Timestamp>,
        stop: &CancellationToken,
    ) -> Ended {
        let mut look = tokio::time::interval_at(Instant::now() + BUDGET_LOOK, BUDGET_LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stopped = async {
            stop.cancelled().await;
            tokio::time::sleep(LINGER).await;
        };
        tokio::pin!(stopped);
        loop {
            tokio::select! {
                lane = lanes.join_next() => match lane {
                    Some(lane) => ended.extend(lane),
                    None => return Ended::Done,
                },
                _ = look.tick() => {
                    self.measure().await;
                    if self.is_over_budget(received) {
                        return Ended::OverBudget;
                    }
                }
                () = &mut stopped => return Ended::Stopped,
            }
        }
    }

    /// Counts what became of a round.
    async fn settle(&mut self, lanes: Vec<Lane>, left: Left, place: Place) {
        let (mut given_up, mut times) = (0, Vec::new());
        for lane in lanes {
            let (done, rest, patience) = lane.end();
            self.patience = self.patience.min(patience);
            if done.sent > 0 {
                self.gap_open = false;
                self.patience = patience;
            }
            self.totals.sent += done.sent;
            self.drop("refused", done.refused);
            self.drop("histogram", done.histograms);
            given_up += rest.iter().map(|part| part.samples()).sum::<u64>();
            times.extend(rest.iter().filter_map(|part| part.times()));
        }
        self.drop("relabel", left.relabelled);
        self.drop("too_old", left.too_old);
        self.drop("same_timestamp", left.same_timestamp);
        self.drop("histogram", left.histograms);
        let from = times.iter().map(|(from, _)| *from).min();
        let to = times.iter().map(|(_, to)| *to).max();
        self.declare(given_up, from.zip(to), 0);
        self.pass(place).await;
    }

    fn drop(&mut self, reason: &str, samples: u64) {
        self.totals.drop(reason, samples);
        self.to.instruments.dropped(reason, samples);
    }

    /// A full round gets twice the shards, an almost empty one half.
    fn adapt(&mut self, samples: u64) {
        let queue = self.to.config.queue;
        let room = (self.shards * queue.max_samples_per_send) as u64;
        if samples >= room {
            self.shards = (self.shards * 2).min(queue.max_shards);
        } else if samples < room / 4 {
            self.shards = (self.shards / 2).max(queue.min_shards);
        }
        self.to.instruments.shards(self.shards);
    }

    fn now(&self) -> Timestamp {
        (self.to.clock)()
    }

    /// Everything before a place is done with, and the counters say how.
    async fn pass(&mut self, place: Place) {
        self.place = place;
        let (store, name) = (self.to.store.clone(), self.to.config.name.clone());
        let row = self.totals.row(place);
        self.pending = blocking(move || {
            store.note_cursor(&name, Some(&row));
            store.journal_bytes_from(row.number)
        })
        .await;
        self.noted.get_or_insert_with(Instant::now);
        if let Some(passed) = &self.to.passed {
            passed(place.number);
        }
        self.publish();
    }

    async fn measure(&mut self) {
        let (store, number) = (self.to.store.clone(), self.place.number);
        self.pending = blocking(move || store.journal_bytes_from(number)).await;
        self.publish();
    }

    fn publish(&self) {
        self.to.instruments.pending(self.pending);
        let speaks = self.sending.as_ref().map(|sending| sending.manners().protocol);
        self.to.status.change(&self.to.config.name, |status| {
            status.number = self.place.number;
            status.protocol = speaks.unwrap_or(status.protocol);
            status.pending_bytes = self.pending;
            status.totals = self.totals.clone();
        });
    }

    async fn write_cursor_when_due(&mut self) {
        if self.noted.is_some_and(|at| at.elapsed() >= WRITE_CURSOR) {
            self.write_cursor().await;
        }
    }

    /// A commit may have written it already, then this costs nothing.
    async fn write_cursor(&mut self) {
        let store = self.to.store.clone();
        if let Err(error) = blocking(move || store.write_cursors()).await {
            tracing::debug!(%error, "a cursor is not written; after a crash more would be sent again");
        }
        self.noted = None;
    }
}
