//! The real promtool.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The version that ours is compared with; older ones print otherwise and read older templates.
const VERSION: &str = "version 3.5.";

/// Where it is: `PROMTOOL`, `BACKHAUL_PEERS_DIR`, then `PATH`; prints why nothing is compared if it is nowhere.
pub(crate) fn promtool() -> Option<PathBuf> {
    let named = std::env::var_os("PROMTOOL").map(PathBuf::from);
    let peers = std::env::var_os("BACKHAUL_PEERS_DIR");
    let in_peers = peers.map(|folder| Path::new(&folder).join("usr/bin/promtool"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|folder| folder.join("promtool"));
    let candidates: Vec<PathBuf> = match named {
        Some(named) => vec![named],
        None => in_peers.into_iter().chain(in_path).collect(),
    };
    let found = candidates.into_iter().find(|path| is_right(path));
    if found.is_none() {
        println!("not compared: no promtool of {VERSION}x in PROMTOOL, BACKHAUL_PEERS_DIR/usr/bin or PATH");
    }
    found
}

fn is_right(program: &Path) -> bool {
    let told = Command::new(program).arg("--version").output();
    told.is_ok_and(|told| String::from_utf8_lossy(&[told.stdout, told.stderr].concat()).contains(VERSION))
}
