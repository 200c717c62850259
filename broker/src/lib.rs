//! The MQTT front: mutual TLS, identity, access rules and credit, around rumqttd's router.
//!
//! [`run()`] owns everything: it accepts connections, keeps a table of the devices and bridges that are connected, and
//! passes what devices send to the bridge in one ordered stream per device. Nothing of a device touches the router,
//! which serves operators only and gets copies of states; when it dies it is started again.
//!
//! Invariants: who a peer is comes from its certificate and from nowhere else; a message is checked against the rules
//! of its sender's role before anything else sees it; every queue is bounded, and whatever is dropped or cut off is
//! counted with its reason.

mod accept;
mod acl;
mod config;
mod conn;
mod connection;
mod fault;
mod frame;
mod front;
mod http;
mod hub;
mod metrics;
mod packet;
mod quiet;
mod router;
mod run;
mod session;
mod tls;
mod window;

pub use config::{Config, Limits, Listeners, ReloadSignal};
pub use run::{BrokerError, run};
