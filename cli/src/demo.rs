//! `backhaul demo`: a whole fleet on this machine, and the proof that nothing was lost.

mod equation;
mod host;
mod progress;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use certs::Authority;
use clap::Args;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::Tenant;
use wire::units::PromDuration;

use crate::api::ApiArgs;
use crate::destinations::Destinations;
use crate::folder::Folder;
use crate::output::Output;
use crate::server::{Server, ServerConfig};
use crate::signals;
use crate::simulate::device::{Fleet, Pace, Plan, Wal};
use crate::simulate::meter::Meter;
use crate::simulate::names;
use crate::simulate::source::Source;
use crate::storage::Storage;
use crate::web::{QueryArgs, Web};
use equation::Summary;
use host::HostAgent;
use progress::Progress;

/// How long the demo waits for acks at its end.
const DRAIN: Duration = Duration::from_secs(10);

/// Arguments of `backhaul demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Folder of certificates, data and WALs (default: a temporary one, removed at the end)
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Address of the query API
    #[arg(long, default_value = "127.0.0.1:7490")]
    http: SocketAddr,
    /// Address for devices
    #[arg(long, default_value = "127.0.0.1:8883")]
    mqtt: SocketAddr,
    /// How many devices are simulated beside this host
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    devices: u32,
    /// Time between two scrapes of a device
    #[arg(long, default_value = "5s")]
    interval: PromDuration,
    /// Stop after this time, counted from when all are connected (default: on Ctrl-C)
    #[arg(long = "for")]
    duration: Option<PromDuration>,
    /// Write the figures to this file as JSON
    #[arg(long)]
    summary: Option<PathBuf>,
}

/// Runs the demo; an error if the equation does not hold or something is pending at the end.
pub(crate) async fn run(args: DemoArgs, out: &mut Output) -> Result<()> {
    if args.interval.get().is_zero() {
        bail!("--interval must be longer than 0");
    }
    let temporary = match &args.dir {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix("backhaul-demo-").tempdir()?),
    };
    let path = args
        .dir
        .as_deref()
        .or(temporary.as_ref().map(|t| t.path()))
        .context("no folder")?;
    let folder = Folder::new(path);
    let server_stop = CancellationToken::new();
    let server = Server::start(server_config(&args, &folder), server_stop.clone(), out).await?;
    let api = ApiArgs::new(format!("http://{}", server.http()), "default".to_owned());

    let mut demo = Demo::start(&args, &folder, &server).await?;
    let ended = demo.watch(&args, &server, out).await;
    let summary = match ended {
        Ok(()) => demo.finish(&api, &folder, out).await,
        Err(error) => Err(error),
    };
    server_stop.cancel();
    server.join().await?;
    let summary = summary?;
    if let Some(file) = &args.summary {
        std::fs::write(file, serde_json::to_vec_pretty(&summary)?)
            .with_context(|| file.display().to_string())?;
    }
    summary.verdict()
}

fn server_config(args: &DemoArgs, folder: &Folder) -> ServerConfig {
    ServerConfig {
        storage: Storage::of_folder(folder.data()),
        web: Web::at(args.http),
        query: QueryArgs::default(),
        mqtt: args.mqtt,
        destinations: Destinations::none(),
        folder: folder.clone(),
    }
}

/// The devices of a demo.
struct Demo {
    fleet: Fleet,
    host: HostAgent,
    meter: Arc<Meter>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// The meter goes last: the agents' goodbyes pass through it.
    meter_stop: CancellationToken,
}

impl Demo {
    async fn start(args: &DemoArgs, folder: &Folder, server: &Server) -> Result<Demo> {
        let authority = Authority::load(&folder.certs())?;
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let meter = Arc::new(Meter::default());
        let meter_stop = CancellationToken::new();
        let broker = Arc::clone(&meter)
            .listen(server.mqtt(), &tasks, meter_stop.clone())
            .await?;
        let tenant: Tenant = "default".parse()?;
        let plan = Plan {
            names: names(&tenant, "sim-", args.devices)?,
            source: Source::HostLike,
            wal: Wal::Folder(folder.agents()),
            scrapes_per_batch: 1,
            interval: args.interval.get(),
            pace: Pace::Real { scrapes: None },
            broker,
            drain: Duration::ZERO,
        };
        let host = HostAgent::start(
            &tenant,
            &authority,
            broker,
            &folder.agents(),
            args.interval.get(),
            &stop,
        )
        .await?;
        let fleet = Fleet::start(&plan, &authority, &stop)?;
        Ok(Demo {
            fleet,
            host,
            meter,
            tasks,
            stop,
            meter_stop,
        })
    }

    /// Shows what passes by until the time is up, Ctrl-C, or something ends that should not.
    async fn watch(&mut self, args: &DemoArgs, server: &Server, out: &mut Output) -> Result<()> {
        let wanted = u64::from(args.devices) + 1;
        let mut progress = Progress::new(out.is_watched(), wanted, args.interval.get());
        let mut ends: Option<Instant> = None;
        let stop = signals::until_stop(server.reload());
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
            }
            if self.fleet.any_ended() || self.host.has_ended() || server.has_ended() {
                bail!("a part of the demo ended early; its log line says why");
            }
            let totals = self.host.add_to(self.fleet.totals());
            if ends.is_none() && totals.connected == wanted {
                out.line(&greeting(server))?;
                ends = Some(Instant::now());
            }
            if let (Some(since), Some(limit)) = (ends, args.duration)
                && since.elapsed() >= limit.get()
            {
                break;
            }
            progress.show(&totals, &self.meter, out)?;
        }
        progress.end();
        Ok(())
    }

    /// Makes no more samples, waits for the last acks, and reads everything back.
    async fn finish(self, api: &ApiArgs, folder: &Folder, out: &mut Output) -> Result<Summary> {
        out.note("draining")?;
        self.fleet.stop_feeding();
        self.host.stop_feeding();
        let until = Instant::now() + DRAIN;
        // Two equal looks in a row: nothing is between an input and its WAL any more.
        let mut before = None;
        let totals = loop {
            let totals = self.host.add_to(self.fleet.totals());
            let still = before == Some(totals.records) && totals.is_settled();
            if still || Instant::now() > until {
                break totals;
            }
            before = Some(totals.records);
            tokio::time::sleep(Duration::from_millis(500)).await;
        };
        let summary = equation::read_back(api, &totals, &self.meter, disk_bytes(&folder.data())?).await?;
        summary.print(out)?;
        self.stop.cancel();
        self.fleet.join().await?;
        self.host.join().await?;
        self.meter_stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        Ok(summary)
    }
}

fn greeting(server: &Server) -> String {
    let url = format!("http://{}", server.http());
    format!(
        "All devices are connected. PromQL: {url}/api/v1/query (Prometheus's API; Grafana's Prometheus data source works)\n\
         Try, in another terminal (--url {url}):\n  \
           backhaul query 'count(count by (device_id) (node_load1))'\n  \
           backhaul query 'sum(rate(node_cpu_seconds_total[1m])) by (mode)'\n  \
           backhaul query 'topk(3, node_load1)'\n  \
           backhaul fleet list"
    )
}

/// Bytes on disk of all files below a folder.
fn disk_bytes(path: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut sum = 0;
    for entry in std::fs::read_dir(path).with_context(|| path.display().to_string())? {
        let entry = entry?;
        let meta = entry.metadata()?;
        sum += if meta.is_dir() {
            disk_bytes(&entry.path())?
        } else {
            meta.blocks() * 512
        };
    }
    Ok(sum)
}
