//! Certificate signing requests: a device makes its own key, and the authority certifies it.
//!
//! The request's signature proves that the requester holds the key. Its names must agree with the identity that is
//! to be certified; a request that asks for any other name is refused rather than silently cut down. Extensions that
//! it asks for are ignored: the authority decides about usages.

use rcgen::SubjectPublicKeyInfo;
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use wire::identity::IdentityError;
use wire::name::NameError;
use wire::{DeviceName, Identity, Role};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use crate::peer::only;

/// Why a request is not certified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestFault {
    /// Neither PEM nor DER of a request.
    #[error("not a certificate signing request")]
    NotRequest,
    /// Signed by another key than the one in it.
    #[error("the request is not signed by the key in it")]
    Signature,
    /// A key of a kind that TLS here does not take.
    #[error("the request's key is of an unsupported kind; use ECDSA P-256")]
    Key,
    /// No CN, and no name was given.
    #[error("the request has no single CN <tenant>.<id>; give a name")]
    NoName,
    /// The CN is no name.
    #[error("the request's CN: {0}")]
    Name(#[from] NameError),
    /// The name cannot have this role.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The request asks for another name.
    #[error("the request asks for {found:?}, but is to be certified as {expected:?}")]
    OtherName {
        /// What it would be certified as.
        expected: String,
        /// What it asks for.
        found: String,
    },
}

/// A request whose signature is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningRequest {
    public_key: SubjectPublicKeyInfo,
    common_name: Option<String>,
    organization: Option<String>,
    alternative_names: Vec<String>,
}

impl SigningRequest {
    /// Reads a request in PEM or DER and checks its signature.
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestFault> {
        let from_pem = CertificateSigningRequestDer::from_pem_slice(bytes);
        let der = from_pem.as_ref().map_or(bytes, |der| der.as_ref());
        let Ok((&[], request)) = X509CertificationRequest::from_der(der) else {
            return Err(RequestFault::NotRequest);
        };
        request.verify_signature().map_err(|_| RequestFault::Signature)?;
        let info = &request.certification_request_info;
        let public_key =
            SubjectPublicKeyInfo::from_der(info.subject_pki.raw).map_err(|_| RequestFault::Key)?;
        let extensions = request.requested_extensions().into_iter().flatten();
        let names = extensions.filter_map(|extension| match extension {
            ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
            _ => None,
        });
        Ok(SigningRequest {
            public_key,
            common_name: only(info.subject.iter_common_name()),
            organization: only(info.subject.iter_organization()),
            alternative_names: names.flatten().map(text_of).collect(),
        })
    }

    /// The identity to certify: `name`, or the request's CN if none is given, in a role that the caller chose.
    pub fn identity(&self, role: Role, name: Option<&DeviceName>) -> Result<Identity, RequestFault> {
        let name = match (name, &self.common_name) {
            (Some(name), _) => name.clone(),
            (None, Some(cn)) => cn.parse()?,
            (None, None) => return Err(RequestFault::NoName),
        };
        let identity = Identity::new(role, name.tenant().clone(), name.device().clone())?;
        agree(self.common_name.as_ref(), name.to_string())?;
        agree(self.organization.as_ref(), name.tenant().to_string())?;
        self.alternative_names
            .iter()
            .try_for_each(|found| agree(Some(found), identity.uri()))?;
        Ok(identity)
    }

    pub(crate) fn public_key(&self) -> &SubjectPublicKeyInfo {
        &self.public_key
    }
}

fn text_of(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::URI(uri) => (*uri).to_owned(),
        other => other.to_string().chars().take(128).collect(),
    }
}

fn agree(found: Option<&String>, expected: String) -> Result<(), RequestFault> {
    match found {
        Some(found) if *found != expected => Err(RequestFault::OtherName {
            expected,
            found: found.clone(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
