//! The disk as the store takes it.

use std::io;
use std::path::Path;

use redb::StorageBackend;
use store::{Access, Disk};

use crate::{FaultDisk, FaultFile};

impl Disk for FaultDisk {
    fn backend(&self, path: &Path, access: Access) -> io::Result<Box<dyn StorageBackend>> {
        Ok(Box::new(self.open(path, access == Access::Write)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        FaultDisk::rename(self, from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        FaultDisk::remove(self, path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        FaultDisk::sync_dir(self, dir)
    }

    fn free(&self, _dir: &Path) -> io::Result<u64> {
        Ok(self.left())
    }
}

impl StorageBackend for FaultFile {
    fn len(&self) -> io::Result<u64> {
        FaultFile::len(self)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_at(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        FaultFile::set_len(self, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_at(offset, data)
    }
}
