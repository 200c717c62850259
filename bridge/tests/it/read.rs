//! Remote read: what a request gets, and what is refused before it costs anything. That a real Prometheus reads it is
//! tested in the crate of tests.

use prost::Message;

use crate::server::{Api, START_MS};

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    queries: Vec<Query>,
    #[prost(int32, repeated, tag = "2")]
    accepted: Vec<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct Query {
    #[prost(int64, tag = "1")]
    start: i64,
    #[prost(int64, tag = "2")]
    end: i64,
    #[prost(message, repeated, tag = "3")]
    matchers: Vec<Matcher>,
}

#[derive(Clone, PartialEq, Message)]
struct Matcher {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(message, repeated, tag = "1")]
    results: Vec<Result>,
}

#[derive(Clone, PartialEq, Message)]
struct Result {
    #[prost(message, repeated, tag = "1")]
    series: Vec<Series>,
}

#[derive(Clone, PartialEq, Message)]
struct Series {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    time: i64,
}

fn packed(request: &Request) -> Vec<u8> {
    snap::raw::Encoder::new()
        .compress_vec(&request.encode_to_vec())
        .unwrap()
}

fn matcher(kind: i32, name: &str, value: &str) -> Matcher {
    Matcher {
        kind,
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

/// `{<matchers>}` in the two seconds of the batch.
fn request(matchers: Vec<Matcher>, accepted: Vec<i32>) -> Vec<u8> {
    let query = Query {
        start: START_MS - 1000,
        end: START_MS,
        matchers,
    };
    packed(&Request {
        queries: vec![query],
        accepted,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_are_read_bit_for_bit_with_external_labels() {
    let api = Api::start_with(|config| {
        config.external_labels = wire::Labels::new([("site", "a")]).unwrap();
    })
    .await;
    let matchers = vec![matcher(0, "__name__", "load1"), matcher(0, "site", "a")];
    let (code, head, body) = api.post_bytes("/api/v1/read", &request(matchers, vec![])).await;
    assert_eq!(code, 200);
    assert!(
        head.contains("content-type: application/x-protobuf\r\n"),
        "{head}"
    );
    assert!(head.contains("content-encoding: snappy"), "{head}");
    let body = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
    let response = Response::decode(body.as_slice()).unwrap();
    let series = &response.results[0].series[0];
    let labels: Vec<(&str, &str)> = series
        .labels
        .iter()
        .map(|l| (l.name.as_str(), l.value.as_str()))
        .collect();
    let expected = [
        ("__name__", "load1"),
        ("device_id", "gw-1"),
        ("job", "node"),
        ("site", "a"),
    ];
    assert_eq!(labels, expected);
    let samples: Vec<(i64, u64)> = series
        .samples
        .iter()
        .map(|s| (s.time, s.value.to_bits()))
        .collect();
    assert_eq!(
        samples,
        [
            (START_MS - 1000, f64::NAN.to_bits()),
            (START_MS, 0.25_f64.to_bits())
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_are_sent_if_they_are_accepted_first() {
    let api = Api::start().await;
    let by_regex = || vec![matcher(2, "__name__", "lo.*|up")];
    for (accepted, kind) in [
        (
            vec![1, 0],
            "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse",
        ),
        (
            vec![99, 1],
            "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse",
        ),
        (vec![0, 1], "application/x-protobuf"),
    ] {
        let (code, head, _) = api
            .post_bytes("/api/v1/read", &request(by_regex(), accepted))
            .await;
        assert_eq!(code, 200);
        assert!(head.contains(&format!("content-type: {kind}\r\n")), "{head}");
    }
    let (code, _, body) = api
        .post_bytes("/api/v1/read", &request(by_regex(), vec![1]))
        .await;
    // Two frames: a varint of the length, four bytes of checksum, the message.
    let first = usize::from(body[0]);
    let second = usize::from(body[5 + first]);
    assert_eq!((code, body.len()), (200, 10 + first + second));
    let sum = crc32c::crc32c(&body[5..5 + first]);
    assert_eq!(body[1..5], sum.to_be_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_or_too_large_is_refused() {
    let api = Api::start().await;
    let mut bomb = vec![0xff, 0xff, 0xff, 0x7f];
    bomb.extend([0; 16]);
    let many = packed(&Request {
        queries: vec![Query::default(); 1001],
        accepted: vec![],
    });
    for (body, code, reason) in [
        (b"not snappy".to_vec(), 400, "snappy"),
        (bomb, 400, "larger than the limit"),
        (many, 400, "1001 queries"),
        (request(vec![matcher(2, "a", "(")], vec![]), 400, "("),
        (request(vec![matcher(7, "a", "b")], vec![]), 400, "unknown type 7"),
        (vec![0; (1 << 20) + 1], 413, "length limit"),
    ] {
        let (found, _, text) = api.post_bytes("/api/v1/read", &body).await;
        let text = String::from_utf8(text).unwrap();
        assert_eq!((found, text.contains(reason)), (code, true), "{text}");
    }
    let api = Api::start_with(|config| config.query_max_samples = 11).await;
    let all = request(vec![matcher(3, "job", "x")], vec![]);
    let (code, _, text) = api.post_bytes("/api/v1/read", &all).await;
    let text = String::from_utf8(text).unwrap();
    assert_eq!((code, text.contains("too many samples")), (400, true), "{text}");
}
