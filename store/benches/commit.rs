//! Measures the store: `cargo bench -p store --bench commit [-- FOLDER [DEVICES [SCRAPES [K]]]]`, a folder of recorded pages
//! (`<unix ms>.gz`; without one the four committed pages, too few for figures).
//!
//! Each device replays the pages, keyed, a new key every 60 scrapes, k scrapes a batch, commits of 256 KB or more. CPU is
//! that of the committing thread (planning, journal, heads, freezing), and of opening and decoding payloads apart, as
//! the bridge does it. Then the store is opened anew, which replays all of it, and every window is sealed: that CPU is the
//! whole process's. Bytes written are the process's (`/proc/self/io`), at rest those of the folder.
#![expect(clippy::print_stdout, reason = "it prints what it measures")]

#[path = "../../wire/tests/pages/page.rs"]
mod page;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use page::Page;
use store::{BatchEntry, Config, Entry, Lane, Store};
use wire::batch::{Batch, Encoder, Encoding, Group, Header, Key, KeyId, Row, peek};
use wire::dict::{Dictionary, SeriesId};
use wire::{BootId, DeviceName, Seq, SessionId};

/// As the binary has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bytes of payloads at which a commit is made.
const COMMIT: usize = 256 << 10;

/// Time between two scrapes, ms.
const STEP_MS: i64 = 15_000;

/// Scrapes that a key serves.
const KEY_AGE: usize = 60;

fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .expect("a clock")
        .into()
}

fn process_cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)
        .expect("a clock")
        .into()
}

fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").expect("/proc/self/io");
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|n| n.parse().ok()).expect("write_bytes")
}

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("/proc/self/statm");
    let pages: Option<u64> = statm.split(' ').nth(1).and_then(|n| n.parse().ok());
    pages.expect("resident pages") * 4096
}

/// A device that replays pages from its own offset, its gauges scaled by nothing: values stay those of the pages.
struct Sender {
    name: DeviceName,
    key: Option<Arc<Key>>,
    age: usize,
    encoder: Encoder,
}

fn batch(
    pages: &[Page],
    ids: &[SeriesId],
    dict: &Dictionary,
    first: usize,
    offset: usize,
    k: usize,
) -> Batch {
    let at = |n: usize| &pages[(first + n + offset) % pages.len()];
    let start = pages[0].time.ms();
    let rows = (0..k).map(|n| Row {
        seq: Seq::new((first + n + 1) as u64),
        time: wire::Timestamp::from_ms(start + ((first + n) as i64) * STEP_MS),
        mono_ms: ((first + n) * 15_000) as u64,
    });
    let columns: Vec<Vec<f64>> = (0..k).map(|n| at(n).values().collect()).collect();
    Batch {
        header: Header {
            session: SessionId::new(1),
            boot: BootId::new(1),
            dict: dict.hash(),
            total: ((first + k) * ids.len()) as u64,
            clock_error_ms: 0,
        },
        groups: vec![Group {
            series: ids.into(),
            rows: rows.collect(),
            values: (0..ids.len())
                .flat_map(|s| columns.iter().map(move |c| c[s]))
                .collect(),
            ..Group::default()
        }],
    }
}

impl Sender {
    fn payload(&mut self, batch: &Batch, k: usize) -> Vec<u8> {
        let how = match &self.key {
            Some(key) if self.age + k <= KEY_AGE => Encoding::Keyed(key),
            last => Encoding::Defines(last.as_ref().map_or(KeyId::FIRST, |key| key.id().next())),
        };
        let encoded = self.encoder.encode(batch, how);
        match encoded.key {
            Some(key) => {
                self.key = Some(Arc::new(key));
                self.age = k;
            }
            None => self.age += k,
        }
        encoded.payload
    }
}

fn open_payload(sender: &Sender, payload: Vec<u8>, series: usize) -> BatchEntry {
    let raw = peek(&payload).expect("a batch");
    let decoded = raw
        .decode(series, raw.key().and(sender.key.as_deref()))
        .expect("a batch");
    BatchEntry {
        device: sender.name.clone(),
        lane: Lane::Fresh,
        received: decoded.batch.groups[0].rows[0].time,
        payload: payload.into(),
        batch: decoded.batch,
        keyed: raw.key(),
        defines: decoded.key.map(Arc::new),
    }
}

#[derive(Default)]
struct Spent {
    samples: u64,
    payloads: u64,
    decode: Duration,
    commit: Duration,
    wall: Duration,
    commits: u64,
}

fn run(pages: &[Page], devices: usize, k: usize, scrapes: usize) {
    let dir = tempfile::tempdir_in(".").expect("a folder");
    let store = Store::open(dir.path(), Config::default(), &mut |_| {}).expect("a store");
    let (dict, ids) = pages[0].dictionary();
    let mut senders: Vec<Sender> = (0..devices)
        .map(|n| Sender {
            name: format!("t.d{n}").parse().expect("a name"),
            key: None,
            age: KEY_AGE,
            encoder: Encoder::new(),
        })
        .collect();
    let before = cpu();
    let dicts = senders.iter().map(|sender| store::NewDictionary {
        device: sender.name.clone(),
        dictionary: Arc::new(dict.clone()),
        outline: None,
    });
    store.put_dictionaries(dicts.collect()).expect("dictionaries");
    println!(
        "  dictionaries: {:.1} us each",
        (cpu() - before).as_micros() as f64 / devices as f64
    );
    let (mut spent, mut group, mut bytes) = (Spent::default(), Vec::new(), 0);
    let start = written();
    let memory = resident();
    for first in (0..scrapes).step_by(k) {
        // Devices share a page at a time, a few offsets apart, so that a batch is made once for many.
        let batches: Vec<Batch> = (0..8)
            .map(|o| batch(pages, &ids, &dict, first, o * 31, k))
            .collect();
        for (n, sender) in senders.iter_mut().enumerate() {
            let payload = sender.payload(&batches[n % batches.len()], k);
            bytes += payload.len();
            let before = cpu();
            group.push(Entry::Batch(open_payload(sender, payload, ids.len())));
            spent.decode += cpu() - before;
            spent.samples += (ids.len() * k) as u64;
            if bytes >= COMMIT {
                flush(&store, &mut group, &mut spent);
                spent.payloads += std::mem::take(&mut bytes) as u64;
            }
        }
    }
    flush(&store, &mut group, &mut spent);
    spent.payloads += bytes as u64;
    let per = |d: Duration| d.as_nanos() as f64 / spent.samples as f64;
    let each = |n: u64| n as f64 / spent.samples as f64;
    let (series, head) = store.head_size();
    println!(
        "k={k}: {} samples, {:.3} B/sample received; decode {:.1}, commit {:.1} ns/sample CPU; {} commits of {:.1} ms",
        spent.samples,
        each(spent.payloads),
        per(spent.decode),
        per(spent.commit),
        spent.commits,
        spent.wall.as_secs_f64() * 1000.0 / spent.commits as f64,
    );
    println!(
        "  written {:.3} B/sample; heads {:.3} B/sample ({} B/series), process +{:.0} B/series, {} MB",
        each(written() - start),
        each(head as u64),
        head / series,
        (resident() - memory.min(resident())) as f64 / series as f64,
        resident() >> 20,
    );
    let store = reopen(store, dir.path(), spent.samples);
    let before = process_cpu();
    let mut now = pages[0].time.ms() + scrapes as i64 * STEP_MS;
    let mut seals = 0;
    while store.usage().head_bytes > 0 && seals < 100 {
        now += 3_600_000;
        let round = store.maintain(wire::Timestamp::from_ms(now));
        assert!(round.failed.is_empty(), "{:?}", round.failed);
        seals += 1;
    }
    println!(
        "  sealed: {:.1} ns/sample CPU; written in all {:.3} B/sample, at rest {:.3}; {:?}; {} MB at the most",
        per(process_cpu() - before),
        each(written() - start),
        each(at_rest(&store)),
        store.usage(),
        peak() >> 20,
    );
}

fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc/self/status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: Option<u64> = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
    kib.expect("VmHWM") * 1024
}

fn at_rest(store: &Store) -> u64 {
    let usage = store.usage();
    usage.block_bytes + usage.journal_bytes + usage.dictionary_bytes
}

fn flush(store: &Store, group: &mut Vec<Entry>, spent: &mut Spent) {
    let (before, wall) = (cpu(), Instant::now());
    store.commit(std::mem::take(group)).expect("a commit");
    spent.commit += cpu() - before;
    spent.wall += wall.elapsed();
    spent.commits += 1;
}

fn reopen(store: Store, dir: &Path, samples: u64) -> Store {
    drop(store);
    let start = Instant::now();
    let store = Store::open(dir, Config::default(), &mut |_| {}).expect("a store");
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "  start: {seconds:.2} s, {:.1} M samples/s",
        samples as f64 / seconds / 1e6
    );
    let tenant = wire::Tenant::new("t").expect("a tenant");
    let start = Instant::now();
    let one = [store::Matcher::equal("__name__", "node_load1")];
    let found = store
        .select(&tenant, &one, i64::MIN, i64::MAX, usize::MAX)
        .expect("an answer");
    println!(
        "  node_load1 of all: {} series in {:.1} ms",
        found.len(),
        start.elapsed().as_secs_f64() * 1000.0
    );
    store
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let folder = args.next().map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../wire/tests/pages"),
        PathBuf::from,
    );
    let devices = args.next().and_then(|n| n.parse().ok()).unwrap_or(1000);
    let scrapes = args.next().and_then(|n| n.parse().ok()).unwrap_or(240);
    let pages = page::read_folder(&folder);
    println!("{} pages, {devices} devices", pages.len());
    let only: Option<usize> = args.next().and_then(|n| n.parse().ok());
    for k in [1, 4] {
        if only.is_none_or(|only| only == k) {
            run(&pages, devices, k, scrapes);
        }
    }
}
