//! Some rows of a batch as a batch of their own.

use wire::batch::{Batch, Group, Presence};

/// The rows that have a flag, which stand group by group; groups without any are left out.
pub(crate) fn subset(batch: &Batch, keep: &[bool]) -> Batch {
    let mut rest = keep;
    let mut groups = Vec::new();
    for group in &batch.groups {
        let (flags, after) = rest.split_at(group.rows.len().min(rest.len()));
        rest = after;
        let rows: Vec<usize> = (0..flags.len()).filter(|r| flags[*r]).collect();
        if !rows.is_empty() {
            groups.push(part(group, &rows));
        }
    }
    Batch {
        header: batch.header,
        groups,
    }
}

fn part(group: &Group, rows: &[usize]) -> Group {
    let all = group.rows.len();
    let cells = |s: usize| rows.iter().map(move |r| s * all + r);
    let series = 0..group.series.len();
    let values = series.clone().flat_map(cells).map(|cell| group.values[cell]);
    let present = group.present.as_ref().map(|present| {
        let mut some = Presence::none(group.series.len() * rows.len());
        for (to, from) in series.flat_map(cells).enumerate() {
            some.set(to, present.get(from));
        }
        some
    });
    let place = |row: u32| rows.binary_search(&(row as usize)).ok().map(|row| row as u32);
    let mut histograms = group.histograms.clone();
    histograms.retain_mut(|cell| place(cell.row).map(|row| cell.row = row).is_some());
    let mut exemplars = group.exemplars.clone();
    exemplars.retain_mut(|cell| place(cell.row).map(|row| cell.row = row).is_some());
    let mut metadata = group.metadata.clone();
    metadata.retain_mut(|known| place(known.row).map(|row| known.row = row).is_some());
    Group {
        series: group.series.clone(),
        rows: rows.iter().map(|r| group.rows[*r]).collect(),
        values: values.collect(),
        present,
        histograms,
        exemplars,
        metadata,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wire::batch::{Header, Row};
    use wire::dict::{DictHash, SeriesId};
    use wire::message::HistogramCell;
    use wire::{BootId, Seq, SessionId, Timestamp};

    use super::*;

    /// A group whose cell of series s and row r has the value 100 r + s, absent where that is a multiple of 7, and a
    /// histogram in every cell of the diagonal.
    fn group(series: u32, rows: u32) -> Group {
        let mut group = Group {
            series: (0..series).map(SeriesId::new).collect(),
            present: Some(Presence::none((series * rows) as usize)),
            ..Group::default()
        };
        for r in 0..rows {
            group.rows.push(Row {
                seq: Seq::new(u64::from(r) + 1),
                time: Timestamp::from_ms(i64::from(r)),
                mono_ms: 0,
            });
        }
        for s in 0..series {
            for r in 0..rows {
                let has = (100 * r + s) % 7 != 0 && r != s;
                group.values.push(f64::from(100 * r + s));
                let cell = (s * rows + r) as usize;
                group.present.as_mut().unwrap().set(cell, has);
                if r == s {
                    let (position, row) = (s, r);
                    group.histograms.push(HistogramCell {
                        position,
                        row,
                        histogram: None,
                    });
                }
            }
        }
        group
    }

    proptest! {
        #[test]
        fn kept_rows_keep_their_cells(flags in proptest::collection::vec(any::<bool>(), 9)) {
            let header = Header {
                session: SessionId::new(1),
                boot: BootId::new(1),
                dict: DictHash::from_bytes([0; 16]),
                total: 0,
                clock_error_ms: 0,
            };
            let batch = Batch { header, groups: vec![group(5, 6), group(2, 3)] };
            let some = subset(&batch, &flags);
            let mut found = some.groups.iter();
            for (whole, flags) in batch.groups.iter().zip([&flags[..6], &flags[6..]]) {
                let kept: Vec<usize> = (0..flags.len()).filter(|r| flags[*r]).collect();
                if kept.is_empty() {
                    continue;
                }
                let part = found.next().unwrap();
                prop_assert_eq!(part.rows.len(), kept.len());
                for (to, from) in kept.into_iter().enumerate() {
                    prop_assert_eq!(part.rows[to], whole.rows[from]);
                    prop_assert_eq!(part.samples_of_row(to), whole.samples_of_row(from));
                    for s in 0..whole.series.len() {
                        prop_assert_eq!(part.value(s, to), whole.value(s, from));
                    }
                }
            }
            prop_assert!(found.next().is_none());
        }
    }
}
