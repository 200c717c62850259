//! The HTTP API: Prometheus's query endpoints in its exact shapes, the fleet, health and metrics.
//!
//! Queries run on blocking threads, a bounded number at once, under a deadline and a budget; when a caller leaves, hyper drops the
//! handler's future and with it the guard that cancels the evaluation.

mod admin;
mod alertmanager;
mod compress;
mod connection;
mod destinations;
mod envelope;
mod evaluate;
mod exemplars;
mod explain;
mod exposition;
mod expression;
mod federate;
mod fleet;
mod fleet_store;
#[cfg(fuzzing)]
pub mod fuzz;
mod guard;
mod json;
mod listen;
mod metadata;
mod notes;
mod params;
mod query;
mod read;
mod routes;
mod rules;
mod series;
mod source;
mod stats;
mod status;
mod targets;
mod time;

use std::io;
use std::ops::Deref;
use std::sync::Arc;
use std::thread;

use prometheus::Registry;
use promql::PatternCache;
use store::Store;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::alerts::{self, Alertmanagers, Feed};
use crate::config::Config;
use crate::device_rules;
use crate::forward::Destinations;
use crate::ingest::{Fleet, Orders};
use crate::metrics::Metrics;
use crate::rules::Views;
use crate::web::{Peer, Web};

pub(crate) use source::{TenantSource, for_store};
pub use time::parse_time;

/// What handlers share; of it each request takes several clones.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

impl App {
    pub(crate) fn new(shared: Shared) -> Self {
        App(Arc::new(shared))
    }
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// The parts of an [`App`].
pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) orders: Orders,
    pub(crate) config: Arc<Config>,
    pub(crate) registry: Registry,
    pub(crate) metrics: Metrics,
    pub(crate) subscribed: watch::Receiver<bool>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) patterns: Arc<PatternCache>,
    pub(crate) destinations: Arc<Destinations>,
    pub(crate) alerts: Feed,
    pub(crate) rules: Arc<Views>,
    pub(crate) alert_book: Arc<alerts::Shared>,
    pub(crate) alertmanagers: Arc<Alertmanagers>,
    pub(crate) web: watch::Receiver<Arc<Web>>,
    pub(crate) device_rules: device_rules::Current,
}

/// Answers requests until `shutdown`. Connections have a thread of their own: most are short, and what wakes the threads of
/// a runtime for one another would cost more than to answer.
pub(crate) async fn serve(listener: TcpListener, app: App, shutdown: CancellationToken) -> io::Result<()> {
    let listener = listener.into_std()?;
    let (done, ended) = oneshot::channel();
    let run = move || {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let served = runtime.block_on(answer(listener, app, shutdown));
        // What runs on blocking threads is waited for.
        drop(runtime);
        served
    };
    thread::Builder::new()
        .name("bridge-http".to_owned())
        .spawn(move || {
            // Nobody waits for it any more if the bridge was dropped.
            let _ = done.send(run());
        })?;
    ended.await.map_err(io::Error::other)?
}

async fn answer(listener: std::net::TcpListener, app: App, shutdown: CancellationToken) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    // A connection that is kept alive would hold up the end for as long as its client likes.
    let stopped = shutdown.clone();
    let (most, idle) = (app.config.http_connections, app.config.http_idle);
    let listener = listen::Listener::new(listener, app.web.clone(), most, idle);
    let service = routes::router(app).into_make_service_with_connect_info::<Peer>();
    let server = axum::serve(listener, service).with_graceful_shutdown(shutdown.cancelled_owned());
    tokio::select! {
        ended = server => ended,
        () = async {
            stopped.cancelled().await;
            tokio::time::sleep(LINGER).await;
        } => Ok(()),
    }
}

/// How long answers under way may take after the shutdown began.
const LINGER: std::time::Duration = std::time::Duration::from_secs(5);
