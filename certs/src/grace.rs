//! How a client's certificate is verified: by WebPKI, with revocation looked up in a set, and a grace for expired devices.
//!
//! WebPKI checks the CRL's signature anew in each handshake, a third of the signatures that a server verifies. They were
//! checked when the CRLs were loaded; so for a certificate that comes without intermediates, whose issuer must then be
//! one of the roots, WebPKI is asked without CRLs and the serial is looked up. Any other chain gets WebPKI's own check.
//!
//! A vehicle that was parked over its certificate's end must still be able to hand in its data. Only the end
//! entity's own expiry is forgiven, only for the role device, and only within the grace: everything else (chain,
//! usage, revocation) is verified as it stood in the certificate's last second, against today's CRLs.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use wire::Timestamp;

use crate::peer::{PeerCertificate, Standing};
use crate::revocation::RevokedSerials;

/// WebPKI's verifier, with a grace for expired devices.
#[derive(Debug)]
pub(crate) struct GraceVerifier {
    /// With the CRLs.
    inner: Arc<dyn ClientCertVerifier>,
    direct: Option<Direct>,
    grace: Duration,
}

/// For certificates that a root issued, where the CRLs allow it ([`crate::revocation::check_signed`]).
#[derive(Debug)]
pub(crate) struct Direct {
    /// The same roots, without CRLs.
    pub(crate) verifier: Arc<dyn ClientCertVerifier>,
    pub(crate) revoked: Arc<RevokedSerials>,
}

impl Direct {
    /// `None`: WebPKI has to see the CRLs.
    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        now: UnixTime,
    ) -> Option<Result<ClientCertVerified, Error>> {
        let peer = PeerCertificate::parse(end_entity).ok()?;
        let verified = self.verifier.verify_client_cert(end_entity, &[], now);
        Some(verified.and_then(|verified| match self.revoked.covers(&peer) {
            true => Err(CertificateError::Revoked.into()),
            false => Ok(verified),
        }))
    }
}

impl GraceVerifier {
    pub(crate) fn new(inner: Arc<dyn ClientCertVerifier>, direct: Option<Direct>, grace: Duration) -> Self {
        GraceVerifier { inner, direct, grace }
    }

    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let direct = self.direct.as_ref().filter(|_| intermediates.is_empty());
        direct
            .and_then(|direct| direct.verify(end_entity, now))
            .unwrap_or_else(|| self.inner.verify_client_cert(end_entity, intermediates, now))
    }

    /// The last second at which the certificate was valid, if it is in its grace at `now`.
    fn last_valid(&self, end_entity: &CertificateDer<'_>, now: UnixTime) -> Option<UnixTime> {
        let peer = PeerCertificate::parse(end_entity).ok()?;
        let now = Timestamp::from_ms(i64::try_from(now.as_secs()).ok()?.checked_mul(1000)?);
        if peer.standing(now, self.grace) != Standing::Grace {
            return None;
        }
        let last = u64::try_from(peer.not_after().ms() / 1000).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(last)))
    }
}

fn is_expiry(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })
    )
}

impl ClientCertVerifier for GraceVerifier {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let refusal = match self.verify(end_entity, intermediates, now) {
            Err(e) if is_expiry(&e) => e,
            other => return other,
        };
        match self.last_valid(end_entity, now) {
            Some(last) => self.verify(end_entity, intermediates, last),
            None => Err(refusal),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
