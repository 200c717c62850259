//! The folder DIR that demo, serve, broker and bridge share: `certs/`, `data/`, `agents/` and `run/`.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use certs::{CertsFolder, InitOptions};
use wire::Timestamp;

/// The longest path that a Unix socket is given, bytes (sun_path holds 108).
const MAX_SOCKET_PATH: usize = 100;

/// DIR.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    path: PathBuf,
}

/// The folder of the bridge's socket, removed with its content when dropped if it had to be a temporary one.
#[derive(Debug)]
pub(crate) struct SocketFolder {
    path: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl SocketFolder {
    /// Where the socket is.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path.join("bridge.sock")
    }
}

/// Now, by the system's clock.
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl Folder {
    /// Takes a path; nothing is made yet.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Folder { path: path.into() }
    }

    /// Certificates.
    pub(crate) fn certs(&self) -> PathBuf {
        self.path.join("certs")
    }

    /// The store.
    pub(crate) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// WALs of a demo's agents.
    pub(crate) fn agents(&self) -> PathBuf {
        self.path.join("agents")
    }

    /// Makes certificates if there are none; says whether it did.
    pub(crate) fn ensure_certs(&self) -> Result<bool> {
        let folder = CertsFolder::new(self.certs());
        if folder.has_ca() {
            return Ok(false);
        }
        folder
            .init(&InitOptions::default(), now())
            .with_context(|| format!("cannot make certificates in {}", self.certs().display()))?;
        Ok(true)
    }

    /// Makes the folder of the bridge's socket, mode 0700: DIR/run, or a short temporary one if that path is too long.
    pub(crate) fn socket_folder(&self) -> Result<SocketFolder> {
        let run = std::path::absolute(self.path.join("run"))?;
        if run.join("bridge.sock").as_os_str().len() <= MAX_SOCKET_PATH {
            make_private(&run)?;
            return Ok(SocketFolder {
                path: run,
                _temporary: None,
            });
        }
        let temporary = tempfile::Builder::new()
            .prefix("backhaul-")
            .tempdir()
            .context("no temporary folder")?;
        fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o700))?;
        Ok(SocketFolder {
            path: temporary.path().to_owned(),
            _temporary: Some(temporary),
        })
    }
}

fn make_private(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o700)))
        .with_context(|| format!("cannot make {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_too_deep_for_a_socket_gets_a_short_one() {
        let dir = tempfile::tempdir().unwrap();
        let near = Folder::new(dir.path()).socket_folder().unwrap();
        assert!(near.socket().starts_with(dir.path()));
        let far = Folder::new(dir.path().join("x".repeat(120)))
            .socket_folder()
            .unwrap();
        assert!(far.socket().as_os_str().len() <= MAX_SOCKET_PATH);
        for folder in [near, far] {
            assert_eq!(
                fs::metadata(&folder.path).unwrap().permissions().mode() & 0o777,
                0o700
            );
        }
    }
}
