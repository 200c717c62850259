//! Metrics of the host itself, under node_exporter's names, labels, units and texts (Linux).
//!
//! Each collector reads a few files below /proc and /sys and writes families onto one page, which then goes the way of a
//! scraped page. A collector that fails takes back what it wrote and never disturbs the others; whether it succeeded and
//! how long it took are series of their own. Reading (through [`Root`]) is apart from the parsing of texts. Differences
//! to node_exporter: network counters come from /proc/net/dev (no `nohandler`), and of hwmon only temperatures.

mod cpu;
mod disk;
mod filesystem;
mod kernel;
mod memory;
mod network;
mod pressure;
mod root;
mod temperature;

#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::time::Instant;

use crate::exposition::{MetricType, PageWriter};
use cpu::CpuCounters;
use filesystem::MountStats;
use root::Root;

/// Why a collector gave nothing.
#[derive(Debug, thiserror::Error)]
enum CollectError {
    /// A file could not be read; most often this kernel or machine does not have it.
    #[error("{path}: {cause}")]
    Read { path: PathBuf, cause: io::Error },
    /// A file holds what the kernel's documentation does not lead to expect.
    #[error("{0}")]
    Format(String),
    /// The machine has none of what the collector looks for.
    #[error("nothing to collect")]
    NoData,
}

/// The collectors and what they remember from page to page.
#[derive(Debug)]
pub(crate) struct Host {
    root: Root,
    page: PageWriter,
    cpus: CpuCounters,
    mounts: MountStats,
}

impl Default for Host {
    fn default() -> Self {
        Host::at("/")
    }
}

type Collector = (&'static str, fn(&mut Host) -> Result<(), CollectError>);

const COLLECTORS: [Collector; 19] = [
    ("conntrack", |h| network::conntrack(&h.root, &mut h.page)),
    ("cpu", |h| h.cpus.collect(&h.root, &mut h.page)),
    ("diskstats", |h| disk::diskstats(&h.root, &mut h.page)),
    ("entropy", |h| kernel::entropy(&h.root, &mut h.page)),
    ("filefd", |h| kernel::filefd(&h.root, &mut h.page)),
    ("filesystem", |h| h.mounts.collect(&h.root, &mut h.page)),
    ("hwmon", |h| temperature::hwmon(&h.root, &mut h.page)),
    ("loadavg", |h| kernel::loadavg(&h.root, &mut h.page)),
    ("meminfo", |h| memory::meminfo(&h.root, &mut h.page)),
    ("netclass", |h| network::netclass(&h.root, &mut h.page)),
    ("netdev", |h| network::netdev(&h.root, &mut h.page)),
    ("pressure", |h| pressure::pressure(&h.root, &mut h.page)),
    ("sockstat", |h| network::sockstat(&h.root, &mut h.page)),
    ("stat", |h| kernel::stat(&h.root, &mut h.page)),
    ("thermal_zone", |h| {
        temperature::thermal_zone(&h.root, &mut h.page)
    }),
    ("time", |h| kernel::time(&mut h.page)),
    ("uname", |h| kernel::uname(&mut h.page)),
    ("vmstat", |h| memory::vmstat(&h.root, &mut h.page)),
    ("netstat", |h| network::netstat(&h.root, &mut h.page)),
];

impl Host {
    /// The host whose /proc and /sys are below `root`.
    pub(crate) fn at(root: impl Into<PathBuf>) -> Self {
        Host {
            root: Root::new(root.into()),
            page: PageWriter::default(),
            cpus: CpuCounters::default(),
            mounts: MountStats::default(),
        }
    }

    /// Runs every collector; the page in the text format.
    pub(crate) fn collect(&mut self) -> &[u8] {
        self.page.clear();
        let mut outcomes = Vec::with_capacity(COLLECTORS.len());
        for (name, collect) in COLLECTORS {
            let began = Instant::now();
            let start = self.page.position();
            let outcome = collect(self);
            if let Err(error) = &outcome {
                self.page.truncate(start);
                tracing::debug!(collector = name, %error, "collector failed");
            }
            outcomes.push((name, began.elapsed().as_secs_f64(), outcome.is_ok()));
        }
        let duration = "node_scrape_collector_duration_seconds";
        self.page.family(
            duration,
            MetricType::Gauge,
            "node_exporter: Duration of a collector scrape.",
        );
        for (name, seconds, _) in &outcomes {
            self.page.sample(duration, &[("collector", name)], *seconds);
        }
        let success = "node_scrape_collector_success";
        self.page.family(
            success,
            MetricType::Gauge,
            "node_exporter: Whether a collector succeeded.",
        );
        for (name, _, succeeded) in &outcomes {
            self.page
                .sample(success, &[("collector", name)], f64::from(u8::from(*succeeded)));
        }
        self.page.as_bytes()
    }
}

/// A number out of one of the kernel's texts.
fn number<T: std::str::FromStr>(what: &str, text: Option<&str>) -> Result<T, CollectError> {
    let parsed = text.and_then(|text| text.trim().parse().ok());
    parsed.ok_or_else(|| CollectError::Format(format!("{what}: no number in {text:?}")))
}
