//! Writing a page: the host inputs and the agent's own metrics go through the same path as a scraped target.

use std::fmt::Write as _;

use super::MetricType;

/// A page in the making.
#[derive(Debug, Default)]
pub struct PageWriter {
    page: String,
}

impl PageWriter {
    /// Opens a family: its HELP and TYPE lines. Its samples must follow.
    pub fn family(&mut self, name: &str, kind: MetricType, help: &str) {
        self.page.push_str("# HELP ");
        self.page.push_str(name);
        self.page.push(' ');
        escape(&mut self.page, help, false);
        self.page.push_str("\n# TYPE ");
        self.page.push_str(name);
        self.page.push(' ');
        self.page.push_str(if kind == MetricType::Unknown {
            "untyped"
        } else {
            kind.as_str()
        });
        self.page.push('\n');
    }

    /// A sample without a time. Label values may hold anything; names must be valid ones.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.page.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            self.page.push_str(if at == 0 { "{" } else { "," });
            self.page.push_str(label);
            self.page.push_str("=\"");
            escape(&mut self.page, text, true);
            self.page.push('"');
        }
        if !labels.is_empty() {
            self.page.push('}');
        }
        // Debug prints the shortest text that reads back to the same bits; a String takes any write.
        let _infallible = writeln!(self.page, " {value:?}");
    }

    /// A family of one sample without labels.
    pub fn single(&mut self, name: &str, kind: MetricType, help: &str, value: f64) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// The page so far.
    pub fn as_bytes(&self) -> &[u8] {
        self.page.as_bytes()
    }

    /// Empties the page and keeps its memory.
    pub fn clear(&mut self) {
        self.page.clear();
    }

    /// Where the page ends now, for [`PageWriter::truncate`].
    pub fn position(&self) -> usize {
        self.page.len()
    }

    /// Takes back what was written after a position.
    pub fn truncate(&mut self, position: usize) {
        self.page.truncate(position);
    }
}

fn escape(out: &mut String, text: &str, quotes: bool) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
}
