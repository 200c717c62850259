//! The fleet side: ingest, acks and grants, the query API, alerts.
//!
//! [`run`] is the whole bridge on sockets and a store that its caller opened. Devices' messages come through an MQTT
//! broker (`mqtt`, `ingest`), are committed to the store's journal and only then acked; queries come over HTTP (`http`)
//! and read the same store. Nothing but the store outlives the process.

mod admission;
mod alerts;
mod blocking;
mod config;
mod device_rules;
mod device_series;
mod forward;
mod hashrings;
mod histogram;
mod http;
mod http_client;
mod ingest;
mod maintain;
mod memory;
mod metrics;
mod mqtt;
pub mod relabel;
mod rules;
mod selector;
mod web;

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use prometheus::Registry;
use store::{Store, Unpassed};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use wire::BridgeEpoch;

use self::admission::Admission;
use self::alerts::{Alertmanagers, Keeper};
use self::forward::{Destinations, Forward, Passed};
use self::http::App;
use self::ingest::{Core, Fleet, Gate, Input, Limits, Outgoing, Worker};
use self::maintain::Maintenance;
use self::metrics::Metrics;
use self::mqtt::Link;

pub use alerts::{Alerting, AlertingError, AlertingFile, AlertsError};
pub use config::{BridgeError, Config, Listeners, MqttEndpoint, Started};
pub use device_rules::{
    DeviceRuleEntry, DeviceRuleFiles, DeviceRulesError, DeviceRulesFile, check as check_device_rules,
};
pub use forward::{RemoteWrite, RemoteWriteError, RemoteWriteFile, check as check_remote_write};
pub use hashrings::{HashringFile, HashringFileError};
#[cfg(fuzzing)]
pub use http::fuzz;
pub use http::parse_time;
pub use memory::Budgets;
pub use rules::{RuleFiles, RuleFilesError, TenantRules, check_pattern};
pub use selector::parse_selector;
pub use web::{Web, WebFile, WebFileError};

/// Acks that may wait for the broker's connection.
const ACKS: usize = 16_384;

/// Runs a bridge until `shutdown`: then takes in no more, commits and acks what it has, and returns.
///
/// # Errors
/// The system refused what the start needs, or a part ended by itself. A lost broker is no error: it is dialled again;
/// nor is a commit that failed: devices keep what it held.
pub async fn run(
    config: Config,
    listeners: Listeners,
    store: Arc<Store>,
    mqtt: MqttEndpoint,
    registry: Registry,
    shutdown: CancellationToken,
) -> Result<(), BridgeError> {
    let io = |what| move |source| BridgeError::Io { what, source };
    let metrics = Metrics::register(&registry)?;
    let epoch = BridgeEpoch::new(getrandom::u64().map_err(BridgeError::Random)?);
    let instance = listeners
        .http
        .local_addr()
        .map_err(io("address of the HTTP listener"))?
        .to_string();
    let fleet = Arc::new(Fleet::default());
    let (device_files, wanted) = device_rules::Watch::start(config.device_rules.clone())?;
    let (wanted, device_rules) = watch::channel(Arc::new(wanted));
    let mut core = core(&config, epoch, (&store, &fleet), &metrics)?;
    core.push_wanted(device_rules.clone());
    let (acks, outgoing) = mpsc::channel(ACKS);
    let keeper = keeper(&config, (&store, &fleet), &registry)?;
    let ways = (acks, keeper.feed.clone());
    let worker = Worker::start(core, Arc::clone(&store), ways, metrics.clone(), config.clock)
        .map_err(io("threads of the ingest"))?;
    let maintenance = Maintenance::start(Arc::clone(&store), metrics.clone(), worker.inputs.clone())
        .map_err(io("thread of the maintenance"))?;
    let (subscribed, watched) = watch::channel(false);
    let link = link(&config, mqtt, worker.inputs.clone(), subscribed, metrics.clone());
    let inputs = worker.inputs.clone();
    // The ingest thread is gone only at the end, and then nobody is pushed anything.
    let changed = move || drop(inputs.send(Input::Wanted));
    let device_files = device_files.follow(wanted, changed, metrics.device_rules.clone(), shutdown.clone());
    let destinations = Arc::new(Destinations::default());
    let passed = passed(&config, &worker);
    let forward = Forward::new(
        Arc::clone(&store),
        &registry,
        Arc::clone(&destinations),
        passed,
        config.clock,
    )?;
    let forward = forward.run(config.remote_write.clone(), shutdown.clone());
    let alertmanagers = Arc::new(Alertmanagers::default());
    let told = alerts::run(
        config.alerting.clone(),
        (config.external_labels.clone(), millis(config.resend_delay)),
        Arc::clone(&keeper.shared),
        Arc::clone(&alertmanagers),
        shutdown.clone(),
    );
    let rings = hashrings::run(
        config.hashrings.clone(),
        Arc::clone(&store),
        metrics.rings.clone(),
        shutdown.clone(),
    );
    let read = config.web.as_ref().map(WebFile::read).transpose()?;
    let (web, of_listener) = watch::channel(Arc::new(read.unwrap_or_default()));
    let web = web::follow(config.web.clone(), web, shutdown.clone());
    let admission = Arc::new(Admission::new(&config, &metrics));
    let config = Arc::new(config);
    let ruling = rules::Shared::new(
        (Arc::clone(&store), Arc::clone(&fleet)),
        keeper.feed.clone(),
        (Arc::clone(&config), Arc::clone(&admission)),
        &registry,
    )?;
    let views = Arc::clone(&ruling.views);
    let ruling = rules::run(Arc::new(ruling), config.rules.clone(), shutdown.clone());
    let mqtt_connected = metrics.mqtt_connected.clone();
    let app = App::new(http::Shared {
        store: Arc::clone(&store),
        fleet: Arc::clone(&fleet),
        orders: worker.orders.clone(),
        admission,
        patterns: Arc::default(),
        config,
        rules: views,
        registry,
        metrics,
        subscribed: watched,
        destinations,
        alerts: keeper.feed.clone(),
        alert_book: Arc::clone(&keeper.shared),
        alertmanagers,
        web: of_listener,
        device_rules,
    });
    let series = device_series::run(store, fleet, mqtt_connected, instance, shutdown.clone());
    let ingest = take_in(link, outgoing, &shutdown);
    let http = async {
        http::serve(listeners.http, app, shutdown.clone())
            .await
            .map_err(io("HTTP listener"))
    };
    let beside = async { tokio::join!(series, forward, rings, web, told, ruling, device_files) };
    let guard = shutdown.clone().drop_guard();
    let (ingest, http, _) = tokio::join!(guarded(ingest, &shutdown), guarded(http, &shutdown), beside);
    drop(guard);
    keeper.end().await;
    maintenance.end().await;
    ingest.and(http)
}

fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

/// The way to the broker; what comes goes to `inputs`, and whether it is connected to `subscribed`.
fn link(
    config: &Config,
    endpoint: MqttEndpoint,
    inputs: Sender<Input>,
    subscribed: watch::Sender<bool>,
    metrics: Metrics,
) -> Link {
    Link {
        endpoint,
        client_id: config.client_id.clone(),
        shards: config.shards.clone(),
        inputs,
        queue: Arc::new(Semaphore::new(mqtt::QUEUE_BYTES)),
        subscribed,
        metrics,
    }
}

/// Reads what the broker sends until `shutdown`.
async fn take_in(
    link: Link,
    outgoing: mpsc::Receiver<Outgoing>,
    shutdown: &CancellationToken,
) -> Result<(), BridgeError> {
    link.run(outgoing, shutdown.clone()).await;
    // It also ends when the ingest thread does, and that only stops when it is told to.
    if shutdown.is_cancelled() {
        Ok(())
    } else {
        Err(BridgeError::Ended("the ingest thread"))
    }
}

/// The state machine of the ingest.
fn core(
    config: &Config,
    epoch: BridgeEpoch,
    (store, fleet): (&Arc<Store>, &Arc<Fleet>),
    metrics: &Metrics,
) -> Result<Core, BridgeError> {
    let limits = Limits {
        budget: config.ingest_budget,
        backlog_rate: config.backlog_rate,
    };
    let mut core = Core::new(epoch, limits, metrics.clone(), Arc::clone(fleet));
    if let Some(name) = &config.ack_after {
        core.ack_after(gate(config, name, store)?);
    }
    Ok(core)
}

/// Opens the alerts beside the store.
fn keeper(
    config: &Config,
    (store, fleet): (&Arc<Store>, &Arc<Fleet>),
    registry: &Registry,
) -> Result<Keeper, BridgeError> {
    Ok(Keeper::start(
        &store.dir().join(alerts::FILE),
        Arc::clone(store),
        Arc::clone(fleet),
        config.alerting.borrow().times,
        alerts::Metrics::register(registry)?,
        config.clock,
    )?)
}

/// Tells the ingest how far the destination is that acks wait for; `None`: they wait for none.
fn passed(config: &Config, worker: &Worker) -> Option<(String, Passed)> {
    let inputs = worker.inputs.clone();
    let passed: Passed = Arc::new(move |below| {
        // The ingest thread is gone only at the end, and then nobody is owed an ack.
        let _ = inputs.send(Input::Passed(below));
    });
    config.ack_after.clone().map(|name| (name, passed))
}

/// What the destination that acks wait for has not passed yet.
fn gate(config: &Config, name: &str, store: &Arc<Store>) -> Result<Gate, BridgeError> {
    if !config.remote_write.borrow().iter().any(|to| to.name() == name) {
        return Err(BridgeError::AckAfter(name.to_owned()));
    }
    let cursor = store.cursors().into_iter().find(|(n, _)| n == name);
    let number = cursor.map_or(0, |(_, cursor)| cursor.number);
    Ok(Gate::new(number, Unpassed::since(store, number)?))
}

/// Runs a part; when it ends, for whatever reason, the others end too.
async fn guarded<T>(part: impl Future<Output = T>, shutdown: &CancellationToken) -> T {
    let ended = part.await;
    shutdown.cancel();
    ended
}
