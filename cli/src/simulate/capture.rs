//! Recorded exposition pages, replayed as a fleet.
//!
//! A folder holds pages `<unix ms>.gz`. Each device replays them from a page of its own and goes on from the start after
//! the last. Counters get an offset per device and carry on past the end of the capture; gauges get a factor per device
//! in 0.9..1.1 and are rounded back to the granularity that they had, so that devices differ without gaining entropy.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use device_agent::exposition::{Entries, Entry, ExpositionLimits};
use wire::labels::METRIC_NAME;
use wire::{Labels, Timestamp};

use super::source::{mix, unit};

/// The largest page that is read, bytes.
const MAX_PAGE: u64 = 16 << 20;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Any value.
    Gauge,
    /// Rises through the capture.
    Counter,
    /// A unix time of long ago.
    Epoch,
    /// The time of day.
    Clock,
}

/// To what a value is rounded.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Grain {
    /// Multiples of a power of two.
    Step(f64),
    /// So many decimals, as a power of ten.
    Decimals(f64),
    /// Not at all.
    Exact,
}

/// One series of the capture.
#[derive(Debug)]
pub(crate) struct CapturedSeries {
    labels: Labels,
    values: Vec<Option<f64>>,
    kind: Kind,
    grain: Grain,
    /// How much a counter rises from the first page to the first page of the next lap.
    rise: f64,
}

/// All pages of a folder.
#[derive(Debug)]
pub(crate) struct Capture {
    series: Vec<CapturedSeries>,
    page_ms: Vec<i64>,
    /// Pages that one scrape moves on.
    stride: u64,
}

fn page_files(dir: &Path) -> Result<Vec<(i64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in
        std::fs::read_dir(dir).with_context(|| format!("cannot read the folder {}", dir.display()))?
    {
        let path = entry?.path();
        let ms = path
            .file_stem()
            .and_then(|s| s.to_str())
            .and_then(|s| s.parse().ok());
        files.extend(ms.map(|ms| (ms, path)));
    }
    files.sort_unstable();
    if files.len() < 2 {
        bail!("{}: fewer than two pages named <unix ms>.gz", dir.display());
    }
    Ok(files)
}

fn read_page(path: &Path) -> Result<Vec<u8>> {
    let file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
    let mut text = Vec::new();
    flate2::read::MultiGzDecoder::new(file)
        .take(MAX_PAGE)
        .read_to_end(&mut text)
        .with_context(|| format!("{} is no gzip file", path.display()))?;
    Ok(text)
}

/// The series of a page and their values; times on the page are left out, the replay has its own.
fn samples(page: &[u8]) -> Result<Vec<(Labels, f64)>> {
    let limits = ExpositionLimits::default();
    let mut entries = Entries::new(page, limits);
    let mut samples = Vec::new();
    while let Some(entry) = entries.next(&[])? {
        if let Entry::Sample(sample) = entry {
            let series = sample.series.parse(&limits)?;
            let name = (METRIC_NAME.to_owned(), series.name);
            samples.push((
                Labels::new(series.labels.into_iter().chain([name]))?,
                sample.value,
            ));
        }
    }
    Ok(samples)
}

fn classify(name: &str, seen: &[(i64, f64)]) -> Kind {
    let (first, last) = (seen[0].1, seen[seen.len() - 1].1);
    let rising = last > first && seen.windows(2).all(|w| w[0].1 <= w[1].1);
    let counts = ["_total", "_count", "_sum", "_bucket"]
        .iter()
        .any(|suffix| name.ends_with(suffix));
    if seen.iter().all(|(ms, v)| (v - *ms as f64 / 1e3).abs() < 10.0) {
        Kind::Clock
    } else if name.contains("time") && seen.iter().all(|(_, v)| (1e9..4e9).contains(v)) {
        Kind::Epoch
    } else if counts || rising {
        Kind::Counter
    } else {
        Kind::Gauge
    }
}

fn grain(values: impl Iterator<Item = f64> + Clone) -> Grain {
    if values.clone().all(|v| v.fract() == 0.0 && v.abs() < 9e15) {
        let bits = values.fold(0u64, |bits, v| bits | v.abs() as u64);
        return Grain::Step((1u64 << bits.trailing_zeros().min(20)) as f64);
    }
    let decimals = |v: f64| {
        v.to_string()
            .split_once('.')
            .map_or(0, |(_, digits)| digits.len())
    };
    match values.filter(|v| v.is_finite()).map(decimals).max().unwrap_or(0) {
        digits @ 0..=12 => Grain::Decimals(10f64.powi(digits as i32)),
        _ => Grain::Exact,
    }
}

impl Grain {
    fn round(self, v: f64) -> f64 {
        match self {
            Grain::Step(step) => (v / step).round() * step,
            Grain::Decimals(scale) if v.abs() * scale < 9e15 => (v * scale).round() / scale,
            Grain::Decimals(_) | Grain::Exact => v,
        }
    }
}

impl CapturedSeries {
    fn new(labels: Labels, values: Vec<Option<f64>>, page_ms: &[i64]) -> Self {
        let seen: Vec<(i64, f64)> = page_ms
            .iter()
            .zip(&values)
            .filter_map(|(ms, v)| v.map(|v| (*ms, v)))
            .collect();
        let kind = classify(labels.metric_name(), &seen);
        let grain = grain(seen.iter().map(|(_, v)| *v));
        let steps = seen.len().saturating_sub(1).max(1) as f64;
        let rise = (seen[seen.len() - 1].1 - seen[0].1) * (steps + 1.0) / steps;
        CapturedSeries {
            labels,
            values,
            kind,
            grain,
            rise: grain.round(rise.max(0.0)),
        }
    }

    /// Labels as the page has them.
    pub(crate) fn labels(&self) -> &Labels {
        &self.labels
    }
}

impl Capture {
    /// Reads every page of a folder; a scrape moves on by as many pages as the interval spans.
    pub(crate) fn load(dir: &Path, interval_ms: u64) -> Result<Capture> {
        let mut index: HashMap<Labels, usize> = HashMap::new();
        let mut columns: Vec<Vec<Option<f64>>> = Vec::new();
        let mut page_ms = Vec::new();
        for (ms, path) in page_files(dir)? {
            let text = read_page(&path)?;
            for (labels, value) in samples(&text).with_context(|| path.display().to_string())? {
                let at = *index.entry(labels).or_insert(columns.len());
                if at == columns.len() {
                    columns.push(Vec::new());
                }
                columns[at].resize(page_ms.len(), None);
                columns[at].push(Some(value));
            }
            page_ms.push(ms);
        }
        let mut labels: Vec<(Labels, usize)> = index.into_iter().collect();
        labels.sort_unstable_by_key(|(_, at)| *at);
        let series = labels
            .into_iter()
            .zip(columns)
            .map(|((labels, _), mut values)| {
                values.resize(page_ms.len(), None);
                CapturedSeries::new(labels, values, &page_ms)
            })
            .collect();
        let gap = (page_ms[page_ms.len() - 1] - page_ms[0]).max(1) as u64 / (page_ms.len() as u64 - 1);
        let stride = ((interval_ms + gap / 2) / gap.max(1)).max(1);
        Ok(Capture {
            series,
            page_ms,
            stride,
        })
    }

    /// The series, in order of their first appearance.
    pub(crate) fn series(&self) -> &[CapturedSeries] {
        &self.series
    }

    /// What a device measures of a series at a scrape.
    pub(crate) fn value(&self, device: u32, scrape: u64, series: usize, time: Timestamp) -> Option<f64> {
        let series = &self.series[series];
        let device = u64::from(device);
        let pages = self.page_ms.len() as u64;
        let at = mix(device, 1) % pages + scrape * self.stride;
        let (page, lap) = ((at % pages) as usize, (at / pages) as f64);
        let v = series.values[page]?;
        if !v.is_finite() {
            return Some(v);
        }
        Some(match series.kind {
            Kind::Clock => series
                .grain
                .round(v + (time.ms() - self.page_ms[page]) as f64 / 1e3),
            Kind::Epoch => series
                .grain
                .round(v + lap * series.rise - (mix(device, 2) % 2_592_000) as f64),
            Kind::Counter => {
                let base = series.values[0].filter(|b| b.is_finite()).unwrap_or(0.0);
                series.grain.round(v + lap * series.rise + base * unit(device, 3))
            }
            Kind::Gauge if v == 0.0 || v == 1.0 => v,
            Kind::Gauge => series.grain.round(v * (0.9 + 0.2 * unit(device, 4))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, values: &[f64]) -> CapturedSeries {
        let labels = Labels::new([("__name__", name)]).unwrap();
        let page_ms = [1_700_000_000_000, 1_700_000_005_000, 1_700_000_010_000];
        CapturedSeries::new(labels, values.iter().copied().map(Some).collect(), &page_ms)
    }

    #[test]
    fn kinds_and_granularity_come_from_the_pages() {
        let s = series("node_cpu_seconds_total", &[1.25, 1.5, 1.75]);
        assert_eq!(
            (s.kind, s.grain, s.rise),
            (Kind::Counter, Grain::Decimals(100.0), 0.75)
        );
        let s = series("node_memory_MemFree_bytes", &[8192.0, 4096.0, 12288.0]);
        assert_eq!((s.kind, s.grain.round(9000.0)), (Kind::Gauge, 8192.0));
        assert_eq!(
            series("node_boot_time_seconds", &[1.6e9, 1.6e9, 1.6e9]).kind,
            Kind::Epoch
        );
        assert_eq!(
            series("node_time_seconds", &[1.7e9, 1.700000005e9, 1.70000001e9]).kind,
            Kind::Clock
        );
    }
}
