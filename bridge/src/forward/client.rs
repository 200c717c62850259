//! Requests to one destination: remote write over HTTP/1.1.

use std::sync::Arc;
use std::time::SystemTime;

use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Method, Response};
use wire::Tenant;

use super::answer::{Reply, retry_after};
use super::config::RemoteWrite;
use super::request::Protocol;
use crate::http_client::{Caller, ClientError, no_answer};

/// Bytes of an answer that are looked at, for the log.
const MOST_ANSWER: usize = 1024;

/// What one request is.
pub(crate) struct Request {
    pub(crate) body: Vec<u8>,
    pub(crate) protocol: Protocol,
    /// Of the samples, if requests hold one tenant each.
    pub(crate) tenant: Option<Tenant>,
    /// How often it was tried before.
    pub(crate) attempt: u32,
}

/// A way to one destination.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    caller: Caller,
    config: Arc<RemoteWrite>,
}

impl Sender {
    /// Reads the files of TLS and sets the client up.
    pub(crate) fn new(config: Arc<RemoteWrite>) -> Result<Self, ClientError> {
        let caller = Caller::new(&config.url, &config.access, config.timeout)?;
        Ok(Sender { caller, config })
    }

    /// One try; no answer at all is status 599, with the reason as text.
    pub(crate) async fn send(&self, request: Request) -> Reply {
        self.try_send(request).await.unwrap_or_else(|error| Reply {
            status: 599,
            text: no_answer(&error),
            ..Reply::default()
        })
    }

    async fn try_send(&self, request: Request) -> Result<Reply, ClientError> {
        let mut post = self
            .caller
            .request(Method::POST, |_| ())
            .await?
            .headers(self.config.headers.clone())
            .header(CONTENT_TYPE, request.protocol.content_type())
            .header(CONTENT_ENCODING, "snappy")
            .header("X-Prometheus-Remote-Write-Version", request.protocol.version());
        if let (Some(header), Some(tenant)) = (&self.config.tenant_header, &request.tenant) {
            post = post.header(header, tenant.as_str());
        }
        if request.attempt > 0 {
            post = post.header("Retry-Attempt", request.attempt);
        }
        let mut response = post.body(request.body).send().await?;
        let mut reply = Reply {
            status: response.status().as_u16(),
            written: written(response.headers()),
            retry_after: header(&response, RETRY_AFTER).and_then(|text| retry_after(text, SystemTime::now())),
            text: String::new(),
        };
        let mut text = Vec::new();
        while text.len() < MOST_ANSWER {
            let Some(chunk) = response.chunk().await? else {
                break;
            };
            text.extend_from_slice(&chunk[..chunk.len().min(MOST_ANSWER - text.len())]);
        }
        let text = String::from_utf8_lossy(&text);
        text.lines()
            .next()
            .unwrap_or_default()
            .clone_into(&mut reply.text);
        Ok(reply)
    }
}

fn header(response: &Response, name: impl reqwest::header::AsHeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}

/// Samples and histograms that were written; `None`: the answer does not say.
fn written(headers: &HeaderMap) -> Option<u64> {
    let of = |kind: &str| {
        let name = format!("x-prometheus-remote-write-{kind}-written");
        headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok()
    };
    match (of("samples"), of("histograms")) {
        (None, None) => None,
        (samples, histograms) => Some(samples.unwrap_or(0).saturating_add(histograms.unwrap_or(0))),
    }
}
