//! A client of one server: HTTP/1.1 over reqwest, authentication, TLS.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{AUTHORIZATION, HOST, HeaderValue, USER_AGENT};
use reqwest::{Certificate, Client, Identity, Method, RequestBuilder, Url, redirect};

use super::{Access, Auth, Secret, SecretSource};

/// Why a server cannot be talked to as it is configured.
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

/// A way to one server.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    client: Client,
    /// Its host is the one to verify.
    url: Url,
    /// The host that is meant, if it is another.
    host: Option<HeaderValue>,
    auth: Auth,
}

impl Caller {
    /// Reads the files of TLS and sets the client up.
    pub(crate) fn new(url: &Url, access: &Access, timeout: Duration) -> Result<Self, ClientError> {
        // The process's provider: whoever came first chose the same.
        let _already = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .timeout(timeout)
            .connect_timeout(timeout);
        if let Some(file) = &access.tls.ca_file {
            builder = builder.tls_certs_only(Certificate::from_pem_bundle(&read(file)?)?);
        }
        if let Some((cert, key)) = &access.tls.identity {
            let mut pem = read(cert)?;
            pem.push(b'\n');
            pem.extend(read(key)?);
            builder = builder.identity(Identity::from_pem(&pem)?);
        }
        let (mut url, mut host) = (url.clone(), None);
        let real = url.host_str().map(str::to_owned);
        if let (Some(name), Some(real)) = (&access.tls.server_name, real) {
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            host = HeaderValue::from_str(&format!("{real}{port}")).ok();
            builder = builder.dns_resolver(Arc::new(Elsewhere(real.trim_matches(['[', ']']).to_owned())));
            // The name was checked, so that it can be a host.
            let _ = url.set_host(Some(name));
        }
        Ok(Caller {
            client: builder.build()?,
            url,
            host,
            auth: access.auth.clone(),
        })
    }

    /// A request to the URL, with the path changed by `to`.
    pub(crate) async fn request(
        &self,
        method: Method,
        to: impl FnOnce(&mut Url),
    ) -> Result<RequestBuilder, ClientError> {
        let mut url = self.url.clone();
        to(&mut url);
        let mut request = self
            .client
            .request(method, url)
            .header(USER_AGENT, concat!("backhaul/", env!("CARGO_PKG_VERSION")));
        if let Some(host) = &self.host {
            request = request.header(HOST, host);
        }
        Ok(match &self.auth {
            Auth::None => request,
            Auth::Basic { username, password } => {
                let password = match password {
                    Some(source) => Some(secret(source).await?),
                    None => None,
                };
                request.basic_auth(username, password)
            }
            Auth::Scheme { scheme, credentials } => {
                let text = format!("{scheme} {}", secret(credentials).await?);
                let mut value = HeaderValue::from_str(&text).map_err(|_| ClientError::Credentials)?;
                value.set_sensitive(true);
                request.header(AUTHORIZATION, value)
            }
        })
    }
}

/// Why there was no answer. reqwest's own text says only "error sending request"; the cause is at the end of the chain.
pub(crate) fn no_answer(error: &ClientError) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
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
