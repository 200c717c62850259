//! The broker's TLS: client certificates are required, checked against CA bundle and CRLs, and checked again.
//!
//! A resumed session does not run the certificate verifier, so [`ServerTls::admit`] repeats what can change while a
//! ticket lives: revocation and expiry. Each load makes new ticket keys, so no ticket outlives the CA bundle that
//! admitted it. Nothing is built without a CA: there is no configuration in which a peer needs no certificate.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use wire::Timestamp;

use crate::files::{self, FileError, PemFault};
use crate::grace::{Direct, GraceVerifier};
use crate::peer::{IdentityFault, PeerCertificate, Standing};
use crate::revocation::{self, Lookup, RevocationFault, RevokedSerials};

/// Where the server's PEM files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFiles {
    /// Roots of clients; several while a CA is rolled over.
    pub ca: PathBuf,
    /// The server's chain, leaf first.
    pub cert: PathBuf,
    /// The server's private key.
    pub key: PathBuf,
    /// CRLs, one per root. Without a file nothing is ever revoked.
    pub crl: Option<PathBuf>,
}

impl ServerFiles {
    /// The files as `certs init` makes them.
    pub fn in_folder(certs: &Path) -> Self {
        ServerFiles {
            ca: certs.join("ca.crt"),
            cert: certs.join("server.crt"),
            key: certs.join("server.key"),
            crl: Some(certs.join("crl.pem")),
        }
    }
}

/// What the server accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerOptions {
    /// Whether TLS 1.2 is spoken as well as 1.3.
    pub tls12: bool,
    /// How long an expired device certificate is still accepted; zero switches that off.
    pub grace: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        ServerOptions {
            tls12: false,
            grace: Duration::from_secs(90 * 86_400),
        }
    }
}

/// Why no TLS configuration could be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is not the PEM it should be.
    #[error("{path}: {fault}", path = path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: PemFault,
    },
    /// A client's own certificate names nobody.
    #[error("{path}: {fault}", path = path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: IdentityFault,
    },
    /// A root that is no certificate, or cannot be a trust anchor.
    #[error("CA certificate: {0}")]
    Ca(rustls::Error),
    /// The CRLs do not fit the CAs.
    #[error("CRL: {0}")]
    Revocation(#[from] RevocationFault),
    /// rustls refuses roots or CRLs.
    #[error("client verification: {0}")]
    Verifier(#[from] VerifierBuilderError),
    /// Certificate and key do not belong together, or the key cannot sign.
    #[error("certificate and key: {0}")]
    KeyPair(rustls::Error),
    /// No randomness for ticket keys, or no common protocol version.
    #[error(transparent)]
    Setup(rustls::Error),
}

/// Why an authenticated peer is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It showed no certificate.
    #[error("no client certificate")]
    NoCertificate,
    /// Its certificate names nobody.
    #[error(transparent)]
    Identity(#[from] IdentityFault),
    /// Its certificate is on a CRL.
    #[error("certificate {0} is revoked")]
    Revoked(crate::Serial),
    /// Its certificate is not valid (yet, or any more, grace included).
    #[error("certificate {0} is outside its validity")]
    NotValid(crate::Serial),
}

/// A TLS configuration and what goes with it.
#[derive(Debug, Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    revoked: Arc<RevokedSerials>,
    grace: Duration,
    server: CertificateDer<'static>,
}

impl ServerTls {
    /// Reads the files and builds the configuration.
    pub fn load(files: &ServerFiles, options: &ServerOptions) -> Result<Self, TlsError> {
        let cas = pem(&files.ca, files::certificates)?;
        let chain = pem(&files.cert, files::certificates)?;
        let key = pem(&files.key, files::private_key)?;
        let crls = files
            .crl
            .as_deref()
            .map(|path| pem(path, files::crls))
            .transpose()?
            .unwrap_or_default();
        let lookup = match crls.is_empty() {
            true => Lookup::Chain,
            false => revocation::check_signed(&crls, &cas)?,
        };
        let revoked = Arc::new(RevokedSerials::parse(&crls)?);
        let server = chain.first().cloned().ok_or(TlsError::Pem {
            path: files.cert.clone(),
            fault: PemFault::Missing("certificate"),
        })?;
        let by_serial = Some(Arc::clone(&revoked)).filter(|_| lookup == Lookup::Serial);
        let verifier = verifier(roots(cas)?, crls, by_serial, options.grace)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions(options.tls12))
            .map_err(TlsError::Setup)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(TlsError::KeyPair)?;
        // Tickets hold the session on the client's side: no table here for ten thousand devices. One each is enough
        // for a client that has one connection.
        config.ticketer = ring::Ticketer::new().map_err(TlsError::Setup)?;
        config.send_tls13_tickets = 1;
        Ok(ServerTls {
            config: Arc::new(config),
            revoked,
            grace: options.grace,
            server,
        })
    }

    /// The configuration for new connections.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// What the CRLs revoke; sessions of these certificates are to be cut.
    pub fn revoked(&self) -> &RevokedSerials {
        &self.revoked
    }

    /// How long an expired device certificate is still accepted.
    pub fn grace(&self) -> Duration {
        self.grace
    }

    /// The server's own certificate, DER.
    pub fn server_certificate(&self) -> &CertificateDer<'static> {
        &self.server
    }

    /// Decides about a peer after its handshake, full or resumed, from `peer_certificates()` of the connection.
    /// The standing is [`Standing::Valid`] or [`Standing::Grace`].
    pub fn admit(
        &self,
        chain: Option<&[CertificateDer<'_>]>,
        now: Timestamp,
    ) -> Result<(PeerCertificate, Standing), Refusal> {
        let leaf = chain
            .and_then(|chain| chain.first())
            .ok_or(Refusal::NoCertificate)?;
        let peer = PeerCertificate::parse(leaf)?;
        if self.revoked.covers(&peer) {
            return Err(Refusal::Revoked(peer.serial().clone()));
        }
        match peer.standing(now, self.grace) {
            standing @ (Standing::Valid | Standing::Grace) => Ok((peer, standing)),
            Standing::NotYet | Standing::Expired => Err(Refusal::NotValid(peer.serial().clone())),
        }
    }
}

fn verifier(
    roots: RootCertStore,
    crls: Vec<CertificateRevocationListDer<'static>>,
    by_serial: Option<Arc<RevokedSerials>>,
    grace: Duration,
) -> Result<Arc<GraceVerifier>, TlsError> {
    let (roots, provider) = (Arc::new(roots), Arc::new(ring::default_provider()));
    let builder = || WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
    // rustls checks the whole chain against the CRLs, refuses a certificate whose issuer has none, and accepts a CRL
    // past its nextUpdate: an authority that sleeps must not stop a fleet.
    let inner = builder().with_crls(crls).build()?;
    let direct = match by_serial {
        Some(revoked) => Some(Direct {
            verifier: builder().build()?,
            revoked,
        }),
        None => None,
    };
    Ok(Arc::new(GraceVerifier::new(inner, direct, grace)))
}

static WITH_TLS12: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];

pub(crate) fn versions(tls12: bool) -> &'static [&'static SupportedProtocolVersion] {
    if tls12 { &WITH_TLS12 } else { &WITH_TLS12[..1] }
}

pub(crate) fn roots(cas: Vec<CertificateDer<'static>>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for ca in cas {
        roots.add(ca).map_err(TlsError::Ca)?;
    }
    Ok(roots)
}

/// Reads a file and parses its PEM; the error names the file.
pub(crate) fn pem<T>(path: &Path, parse: impl FnOnce(&[u8]) -> Result<T, PemFault>) -> Result<T, TlsError> {
    parse(&files::read(path)?).map_err(|fault| TlsError::Pem {
        path: path.to_owned(),
        fault,
    })
}
