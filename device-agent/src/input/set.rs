//! All inputs of an agent: what they are, starting them, and changing them while they run.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use prometheus::Registry;
use reqwest::Client;
use tokio::task::JoinHandle;
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

/// The inputs that run.
#[derive(Debug)]
pub struct Inputs {
    device: DeviceId,
    /// The agent's own metrics.
    registry: Registry,
    metrics: InputMetrics,
    out: RowSender,
    stop: CancellationToken,
    tasks: TaskTracker,
    running: Vec<Running>,
}

/// One of them.
#[derive(Debug)]
struct Running {
    input: Input,
    id: TargetId,
    /// Ends it, and with it its series.
    remove: CancellationToken,
    task: JoinHandle<()>,
}

/// All that makes an input what it is: equal ones go on through a change.
#[derive(Debug, Clone, PartialEq)]
struct Input {
    /// For logs and the schedule: the target's URL, or which input it is.
    name: String,
    labels: TargetLabels,
    rules: ScrapeRules,
    interval: Duration,
    source: InputSource,
}

#[derive(Debug, Clone, PartialEq)]
enum InputSource {
    Host,
    Own,
    Http(FetchRules),
}

impl Inputs {
    /// No inputs yet. Those that follow send to `out`, run on `tasks`, and end when `stop` is cancelled or the receiver of
    /// `out` is gone. `registry` holds the agent's own metrics.
    pub fn new(
        device: &DeviceId,
        (registry, metrics): (&Registry, &InputMetrics),
        out: RowSender,
        (stop, tasks): (&CancellationToken, &TaskTracker),
    ) -> Inputs {
        Inputs {
            device: device.clone(),
            registry: registry.clone(),
            metrics: metrics.clone(),
            out,
            stop: stop.clone(),
            tasks: tasks.clone(),
            running: Vec::new(),
        }
    }

    /// Ends the inputs that a config does not have, their series with them, and starts those that are new. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// A target is HTTPS and this system has no root certificates; nothing is changed then.
    pub async fn set(&mut self, config: &InputConfig) -> Result<(), FetchError> {
        let is_https = |target: &TargetConfig| target.fetch.url.scheme() == "https";
        let client = match config.targets.is_empty() {
            true => None,
            false => Some(client(config.targets.iter().any(is_https))?),
        };
        let mut wanted = self.inputs(config);
        let (kept, removed): (Vec<Running>, Vec<Running>) = std::mem::take(&mut self.running)
            .into_iter()
            .partition(|running| wanted.contains(&running.input));
        wanted.retain(|input| !kept.iter().any(|running| running.input == *input));
        self.running = kept;
        removed.iter().for_each(|running| running.remove.cancel());
        // Their numbers are free once their last rows are on their way.
        for running in removed {
            running.task.await.ok();
        }
        for input in wanted {
            self.start(input, client.as_ref());
        }
        Ok(())
    }

    fn start(&mut self, input: Input, client: Option<&Client>) {
        let source = match (&input.source, client) {
            (InputSource::Host, _) => Source::Host(Some(Box::new(Host::default()))),
            (InputSource::Own, _) => Source::Own(self.registry.clone()),
            (InputSource::Http(rules), Some(client)) => Source::Http(client.clone(), rules.clone()),
            (InputSource::Http(_), None) => return,
        };
        let is_free = |id: &TargetId| self.running.iter().all(|running| running.id != *id);
        let Some(id) = (0..).map(TargetId::new).find(is_free) else {
            return;
        };
        let task = InputTask {
            schedule: Schedule::new(input.interval, (self.device.as_str(), &input.name)),
            target: ScrapeTarget::new(id, input.labels.clone(), input.rules.clone()),
            metrics: self.metrics.clone(),
            out: self.out.clone(),
            name: input.name.clone(),
            source,
        };
        let remove = CancellationToken::new();
        self.running.push(Running {
            task: self.tasks.spawn(task.run(self.stop.clone(), remove.clone())),
            input,
            id,
            remove,
        });
    }

    /// The inputs of a config. As in Prometheus, the same labels and URL twice are one target.
    fn inputs(&self, config: &InputConfig) -> Vec<Input> {
        let own = |job: &str, name: &str, source: InputSource| Input {
            name: name.to_owned(),
            labels: TargetLabels::new(job, self.device.as_str(), &BTreeMap::new())
                .with_external(&config.external_labels),
            rules: ScrapeRules::default(),
            interval: config.interval,
            source,
        };
        let host = config
            .host_metrics
            .then(|| own("node", "host", InputSource::Host));
        let agent = config
            .own_metrics
            .then(|| own("backhaul-agent", "agent", InputSource::Own));
        let target = |target: &TargetConfig| {
            let instance = instance_of(&target.address, &self.device);
            Input {
                name: target.fetch.url.to_string(),
                labels: TargetLabels::new(&target.job_name, &instance, &target.labels)
                    .honoring_labels(target.honor_labels)
                    .with_external(&config.external_labels),
                rules: target.rules.clone(),
                interval: target.interval,
                source: InputSource::Http(target.fetch.clone()),
            }
        };
        let mut seen = HashSet::new();
        let targets = config.targets.iter().map(target);
        let targets = targets.filter(|input| seen.insert((input.name.clone(), input.labels.clone())));
        host.into_iter().chain(agent).chain(targets).collect()
    }
}
