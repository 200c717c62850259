//! A site: certificates, ports and the processes of one test, in a temporary folder.

use std::collections::HashSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use certs::{CertsFolder, DEVICE_DAYS, InitOptions};
use device_agent::input::Moment;
use wire::{DeviceName, Timestamp};

use crate::api::Api;
use crate::part::Part;
use crate::plan::{AgentPlan, AgentStatus, BridgePlan};

/// Paths of the thin binaries, as cargo tells them to an integration test.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `test-broker`.
    pub broker: PathBuf,
    /// `test-bridge`.
    pub bridge: PathBuf,
    /// `test-agent`.
    pub agent: PathBuf,
    /// `test-daemon`.
    pub daemon: PathBuf,
}

/// The paths of this crate's binaries.
#[macro_export]
macro_rules! programs {
    () => {
        $crate::site::Programs {
            broker: env!("CARGO_BIN_EXE_test-broker").into(),
            bridge: env!("CARGO_BIN_EXE_test-bridge").into(),
            agent: env!("CARGO_BIN_EXE_test-agent").into(),
            daemon: env!("CARGO_BIN_EXE_test-daemon").into(),
        }
    };
}

/// The folder, the ports and the programs.
#[derive(Debug)]
pub struct Site {
    dir: tempfile::TempDir,
    programs: Programs,
    mqtt: u16,
    http: u16,
    broker_http: u16,
    daemon_http: u16,
}

/// A port that nothing listens on and no other site of this process has.
///
/// # Panics
/// If none is found.
pub fn free_port() -> u16 {
    static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);
    let mut taken = TAKEN.lock().expect("no one panics with this lock");
    // Below what the system hands out to outgoing connections, so that a killed process finds its port again.
    let candidates = std::iter::repeat_with(|| fastrand::u16(12_000..32_000)).take(1000);
    let is_free = |port: &u16| !taken.contains(port) && TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let port = candidates
        .into_iter()
        .find(is_free)
        .expect("one of many ports is free");
    taken.insert(port);
    port
}

/// The time of this machine.
pub fn now() -> Timestamp {
    Moment::now().wall
}

impl Site {
    /// Makes the folder and its certificates.
    ///
    /// # Panics
    /// If that fails.
    pub fn new(programs: Programs) -> Site {
        let dir = tempfile::Builder::new()
            .prefix("backhaul-test-")
            .tempdir()
            .expect("a temporary folder");
        let site = Site {
            dir,
            programs,
            mqtt: free_port(),
            http: free_port(),
            broker_http: free_port(),
            daemon_http: free_port(),
        };
        site.certs()
            .init(&InitOptions::default(), now())
            .expect("certificates");
        site
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

    /// The broker's own HTTP interface.
    pub fn broker_api(&self) -> Api {
        Api::new(self.broker_http)
    }

    /// The daemon's own HTTP interface.
    pub fn daemon_api(&self) -> Api {
        Api::new(self.daemon_http)
    }

    /// The certificates.
    pub fn certs(&self) -> CertsFolder {
        CertsFolder::new(self.path().join("certs"))
    }

    /// Issues certificates for the devices of a plan.
    ///
    /// # Panics
    /// If that fails.
    pub fn issue(&self, plan: &AgentPlan) {
        self.certs()
            .issue_devices(&plan.names(), DEVICE_DAYS, None, now())
            .expect("device certificates");
    }

    /// Where a part's stderr goes.
    pub fn log(&self, name: &str) -> PathBuf {
        self.path().join(format!("{name}.log"))
    }

    fn dir_arg(&self) -> String {
        self.path().display().to_string()
    }

    /// Starts the broker.
    pub fn start_broker(&self) -> Part {
        let args = [
            self.dir_arg(),
            self.mqtt.to_string(),
            self.broker_http.to_string(),
        ];
        Part::start("broker", &self.programs.broker, &args, &self.log("broker"))
    }

    /// Starts the bridge.
    pub fn start_bridge(&self) -> Part {
        self.start_bridge_as(&BridgePlan::default())
    }

    /// Starts a bridge that does more.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start_bridge_as(&self, plan: &BridgePlan) -> Part {
        let args = [
            self.dir_arg(),
            self.mqtt.to_string(),
            self.http.to_string(),
            serde_json::to_string(plan).expect("a plan is plain"),
        ];
        Part::start("bridge", &self.programs.bridge, &args, &self.log("bridge"))
    }

    /// Starts an agent; its certificates must be issued. What its devices told of an earlier run is forgotten.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start_agent(&self, plan: &AgentPlan) -> Part {
        for name in plan.names() {
            // The first run has none.
            let _ = std::fs::remove_file(self.status_file(&name));
        }
        let plan = AgentPlan {
            port: Some(plan.port.unwrap_or(self.mqtt)),
            ..plan.clone()
        };
        let text = serde_json::to_string(&plan).expect("a plan has no map with odd keys");
        Part::start(
            &plan.id,
            &self.programs.agent,
            &[self.dir_arg(), text],
            &self.log(&plan.id),
        )
    }

    /// Starts the daemon as `backhaul-agent` is, from a config file.
    pub fn start_daemon(&self, config: &Path) -> Part {
        let args = [config.display().to_string(), self.daemon_http.to_string()];
        Part::start("daemon", &self.programs.daemon, &args, &self.log("daemon"))
    }

    /// Agents make no more samples from here on, however often they are restarted.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn hush(&self) {
        std::fs::write(self.path().join("quiet"), b"").expect("a file in the site's folder");
    }

    /// Agents make no samples, or go on.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn pause(&self, yes: bool) {
        let file = self.path().join("pause");
        let done = if yes {
            std::fs::write(file, b"")
        } else {
            std::fs::remove_file(file)
        };
        done.expect("a file in the site's folder");
    }

    /// Sets the clock of the bridge (`None`) or of what a device measures, ms ahead of this machine's.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn set_clock(&self, device: Option<&DeviceName>, ahead_ms: i64) {
        let name = device.map_or("bridge", |name| name.device().as_str());
        replace(
            &self.path().join(format!("{name}.clock")),
            ahead_ms.to_string().as_bytes(),
        );
    }

    /// The disk of a bridge with faults does what the words say from now on: `read`, `write`, `sync` or `name`, then how
    /// many of these operations succeed first and how many fail then; `full` and the bytes that are left; `heal`.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn disk_fault(&self, words: &str) {
        replace(&self.path().join("disk-fault"), words.as_bytes());
    }

    /// What a device last wrote of itself.
    pub fn status(&self, name: &DeviceName) -> AgentStatus {
        std::fs::read(self.status_file(name))
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default()
    }

    fn status_file(&self, name: &DeviceName) -> PathBuf {
        let file = format!("{}.status", name.device());
        self.path().join("agents").join(file)
    }

    /// Waits until a condition holds.
    ///
    /// # Panics
    /// If it does not in time.
    pub fn wait_until(&self, what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
        let until = Instant::now() + patience;
        while !holds() {
            assert!(Instant::now() < until, "waited {patience:?} in vain: {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The end of each log and status file.
    fn last_words(&self) -> String {
        let agents = std::fs::read_dir(self.path().join("agents"))
            .into_iter()
            .flatten();
        let files = std::fs::read_dir(self.path())
            .into_iter()
            .flatten()
            .chain(agents)
            .flatten()
            .map(|e| e.path());
        let shown = files.filter(|p| p.extension().is_some_and(|x| x == "log" || x == "status"));
        let end = |path: PathBuf| {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            format!(
                "--- {}\n{}\n",
                path.display(),
                lines[lines.len().saturating_sub(30)..].join("\n")
            )
        };
        shown.map(end).collect()
    }
}

/// Readers find the old words or the new ones.
fn replace(file: &Path, words: &[u8]) {
    let new = file.with_extension("new");
    std::fs::write(&new, words).expect("a file in the site's folder");
    std::fs::rename(new, file).expect("a file in the site's folder");
}

impl Drop for Site {
    /// A failing test tells what its parts said; with `BACKHAUL_KEEP` set, the folder stays.
    #[expect(clippy::print_stdout, reason = "the words of a failing test")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.last_words());
            let keep = std::env::var_os("BACKHAUL_KEEP").is_some();
            self.dir.disable_cleanup(keep);
        }
    }
}
