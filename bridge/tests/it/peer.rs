//! A real Prometheus of version 3, if there is one: in `BACKHAUL_PEERS_DIR` (as `usr/bin/prometheus`) or on the path.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::server::exchange;

/// How long it may take to start and to scrape.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running Prometheus, which ends with it.
pub(crate) struct Peer {
    /// As it says it, such as `3.5.0`.
    pub(crate) version: String,
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It is ours and has nothing to save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program and its version, or a printed reason.
fn program() -> Option<(PathBuf, String)> {
    let folder = std::env::var_os("BACKHAUL_PEERS_DIR").map(PathBuf::from);
    let named = folder.map(|folder| folder.join("usr/bin/prometheus"));
    for program in named.into_iter().chain([PathBuf::from("prometheus")]) {
        let Ok(told) = Command::new(&program).arg("--version").output() else {
            continue;
        };
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let version = told
            .strip_prefix("prometheus, version ")
            .and_then(|rest| rest.split(' ').next());
        if let Some(version) = version.filter(|version| version.starts_with("3.")) {
            return Some((program, version.to_owned()));
        }
    }
    println!(
        "skipped: no Prometheus 3 on the path or in BACKHAUL_PEERS_DIR, which names a folder with usr/bin/prometheus"
    );
    None
}

impl Peer {
    /// Starts it with a configuration; `None` if there is none.
    pub(crate) async fn start(config: &str) -> Option<Peer> {
        let (program, version) = program()?;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        // An address of its own, as this process goes on to bind free ports of the usual one.
        let address = std::net::TcpListener::bind("127.0.0.2:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let child = Command::new(program)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let peer = Peer {
            version,
            child,
            address,
            _folder: folder,
        };
        peer.until("it is ready", async || {
            peer.ask("GET", "/-/ready", "").await.is_some_and(|a| a.0 == 200)
        })
        .await;
        Some(peer)
    }

    /// Waits for something.
    pub(crate) async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so().await {
            assert!(Instant::now() < deadline, "waited for: {what}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Code, head and body of an answer; `None` while it does not listen.
    pub(crate) async fn ask(&self, method: &str, path: &str, form: &str) -> Option<(u16, String, String)> {
        let (code, head, body) = exchange(self.address, request(method, path, form).as_bytes())
            .await
            .ok()?;
        Some((code, head, String::from_utf8(body).unwrap()))
    }

    /// `data.result` of a query.
    pub(crate) async fn query(&self, path: &str) -> Value {
        let (code, _, body) = self.ask("GET", path, "").await.unwrap();
        assert_eq!(code, 200, "{body}");
        result(&body)
    }
}

/// `data.result` of an answer.
pub(crate) fn result(body: &str) -> Value {
    let answer: Value = serde_json::from_str(body).unwrap();
    answer["data"]["result"].clone()
}

/// A request that is answered without chunks, as HTTP 1.0 has none.
pub(crate) fn request(method: &str, path: &str, form: &str) -> String {
    let kind = match form {
        "" => "",
        _ => "content-type: application/x-www-form-urlencoded\r\n",
    };
    let len = form.len();
    format!("{method} {path} HTTP/1.0\r\nhost: x\r\n{kind}content-length: {len}\r\n\r\n{form}")
}
