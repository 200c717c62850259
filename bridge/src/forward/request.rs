//! Bodies of remote write requests: protobuf in one snappy block.

use std::collections::HashMap;

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};

use super::message::{CUSTOM_BUCKETS, Histogram};
use super::part::Part;
use super::series::put_bytes;

/// The message of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// `prometheus.WriteRequest`.
    V1,
    /// `io.prometheus.write.v2.Request`.
    V2,
}

impl Protocol {
    /// The name of its message in `protobuf_message`.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Protocol::V1 => "prometheus.WriteRequest",
            Protocol::V2 => "io.prometheus.write.v2.Request",
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            // What every receiver takes, also those that compare the whole header.
            Protocol::V1 => "application/x-protobuf",
            Protocol::V2 => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        }
    }

    pub(crate) fn version(self) -> &'static str {
        match self {
            Protocol::V1 => "0.1.0",
            Protocol::V2 => "2.0.0",
        }
    }

    /// Whether it can carry a histogram.
    pub(crate) fn takes(self, histogram: &wire::message::Histogram) -> bool {
        self == Protocol::V2 || histogram.schema != CUSTOM_BUCKETS
    }
}

/// A part's request. Histograms that the protocol cannot carry are left out.
pub(crate) fn encode(part: &Part, protocol: Protocol) -> Vec<u8> {
    let message = match protocol {
        Protocol::V1 => v1(part),
        Protocol::V2 => v2(part),
    };
    // It fails only above 4 GiB, and a part is bounded in samples.
    snap::raw::Encoder::new()
        .compress_vec(&message)
        .unwrap_or_default()
}

fn v1(part: &Part) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut body, mut item) = (Vec::new(), Vec::new());
    for series in part.series() {
        body.clear();
        body.extend_from_slice(series.series.as_fields());
        let fields = body.len();
        samples(&mut body, &series.floats, &mut item);
        for (time, histogram) in &series.histograms {
            if Protocol::V1.takes(histogram) {
                let message = Histogram {
                    start_timestamp: 0,
                    ..Histogram::of(histogram, *time)
                };
                put_message(&mut body, 4, &message, &mut item);
            }
        }
        if body.len() > fields {
            put_bytes(&mut out, 1, &body);
        }
    }
    out
}

fn v2(part: &Part) -> Vec<u8> {
    let mut symbols = Symbols::default();
    let mut out = Vec::new();
    let (mut body, mut item, mut refs) = (Vec::new(), Vec::new(), Vec::new());
    for series in part.series() {
        refs.clear();
        for (name, value) in series.series.pairs() {
            encode_varint(symbols.get(name), &mut refs);
            encode_varint(symbols.get(value), &mut refs);
        }
        // A series of a request has samples or histograms.
        if !series.floats.is_empty() {
            body.clear();
            put_bytes(&mut body, 1, &refs);
            samples(&mut body, &series.floats, &mut item);
            put_bytes(&mut out, 5, &body);
        }
        if !series.histograms.is_empty() {
            body.clear();
            put_bytes(&mut body, 1, &refs);
            for (time, histogram) in &series.histograms {
                put_message(&mut body, 3, &Histogram::of(histogram, *time), &mut item);
            }
            put_bytes(&mut out, 5, &body);
        }
    }
    let mut whole = Vec::with_capacity(out.len() + symbols.bytes + 16);
    for symbol in symbols.list() {
        put_bytes(&mut whole, 4, symbol.as_bytes());
    }
    whole.extend_from_slice(&out);
    whole
}

fn samples(body: &mut Vec<u8>, floats: &[(i64, f64)], item: &mut Vec<u8>) {
    for (time, value) in floats {
        // Both fields always, as a field left out would make -0 into 0.
        item.clear();
        encode_key(1, WireType::SixtyFourBit, item);
        item.extend_from_slice(&value.to_bits().to_le_bytes());
        encode_key(2, WireType::Varint, item);
        encode_varint(*time as u64, item);
        put_bytes(body, 2, item);
    }
}

fn put_message(body: &mut Vec<u8>, tag: u32, message: &impl Message, item: &mut Vec<u8>) {
    item.clear();
    message.encode(item).expect("a Vec has room for any message");
    put_bytes(body, tag, item);
}

/// The texts of a request, "" first.
#[derive(Default)]
struct Symbols<'a> {
    numbers: HashMap<&'a str, u64>,
    bytes: usize,
}

impl<'a> Symbols<'a> {
    fn get(&mut self, text: &'a str) -> u64 {
        let next = self.numbers.len() as u64 + 1;
        *self.numbers.entry(text).or_insert_with(|| {
            self.bytes += text.len() + 4;
            next
        })
    }

    fn list(&self) -> Vec<&'a str> {
        let mut list = vec![""; self.numbers.len() + 1];
        for (text, number) in &self.numbers {
            list[*number as usize] = text;
        }
        list
    }
}

#[cfg(test)]
mod tests;
