//! Scripts against a running Prometheus, which proves that the runner asks what the scripts mean.

use std::path::PathBuf;
use std::time::Duration;

use promql::Labels;

use crate::json::{self, Value};
use crate::outcome::{Got, Outcome};
use crate::remote_write;
use crate::script::{Item, Line, Shown};
use crate::server::{FEATURES, Server};

/// Samples per request.
const BATCH: usize = 2000;

/// A Prometheus, started anew for each `clear`: it has no other way to forget.
pub(crate) struct Peer {
    program: PathBuf,
    server: Option<Server>,
    /// Whether names are dropped at the end of a query, as Prometheus's own harness wants it.
    pub(crate) delayed_name_removal: bool,
}

impl Peer {
    pub(crate) fn new(program: PathBuf) -> Self {
        Self {
            program,
            server: None,
            delayed_name_removal: true,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.server = None;
    }

    fn server(&mut self) -> Result<&Server, String> {
        if self.server.is_none() {
            let delayed = ",promql-delayed-name-removal";
            let more = if self.delayed_name_removal { delayed } else { "" };
            self.server = Some(Server::start(&self.program, &format!("{FEATURES}{more}"))?);
        }
        self.server
            .as_ref()
            .ok_or_else(|| "prometheus is gone".to_owned())
    }

    /// Sends all samples in order of time, as storage wants them.
    pub(crate) fn load(&mut self, step_ms: i64, lines: &[Line]) -> Result<(), String> {
        let server = self.server()?;
        let mut samples: Vec<(&Labels, i64, &Item)> = lines
            .iter()
            .flat_map(|(labels, items)| {
                let timed = (0..).map(move |index| index * step_ms);
                timed.zip(items).map(move |(time, item)| (labels, time, item))
            })
            .filter(|(_, _, item)| **item != Item::Absent)
            .collect();
        samples.sort_by_key(|(_, time, _)| *time);
        let headers = "Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n\
                       X-Prometheus-Remote-Write-Version: 0.1.0\r\n";
        for batch in samples.chunks(BATCH) {
            let body = remote_write::body(batch.iter().copied());
            let (status, answer) = server
                .request("POST", "/api/v1/write", headers, &body)
                .map_err(|error| error.to_string())?;
            if status >= 300 {
                return Err(format!("remote write: {status} {answer}"));
            }
        }
        Ok(())
    }

    pub(crate) fn instant(&mut self, query: &str, time_ms: i64) -> Result<Outcome, String> {
        let time = seconds(time_ms);
        let form = [("query", query), ("time", &time)];
        read(&self.server()?.post("query", &form)?)
    }

    pub(crate) fn range(&mut self, query: &str, start: i64, end: i64, step: i64) -> Result<Outcome, String> {
        let [start, end, step] = [start, end, step].map(seconds);
        let form = [
            ("query", query),
            ("start", &start),
            ("end", &end),
            ("step", &step),
        ];
        read(&self.server()?.post("query_range", &form)?)
    }
}

fn seconds(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    let length = Duration::from_millis(ms.unsigned_abs());
    format!("{sign}{}.{:03}", length.as_secs(), length.subsec_millis())
}

fn read(answer: &str) -> Result<Outcome, String> {
    let odd = || format!("odd answer: {answer}");
    let value = json::parse(answer).ok_or_else(odd)?;
    if let Some(error) = value.field("error").and_then(Value::text) {
        return Err(error
            .strip_prefix("invalid parameter \"query\": ")
            .unwrap_or(error)
            .to_owned());
    }
    let data = value.field("data").ok_or_else(odd)?;
    let kind = data.field("resultType").and_then(Value::text).ok_or_else(odd)?;
    let result = data.field("result").ok_or_else(odd)?;
    let got = match kind {
        "scalar" => point(result).and_then(|(_, item)| match item {
            Item::Float(value) => Some(Got::Scalar(value)),
            _ => None,
        }),
        "string" => result
            .items()
            .get(1)
            .and_then(Value::text)
            .map(|text| Got::Text(text.to_owned())),
        _ => result
            .items()
            .iter()
            .map(series)
            .collect::<Option<_>>()
            .map(Got::Series),
    };
    let notes = |name: &str| -> Vec<String> {
        let items = value.field(name).map_or(&[][..], Value::items);
        items.iter().filter_map(Value::text).map(str::to_owned).collect()
    };
    Ok(Outcome {
        got: got.ok_or_else(odd)?,
        warnings: notes("warnings"),
        infos: notes("infos"),
    })
}

fn series(value: &Value) -> Option<(Labels, Vec<(i64, Item)>)> {
    let Some(Value::Object(labels)) = value.field("metric") else {
        return None;
    };
    let labels: Labels = labels
        .iter()
        .map(|(name, value)| Some((name.as_str(), value.text()?)))
        .collect::<Option<_>>()?;
    let singles = ["value", "histogram"].iter().filter_map(|name| value.field(name));
    let many = ["values", "histograms"]
        .iter()
        .filter_map(|name| value.field(name));
    let mut points: Vec<(i64, Item)> = singles
        .chain(many.flat_map(Value::items))
        .map(point)
        .collect::<Option<_>>()?;
    points.sort_by_key(|(time, _)| *time);
    Some((labels, points))
}

/// `[time, "value"]` or `[time, {"count": .., "sum": .., "buckets": ..}]`.
fn point(value: &Value) -> Option<(i64, Item)> {
    let [time, value] = value.items() else {
        return None;
    };
    let time_ms = (time.number()? * 1000.0).round() as i64;
    let Some(count) = value.field("count") else {
        return Some((time_ms, Item::Float(value.number()?)));
    };
    let bucket = |bucket: &Value| match bucket.items() {
        [_, lower, upper, count] => Some((lower.number()?, upper.number()?, count.number()?)),
        _ => None,
    };
    let buckets = value.field("buckets").map_or(&[][..], Value::items);
    let shown = Shown {
        count: count.number()?,
        sum: value.field("sum")?.number()?,
        buckets: buckets.iter().map(bucket).collect::<Option<_>>()?,
    };
    Some((time_ms, Item::Shown(shown)))
}
