//! How destinations are, for `/api/v1/fleet/destinations`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use wire::Timestamp;

use super::cursor::Totals;
use super::request::Protocol;

/// One destination.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    pub(crate) url: String,
    pub(crate) protocol: Protocol,
    /// Number of the first journal value that it needs.
    pub(crate) number: u64,
    /// Bytes of journal that it has not got yet, roughly.
    pub(crate) pending_bytes: u64,
    pub(crate) totals: Totals,
    /// When it last took samples.
    pub(crate) last_sent: Option<Timestamp>,
    /// Why it does not take what it is sent; `None`: it does.
    pub(crate) error: Option<String>,
}

/// All destinations by name.
#[derive(Debug, Default)]
pub(crate) struct Destinations(Mutex<BTreeMap<String, Status>>);

impl Destinations {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Status>> {
        // Each change is one assignment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As they are now.
    pub(crate) fn list(&self) -> Vec<(String, Status)> {
        self.lock()
            .iter()
            .map(|(name, status)| (name.clone(), status.clone()))
            .collect()
    }

    pub(crate) fn put(&self, name: &str, status: Status) {
        self.lock().insert(name.to_owned(), status);
    }

    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut Status)) {
        if let Some(status) = self.lock().get_mut(name) {
            change(status);
        }
    }

    pub(crate) fn remove(&self, name: &str) {
        self.lock().remove(name);
    }
}
