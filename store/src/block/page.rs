//! A page: several entries after a directory of them.
//!
//! CRC32C of the rest (4 bytes), flags (1: codec 0 to 15 in the low bits, 0x80: the last entry's series goes on in the
//! next page), number of entries (2), first id (4), bytes of the directory (2), the directory, the bodies. Numbers are
//! little-endian. The directory has three varints an entry: two of the entry's own, and the length of its body. Nothing
//! follows the last body. A page that is not so is damaged; reading one takes no memory.

use wire::varint::{Reader, Short, put};

/// Bytes of a page at most, so that with its key it fills 16 KiB; one entry that is longer has a page of its own.
pub(crate) const MAX_PAGE: usize = 16_368;

const HEAD: usize = 13;
const GOES_ON: u8 = 0x80;

/// Why bytes are no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed page")]
pub(crate) struct PageError;

impl From<Short> for PageError {
    fn from(_: Short) -> Self {
        PageError
    }
}

/// Puts a page together.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    count: u16,
    directory: Vec<u8>,
    bodies: Vec<u8>,
}

impl Builder {
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether an entry fits; into an empty page every one does.
    pub(crate) fn has_room(&self, body: usize) -> bool {
        // Numbers of 32 bits take at most 5 bytes each.
        let more = 10 + 5 + body;
        self.is_empty()
            || (self.count < u16::MAX && HEAD + self.directory.len() + self.bodies.len() + more <= MAX_PAGE)
    }

    pub(crate) fn push(&mut self, own: (u32, u32), body: &[u8]) {
        self.count += 1;
        put(&mut self.directory, u64::from(own.0));
        put(&mut self.directory, u64::from(own.1));
        put(&mut self.directory, body.len() as u64);
        self.bodies.extend_from_slice(body);
    }

    /// The page; the builder is empty then.
    pub(crate) fn finish(&mut self, first: u32, goes_on: bool) -> Vec<u8> {
        let mut page = Vec::with_capacity(HEAD + self.directory.len() + self.bodies.len());
        page.extend_from_slice(&[0; 4]);
        page.push(if goes_on { GOES_ON } else { 0 });
        page.extend_from_slice(&self.count.to_le_bytes());
        page.extend_from_slice(&first.to_le_bytes());
        // A directory is shorter than a page, or of one entry.
        page.extend_from_slice(&(self.directory.len() as u16).to_le_bytes());
        page.append(&mut self.directory);
        page.append(&mut self.bodies);
        self.count = 0;
        let sum = crc32c::crc32c(&page[4..]);
        page[..4].copy_from_slice(&sum.to_le_bytes());
        page
    }
}

/// Reads a page, entry by entry.
#[derive(Debug, Clone)]
pub(crate) struct Page<'a> {
    first: u32,
    goes_on: bool,
    left: u16,
    directory: Reader<'a>,
    bodies: &'a [u8],
}

/// An entry of a page: its own two numbers and its body.
pub(crate) type Entry<'a> = (u32, u32, &'a [u8]);

impl<'a> Page<'a> {
    /// Checks the sum and the head.
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, PageError> {
        let (sum, rest) = bytes.split_first_chunk::<4>().ok_or(PageError)?;
        if crc32c::crc32c(rest) != u32::from_le_bytes(*sum) {
            return Err(PageError);
        }
        Page::parse(rest)
    }

    /// Checks the head alone.
    pub(super) fn open_trusted(bytes: &'a [u8]) -> Result<Self, PageError> {
        let (_, rest) = bytes.split_first_chunk::<4>().ok_or(PageError)?;
        Page::parse(rest)
    }

    /// All but the sum.
    pub(crate) fn parse(rest: &'a [u8]) -> Result<Self, PageError> {
        let ([flags, c0, c1, f0, f1, f2, f3, d0, d1], rest) = rest.split_first_chunk().ok_or(PageError)?;
        if flags & !GOES_ON != 0 {
            return Err(PageError);
        }
        let len = usize::from(u16::from_le_bytes([*d0, *d1]));
        let (directory, bodies) = rest.split_at_checked(len).ok_or(PageError)?;
        Ok(Page {
            first: u32::from_le_bytes([*f0, *f1, *f2, *f3]),
            goes_on: flags & GOES_ON != 0,
            left: u16::from_le_bytes([*c0, *c1]),
            directory: Reader::new(directory),
            bodies,
        })
    }

    /// The id that the page begins with.
    pub(crate) fn first(&self) -> u32 {
        self.first
    }

    /// Entries that are left.
    pub(super) fn len(&self) -> u16 {
        self.left
    }

    /// Whether the next page begins with the last series of this one.
    pub(crate) fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// Bytes of the bodies that are left, which end the page.
    pub(crate) fn bodies_len(&self) -> usize {
        self.bodies.len()
    }

    /// The next entry; `None` after the last one.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Entry<'a>>, PageError> {
        if self.left == 0 {
            return match self.directory.is_empty() && self.bodies.is_empty() {
                true => Ok(None),
                false => Err(PageError),
            };
        }
        self.left -= 1;
        let a = small(self.directory.varint()?)?;
        let b = small(self.directory.varint()?)?;
        let len = usize::try_from(self.directory.varint()?).map_err(|_| PageError)?;
        let (body, rest) = self.bodies.split_at_checked(len).ok_or(PageError)?;
        self.bodies = rest;
        Ok(Some((a, b, body)))
    }
}

fn small(n: u64) -> Result<u32, PageError> {
    u32::try_from(n).map_err(|_| PageError)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Own = (u32, u32, Vec<u8>);

    fn entries() -> impl Strategy<Value = Vec<Own>> {
        let body = proptest::collection::vec(any::<u8>(), 0..400);
        proptest::collection::vec((any::<u32>(), 0u32..300, body), 1..60)
    }

    /// Fills pages as a writer does.
    fn pages(entries: &[Own]) -> Vec<Vec<u8>> {
        let (mut builder, mut pages) = (Builder::default(), Vec::new());
        for (a, b, body) in entries {
            if !builder.has_room(body.len()) {
                pages.push(builder.finish(7, true));
            }
            builder.push((*a, *b), body);
        }
        pages.push(builder.finish(7, false));
        pages
    }

    fn read(bytes: &[u8]) -> Result<Vec<Own>, PageError> {
        read_all(Page::open(bytes)?)
    }

    fn read_all(mut page: Page<'_>) -> Result<Vec<Own>, PageError> {
        let mut found = Vec::new();
        while let Some((a, b, body)) = page.next()? {
            found.push((a, b, body.to_vec()));
        }
        Ok(found)
    }

    proptest! {
        #[test]
        fn entries_survive_their_pages(entries in entries()) {
            let pages = pages(&entries);
            let last = pages.len() - 1;
            for (at, page) in pages.iter().enumerate() {
                prop_assert!(page.len() <= MAX_PAGE);
                let open = Page::open(page).unwrap();
                prop_assert_eq!((open.first(), open.goes_on()), (7, at < last));
            }
            let found: Vec<Own> = pages.iter().flat_map(|page| read(page).unwrap()).collect();
            prop_assert_eq!(found, entries);
        }

        #[test]
        fn a_flipped_bit_and_a_missing_end_are_seen(entries in entries(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let page = pages(&entries).remove(0);
            let at = at.index(page.len());
            let mut flipped = page.clone();
            flipped[at] ^= 1 << bit;
            prop_assert_eq!(read(&flipped), Err(PageError));
            prop_assert_eq!(read(&page[..at]), Err(PageError));
        }

        #[test]
        fn arbitrary_bytes_are_an_error_or_entries_within_them(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(found) = Page::parse(&bytes).and_then(read_all) {
                let bodies: usize = found.iter().map(|(_, _, body)| body.len()).sum();
                prop_assert!(3 * found.len() + bodies <= bytes.len());
            }
        }
    }

    #[test]
    fn an_entry_longer_than_a_page_has_its_own() {
        let pages = pages(&[(1, 1, vec![1; 10]), (1, 2, vec![2; 40_000]), (1, 3, vec![3; 10])]);
        assert_eq!(pages.len(), 3);
        assert!(read(&pages[1]).is_ok());
    }
}
