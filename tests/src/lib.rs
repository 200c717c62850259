//! The harness: real broker, bridge and agents as processes of a site in a temporary folder.
//!
//! The binaries of this crate are thin mains over the libraries, so that a test can kill and restart each part by itself.
//! What a test agent measures is a pure function of series and time ([`oracle`]), so that every sample that is read back
//! can be checked by itself.

pub mod api;
pub mod oracle;
pub mod part;
pub mod part_main;
pub mod site;

pub use api::Api;
pub use part::Part;
pub use site::Site;
