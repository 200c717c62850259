//! The daemon from a config file to delivered samples, as `backhaul-agent` runs it: `test-daemon CONFIG_FILE HTTP_PORT`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use device_agent::process::Signals;
use device_agent::{config, daemon};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<()> {
    let file: PathBuf = std::env::args_os().nth(1).context("CONFIG_FILE")?.into();
    let port: u16 = std::env::args().nth(2).context("HTTP_PORT")?.parse()?;
    let signals = Signals::listen()?;
    tests::part_main::follow(signals.shutdown.clone());
    let web = TcpListener::bind(("127.0.0.1", port)).await?;
    daemon::run(&file, config::load(&file)?, web, signals).await?;
    Ok(())
}
