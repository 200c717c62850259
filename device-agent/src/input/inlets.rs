//! All that an agent takes in, and what it is to tell beside it.

use bytes::Bytes;
use tokio::sync::watch;
use wire::message::{ConfigState, RulesState};

use super::{AlertReceiver, RowReceiver};

/// What an agent takes in.
#[derive(Debug)]
pub struct Inlets {
    /// Scrapes.
    pub rows: RowReceiver,
    /// Alerts, where there is a source of them.
    pub alerts: Option<AlertReceiver>,
    /// What rules do, where something evaluates some.
    pub rules: Option<watch::Receiver<Option<RulesState>>>,
    /// Where configurations go that the bridge pushes, if anything takes them.
    pub pushes: Option<Pushes>,
}

/// The way of pushed configurations.
#[derive(Debug)]
pub struct Pushes {
    /// Payloads as they come; only the newest counts.
    pub received: watch::Sender<Bytes>,
    /// What the bridge is told of them.
    pub state: watch::Receiver<ConfigState>,
}

impl From<RowReceiver> for Inlets {
    fn from(rows: RowReceiver) -> Inlets {
        Inlets {
            rows,
            alerts: None,
            rules: None,
            pushes: None,
        }
    }
}
