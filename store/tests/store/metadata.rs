//! What devices tell of their metrics outlives the journal, restarts and copies, within a budget.

use store::{Entry, Metadata, Store};
use wire::Tenant;
use wire::batch::Encoding;
use wire::message;

use super::device::{Device, START, open, tenant};

fn told(family: &str, help: &str) -> message::Metadata {
    message::Metadata {
        row: 0,
        family: family.to_owned(),
        kind: "counter".to_owned(),
        help: help.to_owned(),
        unit: "seconds".to_owned(),
    }
}

/// Commits a record of the device that tells something.
fn tell(store: &Store, device: &mut Device, metadata: Vec<message::Metadata>) {
    let record = device.record(START + device.last() as i64, |i| i as f64);
    let mut entry = device.entry(&[record], Encoding::SelfContained);
    entry.batch.groups[0].metadata = metadata;
    store.commit(vec![Entry::Batch(entry)]).unwrap();
}

fn helps(store: &Store, tenant: &Tenant) -> Vec<(String, Vec<String>)> {
    let help = |m: Metadata| m.help;
    let all = store.metadata(tenant, None, usize::MAX).into_iter();
    all.map(|(family, told)| (family, told.into_iter().map(help).collect()))
        .collect()
}

#[test]
fn metadata_is_kept_by_tenant_across_restarts_and_snapshots() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut device = Device::new("gw-1", 1, 2);
    let mut other = Device::of("other.gw-1", 2, 2);
    for device in [&device, &other] {
        device.put_dictionary(&store);
    }
    tell(&store, &mut device, vec![told("m", "old"), told("n", "n")]);
    tell(&store, &mut device, vec![told("m", "new")]);
    tell(&store, &mut device, vec![told("m", "old")]);
    tell(&store, &mut other, vec![told("m", "theirs")]);
    let expected = [
        ("m".to_owned(), vec!["old".to_owned(), "new".to_owned()]),
        ("n".to_owned(), vec!["n".to_owned()]),
    ];
    assert_eq!(helps(&store, &tenant()), expected);
    store.snapshot("copy", &mut |_, _| Ok(())).unwrap();
    drop(store);

    let copy = folder.path().join("snapshots/copy");
    for dir in [folder.path(), copy.as_path()] {
        let store = open(dir);
        assert_eq!(helps(&store, &tenant()), expected, "{}", dir.display());
        let theirs = helps(&store, &Tenant::new("other").unwrap());
        assert_eq!(theirs, [("m".to_owned(), vec!["theirs".to_owned()])]);
        let one = store.metadata(&tenant(), Some("n"), 1);
        assert_eq!((one.len(), one[0].1[0].unit.as_str()), (1, "seconds"));
        assert_eq!(store.metadata(&tenant(), None, 1).len(), 1);
        assert_eq!(store.metadata_refused(), 0);
    }
}

#[test]
fn a_tenant_s_metadata_has_a_budget_of_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut device = Device::new("gw-1", 1, 2);
    device.put_dictionary(&store);
    let long = "x".repeat(60_000);
    for n in 0..100 {
        tell(&store, &mut device, vec![told(&format!("m{n}"), &long)]);
    }
    let kept = store.metadata(&tenant(), None, usize::MAX).len();
    assert_eq!(kept as u64 + store.metadata_refused(), 100);
    assert!((60..=70).contains(&kept), "{kept}");
}
