//! An agent by itself: `test-agent DIR NAME MQTT_PORT SERIES INTERVAL_MS`.
//!
//! It measures what the oracle says until the file DIR/quiet is there, and writes its status to
//! DIR/agents/<id>.status.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use certs::{ClientFiles, client_config};
use device_agent::delivery::DeliveryConfig;
use device_agent::input::{self, Moment, RowSender, ScrapeRow, Slot, TargetId};
use device_agent::metrics::Metrics;
use device_agent::uplink::{Backoff, BrokerAddress};
use device_agent::wal::{Storage, SyncPolicy, WalConfig};
use device_agent::{AgentConfig, Status};
use prometheus::Registry;
use tests::oracle;
use tests::site::AgentStatus;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wire::DeviceName;

struct Args {
    dir: PathBuf,
    name: DeviceName,
    port: u16,
    series: u32,
    interval: Duration,
}

fn args() -> Result<Args> {
    let mut args = std::env::args().skip(1);
    Ok(Args {
        dir: args.next().context("DIR")?.into(),
        name: args.next().context("NAME")?.parse()?,
        port: args.next().context("MQTT_PORT")?.parse()?,
        series: args.next().context("SERIES")?.parse()?,
        interval: Duration::from_millis(args.next().context("INTERVAL_MS")?.parse()?),
    })
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = args()?;
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let id = args.name.device().as_str().to_owned();
    let cert = format!("devices/{}/{id}", args.name.tenant());
    let config = AgentConfig {
        name: args.name.clone(),
        brokers: vec![BrokerAddress { host: "127.0.0.1".to_owned(), port: args.port }],
        tls: client_config(&ClientFiles::in_folder(&args.dir.join("certs"), &cert))?,
        certificate_expiry: 0,
        wal: WalConfig {
            storage: Storage::Folder(args.dir.join("agents").join(&id)),
            max_bytes: 64 << 20,
            max_age: Duration::from_secs(86_400),
            sync: SyncPolicy::Always,
        },
        delivery: DeliveryConfig::default(),
        backoff: Backoff { first: Duration::from_millis(200), most: Duration::from_secs(2) },
        drain: Duration::ZERO,
    };
    let shutdown = CancellationToken::new();
    tests::part_main::stop_on_term(shutdown.clone());
    let (rows, inlet) = input::channel(4);
    let (tell, status) = watch::channel(Status::default());
    let feeder = tokio::spawn(feed(rows, args.dir.join("quiet"), id.clone(), args.series, args.interval));
    let file = args.dir.join("agents").join(format!("{id}.status"));
    tokio::spawn(async move {
        loop {
            let quiet = feeder.is_finished();
            // A status that cannot be written is seen by the test as one that does not change.
            let _ = write_status(&file, *status.borrow(), quiet);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    device_agent::run(config, inlet, Metrics::new(&Registry::new())?, tell, shutdown).await?;
    Ok(())
}

fn write_status(file: &Path, status: Status, quiet: bool) -> Result<()> {
    let status = AgentStatus {
        generated: status.generated,
        acked: status.acked,
        dropped: status.dropped,
        pending_records: status.pending_records,
        connected: status.connected,
        quiet,
    };
    let new = file.with_extension("new");
    std::fs::write(&new, serde_json::to_vec(&status)?)?;
    Ok(std::fs::rename(new, file)?)
}

async fn feed(rows: RowSender, quiet: PathBuf, instance: String, series: u32, interval: Duration) {
    let mut new_series: Vec<_> = (0..series).map(|s| (Slot::new(s), oracle::labels(s, &instance))).collect();
    let mut tick = tokio::time::interval(interval);
    while !quiet.exists() {
        tick.tick().await;
        let now = Moment::now();
        let row = ScrapeRow {
            target: TargetId::new(0),
            time: now.wall,
            mono_ms: now.mono_ms,
            new_series: std::mem::take(&mut new_series),
            values: (0..series).map(|s| (Slot::new(s), oracle::value(s, now.wall))).collect(),
            metadata: Vec::new(),
        };
        if rows.send(row).await.is_err() {
            return;
        }
    }
    // The channel stays open: its end is the shutdown's to say.
    tokio::spawn(async move { rows.closed().await });
    // What is in the channel reaches the WAL within a moment.
    tokio::time::sleep(Duration::from_millis(500)).await;
}
