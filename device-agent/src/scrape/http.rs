//! Fetching a page over HTTP.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, HeaderValue, USER_AGENT};
use reqwest::{Client, StatusCode, Url};
use rustls::{ClientConfig, RootCertStore};

/// Only the text format is asked for; a target that cannot give it may give anything, and fails in the parser.
const ACCEPTED: HeaderValue = HeaderValue::from_static("text/plain;version=0.0.4;q=1,*/*;q=0.1");

const AGENT: HeaderValue = HeaderValue::from_static(concat!("backhaul-agent/", env!("CARGO_PKG_VERSION")));

/// Memory that a target keeps for its page between scrapes, at most, bytes.
const KEPT_CAPACITY: usize = 1 << 20;

/// Where and how to fetch one target's page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRules {
    /// Address of the page, parameters included.
    pub url: Url,
    /// From the request's start to the last byte.
    pub timeout: Duration,
    /// Largest page, bytes.
    pub body_size_limit: u64,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No connection, or one that broke; timeouts too.
    #[error("{0}")]
    Http(String),
    /// A status other than 200.
    #[error("server returned HTTP status {0}")]
    Status(StatusCode),
    /// The page is larger than allowed.
    #[error("body exceeds the body_size_limit of {0} bytes")]
    TooLarge(u64),
}

impl From<reqwest::Error> for FetchError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            return FetchError::Http("context deadline exceeded".into());
        }
        // reqwest's own text says only "error sending request"; the cause is at the end of the chain.
        let mut cause: &dyn std::error::Error = &error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        FetchError::Http(cause.to_string())
    }
}

/// The client that all targets share; it keeps connections open between scrapes. Only with `tls` does it need the
/// system's root certificates, which a small device may not have.
pub(crate) fn client(tls: bool) -> Result<Client, FetchError> {
    let builder = Client::builder().no_proxy().pool_max_idle_per_host(1);
    if tls {
        // The process's provider: whoever came first chose the same.
        let _already = rustls::crypto::ring::default_provider().install_default();
        return Ok(builder.build()?);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let no_roots = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| FetchError::Http(error.to_string()))?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Ok(builder.tls_backend_preconfigured(no_roots).build()?)
}

/// Fetches the page into `page`, which is cleared first.
pub(crate) async fn fetch(client: &Client, rules: &FetchRules, page: &mut Vec<u8>) -> Result<(), FetchError> {
    page.clear();
    page.shrink_to(KEPT_CAPACITY);
    let mut response = client
        .get(rules.url.clone())
        .header(ACCEPT, ACCEPTED)
        .header(USER_AGENT, AGENT)
        .header(
            "X-Prometheus-Scrape-Timeout-Seconds",
            rules.timeout.as_secs_f64().to_string(),
        )
        .timeout(rules.timeout)
        .send()
        .await?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    let too_large = |bytes: u64| bytes > rules.body_size_limit;
    if response.content_length().is_some_and(too_large) {
        return Err(FetchError::TooLarge(rules.body_size_limit));
    }
    while let Some(chunk) = response.chunk().await? {
        if too_large((page.len() + chunk.len()) as u64) {
            return Err(FetchError::TooLarge(rules.body_size_limit));
        }
        page.extend_from_slice(&chunk);
    }
    Ok(())
}
