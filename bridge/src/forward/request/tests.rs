//! Requests read back with messages as the specifications write them.

use prost::Message;

use super::super::message::Histogram;
use super::super::part::Gathered;
use super::super::part::tests::rows;
use super::*;

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct SeriesV1 {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    histograms: Vec<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<SeriesV1>,
}

#[derive(Clone, PartialEq, Message)]
struct SeriesV2 {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    histograms: Vec<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct RequestV2 {
    #[prost(string, repeated, tag = "4")]
    symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    timeseries: Vec<SeriesV2>,
}

fn open<M: Message + Default>(body: &[u8]) -> M {
    let bytes = snap::raw::Decoder::new().decompress_vec(body).unwrap();
    M::decode(bytes.as_slice()).unwrap()
}

fn histogram(schema: i32) -> wire::message::Histogram {
    wire::message::Histogram {
        count: 3,
        sum: 4.5,
        schema,
        zero_count: 1,
        positive_spans: vec![wire::message::BucketSpan {
            offset: -2,
            length: 2,
        }],
        positive_deltas: vec![1, 0],
        reset_hint: 2,
        start_ms: 77,
        ..Default::default()
    }
}

fn part() -> Part {
    let mut gathered = Gathered::default();
    let mut rows = rows(
        "t",
        &["up", "down"],
        &[(0, -5, -0.0), (0, 10, 1.5), (1, 10, f64::INFINITY)],
    );
    for (time_ms, schema) in [(10, 3), (11, CUSTOM_BUCKETS)] {
        rows.histograms.push(store::HistogramSample {
            series: 1,
            time_ms,
            histogram: histogram(schema),
        });
    }
    gathered.add(rows, i64::MIN, true);
    gathered.shards(1, 100, false).0.remove(0).remove(0)
}

#[test]
fn a_1_0_request_reads_back() {
    let request: WriteRequest = open(&encode(&part(), Protocol::V1));
    let [up, down] = request.timeseries.as_slice() else {
        panic!("{request:?}")
    };
    let labels: Vec<_> = up
        .labels
        .iter()
        .map(|l| (l.name.as_str(), l.value.as_str()))
        .collect();
    assert_eq!(labels, [("__name__", "up"), ("job", "node")]);
    assert_eq!(
        up.samples[1],
        Sample {
            value: 1.5,
            timestamp: 10
        }
    );
    assert_eq!(
        (up.samples[0].value.to_bits(), up.samples[0].timestamp),
        ((-0.0f64).to_bits(), -5)
    );
    // The one with custom buckets stays behind.
    assert_eq!(down.histograms.len(), 1);
    let expected = Histogram {
        start_timestamp: 0,
        ..Histogram::of(&histogram(3), 10)
    };
    assert_eq!(down.histograms[0], expected);
}

#[test]
fn a_2_0_request_reads_back() {
    let request: RequestV2 = open(&encode(&part(), Protocol::V2));
    assert_eq!(request.symbols[0], "");
    let text = |refs: &[u32]| {
        refs.iter()
            .map(|r| request.symbols[*r as usize].clone())
            .collect::<Vec<_>>()
    };
    let [up, down, histograms] = request.timeseries.as_slice() else {
        panic!("{request:?}")
    };
    assert_eq!(text(&up.labels_refs), ["__name__", "up", "job", "node"]);
    assert_eq!(text(&down.labels_refs), ["__name__", "down", "job", "node"]);
    assert_eq!(down.labels_refs, histograms.labels_refs);
    assert!(up.histograms.is_empty() && histograms.samples.is_empty());
    assert_eq!(
        down.samples,
        [Sample {
            value: f64::INFINITY,
            timestamp: 10
        }]
    );
    let expected = [
        Histogram::of(&histogram(3), 10),
        Histogram::of(&histogram(CUSTOM_BUCKETS), 11),
    ];
    assert_eq!(histograms.histograms, expected);
    assert_eq!(expected[0].start_timestamp, 77);
}
