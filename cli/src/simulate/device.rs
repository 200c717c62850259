//! Simulated devices: the real agent, fed by a source instead of a host.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use certs::{Authority, DEVICE_DAYS, client_config_from_pem};
use device_agent::delivery::{ClockTrust, DeliveryConfig};
use device_agent::input::{self, Moment, RowSender, ScrapeRow, Slot, TargetId};
use device_agent::metrics::Metrics;
use device_agent::uplink::{Backoff, BrokerAddress};
use device_agent::wal::{Storage, SyncPolicy, WalConfig};
use device_agent::{AgentConfig, RunError, Status};
use prometheus::Registry;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use wire::{DeviceName, Timestamp};

use super::source::{Source, mix};
use crate::folder::now;

/// Most bytes of a simulated device's WAL.
const WAL_BYTES: u64 = 64 << 20;

/// Rows that a device may have made and not settled at the highest speed: a commit may take a second.
const WINDOW: usize = 64;

/// Where simulated devices keep their WALs.
#[derive(Debug, Clone)]
pub(crate) enum Wal {
    Memory,
    /// A folder per device in this one.
    Folder(PathBuf),
}

/// When a device scrapes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// As fast as it is taken, stamped so that the last scrape is at `last`.
    Max { scrapes: u64, last: Timestamp },
    /// One per interval, until the end or so many.
    Real { scrapes: Option<u64> },
}

/// A fleet to be started.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) names: Vec<DeviceName>,
    pub(crate) source: Source,
    pub(crate) wal: Wal,
    pub(crate) scrapes_per_batch: usize,
    pub(crate) interval: Duration,
    pub(crate) pace: Pace,
    /// Broker, or the meter before it; a loopback address.
    pub(crate) broker: SocketAddr,
    /// How long each agent waits for acks at its end.
    pub(crate) drain: Duration,
}

/// Sums over a fleet.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) generated: u64,
    pub(crate) acked: u64,
    pub(crate) dropped: u64,
    pub(crate) records: u64,
    pub(crate) pending_records: u64,
    /// Gaps that no ack has settled.
    pub(crate) gaps: u64,
    pub(crate) connected: u64,
}

impl Totals {
    /// Whether everything made so far is stored, or its loss declared.
    pub(crate) fn is_settled(&self) -> bool {
        self.pending_records == 0 && self.gaps == 0
    }

    /// Adds one agent's figures.
    pub(crate) fn add(&mut self, status: &Status) {
        self.generated += status.generated;
        self.acked += status.acked;
        self.dropped += status.dropped;
        self.records += status.records;
        self.pending_records += status.pending_records;
        self.gaps += status.gaps;
        self.connected += u64::from(status.connected);
    }
}

/// A running fleet.
#[derive(Debug)]
pub(crate) struct Fleet {
    status: Vec<watch::Receiver<Status>>,
    agents: Vec<JoinHandle<Result<Status, RunError>>>,
    feeders: CancellationToken,
}

/// The settings of an agent whose certificate was just issued in memory.
pub(crate) fn agent_config(
    name: &DeviceName,
    authority: &Authority,
    broker: SocketAddr,
    storage: Storage,
) -> Result<AgentConfig> {
    let issued = authority
        .issue_device(name, DEVICE_DAYS, now())
        .with_context(|| format!("certificate of {name}"))?;
    let tls = client_config_from_pem(
        authority.ca_pem().as_bytes(),
        issued.cert_pem.as_bytes(),
        issued.key_pem.as_bytes(),
    )?;
    Ok(AgentConfig {
        name: name.clone(),
        brokers: vec![BrokerAddress {
            host: broker.ip().to_string(),
            port: broker.port(),
        }],
        tls,
        certificate_expiry: issued.not_after.ms() / 1000,
        wal: WalConfig {
            storage,
            max_bytes: WAL_BYTES,
            max_age: Duration::from_secs(7 * 86_400),
            sync: SyncPolicy::Interval(Duration::from_secs(1)),
        },
        delivery: DeliveryConfig::default(),
        backoff: Backoff::default(),
        drain: Duration::ZERO,
    })
}

impl Fleet {
    /// Starts an agent and a feeder per device.
    pub(crate) fn start(plan: &Plan, authority: &Authority, shutdown: &CancellationToken) -> Result<Fleet> {
        let metrics = Metrics::new(&Registry::new())?;
        let feeders = shutdown.child_token();
        let mut fleet = Fleet {
            status: Vec::new(),
            agents: Vec::new(),
            feeders: feeders.clone(),
        };
        for (number, name) in plan.names.iter().enumerate() {
            let storage = match &plan.wal {
                Wal::Memory => Storage::Memory,
                Wal::Folder(folder) => Storage::Folder(folder.join(name.device().as_str())),
            };
            let mut config = agent_config(name, authority, plan.broker, storage)?;
            config.drain = plan.drain;
            config.delivery.scrapes_per_batch = plan.scrapes_per_batch;
            // Times at the highest speed are made up, and may lie before this machine's boot.
            config.delivery.clock = ClockTrust::Assumed;
            let window = (plan.scrapes_per_batch * 4).max(WINDOW);
            config.delivery.fresh_rows = window;
            let (rows, inlet) = input::channel(2);
            let (tell, status) = watch::channel(Status::default());
            let feeder = Feeder {
                device: number as u32,
                labels: (0..plan.source.series())
                    .map(|s| plan.source.labels(s, name.device().as_str()))
                    .collect(),
                source: plan.source.clone(),
                interval: plan.interval,
                window: window as u64,
                status: status.clone(),
                rows,
            };
            let (pace, stop) = (plan.pace, feeders.clone());
            tokio::spawn(async move { stop.run_until_cancelled(feeder.run(pace)).await });
            let shutdown = shutdown.clone();
            fleet.agents.push(tokio::spawn(device_agent::run(
                config,
                inlet,
                metrics.clone(),
                tell,
                shutdown,
            )));
            fleet.status.push(status);
        }
        Ok(fleet)
    }

    /// Sums of the last statuses.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for status in &self.status {
            totals.add(&status.borrow());
        }
        totals
    }

    /// Makes no more scrapes; what is made is still delivered.
    pub(crate) fn stop_feeding(&self) {
        self.feeders.cancel();
    }

    /// Whether an agent gave up.
    pub(crate) fn any_ended(&self) -> bool {
        self.agents.iter().any(JoinHandle::is_finished)
    }

    /// Waits for every agent, once the shutdown is asked for.
    pub(crate) async fn join(self) -> Result<()> {
        for agent in self.agents {
            agent.await.context("an agent panicked")??;
        }
        Ok(())
    }
}

/// Makes the rows of one device.
struct Feeder {
    device: u32,
    labels: Vec<wire::Labels>,
    source: Source,
    interval: Duration,
    /// Rows that may wait for an ack at the highest speed, so that all of them go out as fresh.
    window: u64,
    status: watch::Receiver<Status>,
    rows: RowSender,
}

impl Feeder {
    async fn run(mut self, pace: Pace) {
        match pace {
            Pace::Max { scrapes, last } => {
                for scrape in 0..scrapes {
                    let before = self.interval * u32::try_from(scrapes - 1 - scrape).unwrap_or(u32::MAX);
                    if self.has_room(scrape).await.is_none()
                        || self.send(scrape, last.minus(before)).await.is_none()
                    {
                        return;
                    }
                }
            }
            Pace::Real { scrapes } => {
                let phase = mix(u64::from(self.device), 5) % self.interval.as_millis().max(1) as u64;
                let mut tick =
                    tokio::time::interval_at(Instant::now() + Duration::from_millis(phase), self.interval);
                tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
                for scrape in 0..scrapes.unwrap_or(u64::MAX) {
                    tick.tick().await;
                    if self.send(scrape, now()).await.is_none() {
                        return;
                    }
                }
            }
        }
        // The agent runs on until the shutdown: the inlet stays open.
        self.rows.closed().await;
    }

    /// Waits until fewer rows than the window are made and not settled; `None`: the agent has ended.
    async fn has_room(&mut self, made: u64) -> Option<()> {
        let window = self.window;
        let settled = |s: &Status| s.records.saturating_sub(s.pending_records);
        self.status
            .wait_for(|s| made.saturating_sub(settled(s)) < window)
            .await
            .ok()
            .map(|_| ())
    }

    async fn send(&mut self, scrape: u64, time: Timestamp) -> Option<()> {
        let moment = Moment::now().at_wall(time);
        let values = (0..self.source.series())
            .filter_map(|s| {
                Some((
                    Slot::new(s as u32),
                    self.source.value(self.device, scrape, s, time)?,
                ))
            })
            .collect();
        let new_series = std::mem::take(&mut self.labels);
        let row = ScrapeRow {
            target: TargetId::new(0),
            time,
            mono_ms: moment.mono_ms,
            new_series: new_series
                .into_iter()
                .enumerate()
                .map(|(s, l)| (Slot::new(s as u32), l))
                .collect(),
            values,
            metadata: Vec::new(),
            ended: false,
        };
        self.rows.send(row).await.ok()
    }
}
