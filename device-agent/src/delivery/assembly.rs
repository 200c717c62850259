//! Groups out of rows: rows with mostly the same series share their columns.
//!
//! Rows that match a group of the key take exactly the key's series, so that they are written as differences from it;
//! what they have beyond goes to a group of its own. Other rows share the union of their series.

use std::sync::Arc;

use wire::batch::{Group, GroupKey, Key, Presence, Row};
use wire::dict::SeriesId;

/// A row whose time is corrected.
#[derive(Debug, Clone)]
pub(crate) struct ReadyRow {
    pub(crate) row: Row,
    /// The row's only group, of one row.
    pub(crate) group: Group,
}

struct Cluster {
    series: Arc<[SeriesId]>,
    fixed: bool,
    rows: Vec<usize>,
}

/// Groups that hold all rows.
pub(crate) fn groups(rows: &[ReadyRow], key: Option<&Key>) -> Vec<Group> {
    let mut clusters: Vec<Cluster> = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let series = &row.group.series;
        if let Some(cluster) = clusters.iter_mut().find(|c| alike(&c.series, series)) {
            if !cluster.fixed && cluster.series != *series {
                cluster.series = union(&cluster.series, series).into();
            }
            cluster.rows.push(at);
            continue;
        }
        let place = key.and_then(|key| place(key, series));
        clusters.push(Cluster {
            series: place.map_or(series, GroupKey::series).clone(),
            fixed: place.is_some(),
            rows: vec![at],
        });
    }
    let mut groups: Vec<Group> = clusters.iter().map(|cluster| group(cluster, rows)).collect();
    groups.extend(
        clusters
            .iter()
            .filter(|c| c.fixed)
            .filter_map(|c| beyond(c, rows)),
    );
    groups
}

/// The key's group that a row's series match.
pub(crate) fn place<'a>(key: &'a Key, series: &[SeriesId]) -> Option<&'a GroupKey> {
    key.groups().iter().find(|group| alike(group.series(), series))
}

/// Whether two lists are best written as one: equal, or half of the longer is common.
pub(crate) fn alike(a: &[SeriesId], b: &[SeriesId]) -> bool {
    a == b || common(a, b) * 2 >= a.len().max(b.len()).max(1)
}

fn common(a: &[SeriesId], b: &[SeriesId]) -> usize {
    let (mut x, mut y, mut count) = (0, 0, 0);
    while x < a.len() && y < b.len() {
        match a[x].cmp(&b[y]) {
            std::cmp::Ordering::Less => x += 1,
            std::cmp::Ordering::Greater => y += 1,
            std::cmp::Ordering::Equal => {
                count += 1;
                x += 1;
                y += 1;
            }
        }
    }
    count
}

fn union(a: &[SeriesId], b: &[SeriesId]) -> Vec<SeriesId> {
    let mut all: Vec<SeriesId> = a.iter().chain(b).copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn group(cluster: &Cluster, rows: &[ReadyRow]) -> Group {
    let (series, count) = (&cluster.series, cluster.rows.len());
    let whole = cluster.rows.iter().all(|&at| rows[at].group.series == *series);
    let mut values = vec![0.0; series.len() * count];
    let mut present = (!whole).then(|| Presence::none(values.len()));
    let mut metadata = Vec::new();
    for (r, &at) in cluster.rows.iter().enumerate() {
        let row = &rows[at].group;
        let mut s = 0;
        for (id, value) in row.series.iter().zip(&row.values) {
            s += series[s..].partition_point(|other| other < id);
            if series.get(s) != Some(id) {
                continue;
            }
            values[s * count + r] = *value;
            if let Some(present) = &mut present {
                present.set(s * count + r, true);
            }
        }
        metadata.extend(row.metadata.iter().cloned().map(|mut m| {
            m.row = u32::try_from(r).unwrap_or(0);
            m
        }));
    }
    Group {
        series: series.clone(),
        rows: cluster.rows.iter().map(|&at| rows[at].row).collect(),
        values,
        present,
        metadata,
        ..Group::default()
    }
}

/// What the rows of a cluster have beyond its fixed series.
fn beyond(cluster: &Cluster, rows: &[ReadyRow]) -> Option<Group> {
    let rest: Vec<ReadyRow> = cluster
        .rows
        .iter()
        .map(|&at| rest(&rows[at], &cluster.series))
        .filter(|row| !row.group.series.is_empty())
        .collect();
    let mut series = Vec::new();
    for row in &rest {
        series = union(&series, &row.group.series);
    }
    let cluster = Cluster {
        series: series.into(),
        fixed: false,
        rows: (0..rest.len()).collect(),
    };
    (!rest.is_empty()).then(|| group(&cluster, &rest))
}

fn rest(row: &ReadyRow, without: &[SeriesId]) -> ReadyRow {
    let cells = row.group.series.iter().zip(&row.group.values);
    let cells = cells.filter(|(id, _)| without.binary_search(id).is_err());
    let (series, values): (Vec<SeriesId>, _) = cells.map(|(id, value)| (*id, *value)).unzip();
    ReadyRow {
        row: row.row,
        group: Group {
            series: series.into(),
            rows: vec![row.row],
            values,
            ..Group::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use wire::{Seq, Timestamp};

    use super::*;

    fn row(seq: u64, cells: &BTreeMap<u32, f64>) -> ReadyRow {
        let row = Row {
            seq: Seq::new(seq),
            time: Timestamp::from_ms(seq.cast_signed()),
            mono_ms: seq,
        };
        let group = Group {
            series: cells.keys().map(|&n| SeriesId::new(n)).collect(),
            rows: vec![row],
            values: cells.values().copied().collect(),
            ..Group::default()
        };
        ReadyRow { row, group }
    }

    proptest! {
        #[test]
        fn every_value_of_every_row_is_in_exactly_one_group(
            rows in proptest::collection::vec(proptest::collection::btree_map(0u32..30, -1e9f64..1e9, 0..30), 1..12),
        ) {
            let ready: Vec<ReadyRow> = (1..).zip(&rows).map(|(seq, cells)| row(seq, cells)).collect();
            let mut found: Vec<BTreeMap<u32, f64>> = vec![BTreeMap::new(); rows.len()];
            for group in groups(&ready, None) {
                for (r, row) in group.rows.iter().enumerate() {
                    for (s, id) in group.series.iter().enumerate() {
                        if let Some(value) = group.value(s, r) {
                            let twice = found[row.seq.get() as usize - 1].insert(id.get(), value);
                            prop_assert_eq!(twice, None);
                        }
                    }
                }
            }
            prop_assert_eq!(found, rows);
        }
    }
}
