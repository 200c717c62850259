//! TLS towards a broker whose certificate has another name than the address it is reached by.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName, UnixTime};
use rustls::server::VerifierBuilderError;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Why a name cannot be set.
#[derive(Debug, thiserror::Error)]
pub enum ServerNameError {
    /// Neither a DNS name nor an address.
    #[error("server_name {0:?} is no host name")]
    Name(String, #[source] InvalidDnsNameError),
    /// The CA cannot be used.
    #[error("the CA: {0}")]
    Roots(#[from] VerifierBuilderError),
}

/// The same configuration, but the server's certificate must be of one of the roots and have this name, whatever name
/// or address the connection is made to.
///
/// # Errors
/// See [`ServerNameError`].
pub fn with_server_name(
    config: &ClientConfig,
    roots: RootCertStore,
    name: &str,
) -> Result<Arc<ClientConfig>, ServerNameError> {
    let server =
        ServerName::try_from(name.to_owned()).map_err(|e| ServerNameError::Name(name.to_owned(), e))?;
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Named {
        name: server,
        inner: WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?,
    });
    let mut config = config.clone();
    config.dangerous().set_certificate_verifier(verifier);
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct Named {
    name: ServerName<'static>,
    inner: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _address: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let inner = &self.inner;
        inner.verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
