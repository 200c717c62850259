//! From the file's keys to the checked config, key by key.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use certs::ClientFiles;
use reqwest::Url;
use serde_saphyr::Spanned;
use wire::units::{ByteSize, PromDuration};

use super::raw::{self, Text};
use super::{Config, ConfigError};
use crate::evaluation::{self, RuleFilesError, Rules};
use crate::exposition::ExpositionLimits;
use crate::input::{InputConfig, TargetConfig};
use crate::scrape::ScrapeRules;
use crate::scrape::http::FetchRules;
use crate::uplink::BrokerAddress;
use crate::wal::{Storage, SyncPolicy, WalConfig};

const DEFAULT_PORT: u16 = 8883;
const DEFAULT_MAX_BYTES: u64 = 256 << 20;
/// Smaller logs could not hold a segment.
const MIN_MAX_BYTES: u64 = 1 << 20;
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(7 * 86_400);
const DEFAULT_RULES_MEMORY: u64 = 16 << 20;
const DEFAULT_SYNC: Duration = Duration::from_secs(1);
const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// `body_size_limit: 0` means this: a device has no page of unlimited size, bytes.
const DEFAULT_BODY_SIZE: u64 = 16 << 20;
/// Labels of a target and external ones: with those of a page they fit the wire's limit.
const MAX_TARGET_LABELS: usize = 12;

/// The file under check.
struct File<'a>(&'a Path);

/// Interval and timeout of a scrape.
#[derive(Clone, Copy)]
struct Pace {
    interval: Duration,
    timeout: Duration,
}

pub(super) fn config(file: &Path, raw: raw::Agent) -> Result<Config, ConfigError> {
    let file = File(file);
    let external_labels = file.labels("global.external_labels", &raw.global.external_labels)?;
    let pace = file.global_pace(&raw.global)?;
    let targets = file.targets(&raw.scrape_configs, pace, external_labels.len())?;
    let rules = file.rules(&raw, pace, &targets)?;
    let tls = raw.broker.tls_config;
    Ok(Config {
        rules,
        brokers: file.brokers(&raw.broker.urls)?,
        tls: ClientFiles {
            ca: file.path(&tls.ca_file),
            cert: file.path(&tls.cert_file),
            key: file.path(&tls.key_file),
        },
        server_name: tls.server_name,
        wal: file.wal(&raw.wal)?,
        inputs: InputConfig {
            targets,
            external_labels,
            interval: pace.interval,
            host_metrics: raw.host_metrics.enabled,
            own_metrics: true,
        },
    })
}

impl File<'_> {
    fn invalid<T>(&self, at: &Spanned<T>, key: impl Display, reason: impl Display) -> ConfigError {
        ConfigError::Invalid {
            file: self.0.to_owned(),
            line: at.referenced.line(),
            key: key.to_string(),
            reason: reason.to_string(),
        }
    }

    fn parse<T: FromStr<Err: Display>>(&self, key: &str, text: &Text) -> Result<T, ConfigError> {
        text.value.parse().map_err(|error| self.invalid(text, key, error))
    }

    /// A duration above zero.
    fn duration(&self, key: &str, text: &Option<Text>) -> Result<Option<Duration>, ConfigError> {
        let Some(text) = text else { return Ok(None) };
        let duration = self.parse::<PromDuration>(key, text)?.get();
        if duration.is_zero() {
            return Err(self.invalid(text, key, "must be longer than 0"));
        }
        Ok(Some(duration))
    }

    fn path(&self, path: &str) -> PathBuf {
        // join keeps an absolute path as it is.
        self.0.parent().unwrap_or(Path::new("")).join(path)
    }

    fn brokers(&self, urls: &Spanned<Vec<Text>>) -> Result<Vec<BrokerAddress>, ConfigError> {
        if urls.value.is_empty() {
            return Err(self.invalid(urls, "broker.urls", "names no broker"));
        }
        let broker = |text: &Text| {
            let form = || {
                self.invalid(
                    text,
                    "broker.urls",
                    format!("{:?} is not of the form mqtts://host:8883", text.value),
                )
            };
            let url = Url::parse(&text.value).map_err(|_| form())?;
            let bare = matches!(url.path(), "" | "/") && url.username().is_empty() && url.query().is_none();
            match url.host_str() {
                Some(host) if url.scheme() == "mqtts" && bare => {
                    // An IPv6 address has its brackets in a URL only.
                    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                    Ok(BrokerAddress {
                        host,
                        port: url.port().unwrap_or(DEFAULT_PORT),
                    })
                }
                _ => Err(form()),
            }
        };
        urls.value.iter().map(broker).collect()
    }

    fn wal(&self, raw: &raw::Wal) -> Result<WalConfig, ConfigError> {
        if raw.dir.value.is_empty() {
            return Err(self.invalid(&raw.dir, "wal.dir", "must not be empty"));
        }
        let max_bytes = match &raw.max_bytes {
            Some(text) => match self.parse::<ByteSize>("wal.max_bytes", text)?.get() {
                bytes if bytes < MIN_MAX_BYTES => {
                    let reason = format!("must be at least {}", ByteSize::new(MIN_MAX_BYTES));
                    return Err(self.invalid(text, "wal.max_bytes", reason));
                }
                bytes => bytes,
            },
            None => DEFAULT_MAX_BYTES,
        };
        Ok(WalConfig {
            storage: Storage::Folder(self.path(&raw.dir.value)),
            max_bytes,
            max_age: self
                .duration("wal.max_age", &raw.max_age)?
                .unwrap_or(DEFAULT_MAX_AGE),
            sync: self.sync(&raw.sync)?,
        })
    }

    fn sync(&self, text: &Option<Text>) -> Result<SyncPolicy, ConfigError> {
        match text.as_ref().map(|text| text.value.as_str()) {
            Some("always") => Ok(SyncPolicy::Always),
            Some("never") => Ok(SyncPolicy::Never),
            _ => {
                let every = self.duration("wal.sync", text).map_err(|error| match error {
                    ConfigError::Invalid {
                        file,
                        line,
                        key,
                        reason,
                    } => {
                        let reason = format!("{reason}; or write always or never");
                        ConfigError::Invalid {
                            file,
                            line,
                            key,
                            reason,
                        }
                    }
                    other => other,
                })?;
                Ok(SyncPolicy::Interval(every.unwrap_or(DEFAULT_SYNC)))
            }
        }
    }

    fn rules(&self, raw: &raw::Agent, global: Pace, targets: &[TargetConfig]) -> Result<Rules, ConfigError> {
        let interval = self
            .duration("global.evaluation_interval", &raw.global.evaluation_interval)?
            .unwrap_or(DEFAULT_INTERVAL);
        let memory = match &raw.rules_memory {
            Some(text) => self.parse::<ByteSize>("rules_memory", text)?.get(),
            None => DEFAULT_RULES_MEMORY,
        };
        let patterns: Vec<PathBuf> = raw.rule_files.iter().map(|text| self.path(&text.value)).collect();
        let intervals = targets.iter().map(|target| target.interval);
        let fastest = intervals.chain([global.interval]).min().unwrap_or(interval);
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let memory = usize::try_from(memory).unwrap_or(usize::MAX);
        let refused = |error| match (error, raw.rule_files.first()) {
            (error @ (RuleFilesError::Pattern { .. } | RuleFilesError::Read { .. }), Some(first)) => {
                self.invalid(first, "rule_files", error)
            }
            (error, _) => ConfigError::Rules(error),
        };
        evaluation::load(&patterns, ms(interval), ms(fastest), memory).map_err(refused)
    }

    fn global_pace(&self, raw: &raw::Global) -> Result<Pace, ConfigError> {
        let interval = self
            .duration("global.scrape_interval", &raw.scrape_interval)?
            .unwrap_or(DEFAULT_INTERVAL);
        self.pace("global", interval, &raw.scrape_timeout, DEFAULT_TIMEOUT)
    }

    /// A timeout that is given must fit the interval; one that is inherited is cut to it.
    fn pace(
        &self,
        at: &str,
        interval: Duration,
        timeout: &Option<Text>,
        inherited: Duration,
    ) -> Result<Pace, ConfigError> {
        let key = format!("{at}.scrape_timeout");
        match (self.duration(&key, timeout)?, timeout) {
            (Some(given), Some(text)) if given > interval => Err(self.invalid(
                text,
                key,
                format!(
                    "is longer than the scrape_interval of {}",
                    PromDuration::new(interval)
                ),
            )),
            (given, _) => Ok(Pace {
                interval,
                timeout: given.unwrap_or(inherited.min(interval)),
            }),
        }
    }

    fn labels(
        &self,
        key: &str,
        raw: &BTreeMap<String, Text>,
    ) -> Result<BTreeMap<String, String>, ConfigError> {
        let limits = ExpositionLimits::default();
        let mut labels = BTreeMap::new();
        for (name, value) in raw {
            let key = format!("{key}.{name}");
            let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !plain
                || name.is_empty()
                || name.starts_with(|c: char| c.is_ascii_digit())
                || name.len() > limits.name_bytes
            {
                return Err(self.invalid(value, key, "is no label name"));
            }
            if name.starts_with("__") {
                return Err(self.invalid(value, key, "names with __ are reserved"));
            }
            if value.value.len() > limits.value_bytes {
                return Err(self.invalid(value, key, format!("is longer than {} bytes", limits.value_bytes)));
            }
            labels.insert(name.clone(), value.value.clone());
        }
        Ok(labels)
    }

    fn targets(
        &self,
        raw: &[raw::ScrapeConfig],
        global: Pace,
        external: usize,
    ) -> Result<Vec<TargetConfig>, ConfigError> {
        let mut names = BTreeSet::new();
        let mut targets = Vec::new();
        for (number, job) in raw.iter().enumerate() {
            let at = format!("scrape_configs[{number}]");
            if job.job_name.value.is_empty() || !names.insert(&job.job_name.value) {
                return Err(self.invalid(
                    &job.job_name,
                    format!("{at}.job_name"),
                    "must be given, and once only",
                ));
            }
            if let Some(text) = job
                .scheme
                .as_ref()
                .filter(|text| !matches!(text.value.as_str(), "http" | "https"))
            {
                return Err(self.invalid(text, format!("{at}.scheme"), "must be http or https"));
            }
            let interval = self.duration(&format!("{at}.scrape_interval"), &job.scrape_interval)?;
            let pace = self.pace(
                &at,
                interval.unwrap_or(global.interval),
                &job.scrape_timeout,
                global.timeout,
            )?;
            for group in &job.static_configs {
                let labels = self.labels(&format!("{at}.static_configs.labels"), &group.labels)?;
                for address in &group.targets {
                    if labels.len() + external > MAX_TARGET_LABELS {
                        let reason =
                            format!("has more than {MAX_TARGET_LABELS} labels, external ones included");
                        return Err(self.invalid(address, format!("{at}.static_configs.targets"), reason));
                    }
                    targets.push(self.target(&at, job, pace, address, &labels)?);
                }
            }
        }
        Ok(targets)
    }

    fn target(
        &self,
        at: &str,
        job: &raw::ScrapeConfig,
        pace: Pace,
        address: &Text,
        labels: &BTreeMap<String, String>,
    ) -> Result<TargetConfig, ConfigError> {
        let body_size_limit = match &job.body_size_limit {
            Some(text) => self
                .parse::<ByteSize>(&format!("{at}.body_size_limit"), text)?
                .get(),
            None => 0,
        };
        let scheme = job.scheme.as_ref().map_or("http", |text| &text.value);
        Ok(TargetConfig {
            job_name: job.job_name.value.clone(),
            address: address.value.clone(),
            interval: pace.interval,
            fetch: FetchRules {
                url: self.url(at, scheme, job, address)?,
                timeout: pace.timeout,
                body_size_limit: if body_size_limit == 0 {
                    DEFAULT_BODY_SIZE
                } else {
                    body_size_limit
                },
            },
            rules: ScrapeRules {
                honor_timestamps: job.honor_timestamps,
                sample_limit: (job.sample_limit > 0).then_some(job.sample_limit),
                ..ScrapeRules::default()
            },
            honor_labels: job.honor_labels,
            labels: labels.clone(),
        })
    }

    fn url(
        &self,
        at: &str,
        scheme: &str,
        job: &raw::ScrapeConfig,
        address: &Text,
    ) -> Result<Url, ConfigError> {
        let key = format!("{at}.static_configs.targets");
        if address.value.is_empty() || address.value.contains(['/', '?', '#', '@']) {
            return Err(self.invalid(
                address,
                key,
                format!("{:?} is not of the form host:port", address.value),
            ));
        }
        let path = job.metrics_path.as_deref().unwrap_or("/metrics");
        let text = format!("{scheme}://{}/{}", address.value, path.trim_start_matches('/'));
        let mut url = Url::parse(&text)
            .map_err(|error| self.invalid(address, key, format!("{:?}: {error}", address.value)))?;
        if !job.params.is_empty() {
            let pairs = job
                .params
                .iter()
                .flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
            url.query_pairs_mut().extend_pairs(pairs);
        }
        Ok(url)
    }
}
