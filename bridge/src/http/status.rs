//! `/api/v1/status/tsdb` in Prometheus's shape, and what is like it per device.

use std::io::Write;

use axum::extract::State;
use store::HeadStatus;

use super::App;
use super::envelope::{ApiError, ErrorKind, Success};
use super::evaluate::blocking;
use super::json;
use super::params::Params;

/// Entries of each list if the request names no limit.
const LIMIT: usize = 10;

/// GET `status/tsdb`: of the tenant's series in memory.
pub(crate) async fn tsdb(State(app): State<App>, params: Params) -> Result<Success, ApiError> {
    let limit = match params.get("limit") {
        "" => LIMIT,
        text => text
            .parse()
            .ok()
            .filter(|limit| *limit > 0)
            .ok_or_else(|| ApiError::new(ErrorKind::BadData, "limit must be a positive number"))?,
    };
    let tenant = params.tenant().clone();
    blocking(move || {
        let status = app.store.head_status(&tenant, limit);
        Success::new(|out| write_status(out, &status), &[], &[])
    })
    .await
}

fn write_status(out: &mut Vec<u8>, status: &HeadStatus) {
    // Without rows, Prometheus's head has these times.
    let (first, last) = status.times_ms.unwrap_or((i64::MAX, i64::MIN));
    let _ = write!(
        out,
        "{{\"headStats\":{{\"numSeries\":{},\"numLabelPairs\":{},\"chunkCount\":{},\"minTime\":{first},\"maxTime\":{last}}}",
        status.series, status.label_pairs, status.chunks
    );
    for (key, counts) in [
        ("seriesCountByMetricName", &status.series_by_metric),
        ("labelValueCountByLabelName", &status.values_by_label),
        ("memoryInBytesByLabelName", &status.bytes_by_label),
        ("seriesCountByLabelValuePair", &status.series_by_pair),
    ] {
        let _ = write!(out, ",\"{key}\":");
        json::list(out, counts, |out, (name, count)| {
            out.extend_from_slice(b"{\"name\":");
            json::text(out, name);
            let _ = write!(out, ",\"value\":{count}}}");
        });
    }
    out.push(b'}');
}
