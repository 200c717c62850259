//! The HTTP API as the command line uses it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::de::DeserializeOwned;

/// The longest answer that is read, bytes.
const MAX_ANSWER: usize = 256 << 20;

/// Where the bridge listens, and for which tenant one asks.
#[derive(Debug, Args)]
pub(crate) struct ApiArgs {
    /// Address of the bridge's HTTP API
    #[arg(long, default_value = "http://127.0.0.1:7490")]
    url: String,
    /// Tenant to ask for
    #[arg(long, default_value = "default")]
    tenant: String,
    /// Folder of certificates: ca.crt is trusted, and operator.crt shown if it is there
    #[arg(long = "api.certs", value_name = "DIR")]
    certs: Option<PathBuf>,
    /// File of the token to show
    #[arg(long = "api.token-file", value_name = "FILE", conflicts_with = "user")]
    token_file: Option<PathBuf>,
    /// User to ask as
    #[arg(long = "api.user", value_name = "USER", requires = "password_file")]
    user: Option<String>,
    /// File of the user's password
    #[arg(long = "api.password-file", value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
}

/// Prometheus's envelope.
#[derive(Debug, serde::Deserialize)]
struct Envelope<T> {
    status: String,
    data: Option<T>,
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    infos: Vec<String>,
}

/// What an endpoint answered.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    /// The data.
    pub(crate) data: T,
    /// Warnings and infos, in this order.
    pub(crate) notes: Vec<String>,
}

impl ApiArgs {
    /// Names an API directly.
    pub(crate) fn new(url: String, tenant: String) -> Self {
        ApiArgs {
            url,
            tenant,
            certs: None,
            token_file: None,
            user: None,
            password_file: None,
        }
    }

    fn client(&self) -> Result<reqwest::Client> {
        let mut builder = reqwest::Client::builder();
        if let Some(certs) = &self.certs {
            let ca = reqwest::Certificate::from_pem_bundle(&read(&certs.join("ca.crt"))?)?;
            builder = builder.tls_certs_only(ca);
            let own = certs.join("operator.crt");
            if own.exists() {
                let pem = [read(&own)?, b"\n".to_vec(), read(&certs.join("operator.key"))?].concat();
                builder = builder.identity(reqwest::Identity::from_pem(&pem)?);
            }
        }
        Ok(builder.build()?)
    }

    /// With what the asker shows.
    fn shown(&self, request: reqwest::RequestBuilder) -> Result<reqwest::RequestBuilder> {
        let secret = |file: &Path| -> Result<String> {
            let text = String::from_utf8(read(file)?).with_context(|| file.display().to_string())?;
            Ok(text.trim_end_matches(['\r', '\n']).to_owned())
        };
        Ok(match (&self.token_file, &self.user, &self.password_file) {
            (Some(file), _, _) => request.bearer_auth(secret(file)?),
            (None, Some(user), Some(file)) => request.basic_auth(user, Some(secret(file)?)),
            _ => request,
        })
    }

    /// GET of an endpoint under `/api/v1/`.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        params: &[(&str, &str)],
    ) -> Result<Answer<T>> {
        self.ask(reqwest::Method::GET, path, params).await
    }

    /// POST to an endpoint under `/api/v1/`, parameters in the URL.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        params: &[(&str, &str)],
    ) -> Result<Answer<T>> {
        self.ask(reqwest::Method::POST, path, params).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: reqwest::Method,
        path: &str,
        params: &[(&str, &str)],
    ) -> Result<Answer<T>> {
        let mut url = reqwest::Url::parse(&self.url)
            .and_then(|base| base.join(&format!("/api/v1/{path}")))
            .with_context(|| format!("--url {} is no address such as http://127.0.0.1:7490", self.url))?;
        if !params.is_empty() {
            url.query_pairs_mut().extend_pairs(params);
        }
        let request = self
            .client()?
            .request(method, url)
            .header("THANOS-TENANT", &self.tenant);
        let mut response =
            self.shown(request)?.send().await.with_context(|| {
                format!("no answer from {}; is `backhaul serve` running there?", self.url)
            })?;
        let status = response.status();
        if status == reqwest::StatusCode::UNAUTHORIZED {
            bail!(
                "{} does not know who asks; say it by --api.user or --api.token-file",
                self.url
            );
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > MAX_ANSWER {
                bail!("the answer is longer than {MAX_ANSWER} bytes; ask for less");
            }
            body.extend_from_slice(&chunk);
        }
        let envelope: Envelope<T> = serde_json::from_slice(&body).with_context(|| {
            format!(
                "{} answered {status} with something that is not the API's JSON",
                self.url
            )
        })?;
        match envelope.data {
            Some(data) if envelope.status == "success" => Ok(Answer {
                data,
                notes: envelope.warnings.into_iter().chain(envelope.infos).collect(),
            }),
            _ => bail!(
                "{}",
                envelope
                    .error
                    .unwrap_or_else(|| format!("the API answered {status}"))
            ),
        }
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}
