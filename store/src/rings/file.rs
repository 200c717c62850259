//! The hashring file of Thanos Receive (pkg/receive/config.go): a JSON array, one object per ring.
//!
//! | key | meaning |
//! |---|---|
//! | `hashring` | the ring's name, for metrics |
//! | `tenants` | whom it is for; left out or empty: everybody (the default ring) |
//! | `tenant_matcher_type` | `exact` (default), or `glob`: tenants are patterns of Go's filepath.Match |
//! | `endpoints` | members: a text, or an object of `address`, `az` and `capnproto_address` |
//! | `algorithm` | `hashmod` or `ketama`; left out: the process's |
//! | `external_labels` | labels that the series of its tenants get as they are stored, unless they have them |
//!
//! A member is a partition of this store and its address the partition's name; where a Thanos would listen for
//! Cap'n Proto is of no use here. Stricter than Thanos: a key that is not known is refused, as it may be a misspelt one
//! without which the ring would be everybody's; so are `shuffle_sharding_config`, a pattern that Go would refuse when it
//! meets a tenant, and a file in which some tenant would find no ring.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::{Deserialize as DeserializeDerive, Serialize};
use wire::{Labels, Tenant};

use super::glob::Glob;
use super::partition::{MAX_PARTITIONS, RESULTS, partition_name};
use crate::ring::{Algorithm, Ring};

/// The largest file, bytes.
pub const MAX_FILE: usize = 4 << 20;

/// Why a hashring file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HashringError {
    /// Larger than [`MAX_FILE`].
    #[error("the hashring file has {0} bytes; {MAX_FILE} are read at most")]
    TooLarge(usize),
    /// Not the JSON of a hashring file.
    #[error("the hashring file is not parsable: {0}")]
    Parse(String),
    /// No ring in it.
    #[error(r#"the hashring file is empty; the least is [{{"endpoints": ["p000"]}}]"#)]
    Empty,
    /// Every ring is for some tenants only.
    #[error(
        "no ring of the hashring file takes the tenants that are not listed; add one without \"tenants\" as the last, \
         e.g. {{\"hashring\": \"default\", \"endpoints\": [\"p000\"]}}"
    )]
    NoDefault,
    /// A ring cannot be used as it is.
    #[error("hashring {ring}: {what}")]
    Ring {
        /// Its name, or its place in the file.
        ring: String,
        /// What is wrong and what to do.
        what: String,
    },
    /// More members in all than a store has partitions.
    #[error("the hashring file has {0} different endpoints; a store has {MAX_PARTITIONS} partitions at most")]
    TooManyPartitions(usize),
}

/// A checked hashring file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashrings(Vec<Hashring>);

/// One ring of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashring {
    name: String,
    tenants: Vec<String>,
    globs: Option<Vec<Glob>>,
    endpoints: Vec<String>,
    algorithm: Algorithm,
    external: Labels,
}

impl Hashrings {
    /// Reads a file's text; rings that do not say how they hash do as `default` says.
    ///
    /// # Errors
    /// It is no hashring file, or one that cannot be used here; the error says what to change.
    pub fn parse(text: &[u8], default: Algorithm) -> Result<Self, HashringError> {
        if text.len() > MAX_FILE {
            return Err(HashringError::TooLarge(text.len()));
        }
        if text.trim_ascii().is_empty() {
            return Err(HashringError::Empty);
        }
        let raw: Option<Vec<RawRing>> =
            serde_json::from_slice(text).map_err(|error| HashringError::Parse(error.to_string()))?;
        let raw = raw.unwrap_or_default();
        let rings: Vec<Hashring> = raw
            .into_iter()
            .enumerate()
            .map(|(place, ring)| ring.checked(place, default))
            .collect::<Result<_, _>>()?;
        if rings.is_empty() {
            return Err(HashringError::Empty);
        }
        if !rings.iter().any(|ring| ring.tenants.is_empty()) {
            return Err(HashringError::NoDefault);
        }
        let distinct: BTreeSet<&str> = rings.iter().flat_map(Hashring::endpoints).collect();
        if distinct.len() > MAX_PARTITIONS {
            return Err(HashringError::TooManyPartitions(distinct.len()));
        }
        Ok(Hashrings(rings))
    }

    /// One ketama ring of some members; `None` if there is none.
    pub(crate) fn of_names(names: Vec<String>) -> Option<Self> {
        (!names.is_empty()).then(|| {
            Hashrings(vec![Hashring {
                name: "default".to_owned(),
                tenants: Vec::new(),
                globs: None,
                endpoints: names,
                algorithm: Algorithm::Ketama,
                external: Labels::default(),
            }])
        })
    }

    /// What holds without a file: one ketama ring of `p000`, `p001`, …; between 1 and [`MAX_PARTITIONS`] of them.
    pub fn of_partitions(count: u32) -> Self {
        let count = count.clamp(1, MAX_PARTITIONS as u32);
        Hashrings(vec![Hashring {
            name: "default".to_owned(),
            tenants: Vec::new(),
            globs: None,
            endpoints: (0..count).map(partition_name).collect(),
            algorithm: Algorithm::Ketama,
            external: Labels::default(),
        }])
    }

    /// The rings in the file's order.
    pub fn rings(&self) -> &[Hashring] {
        &self.0
    }

    /// 48 bits that tell one content from another, as a gauge can hold them.
    pub fn digest(&self) -> u64 {
        xxhash_rust::xxh64::xxh64(&self.to_json(), 0) >> 16
    }

    /// The file in its shortest form, with each ring's algorithm: equal for files that route equally.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let rings: Vec<RawRing> = self.0.iter().map(RawRing::of).collect();
        // Texts and lists of texts always have a JSON form.
        serde_json::to_vec(&rings).unwrap_or_default()
    }
}

impl Default for Hashrings {
    /// Four partitions.
    fn default() -> Self {
        Hashrings::of_partitions(4)
    }
}

impl Hashring {
    /// Its name; may be empty.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The names or patterns of tenants it is for; none: everybody.
    pub fn tenants(&self) -> &[String] {
        &self.tenants
    }

    /// The members in the file's order.
    pub fn endpoints(&self) -> impl ExactSizeIterator<Item = &str> {
        self.endpoints.iter().map(String::as_str)
    }

    /// Whether a tenant's series belong here, if no earlier ring has them.
    pub(crate) fn is_for(&self, tenant: &Tenant) -> bool {
        match &self.globs {
            _ if self.tenants.is_empty() => true,
            Some(globs) => globs.iter().any(|glob| glob.matches(tenant.as_str())),
            None => self.tenants.iter().any(|name| name == tenant.as_str()),
        }
    }

    pub(crate) fn external(&self) -> &Labels {
        &self.external
    }

    /// Labels as they are stored: those of the ring that the series does not have come in.
    pub(crate) fn stored(&self, labels: Labels) -> Labels {
        let new = self
            .external
            .iter()
            .filter(|(name, _)| labels.get(name).is_none());
        let new: Vec<_> = new.collect();
        new.into_iter()
            .fold(labels, |set, (name, value)| set.with(name, value))
    }

    pub(crate) fn ring(&self) -> Ring {
        Ring::new(self.endpoints.clone(), self.algorithm).expect("a checked ring has an endpoint")
    }
}

#[derive(Debug, DeserializeDerive, Serialize)]
#[serde(deny_unknown_fields)]
struct RawRing {
    #[serde(default)]
    hashring: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenants: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant_matcher_type: Option<String>,
    #[serde(default)]
    endpoints: Option<Vec<RawEndpoint>>,
    #[serde(default)]
    algorithm: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    external_labels: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing)]
    shuffle_sharding_config: Option<de::IgnoredAny>,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct RawEndpoint {
    address: String,
    #[serde(skip)]
    az: String,
}

#[derive(Debug, DeserializeDerive)]
#[serde(deny_unknown_fields)]
struct RawAddress {
    #[serde(default)]
    address: Option<String>,
    #[serde(default)]
    az: Option<String>,
    #[serde(default, rename = "capnproto_address")]
    _capnproto_address: Option<String>,
}

impl<'de> Deserialize<'de> for RawEndpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrObject;
        impl<'de> Visitor<'de> for TextOrObject {
            type Value = RawEndpoint;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an endpoint: a text, or an object with \"address\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RawEndpoint, E> {
                Ok(RawEndpoint {
                    address: text.to_owned(),
                    az: String::new(),
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawEndpoint, A::Error> {
                let raw = RawAddress::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RawEndpoint {
                    address: raw.address.unwrap_or_default(),
                    az: raw.az.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_any(TextOrObject)
    }
}

impl RawRing {
    fn of(ring: &Hashring) -> Self {
        let external: BTreeMap<String, String> = ring
            .external
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        RawRing {
            hashring: Some(ring.name.clone()),
            tenants: Some(ring.tenants.clone()).filter(|tenants| !tenants.is_empty()),
            tenant_matcher_type: ring.globs.as_ref().map(|_| "glob".to_owned()),
            endpoints: Some(
                ring.endpoints()
                    .map(|address| RawEndpoint {
                        address: address.to_owned(),
                        az: String::new(),
                    })
                    .collect(),
            ),
            algorithm: Some(ring.algorithm.as_str().to_owned()),
            external_labels: Some(external).filter(|labels| !labels.is_empty()),
            shuffle_sharding_config: None,
        }
    }

    fn checked(self, place: usize, default: Algorithm) -> Result<Hashring, HashringError> {
        let name = self.hashring.unwrap_or_default();
        let ring = match name.is_empty() {
            true => format!("number {}", place + 1),
            false => format!("{name:?}"),
        };
        let refuse = |what: String| HashringError::Ring {
            ring: ring.clone(),
            what,
        };
        if self.shuffle_sharding_config.is_some() {
            return Err(refuse(
                "shuffle_sharding_config is not supported; leave it out, or list tenants in rings of their own".into(),
            ));
        }
        let algorithm = match self.algorithm.as_deref() {
            None | Some("") => default,
            Some(text) => text
                .parse()
                .map_err(|error: crate::ring::UnknownAlgorithm| refuse(error.to_string()))?,
        };
        let endpoints = self.endpoints.unwrap_or_default();
        if endpoints.is_empty() {
            return Err(refuse("it has no endpoints; name one partition at least".into()));
        }
        if endpoints.iter().any(|endpoint| endpoint.address.is_empty()) {
            return Err(refuse("an endpoint has no address".into()));
        }
        if endpoints.iter().any(|endpoint| endpoint.address == RESULTS) {
            return Err(refuse(format!(
                "{RESULTS:?} is the partition of results of rules; give the endpoint another name"
            )));
        }
        if algorithm == Algorithm::Hashmod && endpoints.iter().any(|endpoint| !endpoint.az.is_empty()) {
            return Err(refuse(
                "hashmod knows no zones; use ketama or leave out \"az\"".into(),
            ));
        }
        let tenants = self.tenants.unwrap_or_default();
        let globs = match self.tenant_matcher_type.as_deref() {
            None | Some("" | "exact") => None,
            Some("glob") => Some(
                tenants
                    .iter()
                    .map(|pattern| Glob::parse(pattern))
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|error| refuse(error.to_string()))?,
            ),
            Some(other) => {
                return Err(refuse(format!(
                    "tenant_matcher_type is exact or glob, not {other:?}"
                )));
            }
        };
        let external = self.external_labels.unwrap_or_default();
        if let Some(own) = external
            .keys()
            .find(|name| [wire::labels::METRIC_NAME, wire::labels::DEVICE_ID].contains(&name.as_str()))
        {
            return Err(refuse(format!(
                "{own} cannot be an external label: every series has its own"
            )));
        }
        let external = Labels::new(external).map_err(|error| refuse(format!("external_labels: {error}")))?;
        for endpoint in &endpoints {
            super::partition::folder_of(&endpoint.address).map_err(|error| refuse(error.to_string()))?;
        }
        Ok(Hashring {
            name,
            tenants,
            globs,
            endpoints: endpoints.into_iter().map(|endpoint| endpoint.address).collect(),
            algorithm,
            external,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Hashrings, HashringError> {
        Hashrings::parse(text.as_bytes(), Algorithm::Hashmod)
    }

    fn refused(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    fn tenant(name: &str) -> Tenant {
        Tenant::new(name).unwrap()
    }

    /// As in docs/components/receive.md and the seed-era schema.
    const FILE: &str = r#"[
        {
            "hashring": "tenant-a",
            "tenants": ["tenant-a", "tenant-b"],
            "tenant_matcher_type": "exact",
            "endpoints": ["tenant-a-1:10901", {"address": "tenant-a-2:10901", "capnproto_address": "tenant-a-2:1"}],
            "external_labels": {"zone": "eu"}
        },
        {
            "hashring": "globbed",
            "tenants": ["fleet-*"],
            "tenant_matcher_type": "glob",
            "algorithm": "ketama",
            "endpoints": [{"address": "g-1", "az": "1"}, {"address": "g-2", "az": "2"}]
        },
        {"endpoints": ["default-1:10901"]}
    ]"#;

    #[test]
    fn the_file_of_thanos_is_read_as_it_is() {
        let file = parse(FILE).unwrap();
        let [a, globbed, default] = file.rings() else {
            panic!("{file:?}")
        };
        assert_eq!(
            a.endpoints().collect::<Vec<_>>(),
            ["tenant-a-1:10901", "tenant-a-2:10901"]
        );
        assert_eq!(
            (a.algorithm, globbed.algorithm),
            (Algorithm::Hashmod, Algorithm::Ketama)
        );
        assert!(a.is_for(&tenant("tenant-b")) && !a.is_for(&tenant("tenant-c")));
        assert!(globbed.is_for(&tenant("fleet-7")) && !globbed.is_for(&tenant("fleet")));
        assert!(default.is_for(&tenant("anyone")) && default.name().is_empty());
    }

    #[test]
    fn external_labels_come_in_where_a_series_has_none_of_the_name() {
        let file = parse(FILE).unwrap();
        let ring = &file.rings()[0];
        let set = |pairs: &[(&str, &str)]| Labels::new(pairs.iter().copied()).unwrap();
        assert_eq!(
            ring.stored(set(&[("a", "b")])).to_string(),
            "{a=\"b\", zone=\"eu\"}"
        );
        let own = set(&[("zone", "us")]);
        assert_eq!(ring.stored(own.clone()), own);
    }

    #[test]
    fn its_shortest_form_says_the_same_and_how_each_ring_hashes() {
        let file = parse(FILE).unwrap();
        let json = file.to_json();
        assert_eq!(Hashrings::parse(&json, Algorithm::Ketama).unwrap(), file);
        assert_eq!(
            Hashrings::parse(&json, Algorithm::Ketama).unwrap().to_json(),
            json
        );
        let other = Hashrings::parse(FILE.as_bytes(), Algorithm::Ketama).unwrap();
        assert_ne!(other.to_json(), json);
    }

    #[test]
    fn what_cannot_work_is_refused_with_what_to_do() {
        for (text, words) in [
            ("", "empty"),
            ("[]", "empty"),
            ("null", "empty"),
            ("{", "not parsable"),
            ("[{}]", "no endpoints"),
            (r#"[{"endpoints": ["a"], "tennants": ["t"]}]"#, "tennants"),
            (r#"[{"endpoints": [7]}]"#, "an endpoint"),
            (r#"[{"endpoints": [{"az": "1"}]}]"#, "no address"),
            (r#"[{"endpoints": [""]}]"#, "no address"),
            (r#"[{"endpoints": ["results"]}]"#, "another name"),
            (
                r#"[{"endpoints": [{"address": "a", "az": "1"}]}]"#,
                "hashmod knows no zones",
            ),
            (
                r#"[{"hashring": "h", "endpoints": ["a"], "algorithm": "maglev"}]"#,
                "hashring \"h\": ",
            ),
            (
                r#"[{"endpoints": ["a"], "shuffle_sharding_config": {"shard_size": 2}}]"#,
                "shuffle_sharding_config",
            ),
            (
                r#"[{"endpoints": ["a"], "tenants": ["t"]}]"#,
                "without \"tenants\"",
            ),
            (
                r#"[{"endpoints": ["a"], "tenants": ["["], "tenant_matcher_type": "glob"}]"#,
                "pattern",
            ),
            (
                r#"[{"endpoints": ["a"], "tenants": ["t"], "tenant_matcher_type": "regex"}]"#,
                "exact or glob",
            ),
            (
                r#"[{"endpoints": ["a"], "external_labels": {"device_id": "x"}}]"#,
                "device_id",
            ),
        ] {
            let error = refused(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn a_file_has_no_more_members_than_a_store_has_partitions() {
        let names = |count: usize| {
            let names: Vec<String> = (0..count).map(|n| format!("\"n{n}\"")).collect();
            format!(r#"[{{"endpoints": [{}]}}]"#, names.join(","))
        };
        assert!(parse(&names(MAX_PARTITIONS)).is_ok());
        assert_eq!(
            parse(&names(MAX_PARTITIONS + 1)),
            Err(HashringError::TooManyPartitions(MAX_PARTITIONS + 1))
        );
        assert!(matches!(
            Hashrings::parse(&vec![b' '; MAX_FILE + 1], Algorithm::Ketama),
            Err(HashringError::TooLarge(_))
        ));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_file_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(file) = Hashrings::parse(&bytes, Algorithm::Ketama) {
                prop_assert!(Hashrings::parse(&file.to_json(), Algorithm::Hashmod).unwrap() == file);
            }
        }

        #[test]
        fn a_file_with_anything_in_its_fields_is_a_file_or_an_error(
            name in ".*", tenants in proptest::collection::vec(".*", 0..3), glob in any::<bool>(),
            endpoints in proptest::collection::vec(".*", 1..4), label in ".*", value in ".*",
        ) {
            let text = serde_json::to_vec(&serde_json::json!([
                {"hashring": name, "tenants": tenants, "tenant_matcher_type": if glob { "glob" } else { "exact" },
                 "endpoints": endpoints, "external_labels": {label: value}},
                {"endpoints": ["p000"]},
            ])).unwrap();
            if let Ok(file) = Hashrings::parse(&text, Algorithm::Ketama) {
                prop_assert!(Hashrings::parse(&file.to_json(), Algorithm::Hashmod).unwrap() == file);
            }
        }
    }
}
