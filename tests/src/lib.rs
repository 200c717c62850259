//! The harness: real broker, bridge and agents as processes of a site in a temporary folder.
//!
//! The binaries of this crate are thin mains over the libraries, so that a test can kill and restart each part by itself.
//! What a test agent measures is a pure function of series and time ([`oracle`]), so that every sample that is read back
//! can be checked by itself ([`check`]); the network between the parts can be made as bad as needed ([`link`]).

pub mod api;
pub mod check;
pub mod link;
pub mod oracle;
pub mod part;
pub mod part_main;
pub mod plan;
pub mod remote;
pub mod settings;
pub mod site;
pub mod skew;

pub use api::Api;
pub use link::Link;
pub use part::Part;
pub use plan::{AgentPlan, AgentStatus, BridgePlan};
pub use remote::Remote;
pub use site::Site;
