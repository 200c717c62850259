//! backhaul's vocabulary and codecs.
//!
//! Everything that a device, the broker and the bridge say to one another is defined here once: names and ids,
//! labels, topics, payloads and their limits. The crate has no tokio, no sockets and no clock; every decoder takes
//! bytes from outside and checks each size before it allocates. docs/wire.md describes the formats.

pub mod ack;
pub mod alert;
pub mod batch;
pub mod config;
pub mod dict;
pub mod identity;
pub mod labels;
pub mod limits;
pub mod message;
pub mod name;
pub mod number;
pub mod payload;
pub mod seqs;
mod shape;
pub mod state;
pub mod time;
pub mod topic;
pub mod units;
pub mod varint;

pub use identity::{Identity, Role};
pub use labels::Labels;
pub use name::{DeviceId, DeviceName, Tenant};
pub use number::{BootId, BridgeEpoch, Nonce, Seq, SessionId};
pub use seqs::SeqSet;
pub use time::Timestamp;
pub use topic::Topic;
