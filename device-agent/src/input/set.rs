//! All inputs of an agent: what they are, and starting them.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use prometheus::Registry;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::DeviceId;

use super::{InputMetrics, RowSender, TargetId};
use crate::host::Host;
use crate::scrape::http::{FetchError, FetchRules, client};
use crate::scrape::schedule::Schedule;
use crate::scrape::target_labels::{TargetLabels, instance_of};
use crate::scrape::task::{InputTask, Source};
use crate::scrape::{ScrapeRules, ScrapeTarget};

/// A target scraped over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetConfig {
    /// Label `job`.
    pub job_name: String,
    /// `host:port`, from which `instance` is made.
    pub address: String,
    /// Between scrapes.
    pub interval: Duration,
    /// What to fetch.
    pub fetch: FetchRules,
    /// How the page is read.
    pub rules: ScrapeRules,
    /// The page's labels win over the target's.
    pub honor_labels: bool,
    /// Labels of the target.
    pub labels: BTreeMap<String, String>,
}

/// What an agent takes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputConfig {
    /// Labels that every series gets unless it has them.
    pub external_labels: BTreeMap<String, String>,
    /// Interval of host metrics and of the agent's own.
    pub interval: Duration,
    /// Collect host metrics, as job `node`.
    pub host_metrics: bool,
    /// Collect the agent's own metrics, as job `backhaul-agent`.
    pub own_metrics: bool,
    /// Targets to scrape.
    pub targets: Vec<TargetConfig>,
}

/// Starts a task per input on `tasks`; each ends when `stop` is cancelled or the receiver of `out` is gone. `registry`
/// holds the agent's own metrics. Must be called within a tokio runtime.
///
/// # Errors
/// A target is HTTPS and this system has no root certificates.
pub fn start(
    config: &InputConfig,
    device: &DeviceId,
    registry: &Registry,
    metrics: &InputMetrics,
    out: &RowSender,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> Result<(), FetchError> {
    let mut number = 0..;
    let mut spawn =
        |name: String, source: Source, labels: TargetLabels, rules: ScrapeRules, interval: Duration| {
            let Some(id) = number.next().map(TargetId::new) else {
                return;
            };
            let labels = labels.with_external(&config.external_labels);
            let task = InputTask {
                schedule: Schedule::new(interval, (device.as_str(), &name)),
                target: ScrapeTarget::new(id, labels, rules),
                metrics: metrics.clone(),
                out: out.clone(),
                name,
                source,
            };
            tasks.spawn(task.run(stop.clone()));
        };
    let own = |job: &str| TargetLabels::new(job, device.as_str(), &BTreeMap::new());
    if config.host_metrics {
        let host = Source::Host(Some(Box::new(Host::default())));
        spawn(
            "host".into(),
            host,
            own("node"),
            ScrapeRules::default(),
            config.interval,
        );
    }
    if config.own_metrics {
        let source = Source::Own(registry.clone());
        spawn(
            "agent".into(),
            source,
            own("backhaul-agent"),
            ScrapeRules::default(),
            config.interval,
        );
    }
    if config.targets.is_empty() {
        return Ok(());
    }
    let client = client(
        config
            .targets
            .iter()
            .any(|target| target.fetch.url.scheme() == "https"),
    )?;
    let mut seen = HashSet::new();
    for target in &config.targets {
        let instance = instance_of(&target.address, device);
        let labels = TargetLabels::new(&target.job_name, &instance, &target.labels)
            .honoring_labels(target.honor_labels);
        // As in Prometheus: the same labels and URL twice are one target.
        let name = target.fetch.url.to_string();
        if seen.insert((name.clone(), labels.clone())) {
            let source = Source::Http(client.clone(), target.fetch.clone());
            spawn(name, source, labels, target.rules.clone(), target.interval);
        }
    }
    Ok(())
}
