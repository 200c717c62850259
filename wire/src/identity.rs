//! Who a peer is: a role and a name, as its certificate says.
//!
//! The URI SAN `spiffe://backhaul/<tenant>/<role>/<id>` carries all three parts; the CN carries `<tenant>.<id>`, which is
//! also the MQTT client id. Broker and bridge compare both against what a peer does. docs/identity.md has the argument.

use std::fmt;

use crate::name::{DeviceId, DeviceName, NameError, Tenant};

/// What a peer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The server certificate of a broker.
    Broker,
    /// Consumes up channels and publishes down channels, of its tenant or (tenant `_backhaul`) of all.
    Bridge,
    /// Publishes its own up channels, hears its own down channels.
    Device,
    /// A person or tool: other MQTT topics, and what the router shows of states.
    Operator,
    /// Passes on other devices' messages.
    Relay,
}

impl Role {
    /// The role as the URI SAN spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Broker => "broker",
            Role::Bridge => "bridge",
            Role::Device => "device",
            Role::Operator => "operator",
            Role::Relay => "relay",
        }
    }

    fn from_text(text: &str) -> Option<Role> {
        [
            Role::Broker,
            Role::Bridge,
            Role::Device,
            Role::Operator,
            Role::Relay,
        ]
        .into_iter()
        .find(|r| r.as_str() == text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A role and a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    role: Role,
    name: DeviceName,
}

/// Why a URI is no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Another scheme, trust domain or shape.
    #[error("an identity is spiffe://backhaul/<tenant>/<role>/<id>, not {0:?}")]
    Shape(String),
    /// The middle part is no role.
    #[error("{0:?} is no role; roles are broker, bridge, device, operator, relay")]
    Role(String),
    /// A part is no id.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A device or relay in a tenant that starts with `_`.
    #[error("tenant {0} belongs to backhaul's own parts; no device may carry it")]
    OwnTenant(Tenant),
}

impl Identity {
    /// Puts role and name together; devices and relays may not carry a tenant of backhaul's own.
    pub fn new(role: Role, tenant: Tenant, id: DeviceId) -> Result<Self, IdentityError> {
        if tenant.is_own() && matches!(role, Role::Device | Role::Relay) {
            return Err(IdentityError::OwnTenant(tenant));
        }
        Ok(Identity {
            role,
            name: DeviceName::new(tenant, id),
        })
    }

    /// Parses `spiffe://backhaul/<tenant>/<role>/<id>`.
    pub fn from_uri(uri: &str) -> Result<Self, IdentityError> {
        let shape = || IdentityError::Shape(uri.chars().take(128).collect());
        let mut parts = uri
            .strip_prefix("spiffe://backhaul/")
            .ok_or_else(shape)?
            .split('/');
        let (Some(tenant), Some(role), Some(id), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(shape());
        };
        let role =
            Role::from_text(role).ok_or_else(|| IdentityError::Role(role.chars().take(32).collect()))?;
        Identity::new(role, Tenant::new(tenant)?, DeviceId::new(id)?)
    }

    /// The URI SAN.
    pub fn uri(&self) -> String {
        format!(
            "spiffe://backhaul/{}/{}/{}",
            self.name.tenant(),
            self.role,
            self.name.device()
        )
    }

    /// The role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// `<tenant>.<id>`: CN and MQTT client id.
    pub fn name(&self) -> &DeviceName {
        &self.name
    }

    /// Whether this peer may act for the tenant: its own, or any if its own is `_backhaul`.
    pub fn covers(&self, tenant: &Tenant) -> bool {
        self.name.tenant().as_str() == crate::name::OWN_TENANT || self.name.tenant() == tenant
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_its_uri() {
        let id = Identity::from_uri("spiffe://backhaul/acme/device/gw-1").unwrap();
        assert_eq!(
            (id.role(), id.name().to_string()),
            (Role::Device, "acme.gw-1".to_owned())
        );
        assert_eq!(id.uri(), "spiffe://backhaul/acme/device/gw-1");
    }

    #[test]
    fn a_device_of_our_own_tenant_is_refused() {
        assert!(Identity::from_uri("spiffe://backhaul/_backhaul/device/x").is_err());
        assert!(Identity::from_uri("spiffe://backhaul/_backhaul/bridge/x").is_ok());
        for bad in [
            "spiffe://other/a/device/x",
            "spiffe://backhaul/a/device",
            "spiffe://backhaul/a/root/x",
            "a",
            "",
        ] {
            assert!(Identity::from_uri(bad).is_err(), "{bad}");
        }
    }
}
