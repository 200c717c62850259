//! The backhaul binary.

mod certs;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Brings metrics of device fleets over MQTT and mutual TLS into a store that answers PromQL.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Certs(certs::CertsArgs),
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Certs(args) => certs::run(args),
    }
}
