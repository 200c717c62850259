//! The real promtool.

use std::path::{Path, PathBuf};

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
    let found = candidates.into_iter().find(|path| path.is_file());
    if found.is_none() {
        println!("not compared: no promtool in PROMTOOL, BACKHAUL_PEERS_DIR/usr/bin or PATH");
    }
    found
}
