//! A label set: what names a series.
//!
//! Pairs are sorted by name (bytewise), without repeats and without empty names or values, so that two sets are equal
//! exactly when their pairs are. The metric's name is the label `__name__`.

mod pairs;

use std::cmp::Ordering;
use std::fmt;

use self::pairs::Pairs;
use crate::name::Tenant;

/// The label that holds the metric's name.
pub const METRIC_NAME: &str = "__name__";

/// The label that the bridge sets to the device's id.
pub const DEVICE_ID: &str = "device_id";

/// Why pairs are no label set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelsError {
    /// Two values for one name.
    #[error("label {0:?} is there twice")]
    Repeated(String),
    /// A label without a name.
    #[error("a label has an empty name")]
    EmptyName,
}

/// A sorted set of label pairs, in one allocation.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Labels(Box<str>);

impl Labels {
    /// Sorts the pairs; labels with an empty value are left out, as they mean "absent" in Prometheus.
    pub fn new<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self, LabelsError>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        let pairs: Vec<(N, V)> = pairs.into_iter().collect();
        let mut set: Vec<(&str, &str)> = pairs
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_ref()))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        Labels::of_pairs(&mut set)
    }

    /// The set of pairs without empty values, which are sorted first.
    pub(crate) fn of_pairs(pairs: &mut [(&str, &str)]) -> Result<Self, LabelsError> {
        pairs.sort_unstable();
        if pairs.first().is_some_and(|(name, _)| name.is_empty()) {
            return Err(LabelsError::EmptyName);
        }
        match pairs.windows(2).find(|w| w[0].0 == w[1].0) {
            Some(twice) => Err(LabelsError::Repeated(twice[0].0.to_owned())),
            None => Ok(Labels(pairs::pack(pairs.iter().copied()))),
        }
    }

    /// The set of pairs that came out of a label set, in order of names.
    pub fn of_sorted<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Self {
        debug_assert!(
            pairs.clone().is_sorted_by(|a, b| a.0 < b.0),
            "pairs of a set are in order"
        );
        Labels(pairs::pack(pairs))
    }

    /// The pairs, in order of names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        Pairs::new(&self.0)
    }

    /// The value of a label.
    pub fn get(&self, name: &str) -> Option<&str> {
        // Sets are small, and names differ early.
        self.iter().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// The metric's name, or `""`.
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME).unwrap_or("")
    }

    /// How many labels there are.
    pub fn len(&self) -> usize {
        self.iter().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same set with one label set to a value; an empty value removes it.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let before = self.iter().filter(|(n, _)| *n < name);
        let after = self.iter().filter(|(n, _)| *n > name);
        let set = Some((name, value)).filter(|_| !value.is_empty());
        Labels(pairs::pack(before.chain(set).chain(after)))
    }

    /// What the bridge stores: `device_id` set, see [`Labels::with_own`].
    #[must_use]
    pub fn of_device(&self, device_id: &str) -> Self {
        self.with_own(DEVICE_ID, device_id)
    }

    /// The set with a label that is the bridge's to set; one of that name that was there already becomes `exported_…`, and
    /// if that is taken, is prefixed again until the name is free.
    #[must_use]
    pub fn with_own(&self, name: &str, value: &str) -> Self {
        let mut set = self.with(name, value);
        if let Some(theirs) = self.get(name) {
            let mut free = format!("exported_{name}");
            while self.get(&free).is_some() {
                free.insert_str(0, "exported_");
            }
            set = set.with(&free, theirs);
        }
        set
    }

    /// The hash that Thanos Receive's hashring uses, see [`RingHasher`].
    pub fn ring_hash(&self, tenant: &Tenant) -> u64 {
        RingHasher::new(tenant).hash(self.iter())
    }
}

/// The hash that Thanos Receive's hashring uses: XXH64, seed 0, of tenant, 0xFF, then name, 0xFF, value, 0xFF of
/// each label in order of names (pkg/store/labelpb HashWithPrefix).
#[derive(Debug, Clone)]
pub struct RingHasher {
    text: Vec<u8>,
    /// Bytes of the tenant's part of the text.
    prefix: usize,
}

impl RingHasher {
    /// For series of a tenant.
    pub fn new(tenant: &Tenant) -> Self {
        let mut text = Vec::with_capacity(256);
        text.extend_from_slice(tenant.as_str().as_bytes());
        text.push(0xff);
        RingHasher {
            prefix: text.len(),
            text,
        }
    }

    /// The hash of a label set's pairs.
    pub fn hash<'a>(&mut self, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> u64 {
        // One call on all bytes: the streaming form costs more than the copy for texts as short as labels.
        self.text.truncate(self.prefix);
        for (name, value) in pairs {
            self.text.extend_from_slice(name.as_bytes());
            self.text.push(0xff);
            self.text.extend_from_slice(value.as_bytes());
            self.text.push(0xff);
        }
        xxhash_rust::xxh64::xxh64(&self.text, 0)
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Labels {
    /// Pair after pair, name before value, bytewise.
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Labels({self})")
    }
}

impl fmt::Display for Labels {
    /// `name{label="value", …}`, values escaped as in the text format.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.metric_name())?;
        let mut open = false;
        for (name, value) in self.iter().filter(|(name, _)| *name != METRIC_NAME) {
            let value = value
                .replace('\\', r"\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            write!(f, "{}{name}=\"{value}\"", if open { ", " } else { "{" })?;
            open = true;
        }
        match (open, self.metric_name().is_empty()) {
            (true, _) => f.write_str("}"),
            (false, true) => f.write_str("{}"),
            (false, false) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sets_are_ordered_and_equal_as_their_pairs_are(
            a in proptest::collection::btree_map("[a-c]{1,2}", "[é-ë]{1,2}", 0..4),
            b in proptest::collection::btree_map("[a-c]{1,2}", "[é-ë]{1,2}", 0..4),
            name in "[a-c]{1,2}",
            value in "[é-ë]{0,1}",
        ) {
            let (mut pairs, other) = (a.clone(), Labels::new(b.iter()).unwrap());
            let set = Labels::new(a.iter().rev()).unwrap();
            prop_assert_eq!(set.cmp(&other), a.iter().cmp(b.iter()));
            prop_assert_eq!(set == other, a == b);
            prop_assert_eq!(set.len(), a.len());
            prop_assert_eq!(set.get(&name), a.get(&name).map(String::as_str));
            pairs.remove(&name);
            if !value.is_empty() {
                pairs.insert(name.clone(), value.clone());
            }
            prop_assert_eq!(set.with(&name, &value), Labels::new(pairs).unwrap());
        }
    }

    #[test]
    fn pairs_are_sorted_and_empty_values_left_out() {
        let set = Labels::new([("job", "node"), ("__name__", "up"), ("x", "")]).unwrap();
        assert_eq!(set.to_string(), "up{job=\"node\"}");
        assert_eq!(set.get("x"), None);
        assert_eq!(
            Labels::new([("a", "1"), ("a", "2")]),
            Err(LabelsError::Repeated("a".into()))
        );
        assert_eq!(Labels::new([("", "1")]), Err(LabelsError::EmptyName));
    }

    #[test]
    fn ring_hashes_are_thanos_s() {
        let tenant = Tenant::new("tenant").unwrap();
        let hash =
            |t: &Tenant, pairs: &[(&str, &str)]| Labels::new(pairs.iter().copied()).unwrap().ring_hash(t);
        assert_eq!(hash(&tenant, &[("pod", "nginx")]), 0x25c4_4c07_80c3_4a23);
        assert_eq!(hash(&tenant, &[("pod", "thanos")]), 0xd39c_2c97_c414_8c40);
        let default = Tenant::new("default-tenant").unwrap();
        let up = [("__name__", "up"), ("instance", "a:9100"), ("job", "node")];
        assert_eq!(hash(&default, &up), 0x2ffa_b341_3ff4_1b56);
    }

    #[test]
    fn a_device_s_own_device_id_is_kept_under_another_name() {
        let set = Labels::new([("__name__", "m"), ("device_id", "x")])
            .unwrap()
            .of_device("gw-1");
        assert_eq!(set.to_string(), "m{device_id=\"gw-1\", exported_device_id=\"x\"}");
    }
}
