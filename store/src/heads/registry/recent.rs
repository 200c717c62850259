//! Sets of pairs that were interned lately. Devices of a fleet have lists of the same sets but for a pair or two that
//! name the device, so a set is compared with the one that stood at its position last, instead of looking up each label.

use super::symbols::Pairs;

/// Positions of lists that are remembered.
const POSITIONS: usize = 4096;

/// Pairs of a device's own that are remembered.
const OWN: usize = 4;

/// Numbers of pairs, none of which may be given out again while it is here.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// By position in its list, the last set there.
    sets: Vec<Vec<u32>>,
    /// The position of the latest set.
    latest: usize,
    /// The latest pairs that were in no such set.
    own: [Option<u32>; OWN],
    next: usize,
}

impl Recent {
    /// Fills `set` with the numbers of a set's pairs, which are in order of names. New pairs get one.
    pub(super) fn intern<'a>(
        &mut self,
        pairs: &mut Pairs,
        position: usize,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
        set: &mut Vec<u32>,
    ) {
        let position = position % POSITIONS;
        if position >= self.sets.len() {
            self.sets.resize_with(position + 1, Vec::new);
        }
        let like = match self.sets[position].is_empty() {
            true => self.latest,
            false => position,
        };
        let mut like = self.sets[like].as_slice();
        set.clear();
        for (name, value) in labels {
            let pair = take_like(pairs, &mut like, name, value).unwrap_or_else(|| {
                let mut own = self.own.iter().flatten().copied();
                let known = own.find(|pair| pairs.texts(*pair) == (name, value));
                known.unwrap_or_else(|| {
                    let pair = pairs.intern(name, value);
                    self.own[self.next] = Some(pair);
                    self.next = (self.next + 1) % OWN;
                    pair
                })
            });
            set.push(pair);
        }
        self.latest = position;
        self.sets[position].clone_from(set);
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        *self = Recent::default();
    }

    /// Bytes of memory, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.sets
            .iter()
            .map(|set| size_of_val(set) + 4 * set.capacity())
            .sum()
    }
}

/// Finds a pair in the rest of a set, in order of names, and advances it.
fn take_like(pairs: &Pairs, like: &mut &[u32], name: &str, value: &str) -> Option<u32> {
    while let [pair, rest @ ..] = *like {
        let (known_name, known_value) = pairs.texts(*pair);
        if known_name > name {
            break;
        }
        *like = rest;
        if known_name == name && known_value == value {
            return Some(*pair);
        }
    }
    None
}
