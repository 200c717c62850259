//! The bridge as a whole: its HTTP API, and its life at a broker that is not ours.

mod foreign_broker;
mod http;
mod server;
