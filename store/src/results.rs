//! Results of the bridge's rules: samples of a tenant that are of no device.
//!
//! They come as single samples, and are arranged as the heads hold rows: series that have the same metric name and the
//! same times stand together as one list; native histograms in lists of their own, each of one time. A record of the journal
//! has whole lists, each label's text once, snappy over it.

use std::collections::{BTreeMap, HashMap};

use prost::Message;
use wire::batch::{Group, Presence, Row};
use wire::dict::SeriesId;
use wire::limits::{MAX_LABELS, MAX_SET};
use wire::message::{Histogram, HistogramCell};
use wire::{Labels, Seq, Tenant, Timestamp};

use crate::ledger::DeviceRef;
use crate::record::{ResultList, ResultLists, ResultsRecord};

/// Whose results are, where samples have a device's number; no device gets it.
pub(crate) const OWNER: DeviceRef = DeviceRef::MAX;

/// Values of a list.
const MAX_CELLS: usize = 8192;

/// Rows of a list.
const MAX_ROWS: usize = 1024;

/// Weight at which a list's series are cut, and that at which a record is full; see [`weight`].
const LIST_WEIGHT: usize = 512 << 10;
const RECORD_WEIGHT: usize = 1 << 20;

/// Bytes of a native histogram at most, as of a device's message.
const MAX_HISTOGRAM: usize = 64 << 10;

/// Bytes of a record that are uncompressed at most. A list more than fits weighs little more than `LIST_WEIGHT`.
const MAX_PLAIN: usize = 4 << 20;

/// A result of the bridge's rules.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnSample {
    /// The series as it is stored: nothing is added to it.
    pub labels: Labels,
    /// When the rule was evaluated, or for.
    pub time: Timestamp,
    /// The value.
    pub value: OwnValue,
}

/// The value of a result.
#[derive(Debug, Clone, PartialEq)]
pub enum OwnValue {
    /// A float; Prometheus's stale marker is one.
    Float(f64),
    /// A native histogram.
    Histogram(Box<Histogram>),
}

impl From<f64> for OwnValue {
    fn from(value: f64) -> Self {
        OwnValue::Float(value)
    }
}

impl OwnValue {
    /// Whether both are one, bit for bit.
    fn is(&self, other: &OwnValue) -> bool {
        match (self, other) {
            (OwnValue::Float(a), OwnValue::Float(b)) => a.to_bits() == b.to_bits(),
            (OwnValue::Histogram(a), OwnValue::Histogram(b)) => a.encode_to_vec() == b.encode_to_vec(),
            _ => false,
        }
    }

    /// Whether it is no larger than a device's may be.
    pub(crate) fn is_within_limits(&self) -> bool {
        match self {
            OwnValue::Float(_) => true,
            OwnValue::Histogram(histogram) => histogram.encoded_len() <= MAX_HISTOGRAM,
        }
    }
}

/// What became of results.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Samples that took the place of another value of their series and time.
    pub overwritten: u64,
    /// Samples that were not taken, for one of the reasons below.
    pub refused: u64,
    /// Refused as older than what is kept of the tenant.
    pub out_of_retention: u64,
    /// Refused as more than a day ahead of the last round of maintenance.
    pub future: u64,
    /// Refused as a new series beyond the tenant's cap, or as labels or histograms that are too many or too long.
    pub limit: u64,
}

impl Recorded {
    pub(crate) fn refuse_old(&mut self) {
        self.refused += 1;
        self.out_of_retention += 1;
    }

    pub(crate) fn refuse_future(&mut self) {
        self.refused += 1;
        self.future += 1;
    }

    pub(crate) fn refuse_limit(&mut self) {
        self.refused += 1;
        self.limit += 1;
    }
}

/// Series with a value at each of some times.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Results {
    /// As many as the rows have series.
    pub(crate) series: Vec<Labels>,
    pub(crate) rows: Group,
}

/// Puts samples in order of series and time and leaves the last given of each. Says how many gave way to another value.
pub(crate) fn settle(samples: &mut Vec<&OwnSample>) -> u64 {
    // Stable: of one time the last given is last.
    samples.sort_by(|a, b| (&a.labels, a.time).cmp(&(&b.labels, b.time)));
    let mut overwritten = 0;
    samples.dedup_by(|later, kept| {
        let same = kept.time == later.time && kept.labels == later.labels;
        if same {
            overwritten += u64::from(!kept.value.is(&later.value));
            *kept = *later;
        }
        same
    });
    overwritten
}

/// Whether labels are within the limits that devices' are.
pub(crate) fn is_within_limits(labels: &Labels) -> bool {
    let bytes: usize = labels
        .iter()
        .map(|(name, value)| name.len() + value.len() + 2)
        .sum();
    labels.len() <= MAX_LABELS && bytes <= MAX_SET
}

/// Series of one time, by their numbers, and their values.
type Moment = (Vec<usize>, Vec<f64>);

/// A time and the values of a list's series.
type TimedValues = (Timestamp, Vec<f64>);

/// Series of one time and their histograms.
type Histograms<'a> = Vec<(&'a Labels, &'a Histogram)>;

/// Lists of samples that [`settle`] left.
pub(crate) fn arrange(samples: &[&OwnSample]) -> Vec<Results> {
    let series: Vec<&[&OwnSample]> = samples.chunk_by(|a, b| a.labels == b.labels).collect();
    let mut by_time: BTreeMap<(&str, Timestamp), Moment> = BTreeMap::new();
    let mut histograms: BTreeMap<(&str, Timestamp), Histograms<'_>> = BTreeMap::new();
    for (number, samples) in series.iter().enumerate() {
        for sample in *samples {
            let place = (sample.labels.metric_name(), sample.time);
            match &sample.value {
                OwnValue::Float(value) => {
                    let (numbers, values) = by_time.entry(place).or_default();
                    numbers.push(number);
                    values.push(*value);
                }
                OwnValue::Histogram(histogram) => {
                    let of_time = histograms.entry(place).or_default();
                    of_time.push((&sample.labels, histogram));
                }
            }
        }
    }
    let mut by_list: BTreeMap<(&str, Vec<usize>), Vec<TimedValues>> = BTreeMap::new();
    for ((metric, time), (numbers, values)) in by_time {
        by_list.entry((metric, numbers)).or_default().push((time, values));
    }
    let mut lists = Vec::new();
    for ((_, numbers), rows) in by_list {
        let labels = |number: &usize| series[*number][0].labels.clone();
        let all: Vec<Labels> = numbers.iter().map(labels).collect();
        cut(&all, &rows, &mut lists);
    }
    for ((_, time), of_time) in histograms {
        cut_histograms(time, &of_time, &mut lists);
    }
    lists
}

/// Cuts a list into those that are within the limits.
fn cut(all: &[Labels], rows: &[TimedValues], lists: &mut Vec<Results>) {
    let mut from = 0;
    while from < all.len() {
        let to = from + fitting(all[from..].iter().map(weight));
        for rows in rows.chunks((MAX_CELLS / (to - from)).clamp(1, MAX_ROWS)) {
            let times = rows.iter().map(|(time, _)| *time);
            let values = (from..to).flat_map(|at| rows.iter().map(move |(_, values)| values[at]));
            lists.push(Results::new(all[from..to].to_vec(), times, values.collect()));
        }
        from = to;
    }
}

/// The same for histograms of one time.
fn cut_histograms(time: Timestamp, mut all: &[(&Labels, &Histogram)], lists: &mut Vec<Results>) {
    while !all.is_empty() {
        let weights = all
            .iter()
            .map(|(labels, histogram)| weight(labels) + histogram.encoded_len());
        let (list, rest) = all.split_at(fitting(weights));
        let (labels, histograms) = list.iter().map(|(l, h)| ((*l).clone(), (*h).clone())).unzip();
        lists.push(Results::of_histograms(labels, std::iter::once(time), histograms));
        all = rest;
    }
}

/// How many series of these weights a list takes; at least one.
fn fitting(weights: impl Iterator<Item = usize>) -> usize {
    let mut weighs = 0;
    let fits = |weight: &usize| {
        weighs += weight;
        weighs <= LIST_WEIGHT
    };
    weights.take_while(fits).take(MAX_CELLS).count().max(1)
}

/// Bytes that a series takes in a record, roughly.
fn weight(labels: &Labels) -> usize {
    labels
        .iter()
        .map(|(name, value)| name.len() + value.len() + 8)
        .sum()
}

/// Records of lists.
pub(crate) fn encode(tenant: &Tenant, lists: &[Results]) -> Vec<ResultsRecord> {
    let mut records = Vec::new();
    let (mut from, mut weighs) = (0, 0);
    for (at, list) in lists.iter().enumerate() {
        weighs += list.series.iter().map(weight).sum::<usize>() + list.bytes();
        if weighs >= RECORD_WEIGHT || at + 1 == lists.len() {
            records.push(encode_one(tenant, &lists[from..=at]));
            (from, weighs) = (at + 1, 0);
        }
    }
    records
}

fn encode_one(tenant: &Tenant, lists: &[Results]) -> ResultsRecord {
    let mut known: HashMap<&str, u32> = HashMap::new();
    let mut symbols: Vec<String> = Vec::new();
    let mut number = |text| {
        *known.entry(text).or_insert_with(|| {
            symbols.push(str::to_owned(text));
            symbols.len() as u32 - 1
        })
    };
    let lists = lists.iter().map(|list| {
        let mut series = Vec::new();
        for set in &list.series {
            series.push(set.len() as u32);
            for (name, value) in set.iter() {
                series.extend([number(name), number(value)]);
            }
        }
        let mut before = 0;
        let times = list.rows.rows.iter().map(|row| {
            let step = row.time.ms().wrapping_sub(before);
            before = row.time.ms();
            step
        });
        ResultList {
            series,
            times: times.collect(),
            values: list.floats().iter().map(|value| value.to_bits()).collect(),
            histograms: list.histograms().cloned().collect(),
        }
    });
    let lists = lists.collect();
    let plain = ResultLists { symbols, lists }.encode_to_vec();
    let packed = snap::raw::Encoder::new().compress_vec(&plain);
    ResultsRecord {
        tenant: tenant.to_string(),
        lists: packed.expect("a record has less than 4 GiB").into(),
    }
}

/// Reads a record.
pub(crate) fn decode(record: &ResultsRecord) -> Result<(Tenant, Vec<Results>), &'static str> {
    let tenant = Tenant::new(&record.tenant).map_err(|_| "a tenant's name is malformed")?;
    let len = snap::raw::decompress_len(&record.lists);
    if len.map_or(true, |len| len > MAX_PLAIN) {
        return Err("results are too long, or not compressed as they should be");
    }
    let plain = snap::raw::Decoder::new()
        .decompress_vec(&record.lists)
        .map_err(|_| "results cannot be decompressed")?;
    let raw = ResultLists::decode(plain.as_slice()).map_err(|_| "results are malformed")?;
    let lists = raw.lists.iter().map(|list| list.read(&raw.symbols));
    let lists: Option<Vec<Results>> = lists.collect();
    Ok((tenant, lists.ok_or("a list of results is malformed")?))
}

impl ResultList {
    fn read(&self, symbols: &[String]) -> Option<Results> {
        let mut series = Vec::new();
        let mut rest = self.series.as_slice();
        while let Some((count, after)) = rest.split_first() {
            let (pairs, after) = after.split_at_checked((*count as usize).checked_mul(2)?)?;
            rest = after;
            let text = |number: &u32| symbols.get(*number as usize).map(String::as_str);
            let pairs = pairs
                .chunks_exact(2)
                .map(|pair| Some((text(&pair[0])?, text(&pair[1])?)));
            series.push(Labels::new(pairs.collect::<Option<Vec<_>>>()?).ok()?);
        }
        let cells = series.len().checked_mul(self.times.len())?;
        let mut time = 0_i64;
        let times = self.times.iter().map(|step| {
            time = time.wrapping_add(*step);
            Timestamp::from_ms(time)
        });
        match (self.values.len(), self.histograms.len()) {
            (floats, 0) if floats == cells && cells > 0 => {
                let values = self.values.iter().map(|bits| f64::from_bits(*bits)).collect();
                Some(Results::new(series, times, values))
            }
            (0, histograms) if histograms == cells && cells > 0 => {
                Some(Results::of_histograms(series, times, self.histograms.clone()))
            }
            _ => None,
        }
    }
}

impl Results {
    fn new(series: Vec<Labels>, times: impl Iterator<Item = Timestamp>, values: Vec<f64>) -> Self {
        let row = |time| Row {
            seq: Seq::FIRST,
            time,
            mono_ms: 0,
        };
        let rows = Group {
            series: (0..series.len() as u32).map(SeriesId::new).collect(),
            rows: times.map(row).collect(),
            values,
            ..Group::default()
        };
        Results { series, rows }
    }

    /// The same with a histogram in each cell.
    fn of_histograms(
        series: Vec<Labels>,
        times: impl Iterator<Item = Timestamp>,
        histograms: Vec<Histogram>,
    ) -> Self {
        let cells = histograms.len();
        let mut results = Results::new(series, times, vec![0.0; cells]);
        let rows = results.rows.rows.len();
        let cell = |(at, histogram)| HistogramCell {
            position: (at / rows) as u32,
            row: (at % rows) as u32,
            histogram: Some(histogram),
        };
        results.rows.present = Some(Presence::none(cells));
        results.rows.histograms = histograms.into_iter().enumerate().map(cell).collect();
        results
    }

    /// A value in each cell; none if they are histograms.
    fn floats(&self) -> &[f64] {
        match self.rows.present {
            Some(_) => &[],
            None => &self.rows.values,
        }
    }

    /// A histogram in each cell; none if they are floats.
    fn histograms(&self) -> impl Iterator<Item = &Histogram> {
        let cells = self.rows.histograms.iter();
        cells.filter_map(|cell| cell.histogram.as_ref())
    }

    /// Bytes that the values take in a record, roughly.
    fn bytes(&self) -> usize {
        8 * self.floats().len() + self.histograms().map(Histogram::encoded_len).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample((metric, series, time, value): (u8, u8, i64, u8)) -> OwnSample {
        let metric = ["", "a:b", "ALERTS"][usize::from(metric)];
        OwnSample {
            labels: Labels::new([("__name__", metric), ("B", "x"), ("i", &series.to_string())]).unwrap(),
            time: Timestamp::from_ms(time),
            value: match value {
                0..100 => f64::from_bits(FLOAT | u64::from(value)).into(),
                count => OwnValue::Histogram(Box::new(histogram(u64::from(count)))),
            },
        }
    }

    /// What floats have in common, and histograms do not have.
    const FLOAT: u64 = 0x7ff0_0000_0000_0000;

    fn histogram(count: u64) -> Histogram {
        Histogram {
            count,
            ..Histogram::default()
        }
    }

    fn mark(value: &OwnValue) -> u64 {
        match value {
            OwnValue::Float(value) => value.to_bits(),
            OwnValue::Histogram(histogram) => histogram.count,
        }
    }

    fn arranged(samples: &[OwnSample]) -> Vec<Results> {
        let mut samples: Vec<_> = samples.iter().collect();
        settle(&mut samples);
        arrange(&samples)
    }

    fn samples_of(lists: &[Results]) -> BTreeMap<(Labels, i64), u64> {
        let mut all = BTreeMap::new();
        let mut put = |list: &Results, at: usize, row: usize, mark| {
            let place = (list.series[at].clone(), list.rows.rows[row].time.ms());
            assert_eq!(all.insert(place, mark), None);
        };
        for list in lists {
            let cells = (0..list.series.len()).flat_map(|at| (0..list.rows.rows.len()).map(move |r| (at, r)));
            for (at, row) in cells {
                if let Some(value) = list.rows.value(at, row) {
                    put(list, at, row, value.to_bits());
                }
            }
            for cell in &list.rows.histograms {
                let count = cell.histogram.as_ref().unwrap().count;
                put(list, cell.position as usize, cell.row as usize, count);
            }
        }
        all
    }

    proptest! {
        #[test]
        fn records_hold_the_last_of_each_series_and_time(
            samples in proptest::collection::vec((0u8..3, 0u8..5, -3i64..3, any::<u8>()).prop_map(sample), 0..80),
        ) {
            let mut expected = BTreeMap::new();
            let mut replaced = 0;
            for sample in &samples {
                let place = (sample.labels.clone(), sample.time.ms());
                let before = expected.insert(place, mark(&sample.value));
                replaced += u64::from(before.is_some_and(|before| before != mark(&sample.value)));
            }
            let mut kept: Vec<_> = samples.iter().collect();
            prop_assert_eq!(settle(&mut kept), replaced);
            let lists = arrange(&kept);
            prop_assert_eq!(&samples_of(&lists), &expected);
            let tenant = Tenant::new("t").unwrap();
            let mut read = Vec::new();
            for record in encode(&tenant, &lists) {
                let (of, some) = decode(&record).unwrap();
                prop_assert_eq!(&of, &tenant);
                read.extend(some);
            }
            prop_assert_eq!(read.len(), lists.len());
            prop_assert_eq!(samples_of(&read), expected);
        }

        #[test]
        fn what_is_no_record_is_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let record = |lists: Vec<u8>| ResultsRecord { tenant: "t".to_owned(), lists: lists.into() };
            let _ = decode(&record(bytes.clone()));
            let _ = decode(&record(snap::raw::Encoder::new().compress_vec(&bytes).unwrap()));
        }
    }

    #[test]
    fn a_rule_that_is_evaluated_for_many_times_is_one_list() {
        let samples: Vec<OwnSample> = (0..100)
            .flat_map(|time| (0..9).map(move |series| sample((1, series, time * 1000, 0))))
            .collect();
        let lists = arranged(&samples);
        assert_eq!(lists.len(), 1);
        assert_eq!((lists[0].series.len(), lists[0].rows.rows.len()), (9, 100));
    }

    #[test]
    fn what_is_large_is_cut_and_readable() {
        let text = "x".repeat(4000);
        let samples: Vec<OwnSample> = (0..20_000)
            .map(|i| {
                let long = if i % 10 == 0 { text.as_str() } else { "y" };
                OwnSample {
                    labels: Labels::new([
                        ("__name__", "m"),
                        ("i", &i.to_string()),
                        ("long", &format!("{long}{i}")),
                    ])
                    .unwrap(),
                    time: Timestamp::from_ms(1),
                    value: 1.0.into(),
                }
            })
            .collect();
        let lists = arranged(&samples);
        assert!(lists.iter().all(|list| list.rows.values.len() <= MAX_CELLS));
        let records = encode(&Tenant::new("t").unwrap(), &lists);
        assert!(records.len() > 2, "{}", records.len());
        let read: Vec<Results> = records
            .iter()
            .flat_map(|record| decode(record).unwrap().1)
            .collect();
        assert_eq!(read, lists);
        let long = Labels::new([("__name__", "x".repeat(MAX_SET))]).unwrap();
        assert!(!is_within_limits(&long) && is_within_limits(&samples[0].labels));
    }
}
