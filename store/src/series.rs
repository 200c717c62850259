//! Numbered series with their labels, each text once: what goes between the index on disk and the heads.

use std::collections::HashMap;
use std::sync::Arc;

/// Series of one tenant in one partition, by rising number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SeriesList {
    symbols: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
    ids: Vec<u32>,
    /// Pairs (name, value) of symbols of all series, in order; `ends` has where each series' end.
    pairs: Vec<(u32, u32)>,
    ends: Vec<u32>,
}

impl SeriesList {
    /// The number of a text among the list's, a new one if it is.
    pub(crate) fn symbol(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let text: Arc<str> = text.into();
        let number = self.symbols.len() as u32;
        self.symbols.push(text.clone());
        self.numbers.insert(text, number);
        number
    }

    /// Adds a series by its labels, in order of names. Its number is above all before.
    pub(crate) fn push<'a>(&mut self, id: u32, labels: impl Iterator<Item = (&'a str, &'a str)>) {
        for (name, value) in labels {
            let pair = (self.symbol(name), self.symbol(value));
            self.pairs.push(pair);
        }
        self.ids.push(id);
        self.ends.push(self.pairs.len() as u32);
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The series with names and values.
    pub(crate) fn iter(
        &self,
    ) -> impl Iterator<Item = (u32, impl ExactSizeIterator<Item = (&str, &str)> + Clone)> {
        let starts = std::iter::once(&0).chain(&self.ends);
        let spans = starts.zip(&self.ends);
        let text = |symbol: u32| &*self.symbols[symbol as usize];
        self.ids
            .iter()
            .copied()
            .zip(spans)
            .map(move |(id, (start, end))| {
                let pairs = &self.pairs[*start as usize..*end as usize];
                (
                    id,
                    pairs.iter().map(move |(name, value)| (text(*name), text(*value))),
                )
            })
    }
}
