//! A map that mostly has one entry, and then takes the room of one.
//!
//! A node of a tree has room for eleven, and a store has several such maps for each of its many devices. The entries stand in
//! their order; to insert or remove one moves those after it.

/// Entries up to which each new one is given no more than its own room.
const EXACT: usize = 4;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Few<K, V>(Vec<(K, V)>);

impl<K, V> Default for Few<K, V> {
    fn default() -> Self {
        Few(Vec::new())
    }
}

impl<K: Ord + Copy, V> Few<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn get(&self, key: K) -> Option<&V> {
        let at = self.place(key).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// The entry of a key, made if it is not there.
    pub(crate) fn entry(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        let at = match self.place(key) {
            Ok(at) => at,
            Err(at) => {
                self.insert_at(at, key, V::default());
                at
            }
        };
        &mut self.0[at].1
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        match self.place(key) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.insert_at(at, key, value),
        }
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<V> {
        let at = self.place(key).ok()?;
        let (_, value) = self.0.remove(at);
        if self.0.capacity() > EXACT && self.0.len() * 4 <= self.0.capacity() {
            self.0.shrink_to_fit();
        }
        Some(value)
    }

    /// Lets go the entries of all other keys.
    pub(crate) fn retain(&mut self, keep: impl Fn(K) -> bool) {
        self.0.retain(|(key, _)| keep(*key));
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (K, &V)> {
        self.0.iter().map(|(key, value)| (*key, value))
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }

    /// The last entry whose key is at most this one.
    pub(crate) fn at_most(&self, key: K) -> Option<(K, &V)> {
        self.before(self.0.partition_point(|(other, _)| *other <= key))
    }

    /// The last entry whose key is less than this one.
    pub(crate) fn below(&self, key: K) -> Option<(K, &V)> {
        self.before(self.0.partition_point(|(other, _)| *other < key))
    }

    /// The value of the last entry whose key is at most this one.
    pub(crate) fn at_most_mut(&mut self, key: K) -> Option<&mut V> {
        let end = self.0.partition_point(|(other, _)| *other <= key);
        self.0.get_mut(end.checked_sub(1)?).map(|(_, value)| value)
    }

    /// Entries from a key on, in their order.
    pub(crate) fn from(&self, key: K) -> impl Iterator<Item = (K, &V)> {
        let begin = self.0.partition_point(|(other, _)| *other < key);
        self.0.iter().skip(begin).map(|(key, value)| (*key, value))
    }

    fn before(&self, end: usize) -> Option<(K, &V)> {
        let (key, value) = self.0.get(end.checked_sub(1)?)?;
        Some((*key, value))
    }

    fn place(&self, key: K) -> Result<usize, usize> {
        self.0.binary_search_by_key(&key, |(key, _)| *key)
    }

    fn insert_at(&mut self, at: usize, key: K, value: V) {
        if self.0.len() < EXACT {
            self.0.reserve_exact(1);
        }
        self.0.insert(at, (key, value));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map_in_order(steps in proptest::collection::vec((0u8..4, 0u8..20, any::<u8>()), 0..100)) {
            let (mut few, mut map) = (Few::default(), BTreeMap::new());
            for (what, key, value) in steps {
                match what {
                    0 | 1 => {
                        few.insert(key, value);
                        map.insert(key, value);
                    }
                    2 => prop_assert_eq!(few.remove(key), map.remove(&key)),
                    _ => prop_assert_eq!(few.entry(key), map.entry(key).or_default()),
                }
                let pairs = |(key, value): (&u8, &u8)| (*key, *value);
                let own = |(key, value): (u8, &u8)| (key, *value);
                prop_assert_eq!(few.iter().map(own).collect::<Vec<_>>(), map.iter().map(pairs).collect::<Vec<_>>());
                prop_assert_eq!(few.get(key), map.get(&key));
                prop_assert_eq!(few.at_most(key).map(own), map.range(..=key).next_back().map(pairs));
                prop_assert_eq!(few.below(key).map(own), map.range(..key).next_back().map(pairs));
                prop_assert_eq!(few.from(key).map(own).collect::<Vec<_>>(), map.range(key..).map(pairs).collect::<Vec<_>>());
                let most = map.range(..=key).next_back().map(|(_, value)| *value);
                prop_assert_eq!(few.at_most_mut(key).copied(), most);
            }
        }
    }

    #[test]
    fn one_entry_takes_the_room_of_one_and_many_give_theirs_back() {
        let mut few: Few<u64, u64> = Few::default();
        few.insert(1, 1);
        few.remove(1);
        few.insert(2, 2);
        assert_eq!(few.0.capacity(), 1);
        (0..1000).for_each(|n| few.insert(n, n));
        (1..1000).for_each(|n| assert_eq!(few.remove(n), Some(n)));
        assert!(few.0.capacity() <= EXACT);
    }
}
