//! `backhaul simulate`: a fleet of real agents on recorded or generated data against a running broker.

pub(crate) mod capture;
pub(crate) mod device;
pub(crate) mod host_like;
pub(crate) mod meter;
pub(crate) mod report;
pub(crate) mod source;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use certs::Authority;
use clap::{Args, ValueEnum};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::units::PromDuration;
use wire::{DeviceId, DeviceName, Tenant};

use crate::folder::now;
use crate::output::Output;
use capture::Capture;
use device::{Fleet, Pace, Plan, Wal};
use meter::Meter;
use report::Report;
use source::Source;

/// How fast scrapes follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Speed {
    /// As fast as they are taken; the last scrape is at now.
    Max,
    /// One per interval.
    Real,
}

/// Where the WALs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum WalChoice {
    Memory,
    Folder,
}

/// Arguments of `backhaul simulate`.
#[derive(Debug, Args)]
pub(crate) struct SimulateArgs {
    /// Broker to connect to; its certificate must name 127.0.0.1, as those of `certs init` do
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8883")]
    connect: String,
    /// Folder of `certs init`; the devices' certificates are issued from its CA in memory
    #[arg(long, value_name = "DIR")]
    certs: PathBuf,
    /// Folder of recorded pages, `<unix ms>.gz` each; without it, data like a small host's is generated
    #[arg(long, value_name = "DIR")]
    pages: Option<PathBuf>,
    /// How many devices
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    devices: u32,
    /// Scrapes per device
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..))]
    scrapes: u64,
    /// Scrapes per message, exactly
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=120))]
    batch: u64,
    /// Time between two scrapes of a device
    #[arg(long, default_value = "15s")]
    interval: PromDuration,
    #[arg(long, value_enum, default_value = "max")]
    speed: Speed,
    /// Where the agents keep their WALs: in memory, or in a temporary folder
    #[arg(long, value_enum, default_value = "memory")]
    wal: WalChoice,
    /// The devices are called PREFIX00000 and so on
    #[arg(long, default_value = "load-")]
    prefix: String,
    /// Their tenant
    #[arg(long, default_value = "default")]
    tenant: Tenant,
    /// Print nothing but the JSON line
    #[arg(long)]
    json: bool,
}

/// The names `<tenant>.<prefix>00000` and so on.
pub(crate) fn names(tenant: &Tenant, prefix: &str, devices: u32) -> Result<Vec<DeviceName>> {
    (0..devices)
        .map(|n| {
            let id = DeviceId::new(format!("{prefix}{n:05}")).context("--prefix")?;
            Ok(DeviceName::new(tenant.clone(), id))
        })
        .collect()
}

/// Runs the fleet until every sample is acked; the last line of stdout is the report.
pub(crate) async fn run(args: SimulateArgs, out: &mut Output) -> Result<()> {
    let source = match &args.pages {
        Some(dir) => Source::Pages(Arc::new(Capture::load(
            dir,
            args.interval.get().as_millis() as u64,
        )?)),
        None => Source::HostLike,
    };
    let authority = Authority::load(&args.certs).with_context(|| {
        format!(
            "--certs {}: a folder as `backhaul certs init` makes it",
            args.certs.display()
        )
    })?;
    let broker = tokio::net::lookup_host(&args.connect)
        .await
        .with_context(|| format!("--connect {}: write it as HOST:PORT", args.connect))?
        .next()
        .with_context(|| format!("--connect {}: no address", args.connect))?;
    let temporary = match args.wal {
        WalChoice::Memory => None,
        WalChoice::Folder => Some(tempfile::tempdir()?),
    };
    let shutdown = CancellationToken::new();
    let tasks = TaskTracker::new();
    let meter = Arc::new(Meter::default());
    let meter_stop = CancellationToken::new();
    let address = Arc::clone(&meter)
        .listen(broker, &tasks, meter_stop.clone())
        .await?;
    let plan = Plan {
        names: names(&args.tenant, &args.prefix, args.devices)?,
        source,
        wal: temporary
            .as_ref()
            .map_or(Wal::Memory, |dir| Wal::Folder(dir.path().to_owned())),
        scrapes_per_batch: args.batch as usize,
        interval: args.interval.get(),
        pace: match args.speed {
            Speed::Max => Pace::Max {
                scrapes: args.scrapes,
                last: now(),
            },
            Speed::Real => Pace::Real {
                scrapes: Some(args.scrapes),
            },
        },
        broker: address,
        drain: Duration::ZERO,
    };

    let cpu_before = report::cpu_seconds()?;
    let started = Instant::now();
    let fleet = Fleet::start(&plan, &authority, &shutdown)?;
    let totals = wait_for_acks(&fleet, &plan, args.scrapes, out, args.json).await?;
    let seconds = started.elapsed().as_secs_f64();
    let report = Report::new(&totals, &meter, seconds, report::cpu_seconds()? - cpu_before);
    shutdown.cancel();
    fleet.join().await?;
    meter_stop.cancel();
    tasks.close();
    tasks.wait().await;
    out.line(&serde_json::to_string(&report)?)
}

/// Waits until every device made and delivered all its scrapes.
async fn wait_for_acks(
    fleet: &Fleet,
    plan: &Plan,
    scrapes: u64,
    out: &mut Output,
    quiet: bool,
) -> Result<device::Totals> {
    let wanted = scrapes * plan.names.len() as u64;
    let mut lines = 0u64;
    loop {
        let totals = fleet.totals();
        if totals.records == wanted && totals.is_settled() {
            return Ok(totals);
        }
        if fleet.any_ended() {
            bail!("an agent ended early; its log line says why");
        }
        if !quiet && lines.is_multiple_of(50) {
            out.note(&format!(
                "{} of {} devices connected, {} of {wanted} scrapes made, {} pending",
                totals.connected,
                plan.names.len(),
                totals.records,
                totals.pending_records
            ))?;
        }
        lines += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
