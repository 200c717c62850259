//! Whether each series of a tenant's devices is in the one partition that the hashrings send it to, and so in no other.
//!
//! That is looked at once per tenant, at its first large query, and holds on: series come only where the rings of now
//! send them. Once the rings changed in this process, rows on their way by the old ones may come late, so then it holds for
//! nobody until the next start.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use wire::Tenant;
use wire::labels::RingHasher;

use super::Heads;

/// What is known of tenants.
#[derive(Debug, Default)]
pub(super) struct Homes(Mutex<HashMap<Tenant, bool>>);

impl Heads {
    /// Whether no series of a tenant's devices is in two partitions. False also if that cannot be told.
    pub(super) fn are_at_home(&self, tenant: &Tenant) -> bool {
        if self.rings.changes() > 0 {
            return false;
        }
        let known = |homes: &Homes| {
            let homes = homes.0.lock().unwrap_or_else(PoisonError::into_inner);
            homes.get(tenant).copied()
        };
        if let Some(known) = known(&self.homes) {
            return known;
        }
        let all = self.look_for_homes(tenant);
        let mut homes = self.homes.0.lock().unwrap_or_else(PoisonError::into_inner);
        homes.insert(tenant.clone(), all);
        all
    }

    fn look_for_homes(&self, tenant: &Tenant) -> bool {
        let routing = self.rings.current();
        let route = routing.of(tenant);
        let mut hasher = RingHasher::new(tenant);
        // Series are placed by their labels before the ring adds its own.
        let results = self.rings.results();
        let mut partitions = (0..self.rings.count()).filter(|partition| Some(*partition) != results);
        !route.has_external_labels()
            && partitions.all(|partition| {
                let locked = self.read(partition);
                let head = locked.tenants.get(tenant);
                head.is_none_or(|head| {
                    let registry = head.registry();
                    let mut home = |series| route.place(hasher.hash(registry.texts(series)));
                    registry.all().iter().all(|series| home(series) == partition)
                })
            })
    }
}
