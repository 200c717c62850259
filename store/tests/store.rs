//! The store as its callers use it, on real folders.

#[path = "store/crash.rs"]
mod crash;
#[path = "store/delivery.rs"]
mod delivery;
#[path = "store/device.rs"]
mod device;
#[path = "store/ledger.rs"]
mod ledger;
#[path = "store/model.rs"]
mod model;
#[path = "store/query.rs"]
mod query;
