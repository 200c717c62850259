//! A chunked answer as frames: the varint of a message's length, its CRC-32C (big-endian), the message
//! (prometheus/prometheus storage/remote/chunked.go). A frame has one series; a large series has several frames in a row.

use prost::Message;
use prost::encoding::encode_varint;
use store::SeriesSlice;

use super::chunk;
use super::message::{Chunk, ChunkedReadResponse, ChunkedSeries, labels};

/// Bytes of chunks at which a frame ends (`--storage.remote.read-max-bytes-in-frame`).
const FRAME_BYTES: usize = 1 << 20;

/// The encoding of [`chunk`].
const XOR: i32 = 1;

/// All frames, by query and then by labels.
pub(super) fn encode(results: Vec<Vec<SeriesSlice>>) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, found) in results.into_iter().enumerate() {
        for series in found {
            let mut frame = ChunkedSeries {
                labels: labels(&series.labels),
                chunks: Vec::new(),
            };
            let mut bytes = 0;
            let columns = series.times_ms.chunks(chunk::SAMPLES);
            for (times, values) in columns.zip(series.values.chunks(chunk::SAMPLES)) {
                let data = chunk::encode(times, values);
                bytes += data.len();
                frame.chunks.push(Chunk {
                    min_time_ms: times.first().copied().unwrap_or_default(),
                    max_time_ms: times.last().copied().unwrap_or_default(),
                    r#type: XOR,
                    data,
                });
                if bytes >= FRAME_BYTES {
                    put(&mut out, &mut frame, index);
                    bytes = 0;
                }
            }
            put(&mut out, &mut frame, index);
        }
    }
    out
}

/// Writes a frame of the chunks there are, and takes them out.
fn put(out: &mut Vec<u8>, series: &mut ChunkedSeries, index: usize) {
    if series.chunks.is_empty() {
        return;
    }
    let message = ChunkedReadResponse {
        chunked_series: vec![series.clone()],
        query_index: i64::try_from(index).unwrap_or(i64::MAX),
    };
    series.chunks.clear();
    let message = message.encode_to_vec();
    encode_varint(message.len() as u64, out);
    out.extend_from_slice(&crc32c::crc32c(&message).to_be_bytes());
    out.extend_from_slice(&message);
}
