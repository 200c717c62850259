//! Pushed configurations and files that are read again, with an engine that takes all rules.

use std::path::Path;

use prometheus::Registry;
use tokio_util::task::TaskTracker;
use wire::message::RuleFile;

use super::*;
use crate::evaluation::Change;
use crate::input::{self, InputMetrics};

/// A setup, and the names of the groups that its engine was told of last.
struct Bench {
    setup: Setup,
    groups: watch::Receiver<usize>,
    dir: tempfile::TempDir,
    _rows: input::RowReceiver,
}

fn write(dir: &Path, more: &str) -> PathBuf {
    let file = dir.join("agent.yml");
    let text = format!(
        "broker:\n  urls: [mqtts://broker.example]\n  tls_config: {{ca_file: a, cert_file: b, key_file: c}}\n\
         wal: {{dir: wal}}\nhost_metrics: {{enabled: false}}\n{more}"
    );
    std::fs::write(&file, text).unwrap();
    file
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("wal")).unwrap();
    let file = write(dir.path(), "");
    let registry = Registry::new();
    let device = DeviceId::new("gw-1").unwrap();
    let (rows, received_rows) = input::channel(8);
    let stop = (&CancellationToken::new(), &TaskTracker::new());
    let metrics = InputMetrics::register(&registry).unwrap();
    let (changes, mut changed) = mpsc::channel::<Change>(1);
    let (tell, groups) = watch::channel(0);
    tokio::spawn(async move {
        while let Some(change) = changed.recv().await {
            tell.send_replace(change.rules.count());
            change.done.send(()).unwrap();
        }
    });
    let config = config::load(&file).unwrap();
    let stored = StoredConfig::in_folder(&dir.path().join("wal"));
    let (_, pushed, told) = initial(&config, Some(&stored));
    Bench {
        setup: Setup {
            inputs: Inputs::new(&device, (&registry, &metrics), rows, stop),
            external_labels: watch::channel(Arc::default()).0,
            received: watch::channel(Bytes::new()).1,
            told: watch::channel(told).0,
            metrics: SetupMetrics::register(&registry).unwrap(),
            stored: Some(stored),
            changes,
            pushed,
            config,
            device,
            file,
        },
        groups,
        dir,
        _rows: received_rows,
    }
}

fn payload(rules: &[&str]) -> (u64, Bytes) {
    let rules: String = rules
        .iter()
        .map(|expr| format!("  - {{alert: A, expr: '{expr}'}}\n"))
        .collect();
    let file = RuleFile {
        name: "r.yml".to_owned(),
        text: format!("groups:\n- name: g\n  rules:\n{rules}"),
    };
    let (hash, payload) = wire::config::encode(vec![file]).unwrap();
    (hash, payload.into())
}

impl Bench {
    fn told(&self) -> ConfigState {
        self.setup.told.borrow().clone()
    }

    fn rules(&self) -> usize {
        *self.groups.borrow()
    }

    fn pushed(&self, outcome: &str) -> u64 {
        self.setup.metrics.outcomes(outcome)
    }

    /// What the next start of the agent begins with.
    fn next_start(&self) -> (usize, ConfigState) {
        let (rules, _, told) = initial(&self.setup.config, self.setup.stored.as_ref());
        (rules.count(), told)
    }
}

#[tokio::test]
async fn what_is_pushed_is_in_force_and_stays_after_a_restart_and_what_is_wrong_is_refused() {
    let mut bench = bench();
    let (good, first) = payload(&["a > 1", "b > 1"]);
    bench.setup.push(first.clone()).await;
    let in_force = ConfigState {
        hash: good,
        ..ConfigState::default()
    };
    assert_eq!((bench.told(), bench.rules()), (in_force.clone(), 2));
    assert_eq!(bench.next_start(), (2, in_force.clone()));

    let (bad, second) = payload(&["a > 1", "sum("]);
    bench.setup.push(second.clone()).await;
    let told = bench.told();
    assert_eq!((told.hash, told.refused), (good, bad));
    assert!(
        told.reason.starts_with("bridge:r.yml:5: group \"g\", rule 2"),
        "{}",
        told.reason
    );
    assert_eq!((bench.rules(), bench.next_start()), (2, (2, in_force.clone())));
    // It is not looked at twice; what is in force is no news, but ends the refusal.
    bench.setup.push(second).await;
    bench.setup.push(first.clone()).await;
    assert_eq!(bench.told(), in_force);
    assert_eq!(
        ["taken", "refused", "known"].map(|outcome| bench.pushed(outcome)),
        [1, 1, 2]
    );

    // Bytes that are no configuration; a reason that is too long for a state.
    bench
        .setup
        .push(Bytes::from_static(b"\x00\x08\x02\x11\x07\0\0\0\0\0\0\0"))
        .await;
    let told = bench.told();
    assert_eq!((told.hash, told.refused), (good, 7));
    assert_eq!(told.reason, "configuration of version 2; this is version 1");
    let wrong = vec!["é ="; 200];
    bench.setup.push(payload(&wrong).1).await;
    let length = bench.told().reason.len();
    assert!((MAX_REASON - 3..=MAX_REASON).contains(&length), "{length}");

    // No files: nothing is in force, and stays so.
    let (none, empty) = wire::config::encode(Vec::new()).unwrap();
    bench.setup.push(empty.into()).await;
    assert_eq!(
        (none, bench.told(), bench.rules()),
        (0, ConfigState::default(), 0)
    );
    assert_eq!(bench.next_start(), (0, ConfigState::default()));
}

#[tokio::test]
async fn a_configuration_that_cannot_be_stored_is_not_in_force() {
    let mut bench = bench();
    std::fs::remove_dir(bench.dir.path().join("wal")).unwrap();
    let (hash, payload) = payload(&["a > 1"]);
    bench.setup.push(payload).await;
    let told = bench.told();
    assert_eq!((told.hash, told.refused, bench.rules()), (0, hash, 0));
    assert!(
        told.reason.starts_with("it cannot be stored: "),
        "{}",
        told.reason
    );
}

#[tokio::test]
async fn a_file_is_read_again_with_the_pushed_rules_and_a_wrong_one_changes_nothing() {
    let mut bench = bench();
    let own = "groups: [{name: g, rules: [{alert: Own, expr: c > 1}]}]";
    std::fs::write(bench.dir.path().join("own.yml"), own).unwrap();
    bench.setup.push(payload(&["a > 1"]).1).await;
    let labels = "global: {external_labels: {site: a}}\n";
    write(bench.dir.path(), &format!("{labels}rule_files: [own.yml]\n"));
    bench.setup.reload().await;
    assert_eq!((bench.rules(), bench.setup.metrics.is_successful()), (2, true));
    assert_eq!(bench.setup.external_labels.borrow()["site"], "a");

    // The pushed rules have no room any more: the file is refused.
    write(bench.dir.path(), "rule_files: [own.yml]\nrules_memory: 100B\n");
    bench.setup.reload().await;
    assert_eq!((bench.rules(), bench.setup.metrics.is_successful()), (2, false));
    write(bench.dir.path(), "rule_files: [gone.yml]\n");
    bench.setup.reload().await;
    assert_eq!(bench.setup.external_labels.borrow().len(), 1);

    // What did not fit is asked for again once the file is another.
    let (_, large) = payload(&["rate(a[1d]) > 1"]);
    write(bench.dir.path(), "rules_memory: 10KB\n");
    bench.setup.reload().await;
    bench.setup.push(large.clone()).await;
    assert!(!bench.told().reason.is_empty());
    write(bench.dir.path(), "rules_memory: 10MB\n");
    bench.setup.reload().await;
    assert!(bench.told().reason.is_empty());
    bench.setup.push(large).await;
    assert_eq!((bench.told().reason.as_str(), bench.rules()), ("", 1));
}

#[test]
fn keys_that_need_a_restart_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let old = config::load(&write(dir.path(), "")).unwrap();
    let mut new = old.clone();
    assert!(fixed(&old, &new).is_empty());
    new.inputs.host_metrics = true;
    new.wal.max_bytes += 1;
    new.server_name = Some("other".to_owned());
    assert_eq!(fixed(&old, &new), ["broker.tls_config", "wal"]);
}
