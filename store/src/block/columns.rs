//! Times columns of a block, as a read comes upon them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use foldhash::fast::RandomState;
use redb::{AccessGuard, ReadOnlyTable, ReadTransaction};

use super::page::Page;
use super::{TIMES, damaged, times};
use crate::journal::FileError;
use crate::ledger::DeviceRef;

/// Times that a read keeps decoded.
const KEPT_TIMES: usize = 1 << 18;

/// A decoded times column.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) owner: DeviceRef,
    pub(crate) times: Arc<Vec<i64>>,
}

impl Column {
    /// The places of its times from the first to the last of a range.
    pub(super) fn within(&self, (first, last): (i64, i64)) -> Range<usize> {
        let from = match self.times.first() {
            Some(time) if *time < first => self.times.partition_point(|time| *time < first),
            _ => 0,
        };
        let to = match self.times.last() {
            Some(time) if *time > last => self.times.partition_point(|time| *time <= last),
            _ => self.times.len(),
        };
        from..to
    }
}

/// All columns; some are kept decoded.
pub(super) struct Columns {
    table: ReadOnlyTable<u32, &'static [u8]>,
    page: Option<TimesPage>,
    /// Where each number's column is in `columns`.
    known: HashMap<u32, usize, RandomState>,
    columns: Vec<Column>,
    /// The number that came last, and where its column is: neighbours mostly have the same.
    last: Option<(u32, usize)>,
    kept: usize,
}

/// The page that the last column was in; neighbours mostly come next.
struct TimesPage {
    first: u32,
    bytes: AccessGuard<'static, &'static [u8]>,
    /// Owner, count and place of each column.
    columns: Vec<(DeviceRef, u32, Range<usize>)>,
}

impl Columns {
    pub(super) fn open(read: &ReadTransaction) -> Result<Self, FileError> {
        Ok(Columns {
            table: read.open_table(TIMES).map_err(FileError::of)?,
            page: None,
            known: HashMap::default(),
            columns: Vec::new(),
            last: None,
            kept: 0,
        })
    }

    pub(super) fn get(&mut self, number: u32) -> Result<&Column, FileError> {
        let last = self.last.filter(|(last, _)| *last == number);
        let known = last
            .map(|(_, at)| at)
            .or_else(|| self.known.get(&number).copied());
        let at = match known {
            Some(at) => at,
            None => self.keep(number)?,
        };
        self.last = Some((number, at));
        self.columns.get(at).ok_or_else(missing)
    }

    fn keep(&mut self, number: u32) -> Result<usize, FileError> {
        let column = self.read(number)?;
        self.kept += column.times.len();
        if self.kept > KEPT_TIMES {
            self.known.clear();
            self.columns.clear();
            self.kept = column.times.len();
        }
        self.columns.push(column);
        self.known.insert(number, self.columns.len() - 1);
        Ok(self.columns.len() - 1)
    }

    fn read(&mut self, number: u32) -> Result<Column, FileError> {
        let page = match self.page.take().filter(|page| page.column(number).is_some()) {
            Some(page) => page,
            None => TimesPage::open(&self.table, number)?,
        };
        let page = self.page.insert(page);
        let (owner, count, at) = page.column(number).ok_or_else(missing)?;
        let body = page.bytes.value().get(at.clone()).ok_or_else(missing)?;
        let mut times = Vec::new();
        times::decode(body, *count as usize, &mut times)?;
        Ok(Column {
            owner: *owner,
            times: Arc::new(times),
        })
    }
}

impl TimesPage {
    /// Reads the directory of the page that a column should be in.
    fn open(table: &ReadOnlyTable<u32, &'static [u8]>, number: u32) -> Result<Self, FileError> {
        let before = table.range(..=number).map_err(FileError::of)?.next_back();
        let (key, bytes) = before.transpose().map_err(FileError::of)?.ok_or_else(missing)?;
        let mut columns = Vec::new();
        let mut page = Page::open(bytes.value())?;
        if page.first() != key.value() {
            return Err(damaged("a page stands under another's key"));
        }
        let mut from = bytes.value().len() - page.bodies_len();
        while let Some((owner, count, body)) = page.next()? {
            columns.push((owner, count, from..from + body.len()));
            from += body.len();
        }
        Ok(TimesPage {
            first: key.value(),
            bytes,
            columns,
        })
    }

    fn column(&self, number: u32) -> Option<&(DeviceRef, u32, Range<usize>)> {
        self.columns.get(number.checked_sub(self.first)? as usize)
    }
}

fn missing() -> FileError {
    damaged("a times column is missing")
}
