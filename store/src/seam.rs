//! What benchmarks and fuzz targets see of the codecs; nobody else uses it.

use crate::block;
use crate::chunk;

/// Writes chunks.
#[derive(Debug, Default)]
pub struct ChunkEncoder(chunk::Encoder);

impl ChunkEncoder {
    /// Appends a chunk of values; `mode` is a hint, and becomes what was used.
    pub fn encode(&mut self, values: &[f64], mode: &mut u8, out: &mut Vec<u8>) {
        self.0.encode(values, mode, out);
    }
}

/// Appends the values of a chunk; `None` if it is malformed.
pub fn decode_chunk(bytes: &[u8], count: usize, out: &mut Vec<f64>) -> Option<()> {
    chunk::decode(bytes, count, out).ok()
}

/// Reads a page of a block as chunks of `count` values, its sum unchecked; how many there are, or `None` if it is malformed.
pub fn read_page(bytes: &[u8], count: usize) -> Option<usize> {
    block::read_page(bytes, count)
}
