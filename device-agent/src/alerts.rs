//! Alerts of this device: taken in, each change of one logged once, ended when nobody asserts them any more.
//!
//! Sources (a local Prometheus that names the agent as its Alertmanager, and the agent's own rules) assert a firing alert
//! again and again, each time with the time at which it ends unless it is asserted once more. `book` knows what was last
//! logged of each alert and turns that into few records; `file` keeps the book over restarts; `desk` ties them to the
//! log; `api` is the HTTP side. From the log on, an alert is the bridge's: it re-asserts and resolves it in the fleet.

pub(crate) mod api;
mod book;
mod desk;
mod file;
pub(crate) mod listing;
mod posted;

pub(crate) use api::AlertApi;
pub(crate) use desk::{Desk, DeskHandle, DeskMetrics};
pub(crate) use posted::Draft;
