//! Texts of labels, each once, and the pairs of name and value that series are made of.

use std::collections::HashMap;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};

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
    /// Its place among its name's, once these were put in order.
    rank: AtomicU32,
    ids: Ids,
}

/// A value of a name.
#[derive(Debug)]
pub(super) struct Valued {
    pub(super) value: Arc<str>,
    /// The pair of both.
    pub(super) pair: u32,
    /// A group in which a series of the pair is first, to be looked at before others.
    pub(super) group: AtomicU32,
}

/// Values that are put in order at most for each that is asked for.
const RANKED_PER_ASKED: usize = 16;

/// No group is known.
pub(super) const NO_GROUP: u32 = u32::MAX;

/// The pairs of one name.
#[derive(Debug, Default)]
struct OfName {
    /// By value.
    numbers: HashMap<u32, u32, RandomState>,
    /// Values and pairs in order of the values, once somebody asked for them, until a value comes or goes.
    sorted: OnceLock<Box<[Valued]>>,
}

/// All pairs, by number and by their texts.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    symbols: Symbols,
    pairs: Vec<Pair>,
    names: HashMap<u32, OfName, RandomState>,
    free: Vec<u32>,
}

impl Pairs {
    /// The number of a pair, a new one if it is.
    pub(super) fn intern(&mut self, name: &str, value: &str) -> u32 {
        let (name, value) = (self.symbols.intern(name), self.symbols.intern(value));
        let of_name = self.names.entry(name).or_default();
        if let Some(number) = of_name.numbers.get(&value) {
            return *number;
        }
        let pair = Pair {
            name,
            value,
            rank: AtomicU32::default(),
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
        of_name.numbers.insert(value, number);
        of_name.sorted.take();
        number
    }

    /// The number of a pair that is there.
    pub(super) fn find(&self, name: &str, value: &str) -> Option<u32> {
        let value = self.symbols.numbers.get(value)?;
        self.of_name(name)?.numbers.get(value).copied()
    }

    fn of_name(&self, name: &str) -> Option<&OfName> {
        self.names.get(&self.name(name)?)
    }

    /// The number of a name, as [`Pairs::name_of`] gives it.
    pub(super) fn name(&self, name: &str) -> Option<u32> {
        self.symbols.numbers.get(name).copied()
    }

    /// The pairs of a name: value and number of each.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = (&str, u32)> {
        let values = self
            .of_name(name)
            .into_iter()
            .flat_map(|of_name| &of_name.numbers);
        values.map(|(value, number)| (&*self.symbols.texts[*value as usize], *number))
    }

    /// The pairs of a name in order of values.
    pub(super) fn sorted(&self, name: &str) -> &[Valued] {
        let Some(of_name) = self.of_name(name) else {
            return &[];
        };
        of_name.sorted.get_or_init(|| {
            let sorted = self.in_order(of_name.numbers.values().copied());
            for (valued, rank) in sorted.iter().zip(0..) {
                self.pairs[valued.pair as usize].rank.store(rank, Relaxed);
            }
            sorted
        })
    }

    /// The places of pairs, all of one name, among this name's. `None` if they are of several, or if there are so many more of
    /// the name than were asked for that to put all in order is not worth it.
    pub(super) fn ranks(&self, pairs: impl ExactSizeIterator<Item = Option<u32>>) -> Option<Vec<u32>> {
        let asked = pairs.len();
        let pairs = pairs.collect::<Option<Vec<u32>>>()?;
        let name = self.name_of(*pairs.first()?);
        let of_name = self.names.get(&name)?;
        let is_cheap = of_name.sorted.get().is_some() || of_name.numbers.len() / RANKED_PER_ASKED <= asked;
        if !is_cheap || pairs.iter().any(|pair| self.name_of(*pair) != name) {
            return None;
        }
        self.sorted(&self.symbols.texts[name as usize]);
        let rank = |pair: u32| self.pairs[pair as usize].rank.load(Relaxed);
        Some(pairs.into_iter().map(rank).collect())
    }

    /// Pairs of one name, each once, with their values and in order of these.
    pub(super) fn in_order(&self, pairs: impl Iterator<Item = u32>) -> Box<[Valued]> {
        let valued = |pair: u32| {
            let value = self.pairs[pair as usize].value;
            Valued {
                value: self.symbols.texts[value as usize].clone(),
                pair,
                group: AtomicU32::new(NO_GROUP),
            }
        };
        let mut pairs: Box<[Valued]> = pairs.map(valued).collect();
        pairs.sort_unstable_by(|a, b| a.value.cmp(&b.value));
        pairs
    }

    /// Numbers are below this.
    pub(super) fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Every name.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(|name| &*self.symbols.texts[*name as usize])
    }

    /// The number of a pair's name.
    pub(super) fn name_of(&self, number: u32) -> u32 {
        self.pairs[number as usize].name
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
        if let Some(of_name) = self.names.get_mut(&name) {
            of_name.numbers.remove(&value);
            of_name.sorted.take();
            if of_name.numbers.is_empty() {
                self.names.remove(&name);
            }
        }
        self.symbols.release(name);
        self.symbols.release(value);
        self.free.push(number);
    }

    /// Forgets in which groups series of pairs are: some leave theirs.
    pub(super) fn forget_groups(&self) {
        let sorted = self.names.values().filter_map(|of_name| of_name.sorted.get());
        for valued in sorted.flatten() {
            valued.group.store(NO_GROUP, Relaxed);
        }
    }

    /// Bytes of memory, roughly.
    pub(super) fn bytes(&self) -> usize {
        let ids: usize = self.pairs.iter().map(|pair| pair.ids.bytes()).sum();
        let sorted = self.names.values().filter_map(|of_name| of_name.sorted.get());
        let sorted: usize = sorted.map(|sorted| size_of_val(&**sorted)).sum();
        sorted
            + ids
            + self.pairs.len() * (size_of::<Pair>() + 16)
            + self.symbols.bytes
            + self.symbols.texts.len() * 64
    }
}
