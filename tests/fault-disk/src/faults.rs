//! What fails, and when.

use std::io;

/// Kinds of operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Of bytes of a file.
    Read,
    /// Of bytes or of a length.
    Write,
    /// Of a file or folder.
    Sync,
    /// A file made, renamed or removed.
    Name,
}

/// Operations that fail with an I/O error.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// Which kind.
    pub operation: Operation,
    /// How many of the kind succeed before.
    pub after: u64,
    /// How many fail then.
    pub times: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) out: bool,
    /// The power goes in the operation of this number.
    pub(crate) cut_at: Option<u64>,
    pub(crate) operations: u64,
    pub(crate) room: Option<u64>,
    pub(crate) read_only: bool,
    pub(crate) asked: Vec<Fault>,
}

impl Faults {
    pub(crate) fn alive(&self) -> io::Result<()> {
        match self.out {
            true => Err(io_error()),
            false => Ok(()),
        }
    }

    pub(crate) fn writable(&self) -> io::Result<()> {
        match self.read_only {
            true => Err(io::Error::from_raw_os_error(EROFS)),
            false => Ok(()),
        }
    }

    /// Counts an operation; says whether the power goes in it.
    pub(crate) fn count(&mut self) -> bool {
        self.operations += 1;
        self.out = self.cut_at.is_some_and(|at| self.operations >= at);
        self.out
    }

    pub(crate) fn check(&mut self, kind: Operation) -> io::Result<()> {
        let mut failed = false;
        for fault in self.asked.iter_mut().filter(|fault| fault.operation == kind) {
            match fault.after.checked_sub(1) {
                Some(left) => fault.after = left,
                None => {
                    fault.times -= 1;
                    failed = true;
                }
            }
        }
        self.asked.retain(|fault| fault.times > 0);
        match failed {
            true => Err(io_error()),
            false => Ok(()),
        }
    }

    /// Takes room for bytes; returns how many of them fit.
    pub(crate) fn take_room(&mut self, bytes: usize) -> usize {
        let Some(room) = &mut self.room else { return bytes };
        let fits = usize::try_from(*room).unwrap_or(usize::MAX).min(bytes);
        *room -= fits as u64;
        fits
    }

    pub(crate) fn heal(&mut self) {
        *self = Faults {
            out: self.out,
            operations: self.operations,
            ..Faults::default()
        };
    }
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

pub(crate) fn io_error() -> io::Error {
    io::Error::from_raw_os_error(EIO)
}

pub(crate) fn no_space() -> io::Error {
    io::Error::from_raw_os_error(ENOSPC)
}
