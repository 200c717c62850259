//! The bridge's HTTP API as a test uses it: blocking, JSON in hand.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

/// A bridge on loopback.
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

impl Api {
    /// The API on a port.
    pub fn new(port: u16) -> Api {
        Api { base: format!("http://127.0.0.1:{port}") }
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
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        runtime.block_on(async {
            let mut url = reqwest::Url::parse(&self.base)
                .and_then(|base| base.join(path))
                .map_err(|e| e.to_string())?;
            if !params.is_empty() {
                url.query_pairs_mut().extend_pairs(params);
            }
            let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().map_err(|e| e.to_string())?;
            let response = client.get(url).send().await.map_err(|e| e.to_string())?;
            let status = response.status().as_u16();
            Ok((status, response.text().await.map_err(|e| e.to_string())?))
        })
    }

    /// `data` of a successful answer under /api/v1/.
    ///
    /// # Errors
    /// What went wrong, with the API's own words.
    pub fn data(&self, path: &str, params: &[(&str, &str)]) -> Result<Value, String> {
        let (status, body) = self.get(&format!("/api/v1/{path}"), params)?;
        let mut json: Value = serde_json::from_str(&body).map_err(|e| format!("{status} {e}: {body}"))?;
        if status == 200 && json["status"] == "success" { Ok(json["data"].take()) } else { Err(body) }
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

    /// Whether the bridge is ready.
    pub fn is_ready(&self) -> bool {
        self.get("/-/ready", &[]).is_ok_and(|(status, _)| status == 200)
    }
}

fn series(data: &Value) -> Result<Vec<Series>, String> {
    let list = data["result"].as_array().ok_or("no result")?;
    list.iter()
        .map(|one| {
            let metric = serde_json::from_value(one["metric"].clone()).map_err(|e| e.to_string())?;
            let pairs: Vec<Value> = match &one["values"] {
                Value::Array(values) => values.clone(),
                _ => vec![one["value"].clone()],
            };
            let samples = pairs.iter().map(sample).collect::<Option<Vec<_>>>().ok_or("a sample is no pair")?;
            Ok(Series { metric, samples })
        })
        .collect()
}

fn sample(pair: &Value) -> Option<(f64, f64)> {
    Some((pair[0].as_f64()?, pair[1].as_str()?.parse().ok()?))
}
