//! Compiled patterns, kept across queries: dashboards and rules ask with the same ones again and again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::{MatcherError, Pattern};

/// Patterns of each of the two generations.
const KEPT: usize = 64;

/// Longer patterns are compiled anew.
const LONGEST: usize = 4096;

/// Patterns that were compiled lately. When the young ones are many, they become the old ones, and those go that nobody
/// asked for meanwhile.
#[derive(Debug, Default)]
pub struct PatternCache(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<String, Pattern>,
    old: HashMap<String, Pattern>,
}

impl PatternCache {
    pub(super) fn compile(&self, pattern: &str) -> Result<Pattern, MatcherError> {
        if pattern.len() > LONGEST {
            return Pattern::compile(pattern);
        }
        if let Some(known) = self.generations(|all| all.find(pattern)) {
            return Ok(known);
        }
        let compiled = Pattern::compile(pattern)?;
        self.generations(|all| all.put(pattern, compiled.clone()));
        Ok(compiled)
    }

    fn generations<T>(&self, with: impl FnOnce(&mut Generations) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many patterns are kept.
    pub fn len(&self) -> usize {
        self.generations(|all| all.young.len() + all.old.len())
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Generations {
    fn find(&mut self, pattern: &str) -> Option<Pattern> {
        if let Some(known) = self.young.get(pattern) {
            return Some(known.clone());
        }
        let known = self.old.remove(pattern)?;
        self.put(pattern, known.clone());
        Some(known)
    }

    fn put(&mut self, pattern: &str, compiled: Pattern) {
        if self.young.len() >= KEPT {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(pattern.to_owned(), compiled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_in_use_are_kept_and_their_number_is_bounded() {
        let cache = PatternCache::default();
        let used = cache.compile("used.*").unwrap();
        for number in 0..1000 {
            assert!(cache.compile(&format!("x{number}.*")).is_ok());
            assert!(cache.compile("used.*").unwrap().is(&used), "after {number}");
        }
        assert!(cache.len() <= 2 * KEPT, "{}", cache.len());
        assert!(cache.compile("(").is_err());
        let long = "a".repeat(LONGEST + 1);
        let before = cache.len();
        assert!(cache.compile(&long).is_ok());
        assert_eq!(cache.len(), before);
    }
}
