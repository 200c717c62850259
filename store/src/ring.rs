//! Which member of a ring holds a series: Thanos Receive's hashrings, to the bit (pkg/receive/hashring.go).
//!
//! The hash is [`wire::Labels::ring_hash`]. hashmod sorts the members by name and takes hash modulo their number; ketama
//! puts 1000 points per member (XXH64 of `name:i`, i from 1) on a circle and takes the first point at or above the
//! hash.

use std::str::FromStr;

use xxhash_rust::xxh64::xxh64;

/// Points of a member on a ketama ring, as in Thanos.
pub const POINTS: u32 = 1000;

/// How a hash becomes a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Modulo the number of members: a new member moves almost every series.
    Hashmod,
    /// Consistent hashing: a new member takes its share and moves nothing else.
    Ketama,
}

/// A text that is no algorithm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no algorithm of a hashring; it is hashmod or ketama")]
pub struct UnknownAlgorithm(String);

impl Algorithm {
    /// As files and flags spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Hashmod => "hashmod",
            Algorithm::Ketama => "ketama",
        }
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, UnknownAlgorithm> {
        [Algorithm::Hashmod, Algorithm::Ketama]
            .into_iter()
            .find(|algorithm| algorithm.as_str() == text)
            .ok_or_else(|| UnknownAlgorithm(text.to_owned()))
    }
}

/// A ring of one or more members.
#[derive(Debug, Clone)]
pub struct Ring {
    members: Vec<String>,
    lookup: Lookup,
}

#[derive(Debug, Clone)]
enum Lookup {
    /// Places of the members in order of their names.
    Hashmod(Vec<usize>),
    Ketama(Circle),
}

/// Points and their members' places, by point.
#[derive(Debug, Clone)]
struct Circle {
    points: Vec<(u64, usize)>,
    /// Where the points of each part of the circle begin. There are about as many parts as points.
    parts: Vec<u32>,
    /// How far a hash is shifted to give its part.
    shift: u32,
}

/// A ring without members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a ring needs at least one member")]
pub struct EmptyRing;

impl Ring {
    /// A ring of members in the given order.
    pub fn new(members: Vec<String>, algorithm: Algorithm) -> Result<Self, EmptyRing> {
        Ring::with_points(members, algorithm, POINTS)
    }

    fn with_points(members: Vec<String>, algorithm: Algorithm, points: u32) -> Result<Self, EmptyRing> {
        if members.is_empty() {
            return Err(EmptyRing);
        }
        let lookup = match algorithm {
            Algorithm::Hashmod => {
                let mut order: Vec<usize> = (0..members.len()).collect();
                order.sort_by(|a, b| members[*a].cmp(&members[*b]));
                Lookup::Hashmod(order)
            }
            Algorithm::Ketama => Lookup::Ketama(Circle::new(&members, points)),
        };
        Ok(Ring { members, lookup })
    }

    /// The place, in the order given, of the member that holds a hash.
    pub fn place(&self, hash: u64) -> usize {
        match &self.lookup {
            Lookup::Hashmod(order) => order[(hash % order.len() as u64) as usize],
            Lookup::Ketama(circle) => circle.place(hash),
        }
    }

    /// The members in the order given.
    pub fn members(&self) -> &[String] {
        &self.members
    }
}

impl Circle {
    fn new(members: &[String], each: u32) -> Self {
        let mut points: Vec<(u64, usize)> = members
            .iter()
            .enumerate()
            .flat_map(|(place, name)| {
                (1..=each).map(move |i| (xxh64(format!("{name}:{i}").as_bytes(), 0), place))
            })
            .collect();
        points.sort_unstable();
        let bits = points.len().max(2).ilog2();
        let shift = u64::BITS - bits;
        let begin = |part: u64| points.partition_point(|(point, _)| point >> shift < part) as u32;
        Circle {
            parts: (0..1 << bits).map(begin).collect(),
            points,
            shift,
        }
    }

    /// The place of the first point at or above a hash.
    fn place(&self, hash: u64) -> usize {
        let from = self.parts[(hash >> self.shift) as usize] as usize;
        let above = self.points[from..].iter().find(|(point, _)| *point >= hash);
        above.unwrap_or(&self.points[0]).1
    }
}

#[cfg(test)]
mod tests {
    use wire::{Labels, Tenant};

    use super::*;

    fn nodes(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    fn ketama(names: &[&str]) -> Ring {
        Ring::with_points(nodes(names), Algorithm::Ketama, 10).unwrap()
    }

    fn hash(pairs: &[(&str, &str)]) -> u64 {
        Labels::new(pairs.iter().copied())
            .unwrap()
            .ring_hash(&Tenant::new("tenant").unwrap())
    }

    #[test]
    fn a_ring_point_is_thanos_s() {
        assert_eq!(xxh64(b"node-1:1", 0), 0x4afb_5483_c129_158b);
    }

    #[test]
    fn ketama_places_series_where_thanos_does() {
        let three = ketama(&["node-1", "node-2", "node-3"]);
        let name = |ring: &Ring, hash| ring.members()[ring.place(hash)].clone();
        let (nginx, thanos) = (hash(&[("pod", "nginx")]), hash(&[("pod", "thanos")]));
        assert_eq!(name(&three, nginx), "node-2");
        assert_eq!(name(&three, thanos), "node-3");
        for more in [
            ["node-0", "node-1", "node-2", "node-3"],
            ["node-1", "node-2", "node-3", "node-4"],
        ] {
            assert_eq!(name(&ketama(&more), nginx), "node-2");
        }
    }

    #[test]
    fn hashmod_places_series_where_thanos_does() {
        let ring = Ring::new(nodes(&["node-3", "node-1", "node-2"]), Algorithm::Hashmod).unwrap();
        // Sorted by name: node-1, node-2, node-3.
        for (hash, index) in [
            (0x25c4_4c07_80c3_4a23_u64, 1),
            (0xd39c_2c97_c414_8c40, 1),
            (0x2ffa_b341_3ff4_1b56, 1),
            (0xcdcf_10c5_37a7_3d49, 0),
        ] {
            assert_eq!(
                ring.members()[ring.place(hash)],
                ["node-1", "node-2", "node-3"][index]
            );
        }
    }

    #[test]
    fn a_hash_above_every_point_wraps_to_the_first() {
        let ring = ketama(&["a", "b"]);
        assert_eq!(ring.place(u64::MAX), ring.place(0));
        let Lookup::Ketama(circle) = &ring.lookup else {
            panic!("another lookup")
        };
        for (point, place) in &circle.points {
            assert_eq!(ring.place(*point), *place);
            let next = circle.points.iter().find(|(other, _)| other > point);
            assert_eq!(ring.place(point + 1), next.unwrap_or(&circle.points[0]).1);
        }
        assert!(Ring::new(Vec::new(), Algorithm::Ketama).is_err());
    }

    #[test]
    fn members_share_series_about_evenly() {
        let ring = Ring::new(nodes(&["p000", "p001", "p002", "p003"]), Algorithm::Ketama).unwrap();
        let mut counts = [0u32; 4];
        for i in 0..4000 {
            counts[ring.place(hash(&[("i", &i.to_string())]))] += 1;
        }
        assert!(counts.iter().all(|c| (800..1200).contains(c)), "{counts:?}");
    }

    /// TestKetamaHashringConsistency, …IncreaseAtEnd and …IncreaseInMiddle of Thanos.
    #[test]
    fn new_members_of_a_ketama_ring_take_their_share_and_move_nothing_else() {
        let series: Vec<u64> = (0..10_000)
            .map(|n| hash(&[("pod", &format!("nginx-{n}"))]))
            .collect();
        for (before, after) in [
            (
                vec!["node-1", "node-2", "node-3"],
                vec!["node-1", "node-2", "node-3"],
            ),
            (
                vec!["node-1", "node-2", "node-3"],
                vec!["node-1", "node-2", "node-3", "node-4", "node-5"],
            ),
            (vec!["node-1", "node-3"], vec!["node-1", "node-2", "node-3"]),
            (vec!["node-1", "node-2"], vec!["node-2", "node-1"]),
        ] {
            let rings = [&before, &after].map(|names| Ring::new(nodes(names), Algorithm::Ketama).unwrap());
            let mut moved = 0;
            for hash in &series {
                let [from, to] = rings
                    .each_ref()
                    .map(|ring| ring.members()[ring.place(*hash)].as_str());
                assert!(from == to || !before.contains(&to), "{from} -> {to}");
                moved += usize::from(from != to);
            }
            let share = series.len() * (after.len() - before.len()) / after.len();
            assert!(
                moved.abs_diff(share) <= series.len() / 20,
                "{before:?} -> {after:?}: {moved}"
            );
        }
    }

    #[test]
    fn algorithms_are_spelt_as_in_files() {
        for algorithm in [Algorithm::Hashmod, Algorithm::Ketama] {
            assert_eq!(algorithm.as_str().parse(), Ok(algorithm));
        }
        assert!("Ketama".parse::<Algorithm>().is_err());
    }
}
