//! The parser against hand-written lines, arbitrary bytes and its own writer.

use proptest::prelude::*;

use super::*;

/// Series as (name, labels), value bits, timestamp.
type Sample = ((String, Vec<(String, String)>), u64, Option<i64>);

fn samples(page: &[u8]) -> Result<Vec<Sample>, ExpositionError> {
    let mut entries = Entries::new(page, ExpositionLimits::default());
    let mut found = Vec::new();
    while let Some(entry) = entries.next(b"")? {
        if let Entry::Sample(sample) = entry {
            let series = sample
                .series
                .parse(&ExpositionLimits::default())
                .map_err(|e| entries.error(e))?;
            found.push((
                (series.name, series.labels),
                sample.value.to_bits(),
                sample.timestamp,
            ));
        }
    }
    Ok(found)
}

fn one(line: &str) -> Result<Sample, LineError> {
    let mut found = samples(line.as_bytes()).map_err(|e| e.reason)?;
    assert_eq!(found.len(), 1, "{line}");
    Ok(found.remove(0))
}

fn value(text: &str) -> Option<f64> {
    one(&format!("m {text}"))
        .ok()
        .map(|(_, bits, _)| f64::from_bits(bits))
}

#[test]
fn a_page_is_read_line_by_line() {
    let page = "# HELP m A \\\\ and a \\n break.\n# TYPE m counter\n# just words\n#\n\n\
                m{a=\"x\",b=\"y \\\"q\\\" } # \\n\"} 1.5 1700000000000\n \t \n  # indented\nn 2\n# UNIT m seconds\n# EOF\n";
    let mut entries = Entries::new(page.as_bytes(), ExpositionLimits::default());
    let mut next = || entries.next(b"").unwrap();
    assert_eq!(
        next(),
        Some(Entry::Help {
            name: "m",
            text: "A \\ and a \n break.".into()
        })
    );
    assert_eq!(
        next(),
        Some(Entry::Type {
            name: "m",
            kind: MetricType::Counter
        })
    );
    let Some(Entry::Sample(m)) = next() else {
        panic!("no sample")
    };
    let parsed = m.series.parse(&ExpositionLimits::default()).unwrap();
    assert_eq!(parsed.name, "m");
    let labels = [
        ("a".to_owned(), "x".to_owned()),
        ("b".to_owned(), "y \"q\" } # \n".to_owned()),
    ];
    assert_eq!(parsed.labels, labels);
    assert_eq!((m.value, m.timestamp), (1.5, Some(1_700_000_000_000)));
    let Some(Entry::Sample(n)) = next() else {
        panic!("no sample")
    };
    assert_eq!((n.series.bytes(), n.value, n.timestamp), (&b"n"[..], 2.0, None));
    assert_eq!(
        next(),
        Some(Entry::Unit {
            name: "m",
            unit: "seconds"
        })
    );
    assert_eq!(next(), None);
    assert_eq!(next(), None);
}

#[test]
fn values_are_read_as_go_reads_them_for_prometheus() {
    for (text, expected) in [
        ("1", 1.0),
        ("-0", -0.0),
        ("+1.", 1.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1E+03", 1000.0),
        ("1e-400", 0.0),
        ("Inf", f64::INFINITY),
        ("-inf", f64::NEG_INFINITY),
        ("+INFINITY", f64::INFINITY),
        ("9007199254740993", 9_007_199_254_740_992.0),
        ("4.9e-324", 5e-324),
    ] {
        assert_eq!(value(text).map(f64::to_bits), Some(expected.to_bits()), "{text}");
    }
    assert_eq!(value("NaN").map(f64::to_bits), Some(number::NORMAL_NAN));
    for bad in [
        "", "1e400", "-1e400", "+NaN", "-nan", "0x1p3", "0x10", "1_000", "1,5", ".", "e5", "1e", "--1",
        "1\r", "infin", "१",
    ] {
        assert_eq!(value(bad), None, "{bad}");
    }
}

#[test]
fn bad_lines_are_named_by_number() {
    for bad in [
        "1m 2",
        "m",
        "m{",
        "m{a} 1",
        "m{a=} 1",
        "m{a=1} 1",
        "m{=\"x\"} 1",
        "m{,} 1",
        "m{a=\"x\",,} 1",
        "m{a=\"x} 1",
        "m{a=\"x\"",
        "m 1 2 3",
        "m 1 x",
        " m 1",
        "m 1 -5",
        "m 1 +5",
        "m 1 1.5",
        "m 1 99999999999999999999",
        "{} 1",
        "{a=\"x\"} 1",
        "é 1",
        "m{1a=\"x\"} 1",
        "m{a:b=\"x\"} 1",
        "m{a=\"1\",a=\"2\"} 1",
        "m{__name__=\"n\"} 1",
        "{\"m\",\"n\"} 1",
        "# TYPE m histogramme",
        "# TYPE m counter ",
        "# HELP 1m text",
        "# TYPE m",
    ] {
        let error = samples(format!("ok 1\n{bad}\nok 2\n").as_bytes()).expect_err(bad);
        assert_eq!(error.line, 2, "{bad}: {error}");
    }
    assert!(matches!(
        samples(b"m{a=\"\xff\"} 1").unwrap_err().reason,
        LineError::NotUtf8(_)
    ));
}

#[test]
fn loose_forms_that_prometheus_takes_are_taken() {
    let ab = vec![("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())];
    for line in [
        "m{a=\"1\",b=\"2\"} 1",
        "m{a=\"1\",b=\"2\",}1",
        "m { a = \"1\" , b=\"2\" }\t1",
        "m{a=\"1\" b=\"2\"} 1 ",
        "{\"m\",\"a\"=\"1\",b=\"2\"} 1",
    ] {
        assert_eq!(one(line).unwrap().0, ("m".to_owned(), ab.clone()), "{line}");
    }
    assert_eq!(one("m{} 1").unwrap().0, ("m".to_owned(), vec![]));
    assert_eq!(one("{\"my.metric\"} 1").unwrap().0.0, "my.metric");
    assert_eq!(one("m{a=\"\\x\\\\\"} 1").unwrap().0.1[0].1, "\\x\\");
}

#[test]
fn limits_are_kept() {
    let limits = ExpositionLimits {
        line_bytes: 40,
        labels: 3,
        name_bytes: 4,
        value_bytes: 5,
    };
    let read = |line: &str| {
        let mut entries = Entries::new(line.as_bytes(), limits);
        match entries.next(b"").map_err(|e| e.reason)? {
            Some(Entry::Sample(sample)) => sample.series.parse(&limits).map(|_| ()),
            _ => Ok(()),
        }
    };
    assert_eq!(read("m12{a=\"12345\",b=\"\"} 1"), Ok(()));
    for bad in [
        "m{a=\"123456\"} 1",
        "m{aaaaa=\"1\"} 1",
        "m{a=\"\",b=\"\",c=\"\"} 1",
        "m12345 1",
        "m 1                                       1",
    ] {
        assert!(matches!(read(bad), Err(LineError::Limit { .. })), "{bad}");
    }
}

#[test]
fn an_expected_series_is_taken_only_where_it_ends() {
    for (line, expected, found) in [
        ("m 1", "m", "m"),
        ("mm 1", "m", "mm"),
        ("m {a=\"1\"} 1", "m", "m {a=\"1\"}"),
        ("m{a=\"1\"} 1", "m{a=\"1\"}", "m{a=\"1\"}"),
        ("m{a=\"1\"}1", "m{a=\"1\"}", "m{a=\"1\"}"),
        ("n 1", "m", "n"),
    ] {
        let mut entries = Entries::new(line.as_bytes(), ExpositionLimits::default());
        let Ok(Some(Entry::Sample(sample))) = entries.next(expected.as_bytes()) else {
            panic!("{line}")
        };
        assert_eq!(sample.series.bytes(), found.as_bytes(), "{line}");
    }
}

fn float() -> impl Strategy<Value = f64> {
    any::<u64>().prop_map(f64::from_bits)
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(page in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _either = samples(&page);
    }

    #[test]
    fn bytes_of_the_format_s_alphabet_never_panic(page in "[am_:{}\"=, \\\\\n#0-9.eNHELPTYUI+-]{0,120}") {
        let _either = samples(page.as_bytes());
    }

    #[test]
    fn what_is_written_reads_back_bit_for_bit(
        rows in proptest::collection::vec(("[a-z_:][a-z0-9_:]{0,8}", proptest::collection::btree_map("[a-z_][a-z0-9_]{0,5}", ".{0,12}", 0..5), float()), 0..20),
        help in ".{0,30}",
    ) {
        let mut writer = PageWriter::default();
        writer.family("f", MetricType::Gauge, &help);
        for (name, labels, value) in &rows {
            let labels: Vec<(&str, &str)> = labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            writer.sample(name, &labels, *value);
        }
        let read = samples(writer.as_bytes()).unwrap();
        prop_assert_eq!(read.len(), rows.len());
        for ((series, bits, timestamp), (name, labels, value)) in read.into_iter().zip(rows) {
            let expected = if value.is_nan() { number::NORMAL_NAN } else { value.to_bits() };
            prop_assert_eq!((series.0, bits, timestamp), (name, expected, None));
            prop_assert_eq!(series.1, labels.into_iter().collect::<Vec<_>>());
        }
        let mut entries = Entries::new(writer.as_bytes(), ExpositionLimits::default());
        let first = entries.next(b"").unwrap();
        prop_assert_eq!(first, Some(Entry::Help { name: "f", text: help.into() }));
    }
}
