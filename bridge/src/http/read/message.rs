//! Messages of remote read (prometheus/prometheus prompb/remote.proto and types.proto). Answers with many samples are
//! written field by field.

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use store::SeriesSlice;
use wire::Labels;

use crate::forward::Histogram;

/// What a client asks.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ReadRequest {
    #[prost(message, repeated, tag = "1")]
    pub(super) queries: Vec<Query>,
    /// In order of preference; none: samples.
    #[prost(int32, repeated, tag = "2")]
    pub(super) accepted_response_types: Vec<i32>,
}

/// How an answer may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum ResponseType {
    Samples = 0,
    StreamedXorChunks = 1,
}

/// Series in a range of time, both ends included.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Query {
    #[prost(int64, tag = "1")]
    pub(super) start_timestamp_ms: i64,
    #[prost(int64, tag = "2")]
    pub(super) end_timestamp_ms: i64,
    #[prost(message, repeated, tag = "3")]
    pub(super) matchers: Vec<LabelMatcher>,
}

/// A condition on one label; 0 equal, 1 not equal, 2 regular expression, 3 its opposite.
#[derive(Clone, PartialEq, Message)]
pub(super) struct LabelMatcher {
    #[prost(int32, tag = "1")]
    pub(super) r#type: i32,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(string, tag = "3")]
    pub(super) value: String,
}

/// A label.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Label {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

/// A frame of a chunked answer.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ChunkedReadResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) chunked_series: Vec<ChunkedSeries>,
    #[prost(int64, tag = "2")]
    pub(super) query_index: i64,
}

/// Some chunks of a series.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ChunkedSeries {
    #[prost(message, repeated, tag = "1")]
    pub(super) labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    pub(super) chunks: Vec<Chunk>,
}

/// A chunk; encoding 1 is XOR.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Chunk {
    #[prost(int64, tag = "1")]
    pub(super) min_time_ms: i64,
    #[prost(int64, tag = "2")]
    pub(super) max_time_ms: i64,
    #[prost(int32, tag = "3")]
    pub(super) r#type: i32,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) data: Vec<u8>,
}

/// Labels as messages.
pub(super) fn labels(set: &Labels) -> Vec<Label> {
    let label = |(name, value): (&str, &str)| Label {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    set.iter().map(label).collect()
}

/// `ReadResponse`: per query a `QueryResult` of `TimeSeries`.
pub(super) fn encode_samples(results: Vec<Vec<SeriesSlice>>) -> Vec<u8> {
    let mut out = Vec::new();
    for series in results {
        let mut result = Vec::new();
        for series in series {
            put_bytes(&mut result, 1, &time_series(&series));
        }
        put_bytes(&mut out, 1, &result);
    }
    out
}

fn time_series(series: &SeriesSlice) -> Vec<u8> {
    let mut out = Vec::with_capacity(series.values.len() * 18);
    for label in labels(&series.labels) {
        put_bytes(&mut out, 1, &label.encode_to_vec());
    }
    for (time, value) in series.times_ms.iter().zip(&series.values) {
        // Both fields always, as a field left out would make -0 into 0.
        encode_key(2, WireType::LengthDelimited, &mut out);
        encode_varint(10 + encoded_len_varint(*time as u64) as u64, &mut out);
        encode_key(1, WireType::SixtyFourBit, &mut out);
        out.extend_from_slice(&value.to_bits().to_le_bytes());
        encode_key(2, WireType::Varint, &mut out);
        encode_varint(*time as u64, &mut out);
    }
    for (time, histogram) in &series.histograms {
        put_bytes(&mut out, 4, &Histogram::of(histogram, *time).encode_to_vec());
    }
    out
}

fn put_bytes(out: &mut Vec<u8>, tag: u32, bytes: &[u8]) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}
