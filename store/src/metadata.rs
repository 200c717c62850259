//! Type, help and unit of each tenant's metrics, as devices told them.
//!
//! A device tells them once a session, with a record whose journal file is freed one day, so they have a table of their
//! own in dict.redb: `<tenant>`, NUL, family -> a protobuf list of what was told, the newest last. Rows are written before
//! the journal's transaction, and only when something is new. Every tenant has a budget of bytes; what does not fit is
//! counted and told again by the device's next session.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use prost::Message;
use wire::{Tenant, message};

use crate::dicts::Dicts;
use crate::entry::Entry;
use crate::journal::FileError;

/// What is known of one metric family, at most this often: devices of several versions may tell several things.
const MAX_VARIANTS: usize = 4;

/// Bytes of a tenant's families and their texts.
const MAX_BYTES: usize = 4 << 20;

/// What a family costs beside its texts.
const OVERHEAD: usize = 64;

/// What a device told of a metric family.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Metadata {
    /// Prometheus's type word: counter, gauge, histogram, gaugehistogram, summary, info, stateset, unknown.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// HELP.
    #[prost(string, tag = "2")]
    pub help: String,
    /// UNIT.
    #[prost(string, tag = "3")]
    pub unit: String,
}

/// A row of the table.
#[derive(Clone, PartialEq, Eq, Message)]
struct Row {
    #[prost(message, repeated, tag = "1")]
    variants: Vec<Metadata>,
}

impl Row {
    fn bytes(&self, family: &str) -> usize {
        let texts = |m: &Metadata| m.kind.len() + m.help.len() + m.unit.len() + OVERHEAD;
        family.len() + OVERHEAD + self.variants.iter().map(texts).sum::<usize>()
    }

    fn knows(&self, told: &message::Metadata) -> bool {
        let is_known = |m: &Metadata| m.kind == told.kind && m.help == told.help && m.unit == told.unit;
        self.variants.iter().any(is_known)
    }

    /// Adds what is not there yet; says whether it was not.
    fn add(&mut self, told: &message::Metadata) -> bool {
        if self.knows(told) {
            return false;
        }
        if self.variants.len() == MAX_VARIANTS {
            self.variants.remove(0);
        }
        self.variants.push(Metadata {
            kind: told.kind.clone(),
            help: told.help.clone(),
            unit: told.unit.clone(),
        });
        true
    }
}

#[derive(Debug, Default)]
struct OfTenant {
    families: BTreeMap<String, Row>,
    bytes: usize,
}

impl OfTenant {
    fn set(&mut self, family: String, row: Row) {
        self.bytes += row.bytes(&family);
        if let Some(old) = self.families.get(&family) {
            self.bytes -= old.bytes(&family);
        }
        self.families.insert(family, row);
    }
}

/// The table in memory; all of it is in dict.redb too.
#[derive(Debug, Default)]
pub(crate) struct MetadataTable {
    tenants: RwLock<HashMap<Tenant, OfTenant>>,
    refused: AtomicU64,
}

/// New rows, by tenant and family.
type New = BTreeMap<(Tenant, String), Row>;

impl MetadataTable {
    /// Reads what dict.redb has; rows that cannot be read are left out.
    pub(crate) fn load(dicts: &Dicts) -> Result<Self, FileError> {
        let table = MetadataTable::default();
        let rows = dicts.metadata()?.into_iter().filter_map(|(key, value)| {
            let at = key.iter().position(|byte| *byte == 0)?;
            let tenant = Tenant::new(std::str::from_utf8(&key[..at]).ok()?).ok()?;
            let family = std::str::from_utf8(&key[at + 1..]).ok()?.to_owned();
            Some(((tenant, family), Row::decode(value.as_slice()).ok()?))
        });
        table.apply(rows.collect());
        Ok(table)
    }

    /// Makes durable what entries tell and nobody told before.
    pub(crate) fn learn(&self, entries: &[Entry], dicts: &Dicts) -> Result<(), FileError> {
        let new = self.new_rows(entries);
        if new.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = new
            .iter()
            .map(|((tenant, family), row)| (key_of(tenant, family), row.encode_to_vec()))
            .collect();
        dicts.put_metadata(&rows)?;
        self.apply(new);
        Ok(())
    }

    fn new_rows(&self, entries: &[Entry]) -> New {
        let mut new = New::new();
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        let mut added: HashMap<&Tenant, usize> = HashMap::new();
        for entry in entries {
            let Entry::Batch(entry) = entry else { continue };
            let tenant = entry.device.tenant();
            let known = tenants.get(tenant);
            for told in entry.batch.groups.iter().flat_map(|group| &group.metadata) {
                // A fleet tells the same over and over: that costs no copy.
                let here = known.and_then(|known| known.families.get(&told.family));
                if here.is_some_and(|row| row.knows(told)) {
                    continue;
                }
                let key = (tenant.clone(), told.family.clone());
                let row = new.get(&key).or(here);
                let mut row = row.cloned().unwrap_or_default();
                let before = row.bytes(&told.family);
                if !row.add(told) {
                    continue;
                }
                let more = row.bytes(&told.family).saturating_sub(before) + OVERHEAD;
                let added = added.entry(tenant).or_default();
                if known.map_or(0, |known| known.bytes) + *added + more > MAX_BYTES {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                *added += more + told.family.len();
                new.insert(key, row);
            }
        }
        new
    }

    fn apply(&self, new: New) {
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        for ((tenant, family), row) in new {
            tenants.entry(tenant).or_default().set(family, row);
        }
    }

    /// What is known of a tenant's families, by name, of one if it is named; at most `most` families.
    pub(crate) fn of(
        &self,
        tenant: &Tenant,
        family: Option<&str>,
        most: usize,
    ) -> Vec<(String, Vec<Metadata>)> {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = tenants.get(tenant) else {
            return Vec::new();
        };
        let pair = |(family, row): (&String, &Row)| (family.clone(), row.variants.clone());
        match family {
            Some(family) => known
                .families
                .get_key_value(family)
                .map(pair)
                .into_iter()
                .take(most)
                .collect(),
            None => known.families.iter().take(most).map(pair).collect(),
        }
    }

    /// How often something did not fit into its tenant's budget.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

fn key_of(tenant: &Tenant, family: &str) -> Vec<u8> {
    let mut key = tenant.as_str().as_bytes().to_vec();
    key.push(0);
    key.extend_from_slice(family.as_bytes());
    key
}

#[cfg(test)]
mod tests;
