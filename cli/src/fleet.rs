//! `backhaul fleet list|forget`: the devices, and the removal of one that will not come back.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::Value;

use crate::api::{Answer, ApiArgs};
use crate::output::{self, Output};

/// Arguments of `backhaul fleet`.
#[derive(Debug, Args)]
pub(crate) struct FleetArgs {
    #[command(subcommand)]
    command: FleetCommand,
}

#[derive(Debug, Subcommand)]
enum FleetCommand {
    /// List the devices that the bridge knows
    List(ListArgs),
    /// Forget a device that will not come back: its sessions, counters and gaps; its samples stay until retention
    Forget(ForgetArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Only this device
    #[arg(long)]
    device_id: Option<String>,
    /// Only devices that are (or are not) connected
    #[arg(long)]
    connected: Option<bool>,
    /// Print the API's JSON instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
struct ForgetArgs {
    /// The device's id
    device_id: String,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Deserialize)]
struct Devices {
    devices: Vec<Device>,
}

#[derive(Debug, Deserialize)]
struct Device {
    tenant: String,
    device_id: String,
    connected: bool,
    last_seen: Option<f64>,
    newest_sample: Option<f64>,
    samples: Samples,
    gaps: Vec<Value>,
    version: String,
}

#[derive(Debug, Deserialize)]
struct Samples {
    generated: u64,
    stored: u64,
    dropped: std::collections::BTreeMap<String, u64>,
    pending: u64,
}

/// Does what the subcommand says.
pub(crate) async fn run(args: FleetArgs, out: &mut Output) -> Result<()> {
    match args.command {
        FleetCommand::List(args) => list(args, out).await,
        FleetCommand::Forget(args) => {
            let _: Answer<Value> = args
                .api
                .post("fleet/forget", &[("device_id", &args.device_id)])
                .await?;
            out.note(&format!("forgotten: {}", args.device_id))
        }
    }
}

async fn list(args: ListArgs, out: &mut Output) -> Result<()> {
    let connected = args.connected.map(|yes| yes.to_string());
    let mut params = Vec::new();
    params.extend(args.device_id.as_deref().map(|id| ("device_id", id)));
    params.extend(connected.as_deref().map(|yes| ("connected", yes)));
    if args.json {
        let answer: Answer<Value> = args.api.get("fleet/devices", &params).await?;
        return out.line(&answer.data.to_string());
    }
    let answer: Answer<Devices> = args.api.get("fleet/devices", &params).await?;
    let mut table = output::table([
        "tenant",
        "device_id",
        "connected",
        "seen",
        "newest",
        "generated",
        "stored",
        "dropped",
        "pending",
        "gaps",
        "version",
    ]);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)?
        .as_secs_f64();
    let ago = |at: Option<f64>| at.map_or_else(|| "never".to_owned(), |at| format!("{:.0}s ago", now - at));
    for d in &answer.data.devices {
        table.add_row([
            d.tenant.clone(),
            d.device_id.clone(),
            if d.connected { "yes" } else { "no" }.to_owned(),
            ago(d.last_seen),
            ago(d.newest_sample),
            d.samples.generated.to_string(),
            d.samples.stored.to_string(),
            d.samples.dropped.values().sum::<u64>().to_string(),
            d.samples.pending.to_string(),
            d.gaps.len().to_string(),
            d.version.clone(),
        ]);
    }
    out.line(&table.to_string())
}
