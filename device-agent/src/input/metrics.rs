//! Counters of the inputs, for the agent's own /metrics.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// Counters that all inputs share.
#[derive(Debug, Clone)]
pub struct InputMetrics {
    pub(crate) scrapes: IntCounter,
    pub(crate) failed: IntCounterVec,
    pub(crate) duplicates: IntCounter,
    pub(crate) skipped: IntCounter,
    pub(crate) samples: IntCounter,
}

impl InputMetrics {
    /// Registers the counters; fails if their names are taken.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let failed = Opts::new(
            "backhaul_agent_scrapes_failed_total",
            "Scrapes whose up is 0, by cause.",
        );
        let failed = IntCounterVec::new(failed, &["cause"])?;
        registry.register(Box::new(failed.clone()))?;
        for cause in ["fetch", "exposition", "sample_limit"] {
            failed.with_label_values(&[cause]);
        }
        Ok(InputMetrics {
            scrapes: counter(
                "backhaul_agent_scrapes_total",
                "Scrapes of targets, the host and the agent itself.",
            )?,
            failed,
            duplicates: counter(
                "backhaul_agent_scrape_duplicate_samples_total",
                "Samples dropped because their page had the series before.",
            )?,
            skipped: counter(
                "backhaul_agent_scrape_ticks_skipped_total",
                "Scrapes left out because the one before took too long or the WAL was busy.",
            )?,
            samples: counter(
                "backhaul_agent_samples_scraped_total",
                "Samples handed to the WAL, stale markers included.",
            )?,
        })
    }
}
