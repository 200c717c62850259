//! The one agent of a demo that measures something real: this host.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use certs::Authority;
use device_agent::input::{self, InputConfig, InputMetrics, Inputs};
use device_agent::{Metrics, RunError, Status, Storage};
use prometheus::Registry;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::{DeviceId, DeviceName, Tenant};

use crate::simulate::device::{Totals, agent_config};

/// A running agent on this host.
pub(super) struct HostAgent {
    status: watch::Receiver<Status>,
    agent: JoinHandle<Result<Status, RunError>>,
    inputs: CancellationToken,
}

/// This host's name as a device id.
fn device_id() -> Result<DeviceId> {
    let host = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_default();
    let id: String = host
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .take(wire::name::MAX_DEVICE_LEN)
        .collect();
    let id = if id.is_empty() || id.starts_with("sim-") {
        "this-host".to_owned()
    } else {
        id
    };
    Ok(DeviceId::new(id)?)
}

impl HostAgent {
    /// Starts it with host metrics and its own, a WAL in `agents`.
    pub(super) async fn start(
        tenant: &Tenant,
        authority: &Authority,
        broker: SocketAddr,
        agents: &Path,
        interval: Duration,
        stop: &CancellationToken,
    ) -> Result<HostAgent> {
        let id = device_id()?;
        let name = DeviceName::new(tenant.clone(), id.clone());
        let config = agent_config(
            &name,
            authority,
            broker,
            Storage::Folder(agents.join(id.as_str())),
        )?;
        let registry = Registry::new();
        let metrics = Metrics::new(&registry)?;
        let input_metrics = InputMetrics::register(&registry)?;
        let (rows, inlet) = input::channel(16);
        let inputs = stop.child_token();
        let input_config = InputConfig {
            external_labels: BTreeMap::new(),
            interval,
            host_metrics: true,
            own_metrics: true,
            targets: Vec::new(),
        };
        let tasks = TaskTracker::new();
        let mut running = Inputs::new(&id, (&registry, &input_metrics), rows, (&inputs, &tasks));
        running.set(&input_config).await?;
        let (tell, status) = watch::channel(Status::default());
        // Held open until the agent ends: a closed channel would be its end.
        let keep = stop.clone();
        tokio::spawn(async move {
            keep.cancelled().await;
            drop(running);
        });
        let agent = tokio::spawn(device_agent::run(config, inlet, metrics, tell, stop.clone()));
        Ok(HostAgent {
            status,
            agent,
            inputs,
        })
    }

    /// Makes no more samples.
    pub(super) fn stop_feeding(&self) {
        self.inputs.cancel();
    }

    /// Whether it gave up.
    pub(super) fn has_ended(&self) -> bool {
        self.agent.is_finished()
    }

    /// Adds its figures to a fleet's.
    pub(super) fn add_to(&self, mut totals: Totals) -> Totals {
        totals.add(&self.status.borrow());
        totals
    }

    /// Waits for its end, once the shutdown is asked for.
    pub(super) async fn join(self) -> Result<()> {
        self.agent.await.context("the host's agent panicked")??;
        Ok(())
    }
}
