//! What goes into each kind of certificate.
//!
//! P-256, serials of 127 random bits, `notBefore` an hour back (a device's clock may be behind), no certificate
//! outlives its CA. Key usages are as narrow as TLS allows: only a broker's certificate serves, only the others are
//! clients, so that no device can pose as the broker.

use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::ServerName;
use wire::{Identity, Role, Timestamp};

use crate::serial::Serial;

/// How far before its making a certificate becomes valid.
const BACKDATE: Duration = Duration::from_secs(3600);

/// From when to when a certificate is valid, in whole seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Validity {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
}

impl Validity {
    pub(crate) fn of_days(days: u32, now: Timestamp) -> Self {
        let now = Timestamp::from_ms(now.ms().div_euclid(1000) * 1000);
        let length = Duration::from_secs(u64::from(days) * 86_400);
        Validity {
            from: now.minus(BACKDATE),
            to: now.plus(length),
        }
    }

    /// Ends no later than the issuer.
    pub(crate) fn until(self, end: Timestamp) -> Self {
        Validity {
            to: self.to.min(end),
            ..self
        }
    }
}

/// rcgen's times are those of the crate `time`; its one helper and an addition make them from ours.
macro_rules! rcgen_time {
    ($timestamp:expr) => {
        rcgen::date_time_ymd(1970, 1, 1)
            + std::time::Duration::from_secs(u64::try_from($timestamp.ms() / 1000).unwrap_or(0))
    };
}
pub(crate) use rcgen_time;

pub(crate) fn ca(name: &str, serial: &Serial, validity: Validity) -> CertificateParams {
    let mut params = base(serial, validity);
    params
        .distinguished_name
        .push(DnType::OrganizationName, "backhaul");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// A name that a server certificate cannot carry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a DNS name nor an IP address")]
pub struct ServerNameFault(pub String);

/// A certificate of an identity; `server_names` go into a broker's only.
pub(crate) fn leaf(
    identity: &Identity,
    server_names: &[String],
    serial: &Serial,
    validity: Validity,
) -> Result<CertificateParams, ServerNameFault> {
    let mut params = base(serial, validity);
    let name = identity.name();
    params
        .distinguished_name
        .push(DnType::OrganizationName, name.tenant().as_str());
    params
        .distinguished_name
        .push(DnType::CommonName, name.to_string());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let uri = identity.uri();
    params.subject_alt_names.push(SanType::URI(
        uri.as_str().try_into().map_err(|_| ServerNameFault(uri))?,
    ));
    if identity.role() == Role::Broker {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for name in server_names {
            params.subject_alt_names.push(server_name(name)?);
        }
    } else {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    }
    Ok(params)
}

fn base(serial: &Serial, validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
    params.not_before = rcgen_time!(validity.from);
    params.not_after = rcgen_time!(validity.to);
    params
}

fn server_name(name: &str) -> Result<SanType, ServerNameFault> {
    let fault = || ServerNameFault(name.to_owned());
    match ServerName::try_from(name).map_err(|_| fault())? {
        ServerName::IpAddress(ip) => Ok(SanType::IpAddress(IpAddr::from(ip))),
        ServerName::DnsName(dns) => Ok(SanType::DnsName(dns.as_ref().try_into().map_err(|_| fault())?)),
        _ => Err(fault()),
    }
}

/// The names under which a broker on this host is reached: `localhost`, the loopback addresses, the host name.
pub(crate) fn local_names() -> Vec<String> {
    let host = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok());
    let host = host.filter(|name| server_name(name).is_ok() && name != "localhost");
    ["localhost", "127.0.0.1", "::1"]
        .into_iter()
        .map(str::to_owned)
        .chain(host)
        .collect()
}
