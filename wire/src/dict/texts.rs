//! The text of a section, read: label sets without the labels that all of them carry. Devices of a fleet that have the
//! same series send the same text, so it is read once, and each device's sets are made of it.

use std::sync::Arc;

use bytes::Bytes;

use super::DictError;
use crate::labels::Labels;
use crate::limits::{MAX_LABELS, MAX_NAME, MAX_SET, MAX_VALUE};
use crate::message::Pair;
use crate::varint::Reader;

/// Ends each name and each value in the text of a set.
pub(super) const END: u8 = 0xff;

/// Texts that are remembered, and the most bytes of one, as sent and read.
const KNOWN: usize = 8;
const LONGEST: usize = 1 << 20;

/// Memory that a label pair takes beside its texts: the references to them, and what the allocator adds.
const PAIR: usize = 64;

/// Texts that were read lately.
#[derive(Debug, Default)]
pub(super) struct Known(Vec<Arc<Text>>);

impl Known {
    /// The sets of a text, of which there are so many. `left` is the memory that they may take, in bytes.
    pub(super) fn read(&mut self, from: &Bytes, sets: usize, left: usize) -> Result<Arc<Text>, DictError> {
        let same = |text: &Arc<Text>| *text.from == **from && text.sets.len() == sets;
        if let Some(at) = self.0.iter().position(same) {
            self.0[..=at].rotate_right(1);
            return Ok(self.0[0].clone());
        }
        let text = Arc::new(Text::read(from, sets, left)?);
        if text.cost.max(from.len()) <= LONGEST {
            self.0.truncate(KNOWN - 1);
            self.0.insert(0, text.clone());
        }
        Ok(text)
    }
}

/// The sets of a section's text.
#[derive(Debug, Default)]
pub(super) struct Text {
    from: Box<[u8]>,
    /// Names and values one after another; `ends` has where each of them ends.
    text: String,
    ends: Vec<u32>,
    sets: Vec<Set>,
    /// Memory that the sets take, bytes.
    cost: usize,
}

/// A set in a text: how many names and values it has, and their bytes with what separates them.
#[derive(Debug, Clone, Copy)]
struct Set {
    parts: usize,
    len: usize,
}

/// Labels that all sets of a section carry.
#[derive(Debug)]
pub(super) struct Common<'a> {
    /// In order of names.
    pairs: Vec<(&'a str, &'a str)>,
    len: usize,
}

impl Text {
    fn read(from: &[u8], sets: usize, left: usize) -> Result<Self, DictError> {
        let mut text = Text {
            from: from.into(),
            ..Text::default()
        };
        let mut reader = Reader::new(from);
        let mut set: Vec<u8> = Vec::new();
        for _ in 0..sets {
            let (shared, more) = (reader.size()?, reader.size()?);
            if shared > set.len() {
                return Err(DictError::Malformed("shared prefix"));
            }
            set.truncate(shared);
            set.extend_from_slice(reader.take(more)?);
            if set.len() > MAX_SET {
                return Err(DictError::Limit("bytes of a label set"));
            }
            text.cost += set.iter().filter(|b| **b == END).count() / 2 * PAIR + set.len();
            if text.cost > left {
                return Err(DictError::Limit("labels of a message"));
            }
            text.push(&set)?;
        }
        match reader.is_empty() {
            true => Ok(text),
            false => Err(DictError::Malformed("bytes after the last set")),
        }
    }

    fn push(&mut self, set: &[u8]) -> Result<(), DictError> {
        let mut pairs: Vec<(&str, &str)> = Vec::with_capacity(MAX_LABELS / 4);
        let mut parts = set.split(|byte| *byte == END).map(std::str::from_utf8);
        loop {
            match (parts.next(), parts.next()) {
                (Some(Ok(name)), Some(Ok(value))) => pairs.push((name, value)),
                // After the last END: one empty part.
                (Some(Ok("")), None) => break,
                _ => return Err(DictError::Malformed("text of a label set")),
            }
        }
        let len = check(&mut pairs)?;
        for part in pairs.iter().flat_map(|(name, value)| [*name, *value]) {
            self.text.push_str(part);
            // The memory that sets may take is far below 4 GiB.
            self.ends.push(self.text.len() as u32);
        }
        self.sets.push(Set {
            parts: 2 * pairs.len(),
            len,
        });
        Ok(())
    }

    /// Adds the sets with the labels that all of them carry. `left` is the memory that they may take, in bytes.
    pub(super) fn sets(
        &self,
        common: &Common<'_>,
        left: &mut usize,
        sets: &mut Vec<Labels>,
    ) -> Result<(), DictError> {
        let cost = self.cost + self.sets.len() * (common.pairs.len() * PAIR + common.len);
        *left = left
            .checked_sub(cost)
            .ok_or(DictError::Limit("labels of a message"))?;
        let (mut ends, mut start) = (self.ends.as_slice(), 0);
        let mut own: Vec<(&str, &str)> = Vec::new();
        for set in &self.sets {
            let (of_set, rest) = ends.split_at(set.parts);
            ends = rest;
            let mut part = |end: u32| {
                let part = &self.text[start..end as usize];
                start = end as usize;
                part
            };
            own.clear();
            let (pairs, _) = of_set.as_chunks::<2>();
            own.extend(pairs.iter().map(|[name, value]| (part(*name), part(*value))));
            sets.push(common.with(&own, set.len)?);
        }
        Ok(())
    }
}

impl<'a> Common<'a> {
    pub(super) fn new(pairs: &'a [Pair]) -> Result<Self, DictError> {
        let pairs = pairs.iter().map(|pair| (pair.name.as_str(), pair.value.as_str()));
        let mut pairs: Vec<(&str, &str)> = pairs.collect();
        let len = check(&mut pairs)?;
        Ok(Common { pairs, len })
    }

    /// A set of these labels and some more, which are in order of names and `len` bytes long.
    fn with(&self, own: &[(&str, &str)], len: usize) -> Result<Labels, DictError> {
        if self.pairs.len() + own.len() > MAX_LABELS {
            return Err(DictError::Limit("labels of a series"));
        }
        if self.len + len > MAX_SET {
            return Err(DictError::Limit("bytes of a label set"));
        }
        let mut pairs = [("", ""); MAX_LABELS];
        let (mut common, mut count) = (self.pairs.as_slice(), 0);
        for pair in own {
            while let [first, rest @ ..] = common
                && first.0 <= pair.0
            {
                if first.0 == pair.0 {
                    return Err(DictError::Malformed("label set"));
                }
                pairs[count] = *first;
                count += 1;
                common = rest;
            }
            pairs[count] = *pair;
            count += 1;
        }
        pairs[count..count + common.len()].copy_from_slice(common);
        Ok(Labels::of_sorted(pairs[..count + common.len()].iter().copied()))
    }
}

/// Sorts pairs by name and checks that they can be in one set; gives their bytes with what separates them. A set would
/// not be the one that was hashed if it had an empty value, which vanishes.
fn check(pairs: &mut [(&str, &str)]) -> Result<usize, DictError> {
    if !pairs.is_sorted() {
        pairs.sort_unstable();
    }
    let is_bad = |(name, value): &(&str, &str)| name.is_empty() || value.is_empty();
    if pairs.iter().any(is_bad) || pairs.windows(2).any(|w| w[0].0 == w[1].0) {
        return Err(DictError::Malformed("label set"));
    }
    if pairs.iter().any(|(name, _)| name.len() > MAX_NAME) {
        return Err(DictError::Limit("bytes of a label's name"));
    }
    if pairs.iter().any(|(_, value)| value.len() > MAX_VALUE) {
        return Err(DictError::Limit("bytes of a label's value"));
    }
    Ok(pairs
        .iter()
        .map(|(name, value)| name.len() + value.len() + 2)
        .sum())
}
