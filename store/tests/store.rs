//! The store as its callers use it, on real folders.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "store/batches.rs"]
mod batches;
#[path = "store/busy.rs"]
mod busy;
#[path = "store/copies.rs"]
mod copies;
#[path = "store/crash.rs"]
mod crash;
#[path = "store/damage.rs"]
mod damage;
#[path = "store/delivery.rs"]
mod delivery;
#[path = "store/device.rs"]
mod device;
#[path = "store/ledger.rs"]
mod ledger;
#[path = "store/maintain.rs"]
mod maintain;
#[path = "store/metadata.rs"]
mod metadata;
#[path = "store/model.rs"]
mod model;
#[path = "store/quarantine.rs"]
mod quarantine;
#[path = "store/query.rs"]
mod query;
#[path = "store/results.rs"]
mod results;
#[path = "store/rings.rs"]
mod rings;
#[path = "store/rollover.rs"]
mod rollover;
#[path = "store/tail.rs"]
mod tail;
