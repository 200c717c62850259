//! What the commands print: results to stdout, notes and progress to stderr.
//!
//! A closed pipe (`backhaul query … | head`) ends a command quietly, as other tools do.

use std::io::{self, IsTerminal, Write};

use anyhow::Result;
use comfy_table::{Cell, Table};

/// An empty table in plain columns.
pub(crate) fn table<S: Into<Cell>>(header: impl IntoIterator<Item = S>) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header.into_iter().map(Into::into).collect::<Vec<Cell>>());
    table
}

/// The process's stdout and stderr.
#[derive(Debug)]
pub(crate) struct Output {
    stdout: io::Stdout,
    stderr: io::Stderr,
}

impl Output {
    /// Takes hold of both.
    pub(crate) fn new() -> Self {
        Output {
            stdout: io::stdout(),
            stderr: io::stderr(),
        }
    }

    /// A line of the result.
    pub(crate) fn line(&mut self, text: &str) -> Result<()> {
        let mut out = self.stdout.lock();
        writeln!(out, "{text}")?;
        Ok(out.flush()?)
    }

    /// A line for the person who watches.
    pub(crate) fn note(&mut self, text: &str) -> Result<()> {
        Ok(writeln!(self.stderr.lock(), "{text}")?)
    }

    /// Whether a person watches stderr.
    pub(crate) fn is_watched(&self) -> bool {
        self.stderr.is_terminal()
    }
}
