//! `/api/v1/status/…` in Prometheus's shape: the heads, the configuration, the process.

use std::io::Write;

use axum::extract::State;
use store::HeadStatus;

use super::App;
use super::envelope::{ApiError, ErrorKind, Success};
use super::evaluate::blocking;
use super::params::Params;
use super::{json, time};

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

/// GET `status/config`: the file as it took effect, without secrets.
pub(crate) async fn config(State(app): State<App>, params: Params) -> Result<Success, ApiError> {
    params.for_site()?;
    let yaml = &app.config.started.yaml;
    Ok(Success::new(
        |out| json::labels(out, std::iter::once(("yaml", yaml.as_str()))),
        &[],
        &[],
    ))
}

/// GET `status/flags`.
pub(crate) async fn flags(State(app): State<App>, params: Params) -> Result<Success, ApiError> {
    params.for_site()?;
    let flags = app.config.started.flags.iter();
    let flags = flags.map(|(name, value)| (name.as_str(), value.as_str()));
    Ok(Success::new(|out| json::labels(out, flags), &[], &[]))
}

/// GET `status/walreplay`: the journal was read before the listener answered.
pub(crate) async fn wal_replay() -> Success {
    Success::new(
        |out| out.extend_from_slice(b"{\"min\":0,\"max\":0,\"current\":0}"),
        &[],
        &[],
    )
}

/// GET `status/runtimeinfo`. Go's own figures have their nearest kin here: tasks, worker threads, no limits.
pub(crate) async fn runtime_info(State(app): State<App>) -> Success {
    let started = &app.config.started;
    let at = time::rfc3339_of(started.time.ms());
    let server = time::rfc3339_of((app.config.clock)().ms());
    let folder = std::env::current_dir()
        .map(|dir| dir.display().to_string())
        .unwrap_or_default();
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let runtime = tokio::runtime::Handle::current().metrics();
    let data = |out: &mut Vec<u8>| {
        let _ = write!(out, "{{\"startTime\":\"{at}\",\"CWD\":");
        json::text(out, &folder);
        out.extend_from_slice(b",\"hostname\":");
        json::text(out, hostname.trim());
        let _ = write!(
            out,
            ",\"serverTime\":\"{server}\",\"reloadConfigSuccess\":true,\"lastConfigTime\":\"{at}\",\"corruptionCount\":{},\
             \"goroutineCount\":{},\"GOMAXPROCS\":{},\"GOMEMLIMIT\":{},\"GOGC\":\"\",\"GODEBUG\":\"\",\"storageRetention\":",
            app.store.damage().len(),
            runtime.num_alive_tasks(),
            runtime.num_workers(),
            i64::MAX,
        );
        json::text(out, &started.retention);
        out.push(b'}');
    };
    Success::new(data, &[], &[])
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
