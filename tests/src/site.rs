//! A site: certificates, ports and the processes of one test, in a temporary folder.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use certs::{CertsFolder, DEVICE_DAYS, InitOptions};
use wire::{DeviceName, Timestamp};

use crate::api::Api;
use crate::part::Part;

/// Paths of the thin binaries, as cargo tells them to an integration test.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `test-broker`.
    pub broker: PathBuf,
    /// `test-bridge`.
    pub bridge: PathBuf,
    /// `test-agent`.
    pub agent: PathBuf,
}

/// The paths of this crate's binaries.
#[macro_export]
macro_rules! programs {
    () => {
        $crate::site::Programs {
            broker: env!("CARGO_BIN_EXE_test-broker").into(),
            bridge: env!("CARGO_BIN_EXE_test-bridge").into(),
            agent: env!("CARGO_BIN_EXE_test-agent").into(),
        }
    };
}

/// What a test agent does.
#[derive(Debug, Clone)]
pub struct AgentPlan {
    /// Who it is.
    pub name: DeviceName,
    /// Series.
    pub series: u32,
    /// Between two rows, ms.
    pub interval_ms: u64,
    /// Where the broker is, if not at the site's own port (a proxy, say).
    pub port: Option<u16>,
}

impl AgentPlan {
    /// A device of tenant `default` with 20 series every 100 ms.
    ///
    /// # Panics
    /// If the id is none.
    pub fn new(id: &str) -> Self {
        AgentPlan {
            name: format!("default.{id}").parse().expect("a device id"),
            series: 20,
            interval_ms: 100,
            port: None,
        }
    }
}

/// What an agent writes into its status file.
#[derive(Debug, Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
pub struct AgentStatus {
    /// Samples since its start.
    pub generated: u64,
    /// Samples settled by the bridge.
    pub acked: u64,
    /// Samples given up in its life.
    pub dropped: u64,
    /// Records not settled yet, of all sessions.
    pub pending_records: u64,
    /// The bridge has answered on this connection.
    pub connected: bool,
    /// Its input has stopped and everything it made is in the WAL.
    pub quiet: bool,
}

/// The folder, the ports and the programs.
#[derive(Debug)]
pub struct Site {
    dir: tempfile::TempDir,
    programs: Programs,
    mqtt: u16,
    http: u16,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl Site {
    /// Makes the folder and its certificates.
    ///
    /// # Panics
    /// If that fails.
    pub fn new(programs: Programs) -> Site {
        let dir = tempfile::Builder::new().prefix("backhaul-test-").tempdir().expect("a temporary folder");
        let certs = CertsFolder::new(dir.path().join("certs"));
        certs.init(&InitOptions::default(), now()).expect("certificates");
        Site { dir, programs, mqtt: free_port(), http: free_port() }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Port for devices.
    pub fn mqtt_port(&self) -> u16 {
        self.mqtt
    }

    /// The query API.
    pub fn api(&self) -> Api {
        Api::new(self.http)
    }

    /// Issues certificates for devices.
    ///
    /// # Panics
    /// If that fails.
    pub fn issue(&self, names: &[DeviceName]) {
        let certs = CertsFolder::new(self.path().join("certs"));
        certs.issue_devices(names, DEVICE_DAYS, None, now()).expect("device certificates");
    }

    fn log(&self, name: &str) -> PathBuf {
        self.path().join(format!("{name}.log"))
    }

    /// Starts the broker.
    pub fn start_broker(&self) -> Part {
        let args = [self.path().display().to_string(), self.mqtt.to_string()];
        Part::start("broker", &self.programs.broker, &args, &self.log("broker"))
    }

    /// Starts the bridge.
    pub fn start_bridge(&self) -> Part {
        let args = [self.path().display().to_string(), self.mqtt.to_string(), self.http.to_string()];
        Part::start("bridge", &self.programs.bridge, &args, &self.log("bridge"))
    }

    /// Starts an agent; its certificate must be issued.
    pub fn start_agent(&self, plan: &AgentPlan) -> Part {
        let args = [
            self.path().display().to_string(),
            plan.name.to_string(),
            plan.port.unwrap_or(self.mqtt).to_string(),
            plan.series.to_string(),
            plan.interval_ms.to_string(),
        ];
        Part::start(&plan.name.to_string(), &self.programs.agent, &args, &self.log(plan.name.device().as_str()))
    }

    /// Agents make no more samples from here on, however often they are restarted.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn hush(&self) {
        std::fs::write(self.path().join("quiet"), b"").expect("a file in the site's folder");
    }

    /// What an agent last wrote of itself.
    pub fn status(&self, name: &DeviceName) -> AgentStatus {
        let file = self.path().join("agents").join(format!("{}.status", name.device()));
        std::fs::read(file).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Waits until a condition holds.
    ///
    /// # Panics
    /// If it does not in time; the logs of the site are printed.
    pub fn wait_until(&self, what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
        let until = Instant::now() + patience;
        while !holds() {
            if Instant::now() > until {
                self.print_logs();
                panic!("waited {patience:?} in vain: {what}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Prints the ends of all logs.
    pub fn print_logs(&self) {
        let Ok(entries) = std::fs::read_dir(self.path()) else { return };
        for path in entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|x| x == "log")) {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            println!("--- {}\n{}", path.display(), lines[lines.len().saturating_sub(30)..].join("\n"));
        }
    }
}
