//! `backhaul-agent`: flags, log, config, then the daemon until SIGTERM; SIGHUP has it read its config again.

mod args;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use device_agent::process::Signals;
use device_agent::{config, daemon};
use tokio::net::TcpListener;

fn main() -> ExitCode {
    match run(&args::Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell if stderr is closed.
            let _ = writeln!(std::io::stderr(), "backhaul-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &args::Args) -> Result<()> {
    args.log.init()?;
    let config = config::load(&args.config_file)?;
    if args.check_config {
        let file = args.config_file.display();
        let (targets, rules) = (config.inputs.targets.len(), config.rules.count());
        writeln!(
            std::io::stdout(),
            "{file} is valid: {targets} targets, {rules} rules"
        )?;
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let listen = args.listen_address;
        let web = TcpListener::bind(listen)
            .await
            .with_context(|| format!("cannot listen on {listen}; set --web.listen-address"))?;
        let signals = Signals::listen().context("cannot listen for signals")?;
        let last = daemon::run(&args.config_file, config, web, signals).await?;
        tracing::info!(pending = last.pending, "backhaul-agent stops");
        Ok(())
    })
}
