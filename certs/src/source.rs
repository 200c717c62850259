//! TLS files watched for changes.
//!
//! The caller polls (or is told by SIGHUP) and swaps what [`ServerTlsSource`] hands out; a file that is broken keeps
//! the old configuration, and is reported once, not at every poll. A change is seen by inode, size and time, so a
//! file that is replaced by rename with equal length in the same second counts.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::server::{ServerFiles, ServerOptions, ServerTls, TlsError};

/// What a poll found.
#[derive(Debug)]
pub enum Reload {
    /// The files are those of the last attempt.
    Unchanged,
    /// The files changed and are good: use this from now on, and cut the sessions that it revokes.
    Replaced(Box<ServerTls>),
    /// The files changed and are not good: keep what is in use.
    Broken(TlsError),
}

/// The files of a server, and what they looked like when they were last read.
#[derive(Debug)]
pub struct ServerTlsSource {
    files: ServerFiles,
    options: ServerOptions,
    seen: Vec<Stamp>,
}

/// What tells one version of a file from another; `None`: no file.
type Stamp = Option<(u64, u64, i64, i64)>;

impl ServerTlsSource {
    /// Loads the files for the first time.
    pub fn open(files: ServerFiles, options: ServerOptions) -> Result<(Self, ServerTls), TlsError> {
        // Looked at before the files are read: a change in between is found by the next poll.
        let seen = stamps(&files);
        let tls = ServerTls::load(&files, &options)?;
        Ok((ServerTlsSource { files, options, seen }, tls))
    }

    /// Looks at the files (four calls of stat), and reads them if any changed.
    pub fn poll(&mut self) -> Reload {
        if stamps(&self.files) == self.seen {
            Reload::Unchanged
        } else {
            self.reload()
        }
    }

    /// Reads the files whether they changed or not.
    pub fn reload(&mut self) -> Reload {
        self.seen = stamps(&self.files);
        match ServerTls::load(&self.files, &self.options) {
            Ok(tls) => Reload::Replaced(Box::new(tls)),
            Err(e) => Reload::Broken(e),
        }
    }
}

fn stamps(files: &ServerFiles) -> Vec<Stamp> {
    let paths = [&files.ca, &files.cert, &files.key].into_iter().chain(&files.crl);
    paths.map(|path| stamp(path)).collect()
}

fn stamp(path: &Path) -> Stamp {
    let meta = fs::metadata(path).ok()?;
    Some((meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}
