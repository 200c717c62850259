//! A disk on which nothing changes: what is written stays in memory.
//!
//! So a folder can be opened as after any crash (files repaired, unfinished ones removed, damaged ones set aside) and is
//! afterwards what it was before.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use crate::disk::{Access, Disk};

/// Bytes that are kept together.
const PAGE: u64 = 4096;

/// The real files below, what was written above.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    /// Files that were opened, renamed or removed; `None`: there is none of the name.
    files: Mutex<HashMap<PathBuf, Option<Arc<Layer>>>>,
}

/// A file and what was written to it.
#[derive(Debug)]
struct Layer {
    below: Option<File>,
    above: Mutex<Above>,
}

#[derive(Debug)]
struct Above {
    len: u64,
    /// Bytes of the file below that count; the rest was cut off once.
    below: u64,
    pages: BTreeMap<u64, Box<[u8]>>,
}

/// A file as redb has it open.
#[derive(Debug)]
struct Open(Arc<Layer>);

impl Overlay {
    fn files(&self) -> MutexGuard<'_, HashMap<PathBuf, Option<Arc<Layer>>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Layer {
    fn of(path: &Path) -> io::Result<Option<Arc<Layer>>> {
        match File::open(path) {
            Ok(file) => {
                let len = file.metadata()?.len();
                Ok(Some(Layer::new(Some(file), len)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn new(below: Option<File>, len: u64) -> Arc<Layer> {
        let above = Above {
            len,
            below: len,
            pages: BTreeMap::new(),
        };
        Arc::new(Layer {
            below,
            above: Mutex::new(above),
        })
    }

    fn above(&self) -> MutexGuard<'_, Above> {
        self.above.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page as it is in the file below.
    fn page(&self, number: u64, below: u64) -> io::Result<Box<[u8]>> {
        let mut page = vec![0; PAGE as usize].into_boxed_slice();
        let start = number * PAGE;
        let there = below.saturating_sub(start).min(PAGE) as usize;
        if let Some(file) = &self.below {
            file.read_exact_at(&mut page[..there], start)?;
        }
        Ok(page)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut above = self.above();
        let end = offset + data.len() as u64;
        if end > above.len {
            return Err(io::Error::other("a write beyond the end"));
        }
        let mut at = offset;
        while at < end {
            let (number, within) = (at / PAGE, (at % PAGE) as usize);
            let below = above.below;
            let page = match above.pages.entry(number) {
                std::collections::btree_map::Entry::Occupied(page) => page.into_mut(),
                std::collections::btree_map::Entry::Vacant(free) => free.insert(self.page(number, below)?),
            };
            let count = (PAGE as usize - within).min((end - at) as usize);
            let from = (at - offset) as usize;
            page[within..within + count].copy_from_slice(&data[from..from + count]);
            at += count as u64;
        }
        Ok(())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let above = self.above();
        let end = offset.saturating_add(out.len() as u64);
        if end > above.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let there = above.below.saturating_sub(offset).min(out.len() as u64) as usize;
        if let Some(file) = &self.below {
            file.read_exact_at(&mut out[..there], offset)?;
        }
        out[there..].fill(0);
        for (number, page) in above.pages.range(offset / PAGE..end.div_ceil(PAGE)) {
            let start = number * PAGE;
            let (from, to) = (start.max(offset), (start + PAGE).min(end));
            let source = &page[(from - start) as usize..(to - start) as usize];
            out[(from - offset) as usize..(to - offset) as usize].copy_from_slice(source);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) {
        let mut above = self.above();
        if len < above.len {
            above.below = above.below.min(len);
            above.pages.retain(|number, _| number * PAGE < len);
            if let Some(last) = above.pages.get_mut(&(len / PAGE)) {
                last[(len % PAGE) as usize..].fill(0);
            }
        }
        above.len = len;
    }
}

impl StorageBackend for Open {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.above().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

impl Disk for Overlay {
    fn backend(&self, path: &Path, access: Access) -> io::Result<Box<dyn StorageBackend>> {
        let mut files = self.files();
        let known = match files.get(path) {
            Some(known) => known.clone(),
            None => Layer::of(path)?,
        };
        let layer = match (known, access) {
            (Some(layer), _) => layer,
            (None, Access::Write) => Layer::new(None, 0),
            (None, Access::Read) => return Err(io::ErrorKind::NotFound.into()),
        };
        files.insert(path.to_owned(), Some(layer.clone()));
        Ok(Box::new(Open(layer)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.files();
        let layer = match files.get(from) {
            Some(known) => known.clone(),
            None => Layer::of(from)?,
        };
        let layer = layer.ok_or(io::ErrorKind::NotFound)?;
        files.insert(from.to_owned(), None);
        files.insert(to.to_owned(), Some(layer));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut files = self.files();
        let there = match files.get(path) {
            Some(known) => known.is_some(),
            None => path.exists(),
        };
        files.insert(path.to_owned(), None);
        match there {
            true => Ok(()),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn free(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Write(u64, Vec<u8>),
        Cut(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let write = (0..20_000u64, proptest::collection::vec(any::<u8>(), 0..6000));
        prop_oneof![
            write.prop_map(|(at, data)| Step::Write(at, data)),
            (0..30_000u64).prop_map(Step::Cut),
        ]
    }

    proptest! {
        #[test]
        fn it_reads_as_a_file_that_was_written_and_leaves_the_real_one_alone(
            steps in proptest::collection::vec(step(), 0..12), len in 0..12_000usize,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("f");
            let before: Vec<u8> = (0..len).map(|n| n as u8).collect();
            std::fs::write(&path, &before).unwrap();
            let disk = Overlay::default();
            let mut plain = before.clone();
            for step in steps {
                let file = disk.backend(&path, Access::Write).unwrap();
                match step {
                    Step::Write(at, data) => {
                        let end = at as usize + data.len();
                        if end > plain.len() {
                            plain.resize(end, 0);
                            file.set_len(end as u64).unwrap();
                        }
                        plain[at as usize..end].copy_from_slice(&data);
                        file.write(at, &data).unwrap();
                    }
                    Step::Cut(len) => {
                        plain.resize(len as usize, 0);
                        file.set_len(len).unwrap();
                    }
                }
                let mut found = vec![1; plain.len()];
                file.read(0, &mut found).unwrap();
                prop_assert!(found == plain);
                prop_assert!(file.read(1, &mut found).is_err() || found.is_empty());
            }
            prop_assert_eq!(std::fs::read(&path).unwrap(), before);
        }
    }

    #[test]
    fn names_change_in_memory_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&a, b"x").unwrap();
        let disk = Overlay::default();
        disk.rename(&a, &b).unwrap();
        assert!(disk.backend(&a, Access::Read).is_err());
        assert_eq!(disk.backend(&b, Access::Read).unwrap().len().unwrap(), 1);
        disk.remove(&b).unwrap();
        assert!(disk.remove(&b).is_err() && disk.backend(&b, Access::Read).is_err());
        assert!(a.exists() && !b.exists());
    }
}
