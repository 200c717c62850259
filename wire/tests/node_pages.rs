//! Four recorded pages of node_exporter (523 series; one, 30 and 59 scrapes after the first) through the codec: every
//! value comes back bit for bit, and the bytes stay within what docs/wire.md promises.

use std::path::Path;

use wire::batch::{self, Batch, Encoder, Encoding, Group, Header, Key, KeyId, Row};
use wire::dict::{self, Dictionary};
use wire::{BootId, Seq, SessionId};

#[path = "pages/page.rs"]
mod page;

use page::Page;

fn pages() -> Vec<Page> {
    let pages = page::read_folder(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pages")));
    assert_eq!(pages.len(), 4);
    pages
}

fn batch(pages: &[Page]) -> Batch {
    let (dict, series) = pages[0].dictionary();
    let columns: Vec<Vec<f64>> = pages.iter().map(|page| page.values().collect()).collect();
    let row = |(at, page): (usize, &Page)| Row {
        seq: Seq::new(1 + at as u64),
        time: page.time,
        mono_ms: (page.time.ms() - 1_795_000_000_000) as u64,
    };
    let values = (0..series.len()).flat_map(|s| columns.iter().map(move |column| column[s]));
    let group = Group {
        values: values.collect(),
        rows: pages.iter().enumerate().map(row).collect(),
        series: series.into(),
        ..Group::default()
    };
    let header = Header {
        session: SessionId::new(1),
        boot: BootId::new(2),
        dict: dict.hash(),
        total: group.samples(),
        clock_error_ms: 0,
    };
    Batch {
        header,
        groups: vec![group],
    }
}

/// Decodes, compares bit for bit, and returns the key that the batch defines.
fn check(payload: &[u8], key: Option<&Key>, batch: &Batch) -> Option<Key> {
    let raw = batch::peek(payload).expect("a batch");
    let decoded = raw.decode(batch.groups[0].series.len(), key).expect("columns");
    let bits = |b: &Batch| b.groups[0].values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&decoded.batch), bits(batch));
    assert_eq!(decoded.batch.groups[0].rows, batch.groups[0].rows);
    assert_eq!(decoded.batch.groups[0].series, batch.groups[0].series);
    assert_eq!(decoded.batch.header, batch.header);
    decoded.key
}

#[test]
fn a_page_comes_back_bit_for_bit_in_less_than_1_2_bytes_a_sample() {
    let pages = pages();
    let mut encoder = Encoder::new();
    let mut sizes = Vec::new();
    let mut key: Option<Key> = None;
    for page in pages.chunks(1) {
        let batch = batch(page);
        let how = key
            .as_ref()
            .map_or(Encoding::Defines(KeyId::FIRST), Encoding::Keyed);
        let encoded = encoder.encode(&batch, how);
        let per_sample = encoded.payload.len() as f64 / batch.samples() as f64;
        println!(
            "one scrape: {} bytes, {per_sample:.3} a sample",
            encoded.payload.len()
        );
        sizes.push(per_sample);
        let defined = check(&encoded.payload, key.as_ref(), &batch);
        assert_eq!(defined, encoded.key);
        key = key.or(defined);
    }
    assert!(sizes[0] <= 2.3, "self-contained: {sizes:?}");
    assert!(sizes[1..].iter().all(|size| *size <= 1.2), "keyed: {sizes:?}");
}

#[test]
fn four_pages_in_one_batch_come_back_bit_for_bit() {
    let batch = batch(&pages());
    let payload = batch::encode(&batch, Encoding::SelfContained).payload;
    let per_sample = payload.len() as f64 / batch.samples() as f64;
    println!(
        "four scrapes, self-contained: {} bytes, {per_sample:.3} a sample",
        payload.len()
    );
    check(&payload, None, &batch);
    assert!(per_sample <= 1.25, "{per_sample}");
}

#[test]
fn fifty_series_in_one_scrape_fit_a_small_message() {
    let pages = pages();
    let first = |page: Page| Page {
        time: page.time,
        samples: page.samples.into_iter().step_by(10).take(50).collect(),
    };
    let few: Vec<Page> = pages.into_iter().map(first).collect();
    let mut encoder = Encoder::new();
    let key = encoder
        .encode(&batch(&few[..1]), Encoding::Defines(KeyId::FIRST))
        .key
        .unwrap();
    for page in few[1..].chunks(1) {
        let batch = batch(page);
        let payload = encoder.encode(&batch, Encoding::Keyed(&key)).payload;
        println!("fifty series, one scrape: {} bytes", payload.len());
        check(&payload, Some(&key), &batch);
        assert!(payload.len() <= 100, "{} bytes", payload.len());
    }
}

#[test]
fn the_page_s_dictionary_takes_less_than_12_bytes_a_series() {
    let (dict, series) = pages()[0].dictionary();
    let payloads = dict::encode(&dict, None);
    let bytes: usize = payloads.iter().map(Vec::len).sum();
    println!(
        "dictionary: {bytes} bytes, {:.1} a series",
        bytes as f64 / series.len() as f64
    );
    let back = payloads.iter().fold(Dictionary::new(), |list, payload| {
        dict::decode(payload).unwrap().apply(&list).unwrap()
    });
    assert_eq!(back, dict);
    assert!(bytes <= 12 * series.len());
}
