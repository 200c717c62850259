//! Samples as a remote write request (version 1.0): protobuf of `prometheus.WriteRequest`, in snappy without compression.

use promql::{Buckets, CounterReset, Histogram, Labels};

use crate::script::Item;

/// A message of protobuf.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(((value & 0x7f) as u8) | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint((field << 3) | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.varint((field << 3) | 1);
        self.0.extend_from_slice(&value.to_bits().to_le_bytes());
    }

    fn int(&mut self, field: u64, value: i64) {
        self.varint(field << 3);
        self.varint(value as u64);
    }

    /// A signed number in zigzag.
    fn sint(&mut self, field: u64, value: i32) {
        self.int(field, i64::from(((value << 1) ^ (value >> 31)) as u32));
    }

    fn doubles(&mut self, field: u64, values: impl Iterator<Item = f64>) {
        let packed: Vec<u8> = values.flat_map(|value| value.to_bits().to_le_bytes()).collect();
        self.bytes(field, &packed);
    }
}

/// Spans of buckets side by side; gaps are offsets.
fn push_buckets(message: &mut Message, buckets: &Buckets, spans: u64, counts: u64) {
    let mut runs: Vec<(i32, i32)> = Vec::new();
    for (index, _) in buckets.iter() {
        match runs.last_mut() {
            Some((first, len)) if *first + *len == index => *len += 1,
            _ => runs.push((index, 1)),
        }
    }
    let mut next = 0;
    for (first, len) in runs {
        let mut span = Message::default();
        span.sint(1, first - next);
        span.int(2, i64::from(len));
        message.bytes(spans, &span.0);
        next = first + len;
    }
    message.doubles(counts, buckets.iter().map(|(_, count)| count));
}

fn histogram(histogram: &Histogram, time_ms: i64) -> Message {
    let mut message = Message::default();
    message.double(2, histogram.count);
    message.double(3, histogram.sum);
    message.sint(4, histogram.schema);
    message.double(5, histogram.zero_threshold);
    message.double(7, histogram.zero_count);
    push_buckets(&mut message, &histogram.negative, 8, 10);
    push_buckets(&mut message, &histogram.positive, 11, 13);
    let hint = match histogram.counter_reset {
        CounterReset::Unknown => 0,
        CounterReset::Reset => 1,
        CounterReset::NotReset => 2,
        CounterReset::Gauge => 3,
    };
    message.int(14, hint);
    message.int(15, time_ms);
    message.doubles(16, histogram.custom_bounds.iter().copied());
    message
}

/// The body of a request with one sample per entry.
pub(crate) fn body<'s>(samples: impl Iterator<Item = (&'s Labels, i64, &'s Item)>) -> Vec<u8> {
    let mut request = Message::default();
    for (labels, time_ms, item) in samples {
        let mut series = Message::default();
        for (name, value) in labels.iter() {
            let mut label = Message::default();
            label.bytes(1, name.as_bytes());
            label.bytes(2, value.as_bytes());
            series.bytes(1, &label.0);
        }
        match item {
            Item::Float(value) => {
                let mut sample = Message::default();
                sample.double(1, *value);
                sample.int(2, time_ms);
                series.bytes(2, &sample.0);
            }
            Item::Histogram(value) => series.bytes(4, &histogram(value, time_ms).0),
            Item::Absent | Item::Shown(_) => continue,
        }
        request.bytes(1, &series.0);
    }
    snappy(&request.0)
}

/// Literals only, each of at most 64 KiB.
fn snappy(bytes: &[u8]) -> Vec<u8> {
    const TWO_BYTES_OF_LENGTH: u8 = 61 << 2;
    let mut out = Message::default();
    out.varint(bytes.len() as u64);
    let mut out = out.0;
    for chunk in bytes.chunks(1 << 16) {
        out.push(TWO_BYTES_OF_LENGTH);
        out.extend_from_slice(&((chunk.len() - 1) as u16).to_le_bytes());
        out.extend_from_slice(chunk);
    }
    out
}
