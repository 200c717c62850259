//! The client's TLS, for agents and the bridge: one CA bundle, one certificate, TLS 1.3 and resumption.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::files;
use crate::peer::{IdentityFault, PeerCertificate};
use crate::server::{TlsError, pem, roots, versions};

/// A client talks to one broker, by a few names; rustls counts tickets by the eight.
const SESSIONS: usize = 16;

/// Where a client's PEM files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFiles {
    /// Roots of the server; several while a CA is rolled over.
    pub ca: PathBuf,
    /// The client's chain, leaf first.
    pub cert: PathBuf,
    /// The client's private key.
    pub key: PathBuf,
}

impl ClientFiles {
    /// `<name>.crt` and `<name>.key` in a folder as `certs init` makes it: `bridge`, `operator`,
    /// `devices/<tenant>/<id>`.
    pub fn in_folder(certs: &Path, name: &str) -> Self {
        ClientFiles {
            ca: certs.join("ca.crt"),
            cert: certs.join(format!("{name}.crt")),
            key: certs.join(format!("{name}.key")),
        }
    }
}

/// Who a client is by its own certificate: the name that its topics and client id carry.
pub fn own_certificate(files: &ClientFiles) -> Result<PeerCertificate, TlsError> {
    let chain = pem(&files.cert, files::certificates)?;
    let fault = |fault| TlsError::Identity {
        path: files.cert.clone(),
        fault,
    };
    let leaf = chain
        .first()
        .ok_or_else(|| fault(IdentityFault::NotCertificate))?;
    PeerCertificate::parse(leaf).map_err(fault)
}

/// Reads the files and builds the configuration. The cache of sessions is in it: use one configuration per process and
/// certificate, also for new connections, or nothing is resumed.
pub fn client_config(files: &ClientFiles) -> Result<Arc<ClientConfig>, TlsError> {
    let cas = pem(&files.ca, files::certificates)?;
    let chain = pem(&files.cert, files::certificates)?;
    let key = pem(&files.key, files::private_key)?;
    build(cas, chain, key)
}

/// The roots that a client trusts, for a verifier of its own.
pub fn client_roots(files: &ClientFiles) -> Result<RootCertStore, TlsError> {
    roots(pem(&files.ca, files::certificates)?)
}

/// As [`client_config`], from PEM texts; errors name them `ca`, `certificate` and `key`.
pub fn client_config_from_pem(ca: &[u8], cert: &[u8], key: &[u8]) -> Result<Arc<ClientConfig>, TlsError> {
    let named = |name: &str| {
        let path = PathBuf::from(name);
        move |fault| TlsError::Pem { path, fault }
    };
    let cas = files::certificates(ca).map_err(named("ca"))?;
    let chain = files::certificates(cert).map_err(named("certificate"))?;
    build(cas, chain, files::private_key(key).map_err(named("key"))?)
}

fn build(
    cas: Vec<CertificateDer<'static>>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions(false))
        .map_err(TlsError::Setup)?
        .with_root_certificates(roots(cas)?)
        .with_client_auth_cert(chain, key)
        .map_err(TlsError::KeyPair)?;
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(Arc::new(config))
}
