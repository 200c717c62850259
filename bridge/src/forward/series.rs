//! A series as a destination gets it: external and tenant labels added, relabelled, in the wire form of 1.0.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use prost::encoding::{WireType, encode_key, encode_varint};
use wire::{Labels, Tenant};

use super::config::RemoteWrite;
use crate::relabel::relabel;

/// Labels of a series, of one tenant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Series {
    tenant: Tenant,
    /// `labels` of a 1.0 TimeSeries: field 1, length, then name and value as fields 1 and 2; sorted by name.
    labels: Box<[u8]>,
    hash: u64,
}

impl Series {
    /// The series of a tenant's labels at a destination; `None`: its rules drop it.
    pub(crate) fn of(tenant: &Tenant, labels: &Labels, to: &RemoteWrite) -> Option<Series> {
        let mut labels = labels.clone();
        for (name, value) in &to.external_labels {
            if labels.get(name).is_none() {
                labels = labels.with(name, value);
            }
        }
        if let Some(name) = &to.tenant_label {
            labels = labels.with(name, tenant.as_str());
        }
        let labels = relabel(&labels, &to.relabel)?;
        Some(Series::new(tenant.clone(), &labels))
    }

    pub(crate) fn new(tenant: Tenant, labels: &Labels) -> Series {
        let mut text = Vec::new();
        let mut label = Vec::new();
        for (name, value) in labels.iter() {
            label.clear();
            put_bytes(&mut label, 1, name.as_bytes());
            put_bytes(&mut label, 2, value.as_bytes());
            put_bytes(&mut text, 1, &label);
        }
        let mut hasher = DefaultHasher::new();
        (&tenant, &text).hash(&mut hasher);
        Series {
            tenant,
            labels: text.into(),
            hash: hasher.finish(),
        }
    }

    pub(crate) fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Of tenant and labels; what decides on the shard.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// Field 1 of a 1.0 TimeSeries, all of them.
    pub(crate) fn as_fields(&self) -> &[u8] {
        &self.labels
    }

    /// Names and values.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = &self.labels[..];
        std::iter::from_fn(move || {
            let mut label = take_bytes(&mut rest)?;
            let name = take_bytes(&mut label)?;
            let value = take_bytes(&mut label)?;
            Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?))
        })
    }
}

/// A length-delimited field.
pub(crate) fn put_bytes(out: &mut Vec<u8>, tag: u32, bytes: &[u8]) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// The bytes of the next field, whose key is one byte.
fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (_, mut after) = rest.split_first()?;
    let len = usize::try_from(prost::encoding::decode_varint(&mut after).ok()?).ok()?;
    let (bytes, after) = after.split_at_checked(len)?;
    *rest = after;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_back_in_order() {
        let long = "x".repeat(300);
        let labels = Labels::new([("__name__", "up"), ("z", long.as_str()), ("a", "b")]).unwrap();
        let series = Series::new(Tenant::new("t").unwrap(), &labels);
        let pairs: Vec<_> = series.pairs().collect();
        assert_eq!(pairs, labels.iter().collect::<Vec<_>>());
    }
}
