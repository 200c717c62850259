//! Logs to stderr, logfmt or JSON, with Prometheus's flag names.

use anyhow::{Result, anyhow};
use clap::{Args, ValueEnum};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How much is logged.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// How a line looks.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Logfmt,
    Json,
}

/// Flags of every long-running command.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// Only log messages with the given severity or above
    #[arg(long = "log.level", value_enum, default_value = "info", global = true)]
    level: Level,
    /// Output format of log messages
    #[arg(long = "log.format", value_enum, default_value = "logfmt", global = true)]
    format: Format,
}

impl LogArgs {
    /// Sets up logging for the process.
    pub(crate) fn init(&self) -> Result<()> {
        let level = match self.level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        // The router and the MQTT client log every connection at info; ours say what matters.
        let filter = EnvFilter::try_new(format!(
            "{level},rumqttd=warn,rumqttc=warn,rustls=warn,hyper=warn"
        ))?;
        let registry = tracing_subscriber::registry().with(filter);
        let set = match self.format {
            Format::Logfmt => {
                let layer = tracing_subscriber::fmt::layer()
                    .event_format(tracing_logfmt::EventsFormatter::default())
                    .fmt_fields(tracing_logfmt::FieldsFormatter::default())
                    .with_writer(std::io::stderr);
                registry.with(layer).try_init()
            }
            Format::Json => registry
                .with(
                    tracing_subscriber::fmt::layer()
                        .json()
                        .with_writer(std::io::stderr),
                )
                .try_init(),
        };
        set.map_err(|error| anyhow!("cannot set up logging: {error}"))
    }
}
