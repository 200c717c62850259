//! Texts of labels, each once, and the pairs of name and value that series are made of.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::ids::Ids;

/// Texts by number; a number whose text is no longer used is given out again.
#[derive(Debug, Default)]
struct Symbols {
    texts: Vec<Arc<str>>,
    /// How many pairs have it.
    uses: Vec<u32>,
    numbers: HashMap<Arc<str>, u32, RandomState>,
    free: Vec<u32>,
    bytes: usize,
}

impl Symbols {
    fn intern(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let text: Arc<str> = text.into();
        self.bytes += text.len();
        let number = match self.free.pop() {
            Some(number) => {
                self.texts[number as usize] = text.clone();
                number
            }
            None => {
                self.texts.push(text.clone());
                self.uses.push(0);
                self.texts.len() as u32 - 1
            }
        };
        self.numbers.insert(text, number);
        number
    }

    fn release(&mut self, number: u32) {
        let uses = &mut self.uses[number as usize];
        *uses -= 1;
        if *uses == 0 {
            let text = std::mem::take(&mut self.texts[number as usize]);
            self.bytes -= text.len();
            self.numbers.remove(&text);
            self.free.push(number);
        }
    }
}

/// A name and a value as symbols, and the series that have them.
#[derive(Debug)]
struct Pair {
    name: u32,
    value: u32,
    ids: Ids,
}

/// All pairs, by number and by their texts.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    symbols: Symbols,
    pairs: Vec<Pair>,
    /// By name, then by value.
    numbers: HashMap<u32, HashMap<u32, u32, RandomState>, RandomState>,
    free: Vec<u32>,
}

impl Pairs {
    /// The number of a pair, a new one if it is.
    pub(super) fn intern(&mut self, name: &str, value: &str) -> u32 {
        let (name, value) = (self.symbols.intern(name), self.symbols.intern(value));
        let values = self.numbers.entry(name).or_default();
        if let Some(number) = values.get(&value) {
            return *number;
        }
        let pair = Pair {
            name,
            value,
            ids: Ids::default(),
        };
        self.symbols.uses[name as usize] += 1;
        self.symbols.uses[value as usize] += 1;
        let number = match self.free.pop() {
            Some(number) => {
                self.pairs[number as usize] = pair;
                number
            }
            None => {
                self.pairs.push(pair);
                self.pairs.len() as u32 - 1
            }
        };
        values.insert(value, number);
        number
    }

    /// The number of a pair that is there.
    pub(super) fn find(&self, name: &str, value: &str) -> Option<u32> {
        let value = self.symbols.numbers.get(value)?;
        self.of_name(name)?.get(value).copied()
    }

    fn of_name(&self, name: &str) -> Option<&HashMap<u32, u32, RandomState>> {
        self.numbers.get(self.symbols.numbers.get(name)?)
    }

    /// The pairs of a name: value and number of each.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = (&str, u32)> {
        let values = self.of_name(name).into_iter().flatten();
        values.map(|(value, number)| (&*self.symbols.texts[*value as usize], *number))
    }

    /// Numbers are below this.
    pub(super) fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Every name.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.numbers
            .keys()
            .map(|name| &*self.symbols.texts[*name as usize])
    }

    /// Name and value of a pair.
    pub(super) fn texts(&self, number: u32) -> (&str, &str) {
        let pair = &self.pairs[number as usize];
        let text = |symbol: u32| &*self.symbols.texts[symbol as usize];
        (text(pair.name), text(pair.value))
    }

    /// The series that have a pair.
    pub(super) fn ids(&self, number: u32) -> &Ids {
        &self.pairs[number as usize].ids
    }

    /// Adds series that a pair does not have yet.
    pub(super) fn add(&mut self, number: u32, series: impl ExactSizeIterator<Item = u32>) {
        self.pairs[number as usize].ids.add(series);
    }

    /// Takes a series out of a pair, which goes if it was the last.
    pub(super) fn remove(&mut self, number: u32, series: u32) {
        let pair = &mut self.pairs[number as usize];
        pair.ids.remove(series);
        if !pair.ids.is_empty() {
            return;
        }
        pair.ids = Ids::default();
        let (name, value) = (pair.name, pair.value);
        if let Some(values) = self.numbers.get_mut(&name) {
            values.remove(&value);
            if values.is_empty() {
                self.numbers.remove(&name);
            }
        }
        self.symbols.release(name);
        self.symbols.release(value);
        self.free.push(number);
    }

    /// Bytes of memory, roughly.
    pub(super) fn bytes(&self) -> usize {
        let ids: usize = self.pairs.iter().map(|pair| pair.ids.bytes()).sum();
        ids + self.pairs.len() * (size_of::<Pair>() + 16) + self.symbols.bytes + self.symbols.texts.len() * 64
    }
}
