//! A bridge by itself: `test-bridge DIR MQTT_PORT HTTP_PORT PLAN`, the plan as JSON of [`tests::BridgePlan`]. It follows
//! the hashring file `DIR/hashrings.json` if there is one at its start.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use bridge::{AlertingFile, DeviceRuleEntry, DeviceRuleFiles, HashringFile, MqttEndpoint, RuleFiles};
use certs::{ClientFiles, client_config};
use fault_disk::{Fault, FaultDisk, Operation};
use prometheus::Registry;
use store::Store;
use store::ring::Algorithm;
use tests::{BridgePlan, skew};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wire::Timestamp;

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let dir: PathBuf = args.next().context("DIR")?.into();
    let port: u16 = args.next().context("MQTT_PORT")?.parse()?;
    let http: u16 = args.next().context("HTTP_PORT")?.parse()?;
    let plan: BridgePlan = serde_json::from_str(&args.next().context("PLAN")?)?;
    let shutdown = CancellationToken::new();
    tests::part_main::follow(shutdown.clone());
    let data = plan.data.clone().unwrap_or_else(|| dir.join("data"));
    let path = dir.join("hashrings.json");
    let hashrings = path.is_file().then(|| HashringFile {
        path,
        algorithm: Algorithm::Hashmod,
        reload: Arc::default(),
    });
    let rings = hashrings.as_ref().map(HashringFile::read).transpose()?;
    let mut settings = store::Config {
        hashrings: rings.unwrap_or_default(),
        ..store::Config::default()
    };
    if plan.busy {
        settings = busy(settings);
    }
    if let Some(bytes) = plan.journal_file_bytes {
        settings.journal_file_bytes = bytes;
    }
    if plan.faults {
        let disk = FaultDisk::new(&data, fastrand::u64(..))?;
        settings.disk = Arc::new(disk.clone());
        let words = dir.join("disk-fault");
        thread::spawn(move || fail(&disk, &words));
    }
    let store = Arc::new(Store::open(&data, settings, &mut |_| {})?);
    for damage in store.damage() {
        tracing::warn!(path = %damage.path.display(), what = damage.what, "damage");
    }
    CLOCK.get_or_init(|| dir.join("bridge.clock"));
    if plan.busy {
        let store = Arc::clone(&store);
        thread::spawn(move || keep(&store));
    }
    let http = TcpListener::bind(("127.0.0.1", http)).await?;
    let tls = client_config(&ClientFiles::in_folder(&dir.join("certs"), "bridge"))?;
    let endpoint = MqttEndpoint::Tls {
        host: "127.0.0.1".to_owned(),
        port,
        tls,
    };
    let destinations = match plan.remote_write.is_null() {
        true => Vec::new(),
        false => bridge::check_remote_write(serde_json::from_value(plan.remote_write)?, &dir)?,
    };
    let (_sender, remote_write) = watch::channel(destinations);
    let alerting = match plan.alerting.is_null() {
        true => AlertingFile::default(),
        false => serde_json::from_value(plan.alerting)?,
    };
    let (_alerting_sender, alerting) = watch::channel(alerting.check(&dir)?);
    let rule_files = RuleFiles {
        patterns: vec![(wire::Tenant::new("default")?, plan.rule_files)],
        interval: Some(Duration::from_secs(1)),
        ..RuleFiles::default()
    };
    let entry = |(devices, file): (String, PathBuf)| {
        let tenant = wire::Tenant::new("default")?;
        DeviceRuleEntry::new(tenant, &[devices], vec![file]).map_err(anyhow::Error::msg)
    };
    let entries = plan.device_rules.into_iter().map(entry);
    let device_rules = DeviceRuleFiles {
        entries: entries.collect::<Result<_>>()?,
        folder: dir.clone(),
    };
    let (_device_rules_sender, device_rules) = watch::channel(device_rules);
    let name: wire::DeviceName = "_backhaul.bridge".parse()?;
    let rules = rule_files.read(&bridge::Config::new(name.clone()))?;
    let (_rules_sender, rules) = watch::channel(rules);
    let config = bridge::Config {
        alerting,
        rules,
        device_rules,
        resend_delay: Duration::from_secs(2),
        hashrings,
        admin_api: true,
        clock,
        remote_write,
        ack_after: plan.ack_after,
        ..bridge::Config::new(name)
    };
    Ok(bridge::run(
        config,
        bridge::Listeners { http },
        store,
        endpoint,
        Registry::new(),
        shutdown,
    )
    .await?)
}

static CLOCK: OnceLock<PathBuf> = OnceLock::new();

fn clock() -> Timestamp {
    skew::now(CLOCK.get().map_or(Path::new(""), PathBuf::as_path))
}

fn busy(config: store::Config) -> store::Config {
    store::Config {
        journal_file_bytes: 64 << 10,
        cache_bytes: 1 << 20,
        min_free_disk: 1 << 20,
        head_bytes: 256 << 10,
        late_bytes: 128 << 10,
        ..config
    }
}

/// Keeps the store as if a quarter of an hour had passed since the last sample: every window is over at once.
fn keep(store: &Store) {
    loop {
        let now = clock().ms() + fastrand::i64(0..2) * 1_000_000;
        let round = store.maintain(Timestamp::from_ms(now));
        for what in round.failed {
            tracing::warn!(what, "maintenance");
        }
        thread::sleep(Duration::from_millis(fastrand::u64(50..300)));
    }
}

/// Does what the file of faults says, each time it is there.
fn fail(disk: &FaultDisk, file: &Path) {
    loop {
        thread::sleep(Duration::from_millis(10));
        let Ok(words) = std::fs::read_to_string(file) else {
            continue;
        };
        // Its absence tells that it was read.
        let _ = std::fs::remove_file(file);
        let words: Vec<&str> = words.split(' ').collect();
        let number = |at: usize| {
            words
                .get(at)
                .and_then(|word: &&str| word.parse().ok())
                .unwrap_or(1)
        };
        let operation = match words[0] {
            "read" => Operation::Read,
            "write" => Operation::Write,
            "sync" => Operation::Sync,
            "name" => Operation::Name,
            "full" => {
                disk.room(Some(number(1)));
                continue;
            }
            _ => {
                disk.heal();
                continue;
            }
        };
        disk.fail(Fault {
            operation,
            after: number(1),
            times: number(2),
        });
    }
}
