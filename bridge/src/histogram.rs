//! Native histograms of the wire form as the engine's, where spans and deltas are indices and absolute counts, and back.

use promql::{Buckets, CounterReset, Histogram};
use wire::message::{self, BucketSpan};

/// A device's histogram. Buckets that its spans name and that have no count, or the other way round, are left out.
pub(crate) fn of_wire(histogram: &message::Histogram) -> Histogram {
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

/// A histogram of the engine for storage. What it says of resets is of the series that it was made of, so only a gauge
/// stays one.
pub(crate) fn to_wire(histogram: &Histogram) -> message::Histogram {
    let h = histogram;
    let (positive_spans, positive_counts) = spans(&h.positive);
    let (negative_spans, negative_counts) = spans(&h.negative);
    message::Histogram {
        float: true,
        count_float: h.count,
        sum: h.sum,
        schema: h.schema,
        zero_threshold: h.zero_threshold,
        zero_count_float: h.zero_count,
        negative_spans,
        negative_counts,
        positive_spans,
        positive_counts,
        reset_hint: match h.counter_reset {
            CounterReset::Gauge => 3,
            _ => 0,
        },
        custom_values: h.custom_bounds.to_vec(),
        ..message::Histogram::default()
    }
}

/// Neighbouring buckets as spans, and their counts.
fn spans(buckets: &Buckets) -> (Vec<BucketSpan>, Vec<f64>) {
    let (mut spans, mut counts) = (Vec::<BucketSpan>::new(), Vec::new());
    // The index after the last bucket; indices are far from the ends of what an i32 holds.
    let mut next = 0;
    for (index, count) in buckets.iter() {
        let offset = index.saturating_sub(next);
        match spans.last_mut() {
            Some(span) if offset == 0 => span.length += 1,
            _ => spans.push(BucketSpan { offset, length: 1 }),
        }
        counts.push(count);
        next = index.saturating_add(1);
    }
    (spans, counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let histogram = Histogram {
            counter_reset: CounterReset::Gauge,
            schema: 2,
            zero_threshold: 0.001,
            zero_count: 0.5,
            count: 12.25,
            sum: -3.5,
            positive: Buckets::new(vec![(-7, 1.5), (-6, 2.0), (0, 0.25), (9, 4.0)]),
            negative: Buckets::new(vec![(0, 4.0)]),
            ..Histogram::default()
        };
        let wire = to_wire(&histogram);
        assert_eq!(wire.positive_spans, [span(-7, 2), span(5, 1), span(8, 1)]);
        let back = of_wire(&wire);
        assert_eq!(back.counter_reset, CounterReset::Gauge);
        assert_eq!(
            (back.positive, back.negative),
            (histogram.positive, histogram.negative)
        );
        assert_eq!(
            (back.count, back.sum, back.zero_count, back.schema),
            (12.25, -3.5, 0.5, 2)
        );
        let custom = Histogram {
            counter_reset: CounterReset::NotReset,
            schema: promql::CUSTOM_SCHEMA,
            custom_bounds: [1.0, 5.0].into(),
            ..Histogram::default()
        };
        let back = of_wire(&to_wire(&custom));
        assert_eq!(back.custom_bounds, custom.custom_bounds);
        assert_eq!(back.counter_reset, CounterReset::Unknown);
    }

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
