//! Measures the commits that begin a journal file: `cargo bench -p store --bench rollover [-- DEVICES [SERIES [SESSIONS]]]`.
//!
//! Each device has two keys of as many series and some ended sessions. Then rounds of one row per device are committed, 256 KB
//! a commit, until six files were begun, while another thread writes the next file's checkpoint ahead, as the bridge's does.
//! Printed are the wall times of the commits that began one and of the others.
#![expect(clippy::print_stdout, reason = "it prints what it measures")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use store::{BatchEntry, Config, Entry, Lane, NewDictionary, Store};
use wire::batch::{Batch, Encoder, Encoding, Group, Header, Key, KeyId, Row, peek};
use wire::dict::{Dictionary, SeriesId};
use wire::{BootId, DeviceName, Labels, Seq, SessionId, Timestamp};

/// Bytes of payloads at which a commit is made.
const COMMIT: usize = 256 << 10;

/// Bytes of values at which a file is full.
const FILE: u64 = 256 << 20;

/// Files to begin.
const FILES: usize = 6;

/// The time of the first rows, ms.
const START_MS: i64 = 1_795_305_600_000;

struct Sender {
    name: DeviceName,
    key: Option<Arc<Key>>,
    encoder: Encoder,
}

impl Sender {
    /// A row of a session, which defines a key if one of that number is asked for.
    fn entry(
        &mut self,
        dict: &Dictionary,
        (session, seq): (u64, u64),
        time: i64,
        defines: Option<KeyId>,
    ) -> BatchEntry {
        let series = dict.len();
        let batch = Batch {
            header: Header {
                session: SessionId::new(session),
                boot: BootId::new(session),
                dict: dict.hash(),
                total: seq * series as u64,
                clock_error_ms: 0,
            },
            groups: vec![Group {
                series: (0..series).map(|n| SeriesId::new(n as u32)).collect(),
                rows: vec![Row {
                    seq: Seq::new(seq),
                    time: Timestamp::from_ms(time),
                    mono_ms: seq * 15_000,
                }],
                values: (0..series).map(|n| (seq as usize * 7 * n) as f64 / 8.0).collect(),
                ..Group::default()
            }],
        };
        let how = match (defines, &self.key) {
            (Some(id), _) => Encoding::Defines(id),
            (None, Some(key)) => Encoding::Keyed(key),
            (None, None) => Encoding::SelfContained,
        };
        let encoded = self.encoder.encode(&batch, how);
        let raw = peek(&encoded.payload).expect("a batch");
        let decoded = raw
            .decode(series, raw.key().and(self.key.as_deref()))
            .expect("a batch");
        let entry = BatchEntry {
            device: self.name.clone(),
            lane: Lane::Fresh,
            received: Timestamp::from_ms(time),
            keyed: raw.key(),
            defines: decoded.key.map(Arc::new),
            batch: decoded.batch,
            payload: encoded.payload.into(),
        };
        if let Some(key) = encoded.key {
            self.key = Some(Arc::new(key));
        }
        entry
    }
}

/// Wall time of commits.
#[derive(Default)]
struct Spent {
    began: Vec<Duration>,
    others: Vec<Duration>,
}

impl Spent {
    fn commit(&mut self, store: &Store, entries: Vec<Entry>) {
        let files = store.usage().journal_files;
        let start = Instant::now();
        store.commit(entries).expect("a commit");
        let took = start.elapsed();
        match store.usage().journal_files > files {
            true => self.began.push(took),
            false => self.others.push(took),
        }
    }
}

fn print(what: &str, mut all: Vec<Duration>) {
    all.sort_unstable();
    let ms = |at: usize| all.get(at).map_or(0.0, |d| d.as_secs_f64() * 1000.0);
    println!(
        "{what}: {} commits, ms: least {:.1}, median {:.1}, longest {:.1}",
        all.len(),
        ms(0),
        ms(all.len() / 2),
        ms(all.len().saturating_sub(1)),
    );
}

fn dictionary(name: &DeviceName, series: usize) -> Dictionary {
    let mut dict = Dictionary::new();
    for n in 0..series {
        let metric = format!("node_metric_{n}");
        let pairs = [
            ("__name__", metric.as_str()),
            ("instance", name.device().as_str()),
            ("job", "node"),
        ];
        let set = Labels::new(pairs).expect("labels");
        dict.append(set).expect("a set");
    }
    dict
}

fn senders(store: &Store, devices: usize, series: usize) -> Vec<(Sender, Arc<Dictionary>)> {
    let senders: Vec<(Sender, Arc<Dictionary>)> = (0..devices)
        .map(|n| {
            let name: DeviceName = format!("fleet.device-{n:05}").parse().expect("a name");
            let dict = Arc::new(dictionary(&name, series));
            let sender = Sender {
                name,
                key: None,
                encoder: Encoder::new(),
            };
            (sender, dict)
        })
        .collect();
    for part in senders.chunks(500) {
        let new = part.iter().map(|(sender, dict)| NewDictionary {
            device: sender.name.clone(),
            dictionary: dict.clone(),
            outline: None,
        });
        store.put_dictionaries(new.collect()).expect("dictionaries");
    }
    senders
}

/// Commits rounds until enough files were begun; says how many rounds, and how long commits took.
fn commit(store: &Store, senders: &mut [(Sender, Arc<Dictionary>)], sessions: u64) -> (u64, Spent) {
    let (mut spent, mut group, mut bytes, mut round) = (Spent::default(), Vec::new(), 0, 0u64);
    while spent.began.len() < FILES {
        // The last session goes on: its rows are keyed, but for its second, which defines another key.
        let session = (round + 1).min(sessions);
        let seq = round + 1 - (session - 1);
        let defines = match seq {
            1 => Some(KeyId::FIRST),
            2 => Some(KeyId::FIRST.next()),
            _ => None,
        };
        if round == sessions + 1 {
            // So far every commit registered something.
            spent = Spent::default();
        }
        let time = START_MS + round as i64 * 15_000;
        for (sender, dict) in senders.iter_mut() {
            let entry = sender.entry(dict, (session, seq), time, defines);
            bytes += entry.payload.len();
            group.push(Entry::Batch(entry));
            if bytes >= COMMIT {
                spent.commit(store, std::mem::take(&mut group));
                bytes = 0;
            }
        }
        round += 1;
    }
    (round, spent)
}

fn main() {
    let mut args = std::env::args().skip(1).filter_map(|arg| arg.parse().ok());
    let devices: usize = args.next().unwrap_or(10_000);
    let series = args.next().unwrap_or(60);
    let sessions = args.next().unwrap_or(4) as u64;
    let dir = tempfile::tempdir_in(".").expect("a folder");
    let config = Config {
        journal_file_bytes: FILE,
        ..Config::default()
    };
    let store = Store::open(dir.path(), config, &mut |_| {}).expect("a store");
    let mut senders = senders(&store, devices, series);
    let ended = AtomicBool::new(false);
    let (rounds, spent) = thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                if !store.prepare_journal().expect("a disk that takes it") {
                    thread::sleep(Duration::from_secs(1));
                }
            }
        });
        let done = commit(&store, &mut senders, sessions);
        ended.store(true, Ordering::Relaxed);
        done
    });
    println!("{devices} devices, {series} series each, {sessions} sessions each, {rounds} rounds");
    print("began a file", spent.began);
    print("others", spent.others);
}
