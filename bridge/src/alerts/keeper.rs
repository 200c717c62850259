//! The thread that owns alerts.redb: takes in what devices, rule groups and callers report, and makes it durable.
//!
//! Devices' alerts are in the journal already when they come here. The thread remembers below which number of the journal
//! everything is taken in; if the feed was too full for one, or at the start, it reads the journal itself.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use store::{Cursor, Place, Store, StoredAlert, Tail, TailError};
use tokio::sync::Notify;
use wire::{DeviceName, Labels, Timestamp};

use super::book::{Book, Key, Source, key_of};
use super::disk::{AlertsFileError, Disk};
use super::feed::{CopyTo, Evaluated, Feed, Order, PostError};
use super::life::{Noted, Report, Times, pair};
use super::metrics::Metrics;
use crate::ingest::Fleet;
use wire::time::rfc3339_of;

/// The name of the cursor that keeps the journal until its alerts are taken in.
pub(crate) const CURSOR: &str = "_alerts";

/// Label that carries the tenant.
const TENANT: &str = "tenant";

/// Between two looks at what changed without an order.
const TICK: Duration = Duration::from_secs(1);

/// The longest time that the cursor of an idle feed stands still.
const MOVE_CURSOR: Duration = Duration::from_secs(10);

/// Alerts that are read from the journal in one step.
const STEP: usize = 1000;

/// A clock error from which an alert says so, ms.
const CLOCK_ERROR_MS: u64 = 60_000;

/// An alert that takes longer than this from its device says when it arrived, ms.
const LATE_MS: i64 = 60_000;

/// What everybody shares.
pub(crate) struct Shared {
    book: Mutex<Book>,
    /// Something is due sooner than a look would find it.
    pub(crate) changed: Notify,
    fleet: Arc<Fleet>,
    store: Arc<Store>,
    started: Timestamp,
    pub(crate) clock: fn() -> Timestamp,
    pub(crate) metrics: Metrics,
}

/// The running thread.
pub(crate) struct Keeper {
    pub(crate) shared: Arc<Shared>,
    pub(crate) feed: Feed,
    thread: JoinHandle<()>,
}

/// Why the alerts cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum AlertsError {
    /// Their file.
    #[error(transparent)]
    File(#[from] AlertsFileError),
    /// The journal that they are read from.
    #[error(transparent)]
    Journal(#[from] TailError),
    /// No thread.
    #[error("thread of the alerts: {0}")]
    Thread(#[from] io::Error),
}

impl Shared {
    /// The book. A panic elsewhere leaves no alert half changed: each change is of plain fields.
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The wall clock, ms.
    pub(crate) fn now_ms(&self) -> i64 {
        (self.clock)().ms()
    }

    /// Since when a device is silent, if it is.
    pub(crate) fn silence(&self, device: &str) -> Option<i64> {
        let name: DeviceName = device.parse().ok()?;
        if self.fleet.get(&name).connected {
            return None;
        }
        // What was before the bridge's start, it cannot know.
        let seen = self.store.last_seen(&name).map_or(0, |at| at.ms());
        Some(seen.max(self.started.ms()))
    }
}

impl Keeper {
    /// Opens the file, takes in what the journal has beyond it, and starts the thread.
    pub(crate) fn start(
        path: &Path,
        store: Arc<Store>,
        fleet: Arc<Fleet>,
        times: Times,
        metrics: Metrics,
        clock: fn() -> Timestamp,
    ) -> Result<Keeper, AlertsError> {
        let (disk, kept) = Disk::open(path)?;
        let cursor = store.cursors().into_iter().find(|(name, _)| name == CURSOR);
        let below = kept.below.max(cursor.map_or(0, |(_, cursor)| cursor.number));
        let shared = Arc::new(Shared {
            book: Mutex::new(Book::new(times, kept.alerts)),
            changed: Notify::new(),
            fleet,
            store,
            started: clock(),
            clock,
            metrics,
        });
        let (feed, received) = Feed::new();
        let mut desk = Desk {
            shared: Arc::clone(&shared),
            disk,
            behind: feed.behind(),
            reached: feed.reached(),
            below,
            written: kept.below,
            moved: Instant::now(),
        };
        desk.catch_up()?;
        let thread = thread::Builder::new()
            .name("bridge-alerts".to_owned())
            .spawn(move || desk.run(&received))?;
        Ok(Keeper { shared, feed, thread })
    }

    /// Waits until everything taken in is written.
    pub(crate) async fn end(self) {
        let Keeper { feed, thread, .. } = self;
        let ended = tokio::task::spawn_blocking(move || {
            feed.stop();
            thread.join()
        });
        if !matches!(ended.await, Ok(Ok(()))) {
            tracing::error!(
                "the thread of the alerts ended unexpectedly; it takes them from the journal at the next start"
            );
        }
    }
}

/// The thread's things.
struct Desk {
    shared: Arc<Shared>,
    disk: Disk,
    behind: Arc<AtomicBool>,
    reached: Arc<AtomicU64>,
    /// Everything below this number of the journal is in the book.
    below: u64,
    /// The number that is in the file.
    written: u64,
    moved: Instant,
}

impl Desk {
    fn run(mut self, received: &Receiver<Order>) {
        loop {
            // What was fed before this number was noted is in the channel by now.
            let reached = self.reached.load(Ordering::Acquire);
            let first = received.recv_timeout(TICK);
            let mut stop = matches!(first, Err(RecvTimeoutError::Disconnected));
            let orders: Vec<Order> = first.into_iter().chain(received.try_iter()).collect();
            // An order that came after one that did not fit is here only when the flag is set.
            let whole = !self.behind.swap(false, Ordering::AcqRel) || self.catch_up_or_say();
            let (mut waiting, mut copies) = (Vec::new(), Vec::new());
            for order in orders {
                match order {
                    // What is not taken in now is read from the journal later.
                    Order::Committed(number, alerts) if whole => self.take(number, &alerts),
                    Order::Committed(..) => {}
                    Order::Posted(tenant, reports, done) => {
                        waiting.push((done, self.post(&tenant, reports)));
                    }
                    Order::Evaluated(evaluated) => self.evaluated(evaluated),
                    Order::Groups(groups) => self.groups(&groups),
                    Order::Copy(copy) => copies.push(copy),
                    Order::Stop => stop = true,
                }
            }
            if whole {
                self.below = self.below.max(reached);
            }
            self.tidy();
            let written = self.write(stop);
            for (done, outcome) in waiting {
                let outcome = outcome.and_then(|()| written.clone().map_err(PostError::Disk));
                // Whoever asked may have left.
                let _ = done.send(outcome);
            }
            for copy in copies {
                let copied = written.clone().and_then(|()| self.copy(&copy));
                // Whoever asked may have left.
                let _ = copy.done.send(copied);
            }
            if stop {
                return;
            }
        }
    }

    /// Alerts of a commit.
    fn take(&mut self, number: u64, alerts: &[StoredAlert]) {
        if number > self.below {
            self.put(alerts);
            self.below = number;
        }
    }

    fn put(&self, alerts: &[StoredAlert]) {
        for stored in alerts {
            let Some(report) = report_of(stored) else {
                self.shared.metrics.dropped("malformed", 1);
                continue;
            };
            let device = stored.device.to_string();
            let tenant = stored.device.tenant().as_str();
            self.report(tenant, Source::Device(&device), report, stored.received.ms());
        }
    }

    /// Returns whether there was room.
    fn report(&self, tenant: &str, source: Source<'_>, report: Report, now_ms: i64) -> bool {
        let shared = &self.shared;
        let noted = shared
            .book()
            .report(tenant, source, report, (now_ms, &|device| shared.silence(device)));
        shared.metrics.received(source, noted);
        if matches!(noted, Some(Noted::Raised | Noted::Collapsed | Noted::Ended)) {
            shared.changed.notify_waiters();
        }
        noted.is_some()
    }

    fn post(&self, tenant: &str, reports: Vec<Report>) -> Result<(), PostError> {
        let now_ms = self.shared.now_ms();
        let mut full = false;
        for mut report in reports {
            report.labels = of_tenant(&report.labels, tenant);
            full |= !self.report(tenant, Source::Http, report, now_ms);
        }
        match full {
            true => Err(PostError::Full(super::book::MAX_ALERTS)),
            false => Ok(()),
        }
    }

    fn evaluated(&self, evaluated: Evaluated) {
        let (now_ms, tenant) = (self.shared.now_ms(), &*evaluated.tenant);
        let mut active: BTreeSet<Key> = BTreeSet::new();
        for labels in evaluated.active {
            active.insert(key_of(tenant, &of_tenant(&labels, tenant)));
        }
        for mut report in evaluated.firing {
            report.labels = of_tenant(&report.labels, tenant);
            active.insert(key_of(tenant, &report.labels));
            self.report(tenant, Source::Group(&evaluated.group), report, now_ms);
        }
        if self
            .shared
            .book()
            .evaluated(tenant, &evaluated.group, &active, now_ms)
        {
            self.shared.changed.notify_waiters();
        }
    }

    fn groups(&self, groups: &BTreeSet<(String, String)>) {
        if self.shared.book().keep_groups(groups, self.shared.now_ms()) {
            self.shared.changed.notify_waiters();
        }
    }

    fn catch_up_or_say(&mut self) -> bool {
        let caught_up = self.catch_up();
        if let Err(error) = &caught_up {
            tracing::error!(%error, "alerts wait in the journal");
            self.behind.store(true, Ordering::Release);
        }
        caught_up.is_ok()
    }

    /// Takes in what the journal has from `below` on.
    fn catch_up(&mut self) -> Result<(), TailError> {
        let place = Place {
            number: self.below,
            records: 0,
        };
        let mut tail: Tail<()> = Tail::new(Arc::clone(&self.shared.store), place, 1)?;
        loop {
            let alerts = tail.alerts(STEP)?;
            self.put(&alerts);
            if alerts.len() < STEP {
                break;
            }
        }
        self.below = self.below.max(tail.place().number);
        Ok(())
    }

    fn tidy(&self) {
        let (shared, now_ms) = (&self.shared, self.shared.now_ms());
        let silence = |device: &str| shared.silence(device);
        let mut book = shared.book();
        let untold = book.sweep(now_ms, &silence);
        shared.metrics.census(&book.census(now_ms, &silence));
        drop(book);
        if untold > 0 {
            shared.metrics.dropped("untold", untold);
            tracing::error!(
                alerts = untold,
                "alerts are over and no Alertmanager took them for hours; they are dropped"
            );
        }
    }

    /// The snapshot's journal goes on with numbers that were others here, so the copy's number is none of those.
    fn copy(&self, copy: &CopyTo) -> Result<(), String> {
        let copied = self.disk.copy(&copy.to, self.below.min(copy.end));
        copied.map_err(|error| error.to_string())
    }

    /// A damaged file makes room for a new one, which the next write fills: the book has everything.
    fn replace_if_damaged(&mut self, error: &AlertsFileError) {
        if !error.is_damage() {
            return;
        }
        match Disk::anew(self.disk.path()) {
            Ok((disk, _)) => {
                self.disk = disk;
                self.shared.book().write_all();
            }
            Err(error) => tracing::error!(%error, "the damaged file of alerts cannot be set aside"),
        }
    }

    /// Writes what changed, and lets the journal go as far as that is durable.
    fn write(&mut self, stop: bool) -> Result<(), String> {
        let (rows, gone) = self.shared.book().take_changes();
        let idle = rows.is_empty() && gone.is_empty();
        if !idle || (stop && self.written != self.below) {
            if let Err(error) = self.disk.write(&rows, &gone, self.below) {
                self.shared.book().give_back(&rows, &gone);
                tracing::error!(%error, "alerts are not written; the journal keeps those of devices");
                self.replace_if_damaged(&error);
                return Err(error.to_string());
            }
            self.written = self.below;
        } else if self.moved.elapsed() < MOVE_CURSOR {
            return Ok(());
        }
        self.moved = Instant::now();
        // Nothing below is missing in the file, also where no alert moved the number in it.
        let cursor = Cursor {
            number: self.below,
            ..Cursor::default()
        };
        self.shared.store.note_cursor(CURSOR, Some(&cursor));
        Ok(())
    }
}

/// Labels with the tenant, which no payload may claim.
fn of_tenant(labels: &Labels, tenant: &str) -> Labels {
    match labels.get(TENANT) {
        Some(same) if same == tenant => labels.clone(),
        _ => labels.with_own(TENANT, tenant),
    }
}

/// A device's record as the book takes it: with `device_id` and `tenant`, which no payload may claim, and with what a
/// reader has to know of its times.
fn report_of(stored: &StoredAlert) -> Option<Report> {
    let alert = &stored.alert;
    let labels = Labels::new(alert.labels.iter().map(|pair| (&*pair.name, &*pair.value))).ok()?;
    let labels = labels
        .of_device(stored.device.device().as_str())
        .with_own(TENANT, stored.device.tenant().as_str());
    let mut annotations = alert.annotations.clone();
    let received_ms = stored.received.ms();
    let said_ms = if alert.ends_ms > 0 {
        alert.ends_ms
    } else {
        alert.starts_ms
    };
    if received_ms - said_ms >= LATE_MS {
        annotations.push(pair("backhaul_received_at", &rfc3339_of(received_ms)));
    }
    match alert.clock_error_ms {
        u64::MAX => annotations.push(pair("backhaul_clock_error", "unknown")),
        error_ms if error_ms >= CLOCK_ERROR_MS => {
            annotations.push(pair("backhaul_clock_error", &format!("{}s", error_ms / 1000)));
        }
        _ => {}
    }
    annotations.sort_by(|a, b| a.name.cmp(&b.name));
    annotations.dedup_by(|b, a| a.name == b.name);
    Some(Report {
        labels,
        annotations,
        generator_url: alert.generator_url.clone(),
        starts_ms: alert.starts_ms,
        ends_ms: alert.ends_ms,
    })
}
