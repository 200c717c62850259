//! A disk that fills in the middle of a commit: a file size limit stands in for it.
//!
//! The limit holds for a whole process, and exceeding it sends SIGXFSZ; so the test runs itself in a child that a shell
//! starts with that signal ignored.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "store/device.rs"]
#[expect(dead_code, reason = "shared with the other tests")]
mod device;

use std::process::Command;

use device::{Device, START, assert_equation, open_with};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use store::{CommitError, Config, Store};

const CHILD: &str = "BACKHAUL_TEST_DISK_FULL";

#[test]
fn a_full_disk_stops_commits_and_nothing_else() {
    if std::env::var_os(CHILD).is_some() {
        return fill();
    }
    let status = Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; exec \"$0\" --exact a_full_disk_stops_commits_and_nothing_else",
        ])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, "1")
        .status()
        .unwrap();
    assert!(status.success());
}

fn fill() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), Config::default());
    let mut device = Device::new("gw-1", 1, 500);
    device.put_dictionary(&store);
    setrlimit(Resource::RLIMIT_FSIZE, 3 << 20, RLIM_INFINITY).unwrap();
    let mut failed = Vec::new();
    for n in 0..4000i64 {
        let record = device.record(START + n * 10, |i| ((i as i64 * 7919 + n) as f64).sqrt());
        match store.commit(vec![device.deliver(std::slice::from_ref(&record))]) {
            Ok(_) => assert!(failed.is_empty() || failed.len() < 5),
            Err(CommitError::Disk(_)) => {
                assert!(
                    !store
                        .settled(&device.name, device.session)
                        .contains(wire::Seq::new(record.seq))
                );
                failed.push(record);
            }
            Err(error) => panic!("{error}"),
        }
        if failed.len() == 5 {
            break;
        }
    }
    assert!(!failed.is_empty(), "the limit was not reached");
    assert_equation(&store, &device.name);
    setrlimit(Resource::RLIMIT_FSIZE, RLIM_INFINITY, RLIM_INFINITY).unwrap();
    for record in &failed {
        let receipt = store
            .commit(vec![device.deliver(std::slice::from_ref(record))])
            .unwrap();
        assert_eq!(receipt.sessions[0].stored_rows, 1);
    }
    let read = store.read_back(&device.name);
    assert_eq!(read.samples, device.total());
    drop(store);
    let store = Store::open(dir.path(), Config::default(), &mut |_| {}).unwrap();
    assert_eq!(store.damage(), []);
    assert_eq!(store.read_back(&device.name), read);
    assert_eq!(store.device(&device.name).unwrap().pending, 0);
    assert_equation(&store, &device.name);
}
