//! Labels of a target, and how they meet the labels on its page.

use std::collections::BTreeMap;

use wire::labels::METRIC_NAME;
use wire::{DeviceId, Labels};

use crate::exposition::ParsedSeries;

/// `job`, `instance` and further labels of a target, and the agent's external labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct TargetLabels {
    target: BTreeMap<String, String>,
    external: BTreeMap<String, String>,
    honor_labels: bool,
}

impl TargetLabels {
    /// Labels of a target. `static_labels` may set another `job` or `instance`; empty values remove.
    pub fn new(job: &str, instance: &str, static_labels: &BTreeMap<String, String>) -> Self {
        let mut target = BTreeMap::from([("job".into(), job.into()), ("instance".into(), instance.into())]);
        target.extend(static_labels.clone());
        target.retain(|_, value: &mut String| !value.is_empty());
        TargetLabels {
            target,
            external: BTreeMap::new(),
            honor_labels: false,
        }
    }

    /// Adds the agent's external labels: each series gets those that it does not have.
    #[must_use]
    pub fn with_external(mut self, external: &BTreeMap<String, String>) -> Self {
        self.external = external.clone();
        self
    }

    /// Where page and target both have a label, the page's counts.
    #[must_use]
    pub fn honoring_labels(mut self, honor: bool) -> Self {
        self.honor_labels = honor;
        self
    }

    /// Labels of a report series such as `up`.
    pub(crate) fn of_report(&self, name: &str) -> Labels {
        let mut labels = self.target.clone();
        labels.insert(METRIC_NAME.into(), name.into());
        self.finished(labels)
    }

    /// Labels of a series of the page.
    pub(crate) fn of_sample(&self, series: ParsedSeries) -> Labels {
        let mut labels: BTreeMap<String, String> = series.labels.into_iter().collect();
        labels.insert(METRIC_NAME.into(), series.name);
        if self.honor_labels {
            for (name, value) in &self.target {
                labels.entry(name.clone()).or_insert_with(|| value.clone());
            }
        } else {
            self.overrule(&mut labels);
        }
        self.finished(labels)
    }

    /// Sets the target's labels; those of the page that stand in their way become `exported_<name>`, prefixed again
    /// until the name is free. Shorter names go first, as in Prometheus.
    fn overrule(&self, labels: &mut BTreeMap<String, String>) {
        let mut conflicts = Vec::new();
        for (name, value) in &self.target {
            if let Some(scraped) = labels
                .insert(name.clone(), value.clone())
                .filter(|v| !v.is_empty())
            {
                conflicts.push((name.clone(), scraped));
            }
        }
        conflicts.sort_by_key(|(name, _)| name.len());
        for (mut name, value) in conflicts {
            while labels.contains_key(&name) {
                name.insert_str(0, "exported_");
            }
            labels.insert(name, value);
        }
    }

    fn finished(&self, mut labels: BTreeMap<String, String>) -> Labels {
        labels.retain(|_, value| !value.is_empty());
        for (name, value) in &self.external {
            labels.entry(name.clone()).or_insert_with(|| value.clone());
        }
        // A map's names are unique and the parser lets no empty one through.
        Labels::new(labels).unwrap_or_default()
    }
}

/// The `instance` of a target: its address, but `<device id>:<port>` for an address of the device itself, which would
/// else be the same on every device.
pub fn instance_of(address: &str, device: &DeviceId) -> String {
    let (host, port) = split_port(address);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = bare.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.to_canonical().is_loopback());
    match (loopback, port) {
        (true, Some(port)) => format!("{device}:{port}"),
        (true, None) => device.to_string(),
        (false, _) => address.to_owned(),
    }
}

/// Host and port of `host:port`, `[v6]:port`, or a host alone.
pub(crate) fn split_port(address: &str) -> (&str, Option<&str>) {
    match address.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (address, None),
    }
}
