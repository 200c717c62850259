//! Real destinations of remote write: Prometheus and VictoriaMetrics as Debian has them, and newer ones.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::api::Api;
use crate::oracle;
use crate::part::Part;
use crate::site::{Site, free_port};

/// Samples by series number and time, ms since the epoch.
pub type Samples = BTreeMap<(u32, i64), f64>;

/// Which program it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Prometheus.
    Prometheus,
    /// VictoriaMetrics, single node.
    VictoriaMetrics,
}

/// A destination: its program, its port and its folder, which outlive the process.
#[derive(Debug)]
pub struct Remote {
    /// What it is called in configurations and messages.
    pub name: String,
    /// Which program.
    pub kind: Kind,
    /// Prometheus takes samples that are older than others.
    out_of_order: bool,
    /// Prometheus asks for a certificate of the site's CA.
    mutual_tls: bool,
    /// Prometheus evaluates the groups of a file.
    rules: Option<PathBuf>,
    program: PathBuf,
    port: u16,
}

/// Folders of `BACKHAUL_PEERS_DIR` in which programs may be.
const PLACES: [&str; 3] = ["usr/bin", "bin", "."];

fn runs(program: &Path) -> bool {
    Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

impl Remote {
    /// A destination of a program.
    pub fn new(name: &str, kind: Kind, program: PathBuf) -> Self {
        Remote {
            name: name.to_owned(),
            kind,
            out_of_order: true,
            mutual_tls: false,
            rules: None,
            program,
            port: free_port(),
        }
    }

    /// What is installed, and what `BACKHAUL_PEERS_DIR` has; says what is missing.
    #[expect(clippy::print_stdout, reason = "why a test skips")]
    pub fn installed() -> Vec<Remote> {
        let mut found = Vec::new();
        let peers = std::env::var_os("BACKHAUL_PEERS_DIR").map(PathBuf::from);
        let programs = [
            ("prometheus", Kind::Prometheus),
            ("victoria-metrics", Kind::VictoriaMetrics),
        ];
        for (program, kind) in programs {
            match runs(Path::new(program)) {
                true => found.push(Remote::new(program, kind, program.into())),
                false => {
                    println!("skipped: {program} is not installed; Debian has it in the package {program}")
                }
            }
            let newer = peers
                .iter()
                .flat_map(|dir| PLACES.map(|place| dir.join(place).join(program)));
            match newer.into_iter().find(|path| runs(path)) {
                Some(path) => found.push(Remote::new(&format!("newer-{program}"), kind, path)),
                None => println!("skipped: a newer {program}; BACKHAUL_PEERS_DIR names a folder with one"),
            }
        }
        found
    }

    /// Prometheus as installed; says that it is missing.
    pub fn prometheus() -> Option<Remote> {
        let all = Remote::installed();
        all.into_iter().find(|remote| remote.name == "prometheus")
    }

    /// The same, taking no samples that are out of order.
    #[must_use]
    pub fn in_order(self) -> Self {
        Remote {
            out_of_order: false,
            ..self
        }
    }

    /// The same behind mutual TLS with the site's certificates; its query API is not for tests then.
    #[must_use]
    pub fn behind_tls(self) -> Self {
        Remote {
            mutual_tls: true,
            ..self
        }
    }

    /// The same, evaluating the groups of a file, every second if they say nothing else.
    #[must_use]
    pub fn with_rules(self, file: &Path) -> Self {
        Remote {
            rules: Some(file.to_owned()),
            ..self
        }
    }

    /// Starts it on its port and folder.
    ///
    /// # Panics
    /// If its files cannot be written.
    pub fn start(&self, site: &Site) -> Part {
        let dir = site.path().join(&self.name);
        std::fs::create_dir_all(&dir).expect("a folder in the site's folder");
        let listen = format!("127.0.0.1:{}", self.port);
        let data = dir.join("data").display().to_string();
        let args = match self.kind {
            Kind::Prometheus => {
                let config = dir.join("prometheus.yml");
                let window = if self.out_of_order { "6h" } else { "0s" };
                let rules: Vec<&PathBuf> = self.rules.iter().collect();
                let text = format!(
                    "global: {{evaluation_interval: 1s}}\nrule_files: {rules:?}\n\
                     storage: {{tsdb: {{out_of_order_time_window: {window}}}}}\n"
                );
                std::fs::write(&config, text).expect("a file in the site's folder");
                let web = dir.join("web.yml");
                let certs = site.certs().path().display().to_string();
                let text = match self.mutual_tls {
                    false => String::new(),
                    true => format!(
                        "tls_server_config: {{cert_file: {certs}/server.crt, key_file: {certs}/server.key, \
                         client_ca_file: {certs}/ca.crt, client_auth_type: RequireAndVerifyClientCert}}\n"
                    ),
                };
                std::fs::write(&web, text).expect("a file in the site's folder");
                vec![
                    format!("--web.config.file={}", web.display()),
                    format!("--config.file={}", config.display()),
                    format!("--storage.tsdb.path={data}"),
                    format!("--web.listen-address={listen}"),
                    "--web.enable-remote-write-receiver".to_owned(),
                    "--log.level=warn".to_owned(),
                ]
            }
            Kind::VictoriaMetrics => vec![
                format!("-storageDataPath={data}"),
                format!("-httpListenAddr={listen}"),
                "-retentionPeriod=1d".to_owned(),
                "-loggerLevel=WARN".to_owned(),
            ],
        };
        Part::start(&self.name, &self.program, &args, &site.log(&self.name))
    }

    /// Where it takes samples.
    pub fn url(&self) -> String {
        let scheme = if self.mutual_tls { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}/api/v1/write", self.port)
    }

    /// Its query API.
    pub fn api(&self) -> Api {
        Api::new(self.port)
    }

    /// Ends it so that it keeps all that it has taken.
    ///
    /// # Panics
    /// If it does not end in time.
    pub fn stop(&self, part: &mut Part) {
        match self.kind {
            // On its way out, it takes samples out of order that it cannot log any more; else it logs before it answers.
            Kind::Prometheus => part.kill(),
            // It writes every few seconds.
            Kind::VictoriaMetrics => part.terminate(Duration::from_secs(60)),
        }
    }

    /// The samples that it has of a device.
    ///
    /// # Errors
    /// What went wrong, as text.
    pub fn samples(&self, device: &str) -> Result<Samples, String> {
        let selector = format!("{}{{device_id=\"{device}\"}}", oracle::METRIC);
        match self.kind {
            Kind::Prometheus => of_query(&self.api(), &selector),
            Kind::VictoriaMetrics => self.exported(&selector),
        }
    }

    /// VictoriaMetrics's queries may leave out the latest samples; what it exports is everything.
    fn exported(&self, selector: &str) -> Result<Samples, String> {
        let api = self.api();
        api.get("/internal/force_flush", &[])?;
        let (status, body) = api.get("/api/v1/export", &[("match[]", selector)])?;
        if status != 200 {
            return Err(body);
        }
        let mut all = Samples::new();
        for line in body.lines() {
            let one: Value = serde_json::from_str(line).map_err(|e| e.to_string())?;
            let n: u32 = one["metric"]["n"]
                .as_str()
                .and_then(|n| n.parse().ok())
                .ok_or("no n")?;
            let times = one["timestamps"].as_array().ok_or("no timestamps")?;
            let values = one["values"].as_array().ok_or("no values")?;
            for (time, value) in times.iter().zip(values) {
                let (time, value) = time.as_i64().zip(value.as_f64()).ok_or("a sample is no pair")?;
                all.insert((n, time), value);
            }
        }
        Ok(all)
    }
}

/// The samples of a selector as an instant query over the last hours finds them.
///
/// # Errors
/// What went wrong, as text.
pub fn of_query(api: &Api, selector: &str) -> Result<Samples, String> {
    let mut all = Samples::new();
    for one in api.query(&format!("{selector}[5h]"))? {
        let n: u32 = one.metric["n"].parse().map_err(|_| "label n is no number")?;
        for (at, value) in one.samples {
            all.insert((n, (at * 1000.0).round() as i64), value);
        }
    }
    Ok(all)
}
