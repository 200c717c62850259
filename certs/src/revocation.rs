//! Certificate revocation lists as a set of serials, checked when they are loaded.
//!
//! With a CRL file, every CA in the bundle must have its CRL in it, correctly signed: otherwise a file that lost a part
//! would quietly let revoked devices back in, or (a CRL of another CA of the same name) refuse every device. The check
//! is made here, at load, so that a broken file keeps the old configuration instead.

use std::collections::{HashMap, HashSet};

use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use wire::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, OID_X509_EXT_CRL_NUMBER};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::peer::{PeerCertificate, timestamp};
use crate::serial::Serial;

/// Why CRLs are not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevocationFault {
    /// A CRL that is not one.
    #[error("not a CRL, or one with a serial over 20 bytes")]
    NotCrl,
    /// A CA certificate that is not one.
    #[error("not a CA certificate")]
    NotCa,
    /// No CRL of this CA; its revoked certificates would be accepted.
    #[error("no CRL of the CA {0:?}; every CA in the bundle needs one")]
    NoCrlOf(String),
    /// A CRL names this CA but its key did not sign it.
    #[error("the CRL of the CA {0:?} is not signed by it")]
    Signature(String),
}

/// Serials that CRLs revoke, by issuer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RevokedSerials {
    by_issuer: HashMap<Box<[u8]>, HashSet<Serial>>,
}

impl RevokedSerials {
    /// Parses CRLs (DER) without checking who signed them.
    pub fn parse(crls: &[CertificateRevocationListDer<'_>]) -> Result<Self, RevocationFault> {
        let mut by_issuer: HashMap<Box<[u8]>, HashSet<Serial>> = HashMap::new();
        for der in crls {
            let crl = parse_crl(der)?;
            let serials = by_issuer.entry(crl.issuer().as_raw().into()).or_default();
            for revoked in crl.iter_revoked_certificates() {
                serials
                    .insert(Serial::from_bytes(revoked.raw_serial()).map_err(|_| RevocationFault::NotCrl)?);
            }
        }
        Ok(RevokedSerials { by_issuer })
    }

    /// Whether the certificate is revoked. A session whose certificate becomes revoked is to be cut.
    pub fn covers(&self, peer: &PeerCertificate) -> bool {
        self.by_issuer
            .get(peer.issuer())
            .is_some_and(|serials| serials.contains(peer.serial()))
    }

    /// How many serials are revoked.
    pub fn len(&self) -> usize {
        self.by_issuer.values().map(HashSet::len).sum()
    }

    /// Whether nothing is revoked.
    pub fn is_empty(&self) -> bool {
        self.by_issuer.values().all(HashSet::is_empty)
    }
}

/// What tells whether a certificate is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// For one that a root issued, [`RevokedSerials`].
    Serial,
    /// The chain, against the CRLs.
    Chain,
}

/// Checks that each CA has a CRL and signed every CRL that bears its name. A serial is enough to look up if each CA
/// signed one itself and none is for a part of its certificates only.
pub(crate) fn check_signed(
    crls: &[CertificateRevocationListDer<'_>],
    cas: &[CertificateDer<'_>],
) -> Result<Lookup, RevocationFault> {
    let crls: Vec<_> = crls.iter().map(|der| parse_crl(der)).collect::<Result<_, _>>()?;
    let cas: Vec<_> = cas.iter().map(|der| parse_ca(der)).collect::<Result<_, _>>()?;
    let mut lookup = match crls.iter().all(is_plain) {
        true => Lookup::Serial,
        false => Lookup::Chain,
    };
    for ca in &cas {
        let name = ca.subject().to_string();
        let of_name = || {
            let subject = ca.subject().as_raw();
            crls.iter().filter(move |crl| crl.issuer().as_raw() == subject)
        };
        let mut its = of_name().peekable();
        if its.peek().is_none() {
            return Err(RevocationFault::NoCrlOf(name));
        }
        // Two CAs of one name (a renewed key): a CRL may be the other's.
        let twins = || {
            cas.iter()
                .filter(|other| other.subject().as_raw() == ca.subject().as_raw())
        };
        if its.any(|crl| !twins().any(|twin| crl.verify_signature(twin.public_key()).is_ok())) {
            return Err(RevocationFault::Signature(name));
        }
        if !of_name().any(|crl| crl.verify_signature(ca.public_key()).is_ok()) {
            lookup = Lookup::Chain;
        }
    }
    Ok(lookup)
}

/// Whether a CRL has no extensions but those that change nothing of what it covers.
fn is_plain(crl: &CertificateRevocationList<'_>) -> bool {
    let known = [OID_X509_EXT_CRL_NUMBER, OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER];
    crl.extensions()
        .iter()
        .all(|extension| known.contains(&extension.oid))
}

pub(crate) fn parse_crl(der: &[u8]) -> Result<CertificateRevocationList<'_>, RevocationFault> {
    match CertificateRevocationList::from_der(der) {
        Ok((&[], crl)) => Ok(crl),
        _ => Err(RevocationFault::NotCrl),
    }
}

fn parse_ca(der: &[u8]) -> Result<X509Certificate<'_>, RevocationFault> {
    match X509Certificate::from_der(der) {
        Ok((&[], ca)) => Ok(ca),
        _ => Err(RevocationFault::NotCa),
    }
}

/// One line of a CRL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Revoked {
    pub(crate) serial: Serial,
    pub(crate) at: Timestamp,
}

/// What the next CRL of an authority goes on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CrlState {
    pub(crate) revoked: Vec<Revoked>,
    /// The number of the next CRL, big endian.
    pub(crate) next_number: Vec<u8>,
}

impl CrlState {
    /// Before the first CRL.
    pub(crate) fn new() -> Self {
        CrlState {
            revoked: Vec::new(),
            next_number: vec![1],
        }
    }

    /// After a CRL.
    pub(crate) fn after(crl: &CertificateRevocationList<'_>) -> Result<Self, RevocationFault> {
        let revoked = crl.iter_revoked_certificates().map(|entry| {
            let serial = Serial::from_bytes(entry.raw_serial()).map_err(|_| RevocationFault::NotCrl)?;
            Ok(Revoked {
                serial,
                at: timestamp(entry.revocation_date),
            })
        });
        let next_number = crl
            .crl_number()
            .map_or_else(|| vec![1], |number| (number + 1_u32).to_bytes_be());
        Ok(CrlState {
            revoked: revoked.collect::<Result<_, _>>()?,
            next_number,
        })
    }

    /// Adds a serial, once.
    pub(crate) fn revoke(&mut self, serial: &Serial, at: Timestamp) {
        if !self.revoked.iter().any(|revoked| revoked.serial == *serial) {
            self.revoked.push(Revoked {
                serial: serial.clone(),
                at,
            });
        }
    }
}
