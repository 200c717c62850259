//! Which series satisfy matchers.

use roaring::RoaringBitmap;

use super::Registry;
use crate::matcher::{Matcher, Test};

impl Registry {
    /// The series that satisfy every matcher.
    pub(crate) fn find(&self, matchers: &[Matcher]) -> RoaringBitmap {
        let (absent_fails, absent_passes): (Vec<&Matcher>, Vec<&Matcher>) =
            matchers.iter().partition(|matcher| !matcher.matches(""));
        let mut sets: Vec<RoaringBitmap> = absent_fails.into_iter().map(|m| self.with(m, true)).collect();
        sets.sort_by_key(RoaringBitmap::len);
        let mut sets = sets.into_iter();
        let mut found = sets.next().unwrap_or_else(|| self.all.clone());
        for set in sets {
            found &= set;
        }
        for matcher in absent_passes {
            if found.is_empty() {
                break;
            }
            found -= self.with(matcher, false);
        }
        found
    }

    /// The values of a label, each with its series.
    pub(crate) fn series_by_value(&self, name: &str) -> impl Iterator<Item = (&str, RoaringBitmap)> {
        let values = self.pairs.values(name);
        values.map(|(value, pair)| (value, self.pairs.ids(pair).to_set()))
    }

    /// The series that have the matcher's label and whose value passes, or does not.
    fn with(&self, matcher: &Matcher, passes: bool) -> RoaringBitmap {
        if let (Test::Equal(text), true) = (&matcher.test, passes) {
            let pair = self.pairs.find(&matcher.name, text);
            return pair.map_or_else(RoaringBitmap::new, |pair| self.pairs.ids(pair).to_set());
        }
        let mut found = RoaringBitmap::new();
        for (value, pair) in self.pairs.values(&matcher.name) {
            if matcher.matches(value) == passes {
                self.pairs.ids(pair).add_to(&mut found);
            }
        }
        found
    }
}
