//! Reading PEM files, and replacing files so that a reader sees the old one or the new one, never a part.
//!
//! A file is written under a temporary name in the same folder, created with its final mode (a private key is 0600
//! from its first byte on), and renamed. Names of temporary files start with a dot and carry the process id.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

/// The largest file that is read here: a CRL of a hundred thousand serials is 4 MB.
const MAX_FILE: u64 = 64 << 20;

/// A file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}", path = path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// What is wrong with PEM text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PemFault {
    /// Broken armour or base64.
    #[error("not valid PEM")]
    Broken,
    /// No section of the wanted kind.
    #[error("no {0} in it")]
    Missing(&'static str),
}

pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> FileError {
    move |source| FileError {
        path: path.to_owned(),
        source,
    }
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let len = fs::metadata(path).map_err(at(path))?.len();
    if len > MAX_FILE {
        let source = io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("{len} bytes; at most {MAX_FILE} are read"),
        );
        return Err(FileError {
            path: path.to_owned(),
            source,
        });
    }
    fs::read(path).map_err(at(path))
}

/// All certificates in a PEM text, at least one.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemFault> {
    sections(pem, "certificate")
}

/// All CRLs in a PEM text, at least one.
pub(crate) fn crls(pem: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, PemFault> {
    sections(pem, "CRL")
}

/// The first private key in a PEM text.
pub(crate) fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, PemFault> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|e| match e {
        rustls_pki_types::pem::Error::NoItemsFound => PemFault::Missing("private key"),
        _ => PemFault::Broken,
    })
}

fn sections<T: PemObject>(pem: &[u8], what: &'static str) -> Result<Vec<T>, PemFault> {
    let all: Vec<T> = T::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| PemFault::Broken)?;
    if all.is_empty() {
        Err(PemFault::Missing(what))
    } else {
        Ok(all)
    }
}

/// What a file holds, which decides its mode and how hard it is pressed to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Mode 0600.
    Secret,
    /// Mode 0644 (less the umask).
    Public,
}

/// Replaces a file and makes its content durable before the rename.
pub(crate) fn replace_durably(path: &Path, kind: Kind, content: &[u8]) -> Result<(), FileError> {
    put(path, kind, content, true)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|f| f.sync_all()).map_err(at(folder))
}

/// Replaces a file; a power cut may lose it. For what can be issued again.
pub(crate) fn replace(path: &Path, kind: Kind, content: &[u8]) -> Result<(), FileError> {
    put(path, kind, content, false)
}

fn put(path: &Path, kind: Kind, content: &[u8], durable: bool) -> Result<(), FileError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = write_new(&temporary, kind, content, durable).and_then(|()| fs::rename(&temporary, path));
    written.map_err(|source| {
        // The rename's or write's error is the one to report; what is left is a dot file that the next attempt clears.
        let _ = fs::remove_file(&temporary);
        FileError {
            path: path.to_owned(),
            source,
        }
    })
}

fn write_new(path: &Path, kind: Kind, content: &[u8], durable: bool) -> io::Result<()> {
    let mode = match kind {
        Kind::Secret => 0o600,
        Kind::Public => 0o644,
    };
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    // `create_new`: a link or file that someone else put here is an error, not a target.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(content)?;
    if durable { file.sync_all() } else { Ok(()) }
}
