//! `/api/v1/fleet/series` and `fleet/quarantine`: what devices have in the store that somebody may want to look into.

use std::io::Write;

use axum::extract::State;
use store::{ActiveSeries, CommitError, Quarantined, Store};
use wire::{DeviceName, Timestamp};

use super::App;
use super::envelope::{ApiError, ErrorKind, Success};
use super::evaluate::blocking;
use super::fleet::{Filter, list, named};
use super::json;
use super::params::Params;

/// GET `fleet/series`: devices by their active series, those with the most first.
pub(crate) async fn series(State(app): State<App>, params: Params) -> Result<Success, ApiError> {
    let filter = Filter::new(&params)?;
    blocking(move || {
        let active = app.store.active_series().into_iter();
        let active = active.filter(|active| filter.has(&active.device, &app));
        let active: Vec<ActiveSeries> = active.take(filter.most()).collect();
        list(&active, |out, active| {
            name(out, &active.device);
            let _ = write!(out, ",\"active_series\":{}}}", active.series);
        })
    })
    .await
}

/// GET `fleet/quarantine`: rows that wait for their time, a batch's an entry, in the order they came.
pub(crate) async fn quarantine(State(app): State<App>, params: Params) -> Result<Success, ApiError> {
    let filter = Filter::new(&params)?;
    blocking(move || {
        let rows = app.store.quarantined().into_iter();
        let rows = rows.filter(|rows| filter.has(&rows.device, &app));
        let rows: Vec<Quarantined> = rows.take(filter.most()).collect();
        Success::new(|out| write_batches(out, &rows), &[], &[])
    })
    .await
}

/// POST `fleet/quarantine/release`: a device's rows are found from now on, whatever their times.
pub(crate) async fn release(State(app): State<App>, params: Params) -> Result<Success, ApiError> {
    settle(app, &params, Store::release_quarantined).await
}

/// POST `fleet/quarantine/drop`: a device's rows go and count as removed, `deleted`.
pub(crate) async fn drop_rows(State(app): State<App>, params: Params) -> Result<Success, ApiError> {
    settle(app, &params, Store::drop_quarantined).await
}

async fn settle(
    app: App,
    params: &Params,
    act: fn(&Store, &DeviceName, Timestamp) -> Result<usize, CommitError>,
) -> Result<Success, ApiError> {
    let device = named(params, &app)?;
    let now = (app.config.clock)();
    let batches = blocking(move || act(&app.store, &device, now)).await?;
    let batches = batches.map_err(|error| ApiError::new(ErrorKind::Internal, error.to_string()))?;
    Ok(Success::new(
        |out| drop(write!(out, "{{\"batches\":{batches}}}")),
        &[],
        &[],
    ))
}

fn name(out: &mut Vec<u8>, device: &DeviceName) {
    let (tenant, id) = (device.tenant(), device.device());
    let _ = write!(out, "{{\"tenant\":\"{tenant}\",\"device_id\":\"{id}\"");
}

fn write_batches(out: &mut Vec<u8>, rows: &[Quarantined]) {
    out.extend_from_slice(b"{\"batches\":");
    json::list(out, rows, |out, rows| {
        name(out, &rows.device);
        let _ = write!(
            out,
            ",\"session\":\"{}\",\"first\":{},\"last\":{},\"rows\":{},\"samples\":{}",
            rows.session,
            rows.first.get(),
            rows.last.get(),
            rows.rows,
            rows.samples
        );
        for (key, at) in [("received", rows.received), ("from", rows.from), ("to", rows.to)] {
            let _ = write!(out, ",\"{key}\":");
            json::time(out, at.ms());
        }
        out.push(b'}');
    });
    out.push(b'}');
}
