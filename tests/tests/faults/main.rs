//! Faults over real processes: whatever fails, the equation holds and no sample is lost, doubled or altered unsaid.
//!
//! Each site has a seed of its own, the printed one plus its number; rounds and sites: see `tests::settings`.

#![cfg(test)]

mod audit;
mod fault;
mod mount;
mod world;

use std::thread;

use tests::settings::{number, seed};
use world::World;

#[test]
fn random_faults_lose_and_double_nothing() {
    let rounds: u32 = number("BACKHAUL_FAULT_ROUNDS", 12);
    let sites: u32 = number("BACKHAUL_FAULT_SITES", 2);
    let seed = seed();
    println!("BACKHAUL_SEED={seed} BACKHAUL_FAULT_ROUNDS={rounds} BACKHAUL_FAULT_SITES={sites}");
    let threads: Vec<_> = (0..sites)
        .map(|site| {
            let seed = seed.wrapping_add(u64::from(site));
            thread::spawn(move || World::new(site, seed).run(rounds.div_ceil(sites)))
        })
        .collect();
    let failed = threads
        .into_iter()
        .map(thread::JoinHandle::join)
        .filter(Result::is_err)
        .count();
    assert_eq!(failed, 0, "sites that failed; each says why above");
}
