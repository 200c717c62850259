//! Reading of files below /proc and /sys, or below a test's folder.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::CollectError;

/// No file that a collector reads is larger; bounds what a strange mount could make it read, bytes.
const MAX_FILE: u64 = 4 << 20;

/// The folder that holds `proc` and `sys`.
#[derive(Debug, Clone)]
pub(super) struct Root(PathBuf);

impl Root {
    pub(super) fn new(path: PathBuf) -> Self {
        Root(path)
    }

    /// The path of `proc/...` or `sys/...`.
    pub(super) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.0.join(relative)
    }

    /// A file's text; bytes that are not UTF-8 are replaced.
    pub(super) fn read(&self, relative: impl AsRef<Path>) -> Result<String, CollectError> {
        let path = self.path(relative);
        read_bounded(&path).map_err(|cause| CollectError::Read { path, cause })
    }

    /// A file's text without blanks around it; None if it cannot be read, as is common in /sys.
    pub(super) fn attribute(&self, relative: impl AsRef<Path>) -> Option<String> {
        self.read(relative).ok().map(|text| text.trim().to_owned())
    }

    /// Names of a folder's entries, sorted.
    pub(super) fn list(&self, relative: impl AsRef<Path>) -> Result<Vec<String>, CollectError> {
        let path = self.path(relative);
        let names = || {
            let entries = std::fs::read_dir(&path)?;
            let mut names = Vec::new();
            for entry in entries {
                names.push(entry?.file_name().to_string_lossy().into_owned());
            }
            names.sort_unstable();
            Ok(names)
        };
        names().map_err(|cause| CollectError::Read {
            path: path.clone(),
            cause,
        })
    }
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}
