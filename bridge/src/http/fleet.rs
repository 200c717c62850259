//! `/api/v1/fleet/…`: the devices, the equation of each, and the removal of one.

use std::collections::HashMap;
use std::io::Write;

use axum::extract::State;
use store::{DeviceLedger, GapView, Reasons};
use wire::{DeviceId, DeviceName, Tenant, Timestamp};

use super::App;
use super::envelope::{ApiError, ErrorKind, Success};
use super::evaluate::blocking;
use super::json;
use super::params::{Params, allowed};
use crate::web::Access;

/// Which devices an answer lists.
pub(super) struct Filter {
    tenant: Option<Tenant>,
    device: Option<DeviceId>,
    connected: Option<bool>,
    limit: Option<usize>,
    access: Access,
}

impl Filter {
    /// The parameter `tenant` asks for another one than the request's headers; with neither, all are listed.
    pub(super) fn new(params: &Params) -> Result<Self, ApiError> {
        let asked = params.optional("tenant", |text| Tenant::new(text).map_err(|e| e.to_string()))?;
        let asked = asked.map(|tenant| allowed(tenant, params.access())).transpose()?;
        let connected = params.optional("connected", |text| {
            text.parse::<bool>()
                .map_err(|_| format!("{text:?} is neither true nor false"))
        })?;
        Ok(Filter {
            tenant: asked.or_else(|| params.named_tenant().cloned()),
            device: params.optional("device_id", |text| DeviceId::new(text).map_err(|e| e.to_string()))?,
            connected,
            limit: params.limit()?,
            access: params.access().clone(),
        })
    }

    /// Whether it lists a device.
    pub(super) fn has(&self, name: &DeviceName, app: &App) -> bool {
        self.access.allows(name.tenant())
            && self.tenant.as_ref().is_none_or(|t| t == name.tenant())
            && self.device.as_ref().is_none_or(|d| d == name.device())
            && self
                .connected
                .is_none_or(|yes| app.fleet.get(name).connected == yes)
    }

    /// How many entries it lists at most.
    pub(super) fn most(&self) -> usize {
        self.limit.unwrap_or(usize::MAX)
    }

    fn devices(&self, app: &App) -> Vec<DeviceLedger> {
        let mut found: Vec<_> = app
            .store
            .ledger()
            .into_iter()
            .filter(|l| self.has(&l.device, app))
            .collect();
        found.sort_by(|a, b| a.device.cmp(&b.device));
        found.truncate(self.most());
        found
    }
}

/// GET `fleet/devices`.
pub(crate) async fn devices(State(app): State<App>, params: Params) -> Result<Success, ApiError> {
    let filter = Filter::new(&params)?;
    blocking(move || {
        let book = &app.alert_book;
        let silence = |device: &str| book.silence(device);
        let alerts = book.book().by_device(book.now_ms(), &silence);
        list(&filter.devices(&app), |out, ledger| {
            device(out, ledger, &app, &alerts)
        })
    })
    .await
}

/// GET `fleet/equation`: per device the terms of the delivery contract, with what is found by reading the store back.
pub(crate) async fn equation(State(app): State<App>, params: Params) -> Result<Success, ApiError> {
    let filter = Filter::new(&params)?;
    blocking(move || list(&filter.devices(&app), |out, ledger| terms(out, ledger, &app))).await
}

/// POST `fleet/forget`: the device's ledger goes, its samples stay.
pub(crate) async fn forget(State(app): State<App>, params: Params) -> Result<Success, ApiError> {
    let name = named(&params, &app)?;
    if app.fleet.get(&name).connected {
        let reason = format!("device {name} is connected; revoke its certificate or switch it off first");
        return Err(ApiError::new(ErrorKind::BadData, reason));
    }
    match app.orders.forget(name.clone()).await {
        Some(Ok(())) => Ok(Success::new(|out| out.extend_from_slice(b"{}"), &[], &[])),
        Some(Err(error)) => Err(ApiError::new(ErrorKind::Internal, error.to_string())),
        None => Err(ApiError::new(ErrorKind::Unavailable, "the bridge is stopping")),
    }
}

/// The device that `device_id` names, of the request's tenant.
pub(super) fn named(params: &Params, app: &App) -> Result<DeviceName, ApiError> {
    let device = params.optional("device_id", |text| DeviceId::new(text).map_err(|e| e.to_string()))?;
    let device = device.ok_or_else(|| ApiError::parameter("device_id", "it must be given"))?;
    let name = DeviceName::new(params.tenant().clone(), device);
    match app.store.device(&name) {
        Some(_) => Ok(name),
        None => Err(ApiError::new(
            ErrorKind::NotFound,
            format!("there is no device {name}"),
        )),
    }
}

pub(super) fn list<T>(devices: &[T], mut write: impl FnMut(&mut Vec<u8>, &T)) -> Success {
    let data = |out: &mut Vec<u8>| {
        out.extend_from_slice(b"{\"devices\":");
        json::list(out, devices, |out, device| write(out, device));
        out.push(b'}');
    };
    Success::new(data, &[], &[])
}

fn time(out: &mut Vec<u8>, at: Option<Timestamp>) {
    match at {
        Some(at) => json::time(out, at.ms()),
        None => out.extend_from_slice(b"null"),
    }
}

fn reasons(out: &mut Vec<u8>, counts: &Reasons) {
    out.push(b'{');
    for (i, (reason, count)) in counts.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        let _ = write!(out, "{comma}\"{reason}\":{count}");
    }
    out.push(b'}');
}

fn device(out: &mut Vec<u8>, ledger: &DeviceLedger, app: &App, alerts: &HashMap<String, (usize, usize)>) {
    let live = app.fleet.get(&ledger.device);
    let (tenant, id) = (ledger.device.tenant(), ledger.device.device());
    let _ = write!(
        out,
        "{{\"tenant\":\"{tenant}\",\"device_id\":\"{id}\",\"connected\":{}",
        live.connected
    );
    out.extend_from_slice(b",\"last_seen\":");
    time(out, Some(ledger.last_seen).filter(|at| at.ms() > 0));
    out.extend_from_slice(b",\"newest_sample\":");
    time(out, ledger.newest_sample);
    out.extend_from_slice(b",\"clock_offset_seconds\":");
    json::time(out, ledger.seen.clock_offset_ms);
    out.extend_from_slice(b",\"session\":");
    match live
        .session
        .or(ledger.sessions.iter().find(|s| !s.closed).map(|s| s.session))
    {
        Some(session) => drop(write!(out, "\"{session}\"")),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"version\":");
    json::text(out, &ledger.seen.agent_version);
    let _ = write!(
        out,
        ",\"samples\":{{\"generated\":{},\"stored\":{},\"dropped\":",
        ledger.generated, ledger.stored
    );
    reasons(out, &ledger.dropped);
    let _ = write!(out, ",\"pending\":{}}},\"gaps\":", ledger.pending);
    json::list(out, &ledger.gaps, gap);
    let counts = alerts.get(&ledger.device.to_string()).copied();
    alert_counts(out, ledger, counts.unwrap_or_default());
    out.extend_from_slice(b",\"alert_delay_seconds\":");
    match live.alert_delays.last_ms {
        Some(last_ms) => {
            out.extend_from_slice(b"{\"last\":");
            seconds(out, last_ms);
            out.extend_from_slice(b",\"longest\":");
            seconds(out, live.alert_delays.longest_ms);
            out.push(b'}');
        }
        None => out.extend_from_slice(b"null"),
    }
    config(out, ledger, app);
    out.push(b'}');
}

fn seconds(out: &mut Vec<u8>, ms: u64) {
    json::time(out, i64::try_from(ms).unwrap_or(i64::MAX));
}

/// Alerts that came, those that are on the device, and what its rules do.
fn alert_counts(out: &mut Vec<u8>, ledger: &DeviceLedger, (firing, pending): (usize, usize)) {
    let _ = write!(
        out,
        ",\"alerts\":{},\"alerts_firing\":{firing},\"alerts_pending\":{pending},\"alerts_undelivered\":{},\"rules\":",
        ledger.alerts, ledger.seen.alerts_pending
    );
    match ledger.seen.rules {
        Some(rules) => {
            let _ = write!(
                out,
                "{{\"hash\":\"{:016x}\",\"groups\":{},\"rules\":{},\"failing\":{},\"pending\":{},\"firing\":{}}}",
                rules.hash, rules.groups, rules.rules, rules.failing, rules.pending, rules.firing
            );
        }
        None => out.extend_from_slice(b"null"),
    }
}

/// The configuration that is wanted of a device, the one that it has, and the last that it refused.
fn config(out: &mut Vec<u8>, ledger: &DeviceLedger, app: &App) {
    out.extend_from_slice(b",\"config\":");
    let Some(told) = &ledger.seen.config else {
        return out.extend_from_slice(b"null");
    };
    let hash = |out: &mut Vec<u8>, hash: u64| match hash {
        0 => out.extend_from_slice(b"null"),
        hash => drop(write!(out, "\"{hash:016x}\"")),
    };
    out.extend_from_slice(b"{\"wanted\":");
    hash(out, app.device_rules.borrow().of(&ledger.device).hash);
    out.extend_from_slice(b",\"in_force\":");
    hash(out, told.hash);
    out.extend_from_slice(b",\"refused\":");
    if told.reason.is_empty() {
        out.extend_from_slice(b"null");
    } else {
        out.extend_from_slice(b"{\"hash\":");
        hash(out, told.refused);
        out.extend_from_slice(b",\"reason\":");
        json::text(out, &told.reason);
        out.push(b'}');
    }
    out.push(b'}');
}

fn gap(out: &mut Vec<u8>, gap: &GapView) {
    out.extend_from_slice(b"{\"from\":");
    time(out, gap.from);
    out.extend_from_slice(b",\"to\":");
    time(out, gap.to);
    let _ = write!(
        out,
        ",\"samples\":{},\"alerts\":{},\"reason\":\"{}\"}}",
        gap.samples, gap.alerts, gap.reason
    );
}

fn terms(out: &mut Vec<u8>, ledger: &DeviceLedger, app: &App) {
    let found = app.store.read_back(&ledger.device);
    let (tenant, id) = (ledger.device.tenant(), ledger.device.device());
    let _ = write!(
        out,
        "{{\"tenant\":\"{tenant}\",\"device_id\":\"{id}\",\"generated\":{},\"stored\":{},\"dropped\":",
        ledger.generated, ledger.stored
    );
    reasons(out, &ledger.dropped);
    let _ = write!(
        out,
        ",\"pending\":{},\"recovered\":{},\"removed\":",
        ledger.pending, ledger.recovered
    );
    let mut removed = ledger.removed.clone();
    if found.joined > 0 {
        *removed.entry("same_timestamp").or_default() += found.joined;
    }
    reasons(out, &removed);
    let _ = write!(
        out,
        ",\"quarantined\":{},\"read_back\":{},\"duplicates\":{},\"redelivered\":{},\"series\":{}}}",
        ledger.quarantined, found.samples, found.duplicates, ledger.redelivered, found.series
    );
}
