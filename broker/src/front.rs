//! The table behind its lock, and the way to each connection.
//!
//! The lock is never held across an await; what the table asks for (wake, cut off, copy to the router) is carried out
//! before it is released, so that two calls cannot overtake one another.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use certs::PeerCertificate;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wire::topic::Up;
use wire::{DeviceName, Identity, Topic};

use crate::config::Limits;
use crate::conn::ConnId;
use crate::fault::Fault;
use crate::hub::{Effect, Hub};
use crate::metrics::{Drop, Metrics};
use crate::quiet::Quiet;
use crate::router::RouterHandle;

/// What others may do to a connection's task.
#[derive(Debug, Default)]
pub(crate) struct Ticket {
    /// Something waits for the connection.
    pub(crate) wake: Notify,
    cut: CancellationToken,
    fault: OnceLock<Fault>,
}

impl Ticket {
    /// Ends the connection; the first reason counts.
    pub(crate) fn cut(&self, fault: Fault) {
        // A second reason is not an error.
        let _ = self.fault.set(fault);
        self.cut.cancel();
    }

    /// Waits until the connection is to end.
    pub(crate) async fn was_cut(&self) -> Fault {
        self.cut.cancelled().await;
        self.fault.get().copied().unwrap_or(Fault::Shutdown)
    }
}

#[derive(Debug)]
struct Entry {
    ticket: Arc<Ticket>,
    /// `None` on the Unix socket.
    certificate: Option<PeerCertificate>,
}

#[derive(Debug)]
struct Inner {
    hub: Hub,
    entries: HashMap<ConnId, Entry>,
    quiet: Quiet,
    /// No new connections.
    ended: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Front {
    inner: Mutex<Inner>,
    next: AtomicU64,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
    pub(crate) router: RouterHandle,
}

impl Front {
    /// A front without connections.
    pub(crate) fn new(limits: Limits, metrics: Metrics, router: RouterHandle) -> Self {
        let hub = Hub::new(limits.clone(), metrics.clone());
        Front {
            inner: Mutex::new(Inner {
                hub,
                entries: HashMap::new(),
                quiet: Quiet::default(),
                ended: false,
            }),
            next: AtomicU64::new(1),
            limits,
            metrics,
            router,
        }
    }

    /// Registers a task before its peer says CONNECT, so that it can be cut off from now on.
    pub(crate) fn register(&self, certificate: Option<PeerCertificate>) -> (ConnId, Arc<Ticket>) {
        let conn = ConnId::new(self.next.fetch_add(1, Ordering::Relaxed));
        let ticket = Arc::new(Ticket::default());
        let entry = Entry {
            ticket: Arc::clone(&ticket),
            certificate,
        };
        let mut inner = self.lock();
        if inner.ended {
            ticket.cut(Fault::Shutdown);
        }
        inner.entries.insert(conn, entry);
        drop(inner);
        (conn, ticket)
    }

    /// Forgets a task, and its connection if it got that far.
    pub(crate) fn forget(&self, conn: ConnId, fault: Fault) {
        self.with(|hub| hub.disconnect(conn, fault));
        self.lock().entries.remove(&conn);
    }

    /// Calls the table and carries out what it asks for.
    pub(crate) fn with<T>(&self, call: impl FnOnce(&mut Hub) -> T) -> T {
        let mut inner = self.lock();
        let answer = call(&mut inner.hub);
        for effect in inner.hub.effects() {
            match effect {
                Effect::Wake(conn) => {
                    if let Some(entry) = inner.entries.get(&conn) {
                        entry.ticket.wake.notify_one();
                    }
                }
                Effect::Cut(conn, fault) => {
                    if let Some(entry) = inner.entries.get(&conn) {
                        entry.ticket.cut(fault);
                    }
                }
                Effect::Copy(name, payload) => {
                    if !self.router.copy(state_topic(&name), payload) {
                        self.metrics.dropped(Drop::Router, 1);
                    }
                }
            }
        }
        answer
    }

    /// Cuts off every connection whose certificate `judge` finds a fault with; how many.
    pub(crate) fn sweep(&self, judge: impl Fn(&PeerCertificate) -> Option<Fault>) -> usize {
        let inner = self.lock();
        let certified = inner
            .entries
            .values()
            .filter_map(|entry| Some((entry, entry.certificate.as_ref()?)));
        let faulty = certified.filter_map(|(entry, certificate)| Some((entry, judge(certificate)?)));
        faulty.map(|(entry, fault)| entry.ticket.cut(fault)).count()
    }

    /// Cuts off every connection, also those to come.
    pub(crate) fn cut_all(&self, fault: Fault) {
        let mut inner = self.lock();
        inner.ended = true;
        inner.entries.values().for_each(|entry| entry.ticket.cut(fault));
    }

    /// What operators may see of devices: topic and payload of each last state.
    pub(crate) fn states(&self) -> Vec<(String, Bytes)> {
        let states = self.lock().hub.states();
        states
            .into_iter()
            .map(|(name, payload)| (state_topic(&name), payload))
            .collect()
    }

    /// Logs how a connection ended: a broken rule as a warning, once a minute per peer and rule.
    pub(crate) fn report(&self, peer: &Identity, fault: Fault) {
        let (name, reason) = (peer.name().to_string(), fault.reason());
        if !fault.is_violation() {
            tracing::debug!(peer = name, role = %peer.role(), reason, "connection closed");
            return;
        }
        if let Some(left_out) = self.lock().quiet.speak(&name, fault, Instant::now()) {
            tracing::warn!(peer = name, role = %peer.role(), reason, left_out, "connection cut off");
        }
    }

    /// Logs that a device came with an expired certificate, once a minute per device.
    pub(crate) fn report_grace(&self, peer: &Identity) {
        let name = peer.name().to_string();
        if let Some(left_out) = self.lock().quiet.speak(&name, Fault::Expired, Instant::now()) {
            tracing::warn!(
                peer = name,
                left_out,
                "the device's certificate is expired and in its grace"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // The table is consistent between calls of its methods, and none of them calls out.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn state_topic(name: &DeviceName) -> String {
    Topic::Up(name.clone(), Up::State).to_string()
}
