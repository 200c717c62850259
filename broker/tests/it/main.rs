//! The broker over real sockets and real TLS, a file per behaviour.

mod acl;
mod bridge;
mod certificates;
mod clients;
mod credit;
mod harness;
mod kills;
mod malformed;
mod operators;
mod path;
mod service;
