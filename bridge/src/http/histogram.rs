//! Native histograms of the wire form as the engine's: spans and deltas become indices and absolute counts.

use promql::{Buckets, CounterReset, Histogram};
use wire::message::{self, BucketSpan};

/// A device's histogram. Buckets that its spans name and that have no count, or the other way round, are left out.
pub(super) fn of_wire(histogram: &message::Histogram) -> Histogram {
    let h = histogram;
    let (count, zero_count) = match h.float {
        true => (h.count_float, h.zero_count_float),
        false => (h.count as f64, h.zero_count as f64),
    };
    let buckets = |spans: &[BucketSpan], deltas: &[i64], counts: &[f64]| match h.float {
        true => placed(spans, counts.iter().copied()),
        false => placed(spans, absolute(deltas)),
    };
    Histogram {
        counter_reset: match h.reset_hint {
            1 => CounterReset::Reset,
            2 => CounterReset::NotReset,
            3 => CounterReset::Gauge,
            _ => CounterReset::Unknown,
        },
        schema: h.schema,
        zero_threshold: h.zero_threshold,
        zero_count,
        count,
        sum: h.sum,
        positive: buckets(&h.positive_spans, &h.positive_deltas, &h.positive_counts),
        negative: buckets(&h.negative_spans, &h.negative_deltas, &h.negative_counts),
        custom_bounds: h.custom_values.as_slice().into(),
    }
}

/// Integer buckets are differences to the bucket before, the first to 0.
fn absolute(deltas: &[i64]) -> impl Iterator<Item = f64> + '_ {
    deltas.iter().scan(0_i64, |count, delta| {
        *count = count.wrapping_add(*delta);
        Some(*count as f64)
    })
}

/// Counts at the indices that spans name. A span may claim 2^32 buckets, so the counts end the loop.
fn placed(spans: &[BucketSpan], mut counts: impl Iterator<Item = f64>) -> Buckets {
    let mut buckets = Vec::new();
    let mut next = 0_i32;
    for span in spans {
        next = next.saturating_add(span.offset);
        for _ in 0..span.length {
            let Some(count) = counts.next() else {
                return Buckets::new(buckets);
            };
            buckets.push((next, count));
            next = next.saturating_add(1);
        }
    }
    Buckets::new(buckets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(offset: i32, length: u32) -> BucketSpan {
        BucketSpan { offset, length }
    }

    #[test]
    fn spans_and_deltas_become_indices_and_counts() {
        let wire = message::Histogram {
            count: 21,
            zero_count: 2,
            sum: 18.4,
            schema: 1,
            zero_threshold: 0.001,
            positive_spans: vec![span(-1, 2), span(3, 1)],
            positive_deltas: vec![5, -2, 4],
            negative_spans: vec![span(0, 1)],
            negative_deltas: vec![4],
            reset_hint: 2,
            ..message::Histogram::default()
        };
        let found = of_wire(&wire);
        assert_eq!(found.positive, Buckets::new(vec![(-1, 5.0), (0, 3.0), (4, 7.0)]));
        assert_eq!(found.negative, Buckets::new(vec![(0, 4.0)]));
        assert_eq!((found.count, found.zero_count, found.schema), (21.0, 2.0, 1));
        assert_eq!(found.counter_reset, CounterReset::NotReset);
    }

    #[test]
    fn counts_are_floats_where_they_say_so() {
        let wire = message::Histogram {
            float: true,
            count_float: 2.5,
            schema: promql::CUSTOM_SCHEMA,
            positive_spans: vec![span(0, 2)],
            positive_counts: vec![0.5, 2.0],
            custom_values: vec![1.0],
            ..message::Histogram::default()
        };
        let found = of_wire(&wire);
        assert_eq!(found.count, 2.5);
        assert_eq!(found.buckets()[1].upper, f64::INFINITY);
    }

    #[test]
    fn a_span_of_four_billion_buckets_takes_only_the_counts_there_are() {
        let wire = message::Histogram {
            positive_spans: vec![span(i32::MAX, u32::MAX), span(i32::MAX, u32::MAX)],
            positive_deltas: vec![1, i64::MAX, 1],
            ..message::Histogram::default()
        };
        assert!(!of_wire(&wire).positive.is_empty());
    }
}
