//! Requests to one destination: HTTP/1.1 over reqwest, authentication, TLS.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use reqwest::{Certificate, Client, Identity, RequestBuilder, Response, Url, redirect};
use wire::Tenant;

use super::answer::{Reply, retry_after};
use super::config::{Auth, RemoteWrite, Secret, SecretSource};
use super::request::Protocol;

/// Bytes of an answer that are looked at, for the log.
const MOST_ANSWER: usize = 1024;

/// Why a destination cannot be talked to as it is configured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// A file of the configuration cannot be read.
    #[error("{}: {cause}", file.display())]
    File { file: PathBuf, cause: std::io::Error },
    /// A file is not what it should be, or TLS cannot be set up.
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    /// A text that cannot stand in a header.
    #[error("credentials hold what no HTTP header can")]
    Credentials,
}

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
    client: Client,
    /// Its host is the one to verify.
    url: Url,
    /// The host that is meant, if it is another.
    host: Option<HeaderValue>,
    config: Arc<RemoteWrite>,
}

impl Sender {
    /// Reads the files of TLS and sets the client up.
    pub(crate) fn new(config: Arc<RemoteWrite>) -> Result<Self, ClientError> {
        // The process's provider: whoever came first chose the same.
        let _already = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .timeout(config.timeout)
            .connect_timeout(config.timeout);
        if let Some(file) = &config.tls.ca_file {
            builder = builder.tls_certs_only(Certificate::from_pem_bundle(&read(file)?)?);
        }
        if let Some((cert, key)) = &config.tls.identity {
            let mut pem = read(cert)?;
            pem.push(b'\n');
            pem.extend(read(key)?);
            builder = builder.identity(Identity::from_pem(&pem)?);
        }
        let (mut url, mut host) = (config.url.clone(), None);
        if let (Some(name), Some(real)) = (&config.tls.server_name, config.url.host_str()) {
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            host = HeaderValue::from_str(&format!("{real}{port}")).ok();
            builder = builder.dns_resolver(Arc::new(Elsewhere(real.trim_matches(['[', ']']).to_owned())));
            // The name was checked, so that it can be a host.
            let _ = url.set_host(Some(name));
        }
        Ok(Sender {
            client: builder.build()?,
            url,
            host,
            config,
        })
    }

    /// One try; no answer at all is status 599, with the reason as text.
    pub(crate) async fn send(&self, request: Request) -> Reply {
        match self.try_send(request).await {
            Ok(reply) => reply,
            Err(error) => {
                // reqwest's own text says only "error sending request"; the cause is at the end of the chain.
                let mut last: &dyn std::error::Error = &error;
                while let Some(source) = last.source() {
                    last = source;
                }
                Reply {
                    status: 599,
                    text: last.to_string(),
                    ..Reply::default()
                }
            }
        }
    }

    async fn try_send(&self, request: Request) -> Result<Reply, ClientError> {
        let mut post = self
            .client
            .post(self.url.clone())
            .headers(self.config.headers.clone())
            .header(CONTENT_TYPE, request.protocol.content_type())
            .header(CONTENT_ENCODING, "snappy")
            .header("X-Prometheus-Remote-Write-Version", request.protocol.version())
            .header(USER_AGENT, concat!("backhaul/", env!("CARGO_PKG_VERSION")));
        if let Some(host) = &self.host {
            post = post.header(HOST, host);
        }
        if let (Some(header), Some(tenant)) = (&self.config.tenant_header, &request.tenant) {
            post = post.header(header, tenant.as_str());
        }
        if request.attempt > 0 {
            post = post.header("Retry-Attempt", request.attempt);
        }
        post = self.authorize(post).await?;
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

    async fn authorize(&self, post: RequestBuilder) -> Result<RequestBuilder, ClientError> {
        Ok(match &self.config.auth {
            Auth::None => post,
            Auth::Basic { username, password } => {
                let password = match password {
                    Some(source) => Some(secret(source).await?),
                    None => None,
                };
                post.basic_auth(username, password)
            }
            Auth::Scheme { scheme, credentials } => {
                let text = format!("{scheme} {}", secret(credentials).await?);
                let mut value = HeaderValue::from_str(&text).map_err(|_| ClientError::Credentials)?;
                value.set_sensitive(true);
                post.header(AUTHORIZATION, value)
            }
        })
    }
}

fn read(file: &Path) -> Result<Vec<u8>, ClientError> {
    std::fs::read(file).map_err(|cause| ClientError::File {
        file: file.to_owned(),
        cause,
    })
}

async fn secret(source: &SecretSource) -> Result<String, ClientError> {
    match source {
        SecretSource::Text(Secret(text)) => Ok(text.clone()),
        SecretSource::File(file) => {
            let text = tokio::fs::read_to_string(file).await;
            let text = text.map_err(|cause| ClientError::File {
                file: file.clone(),
                cause,
            })?;
            Ok(text.trim().to_owned())
        }
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

/// Every name is this host: the URL's host is the name that the certificate must have.
struct Elsewhere(String);

impl Resolve for Elsewhere {
    fn resolve(&self, _: Name) -> Resolving {
        let host = self.0.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
