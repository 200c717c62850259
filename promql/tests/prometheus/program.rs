//! A program of Prometheus 3.5, to compare with.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The version that is followed; older ones answer and print otherwise.
const VERSION: &str = "version 3.5.";

/// Where a program of that version is: at the path that an environment variable names, in `BACKHAUL_PEERS_DIR`, then in
/// `PATH`; else why it is not used.
pub(crate) fn find(name: &str, variable: &str) -> Result<PathBuf, String> {
    let named = std::env::var_os(variable).map(PathBuf::from);
    let peers = std::env::var_os("BACKHAUL_PEERS_DIR");
    let in_peers = peers.map(|folder| Path::new(&folder).join("usr/bin").join(name));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|folder| folder.join(name));
    let candidates: Vec<PathBuf> = match named {
        Some(named) => vec![named],
        None => in_peers.into_iter().chain(in_path).collect(),
    };
    candidates
        .into_iter()
        .find(|path| is_right(path))
        .ok_or_else(|| format!("no {name} of {VERSION}x in {variable}, BACKHAUL_PEERS_DIR/usr/bin or PATH"))
}

fn is_right(program: &Path) -> bool {
    let told = Command::new(program).arg("--version").output();
    told.is_ok_and(|told| String::from_utf8_lossy(&[told.stdout, told.stderr].concat()).contains(VERSION))
}
