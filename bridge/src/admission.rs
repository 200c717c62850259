//! Who evaluates queries, how many at once, and what they may hold.
//!
//! Callers of the HTTP API and rules have a queue each, with slots and a share of the memory of their own, so that neither
//! can starve the other. Of each queue a bounded number waits; who comes beyond is refused at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::{IntGauge, IntGaugeVec};
use promql::{Interrupt, MemoryBudget, MemoryPool};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::config::Config;
use crate::metrics::Metrics;

/// Groups of rules evaluated at once; Prometheus's default of `--rules.max-concurrent-evals`.
const RULE_SLOTS: usize = 4;

/// Queries that may wait for each slot.
const WAITING_PER_SLOT: usize = 32;

/// Rules have one part of this many of all queries' memory.
const RULES_PART: u64 = 4;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queue {
    /// Callers of the HTTP API.
    Api,
    /// Recording and alerting rules.
    Rules,
}

impl Queue {
    /// Its name in metrics.
    fn word(self) -> &'static str {
        match self {
            Queue::Api => "api",
            Queue::Rules => "rules",
        }
    }
}

/// Why a query does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAdmitted {
    /// Its time was over before there was a slot.
    #[error("query timed out in query queue")]
    TimedOut,
    /// Too many wait already.
    #[error("{0} queries wait already; try again later, or raise --query.max-concurrency")]
    TooMany(usize),
}

/// Both queues.
#[derive(Debug)]
pub(crate) struct Admission {
    api: Lane,
    rules: Lane,
    query_bytes: u64,
}

#[derive(Debug)]
struct Lane {
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
    most_waiting: usize,
    pool: Arc<MemoryPool>,
    gauges: Gauges,
}

#[derive(Debug, Clone)]
struct Gauges {
    waiting: IntGauge,
    running: IntGauge,
    memory: IntGauge,
}

/// A query that runs: the slot is its own until it is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    /// Ends it early.
    pub(crate) interrupt: Arc<Interrupt>,
    /// What it may hold.
    pub(crate) memory: MemoryBudget,
    pool: Arc<MemoryPool>,
    gauges: Gauges,
    _slot: OwnedSemaphorePermit,
}

impl Admission {
    /// Queues of the configured sizes.
    pub(crate) fn new(config: &Config, metrics: &Metrics) -> Self {
        let rules_bytes = config.query_total_bytes / RULES_PART;
        let lane = |queue: Queue, slots: usize, bytes: u64| Lane {
            slots: Arc::new(Semaphore::new(slots)),
            waiting: AtomicUsize::new(0),
            most_waiting: slots * WAITING_PER_SLOT,
            pool: MemoryPool::new(bytes),
            gauges: Gauges {
                waiting: of(&metrics.queries_waiting, queue),
                running: of(&metrics.queries_running, queue),
                memory: of(&metrics.query_memory_bytes, queue),
            },
        };
        let slots = config.query_concurrency.clamp(1, Semaphore::MAX_PERMITS);
        Admission {
            api: lane(Queue::Api, slots, config.query_total_bytes - rules_bytes),
            rules: lane(Queue::Rules, RULE_SLOTS, rules_bytes),
            query_bytes: config.query_max_bytes,
        }
    }

    /// Waits for a slot.
    pub(crate) async fn admit(&self, queue: Queue, deadline: Instant) -> Result<Running, NotAdmitted> {
        let lane = match queue {
            Queue::Api => &self.api,
            Queue::Rules => &self.rules,
        };
        let slot = match Arc::clone(&lane.slots).try_acquire_owned() {
            Ok(slot) => slot,
            Err(_) => lane.wait(deadline).await?,
        };
        lane.gauges.running.inc();
        Ok(Running {
            interrupt: Arc::default(),
            memory: MemoryBudget::new(self.query_bytes, lane.pool.clone()),
            pool: lane.pool.clone(),
            gauges: lane.gauges.clone(),
            _slot: slot,
        })
    }
}

fn of(gauges: &IntGaugeVec, queue: Queue) -> IntGauge {
    gauges.with_label_values(&[queue.word()])
}

impl Lane {
    async fn wait(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, NotAdmitted> {
        let waiting = Waiting::enter(self)?;
        let slot = timeout_at(deadline, Arc::clone(&self.slots).acquire_owned()).await;
        drop(waiting);
        match slot {
            Ok(Ok(slot)) => Ok(slot),
            // Nobody closes it.
            Ok(Err(_)) | Err(_) => Err(NotAdmitted::TimedOut),
        }
    }
}

/// One that waits, also until its caller leaves.
struct Waiting<'l>(&'l Lane);

impl<'l> Waiting<'l> {
    fn enter(lane: &'l Lane) -> Result<Self, NotAdmitted> {
        if lane.waiting.fetch_add(1, Ordering::Relaxed) >= lane.most_waiting {
            lane.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(NotAdmitted::TooMany(lane.most_waiting));
        }
        lane.gauges.waiting.inc();
        Ok(Waiting(lane))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.gauges.waiting.dec();
    }
}

impl Running {
    /// Shows what is held.
    pub(crate) fn observe(&self) {
        self.gauges
            .memory
            .set(i64::try_from(self.pool.held()).unwrap_or(i64::MAX));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.gauges.running.dec();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus::Registry;

    use super::*;

    fn admission(concurrency: usize) -> Admission {
        let mut config = Config::new("acme.bridge".parse().unwrap());
        config.query_concurrency = concurrency;
        config.query_max_bytes = 1000;
        config.query_total_bytes = 4000;
        Admission::new(&config, &Metrics::register(&Registry::new()).unwrap())
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(1)
    }

    #[tokio::test]
    async fn one_queue_that_is_full_leaves_the_other_alone() {
        let admission = admission(2);
        let later = Instant::now() + Duration::from_secs(600);
        let first = admission.admit(Queue::Api, later).await.unwrap();
        let _second = admission.admit(Queue::Api, later).await.unwrap();
        let refused = admission.admit(Queue::Api, soon()).await.unwrap_err();
        assert_eq!(refused, NotAdmitted::TimedOut);
        assert!(admission.admit(Queue::Rules, soon()).await.is_ok());
        // What dashboards hold is not the rules'.
        first.memory.take(1000).unwrap();
        drop(first);
        let third = admission.admit(Queue::Api, soon()).await.unwrap();
        assert_eq!((third.pool.held(), admission.api.gauges.running.get()), (0, 2));
    }

    #[tokio::test]
    async fn who_comes_when_too_many_wait_is_refused_at_once() {
        let admission = Arc::new(admission(1));
        let later = Instant::now() + Duration::from_secs(600);
        let running = admission.admit(Queue::Api, later).await.unwrap();
        let wait = |_| {
            let admission = Arc::clone(&admission);
            tokio::spawn(async move { admission.admit(Queue::Api, later).await.map(drop) })
        };
        let waiting: Vec<_> = (0..WAITING_PER_SLOT).map(wait).collect();
        while admission.api.waiting.load(Ordering::Relaxed) < WAITING_PER_SLOT {
            tokio::task::yield_now().await;
        }
        let refused = admission.admit(Queue::Api, later).await.unwrap_err();
        assert_eq!(refused, NotAdmitted::TooMany(WAITING_PER_SLOT));
        drop(running);
        for one in waiting {
            assert_eq!(one.await.unwrap(), Ok(()));
        }
        assert_eq!(admission.api.gauges.waiting.get(), 0);
    }
}
