//! Reads recorded pages: gzip of the text format without comments, named `<unix ms>.gz`.

use std::io::Read;
use std::path::Path;

use wire::dict::{Dictionary, SeriesId};
use wire::{Labels, Timestamp};

/// A page: its time, and its series with their values, in its order.
pub(crate) struct Page {
    pub(crate) time: Timestamp,
    pub(crate) samples: Vec<(Labels, f64)>,
}

impl Page {
    /// The values, and the dictionary and ids that all pages of one host share.
    pub(crate) fn dictionary(&self) -> (Dictionary, Vec<SeriesId>) {
        let mut dict = Dictionary::new();
        let ids = self
            .samples
            .iter()
            .map(|(set, _)| dict.append(set.clone()).expect("a page is within the limits"));
        let ids = ids.collect();
        (dict, ids)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.samples.iter().map(|(_, value)| *value)
    }
}

/// All pages of a folder, by time; other files are left alone.
pub(crate) fn read_folder(folder: &Path) -> Vec<Page> {
    let files = std::fs::read_dir(folder).expect("the folder of pages");
    let mut pages: Vec<Page> = files
        .filter_map(|file| {
            let path = file.expect("a folder entry").path();
            let time = path.file_name()?.to_str()?.strip_suffix(".gz")?.parse().ok()?;
            Some(read(&path, Timestamp::from_ms(time)))
        })
        .collect();
    pages.sort_by_key(|page| page.time);
    pages
}

fn read(path: &Path, time: Timestamp) -> Page {
    let mut text = String::new();
    let file = std::fs::File::open(path).expect("a page");
    flate2::read::GzDecoder::new(file)
        .read_to_string(&mut text)
        .expect("gzip of text");
    Page {
        time,
        samples: text.lines().map(sample).collect(),
    }
}

fn sample(line: &str) -> (Labels, f64) {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let mut pairs = vec![
        ("__name__".to_owned(), name.to_owned()),
        ("instance".to_owned(), "vm-1".to_owned()),
        ("job".to_owned(), "node".to_owned()),
    ];
    let mut rest = labels.strip_suffix('}').expect("a closing brace");
    while let Some((name, quoted)) = rest.split_once("=\"") {
        let end = quoted
            .find('"')
            .expect("a closing quote; these pages escape none");
        pairs.push((name.trim_start_matches(',').to_owned(), quoted[..end].to_owned()));
        rest = &quoted[end + 1..];
    }
    let value = value.parse().expect("a number");
    (Labels::new(pairs).expect("a label set"), value)
}
