//! What is pending and firing in a file beside the log's segments: `<wal.dir>/rules`, replaced by rename.
//! `BHRULE01`, the CRC32C (u32) of the rest, a prost message with a group's state each, as the crate `rules` writes it.
//!
//! It is written when an alert comes, goes or changes its state, and now and then, as it also says when rules last ran.
//! Without it, or with a damaged one, alerts begin to be pending anew; what fires is still known to the desk.

use std::io;
use std::path::{Path, PathBuf};

use prost::Message;

use crate::durable;

const MAGIC: &[u8; 8] = b"BHRULE01";

/// Larger files are none of ours, bytes.
const MAX_FILE: u64 = 16 << 20;

#[derive(Clone, PartialEq, Message)]
struct Stored {
    #[prost(bytes = "vec", repeated, tag = "1")]
    groups: Vec<Vec<u8>>,
}

/// Where states are kept.
#[derive(Debug, Clone)]
pub(crate) struct StateFile(PathBuf);

impl StateFile {
    /// The file in a log's folder.
    pub(crate) fn in_folder(folder: &Path) -> StateFile {
        StateFile(folder.join("rules"))
    }

    /// The states that are stored; none if there is no file, or it cannot be read, which is logged.
    pub(super) fn read(&self) -> Vec<Vec<u8>> {
        match durable::read(&self.0, MAX_FILE) {
            Ok(None) => return Vec::new(),
            Ok(Some(bytes)) => {
                if let Some(groups) = decode(&bytes) {
                    return groups;
                }
                tracing::warn!(file = %self.0.display(), "the rules' state is damaged; alerts are pending anew");
            }
            Err(error) => tracing::warn!(file = %self.0.display(), %error, "cannot read the rules' state"),
        }
        Vec::new()
    }

    /// Replaces the file, durably.
    pub(super) fn write(&self, groups: Vec<Vec<u8>>) -> io::Result<()> {
        let body = Stored { groups }.encode_to_vec();
        let crc = crc32c::crc32c(&body).to_le_bytes();
        durable::replace(&self.0, &[&MAGIC[..], &crc, &body].concat())
    }
}

fn decode(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (crc, body) = bytes.strip_prefix(MAGIC)?.split_at_checked(4)?;
    let intact = crc32c::crc32c(body).to_le_bytes() == crc;
    let stored = intact.then(|| Stored::decode(body).ok()).flatten()?;
    Some(stored.groups)
}
