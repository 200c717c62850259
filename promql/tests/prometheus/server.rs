//! A Prometheus 3.5 of our own, to compare with.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[path = "program.rs"]
mod program;

/// Its features, which `ParseOptions::ALL` stands for.
pub(crate) const FEATURES: &str = "promql-experimental-functions,promql-duration-expr,native-histograms";

/// A running Prometheus, which ends with this value.
pub(crate) struct Server {
    process: Child,
    port: u16,
    folder: PathBuf,
}

/// Where the program is; else why it is not used.
pub(crate) fn program() -> Result<PathBuf, String> {
    program::find("prometheus", "PROMETHEUS")
}

impl Server {
    /// Starts the program on a free port with an empty database.
    pub(crate) fn start(program: &Path, features: &str) -> Result<Self, String> {
        let io = |error: std::io::Error| error.to_string();
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .map_err(io)?
            .port();
        let folder = std::env::temp_dir().join(format!("promql-peer-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(io)?;
        let config = folder.join("prometheus.yml");
        // Scripts load earlier samples after later ones.
        let text =
            "global:\n  evaluation_interval: 1m\nstorage:\n  tsdb:\n    out_of_order_time_window: 10y\n";
        std::fs::write(&config, text).map_err(io)?;
        let process = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg("--storage.tsdb.retention.time=200y")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--web.enable-remote-write-receiver")
            .arg(format!("--enable-feature={features}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(io)?;
        let server = Self {
            process,
            port,
            folder,
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !server
            .request("GET", "/-/ready", "", b"")
            .is_ok_and(|(status, _)| status == 200)
        {
            if Instant::now() > deadline {
                return Err("prometheus was not ready within a minute".to_owned());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// The answer of an endpoint under `/api/v1` to a form.
    pub(crate) fn post(&self, endpoint: &str, form: &[(&str, &str)]) -> Result<String, String> {
        let pairs = form
            .iter()
            .map(|(name, value)| format!("{name}={}", encode(value)));
        let body = pairs.collect::<Vec<_>>().join("&");
        let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
        let (_, answer) = self
            .request("POST", &format!("/api/v1/{endpoint}"), kind, body.as_bytes())
            .map_err(|error| error.to_string())?;
        Ok(answer)
    }

    /// Status and body. HTTP/1.0, so that the answer ends with the connection.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: &[u8],
    ) -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.0\r\n{headers}Content-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.unwrap_or(0), body.to_owned()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already; the folder is the system's to clean then.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A text as a value of a form.
fn encode(text: &str) -> String {
    let byte = |byte: u8| {
        if byte.is_ascii_alphanumeric() {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(byte).collect()
}
