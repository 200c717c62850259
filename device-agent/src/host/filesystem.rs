//! Collector `filesystem`: sizes of mounted filesystems.
//!
//! A server that is gone blocks statvfs of its mount for as long as it likes, so such mounts are asked from a thread of
//! their own; one that does not answer in time is reported as `mountpoint timeout` until it does. There is at most one
//! such thread per mount.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::Duration;

use nix::sys::statvfs::{Statvfs, statvfs};

use super::{CollectError, Root};
use crate::exposition::MetricType::Gauge;
use crate::exposition::PageWriter;

/// As node_exporter's --collector.filesystem.mount-timeout.
const MOUNT_TIMEOUT: Duration = Duration::from_secs(5);

/// node_exporter's --collector.filesystem.fs-types-exclude.
const EXCLUDED_TYPES: [&str; 25] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "erofs",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "procfs",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "sysfs",
    "tracefs",
];

/// node_exporter's --collector.filesystem.mount-points-exclude: these and what is below them.
const EXCLUDED_MOUNTS: [&str; 5] = [
    "/dev",
    "/proc",
    "/sys",
    "/var/lib/docker",
    "/var/lib/containers/storage",
];

/// Types whose statvfs may wait for another machine or process.
const REMOTE_TYPES: [&str; 9] = [
    "9p",
    "afs",
    "ceph",
    "cifs",
    "fuse",
    "glusterfs",
    "lustre",
    "nfs",
    "smb",
];

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    device: String,
    point: String,
    kind: String,
    readonly: bool,
}

type Answer = Result<Statvfs, String>;

/// Mounts that have not answered yet.
#[derive(Debug, Default)]
pub(super) struct MountStats {
    waiting: BTreeMap<PathBuf, Receiver<Answer>>,
}

impl MountStats {
    pub(super) fn collect(&mut self, root: &Root, page: &mut PageWriter) -> Result<(), CollectError> {
        // The mounts of init are the host's, also from inside a service's mount namespace.
        let table = root
            .read("proc/1/mounts")
            .or_else(|_| root.read("proc/self/mounts"))?;
        let mounts: Vec<(Mount, Answer)> = parse(&table)
            .into_iter()
            .map(|mount| {
                let path = root.path(mount.point.trim_start_matches('/'));
                let answer = self.stat(path, &mount);
                (mount, answer)
            })
            .collect();
        write(&mounts, page);
        Ok(())
    }

    fn stat(&mut self, path: PathBuf, mount: &Mount) -> Answer {
        if !REMOTE_TYPES.iter().any(|kind| mount.kind.starts_with(kind)) {
            return ask(&path);
        }
        let answers = match self.waiting.remove(&path) {
            Some(answers) => answers,
            None => {
                let (answer, answers) = mpsc::sync_channel(1);
                let asked = path.clone();
                let thread = std::thread::Builder::new().name("statvfs".into());
                thread
                    .spawn(move || answer.send(ask(&asked)))
                    .map_err(|e| e.to_string())?;
                match answers.recv_timeout(MOUNT_TIMEOUT) {
                    Ok(answer) => return answer,
                    Err(_) => answers,
                }
            }
        };
        match answers.try_recv() {
            Ok(answer) => answer,
            Err(TryRecvError::Disconnected) => Err("no answer".into()),
            Err(TryRecvError::Empty) => {
                self.waiting.insert(path, answers);
                Err("mountpoint timeout".into())
            }
        }
    }
}

fn ask(path: &PathBuf) -> Answer {
    statvfs(path).map_err(|e| e.desc().to_owned())
}

/// The mounts that count, each mount point once.
fn parse(table: &str) -> Vec<Mount> {
    let mut seen = BTreeSet::new();
    let mut mounts = Vec::new();
    for line in table.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [device, point, kind, options, ..] = fields[..] else {
            continue;
        };
        let (device, point) = (unescape(device), unescape(point));
        if EXCLUDED_TYPES.contains(&kind)
            || is_excluded(&point)
            || !seen.insert((device.clone(), point.clone()))
        {
            continue;
        }
        let readonly = options.split(',').any(|option| option == "ro");
        mounts.push(Mount {
            device,
            point,
            kind: kind.to_owned(),
            readonly,
        });
    }
    mounts
}

fn is_excluded(point: &str) -> bool {
    let below = |prefix: &str| {
        point
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    // Docker's and the containers' own folders stay, what they mount below goes.
    let container = |prefix: &&str| prefix.starts_with("/var");
    EXCLUDED_MOUNTS
        .iter()
        .any(|prefix| below(prefix) && !(container(prefix) && point.len() <= prefix.len() + 1))
        || point
            .strip_prefix("/run/credentials/")
            .is_some_and(|rest| !rest.is_empty())
}

/// The kernel writes blanks, tabs and backslashes in octal.
fn unescape(field: &str) -> String {
    field
        .replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\134", "\\")
}

type Size = fn(&Statvfs) -> u64;

/// (metric, help, value): what a mount that answered has.
const SIZES: [(&str, &str, Size); 5] = [
    (
        "node_filesystem_avail_bytes",
        "Filesystem space available to non-root users in bytes.",
        |s| s.blocks_available() * s.fragment_size(),
    ),
    (
        "node_filesystem_files",
        "Filesystem total file nodes.",
        Statvfs::files,
    ),
    (
        "node_filesystem_files_free",
        "Filesystem total free file nodes.",
        Statvfs::files_free,
    ),
    (
        "node_filesystem_free_bytes",
        "Filesystem free space in bytes.",
        |s| s.blocks_free() * s.fragment_size(),
    ),
    ("node_filesystem_size_bytes", "Filesystem size in bytes.", |s| {
        s.blocks() * s.fragment_size()
    }),
];

fn write(mounts: &[(Mount, Answer)], page: &mut PageWriter) {
    let name = "node_filesystem_device_error";
    page.family(
        name,
        Gauge,
        "Whether an error occurred while getting statistics for the given device.",
    );
    for (mount, answer) in mounts {
        let error = answer.as_ref().err().map_or("", String::as_str);
        page.sample(name, &labels(mount, error), f64::from(u8::from(answer.is_err())));
    }
    let name = "node_filesystem_readonly";
    page.family(name, Gauge, "Filesystem read-only status.");
    for (mount, answer) in mounts {
        let error = answer.as_ref().err().map_or("", String::as_str);
        page.sample(name, &labels(mount, error), f64::from(u8::from(mount.readonly)));
    }
    for (name, help, value) in SIZES {
        page.family(name, Gauge, help);
        for (mount, answer) in mounts {
            if let Ok(stats) = answer {
                page.sample(name, &labels(mount, ""), value(stats) as f64);
            }
        }
    }
}

fn labels<'a>(mount: &'a Mount, error: &'a str) -> [(&'static str, &'a str); 4] {
    [
        ("device", &mount.device),
        ("device_error", error),
        ("fstype", &mount.kind),
        ("mountpoint", &mount.point),
    ]
}
