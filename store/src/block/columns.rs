//! Times columns of a block, as a read comes upon them.

use std::collections::HashMap;
use std::ops::Range;

use foldhash::fast::RandomState;
use redb::{AccessGuard, ReadOnlyTable, ReadTransaction};

use super::checked::Checked;
use super::page::Page;
use super::times::{self, ColumnTimes};
use super::{TIMES, damaged};
use crate::journal::FileError;
use crate::ledger::DeviceRef;

/// Times that a read keeps decoded.
const KEPT_TIMES: usize = 1 << 18;

/// A decoded times column.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) owner: DeviceRef,
    pub(crate) times: ColumnTimes,
}

impl Column {
    /// The places of its times from the first to the last of a range.
    pub(super) fn within(&self, (first, last): (i64, i64)) -> Range<usize> {
        let from = self.times.before(first, false);
        let to = self.times.before(last, true);
        from..to.max(from)
    }
}

/// All columns; some are kept decoded.
pub(super) struct Columns<'b> {
    checked: Option<&'b Checked>,
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
    count: u32,
    bytes: AccessGuard<'static, &'static [u8]>,
    /// All columns, from the second that is asked for on.
    columns: Option<Vec<Placed>>,
    asked: bool,
}

/// Owner, count and place of a column in its page.
type Placed = (DeviceRef, u32, Range<usize>);

impl<'b> Columns<'b> {
    /// `checked` knows the pages of times whose sums were right; without it, all are looked at.
    pub(super) fn open(read: &ReadTransaction, checked: Option<&'b Checked>) -> Result<Self, FileError> {
        if let Some(checked) = checked {
            checked.begin();
        }
        Ok(Columns {
            checked,
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
        let page = match self.page.take().filter(|page| page.holds(number)) {
            Some(page) => page,
            None => TimesPage::open(&self.table, self.checked, number)?,
        };
        let page = self.page.insert(page);
        let (owner, count, at) = page.column(number)?.ok_or_else(missing)?;
        let body = page.bytes.value().get(at).ok_or_else(missing)?;
        Ok(Column {
            owner,
            times: times::read(body, count as usize)?,
        })
    }
}

impl TimesPage {
    /// The page that a column should be in.
    fn open(
        table: &ReadOnlyTable<u32, &'static [u8]>,
        checked: Option<&Checked>,
        number: u32,
    ) -> Result<Self, FileError> {
        let before = table.range(..=number).map_err(FileError::of)?.next_back();
        let (key, bytes) = before.transpose().map_err(FileError::of)?.ok_or_else(missing)?;
        let page = match checked {
            Some(checked) => checked.open(key.value().into(), bytes.value())?,
            None => Page::open(bytes.value())?,
        };
        if page.first() != key.value() {
            return Err(damaged("a page stands under another's key"));
        }
        Ok(TimesPage {
            first: key.value(),
            count: page.len().into(),
            bytes,
            columns: None,
            asked: false,
        })
    }

    fn holds(&self, number: u32) -> bool {
        number.checked_sub(self.first).is_some_and(|at| at < self.count)
    }

    /// The first column that is asked for is looked up alone.
    fn column(&mut self, number: u32) -> Result<Option<Placed>, FileError> {
        let Some(at) = number.checked_sub(self.first) else {
            return Ok(None);
        };
        if !std::mem::replace(&mut self.asked, true) {
            // Item by item, as a malformed one ends the page.
            let mut directory = self.directory()?;
            for _ in 0..at {
                directory.next().transpose()?;
            }
            return directory.next().transpose();
        }
        let columns = match self.columns.take() {
            Some(columns) => columns,
            None => self.directory()?.collect::<Result<_, _>>()?,
        };
        Ok(self.columns.insert(columns).get(at as usize).cloned())
    }

    /// Goes through the columns.
    fn directory(&self) -> Result<impl Iterator<Item = Result<Placed, FileError>> + '_, FileError> {
        let bytes = self.bytes.value();
        let mut page = Page::open_trusted(bytes)?;
        Ok(std::iter::from_fn(move || {
            let from = bytes.len() - page.bodies_len();
            let next = page.next().map_err(FileError::from).transpose()?;
            Some(next.map(|(owner, count, body)| (owner, count, from..from + body.len())))
        }))
    }
}

fn missing() -> FileError {
    damaged("a times column is missing")
}
