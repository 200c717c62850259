//! Flags of `backhaul-agent`, with Prometheus's names.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use device_agent::process::LogArgs;

/// Collects metrics of this device, logs them, and delivers them to a bridge over MQTT.
#[derive(Debug, Parser)]
#[command(name = "backhaul-agent", version)]
pub(crate) struct Args {
    /// The agent's configuration file
    #[arg(
        long = "config.file",
        alias = "config",
        value_name = "FILE",
        default_value = "agent.yml"
    )]
    pub(crate) config_file: PathBuf,
    /// Where /metrics, /-/healthy and /-/ready are served, and alerts of programs on this device are taken
    #[arg(
        long = "web.listen-address",
        alias = "http",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:7491"
    )]
    pub(crate) listen_address: SocketAddr,
    /// Checks the configuration file and its rule files, and ends
    #[arg(long = "check-config")]
    pub(crate) check_config: bool,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}
