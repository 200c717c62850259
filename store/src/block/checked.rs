//! Which pages of an open block were found right lately, so that a read of a few chunks does not go through all of the bytes
//! that stand beside them.
//!
//! A block is never written again. What can still change a page is the disk, and of it only the next read of a page that no
//! cache has. So a sum that was right is taken for right for a while: every [`TRUSTED_FOR`] reads of a block all sums are
//! looked at again, and whoever verifies or merges a block looks at each.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

use super::page::{Page, PageError};

/// Reads of a block after which all sums are looked at again.
const TRUSTED_FOR: u32 = 64;

/// Keys of pages whose sum was right.
#[derive(Debug, Default)]
pub(super) struct Checked {
    reads: AtomicU32,
    pages: Mutex<HashSet<u64, RandomState>>,
}

impl Checked {
    /// A read begins.
    pub(super) fn begin(&self) {
        if self.reads.fetch_add(1, Ordering::Relaxed) % TRUSTED_FOR == TRUSTED_FOR - 1 {
            self.pages().clear();
        }
    }

    /// The page that stands under a key.
    pub(super) fn open<'p>(&self, key: u64, bytes: &'p [u8]) -> Result<Page<'p>, PageError> {
        if self.pages().contains(&key) {
            return Page::open_trusted(bytes);
        }
        let page = Page::open(bytes)?;
        self.pages().insert(key);
        Ok(page)
    }

    fn pages(&self) -> MutexGuard<'_, HashSet<u64, RandomState>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::page::Builder;
    use super::*;

    #[test]
    fn a_page_that_turns_bad_is_found_after_some_reads_and_at_once_by_others() {
        let mut builder = Builder::default();
        builder.push((0, 0), b"body");
        let mut bytes = builder.finish(7, false);
        let checked = Checked::default();
        checked.begin();
        assert!(checked.open(7 << 32, &bytes).is_ok());
        *bytes.last_mut().unwrap() ^= 1;
        assert!(checked.open(8 << 32, &bytes).is_err());
        let found = (1..).find(|_| {
            checked.begin();
            checked.open(7 << 32, &bytes).is_err()
        });
        assert_eq!(found, Some(TRUSTED_FOR - 1));
        assert!(checked.open(7 << 32, &bytes).is_err());
    }
}
