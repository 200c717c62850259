//! Flags of `backhaul-agent`, with Prometheus's names.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Result, anyhow};
use clap::{Parser, ValueEnum};
use prometheus::process_collector::ProcessCollector;
use prometheus::{Gauge, Opts, Registry};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Collects metrics of this device, logs them, and delivers them to a bridge over MQTT.
#[derive(Debug, Parser)]
#[command(name = "backhaul-agent", version)]
pub(crate) struct Args {
    /// The agent's configuration file.
    #[arg(
        long = "config.file",
        alias = "config",
        value_name = "FILE",
        default_value = "agent.yml"
    )]
    pub(crate) config_file: PathBuf,
    /// Where /metrics, /-/healthy and /-/ready are served.
    #[arg(
        long = "web.listen-address",
        alias = "http",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:7491"
    )]
    pub(crate) listen_address: SocketAddr,
    /// Only log messages with the given severity or above.
    #[arg(long = "log.level", value_enum, default_value = "info")]
    level: Level,
    /// Output format of log messages.
    #[arg(long = "log.format", value_enum, default_value = "logfmt")]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Logfmt,
    Json,
}

impl Args {
    /// Sets up logging to stderr.
    pub(crate) fn init_log(&self) -> Result<()> {
        let level = match self.level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        let filter = EnvFilter::try_new(format!("{level},rumqttc=warn,rustls=warn,hyper=warn"))?;
        let registry = tracing_subscriber::registry().with(filter);
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let set = match self.format {
            Format::Logfmt => registry
                .with(
                    lines
                        .event_format(tracing_logfmt::EventsFormatter::default())
                        .fmt_fields(tracing_logfmt::FieldsFormatter::default()),
                )
                .try_init(),
            Format::Json => registry.with(lines.json()).try_init(),
        };
        set.map_err(|error| anyhow!("cannot set up logging: {error}"))
    }
}

/// process_* and backhaul_build_info.
pub(crate) fn register_process(registry: &Registry) -> Result<()> {
    registry.register(Box::new(ProcessCollector::for_self()))?;
    let help = "A metric with the constant value 1, labelled by program and version.";
    let options = Opts::new("backhaul_build_info", help)
        .const_label("program", "backhaul-agent")
        .const_label("version", env!("CARGO_PKG_VERSION"));
    let info = Gauge::with_opts(options)?;
    info.set(1.0);
    registry.register(Box::new(info))?;
    Ok(())
}
