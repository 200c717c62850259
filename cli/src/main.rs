//! The backhaul binary.

mod api;
mod bridge_cmd;
mod broker_cmd;
mod certs;
mod check;
mod demo;
mod destinations;
mod fleet;
mod folder;
mod output;
mod query;
mod replay;
mod rule_files;
mod serve;
mod server;
mod settings;
mod shown;
mod signals;
mod simulate;
mod storage;
mod store_cmd;
mod test;
mod web;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use device_agent::process::LogArgs;

use crate::output::Output;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Brings metrics of device fleets over MQTT and mutual TLS into a store that answers PromQL.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a whole fleet on this machine: broker, bridge, this host's agent and simulated devices
    Demo(demo::DemoArgs),
    /// Run broker and bridge in one process
    Serve(serve::ServeArgs),
    /// Run the broker by itself
    Broker(broker_cmd::BrokerArgs),
    /// Run the bridge by itself, on our broker or any other MQTT 3.1.1 broker
    Bridge(bridge_cmd::BridgeArgs),
    /// Make a certificate authority; issue, sign, revoke and list certificates
    Certs(certs::CertsArgs),
    /// Evaluate a PromQL expression and print a table
    Query(query::QueryArgs),
    /// List devices, or forget one
    Fleet(fleet::FleetArgs),
    /// Look a store's folder over, or write out what it holds, while nobody serves it
    Store(store_cmd::StoreArgs),
    /// Check rule files
    Check(check::CheckArgs),
    /// Run unit tests of rules
    Test(test::TestArgs),
    /// Run many real agents on recorded or generated data against a running broker
    Simulate(simulate::SimulateArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell if stderr is closed too.
            let _ = Output::new().note(&format!("backhaul: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(cli: Cli) -> Result<ExitCode> {
    cli.log.init()?;
    // The one provider; refused only if it was installed before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut out = Output::new();
    let done = match cli.command {
        Command::Demo(args) => demo::run(args, &mut out).await,
        Command::Serve(args) => serve::run(args, &mut out).await,
        Command::Broker(args) => broker_cmd::run(args).await,
        Command::Bridge(args) => bridge_cmd::run(args, &mut out).await,
        Command::Certs(args) => certs::run(args),
        Command::Query(args) => query::run(args, &mut out).await,
        Command::Fleet(args) => fleet::run(args, &mut out).await,
        Command::Store(args) => store_cmd::run(args, &mut out),
        Command::Simulate(args) => simulate::run(args, &mut out).await,
        Command::Check(args) => return check::run(args, &mut out),
        Command::Test(args) => return test::run(args, &mut out),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Whether stdout's reader went away, as `head` does.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_of_all_commands_go_together() {
        Cli::command().debug_assert();
    }
}
