//! Measures the batch codec on recorded pages: `cargo bench -p wire --bench pages [-- FOLDER]`.
//!
//! Without a folder it takes the four committed pages, too few for figures. Bytes are those of payloads (codec byte and
//! snappy included), a new key every 60 scrapes; ns are of one thread, the best of several passes.
#![expect(clippy::print_stdout, reason = "it prints what it measures")]

#[path = "../tests/pages/page.rs"]
mod page;

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use wire::batch::{self, Batch, Encoder, Encoding, Group, Header, Key, KeyId, Row};
use wire::dict::{self, DictHash, SeriesId};
use wire::{BootId, Seq, SessionId, message, payload};

use page::Page;

/// Scrapes that a key serves.
const KEY_AGE: usize = 60;

const PASSES: usize = 15;

struct Fleet<'a> {
    pages: &'a [Page],
    ids: Vec<SeriesId>,
    dict: DictHash,
    /// Positions on the page of the series taken.
    taken: Vec<usize>,
}

impl Fleet<'_> {
    /// The scrapes first..first + count.
    fn batch(&self, first: usize, count: usize) -> Batch {
        let pages = &self.pages[first..first + count];
        let columns: Vec<Vec<f64>> = pages.iter().map(|page| page.values().collect()).collect();
        let row = |(at, page): (usize, &Page)| Row {
            seq: Seq::new(1000 + (first + at) as u64),
            time: page.time,
            mono_ms: (page.time.ms() - 1_795_000_000_000) as u64,
        };
        let group = Group {
            series: self.ids[..self.taken.len()].into(),
            rows: pages.iter().enumerate().map(row).collect(),
            values: self
                .taken
                .iter()
                .flat_map(|s| columns.iter().map(|column| column[*s]))
                .collect(),
            ..Group::default()
        };
        let header = Header {
            session: SessionId::new(0x1234_5678_9abc_def0),
            boot: BootId::new(0xfedc_ba98_7654_3210),
            dict: self.dict,
            total: ((1000 + first + count) * self.taken.len()) as u64,
            clock_error_ms: 0,
        };
        Batch {
            header,
            groups: vec![group],
        }
    }
}

/// Payloads with the key that each needs.
struct Sent {
    payloads: Vec<(Vec<u8>, Option<usize>)>,
    keys: Vec<Key>,
}

fn encode_all(batches: &[Batch], scrapes: usize, keyed: bool) -> Sent {
    let mut encoder = Encoder::new();
    let mut sent = Sent {
        payloads: Vec::new(),
        keys: Vec::new(),
    };
    let mut age = KEY_AGE;
    for batch in batches {
        let how = match (keyed, sent.keys.last()) {
            (false, _) => Encoding::SelfContained,
            (true, Some(key)) if age + scrapes <= KEY_AGE => Encoding::Keyed(key),
            (true, last) => Encoding::Defines(last.map_or(KeyId::FIRST, |key| key.id().next())),
        };
        let encoded = encoder.encode(batch, how);
        let by = matches!(how, Encoding::Keyed(_)).then(|| sent.keys.len() - 1);
        age = if by.is_some() { age + scrapes } else { scrapes };
        sent.payloads.push((encoded.payload, by));
        sent.keys.extend(encoded.key);
    }
    sent
}

fn decode_all(sent: &Sent, series: usize) -> u64 {
    let decoded = sent.payloads.iter().map(|(payload, by)| {
        let raw = batch::peek(payload).expect("a batch");
        raw.decode(series, by.map(|at| &sent.keys[at]))
            .expect("a batch")
            .batch
            .samples()
    });
    decoded.sum()
}

/// Nanoseconds of the fastest of several passes.
fn fastest<T>(mut pass: impl FnMut() -> T) -> f64 {
    let times = (0..PASSES).map(|_| {
        let start = Instant::now();
        black_box(pass());
        start.elapsed().as_nanos() as f64
    });
    times.fold(f64::INFINITY, f64::min)
}

fn measure(fleet: &Fleet<'_>, scrapes: usize, keyed: bool) {
    let batches: Vec<Batch> = (0..fleet.pages.len() / scrapes)
        .map(|at| fleet.batch(at * scrapes, scrapes))
        .collect();
    if batches.is_empty() {
        return;
    }
    let samples: u64 = batches.iter().map(Batch::samples).sum();
    let sent = encode_all(&batches, scrapes, keyed);
    assert_eq!(decode_all(&sent, fleet.ids.len()), samples);
    let bytes = |of: &dyn Fn(Option<usize>) -> bool| -> (usize, usize) {
        let some = sent.payloads.iter().filter(|(_, by)| of(*by));
        some.fold((0, 0), |(n, sum), (payload, _)| (n + 1, sum + payload.len()))
    };
    let (all, total) = bytes(&|_| true);
    let (keyed_count, keyed_total) = bytes(&|by| by.is_some());
    let encode = fastest(|| encode_all(&batches, scrapes, keyed)) / samples as f64;
    let decode = fastest(|| decode_all(&sent, fleet.ids.len())) / samples as f64;
    println!(
        "{:4} series, {scrapes:3} scrapes, {}: {:.3} B/sample, {:.0} B/payload (keyed alone {:.0}); encode {encode:.1}, decode {decode:.1} ns/sample",
        fleet.taken.len(),
        if keyed { "keyed" } else { "alone" },
        total as f64 / samples as f64,
        total as f64 / all as f64,
        keyed_total as f64 / keyed_count.max(1) as f64,
    );
    columns(&sent);
}

/// Where the bytes of the bodies go, before snappy, per payload.
fn columns(sent: &Sent) {
    use prost::Message;
    let mut sums = [0; 9];
    for (payload, _) in &sent.payloads {
        let body = payload::open(payload, 8 << 20).expect("a payload");
        let batch = message::Batch::decode(body.as_ref()).expect("a batch");
        let parts = batch.groups.iter().fold([0; 7], |mut parts, g| {
            let lens = [
                &g.series, &g.stamps, &g.changed, &g.modes, &g.first, &g.vals, &g.raw,
            ]
            .map(|c| c.len());
            parts.iter_mut().zip(lens).for_each(|(sum, len)| *sum += len);
            parts
        });
        sums[0] += body.len() - parts.iter().sum::<usize>();
        sums.iter_mut()
            .skip(1)
            .zip(parts)
            .for_each(|(sum, len)| *sum += len);
        sums[8] += body.len();
    }
    let names = [
        "header", "series", "stamps", "changed", "modes", "first", "vals", "raw", "body",
    ];
    let per = |sum: usize| sum as f64 / sent.payloads.len() as f64;
    let line: Vec<String> = names
        .iter()
        .zip(sums)
        .map(|(name, sum)| format!("{name} {:.1}", per(sum)))
        .collect();
    println!("      {}", line.join(", "));
}

/// An ack of one session whose records are settled up to a seq.
fn ack() -> Vec<u8> {
    let session = message::SessionAck {
        session: 0x1234_5678_9abc_def0,
        settled: vec![message::Range { first: 1000, more: 3 }],
        ..message::SessionAck::default()
    };
    wire::ack::encode(&message::Ack {
        version: message::VERSION,
        epoch: 0x0f0e_0d0c_0b0a_0908,
        nonce: 0x8070_6050_4030_2010,
        sessions: vec![session],
        fresh_credit: 1 << 22,
        backlog_credit: 1 << 22,
        wall_ms: 1_795_328_921_831,
        ..message::Ack::default()
    })
}

fn main() {
    let folder = std::env::args().skip(1).find(|arg| !arg.starts_with("--"));
    let committed = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pages"));
    let pages = page::read_folder(&folder.map_or(committed, PathBuf::from));
    let (dict, ids) = pages[0].dictionary();
    let whole: usize = dict::encode(&dict, None).iter().map(Vec::len).sum();
    println!(
        "{} pages; dictionary of {} series: {whole} B",
        pages.len(),
        ids.len()
    );
    let all: Vec<usize> = (0..ids.len()).collect();
    println!("an ack of four scrapes: {} B", ack().len());
    // Every tenth: the first fifty are all of one family.
    let few: Vec<usize> = all.iter().copied().step_by(10).take(50).collect();
    for taken in [all, few] {
        let fleet = Fleet {
            pages: &pages,
            ids: ids.clone(),
            dict: dict.hash(),
            taken,
        };
        for (scrapes, keyed) in [
            (1, true),
            (4, true),
            (1, false),
            (4, false),
            (20, false),
            (120, false),
        ] {
            measure(&fleet, scrapes, keyed);
        }
    }
}
