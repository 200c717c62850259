//! What a peer's certificate says: who it is, its serial, how long it is valid.
//!
//! The URI SAN is the identity; CN and O must say the same, so that a broker that reads only the CN (mosquitto's `%u`)
//! or only O cannot see another peer than we do. Nothing here checks signatures: rustls did, or will.

use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use wire::identity::IdentityError;
use wire::{Identity, Role, Timestamp};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::serial::{Serial, SerialError};

/// Why a certificate carries no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityFault {
    /// Not one DER certificate.
    #[error("not a certificate")]
    NotCertificate,
    /// The serial number is out of bounds.
    #[error(transparent)]
    Serial(#[from] SerialError),
    /// No URI among the subject alternative names.
    #[error("the certificate has no URI SAN; it must be spiffe://backhaul/<tenant>/<role>/<id>")]
    NoUri,
    /// More than one URI: which one counts would be a guess.
    #[error("the certificate has several URI SANs; exactly one is allowed")]
    SeveralUris,
    /// The URI is no identity.
    #[error(transparent)]
    Uri(#[from] IdentityError),
    /// CN is not the URI's `<tenant>.<id>`.
    #[error("the certificate's CN is {found:?}, but its URI SAN says {expected:?}")]
    CommonName {
        /// What the URI asks for.
        expected: String,
        /// What the subject has, if it has exactly one.
        found: Option<String>,
    },
    /// O is not the URI's tenant.
    #[error("the certificate's O is {found:?}, but its URI SAN says {expected:?}")]
    Organization {
        /// What the URI asks for.
        expected: String,
        /// What the subject has, if it has exactly one.
        found: Option<String>,
    },
}

/// How a certificate stands at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its time has not come.
    NotYet,
    /// Within its validity.
    Valid,
    /// A device's, expired, within the grace: its data is taken and flagged.
    Grace,
    /// Expired.
    Expired,
}

/// What a certificate says of its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    identity: Identity,
    serial: Serial,
    issuer: Box<[u8]>,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// The identity in a DER certificate.
pub fn identity_of(cert_der: &[u8]) -> Result<Identity, IdentityFault> {
    PeerCertificate::parse(cert_der).map(|peer| peer.identity)
}

impl PeerCertificate {
    /// Reads a DER certificate.
    pub fn parse(cert_der: &[u8]) -> Result<Self, IdentityFault> {
        let (rest, cert) = X509Certificate::from_der(cert_der).map_err(|_| IdentityFault::NotCertificate)?;
        if !rest.is_empty() {
            return Err(IdentityFault::NotCertificate);
        }
        let identity = Identity::from_uri(uri_of(&cert)?)?;
        check_subject(cert.subject(), &identity)?;
        Ok(PeerCertificate {
            identity,
            serial: Serial::from_bytes(cert.raw_serial())?,
            issuer: cert.issuer().as_raw().into(),
            not_before: timestamp(cert.validity().not_before),
            not_after: timestamp(cert.validity().not_after),
        })
    }

    /// Reads the first certificate of a PEM text.
    pub fn from_pem(pem: &[u8]) -> Result<Self, IdentityFault> {
        let cert = CertificateDer::from_pem_slice(pem).map_err(|_| IdentityFault::NotCertificate)?;
        PeerCertificate::parse(&cert)
    }

    /// Role and name.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The serial number, unique per issuer.
    pub fn serial(&self) -> &Serial {
        &self.serial
    }

    /// The issuer's name, DER.
    pub fn issuer(&self) -> &[u8] {
        &self.issuer
    }

    /// The first valid second.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// The last valid second.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// How the certificate stands at `now`. Only devices have a grace: a vehicle was parked for months, but whoever
    /// runs a bridge or operates the fleet can renew.
    pub fn standing(&self, now: Timestamp, grace: Duration) -> Standing {
        // A certificate is valid through its whole last second.
        let end = self.not_after.plus(Duration::from_millis(999));
        if now < self.not_before {
            Standing::NotYet
        } else if now <= end {
            Standing::Valid
        } else if self.identity.role() == Role::Device && now <= end.plus(grace) && !grace.is_zero() {
            Standing::Grace
        } else {
            Standing::Expired
        }
    }
}

pub(crate) fn timestamp(time: ASN1Time) -> Timestamp {
    Timestamp::from_ms(time.timestamp().saturating_mul(1000))
}

fn uri_of<'a>(cert: &'a X509Certificate<'_>) -> Result<&'a str, IdentityFault> {
    let names = cert
        .subject_alternative_name()
        .map_err(|_| IdentityFault::NotCertificate)?;
    let names = names
        .map(|extension| extension.value.general_names.as_slice())
        .unwrap_or_default();
    let mut uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    match (uris.next(), uris.next()) {
        (Some(uri), None) => Ok(uri),
        (Some(_), Some(_)) => Err(IdentityFault::SeveralUris),
        (None, _) => Err(IdentityFault::NoUri),
    }
}

fn check_subject(subject: &X509Name<'_>, identity: &Identity) -> Result<(), IdentityFault> {
    let expected = identity.name().to_string();
    let found = only(subject.iter_common_name());
    if found.as_deref() != Some(&expected) {
        return Err(IdentityFault::CommonName { expected, found });
    }
    let expected = identity.name().tenant().to_string();
    let found = only(subject.iter_organization());
    if found.as_deref() != Some(&expected) {
        return Err(IdentityFault::Organization { expected, found });
    }
    Ok(())
}

/// The attribute's text, if there is exactly one; at most 128 characters of it, which is all that an error shows.
pub(crate) fn only<'a>(
    mut attributes: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>,
) -> Option<String> {
    let (Some(one), None) = (attributes.next(), attributes.next()) else {
        return None;
    };
    one.as_str().ok().map(|text| text.chars().take(128).collect())
}

#[cfg(test)]
mod tests;
