//! A file's bytes: what is durable, and what was written since.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// What a disk writes whole or not at all, bytes.
const SECTOR: u64 = 512;

/// A change that is not durable.
#[derive(Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

/// A file whatever its name. The real one holds what the page cache would.
#[derive(Debug)]
pub(crate) struct Inode {
    file: File,
    len: u64,
    durable_len: u64,
    /// Durable bytes of the sectors that were written since.
    durable: BTreeMap<u64, [u8; SECTOR as usize]>,
    changes: Vec<Change>,
    /// Sectors that a failed sync lost: their durable bytes stay until they are written again.
    lost: BTreeSet<u64>,
    /// One more than there are open files.
    pub(crate) users: Arc<()>,
}

impl Inode {
    /// A file that is durable as it is.
    pub(crate) fn new(file: File) -> io::Result<Inode> {
        let len = file.metadata()?.len();
        Ok(Inode {
            file,
            len,
            durable_len: len,
            durable: BTreeMap::new(),
            changes: Vec::new(),
            lost: BTreeSet::new(),
            users: Arc::default(),
        })
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.keep(offset, offset + bytes.len() as u64)?;
        self.file.write_all_at(bytes, offset)?;
        self.len = self.len.max(offset + bytes.len() as u64);
        self.changes.push(Change::Write(offset, bytes.to_vec()));
        Ok(())
    }

    pub(crate) fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.keep(len, self.len)?;
        self.file.set_len(len)?;
        self.len = len;
        self.changes.push(Change::Length(len));
        Ok(())
    }

    /// Remembers the durable bytes of the sectors that hold a range.
    fn keep(&mut self, from: u64, to: u64) -> io::Result<()> {
        let end = to.min(self.durable_len);
        let mut sector = from / SECTOR;
        while sector * SECTOR < end {
            if !self.durable.contains_key(&sector) {
                let mut bytes = [0; SECTOR as usize];
                self.read_some(sector * SECTOR, &mut bytes)?;
                self.durable.insert(sector, bytes);
            }
            sector += 1;
        }
        Ok(())
    }

    /// As much as there is.
    fn read_some(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < out.len() {
            match self.file.read_at(&mut out[filled..], offset + filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(())
    }

    pub(crate) fn is_open(&self) -> bool {
        Arc::strong_count(&self.users) > 1
    }

    pub(crate) fn sync(&mut self) {
        for change in self.changes.drain(..) {
            match change {
                Change::Write(offset, bytes) => sectors(offset, bytes.len()).for_each(|sector| {
                    self.lost.remove(&sector);
                }),
                Change::Length(len) => self.lost.retain(|sector| sector * SECTOR < len),
            }
        }
        let lost = &self.lost;
        self.durable.retain(|sector, _| lost.contains(sector));
        self.durable_len = self.len;
    }

    /// Some writes will never be on disk although a later sync succeeds; half of the time the page cache forgets them too.
    pub(crate) fn fail_sync(&mut self, random: &mut fastrand::Rng) -> io::Result<()> {
        for change in self.changes.drain(..) {
            if let Change::Write(offset, bytes) = change
                && random.bool()
            {
                self.lost.extend(sectors(offset, bytes.len()));
            }
        }
        let lost = &self.lost;
        self.durable.retain(|sector, _| lost.contains(sector));
        for sector in lost {
            // Beyond the durable end there were no bytes.
            self.durable.entry(*sector).or_insert([0; SECTOR as usize]);
        }
        self.durable_len = self.len;
        if random.bool() {
            self.restore()?;
        }
        Ok(())
    }

    /// Writes durable bytes over what was written since.
    fn restore(&self) -> io::Result<()> {
        for (sector, bytes) in &self.durable {
            let at = sector * SECTOR;
            let len = SECTOR.min(self.durable_len.saturating_sub(at));
            self.file.write_all_at(&bytes[..len as usize], at)?;
        }
        Ok(())
    }

    /// Leaves the durable bytes and a subset of the changes since.
    pub(crate) fn power_cut(&mut self, random: &mut fastrand::Rng) -> io::Result<()> {
        if self.changes.is_empty() && self.durable.is_empty() && self.len == self.durable_len {
            return Ok(());
        }
        self.file.set_len(self.durable_len)?;
        self.restore()?;
        let share = match random.u8(0..6) {
            0 => 0.0,
            1 => 1.0,
            2 => 0.05,
            3 => 0.95,
            _ => random.f64(),
        };
        let tear = [0.0, 0.1, 0.5][random.usize(0..3)];
        for change in self.changes.drain(..) {
            if random.f64() >= share {
                continue;
            }
            match change {
                Change::Length(len) => self.file.set_len(len)?,
                Change::Write(offset, bytes) if random.f64() < tear => {
                    write_torn(&self.file, offset, &bytes, random)?;
                }
                Change::Write(offset, bytes) => self.file.write_all_at(&bytes, offset)?,
            }
        }
        self.durable.clear();
        self.lost.clear();
        self.len = self.file.metadata()?.len();
        self.durable_len = self.len;
        Ok(())
    }
}

fn sectors(offset: u64, len: usize) -> Range<u64> {
    offset / SECTOR..(offset + len as u64).div_ceil(SECTOR)
}

/// Writes some of a write's sectors: its first ones, or any.
fn write_torn(file: &File, offset: u64, bytes: &[u8], random: &mut fastrand::Rng) -> io::Result<()> {
    let end = offset + bytes.len() as u64;
    let sectors = sectors(offset, bytes.len());
    let stop = random.bool().then(|| random.u64(sectors.start..=sectors.end));
    for sector in sectors {
        let from = offset.max(sector * SECTOR);
        let to = end.min((sector + 1) * SECTOR);
        let lands = stop.map_or_else(|| random.bool(), |stop| sector < stop);
        if lands {
            file.write_all_at(&bytes[(from - offset) as usize..(to - offset) as usize], from)?;
        }
    }
    Ok(())
}
