//! The pushed configuration in a file beside the log's segments: `<wal.dir>/config`, replaced by rename. `BHCONF01`, the
//! CRC32C (u32) of the rest, the payload as it came.

use std::io;
use std::path::{Path, PathBuf};

use wire::limits::MAX_MESSAGE;

use crate::durable;

const MAGIC: &[u8; 8] = b"BHCONF01";

/// Largest file, bytes.
const MAX_FILE: u64 = (MAGIC.len() + 4 + MAX_MESSAGE) as u64;

/// Where it is kept.
#[derive(Debug, Clone)]
pub(crate) struct StoredConfig(PathBuf);

impl StoredConfig {
    /// The file in a log's folder.
    pub(crate) fn in_folder(folder: &Path) -> StoredConfig {
        StoredConfig(folder.join("config"))
    }

    /// The payload that is stored; `None` if there is no file, or it cannot be read, which is logged: the bridge pushes it
    /// again.
    pub(super) fn read(&self) -> Option<Vec<u8>> {
        let file = self.0.display();
        match durable::read(&self.0, MAX_FILE) {
            Ok(None) => None,
            Ok(Some(bytes)) => {
                let payload = decode(&bytes);
                if payload.is_none() {
                    tracing::warn!(%file, "the pushed configuration is damaged; it waits for the bridge");
                }
                payload
            }
            Err(error) => {
                tracing::warn!(%file, %error, "cannot read the pushed configuration");
                None
            }
        }
    }

    /// Replaces it, durably.
    pub(super) fn write(&self, payload: &[u8]) -> io::Result<()> {
        let crc = crc32c::crc32c(payload).to_le_bytes();
        durable::replace(&self.0, &[&MAGIC[..], &crc, payload].concat())
    }
}

fn decode(bytes: &[u8]) -> Option<Vec<u8>> {
    let (crc, payload) = bytes.strip_prefix(MAGIC)?.split_at_checked(4)?;
    (crc32c::crc32c(payload).to_le_bytes() == crc).then(|| payload.to_vec())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_payload_is_read_as_it_was_written_and_a_damaged_one_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let stored = StoredConfig::in_folder(dir.path());
        assert_eq!(stored.read(), None);
        stored.write(b"first").unwrap();
        stored.write(b"second").unwrap();
        assert_eq!(stored.read().as_deref(), Some(&b"second"[..]));
        let path = dir.path().join("config");
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 4;
            fs::write(&path, &damaged).unwrap();
            assert_eq!(stored.read(), None, "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(stored.read(), None, "cut at {at}");
        }
    }
}
