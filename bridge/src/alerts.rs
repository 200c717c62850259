//! Alerts of devices, rule groups and callers, and the Alertmanagers that are told of them.
//!
//! `life` and `book` are pure: what is known of each alert and what is due to whom. `keeper` takes reports in and makes
//! them durable (`disk`), `discovery` knows the Alertmanagers, and a `sender` each tells them, independently of one
//! another. docs/alerts.md says what is promised and why a crash at any point keeps it.

mod book;
mod config;
mod discovery;
mod disk;
mod feed;
mod file;
mod keeper;
mod life;
mod metrics;
mod sender;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use reqwest::Url;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use wire::Labels;

pub use config::Alerting;
pub use file::{AlertingError, AlertingFile};
pub use keeper::AlertsError;

pub(crate) use config::Cluster;
pub(crate) use discovery::{ALERTS_PATH, Found};
pub(crate) use disk::FILE;
pub(crate) use feed::{Evaluated, Feed, PostError};
pub(crate) use keeper::{CURSOR, Keeper, Shared};
pub(crate) use life::{Report, Times, pair};
pub(crate) use metrics::Metrics;
use sender::{Dress, Sender};

/// An Alertmanager that is told, and how it is called.
#[derive(Debug, Clone)]
pub(crate) struct Alertmanager {
    /// Where it takes alerts.
    pub(crate) url: Url,
    pub(crate) cluster: Arc<Cluster>,
}

/// The Alertmanagers that there are now, for those who ask.
#[derive(Debug, Default)]
pub(crate) struct Alertmanagers(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    active: Vec<Alertmanager>,
    dropped: Vec<Url>,
}

impl Alertmanagers {
    /// Those that are told.
    pub(crate) fn active(&self) -> Vec<Alertmanager> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .active
            .clone()
    }

    /// Those that relabelling dropped.
    pub(crate) fn dropped(&self) -> Vec<Url> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .dropped
            .clone()
    }
}

/// Tells Alertmanagers until `shutdown`, those of each configuration that follows included.
pub(crate) async fn run(
    mut configs: watch::Receiver<Alerting>,
    (external_labels, resend_delay_ms): (Labels, i64),
    shared: Arc<Shared>,
    known: Arc<Alertmanagers>,
    shutdown: CancellationToken,
) {
    while !shutdown.is_cancelled() {
        let alerting = configs.borrow_and_update().clone();
        let times = Times {
            resend_delay_ms,
            ..alerting.times
        };
        shared.book().configure(times);
        let dress = Arc::new(Dress {
            external_labels: external_labels.clone(),
            relabel: alerting.relabel.clone(),
        });
        let stop = shutdown.child_token();
        let clusters = alerting.clusters.into_iter().map(Arc::new).collect();
        let telling = tell(
            clusters,
            dress,
            Arc::clone(&shared),
            Arc::clone(&known),
            stop.clone(),
        );
        tokio::pin!(telling);
        tokio::select! {
            () = &mut telling => {}
            // Without a sender there is nothing to wait for but the end.
            () = async { if configs.changed().await.is_err() { std::future::pending().await } } => {
                stop.cancel();
                telling.await;
            }
        }
    }
}

/// A task per Alertmanager, as long as discovery finds it.
async fn tell(
    clusters: Vec<Arc<Cluster>>,
    dress: Arc<Dress>,
    shared: Arc<Shared>,
    known: Arc<Alertmanagers>,
    stop: CancellationToken,
) {
    let mut discoveries = JoinSet::new();
    let mut found: Vec<(Arc<Cluster>, watch::Receiver<Found>)> = Vec::new();
    for cluster in clusters {
        let (sender, receiver) = watch::channel(Found::default());
        found.push((Arc::clone(&cluster), receiver));
        discoveries.spawn(discovery::follow(cluster, sender, stop.clone()));
    }
    let mut running: BTreeMap<String, (CancellationToken, JoinHandle<()>)> = BTreeMap::new();
    loop {
        let now = note(&mut found, &known, &shared);
        let gone: Vec<String> = running
            .keys()
            .filter(|name| !now.contains_key(*name))
            .cloned()
            .collect();
        for name in gone {
            end(running.remove(&name)).await;
        }
        for (name, alertmanager) in now {
            running.entry(name.clone()).or_insert_with(|| {
                let stop = stop.child_token();
                let sender = Sender {
                    url: alertmanager.url,
                    name,
                    cluster: alertmanager.cluster,
                    dress: Arc::clone(&dress),
                    shared: Arc::clone(&shared),
                    caller: Mutex::default(),
                    refusals: Mutex::default(),
                };
                (stop.clone(), tokio::spawn(sender.run(stop)))
            });
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = any_changed(&mut found) => {}
        }
    }
    for (_, running) in running {
        end(Some(running)).await;
    }
    while discoveries.join_next().await.is_some() {}
}

/// What discovery found, by URL.
fn note(
    found: &mut [(Arc<Cluster>, watch::Receiver<Found>)],
    known: &Alertmanagers,
    shared: &Shared,
) -> BTreeMap<String, Alertmanager> {
    let (mut active, mut dropped) = (BTreeMap::new(), Vec::new());
    for (cluster, found) in found {
        let found = found.borrow_and_update();
        for url in &found.active {
            let alertmanager = Alertmanager {
                url: url.clone(),
                cluster: Arc::clone(cluster),
            };
            active.insert(crate::http_client::shown(url), alertmanager);
        }
        dropped.extend(found.dropped.iter().cloned());
    }
    shared.book().set_alertmanagers(active.keys().cloned().collect());
    shared.metrics.discovered(active.len());
    *known.0.write().unwrap_or_else(PoisonError::into_inner) = Known {
        active: active.values().cloned().collect(),
        dropped,
    };
    active
}

/// Waits until any cluster has other targets.
async fn any_changed(found: &mut [(Arc<Cluster>, watch::Receiver<Found>)]) {
    if found.is_empty() {
        return std::future::pending().await;
    }
    let changes = found.iter_mut().map(|(_, found)| {
        Box::pin(async move {
            // A discovery ends only when everything does.
            if found.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    });
    let mut changes: Vec<_> = changes.collect();
    std::future::poll_fn(|context| {
        let ready = changes
            .iter_mut()
            .any(|change| change.as_mut().poll(context).is_ready());
        if ready {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}

async fn end(running: Option<(CancellationToken, JoinHandle<()>)>) {
    let Some((stop, task)) = running else { return };
    stop.cancel();
    if let Err(error) = task.await {
        tracing::error!(%error, "the task of an Alertmanager ended unexpectedly");
    }
}
