//! The agent's loop: one event after the other, and what follows from it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wire::Nonce;
use wire::message::RulesState;

use crate::agent::books::Books;
use crate::agent::{RunError, Status, blocks};
use crate::delivery::{Delivery, Effect, Words};
use crate::input::{AlertGroup, AlertReceiver, Inlets, Moment, Pushes, RowReceiver, ScrapeRow};
use crate::uplink::{Event, Uplink};
use crate::wal::{AlertEntry, ReadLimit, Wal};

/// Rows logged by one append.
const ROWS: usize = 64;

/// What one read of backlog may bring: four full batches, and 2 MiB of values.
const READ: ReadLimit = ReadLimit {
    rows: 480,
    values: 1 << 18,
};

/// How often the log's housekeeping is due.
const KEEP: Duration = Duration::from_secs(1);

/// A running agent, but for its log.
pub(super) struct Agent {
    delivery: Delivery,
    uplink: Uplink,
    rows: RowReceiver,
    rows_open: bool,
    alerts: Option<AlertReceiver>,
    rules: Option<watch::Receiver<Option<RulesState>>>,
    pushes: Option<Pushes>,
    nonce: Nonce,
    books: Books,
    keep_at: Instant,
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Continue,
    Stop,
}

/// Runs something on the log, off the event loop if it may block.
pub(super) async fn off_loop<R: Send + 'static>(
    mut wal: Wal,
    call: impl FnOnce(&mut Wal) -> R + Send + 'static,
) -> Result<(Wal, R), RunError> {
    if !blocks(&wal) {
        let result = call(&mut wal);
        return Ok((wal, result));
    }
    let task = tokio::task::spawn_blocking(move || {
        let result = call(&mut wal);
        (wal, result)
    });
    task.await.map_err(|_| RunError::WalThread)
}

impl Agent {
    pub(super) fn new(delivery: Delivery, uplink: Uplink, inlets: Inlets, books: Books) -> Agent {
        Agent {
            delivery,
            uplink,
            rows: inlets.rows,
            rows_open: true,
            alerts: inlets.alerts,
            rules: inlets.rules,
            pushes: inlets.pushes,
            nonce: Nonce::new(0),
            books,
            keep_at: Instant::now() + KEEP,
        }
    }

    /// Does what is to be done now, then waits for the next event and takes it.
    pub(super) async fn turn(&mut self, wal: Wal, stop: &CancellationToken) -> Result<(Wal, Next), RunError> {
        let mut wal = self.act(wal).await?;
        let wake = self.wake(&mut wal);
        let mut rows = Vec::new();
        tokio::select! {
            () = stop.cancelled() => return Ok((wal, Next::Stop)),
            event = self.uplink.events.recv() => {
                let Some(event) = event else { return Ok((wal, Next::Stop)) };
                wal = self.take(wal, event).await?;
            }
            group = next_group(&mut self.alerts), if self.alerts.is_some() => match group {
                Some(group) => wal = self.log_alerts(wal, group).await?,
                None => self.alerts = None,
            },
            count = self.rows.recv_many(&mut rows, ROWS), if self.rows_open => {
                wal = self.log(wal, rows).await?;
                if count == 0 {
                    self.rows_open = false;
                    self.delivery.finish();
                }
            }
            () = tokio::time::sleep_until(wake) => {}
        }
        if Instant::now() >= self.keep_at {
            wal = self.keep(wal).await?;
        }
        Ok((wal, Next::Continue))
    }

    /// Logs what the channel holds, and waits for acks until a deadline.
    pub(super) async fn drain(&mut self, mut wal: Wal, deadline: Instant) -> Result<Wal, RunError> {
        self.rows.close();
        let mut rows = Vec::new();
        while self.rows.recv_many(&mut rows, ROWS).await > 0 {
            wal = self.log(wal, std::mem::take(&mut rows)).await?;
        }
        self.rows_open = false;
        if let Some(AlertReceiver(mut groups)) = self.alerts.take() {
            groups.close();
            while let Some(group) = groups.recv().await {
                wal = self.log_alerts(wal, group).await?;
            }
        }
        self.delivery.finish();
        let expired = deadline_token(deadline);
        while wal.ledger.pending().0 > 0 || wal.ledger.gaps().iter().next().is_some() {
            let (back, next) = self.turn(wal, &expired).await?;
            wal = back;
            if next == Next::Stop {
                break;
            }
        }
        Ok(wal)
    }

    /// Tells the bridge that the device leaves, and waits until the broker has it.
    pub(super) async fn goodbye(&mut self, wal: Wal, deadline: Instant) -> Result<Wal, RunError> {
        let Some(Effect::Publish(publish)) = self.delivery.goodbye(Moment::now()) else {
            return Ok(wal);
        };
        let id = publish.id;
        let said = async {
            if self.uplink.publishes.send((self.nonce, publish)).await.is_err() {
                return;
            }
            while let Some(event) = self.uplink.events.recv().await {
                match event {
                    Event::PubAck(acked) if acked == id => return,
                    Event::Disconnected => return,
                    Event::PubAck(_) | Event::Ack(_) | Event::Config(_) | Event::Connected(_) => {}
                }
            }
        };
        tokio::time::timeout_at(deadline, said).await.ok();
        Ok(wal)
    }

    /// The last word on what was done.
    pub(super) fn last_status(&mut self, wal: &mut Wal) -> Status {
        self.books.update(wal, &self.delivery)
    }

    /// Follows the delivery's effects until there is none, or the uplink is busy.
    async fn act(&mut self, mut wal: Wal) -> Result<Wal, RunError> {
        self.hear_locals();
        while let Ok(permit) = self.uplink.publishes.try_reserve() {
            let (ledger, dictionary, lineage) = wal.books();
            let words = Words { dictionary, lineage };
            match self.delivery.poll(Moment::now(), ledger, words) {
                None => break,
                Some(Effect::Publish(publish)) => {
                    self.books.published(&publish);
                    let bytes = publish.payload.len();
                    tracing::trace!(channel = publish.channel.as_str(), bytes, "publish");
                    permit.send((self.nonce, publish));
                }
                Some(Effect::Read { session, seqs }) => {
                    drop(permit);
                    let (back, read) = off_loop(wal, move |wal| wal.read(session, &seqs, READ)).await?;
                    wal = back;
                    self.delivery.rows(read);
                }
                Some(Effect::ReadAlerts { session, seqs }) => {
                    drop(permit);
                    let (back, read) = off_loop(wal, move |wal| wal.read_alerts(session, &seqs)).await?;
                    wal = back;
                    self.delivery.alerts(read);
                }
            }
        }
        self.books.update(&mut wal, &self.delivery);
        Ok(wal)
    }

    /// Takes over what rules and configuration have to tell.
    fn hear_locals(&mut self) {
        let rules = self.rules.as_ref().and_then(|rules| *rules.borrow());
        self.delivery.rules_are(rules);
        if let Some(pushes) = &self.pushes {
            self.delivery.config_is(&pushes.state.borrow());
        }
    }

    async fn take(&mut self, mut wal: Wal, event: Event) -> Result<Wal, RunError> {
        match event {
            Event::Connected(nonce) => {
                self.nonce = nonce;
                self.books.connected();
                self.delivery.connected(nonce);
            }
            Event::Disconnected => self.delivery.disconnected(),
            Event::PubAck(id) => self.delivery.puback(id, Moment::now()),
            Event::Config(payload) => {
                if let Some(pushes) = &self.pushes {
                    pushes.received.send_replace(payload);
                }
            }
            Event::Ack(payload) => match self.delivery.ack(&payload, Moment::now(), &mut wal.ledger) {
                Ok(Some(anchor)) => wal = off_loop(wal, move |wal| wal.anchor(anchor)).await?.0,
                Ok(None) => {}
                Err(error) => self.books.malformed_ack(&error),
            },
        }
        Ok(wal)
    }

    async fn log(&mut self, wal: Wal, rows: Vec<ScrapeRow>) -> Result<Wal, RunError> {
        if rows.is_empty() {
            return Ok(wal);
        }
        let trusted = self.delivery.clock_is_right(Moment::now());
        let (wal, logged) = off_loop(wal, move |wal| wal.append(rows, trusted)).await?;
        self.books.logged(logged.len());
        self.delivery.logged(logged, wal.session());
        Ok(wal)
    }

    async fn log_alerts(&mut self, wal: Wal, group: AlertGroup) -> Result<Wal, RunError> {
        let AlertGroup { at, alerts, logged } = group;
        let trusted = self.delivery.clock_is_right(at);
        let entries = alerts.into_iter().map(|alert| AlertEntry { at, alert }).collect();
        let (wal, (seqs, durable)) =
            off_loop(wal, move |wal: &mut Wal| wal.append_alerts(entries, trusted)).await?;
        self.books.logged_alerts(seqs.len());
        self.delivery.logged_alerts(&seqs, wal.session());
        // Whoever asked may be gone; the log has it all the same.
        logged.send(durable).ok();
        Ok(wal)
    }

    async fn keep(&mut self, wal: Wal) -> Result<Wal, RunError> {
        self.keep_at = Instant::now() + KEEP;
        let now = Moment::now();
        let trusted = self.delivery.clock_is_right(now);
        Ok(off_loop(wal, move |wal| wal.keep(now, trusted)).await?.0)
    }

    fn wake(&self, wal: &mut Wal) -> Instant {
        let due = self.delivery.wake_ms(&wal.ledger);
        let now = Moment::now().mono_ms;
        // A little late rather than twice; something is due at once only after the next event.
        let due = due.map(|at| Instant::now() + Duration::from_millis(at.saturating_sub(now).max(5)));
        due.map_or(self.keep_at, |at| at.min(self.keep_at))
    }
}

async fn next_group(alerts: &mut Option<AlertReceiver>) -> Option<AlertGroup> {
    match alerts {
        Some(AlertReceiver(groups)) => groups.recv().await,
        None => None,
    }
}

fn deadline_token(deadline: Instant) -> CancellationToken {
    let token = CancellationToken::new();
    let expire = token.clone();
    tokio::spawn(async move {
        tokio::time::sleep_until(deadline).await;
        expire.cancel();
    });
    token
}
