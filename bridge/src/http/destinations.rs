//! `/api/v1/fleet/destinations`: how far each destination has come, and what it did not get.

use std::io::Write;

use axum::extract::State;

use super::App;
use super::envelope::{ApiError, Success};
use super::json;
use super::params::Params;
use crate::forward::Status;

/// GET `fleet/destinations`.
pub(crate) async fn destinations(State(app): State<App>, params: Params) -> Result<Success, ApiError> {
    params.for_site()?;
    let all = app.destinations.list();
    let data = |out: &mut Vec<u8>| {
        out.extend_from_slice(b"{\"destinations\":");
        json::list(out, &all, |out, (name, status)| destination(out, name, status));
        out.push(b'}');
    };
    Ok(Success::new(data, &[], &[]))
}

fn destination(out: &mut Vec<u8>, name: &str, status: &Status) {
    let totals = &status.totals;
    out.extend_from_slice(b"{\"name\":");
    json::text(out, name);
    out.extend_from_slice(b",\"url\":");
    json::text(out, &status.url);
    // A `Vec` takes everything that is written.
    let _ = write!(
        out,
        ",\"protobuf_message\":\"{}\",\"number\":{},\"pending_journal_bytes\":{},\"last_sent\":",
        status.protocol.message(),
        status.number,
        status.pending_bytes
    );
    match status.last_sent {
        Some(at) => json::time(out, at.ms()),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"error\":");
    match &status.error {
        Some(error) => json::text(out, error),
        None => out.extend_from_slice(b"null"),
    }
    let passed = totals.sent + totals.dropped.values().sum::<u64>();
    let _ = write!(
        out,
        ",\"samples\":{{\"passed\":{passed},\"sent\":{},\"dropped\":{{",
        totals.sent
    );
    for (i, (reason, samples)) in totals.dropped.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        let _ = write!(out, "{comma}\"{reason}\":{samples}");
    }
    let _ = write!(
        out,
        "}}}},\"skipped_journal_bytes\":{},\"gaps\":",
        totals.skipped_bytes
    );
    json::list(out, &totals.gaps, |out, gap| {
        out.extend_from_slice(b"{\"from\":");
        json::time(out, gap.from_ms);
        out.extend_from_slice(b",\"to\":");
        json::time(out, gap.to_ms);
        let _ = write!(
            out,
            ",\"samples\":{},\"reason\":\"backlog\",\"declared\":",
            gap.samples
        );
        json::time(out, gap.declared_ms);
        out.push(b'}');
    });
    out.push(b'}');
}
