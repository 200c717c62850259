//! End-to-end tests over real processes; each file one behaviour.

#![cfg(test)]

mod absent_bridge;
mod alertmanagers;
mod device_alerts;
mod flapping_link;
mod fleet_alerts;
mod fleet_rules;
mod forward;
mod forward_results;
mod grafana;
mod hashrings;
mod identity;
mod kill;
mod mosquitto;
mod page;
mod promtool;
mod pushed_rules;
mod slow_link;
mod snapshot;
mod snapshot_alerts;
mod wiped;
