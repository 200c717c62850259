//! The series that the bridge writes of each device it knows, every 15 s, into the device's own tenant.
//!
//! They are what an operator asks of a fleet: who is there, how fresh and how complete the data is, and each term of
//! the delivery contract. Beside them each tenant has whether the bridge has its broker: without one every device seems
//! to be away.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use prometheus::IntGauge;
use store::{DeviceLedger, Reasons, Store};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use wire::labels::{DEVICE_ID, METRIC_NAME};
use wire::{Labels, Timestamp};

use crate::ingest::{Fleet, wall_clock};

/// Time between two samples of a series.
const EVERY: Duration = Duration::from_secs(15);

/// The value of label `job`.
pub(crate) const JOB: &str = "backhaul-bridge";

/// The reason of drops that has a series before there is a drop: a counter that begins above 0 has no increase, and
/// alerts ask for it.
const DISK_BUDGET: &str = "wal_bytes";

/// Writes the series until `shutdown`; `connected` is 1 while the bridge has its broker, `instance` its listen address.
pub(crate) async fn run(
    store: Arc<Store>,
    fleet: Arc<Fleet>,
    connected: IntGauge,
    instance: String,
    shutdown: CancellationToken,
) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let instance: Arc<str> = instance.into();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => return,
        }
        let (store, fleet, instance) = (Arc::clone(&store), Arc::clone(&fleet), Arc::clone(&instance));
        let connected = connected.get() == 1;
        let all = move || write(&store, &fleet, connected, &instance, wall_clock());
        let written = tokio::task::spawn_blocking(all).await;
        if written.is_err() {
            tracing::error!("the series of devices could not be written");
        }
    }
}

fn write(store: &Store, fleet: &Fleet, connected: bool, instance: &str, now: Timestamp) {
    let ledgers = store.ledger();
    let tenants: BTreeSet<_> = ledgers.iter().map(|ledger| ledger.device.tenant()).collect();
    let bridge = [
        (METRIC_NAME, "backhaul_bridge_mqtt_connected"),
        ("job", JOB),
        ("instance", instance),
    ];
    // These names are distinct and not empty, so there is no error to report.
    if let Ok(labels) = Labels::new(bridge) {
        let samples = [(labels, f64::from(u8::from(connected)))];
        for tenant in tenants {
            store.append_own(tenant, now, &samples);
        }
    }
    for ledger in &ledgers {
        let series = Series {
            device: ledger.device.device().as_str(),
            instance,
        };
        let samples = series.all(ledger, fleet);
        store.append_own(ledger.device.tenant(), now, &samples);
    }
}

/// Builds the series of one device.
struct Series<'a> {
    device: &'a str,
    instance: &'a str,
}

impl Series<'_> {
    fn labels(&self, name: &str, more: Option<(&str, &str)>) -> Option<Labels> {
        let name = format!("backhaul_device_{name}");
        let own = [
            (METRIC_NAME, name.as_str()),
            ("job", JOB),
            ("instance", self.instance),
            (DEVICE_ID, self.device),
        ];
        // These names are distinct and not empty, so there is no error to report.
        Labels::new(own.into_iter().chain(more)).ok()
    }

    fn all(&self, ledger: &DeviceLedger, fleet: &Fleet) -> Vec<(Labels, f64)> {
        let live = fleet.get(&ledger.device);
        let seconds = |at: Option<Timestamp>| at.filter(|t| t.ms() != 0).map(Timestamp::seconds);
        // Of a device that was not heard of since the start, the ledger knows it if nothing is on the way.
        let settled = ledger.newest_sample.filter(|_| ledger.pending == 0);
        let expiry = Some(ledger.seen.certificate_expiry).filter(|at| *at != 0);
        let plain = [
            ("up", Some(f64::from(u8::from(live.connected)))),
            ("last_seen_timestamp_seconds", seconds(Some(ledger.last_seen))),
            ("newest_sample_timestamp_seconds", seconds(ledger.newest_sample)),
            (
                "data_complete_until_timestamp_seconds",
                seconds(live.complete_until.or(settled)),
            ),
            (
                "clock_offset_seconds",
                Some(ledger.seen.clock_offset_ms as f64 / 1000.0),
            ),
            ("samples_generated_total", Some(ledger.generated as f64)),
            ("samples_stored_total", Some(ledger.stored as f64)),
            ("samples_pending", Some(ledger.pending as f64)),
            ("gaps_total", Some(ledger.gaps_total as f64)),
            ("certificate_expiry_timestamp_seconds", expiry.map(|at| at as f64)),
        ];
        let plain = plain
            .into_iter()
            .filter_map(|(name, value)| Some((self.labels(name, None)?, value?)));
        let mut dropped: Reasons = ledger.dropped.clone();
        dropped.entry(DISK_BUDGET).or_default();
        let dropped = dropped.iter().filter_map(|(reason, count)| {
            Some((
                self.labels("samples_dropped_total", Some(("reason", reason)))?,
                *count as f64,
            ))
        });
        let info = self.labels("info", Some(("version", &ledger.seen.agent_version)));
        plain
            .chain(dropped)
            .chain(info.map(|labels| (labels, 1.0)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use store::{Entry, Matcher, Seen};
    use wire::DeviceName;

    use super::*;

    #[test]
    fn a_known_device_has_its_series_in_its_own_tenant() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), store::Config::default(), &mut |_| {}).unwrap();
        let device: DeviceName = "acme.gw-1".parse().unwrap();
        let now = Timestamp::from_ms(1_795_305_600_000);
        let seen = Seen {
            agent_version: "1.2.3".into(),
            clock_offset_ms: -250,
            ..Seen::default()
        };
        let entry = Entry::DeviceSeen {
            device: device.clone(),
            received: now,
            seen,
        };
        store.commit(vec![entry]).unwrap();
        write(&store, &Fleet::default(), true, "127.0.0.1:7490", now);

        let all = [Matcher::equal("job", JOB)];
        let found = store
            .select(device.tenant(), &all, now.ms(), now.ms(), 100)
            .unwrap();
        let of = |name: &str| {
            let series = found.iter().find(|s| s.labels.metric_name() == name);
            series.map(|s| s.values[0])
        };
        let value = |name: &str| of(&format!("backhaul_device_{name}"));
        assert_eq!(of("backhaul_bridge_mqtt_connected"), Some(1.0));
        assert_eq!(value("up"), Some(0.0));
        assert_eq!(value("samples_dropped_total"), Some(0.0));
        assert_eq!(value("last_seen_timestamp_seconds"), Some(now.seconds()));
        assert_eq!(value("clock_offset_seconds"), Some(-0.25));
        assert_eq!(value("samples_stored_total"), Some(0.0));
        assert_eq!(value("newest_sample_timestamp_seconds"), None);
        assert_eq!(value("data_complete_until_timestamp_seconds"), None);
        let info = found
            .iter()
            .find(|s| s.labels.get("version") == Some("1.2.3"))
            .unwrap();
        assert_eq!(
            (info.labels.get(DEVICE_ID), info.labels.get("instance")),
            (Some("gw-1"), Some("127.0.0.1:7490"))
        );
    }

    #[test]
    fn data_is_complete_until_the_newest_sample_if_nothing_is_on_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), store::Config::default(), &mut |_| {}).unwrap();
        let device: DeviceName = "acme.gw-1".parse().unwrap();
        let now = Timestamp::from_ms(1_795_305_600_000);
        let mut dictionary = wire::dict::Dictionary::new();
        dictionary
            .append(Labels::new([(METRIC_NAME, "up")]).unwrap())
            .unwrap();
        let header = wire::batch::Header {
            session: wire::SessionId::new(7),
            boot: wire::BootId::new(1),
            dict: dictionary.hash(),
            total: 1,
            clock_error_ms: 0,
        };
        let row = wire::batch::Row {
            seq: wire::Seq::new(1),
            time: now,
            mono_ms: 1,
        };
        let group = wire::batch::Group {
            series: [wire::dict::SeriesId::new(0)].into(),
            rows: vec![row],
            values: vec![1.0],
            ..wire::batch::Group::default()
        };
        let batch = wire::batch::Batch {
            header,
            groups: vec![group],
        };
        let payload = wire::batch::encode(&batch, wire::batch::Encoding::SelfContained).payload;
        store.put_dictionary(&device, dictionary).unwrap();
        let entry = store::BatchEntry {
            device: device.clone(),
            lane: store::Lane::Fresh,
            received: now,
            payload: payload.into(),
            batch,
            keyed: None,
            defines: None,
        };
        let told = |last, total| Entry::SessionSeen {
            device: device.clone(),
            received: now,
            state: wire::message::SessionState {
                session: 7,
                oldest: 1,
                last,
                total,
                ..wire::message::SessionState::default()
            },
        };
        let series = Series {
            device: "gw-1",
            instance: "x",
        };
        let complete_until = || {
            let all = series.all(&store.device(&device).unwrap(), &Fleet::default());
            let name = "backhaul_device_data_complete_until_timestamp_seconds";
            let found = all.into_iter().find(|(labels, _)| labels.metric_name() == name);
            found.map(|(_, value)| value)
        };
        store.commit(vec![Entry::Batch(entry), told(1, 1)]).unwrap();
        assert_eq!(complete_until(), Some(now.seconds()));
        // It has a second record, which is not here.
        store.commit(vec![told(2, 2)]).unwrap();
        assert_eq!(complete_until(), None);
    }
}
