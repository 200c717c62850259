//! The daemon from a config file to delivered samples, as `backhaul-agent` runs it: `test-daemon CONFIG_FILE HTTP_PORT`.

use anyhow::{Context, Result};
use device_agent::{config, daemon};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<()> {
    let file = std::env::args_os().nth(1).context("CONFIG_FILE")?;
    let port: u16 = std::env::args().nth(2).context("HTTP_PORT")?.parse()?;
    let shutdown = CancellationToken::new();
    tests::part_main::follow(shutdown.clone());
    let web = TcpListener::bind(("127.0.0.1", port)).await?;
    daemon::run(&config::load(file.as_ref())?, web, shutdown).await?;
    Ok(())
}
