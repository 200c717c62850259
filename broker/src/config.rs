//! What the broker is given: files, limits, and sockets that are already bound.

use std::sync::Arc;
use std::time::Duration;

use certs::{ServerFiles, ServerOptions};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Notify;

/// How the broker behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// Certificates, key and CRL; looked at every 200 ms and reloaded when they change.
    pub files: ServerFiles,
    /// TLS versions, and the grace of expired device certificates.
    pub tls: ServerOptions,
    /// What bounds memory and time.
    pub limits: Limits,
    /// Fired to reload the files at once, e.g. on SIGHUP.
    pub reload: ReloadSignal,
}

impl Config {
    /// Default options and limits on these files.
    pub fn new(files: ServerFiles) -> Self {
        Config {
            files,
            tls: ServerOptions::default(),
            limits: Limits::default(),
            reload: ReloadSignal::default(),
        }
    }
}

/// What bounds the broker's memory and patience.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections that have said who they are.
    pub connections: usize,
    /// Connections that have not: accepted, and still without CONNECT. Others are closed at once.
    pub pending: usize,
    /// TLS handshakes at the same time; a peer that sends nothing does not count.
    pub handshakes: usize,
    /// From accept to CONNECT, TLS included.
    pub handshake_time: Duration,
    /// A peer that takes none of the bytes waiting for it for so long is closed.
    pub write_stall: Duration,
    /// Messages to a bridge that wait for its PUBACK.
    pub bridge_window_messages: usize,
    /// Payload bytes to a bridge that wait for its PUBACK.
    pub bridge_window_bytes: usize,
    /// Devices whose configuration is kept for replay.
    pub configs: usize,
    /// Payload bytes of all kept configurations.
    pub config_bytes: usize,
    /// How long connections may take to end at shutdown.
    pub shutdown_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 20_000,
            pending: 4096,
            handshakes: 1024,
            handshake_time: Duration::from_secs(10),
            write_stall: Duration::from_secs(60),
            bridge_window_messages: 1024,
            bridge_window_bytes: 8 << 20,
            configs: 100_000,
            config_bytes: 64 << 20,
            shutdown_time: Duration::from_secs(5),
        }
    }
}

/// The sockets, bound by the caller so that it knows the ports and reports what is taken.
#[derive(Debug)]
pub struct Listeners {
    /// MQTT over mutual TLS.
    pub mqtt: TcpListener,
    /// MQTT without TLS for the bridge of the same user; the folder's mode and SO_PEERCRED guard it.
    pub unix: Option<UnixListener>,
    /// `/metrics`, `/-/healthy` and `/-/ready`, for a broker in a process of its own.
    pub http: Option<TcpListener>,
}

/// Asks a running broker to reload its certificates and CRL now.
#[derive(Debug, Clone, Default)]
pub struct ReloadSignal(Arc<Notify>);

impl ReloadSignal {
    /// Reloads the files whether they changed or not; returns at once.
    pub fn fire(&self) {
        self.0.notify_one();
    }

    pub(crate) async fn fired(&self) {
        self.0.notified().await;
    }
}
