//! The HTTP interfaces of bridge and broker as a test uses them: blocking, JSON in hand.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Url};
use serde::Deserialize;
use serde_json::Value;
use tokio::runtime::Runtime;

/// An HTTP server on loopback.
#[derive(Debug, Clone)]
pub struct Api {
    base: String,
}

/// A series of an instant or range answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Labels.
    pub metric: BTreeMap<String, String>,
    /// Unix seconds and value.
    pub samples: Vec<(f64, f64)>,
}

/// A device of `fleet/devices`.
#[derive(Debug, Clone, Deserialize)]
pub struct Device {
    /// Whether the bridge hears it.
    pub connected: bool,
    /// The terms of the equation.
    pub samples: Samples,
    /// What is missing.
    pub gaps: Vec<Gap>,
    /// Records of alerts that are stored.
    pub alerts: u64,
    /// Alerts that fire.
    pub alerts_firing: u64,
    /// Alerts of which some Alertmanager has not taken the newest.
    pub alerts_pending: u64,
}

/// The terms of the equation as the bridge's ledger has them.
#[derive(Debug, Clone, Deserialize)]
pub struct Samples {
    /// Made by the device.
    pub generated: u64,
    /// Committed, each once.
    pub stored: u64,
    /// Given up, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// In the device and nowhere else.
    pub pending: u64,
}

/// Samples that are declared lost.
#[derive(Debug, Clone, Deserialize)]
pub struct Gap {
    /// How many.
    pub samples: u64,
    /// Why.
    pub reason: String,
}

/// A device of `fleet/equation`: what reading the store back finds.
#[derive(Debug, Clone, Deserialize)]
pub struct Equation {
    /// Samples found.
    pub read_back: u64,
    /// Samples found twice.
    pub duplicates: u64,
    /// Samples found that the ledger does not have as stored.
    pub recovered: u64,
    /// Samples that left the store, by reason.
    pub removed: BTreeMap<String, u64>,
    /// Samples kept out of queries because their time is ahead.
    pub quarantined: u64,
}

/// A destination of `fleet/destinations`.
#[derive(Debug, Clone, Deserialize)]
pub struct Destination {
    /// Its name.
    pub name: String,
    /// The message that it takes.
    pub protobuf_message: String,
    /// What became of the samples before its cursor.
    pub samples: Passed,
    /// What it did not get.
    pub gaps: Vec<Gap>,
    /// Why it takes nothing now.
    pub error: Option<String>,
}

/// The terms of a destination's equation: passed = sent + dropped.
#[derive(Debug, Clone, Deserialize)]
pub struct Passed {
    /// Stored samples before its cursor.
    pub passed: u64,
    /// Written by it.
    pub sent: u64,
    /// Others, by reason.
    pub dropped: BTreeMap<String, u64>,
}

impl Passed {
    /// Samples dropped for a reason.
    pub fn dropped(&self, reason: &str) -> u64 {
        self.dropped.get(reason).copied().unwrap_or(0)
    }
}

#[derive(Debug, Deserialize)]
struct Devices<T> {
    devices: Vec<T>,
}

impl Samples {
    /// All that was given up.
    pub fn lost(&self) -> u64 {
        self.dropped.values().sum()
    }
}

/// One runtime and one client for all tests of a process.
fn client() -> &'static (Runtime, Client) {
    static CLIENT: OnceLock<(Runtime, Client)> = OnceLock::new();
    CLIENT.get_or_init(|| {
        let _already = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .pool_max_idle_per_host(0);
        (
            Runtime::new().expect("the system gives threads to a test"),
            client.build().expect("a client without options of its own"),
        )
    })
}

/// Status and body of the answer.
fn send(request: RequestBuilder) -> Result<(u16, String), String> {
    client().0.block_on(async {
        let response = request.send().await.map_err(|e| e.to_string())?;
        let status = response.status().as_u16();
        Ok((status, response.text().await.map_err(|e| e.to_string())?))
    })
}

/// `data` of a successful answer.
fn data_of((status, body): (u16, String)) -> Result<Value, String> {
    let mut json: Value = serde_json::from_str(&body).map_err(|e| format!("{status} {e}: {body}"))?;
    if status == 200 && json["status"] == "success" {
        Ok(json["data"].take())
    } else {
        Err(body)
    }
}

impl Api {
    /// The server on a port.
    pub fn new(port: u16) -> Api {
        Api {
            base: format!("http://127.0.0.1:{port}"),
        }
    }

    /// Where it is.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// GET of a path with parameters; status and body, or why there is none.
    ///
    /// # Errors
    /// The client's, as text.
    pub fn get(&self, path: &str, params: &[(&str, &str)]) -> Result<(u16, String), String> {
        self.ask(Method::GET, path, params)
    }

    /// The same with POST, the parameters in the URL.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub fn post(&self, path: &str, params: &[(&str, &str)]) -> Result<(u16, String), String> {
        self.ask(Method::POST, path, params)
    }

    /// POST of a JSON text.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub fn post_json(&self, path: &str, json: &Value) -> Result<(u16, String), String> {
        let request = client().1.post(self.url(path, &[])?).body(json.to_string());
        send(request.header("Content-Type", "application/json"))
    }

    fn post_form(&self, path: &str, params: &[(&str, &str)]) -> Result<(u16, String), String> {
        let mut url = self.url(path, params)?;
        let body = url.query().unwrap_or_default().to_owned();
        url.set_query(None);
        let form = client().1.post(url).body(body);
        send(form.header("Content-Type", "application/x-www-form-urlencoded"))
    }

    fn ask(&self, method: Method, path: &str, params: &[(&str, &str)]) -> Result<(u16, String), String> {
        send(client().1.request(method, self.url(path, params)?))
    }

    fn url(&self, path: &str, params: &[(&str, &str)]) -> Result<Url, String> {
        let mut url = Url::parse(&self.base)
            .and_then(|base| base.join(path))
            .map_err(|e| e.to_string())?;
        if !params.is_empty() {
            url.query_pairs_mut().extend_pairs(params);
        }
        Ok(url)
    }

    /// `data` of a successful answer under /api/v1/.
    ///
    /// # Errors
    /// What went wrong, with the API's own words.
    pub fn data(&self, path: &str, params: &[(&str, &str)]) -> Result<Value, String> {
        data_of(self.get(&format!("/api/v1/{path}"), params)?)
    }

    /// The same by POST, the parameters in the body, as Grafana's data source asks.
    ///
    /// # Errors
    /// As [`Api::data`].
    pub fn post_data(&self, path: &str, params: &[(&str, &str)]) -> Result<Value, String> {
        data_of(self.post_form(&format!("/api/v1/{path}"), params)?)
    }

    /// An instant query's series.
    ///
    /// # Errors
    /// As [`Api::data`].
    pub fn query(&self, expr: &str) -> Result<Vec<Series>, String> {
        series(&self.data("query", &[("query", expr)])?)
    }

    /// The one number that an instant query answers.
    ///
    /// # Errors
    /// As [`Api::data`], and when there is not exactly one.
    pub fn number(&self, expr: &str) -> Result<f64, String> {
        match self.query(expr)?.as_slice() {
            [one] => Ok(one.samples[0].1),
            other => Err(format!("{expr}: {} series, not one", other.len())),
        }
    }

    /// What the bridge's ledger says of a device of tenant `default`.
    ///
    /// # Errors
    /// As [`Api::data`], and when the bridge does not know it.
    pub fn device(&self, id: &str) -> Result<Device, String> {
        self.fleet("fleet/devices", id)
    }

    /// What reading the store back finds of a device of tenant `default`.
    ///
    /// # Errors
    /// As [`Api::data`], and when the bridge does not know it.
    pub fn equation(&self, id: &str) -> Result<Equation, String> {
        self.fleet("fleet/equation", id)
    }

    /// What the bridge says of a destination of remote write.
    ///
    /// # Errors
    /// As [`Api::data`], and when there is none of that name.
    pub fn destination(&self, name: &str) -> Result<Destination, String> {
        let data = self.data("fleet/destinations", &[])?;
        let all: Vec<Destination> =
            serde_json::from_value(data["destinations"].clone()).map_err(|e| e.to_string())?;
        let found = all.into_iter().find(|destination| destination.name == name);
        found.ok_or_else(|| format!("no destination {name}"))
    }

    fn fleet<T: serde::de::DeserializeOwned>(&self, path: &str, id: &str) -> Result<T, String> {
        let data = self.data(path, &[("tenant", "default"), ("device_id", id)])?;
        let mut found: Devices<T> = serde_json::from_value(data).map_err(|e| e.to_string())?;
        found.devices.pop().ok_or_else(|| format!("no device {id}"))
    }

    /// A sample of /metrics, 0 if it is not there; `series` as it stands in the page: `name` or `name{label="value"}`.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub fn metric(&self, series: &str) -> Result<f64, String> {
        let (_, page) = self.get("/metrics", &[])?;
        let value = page
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(Ok(0.0), |text| {
            text.parse().map_err(|_| format!("{series} {text}"))
        })
    }

    /// Whether the server is ready.
    pub fn is_ready(&self) -> bool {
        self.get("/-/ready", &[]).is_ok_and(|(status, _)| status == 200)
    }
}

/// The series of an answer to a query.
///
/// # Errors
/// What is wrong with it.
pub fn series(data: &Value) -> Result<Vec<Series>, String> {
    let list = data["result"].as_array().ok_or("no result")?;
    list.iter()
        .map(|one| {
            let metric = serde_json::from_value(one["metric"].clone()).map_err(|e| e.to_string())?;
            let pairs: Vec<Value> = match &one["values"] {
                Value::Array(values) => values.clone(),
                _ => vec![one["value"].clone()],
            };
            let samples = pairs
                .iter()
                .map(sample)
                .collect::<Option<Vec<_>>>()
                .ok_or("a sample is no pair")?;
            Ok(Series { metric, samples })
        })
        .collect()
}

fn sample(pair: &Value) -> Option<(f64, f64)> {
    Some((pair[0].as_f64()?, pair[1].as_str()?.parse().ok()?))
}
