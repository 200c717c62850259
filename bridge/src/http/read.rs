//! `/api/v1/read`: Prometheus's remote read, as samples or as chunks (prometheus/prometheus storage/remote/read_handler.go).
//!
//! A request and a `SAMPLES` answer are protobuf in one snappy block. A `STREAMED_XOR_CHUNKS` answer is frames of protobuf.
//! The first type that the request accepts and that can carry what is found is taken: series with native histograms go as
//! samples.

mod bits;
mod chunk;
mod frame;
mod message;

use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use promql::{EvalError, MatchOp, Matcher};
use prost::Message;
use store::SeriesSlice;
use wire::{Labels, Tenant};

use self::message::{ReadRequest, ResponseType};
use super::App;
use super::envelope::{ApiError, ErrorKind};
use super::evaluate::{blocking, evaluate};
use super::params::tenant_of;
use super::routes::plain;
use super::source::{eval_error, for_store, within};
use crate::admission::{Queue, Running};
use crate::web::Access;

/// Bytes of a request as it comes; one holds a few matchers.
pub(super) const MAX_REQUEST: usize = 1 << 20;

/// Bytes of a request once decompressed.
const MAX_DECOMPRESSED: usize = 4 << 20;

/// Queries of a request.
const MAX_QUERIES: usize = 1000;

/// How much more memory a sample takes on its way into a `SAMPLES` answer than in an evaluation, which the limit is for.
const SAMPLES_COST: usize = 3;

/// POST `read`. Errors are plain texts.
pub(crate) async fn read(
    State(app): State<App>,
    Extension(access): Extension<Access>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let tenant = match tenant_of(&headers, &access) {
        Ok(tenant) => tenant,
        Err(error) => return refused(&error),
    };
    let external = app.config.external_labels.clone();
    // Regular expressions take their time to be compiled.
    let checked = blocking(move || checked(&body, &external)).await;
    let (queries, chunks) = match checked.and_then(|checked| checked.map_err(bad)) {
        Ok(checked) => checked,
        Err(error) => return refused(&error),
    };
    let job = Job {
        app: app.clone(),
        tenant,
        queries,
    };
    let outcome = evaluate(&app, Queue::Api, app.config.query_timeout, move |running| {
        job.run(chunks, running)
    })
    .await;
    match outcome {
        Ok(Answer::Samples(body)) => {
            let headers = [
                (header::CONTENT_TYPE, "application/x-protobuf"),
                (header::CONTENT_ENCODING, "snappy"),
            ];
            (headers, body).into_response()
        }
        Ok(Answer::Chunks(body)) => {
            let kind = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
            ([(header::CONTENT_TYPE, kind)], body).into_response()
        }
        Err(error) => refused(&error),
    }
}

fn bad(reason: String) -> ApiError {
    ApiError::new(ErrorKind::BadData, reason)
}

fn refused(error: &ApiError) -> Response {
    let code = match error.kind() {
        // Too many samples: the client's to change.
        ErrorKind::BadData | ErrorKind::Execution => StatusCode::BAD_REQUEST,
        ErrorKind::Timeout | ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    plain(code, format!("{}\n", error.message()))
}

/// The queries of a body, and whether chunks are wanted.
pub(super) fn checked(body: &[u8], external: &Labels) -> Result<(Vec<Query>, bool), String> {
    let request = decode(body)?;
    let queries = request.queries.iter().map(|query| Query::new(query, external));
    Ok((queries.collect::<Result<_, _>>()?, request.accepts_chunks()))
}

/// The request of a body; sizes are checked before memory is taken.
fn decode(body: &[u8]) -> Result<ReadRequest, String> {
    let bytes = snap::raw::decompress_len(body).map_err(|error| format!("snappy: {error}"))?;
    if bytes > MAX_DECOMPRESSED {
        return Err(format!(
            "a request of {bytes} bytes is larger than the limit of {MAX_DECOMPRESSED}"
        ));
    }
    let plain = snap::raw::Decoder::new().decompress_vec(body);
    let plain = plain.map_err(|error| format!("snappy: {error}"))?;
    let request = ReadRequest::decode(plain.as_slice()).map_err(|error| format!("protobuf: {error}"))?;
    match request.queries.len() {
        n if n > MAX_QUERIES => Err(format!("{n} queries in one request; the limit is {MAX_QUERIES}")),
        _ => Ok(request),
    }
}

/// One query, checked.
pub(super) struct Query {
    start_ms: i64,
    end_ms: i64,
    matchers: Vec<Matcher>,
}

impl Query {
    /// A client adds its external labels to its matchers. Ours are in no stored series: a matcher that names one of them is
    /// for a series without it.
    fn new(query: &message::Query, external: &Labels) -> Result<Self, String> {
        let matcher = |m: &message::LabelMatcher| {
            let op = match m.r#type {
                0 => MatchOp::Equal,
                1 => MatchOp::NotEqual,
                2 => MatchOp::Regex,
                3 => MatchOp::NotRegex,
                other => return Err(format!("matcher of an unknown type {other}")),
            };
            let ours = op == MatchOp::Equal && external.get(&m.name) == Some(m.value.as_str());
            let value = if ours { "" } else { m.value.as_str() };
            Matcher::new(m.name.as_str(), op, value).map_err(|error| error.to_string())
        };
        Ok(Query {
            start_ms: query.start_timestamp_ms,
            end_ms: query.end_timestamp_ms,
            matchers: query.matchers.iter().map(matcher).collect::<Result<_, _>>()?,
        })
    }
}

/// A body.
enum Answer {
    Samples(Vec<u8>),
    Chunks(Vec<u8>),
}

struct Job {
    app: App,
    tenant: Tenant,
    queries: Vec<Query>,
}

impl Job {
    fn run(&self, chunks: bool, running: &Running) -> Result<Answer, EvalError> {
        let most = usize::try_from(self.app.config.query_max_samples).unwrap_or(usize::MAX);
        let as_samples = most / SAMPLES_COST;
        let most = if chunks { most } else { as_samples };
        let mut left = most;
        let mut results = Vec::with_capacity(self.queries.len());
        for query in &self.queries {
            if running.interrupt.is_raised() {
                return Err(EvalError::Canceled);
            }
            let found = self.select(query, left, running)?;
            left -= found.iter().map(samples_of).sum::<usize>().min(left);
            results.push(found);
        }
        let histograms = results
            .iter()
            .flatten()
            .any(|series| !series.histograms.is_empty());
        match chunks && !histograms {
            false if most - left > as_samples => Err(EvalError::TooManySamples),
            true => Ok(Answer::Chunks(frame::encode(results))),
            false => {
                let message = message::encode_samples(results);
                let packed = snap::raw::Encoder::new().compress_vec(&message);
                let packed = packed.map_err(|error| EvalError::Execution(format!("snappy: {error}")))?;
                Ok(Answer::Samples(packed))
            }
        }
    }

    /// Series by their labels, ours added. They are held until the query ends.
    fn select(&self, query: &Query, most: usize, running: &Running) -> Result<Vec<SeriesSlice>, EvalError> {
        let range = (query.start_ms, query.end_ms);
        let store = &self.app.store;
        let selection = store.selection(&self.tenant, for_store(&query.matchers), range, false);
        let (found, _) = within(running, most as u64, |limits| selection.read_all(limits));
        let mut found = found.map_err(eval_error)?;
        found.retain(|series| samples_of(series) > 0);
        if self.app.config.external_labels != Labels::default() {
            for series in &mut found {
                series.labels = self.with_external(&series.labels);
            }
            found.sort_by(|a, b| a.labels.cmp(&b.labels));
        }
        Ok(found)
    }

    /// A series' own labels win.
    fn with_external(&self, own: &Labels) -> Labels {
        let external = self.app.config.external_labels.iter();
        let external = external.filter(|(name, _)| own.get(name).is_none());
        // No name is there twice, and none is empty.
        Labels::new(own.iter().chain(external)).unwrap_or_else(|_| own.clone())
    }
}

fn samples_of(series: &SeriesSlice) -> usize {
    series.values.len() + series.histograms.len()
}

impl ReadRequest {
    /// Whether chunks are the first type it names that we know; naming none means samples.
    fn accepts_chunks(&self) -> bool {
        let known = |kind: &i32| ResponseType::try_from(*kind).ok();
        let first = self.accepted_response_types.iter().find_map(known);
        first == Some(ResponseType::StreamedXorChunks)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(bytes).unwrap()
    }

    proptest! {
        #[test]
        fn arbitrary_bodies_are_refused_or_taken(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = checked(&bytes, &Labels::default());
            let _ = checked(&packed(&bytes), &Labels::default());
        }
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_is_decompressed() {
        let large = packed(&vec![0; MAX_DECOMPRESSED + 1]);
        assert!(large.len() < MAX_REQUEST);
        assert!(decode(&large).unwrap_err().contains("larger than the limit"));
        assert!(decode(&packed(&[])).is_ok());
    }
}
