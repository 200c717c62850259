//! `tls_server_config`: certificates of the listener, and what it asks of its clients.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::{TLS12, TLS13};
use serde::Deserialize;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// The section as it stands in the file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTls {
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    cert: Option<String>,
    key: Option<String>,
    client_ca_file: Option<PathBuf>,
    client_ca: Option<String>,
    /// Certificates that count no more. Not in Prometheus's schema.
    client_crl_file: Option<PathBuf>,
    client_auth_type: ClientAuth,
    client_allowed_sans: Vec<String>,
    min_version: Option<Version>,
    max_version: Option<Version>,
    cipher_suites: Vec<String>,
    curve_preferences: Vec<String>,
    /// The server's order always counts here.
    #[serde(rename = "prefer_server_cipher_suites")]
    _prefer_server: Option<bool>,
}

/// Go's names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
enum ClientAuth {
    #[default]
    NoClientCert,
    RequestClientCert,
    #[serde(alias = "RequireClientCert")]
    RequireAnyClientCert,
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
enum Version {
    #[serde(rename = "TLS10")]
    Tls10,
    #[serde(rename = "TLS11")]
    Tls11,
    #[serde(rename = "TLS12")]
    Tls12,
    #[serde(rename = "TLS13")]
    Tls13,
}

/// The section as it holds.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) config: Arc<ServerConfig>,
    /// Of clients' certificates; `None`: they are not asked for.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// No connection without a verified certificate.
    pub(super) demands_certificate: bool,
    /// Subject alternative names of which a client's certificate has to have one; none: any will do.
    allowed_sans: Vec<String>,
}

impl RawTls {
    /// The section, its files read by `read`; an error says what to change.
    pub(super) fn check(self, mut read: impl FnMut(&Path) -> Result<Vec<u8>, String>) -> Result<Tls, String> {
        let mut pem = |name: &str, inline: &Option<String>, file: &Option<PathBuf>| match (inline, file) {
            (Some(_), Some(_)) => Err(format!("{name} and {name}_file are both given; leave one out")),
            (Some(text), None) => Ok(Some(text.clone().into_bytes())),
            (None, Some(file)) => read(file).map(Some),
            (None, None) => Ok(None),
        };
        let cert = pem("cert", &self.cert, &self.cert_file)?.ok_or("cert_file is missing")?;
        let key = pem("key", &self.key, &self.key_file)?.ok_or("key_file is missing")?;
        let roots = pem("client_ca", &self.client_ca, &self.client_ca_file)?;
        let revoked = pem("client_crl", &None, &self.client_crl_file)?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&cert).collect();
        let chain = chain.map_err(|error| format!("cert_file: {error}"))?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| format!("key_file: {error}"))?;

        let provider = Arc::new(self.provider()?);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&self.versions()?)
            .map_err(|error| format!("min_version, max_version, cipher_suites: {error}"))?;
        let verifier = self.verifier(roots.as_deref(), revoked.as_deref(), &provider)?;
        let builder = match verifier.clone() {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| format!("cert_file and key_file: {error}"))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls {
            config: Arc::new(config),
            verifier,
            demands_certificate: self.client_auth_type == ClientAuth::RequireAndVerifyClientCert,
            allowed_sans: self.client_allowed_sans,
        })
    }

    fn versions(&self) -> Result<Vec<&'static rustls::SupportedProtocolVersion>, String> {
        let least = self.min_version.unwrap_or(Version::Tls12);
        let most = self.max_version.unwrap_or(Version::Tls13);
        match (least <= Version::Tls12, most) {
            (true, Version::Tls13) => Ok(vec![&TLS13, &TLS12]),
            (false, Version::Tls13) => Ok(vec![&TLS13]),
            (true, Version::Tls12) => Ok(vec![&TLS12]),
            _ => Err("min_version, max_version: nothing is left; TLS12 and TLS13 are there".to_owned()),
        }
    }

    /// The provider with the suites and curves that are named, if any are.
    fn provider(&self) -> Result<CryptoProvider, String> {
        let mut provider = ring::default_provider();
        if !self.cipher_suites.is_empty() {
            let all = std::mem::take(&mut provider.cipher_suites);
            for name in &self.cipher_suites {
                // Ours of 1.3 say so in their names.
                let ours = [name.clone(), name.replacen("TLS_", "TLS13_", 1)];
                let found = all
                    .iter()
                    .find(|suite| ours.contains(&format!("{:?}", suite.suite())));
                let found = found.ok_or_else(|| {
                    format!("cipher_suites: {name} is not there; there are {}", names(&all))
                })?;
                provider.cipher_suites.push(*found);
            }
        }
        if !self.curve_preferences.is_empty() {
            let group = |name: &String| match name.as_str() {
                "X25519" => Ok(ring::kx_group::X25519),
                "CurveP256" => Ok(ring::kx_group::SECP256R1),
                "CurveP384" => Ok(ring::kx_group::SECP384R1),
                _ => Err(format!(
                    "curve_preferences: {name} is not there; X25519, CurveP256 and CurveP384 are"
                )),
            };
            provider.kx_groups = self
                .curve_preferences
                .iter()
                .map(group)
                .collect::<Result<_, _>>()?;
        }
        Ok(provider)
    }

    fn verifier(
        &self,
        roots: Option<&[u8]>,
        revoked: Option<&[u8]>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
        let optional = match self.client_auth_type {
            ClientAuth::NoClientCert if roots.is_none() && self.client_allowed_sans.is_empty() => {
                return Ok(None);
            }
            ClientAuth::NoClientCert => {
                return Err(
                    "client_ca and client_allowed_sans need a client_auth_type: RequireAndVerifyClientCert"
                        .to_owned(),
                );
            }
            ClientAuth::RequestClientCert | ClientAuth::RequireAnyClientCert => {
                return Err(
                    "client_auth_type: a certificate that is not verified says nothing; \
                            write VerifyClientCertIfGiven or RequireAndVerifyClientCert"
                        .to_owned(),
                );
            }
            ClientAuth::VerifyClientCertIfGiven => true,
            ClientAuth::RequireAndVerifyClientCert => false,
        };
        let pem = roots.ok_or("client_ca_file is missing; client_auth_type asks for it")?;
        let mut store = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(pem) {
            let root = root.map_err(|error| format!("client_ca_file: {error}"))?;
            store
                .add(root)
                .map_err(|error| format!("client_ca_file: {error}"))?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider));
        let revoked: Result<Vec<_>, _> =
            CertificateRevocationListDer::pem_slice_iter(revoked.unwrap_or_default()).collect();
        let builder = builder.with_crls(revoked.map_err(|error| format!("client_crl_file: {error}"))?);
        let builder = if optional {
            builder.allow_unauthenticated()
        } else {
            builder
        };
        let verifier = builder
            .build()
            .map_err(|error| format!("client_ca_file: {error}"))?;
        Ok(Some(verifier))
    }
}

fn names(suites: &[rustls::SupportedCipherSuite]) -> String {
    let names = suites
        .iter()
        .map(|suite| format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1));
    names.collect::<Vec<_>>().join(", ")
}

impl Tls {
    /// Whether a client of a connection that began under other settings may go on under these.
    pub(super) fn still_admits(&self, chain: &[CertificateDer<'static>]) -> bool {
        let Some((own, others)) = chain.split_first() else {
            return !self.demands_certificate;
        };
        let verifier = self.verifier.as_ref();
        let good = verifier.is_some_and(|v| v.verify_client_cert(own, others, UnixTime::now()).is_ok());
        good && self.admits(Some(own))
    }

    /// Whether a client's verified certificate has a name that is allowed; one without a certificate was let in already.
    pub(crate) fn admits(&self, certificate: Option<&CertificateDer<'static>>) -> bool {
        let Some(certificate) = certificate.filter(|_| !self.allowed_sans.is_empty()) else {
            return true;
        };
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
            return false;
        };
        let names = parsed.subject_alternative_name().ok().flatten();
        let mut names = names.iter().flat_map(|names| &names.value.general_names);
        names.any(|name| {
            let text = match name {
                GeneralName::DNSName(text) | GeneralName::URI(text) | GeneralName::RFC822Name(text) => {
                    (*text).to_owned()
                }
                GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
                    Ok(v4) => std::net::Ipv4Addr::from(v4).to_string(),
                    Err(_) => <[u8; 16]>::try_from(*bytes)
                        .map(|v6| std::net::Ipv6Addr::from(v6).to_string())
                        .unwrap_or_default(),
                },
                _ => return false,
            };
            self.allowed_sans.contains(&text)
        })
    }
}

/// The common name of a certificate, DER.
pub(super) fn common_name(certificate: &[u8]) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let name = parsed.subject().iter_common_name().next()?.as_str().ok()?;
    Some(name.to_owned())
}
