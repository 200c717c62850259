//! Messages of remote write 1.0 and 2.0 (prometheus/prometheus prompb/types.proto and prompb/io/prometheus/write/v2).
//!
//! `request` writes labels, series and samples field by field, as their texts are at hand in the wire form; what stands
//! here is the rest.

/// A native histogram, the same in both versions but for `start_timestamp`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Histogram {
    #[prost(oneof = "Count", tags = "1, 2")]
    pub(crate) count: Option<Count>,
    #[prost(double, tag = "3")]
    pub(crate) sum: f64,
    #[prost(sint32, tag = "4")]
    pub(crate) schema: i32,
    #[prost(double, tag = "5")]
    pub(crate) zero_threshold: f64,
    #[prost(oneof = "ZeroCount", tags = "6, 7")]
    pub(crate) zero_count: Option<ZeroCount>,
    #[prost(message, repeated, tag = "8")]
    pub(crate) negative_spans: Vec<wire::message::BucketSpan>,
    #[prost(sint64, repeated, tag = "9")]
    pub(crate) negative_deltas: Vec<i64>,
    #[prost(double, repeated, tag = "10")]
    pub(crate) negative_counts: Vec<f64>,
    #[prost(message, repeated, tag = "11")]
    pub(crate) positive_spans: Vec<wire::message::BucketSpan>,
    #[prost(sint64, repeated, tag = "12")]
    pub(crate) positive_deltas: Vec<i64>,
    #[prost(double, repeated, tag = "13")]
    pub(crate) positive_counts: Vec<f64>,
    /// 0 unknown, 1 yes, 2 no, 3 gauge.
    #[prost(int32, tag = "14")]
    pub(crate) reset_hint: i32,
    /// ms since the epoch.
    #[prost(int64, tag = "15")]
    pub(crate) timestamp: i64,
    #[prost(double, repeated, tag = "16")]
    pub(crate) custom_values: Vec<f64>,
    /// ms since the epoch, 0: unknown; 2.0 only.
    #[prost(int64, tag = "17")]
    pub(crate) start_timestamp: i64,
}

/// Observations.
#[derive(Clone, Copy, PartialEq, prost::Oneof)]
pub(crate) enum Count {
    #[prost(uint64, tag = "1")]
    Int(u64),
    #[prost(double, tag = "2")]
    Float(f64),
}

/// Observations in the zero bucket.
#[derive(Clone, Copy, PartialEq, prost::Oneof)]
pub(crate) enum ZeroCount {
    #[prost(uint64, tag = "6")]
    Int(u64),
    #[prost(double, tag = "7")]
    Float(f64),
}

/// The schema of custom buckets, which 1.0 does not have.
pub(crate) const CUSTOM_BUCKETS: i32 = -53;

impl Histogram {
    /// A device's histogram at a time, ms since the epoch.
    pub(crate) fn of(histogram: &wire::message::Histogram, time_ms: i64) -> Self {
        let h = histogram.clone();
        let (count, zero_count) = match h.float {
            true => (Count::Float(h.count_float), ZeroCount::Float(h.zero_count_float)),
            false => (Count::Int(h.count), ZeroCount::Int(h.zero_count)),
        };
        Histogram {
            count: Some(count),
            sum: h.sum,
            schema: h.schema,
            zero_threshold: h.zero_threshold,
            zero_count: Some(zero_count),
            negative_spans: h.negative_spans,
            negative_deltas: h.negative_deltas,
            negative_counts: h.negative_counts,
            positive_spans: h.positive_spans,
            positive_deltas: h.positive_deltas,
            positive_counts: h.positive_counts,
            reset_hint: i32::try_from(h.reset_hint).unwrap_or(0),
            timestamp: time_ms,
            custom_values: h.custom_values,
            start_timestamp: h.start_ms,
        }
    }
}
