//! Names of tenants and devices.
//!
//! One name everywhere: `<tenant>.<device>` is a certificate's CN, the MQTT client id and one topic level. Both parts
//! are of `[A-Za-z0-9_-]`, the tenant 1-24 bytes, the device 1-39 (a CN holds 64 bytes; a UUID fits), so a name needs no
//! escaping in a topic, a path or a label. Tenants that start with `_` belong to backhaul's own parts.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The tenant of backhaul's own parts: a bridge or operator with this tenant serves every tenant.
pub const OWN_TENANT: &str = "_backhaul";

/// The longest tenant id, bytes.
pub const MAX_TENANT_LEN: usize = 24;

/// The longest device id, bytes.
pub const MAX_DEVICE_LEN: usize = 39;

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty, or longer than the limit.
    #[error("{what} must have 1 to {max} characters, not {len}")]
    Length {
        /// Which part.
        what: &'static str,
        /// The limit, bytes.
        max: usize,
        /// What it had, bytes.
        len: usize,
    },
    /// A character outside `[A-Za-z0-9_-]`.
    #[error("{what} may hold only letters, digits, '_' and '-'; found {found:?}")]
    Character {
        /// Which part.
        what: &'static str,
        /// The first offender.
        found: char,
    },
    /// `<tenant>.<device>` without its dot.
    #[error("a device's name is <tenant>.<device>; there is no dot in it")]
    NoDot,
}

fn check(what: &'static str, max: usize, text: &str) -> Result<(), NameError> {
    if text.is_empty() || text.len() > max {
        return Err(NameError::Length {
            what,
            max,
            len: text.len(),
        });
    }
    match text
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || *c == '_' || *c == '-'))
    {
        Some(found) => Err(NameError::Character { what, found }),
        None => Ok(()),
    }
}

macro_rules! part {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text's length and characters.
            pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
                check($what, $max, text.as_ref())?;
                Ok($name(text.as_ref().into()))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                $name::new(text)
            }
        }
    };
}

part!(
    /// A tenant's id.
    Tenant,
    "a tenant id",
    MAX_TENANT_LEN
);
part!(
    /// A device's id within its tenant; also the id of a relay, bridge or operator.
    DeviceId,
    "a device id",
    MAX_DEVICE_LEN
);

impl Tenant {
    /// Whether the tenant is one of backhaul's own (starts with `_`), which no device may carry.
    pub fn is_own(&self) -> bool {
        self.0.starts_with('_')
    }
}

/// `<tenant>.<device>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceName {
    tenant: Tenant,
    device: DeviceId,
}

impl DeviceName {
    /// Puts the two parts together.
    pub fn new(tenant: Tenant, device: DeviceId) -> Self {
        DeviceName { tenant, device }
    }

    /// The tenant.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// The device's id within the tenant.
    pub fn device(&self) -> &DeviceId {
        &self.device
    }

    /// The shard that up topics carry: the low byte of XXH64 (seed 0) over `<tenant>.<device>`.
    pub fn shard(&self) -> u8 {
        (xxhash_rust::xxh64::xxh64(self.to_string().as_bytes(), 0) % 256) as u8
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.tenant, self.device)
    }
}

impl FromStr for DeviceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (tenant, device) = text.split_once('.').ok_or(NameError::NoDot)?;
        Ok(DeviceName {
            tenant: tenant.parse()?,
            device: device.parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_survives_its_text() {
        let name: DeviceName = "acme.gw-0042_a".parse().unwrap();
        assert_eq!(name.tenant().as_str(), "acme");
        assert_eq!(name.device().as_str(), "gw-0042_a");
        assert_eq!(name.to_string(), "acme.gw-0042_a");
    }

    #[test]
    fn what_would_need_escaping_is_refused() {
        for bad in [
            "acme", "a.b.c", ".b", "a.", "a/x.b", "a.b+", "a.#", "é.b", "a.b c", "$sys.b",
        ] {
            assert!(bad.parse::<DeviceName>().is_err(), "{bad}");
        }
        assert!(Tenant::new("a".repeat(25)).is_err());
        assert!(DeviceId::new("a".repeat(39)).is_ok());
        assert!(DeviceId::new("a".repeat(40)).is_err());
    }
}
