//! Rules across the fleet: groups of rule files, evaluated over all devices of a tenant.
//!
//! `files` reads what is configured, `group` runs one group at its own times, `storage` is what its rules read and write,
//! `late` finds windows that late data touched, which recording rules are evaluated for again. Alerts go to `alerts`,
//! which owns them from there on.

mod files;
mod group;
mod late;
mod metrics;
mod storage;
mod view;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus::Registry;
use rules::{GroupState, Options};
use store::Store;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wire::{Tenant, Timestamp};

use crate::admission::Admission;
use crate::alerts::{Evaluated, Feed};
use crate::config::Config;
use crate::ingest::Fleet;

pub(crate) use files::paths;
pub use files::{RuleFiles, RuleFilesError, TenantRules, check_pattern};
pub(crate) use group::Evaluator;
pub(crate) use metrics::Metrics;
pub(crate) use view::{AlertView, AlertingView, GroupView, RuleView};

/// Identity of a group: its tenant, and its file and name.
type Key = (Tenant, String);

/// What groups share.
pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) alerts: Feed,
    pub(crate) config: Arc<Config>,
    pub(crate) metrics: Metrics,
    pub(crate) admission: Arc<Admission>,
    pub(crate) views: Arc<Views>,
}

/// The groups as they were after their last evaluation, for those who ask.
#[derive(Debug, Default)]
pub(crate) struct Views(RwLock<BTreeMap<Key, Arc<GroupView>>>);

impl Views {
    /// The groups of a tenant, in order of files and names.
    pub(crate) fn of(&self, tenant: &Tenant) -> Vec<Arc<GroupView>> {
        let views = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let of = views.iter().filter(|((of, _), _)| of == tenant);
        of.map(|(_, view)| Arc::clone(view)).collect()
    }

    fn put(&self, key: &Key, view: GroupView) {
        let mut views = self.0.write().unwrap_or_else(PoisonError::into_inner);
        views.insert(key.clone(), Arc::new(view));
    }

    fn remove(&self, key: &Key) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

struct Running {
    stop: CancellationToken,
    task: JoinHandle<GroupState>,
}

impl Shared {
    pub(crate) fn new(
        (store, fleet): (Arc<Store>, Arc<Fleet>),
        alerts: Feed,
        (config, admission): (Arc<Config>, Arc<Admission>),
        registry: &Registry,
    ) -> prometheus::Result<Self> {
        Ok(Shared {
            store,
            fleet,
            alerts,
            metrics: Metrics::register(registry)?,
            views: Arc::default(),
            config,
            admission,
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.config.clock)()
    }
}

/// Runs the groups of a configuration, and of each that follows it, until `shutdown`.
pub(crate) async fn run(
    shared: Arc<Shared>,
    mut configs: watch::Receiver<TenantRules>,
    shutdown: CancellationToken,
) {
    let mut running: BTreeMap<Key, Running> = BTreeMap::new();
    loop {
        let wanted = configs.borrow_and_update().clone();
        let first = running.is_empty();
        change(&shared, &mut running, &wanted, first).await;
        tokio::select! {
            () = shutdown.cancelled() => break,
            // Without a sender there is nothing to wait for but the end.
            () = async { if configs.changed().await.is_err() { std::future::pending().await } } => {}
        }
    }
    for running in running.values() {
        running.stop.cancel();
    }
    for (_, running) in running {
        ended(running.task).await;
    }
}

/// Ends all groups, and starts those of the configuration with what they remember.
async fn change(
    shared: &Arc<Shared>,
    running: &mut BTreeMap<Key, Running>,
    wanted: &TenantRules,
    first: bool,
) {
    for running in running.values() {
        running.stop.cancel();
    }
    let mut before: BTreeMap<Key, GroupState> = BTreeMap::new();
    for (key, running) in std::mem::take(running) {
        if let Some(state) = ended(running.task).await {
            before.insert(key, state);
        }
    }
    shared.metrics.forget_groups();
    let names = wanted
        .groups()
        .iter()
        .map(|(tenant, group)| (tenant.to_string(), group.key()));
    let (feed, names) = (shared.alerts.clone(), names.collect());
    // The queue may be full for a while.
    let _ = tokio::task::spawn_blocking(move || feed.groups(names)).await;
    for (tenant, group) in wanted.groups() {
        let key = (tenant.clone(), group.key());
        let options = Options {
            // What a reload adds has no state from before the start.
            restore: first,
            ..wanted.options().clone()
        };
        let mut state = GroupState::new(group.clone(), options);
        if let Some(old) = before.remove(&key) {
            state.take_over(old);
        }
        let stop = CancellationToken::new();
        let evaluator = Evaluator::new(Arc::clone(shared), key.clone(), state);
        let task = tokio::spawn(evaluator.run(stop.clone()));
        running.insert(key, Running { stop, task });
    }
    for (key, state) in before {
        retire(shared, key, state).await;
    }
}

/// A group that is gone: its series end, and its alerts with it.
async fn retire(shared: &Arc<Shared>, key: Key, state: GroupState) {
    shared.views.remove(&key);
    let (tenant, group) = key;
    let (inner, owner) = (Arc::clone(shared), tenant.clone());
    let done = tokio::task::spawn_blocking(move || {
        let markers = state.retire(inner.now().ms());
        storage::record(&inner.store, &owner, &markers)
    });
    if !matches!(done.await, Ok(Ok(_))) {
        tracing::error!(group, "the series of a group that is gone could not be ended");
    }
    shared.alerts.evaluated(Evaluated {
        tenant: tenant.to_string(),
        group,
        firing: Vec::new(),
        active: Vec::new(),
    });
}

async fn ended(task: JoinHandle<GroupState>) -> Option<GroupState> {
    match task.await {
        Ok(state) => Some(state),
        Err(error) => {
            tracing::error!(%error, "a rule group ended unexpectedly");
            None
        }
    }
}
