//! Blocks that cannot be read any more: set aside, so that the rest serves.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use super::{Disk, Round};
use crate::block::BlockFile;
use crate::error::Damage;
use crate::journal::FileError;
use crate::store::Store;

impl Store {
    /// Looks at the blocks of a partition that a reader found damaged or missing, and sets aside those that are.
    pub(super) fn set_aside_damaged(&self, disk: Disk<'_>, round: &mut Round) {
        let doubted = self
            .heads
            .blocks(disk.0)
            .into_iter()
            .filter(|file| file.is_doubted());
        for file in doubted {
            match file.verify() {
                Ok(()) => file.clear(),
                Err(FileError::Damaged(what)) => self.set_aside(disk, &file, what, round),
                Err(FileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                    self.set_aside(disk, &file, "it is missing".into(), round);
                }
                // The disk may recover; it stays in doubt.
                Err(error) => round.failed.push(format!("{}: {error}", file.path().display())),
            }
        }
    }

    /// Renames a block first: if the catalog cannot be changed then, the block is missing and the next round goes on.
    fn set_aside(&self, disk: Disk<'_>, file: &BlockFile, what: String, round: &mut Round) {
        let path = file.path();
        let mut aside: OsString = path.clone().into_os_string();
        aside.push(".damaged");
        let aside = PathBuf::from(aside);
        match self.config.disk.rename(&path, &aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                round.failed.push(format!("{}: {error}", path.display()));
                return;
            }
            _ => {}
        }
        let meta = file.meta();
        let removed = self.remove_blocks(disk, &meta.tenant, &[meta.generation], |tally, samples| {
            tally.damaged = samples;
        });
        match removed {
            Ok(()) => round.damage.push(Damage {
                path: aside,
                what: format!(
                    "{what}; the block was set aside, {} samples are gone with it",
                    meta.samples
                ),
            }),
            Err(error) => round.failed.push(format!("{}: {error}", path.display())),
        }
    }
}
