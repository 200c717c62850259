//! What every process of backhaul sets up: logs to stderr under Prometheus's flag names, process_* and build info; and what
//! signals tell the agent.

use std::sync::Arc;

use clap::{Args, ValueEnum};
use prometheus::process_collector::ProcessCollector;
use prometheus::{Gauge, Opts, Registry};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

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

/// Flags of the log.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// Only log messages with the given severity or above
    #[arg(long = "log.level", value_enum, default_value = "info", global = true)]
    level: Level,
    /// Output format of log messages
    #[arg(long = "log.format", value_enum, default_value = "logfmt", global = true)]
    format: Format,
}

impl LogArgs {
    /// Sets up logging for the process.
    ///
    /// # Errors
    /// It is set up already.
    pub fn init(&self) -> Result<(), TryInitError> {
        let level = match self.level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        // Libraries log every connection at info; ours say what matters.
        let filter = EnvFilter::new(format!(
            "{level},rumqttd=warn,rumqttc=warn,rustls=warn,hyper=warn"
        ));
        let registry = tracing_subscriber::registry().with(filter);
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        match self.format {
            Format::Logfmt => registry
                .with(
                    lines
                        .event_format(tracing_logfmt::EventsFormatter::default())
                        .fmt_fields(tracing_logfmt::FieldsFormatter::default()),
                )
                .try_init(),
            Format::Json => registry.with(lines.json()).try_init(),
        }
    }
}

/// Registers process_* and backhaul_build_info{program, version}.
///
/// # Errors
/// A name is taken in this registry.
pub fn register(registry: &Registry, program: &str) -> Result<(), prometheus::Error> {
    registry.register(Box::new(ProcessCollector::for_self()))?;
    let help = "A metric with the constant value 1, labelled by program and version.";
    let options = Opts::new("backhaul_build_info", help)
        .const_label("program", program)
        .const_label("version", env!("CARGO_PKG_VERSION"));
    let info = Gauge::with_opts(options)?;
    info.set(1.0);
    registry.register(Box::new(info))
}

/// What signals tell an agent.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    /// SIGHUP: read the config again.
    pub reload: Arc<Notify>,
    /// SIGTERM or SIGINT: stop.
    pub shutdown: CancellationToken,
}

impl Signals {
    /// Listens from now on. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The system lets nobody listen.
    pub fn listen() -> std::io::Result<Signals> {
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        let mut hup = signal(SignalKind::hangup())?;
        let signals = Signals::default();
        let told = signals.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = term.recv() => told.shutdown.cancel(),
                    _ = int.recv() => told.shutdown.cancel(),
                    _ = hup.recv() => told.reload.notify_one(),
                }
            }
        });
        Ok(signals)
    }
}
