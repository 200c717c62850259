//! Which tenants a request may name.

use wire::Tenant;

/// The tenant of a request that names none.
const DEFAULT_TENANT: &str = "default";

/// What a principal may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Access {
    /// Every tenant, and what concerns the whole site.
    All,
    /// These.
    Tenants(Vec<Tenant>),
}

impl Access {
    /// The default tenant only.
    pub(crate) fn least() -> Self {
        Access::Tenants(default_tenant().into_iter().collect())
    }

    /// Whether a tenant may be named.
    pub(crate) fn allows(&self, tenant: &Tenant) -> bool {
        match self {
            Access::All => true,
            Access::Tenants(some) => some.contains(tenant),
        }
    }

    /// The tenant of a request that names none: the default one, or the only one.
    pub(crate) fn unnamed(&self) -> Option<Tenant> {
        let default = default_tenant().filter(|tenant| self.allows(tenant));
        match self {
            Access::Tenants(some) if default.is_none() && some.len() == 1 => some.first().cloned(),
            _ => default,
        }
    }
}

fn default_tenant() -> Option<Tenant> {
    Tenant::new(DEFAULT_TENANT).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenants(names: &[&str]) -> Access {
        Access::Tenants(names.iter().map(|name| Tenant::new(*name).unwrap()).collect())
    }

    #[test]
    fn who_names_no_tenant_gets_the_default_or_the_only_one() {
        let name = |access: &Access| access.unnamed().map(|tenant| tenant.to_string());
        assert_eq!(name(&Access::All).as_deref(), Some("default"));
        assert_eq!(name(&Access::least()).as_deref(), Some("default"));
        assert_eq!(name(&tenants(&["acme"])).as_deref(), Some("acme"));
        assert_eq!(name(&tenants(&["acme", "default"])).as_deref(), Some("default"));
        assert_eq!(name(&tenants(&["acme", "other"])), None);
        assert!(!tenants(&["acme"]).allows(&Tenant::new("default").unwrap()));
    }
}
