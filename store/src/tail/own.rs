//! Results of the bridge's rules, as a record of the journal has them.

use std::sync::Arc;

use wire::{Tenant, Timestamp};

use super::rows::{floats, histograms};
use super::{Resolve, Rows};
use crate::record::ResultsRecord;
use crate::results::{self, Results};

/// Results of one record.
#[derive(Debug)]
pub(super) struct OwnRows {
    tenant: Tenant,
    received: Timestamp,
    lists: Vec<Results>,
}

impl OwnRows {
    /// Reads a record; `None`: it cannot be read.
    pub(super) fn read(record: &ResultsRecord, received: Timestamp) -> Option<Self> {
        let (tenant, lists) = results::decode(record).ok()?;
        Some(OwnRows {
            tenant,
            received,
            lists,
        })
    }

    /// Samples, also those that took the place of others.
    pub(super) fn samples(&self) -> u64 {
        self.lists.iter().map(|list| list.rows.samples()).sum()
    }

    /// Times of the earliest and the latest row.
    pub(super) fn times(&self) -> Option<(i64, i64)> {
        let rows = || self.lists.iter().flat_map(|list| &list.rows.rows);
        let times = || rows().map(|row| row.time.ms());
        times().min().zip(times().max())
    }

    /// Appends the rows of every list.
    pub(super) fn split<S>(&self, resolve: &mut Resolve<'_, S>, out: &mut Vec<Rows<S>>) {
        for list in &self.lists {
            let take = vec![true; list.rows.rows.len()];
            let series = list.series.iter().map(|labels| resolve(&self.tenant, labels));
            out.push(Rows {
                received: self.received,
                series: series.collect::<Arc<[S]>>(),
                samples: floats(&list.rows, &take),
                histograms: histograms(&list.rows, &take),
            });
        }
    }
}
