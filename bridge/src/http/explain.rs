//! `/api/v1/explain`: the plan of a query, and what each of its nodes read and gave when it was evaluated just now.

use std::io::Write;

use promql::ExplainedNode;

use super::json;

/// A query that was evaluated.
pub(super) struct Explained {
    pub(super) plan: ExplainedNode,
    /// Samples that were read.
    pub(super) samples: u64,
    /// The most bytes that were held at once.
    pub(super) peak_bytes: u64,
    /// How long it took, reading included.
    pub(super) seconds: f64,
}

impl Explained {
    /// Writes the answer's `data`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        // A `Vec` takes everything that is written.
        let _ = write!(
            out,
            "{{\"seconds\":{:.6},\"samples\":{},\"peakBytes\":{},\"plan\":",
            self.seconds, self.samples, self.peak_bytes
        );
        node(out, &self.plan);
        out.push(b'}');
    }
}

fn node(out: &mut Vec<u8>, of: &ExplainedNode) {
    out.extend_from_slice(b"{\"kind\":");
    json::text(out, &of.kind);
    out.extend_from_slice(b",\"expr\":");
    json::text(out, &of.expr);
    let counts = &of.counts;
    let _ = write!(
        out,
        ",\"bySeries\":{},\"batches\":{},\"series\":{},\"samples\":{},\"bytes\":{},\"rows\":{},\"values\":{},\"inputs\":",
        of.in_batches, counts.batches, counts.series, counts.samples, counts.bytes, counts.rows, counts.cells
    );
    json::list(out, &of.inputs, node);
    out.push(b'}');
}
