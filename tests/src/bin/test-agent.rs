//! Agents by themselves: `test-agent DIR PLAN`, the plan as JSON of [`tests::AgentPlan`].
//!
//! Each device measures what the oracle says until the file DIR/quiet is there, and writes its status to
//! `DIR/agents/<id>.status`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use certs::{ClientFiles, client_config};
use device_agent::delivery::{ClockTrust, DeliveryConfig};
use device_agent::input::{self, Moment, RowSender, ScrapeRow, Slot, TargetId};
use device_agent::metrics::Metrics;
use device_agent::uplink::{Backoff, BrokerAddress};
use device_agent::wal::{Storage, SyncPolicy, WalConfig};
use device_agent::{AgentConfig, Status};
use prometheus::Registry;
use tests::{AgentPlan, AgentStatus, oracle, skew};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use wire::{DeviceName, Timestamp};

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let dir: PathBuf = args.next().context("DIR")?.into();
    let plan: AgentPlan = serde_json::from_str(&args.next().context("PLAN")?)?;
    let shutdown = CancellationToken::new();
    tests::part_main::follow(shutdown.clone());
    let metrics = Metrics::new(&Registry::new())?;
    let mut agents = JoinSet::new();
    for name in plan.names() {
        let (rows, inlet) = input::channel(4);
        let (tell, status) = watch::channel(Status::default());
        let id = name.device().as_str().to_owned();
        let fed = Arc::new(Fed::default());
        let feeder = Feeder {
            plan: plan.clone(),
            quiet: dir.join("quiet"),
            pause: dir.join("pause"),
            clock: dir.join(format!("{id}.clock")),
            instance: id.clone(),
            rows,
            fed: Arc::clone(&fed),
        };
        let mut told = status.clone();
        let feeder = tokio::spawn(async move {
            // The first status says what the log held before.
            let _ = told.changed().await;
            let before = told.borrow().generated;
            feeder.fed.samples.store(before, Ordering::SeqCst);
            feeder.run().await;
        });
        let file = dir.join("agents").join(format!("{id}.status"));
        tokio::spawn(async move {
            loop {
                let quiet = feeder.is_finished();
                // A status that cannot be written is seen by the test as one that does not change.
                let paused = fed.paused.load(Ordering::SeqCst);
                let now = *status.borrow();
                // A row may still be on its way to the log.
                let all = now.generated == fed.samples.load(Ordering::SeqCst);
                let _ = write_status(&file, now, quiet && all, paused && all);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let config = config(&dir, &plan, &name)?;
        agents.spawn(device_agent::run(
            config,
            inlet,
            metrics.clone(),
            tell,
            shutdown.clone(),
        ));
    }
    while let Some(ended) = agents.join_next().await {
        ended??;
    }
    Ok(())
}

fn config(dir: &Path, plan: &AgentPlan, name: &DeviceName) -> Result<AgentConfig> {
    let id = name.device().as_str();
    let cert = format!("devices/{}/{id}", name.tenant());
    Ok(AgentConfig {
        name: name.clone(),
        brokers: vec![BrokerAddress {
            host: "127.0.0.1".to_owned(),
            port: plan.port.context("a port")?,
        }],
        tls: client_config(&ClientFiles::in_folder(&dir.join("certs"), &cert))?,
        certificate_expiry: 0,
        wal: WalConfig {
            storage: Storage::Folder(plan.wals.clone().unwrap_or_else(|| dir.join("agents")).join(id)),
            max_bytes: plan.wal_bytes,
            max_age: Duration::from_secs(86_400),
            sync: SyncPolicy::Always,
        },
        delivery: DeliveryConfig {
            // They may be of before this machine's boot, of which the monotonic clock says nothing.
            clock: match plan.made_up_times || plan.past_rows > 0 {
                true => ClockTrust::Assumed,
                false => ClockTrust::Measured,
            },
            ..DeliveryConfig::default()
        },
        backoff: Backoff {
            first: Duration::from_millis(200),
            most: Duration::from_secs(2),
        },
        drain: Duration::ZERO,
    })
}

fn write_status(file: &Path, status: Status, quiet: bool, paused: bool) -> Result<()> {
    let status = AgentStatus {
        generated: status.generated,
        acked: status.acked,
        dropped: status.dropped,
        pending_records: status.pending_records,
        gaps: status.gaps,
        connected: status.connected,
        quiet,
        paused,
    };
    let new = file.with_extension("new");
    std::fs::write(&new, serde_json::to_vec(&status)?)?;
    Ok(std::fs::rename(new, file)?)
}

/// What a feeder has done so far.
#[derive(Debug, Default)]
struct Fed {
    /// Samples in the log when all of it is there.
    samples: AtomicU64,
    paused: AtomicBool,
}

/// What a device measures.
struct Feeder {
    plan: AgentPlan,
    quiet: PathBuf,
    pause: PathBuf,
    /// How far the device's clock is ahead.
    clock: PathBuf,
    fed: Arc<Fed>,
    instance: String,
    rows: RowSender,
}

impl Feeder {
    /// Ends when all rows are in the channel.
    async fn run(self) {
        self.feed().await;
        // The channel stays open: its end is the shutdown's to say.
        let rows = self.rows.clone();
        tokio::spawn(async move { rows.closed().await });
    }

    async fn feed(&self) {
        let now = Moment::now();
        let mut first = true;
        for back in (1..=self.plan.past_rows).rev() {
            let ago = Duration::from_millis(self.plan.past_interval_ms) * back;
            if self
                .send(now.at_wall(now.wall.minus(ago)), &mut first)
                .await
                .is_none()
            {
                return;
            }
        }
        let mut tick = tokio::time::interval(Duration::from_millis(self.plan.interval_ms));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = now.mono_ms;
        for turn in 0.. {
            tick.tick().await;
            let paused = self.pause.exists();
            self.fed.paused.store(paused, Ordering::SeqCst);
            if self.quiet.exists() {
                return;
            }
            let now = later_than(last).await;
            last = now.mono_ms;
            let ago = Duration::from_secs(3600) * (turn % self.plan.hours.max(1));
            let wall = Timestamp::from_ms(now.wall.minus(ago).ms() + skew::ahead_ms(&self.clock));
            if !paused && self.send(Moment { wall, ..now }, &mut first).await.is_none() {
                return;
            }
        }
    }

    /// `None`: the agent has ended.
    async fn send(&self, at: Moment, first: &mut bool) -> Option<()> {
        let slots = 0..self.plan.series;
        let labels = |s: u32| (Slot::new(s), oracle::labels(s, &self.instance));
        let row = ScrapeRow {
            target: TargetId::new(0),
            time: at.wall,
            mono_ms: at.mono_ms,
            new_series: if std::mem::take(first) {
                slots.clone().map(labels).collect()
            } else {
                Vec::new()
            },
            values: slots.map(|s| (Slot::new(s), oracle::value(s, at.wall))).collect(),
            metadata: Vec::new(),
            ended: false,
        };
        self.fed
            .samples
            .fetch_add(row.values.len() as u64, Ordering::SeqCst);
        self.rows.send(row).await.ok()
    }
}

/// Two rows of one millisecond would be one sample twice, and a thread may be held up between a tick and the clock. The
/// clocks of a moment do not turn at the same time, so that they are one more millisecond apart.
async fn later_than(mono_ms: u64) -> Moment {
    loop {
        let now = Moment::now();
        if now.mono_ms > mono_ms + 1 {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
