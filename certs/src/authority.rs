//! A certificate authority: a CA certificate and its key, in memory.
//!
//! It issues and signs; what was issued is written down by [`crate::CertsFolder`]. `simulate` and `demo` use this one
//! alone, for devices whose certificates need not outlive the process.

use std::path::Path;

use rcgen::{
    CertificateParams, CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, PublicKeyData,
    RevokedCertParams, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use wire::identity::IdentityError;
use wire::{DeviceName, Identity, Role, Timestamp};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;

use crate::files::{self, FileError, PemFault};
use crate::issue::{self, ServerNameFault, Validity, rcgen_time};
use crate::peer::timestamp;
use crate::request::SigningRequest;
use crate::revocation::CrlState;
use crate::serial::Serial;

/// How long a CA is valid: 20 years. Its key is on one machine and its certificate in every device.
pub const CA_DAYS: u32 = 20 * 365 + 5;
/// How long a device certificate is valid: 10 years. Most devices are never visited.
pub const DEVICE_DAYS: u32 = 10 * 365 + 3;
/// How long the certificate of a server, bridge or operator is valid: 2 years.
pub const PART_DAYS: u32 = 2 * 365;

/// Why an authority cannot be loaded or cannot issue.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is not the PEM it should be.
    #[error("{what}: {fault}")]
    Pem {
        /// `ca.crt` or `ca.key`.
        what: &'static str,
        /// What is wrong.
        fault: PemFault,
    },
    /// The key is of none of the CA certificates.
    #[error("ca.key belongs to none of the certificates in ca.crt")]
    KeyPair,
    /// The key is of an unsupported kind.
    #[error("ca.key: {0}; an ECDSA, Ed25519 or RSA key is needed, as from `openssl pkcs8 -topk8 -nocrypt`")]
    Key(rcgen::Error),
    /// Something could not be encoded or signed.
    #[error("{0}")]
    Crypto(#[from] rcgen::Error),
    /// No randomness.
    #[error("no random numbers: {0}")]
    Random(getrandom::Error),
    /// A server's name is none.
    #[error(transparent)]
    ServerName(#[from] ServerNameFault),
    /// The name cannot have this role.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// A certificate and its private key.
#[derive(Clone)]
pub struct IssuedPem {
    /// The certificate.
    pub cert_pem: String,
    /// The private key, PKCS#8.
    pub key_pem: String,
    /// The certificate's serial.
    pub serial: Serial,
    /// The certificate's last valid second.
    pub not_after: Timestamp,
}

impl std::fmt::Debug for IssuedPem {
    /// Leaves the key out: it must not reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedPem")
            .field("serial", &self.serial)
            .field("not_after", &self.not_after)
            .finish()
    }
}

/// A certificate for a key that the requester keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedPem {
    /// The certificate.
    pub cert_pem: String,
    /// Its serial.
    pub serial: Serial,
    /// Its last valid second.
    pub not_after: Timestamp,
}

/// A CA certificate and its key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    bundle_pem: String,
    subject: Box<[u8]>,
    key_id: KeyIdMethod,
    not_after: Timestamp,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a new CA. Its name ends in a random part: two CAs in one bundle must be told apart by name, for their
    /// CRLs are.
    pub fn create(days: u32, now: Timestamp) -> Result<Self, AuthorityError> {
        let serial = Serial::random().map_err(AuthorityError::Random)?;
        let name = format!("backhaul CA {}", &serial.to_string()[24..]);
        let params = issue::ca(&name, &serial, Validity::of_days(days, now));
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Authority::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes())
    }

    /// Loads `ca.crt` and `ca.key` of a certificates folder.
    pub fn load(certs: &Path) -> Result<Self, AuthorityError> {
        Authority::from_pem(
            &files::read(&certs.join("ca.crt"))?,
            &files::read(&certs.join("ca.key"))?,
        )
    }

    /// Takes the certificate of the bundle that the key belongs to.
    pub fn from_pem(bundle: &[u8], key: &[u8]) -> Result<Self, AuthorityError> {
        let cas = files::certificates(bundle).map_err(|fault| AuthorityError::Pem {
            what: "ca.crt",
            fault,
        })?;
        let key = files::private_key(key).map_err(|fault| AuthorityError::Pem {
            what: "ca.key",
            fault,
        })?;
        let key = KeyPair::try_from(&key).map_err(AuthorityError::Key)?;
        let spki = key.subject_public_key_info();
        for certificate in cas {
            let Ok((_, parsed)) = X509Certificate::from_der(&certificate) else {
                continue;
            };
            if parsed.public_key().raw != spki.as_slice() {
                continue;
            }
            let subject = parsed.subject().as_raw().into();
            let not_after = timestamp(parsed.validity().not_after);
            let key_id = key_id(&parsed);
            return Ok(Authority {
                issuer: Issuer::from_ca_cert_der(&certificate, key)?,
                bundle_pem: String::from_utf8_lossy(bundle).into_owned(),
                subject,
                key_id,
                not_after,
                certificate,
            });
        }
        Err(AuthorityError::KeyPair)
    }

    /// The CA bundle as it was loaded: what peers are to trust.
    pub fn ca_pem(&self) -> &str {
        &self.bundle_pem
    }

    /// The certificate that signs, DER.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Issues a device's certificate and key, valid for `days` from `now`.
    pub fn issue_device(
        &self,
        name: &DeviceName,
        days: u32,
        now: Timestamp,
    ) -> Result<IssuedPem, AuthorityError> {
        let identity = Identity::new(Role::Device, name.tenant().clone(), name.device().clone())?;
        self.issue(&identity, &[], days, now)
    }

    /// Issues the certificate and key of any identity. `server_names` (DNS names, IP addresses) go into a broker's.
    pub fn issue(
        &self,
        identity: &Identity,
        server_names: &[String],
        days: u32,
        now: Timestamp,
    ) -> Result<IssuedPem, AuthorityError> {
        let key = KeyPair::generate()?;
        let SignedPem {
            cert_pem,
            serial,
            not_after,
        } = self.certify(&key, identity, server_names, days, now)?;
        Ok(IssuedPem {
            cert_pem,
            key_pem: key.serialize_pem(),
            serial,
            not_after,
        })
    }

    /// Certifies a requester's own key. The identity is the caller's decision ([`SigningRequest::identity`]); nothing
    /// else of the request goes into the certificate.
    pub fn sign(
        &self,
        request: &SigningRequest,
        identity: &Identity,
        days: u32,
        now: Timestamp,
    ) -> Result<SignedPem, AuthorityError> {
        self.certify(request.public_key(), identity, &[], days, now)
    }

    fn certify(
        &self,
        key: &impl PublicKeyData,
        identity: &Identity,
        server_names: &[String],
        days: u32,
        now: Timestamp,
    ) -> Result<SignedPem, AuthorityError> {
        let serial = Serial::random().map_err(AuthorityError::Random)?;
        let validity = Validity::of_days(days, now).until(self.not_after);
        let params: CertificateParams = issue::leaf(identity, server_names, &serial, validity)?;
        let certificate = params.signed_by(key, &self.issuer)?;
        Ok(SignedPem {
            cert_pem: certificate.pem(),
            serial,
            not_after: validity.to,
        })
    }

    /// The issuer's name, DER: which CRL in a file is this authority's.
    pub(crate) fn subject(&self) -> &[u8] {
        &self.subject
    }

    /// The private key, PKCS#8 PEM.
    pub(crate) fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Signs a CRL. It never expires before the CA: brokers that enforce `nextUpdate` would refuse every device once
    /// the authority had slept past it.
    pub(crate) fn crl_pem(&self, state: &CrlState, now: Timestamp) -> Result<String, AuthorityError> {
        let revoked = state.revoked.iter().map(|revoked| RevokedCertParams {
            serial_number: SerialNumber::from_slice(revoked.serial.as_bytes()),
            revocation_time: rcgen_time!(revoked.at),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: rcgen_time!(now),
            next_update: rcgen_time!(self.not_after),
            crl_number: SerialNumber::from_slice(&state.next_number),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: self.key_id.clone(),
        };
        Ok(params.signed_by(&self.issuer)?.pem()?)
    }
}

/// The CA's own key identifier: OpenSSL does not take a CRL that names its issuer's key otherwise.
fn key_id(ca: &X509Certificate<'_>) -> KeyIdMethod {
    let mut ids = ca
        .iter_extensions()
        .filter_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(KeyIdMethod::PreSpecified(id.0.to_vec())),
            _ => None,
        });
    ids.next().unwrap_or(KeyIdMethod::Sha256)
}
