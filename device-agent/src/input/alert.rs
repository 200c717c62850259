//! What hands alerts to the log: bounded groups, each answered once it is durable.

use tokio::sync::{mpsc, oneshot};
use wire::message::Alert;

use super::Moment;

/// Groups that wait for the log.
const GROUPS: usize = 8;

/// Alerts that go into the log together.
#[derive(Debug)]
pub(crate) struct AlertGroup {
    /// When they became known.
    pub(crate) at: Moment,
    /// Within the wire's limits; the numbers of their records are given by the log.
    pub(crate) alerts: Vec<Alert>,
    /// Told whether all of them are in the log, durably as far as its sync policy makes anything durable.
    pub(crate) logged: oneshot::Sender<bool>,
}

/// The inlet of alerts.
#[derive(Debug, Clone)]
pub struct AlertSender(mpsc::Sender<AlertGroup>);

/// The outlet of alerts.
#[derive(Debug)]
pub struct AlertReceiver(pub(crate) mpsc::Receiver<AlertGroup>);

/// A channel of alerts.
pub fn alert_channel() -> (AlertSender, AlertReceiver) {
    let (sender, receiver) = mpsc::channel(GROUPS);
    (AlertSender(sender), AlertReceiver(receiver))
}

impl AlertSender {
    /// Logs alerts; false: some are not in the log, or no log is there.
    pub async fn log(&self, at: Moment, alerts: Vec<Alert>) -> bool {
        if alerts.is_empty() {
            return true;
        }
        let (logged, told) = oneshot::channel();
        let group = AlertGroup { at, alerts, logged };
        self.0.send(group).await.is_ok() && told.await.unwrap_or(false)
    }
}
