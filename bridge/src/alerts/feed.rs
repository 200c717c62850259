//! What the thread that owns the alerts is told: a bounded queue of orders.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use store::StoredAlert;
use tokio::sync::oneshot;
use wire::Labels;

use super::life::Report;

/// Orders that may wait.
const QUEUE: usize = 1024;

/// What an evaluated rule group says.
#[derive(Debug)]
pub(crate) struct Evaluated {
    pub(crate) tenant: String,
    /// Names the group among all of the tenant.
    pub(crate) group: String,
    /// Those that fire and are due to be told.
    pub(crate) firing: Vec<Report>,
    /// Labels of all that it holds, pending ones too: they fired before a restart if the book has them as firing.
    pub(crate) active: Vec<Labels>,
}

/// What the thread is told.
pub(super) enum Order {
    /// Records that a commit made durable, and the journal's number after it.
    Committed(u64, Vec<StoredAlert>),
    /// Alerts that came by HTTP.
    Posted(String, Vec<Report>, oneshot::Sender<Result<(), PostError>>),
    Evaluated(Evaluated),
    /// The rule groups that there are, by tenant and name.
    Groups(BTreeSet<(String, String)>),
    /// A copy of the file is wanted.
    Copy(CopyTo),
    Stop,
}

/// A copy of the file for a snapshot.
pub(super) struct CopyTo {
    pub(super) to: PathBuf,
    /// The number after the last one of the snapshot's journal.
    pub(super) end: u64,
    pub(super) done: SyncSender<Result<(), String>>,
}

/// Why alerts that came by HTTP are not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PostError {
    /// They could not be written.
    #[error("the alerts could not be written: {0}")]
    Disk(String),
    /// The book is full.
    #[error("{0} alerts are kept at most; resolve some, or wait until they are over")]
    Full(usize),
    /// The bridge stops.
    #[error("the bridge is stopping")]
    Stopping,
}

/// Where alerts are taken in; cheap to clone.
#[derive(Clone)]
pub(crate) struct Feed {
    orders: SyncSender<Order>,
    behind: Arc<AtomicBool>,
    reached: Arc<AtomicU64>,
}

impl Feed {
    /// A feed and where its orders come out.
    pub(super) fn new() -> (Self, Receiver<Order>) {
        let (orders, received) = sync_channel(QUEUE);
        let feed = Feed {
            orders,
            behind: Arc::default(),
            reached: Arc::default(),
        };
        (feed, received)
    }

    /// Raised when an order did not fit.
    pub(super) fn behind(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.behind)
    }

    /// The number after the last commit that was fed.
    pub(super) fn reached(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.reached)
    }

    /// Ends the thread, once it has taken in what was fed before.
    pub(super) fn stop(&self) {
        // It may have ended already.
        let _ = self.orders.send(Order::Stop);
    }

    /// A commit took effect; never waits.
    pub(crate) fn committed(&self, number: u64, alerts: Vec<StoredAlert>) {
        if !alerts.is_empty() && self.orders.try_send(Order::Committed(number, alerts)).is_err() {
            self.behind.store(true, Ordering::Release);
        }
        self.reached.store(number, Ordering::Release);
    }

    /// Takes in alerts of a caller; they are durable when this returns.
    pub(crate) async fn post(&self, tenant: String, reports: Vec<Report>) -> Result<(), PostError> {
        let (done, outcome) = oneshot::channel();
        let orders = self.orders.clone();
        let sent = tokio::task::spawn_blocking(move || orders.send(Order::Posted(tenant, reports, done)));
        match sent.await {
            Ok(Ok(())) => outcome.await.unwrap_or(Err(PostError::Stopping)),
            _ => Err(PostError::Stopping),
        }
    }

    /// Rule groups that are gone hold no alert any more; waits while the queue is full.
    pub(crate) fn groups(&self, groups: BTreeSet<(String, String)>) {
        // Without the thread nobody is told anything any more.
        let _ = self.orders.send(Order::Groups(groups));
    }

    /// Makes a new file of all that is known now, for a snapshot whose journal ends before `end`, and waits for it. That
    /// journal has to be copied already, or its cursor could be ahead of the file's alerts.
    pub(crate) fn copy(&self, to: PathBuf, end: u64) -> Result<(), String> {
        let (done, outcome) = sync_channel(1);
        let stopping = || PostError::Stopping.to_string();
        let order = Order::Copy(CopyTo { to, end, done });
        self.orders.send(order).map_err(|_| stopping())?;
        outcome.recv().map_err(|_| stopping())?
    }

    /// Takes in what a rule group says; waits while the queue is full.
    pub(crate) fn evaluated(&self, evaluated: Evaluated) {
        // Without the thread nobody is told anything any more.
        let _ = self.orders.send(Order::Evaluated(evaluated));
    }
}
