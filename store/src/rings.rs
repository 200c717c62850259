//! The hashrings: which partition holds a tenant's series, now and when a journaled batch was routed.
//!
//! Each distinct content of the hashring file has a *generation*, a number that rises. A record of the journal names the
//! generation that routed it, and its file holds that generation's content, so that replay puts rows where they were.
//! Partitions are numbered as they become known and keep their number while the process lives; one that left the ring
//! stays and is read on.

mod file;
mod glob;
mod partition;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use wire::{Labels, Tenant};

pub use file::{Hashring, HashringError, Hashrings, MAX_FILE};
pub use partition::MAX_PARTITIONS;
pub(crate) use partition::{RESULTS, folder_of, on_disk};

use crate::error::HashringsError;
use crate::ring::{Algorithm, Ring};

/// The hashrings of one generation, ready to route.
#[derive(Debug)]
pub(crate) struct Routing {
    generation: u32,
    file: Hashrings,
    routes: Vec<Route>,
    /// The first ring that is for a tenant, once looked for.
    found: RwLock<HashMap<Tenant, usize>>,
}

/// One ring of a generation.
#[derive(Debug)]
pub(crate) struct Route {
    ring: Hashring,
    lookup: Ring,
    /// Numbers of the members' partitions, in the ring's order.
    partitions: Vec<usize>,
}

/// All generations that the journal may name, and the partitions of them all.
#[derive(Debug)]
pub(crate) struct Rings(RwLock<Inner>);

#[derive(Debug)]
struct Inner {
    /// By number.
    partitions: Vec<String>,
    generations: BTreeMap<u32, Arc<Routing>>,
    current: Arc<Routing>,
    /// How often `current` changed.
    changes: u64,
}

impl Routing {
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// The file's content; the journal keeps its [`Hashrings::to_json`].
    pub(crate) fn file(&self) -> &Hashrings {
        &self.file
    }

    /// The first ring that is for a tenant.
    pub(crate) fn of(&self, tenant: &Tenant) -> &Route {
        let known = self
            .found
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(tenant)
            .copied();
        let place = known.unwrap_or_else(|| {
            // A checked file has a ring for everybody.
            let first = self.routes.iter().position(|route| route.ring.is_for(tenant));
            let first = first.unwrap_or(self.routes.len() - 1);
            let mut found = self.found.write().unwrap_or_else(PoisonError::into_inner);
            found.insert(tenant.clone(), first);
            first
        });
        &self.routes[place]
    }
}

impl Route {
    /// The partition of a series, by the hash ([`Labels::ring_hash`]) of its labels before [`Route::stored`].
    pub(crate) fn place(&self, hash: u64) -> usize {
        self.partitions[self.lookup.place(hash)]
    }

    pub(crate) fn has_external_labels(&self) -> bool {
        !self.ring.external().is_empty()
    }

    /// Labels as they are stored: with those external ones that the series does not have itself.
    pub(crate) fn stored(&self, labels: Labels) -> Labels {
        self.ring.stored(labels)
    }
}

impl Rings {
    /// Generations as the journal has them, and the rings that are to route from now on. Generations whose text cannot be
    /// read are returned with why.
    pub(crate) fn new(
        journaled: impl IntoIterator<Item = (u32, Bytes)>,
        now: &Hashrings,
    ) -> (Self, Vec<(u32, HashringError)>) {
        let mut partitions = Vec::new();
        let mut generations = BTreeMap::new();
        let mut unread = Vec::new();
        for (generation, text) in journaled {
            match Hashrings::parse(&text, Algorithm::Ketama) {
                Ok(file) => {
                    let routing = compile(generation, &file, &mut partitions);
                    generations.insert(generation, Arc::new(routing));
                }
                Err(error) => unread.push((generation, error)),
            }
        }
        let highest = unread.iter().map(|(generation, _)| *generation).max();
        let current = choose(&mut generations, highest.unwrap_or(0), now, &mut partitions);
        let inner = Inner {
            partitions,
            generations,
            current,
            changes: 0,
        };
        (Rings(RwLock::new(inner)), unread)
    }

    /// The rings that route new batches.
    pub(crate) fn current(&self) -> Arc<Routing> {
        self.read(|inner| inner.current.clone())
    }

    /// The rings that routed a journaled batch.
    pub(crate) fn of(&self, generation: u32) -> Option<Arc<Routing>> {
        self.read(|inner| inner.generations.get(&generation).cloned())
    }

    /// Rises with each change of the current rings.
    pub(crate) fn changes(&self) -> u64 {
        self.read(|inner| inner.changes)
    }

    /// How many partitions have a number.
    pub(crate) fn count(&self) -> usize {
        self.read(|inner| inner.partitions.len())
    }

    /// Names of all partitions by number.
    pub(crate) fn partitions(&self) -> Vec<String> {
        self.read(|inner| inner.partitions.clone())
    }

    /// Numbers a partition, if it has no number yet.
    pub(crate) fn partition(&self, name: &str) -> usize {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        number(name, &mut inner.partitions)
    }

    /// The partition of results of rules, if it has a number.
    pub(crate) fn results(&self) -> Option<usize> {
        self.read(|inner| inner.partitions.iter().position(|name| name == RESULTS))
    }

    /// Names that the rings have and the store does not.
    ///
    /// # Errors
    /// They would be too many.
    pub(crate) fn new_partitions(&self, rings: &Hashrings) -> Result<Vec<String>, HashringsError> {
        self.read(|inner| {
            let mut all = inner.partitions.clone();
            for name in rings.rings().iter().flat_map(Hashring::endpoints) {
                number(name, &mut all);
            }
            match all.len() <= MAX_PARTITIONS.max(inner.partitions.len()) {
                true => Ok(all.split_off(inner.partitions.len())),
                false => Err(HashringsError::TooManyPartitions(all.len())),
            }
        })
    }

    /// Routes by other rings from now on; their partitions must be there.
    pub(crate) fn set(&self, rings: &Hashrings) -> Arc<Routing> {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let Inner {
            partitions,
            generations,
            current,
            changes,
        } = &mut *inner;
        *current = choose(generations, current.generation, rings, partitions);
        *changes += 1;
        current.clone()
    }

    fn read<T>(&self, see: impl FnOnce(&Inner) -> T) -> T {
        // Writers leave it whole: they replace or append.
        see(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The generation of some rings: the one that has them, else a new one above all others.
fn choose(
    generations: &mut BTreeMap<u32, Arc<Routing>>,
    highest: u32,
    rings: &Hashrings,
    partitions: &mut Vec<String>,
) -> Arc<Routing> {
    let newest_first = || generations.values().rev();
    if let Some(known) = newest_first().find(|routing| routing.file == *rings) {
        return known.clone();
    }
    let last = newest_first().next().map_or(0, |routing| routing.generation);
    let generation = last.max(highest).saturating_add(1);
    let routing = Arc::new(compile(generation, rings, partitions));
    generations.insert(generation, routing.clone());
    routing
}

fn compile(generation: u32, rings: &Hashrings, partitions: &mut Vec<String>) -> Routing {
    let routes = rings.rings().iter().map(|ring| Route {
        lookup: ring.ring(),
        partitions: ring.endpoints().map(|name| number(name, partitions)).collect(),
        ring: ring.clone(),
    });
    Routing {
        generation,
        file: rings.clone(),
        routes: routes.collect(),
        found: RwLock::default(),
    }
}

fn number(name: &str, partitions: &mut Vec<String>) -> usize {
    partitions
        .iter()
        .position(|known| known == name)
        .unwrap_or_else(|| {
            partitions.push(name.to_owned());
            partitions.len() - 1
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rings(text: &str) -> Hashrings {
        Hashrings::parse(text.as_bytes(), Algorithm::Hashmod).unwrap()
    }

    fn tenant(name: &str) -> Tenant {
        Tenant::new(name).unwrap()
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::new(pairs.iter().copied()).unwrap()
    }

    /// The partition of `{foo="bar", baz="qux"}`, as TestHashringGet of Thanos asks.
    fn member(text: &str, of: &str) -> String {
        let (rings, unread) = Rings::new(Vec::new(), &rings(text));
        assert_eq!(unread, []);
        let hash = labels(&[("foo", "bar"), ("baz", "qux")]).ring_hash(&tenant(of));
        let partition = rings.current().of(&tenant(of)).place(hash);
        rings.partitions()[partition].clone()
    }

    #[test]
    fn the_first_ring_in_the_file_that_is_for_a_tenant_has_it() {
        let one_two_three = r#""endpoints": ["node1", "node2", "node3"]"#;
        let four_five_six = r#"{"endpoints": ["node4", "node5", "node6"]}"#;
        let globs = |tenants: &str| {
            format!(
                r#"[{{{one_two_three}, "tenants": [{tenants}], "tenant_matcher_type": "glob"}}, {four_five_six}]"#
            )
        };
        for (text, of, members) in [
            (r#"[{"endpoints": ["node1"]}]"#.to_owned(), "tenant1", "1"),
            (
                r#"[{"endpoints": ["node2"], "tenants": ["tenant2"]}, {"endpoints": ["node1"]}]"#.to_owned(),
                "tenant2",
                "2",
            ),
            (
                r#"[{"endpoints": ["node1"]}, {"endpoints": ["node2"], "tenants": ["tenant2"]}]"#.to_owned(),
                "tenant2",
                "1",
            ),
            (
                format!(r#"[{{{one_two_three}, "tenants": ["tenant1"]}}, {four_five_six}]"#),
                "tenant1",
                "123",
            ),
            (
                format!(r#"[{{{one_two_three}, "tenants": ["tenant1"]}}, {four_five_six}]"#),
                "tenant4",
                "456",
            ),
            (globs(r#""prefix*""#), "prefix-1", "123"),
            (globs(r#""prefix*""#), "suffix-1", "456"),
            (globs(r#""t1-*", "t2", "t3-*""#), "t2", "123"),
        ] {
            let member = member(&text, of);
            let number = member.strip_prefix("node").unwrap();
            assert!(members.contains(number), "{text} {of}: {member}");
        }
    }

    #[test]
    fn each_content_has_one_generation() {
        let (a, b) = (
            rings(r#"[{"endpoints": ["x"]}]"#),
            rings(r#"[{"endpoints": ["x", "y"]}]"#),
        );
        let (all, _) = Rings::new(Vec::new(), &a);
        assert_eq!(all.current().generation(), 1);
        assert_eq!(all.new_partitions(&b), Ok(vec!["y".to_owned()]));
        assert_eq!(all.set(&b).generation(), 2);
        assert_eq!(all.new_partitions(&a), Ok(Vec::new()));
        assert_eq!(all.set(&a).generation(), 1);
        assert_eq!(all.current().generation(), 1);
        assert_eq!(all.partitions(), ["x", "y"]);
        assert_eq!(all.partition("y"), 1);
        assert_eq!(all.partition("left"), 2);
    }

    #[test]
    fn journaled_generations_route_as_they_did() {
        let (a, b) = (
            rings(r#"[{"endpoints": ["x"]}]"#),
            rings(r#"[{"endpoints": ["y"]}]"#),
        );
        let journaled = vec![(7, a.to_json().into()), (9, Bytes::from_static(b"["))];
        let (all, unread) = Rings::new(journaled.clone(), &b);
        assert_eq!(unread.len(), 1);
        assert_eq!(all.current().generation(), 10, "above one that cannot be read");
        let at = |routing: Arc<Routing>| all.partitions()[routing.of(&tenant("t")).place(1)].clone();
        assert_eq!(at(all.of(7).unwrap()), "x");
        assert_eq!(at(all.of(10).unwrap()), "y");
        assert!(all.of(9).is_none());
        let (again, _) = Rings::new(journaled, &a);
        assert_eq!(again.current().generation(), 7);
    }

    #[test]
    fn partitions_that_left_count() {
        let many = Hashrings::of_partitions(MAX_PARTITIONS as u32);
        let (all, _) = Rings::new(Vec::new(), &many);
        assert_eq!(
            all.new_partitions(&rings(r#"[{"endpoints": ["one-more"]}]"#)),
            Err(HashringsError::TooManyPartitions(MAX_PARTITIONS + 1))
        );
        assert_eq!(
            all.new_partitions(&rings(r#"[{"endpoints": ["p007"]}]"#)),
            Ok(Vec::new())
        );
    }
}
