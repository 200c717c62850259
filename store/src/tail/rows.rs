//! Stored rows of a record as samples of series.

use std::sync::Arc;

use wire::Labels;
use wire::batch::Group;

use super::devices::Stored;
use super::lists::Lists;
use super::{HistogramSample, Resolve, Rows, Sample};
use crate::Store;
use crate::ledger::Class;

/// Appends the stored rows of every group.
pub(super) fn split<S>(
    stored: &Stored,
    store: &Store,
    lists: &mut Lists<S>,
    resolve: &mut Resolve<'_, S>,
    out: &mut Vec<Rows<S>>,
) {
    let mut rest = stored.rows.as_slice();
    for group in &stored.batch.groups {
        let (facts, after) = rest.split_at(group.rows.len().min(rest.len()));
        rest = after;
        let take: Vec<bool> = facts.iter().map(|row| row.class == Class::Stored).collect();
        if !take.contains(&true) {
            continue;
        }
        let Some(series) = series_of(stored, group, store, lists, resolve) else {
            continue;
        };
        out.push(Rows {
            received: stored.received,
            series,
            samples: floats(group, &take),
            histograms: histograms(group, &take),
        });
    }
}

fn series_of<S>(
    stored: &Stored,
    group: &Group,
    store: &Store,
    lists: &mut Lists<S>,
    resolve: &mut Resolve<'_, S>,
) -> Option<Arc<[S]>> {
    let hash = stored.batch.header.dict;
    if let Some(known) = lists.get(stored.number, hash, &group.series) {
        return Some(known);
    }
    let dict = store.dictionary(&stored.device, hash)?;
    let id = stored.device.device().as_str();
    let labels = group.series.iter().map(|series| dict.get(*series));
    let series: Option<Vec<S>> = labels
        .map(|set: Option<&Labels>| Some(resolve(stored.device.tenant(), &set?.of_device(id))))
        .collect();
    let series: Arc<[S]> = series?.into();
    lists.insert(stored.number, hash, &group.series, series.clone());
    Some(series)
}

pub(super) fn floats(group: &Group, take: &[bool]) -> Vec<Sample> {
    let rows = group.rows.len();
    let mut samples = Vec::with_capacity(group.series.len() * rows);
    for series in 0..group.series.len() {
        let of_row = |r: usize| match &group.present {
            Some(present) if !present.get(series * rows + r) => None,
            _ => group.values.get(series * rows + r).copied(),
        };
        for (r, row) in group.rows.iter().enumerate() {
            if let Some(value) = of_row(r).filter(|_| take.get(r) == Some(&true)) {
                samples.push(Sample {
                    series: series as u32,
                    time_ms: row.time.ms(),
                    value,
                });
            }
        }
    }
    samples
}

pub(super) fn histograms(group: &Group, take: &[bool]) -> Vec<HistogramSample> {
    let taken = group
        .histograms
        .iter()
        .filter(|cell| take.get(cell.row as usize) == Some(&true));
    taken
        .filter_map(|cell| {
            Some(HistogramSample {
                series: cell.position,
                time_ms: group.rows.get(cell.row as usize)?.time.ms(),
                histogram: cell.histogram.clone()?,
            })
        })
        .collect()
}
