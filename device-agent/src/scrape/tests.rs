//! The state machine, page by page; the loop against a real HTTP server.

mod http;
mod model;

use std::collections::BTreeMap;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn target(rules: ScrapeRules) -> ScrapeTarget {
    ScrapeTarget::new(
        TargetId::new(7),
        TargetLabels::new("j", "i:1", &BTreeMap::new()),
        rules,
    )
}

fn at(ms: i64) -> Moment {
    Moment {
        wall: Timestamp::from_ms(ms),
        mono_ms: ms.unsigned_abs(),
    }
}

/// Follows the rows as a reader must: slots bound first, then values looked up.
#[derive(Default)]
struct Reader(BTreeMap<Slot, String>);

impl Reader {
    /// Samples of a row as text, `stale` for stale markers; report series only on request.
    fn read(&mut self, row: &ScrapeRow, reports: bool) -> Vec<String> {
        for (slot, labels) in &row.new_series {
            self.0.insert(*slot, labels.to_string());
        }
        let mut slots: Vec<Slot> = row.values.iter().map(|(slot, _)| *slot).collect();
        slots.sort_unstable();
        assert!(slots.windows(2).all(|w| w[0] != w[1]), "a slot twice");
        let mut lines = Vec::new();
        for (slot, value) in &row.values {
            let value = if value.to_bits() == STALE_NAN {
                "stale".to_owned()
            } else {
                value.to_string()
            };
            if (slot.index() < REPORTS.len()) == reports {
                lines.push(format!("{} {value}", self.0[slot]));
            }
        }
        lines
    }
}

/// Scrapes and gives the first row's samples.
fn scrape(target: &mut ScrapeTarget, reader: &mut Reader, ms: i64, page: Option<&str>) -> Vec<String> {
    let scraped = target.scraped(at(ms), page.map(str::as_bytes), SECOND);
    assert_eq!(scraped.rows.len(), 1);
    reader.read(&scraped.rows[0], false)
}

fn reports(scraped: &Scraped) -> Vec<f64> {
    let of_report = |(slot, value): &(Slot, f64)| (slot.index() < REPORTS.len()).then_some(*value);
    scraped.rows[0].values.iter().filter_map(of_report).collect()
}

#[test]
fn a_vanished_series_gets_one_stale_marker_and_its_slot_is_bound_again() {
    let (mut target, mut reader) = (target(ScrapeRules::default()), Reader::default());
    let page = "a 1\nb{x=\"y\"} 2\n";
    let first = scrape(&mut target, &mut reader, 1000, Some(page));
    assert_eq!(
        first,
        [
            "a{instance=\"i:1\", job=\"j\"} 1",
            "b{instance=\"i:1\", job=\"j\", x=\"y\"} 2"
        ]
    );
    let gone = scrape(&mut target, &mut reader, 2000, Some("a 3\n"));
    assert_eq!(
        gone,
        [
            "a{instance=\"i:1\", job=\"j\"} 3",
            "b{instance=\"i:1\", job=\"j\", x=\"y\"} stale"
        ]
    );
    assert_eq!(scrape(&mut target, &mut reader, 3000, Some("a 3\n")).len(), 1);
    let scraped = target.scraped(at(4000), Some(b"c 1\na 4\n"), SECOND);
    assert_eq!(scraped.rows[0].new_series.len(), 1);
    assert_eq!(scraped.rows[0].new_series[0].0, Slot::new(6), "the slot of b");
    let lines = reader.read(&scraped.rows[0], false);
    assert_eq!(
        lines,
        [
            "c{instance=\"i:1\", job=\"j\"} 1",
            "a{instance=\"i:1\", job=\"j\"} 4"
        ]
    );
}

#[test]
fn report_series_count_as_prometheus_counts() {
    let mut target = target(ScrapeRules::default());
    let scraped = target.scraped(at(0), Some(b"a 1\na 2\nb 1\nup 5\n"), SECOND / 2);
    assert_eq!(reports(&scraped), [1.0, 0.5, 4.0, 4.0, 3.0]);
    assert_eq!(scraped.duplicates, 2, "the second a, and the page's own up");
    let mut reader = Reader::default();
    assert_eq!(
        reader.read(&scraped.rows[0], true)[0],
        "up{instance=\"i:1\", job=\"j\"} 1"
    );
    assert_eq!(
        reader.read(&scraped.rows[0], false)[0],
        "a{instance=\"i:1\", job=\"j\"} 1"
    );
    assert_eq!(
        reports(&target.scraped(at(1), Some(b"a 1\n"), SECOND)),
        [1.0, 1.0, 1.0, 1.0, 0.0]
    );
    assert_eq!(
        reports(&target.scraped(at(2), Some(b"b 1\na 1\n"), SECOND)),
        [1.0, 1.0, 2.0, 2.0, 1.0]
    );
}

#[test]
fn a_failed_scrape_marks_every_series_stale_once_and_adds_none_when_it_recovers() {
    for failure in [None, Some("a 5\nc 1\nb{ 1\n")] {
        let (mut target, mut reader) = (target(ScrapeRules::default()), Reader::default());
        scrape(&mut target, &mut reader, 0, Some("a 1\nb 2\n"));
        let scraped = target.scraped(at(1), failure.map(str::as_bytes), SECOND);
        assert_eq!(scraped.rows[0].values.len(), 2 + REPORTS.len());
        assert_eq!(reports(&scraped)[0], 0.0);
        assert_eq!(scraped.error.is_some(), failure.is_some());
        assert!(
            reader
                .read(&scraped.rows[0], false)
                .iter()
                .all(|line| line.ends_with(" stale"))
        );
        assert_eq!(
            scrape(&mut target, &mut reader, 2, failure),
            Vec::<String>::new(),
            "only once"
        );
        let back = target.scraped(at(3), Some(b"a 1\nb 2\n"), SECOND);
        assert_eq!(reports(&back), [1.0, 1.0, 2.0, 2.0, 0.0]);
        assert!(back.rows[0].new_series.is_empty());
        assert_eq!(
            reader.read(&back.rows[0], false),
            [
                "a{instance=\"i:1\", job=\"j\"} 1",
                "b{instance=\"i:1\", job=\"j\"} 2"
            ]
        );
    }
}

#[test]
fn a_target_that_fails_with_ever_new_series_does_not_grow() {
    let mut target = target(ScrapeRules::default());
    for n in 0..1000 {
        target.scraped(at(n), Some(format!("a{{n=\"{n}\"}} 1\n!").as_bytes()), SECOND);
    }
    let scraped = target.scraped(at(2000), Some(b"b 1\n"), SECOND);
    assert!(
        scraped.rows[0]
            .new_series
            .iter()
            .all(|(slot, _)| slot.index() <= REPORTS.len())
    );
}

#[test]
fn an_empty_page_is_up_with_every_series_stale() {
    let (mut target, mut reader) = (target(ScrapeRules::default()), Reader::default());
    scrape(&mut target, &mut reader, 0, Some("a 1\n"));
    let scraped = target.scraped(at(1), Some(b""), SECOND);
    assert_eq!(reports(&scraped), [1.0, 1.0, 0.0, 0.0, 0.0]);
    assert_eq!(
        reader.read(&scraped.rows[0], false),
        ["a{instance=\"i:1\", job=\"j\"} stale"]
    );
    assert_eq!(reports(&target.scraped(at(2), Some(b"a 1\n"), SECOND))[4], 0.0);
}

#[test]
fn a_page_over_its_sample_limit_fails_and_is_still_counted() {
    let mut target = target(ScrapeRules {
        sample_limit: Some(2),
        ..ScrapeRules::default()
    });
    assert_eq!(target.scraped(at(0), Some(b"a 1\nb 1\n"), SECOND).error, None);
    let scraped = target.scraped(at(1), Some(b"a 1\nb 1\nc 1\nd 1\n"), SECOND);
    assert_eq!(
        scraped.error,
        Some(ScrapeError::SampleLimit { found: 4, limit: 2 })
    );
    assert_eq!(reports(&scraped), [0.0, 1.0, 4.0, 4.0, 0.0]);
    assert!(scraped.rows[0].new_series.is_empty());
}

#[test]
fn explicit_timestamps_make_rows_of_their_own_without_stale_markers() {
    let (mut target, mut reader) = (target(ScrapeRules::default()), Reader::default());
    let scraped = target.scraped(
        at(5000),
        Some(b"a 1 4000\nb 2\nc 3 4500\nd 4 4000\nd 5 4000\n"),
        SECOND,
    );
    let times: Vec<_> = scraped
        .rows
        .iter()
        .map(|row| (row.time.ms(), row.mono_ms))
        .collect();
    assert_eq!(times, [(5000, 5000), (4000, 4000), (4500, 4500)]);
    assert_eq!(
        reader.read(&scraped.rows[0], false),
        ["b{instance=\"i:1\", job=\"j\"} 2"]
    );
    let lines = reader.read(&scraped.rows[1], false);
    assert_eq!(
        lines,
        [
            "a{instance=\"i:1\", job=\"j\"} 1",
            "d{instance=\"i:1\", job=\"j\"} 4"
        ]
    );
    assert_eq!(scraped.duplicates, 1);
    let gone = scrape(&mut target, &mut reader, 6000, None);
    assert_eq!(gone, ["b{instance=\"i:1\", job=\"j\"} stale"]);
}

#[test]
fn timestamps_that_are_not_honoured_are_ignored() {
    let rules = ScrapeRules {
        honor_timestamps: false,
        ..ScrapeRules::default()
    };
    let (mut target, mut reader) = (target(rules), Reader::default());
    assert_eq!(
        scrape(&mut target, &mut reader, 5000, Some("a 1 4000\n")).len(),
        1
    );
    assert_eq!(
        scrape(&mut target, &mut reader, 6000, Some("b 1 4000\n")).len(),
        2
    );
}

#[test]
fn a_removed_target_ends_all_its_series() {
    let (mut target, mut reader) = (target(ScrapeRules::default()), Reader::default());
    assert_eq!(target.removed(at(0)), None);
    scrape(&mut target, &mut reader, 0, Some("a 1\n"));
    let row = target.removed(at(1)).unwrap();
    assert!(row.ended && row.new_series.is_empty());
    assert_eq!(row.values.len(), 1 + REPORTS.len());
    assert!(row.values.iter().all(|(_, value)| value.to_bits() == STALE_NAN));
}

#[test]
fn one_series_under_two_texts_is_a_duplicate() {
    let (mut target, mut reader) = (target(ScrapeRules::default()), Reader::default());
    let page = "a{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 2\na{x=\"1\",y=\"2\",z=\"\"} 3\n";
    for ms in 0..3 {
        let lines = scrape(&mut target, &mut reader, ms, Some(page));
        assert_eq!(lines, ["a{instance=\"i:1\", job=\"j\", x=\"1\", y=\"2\"} 1"]);
    }
}

#[test]
fn labels_in_conflict_are_renamed_or_honoured() {
    let statics = BTreeMap::from([("region".to_owned(), "eu".to_owned())]);
    let external = BTreeMap::from([
        ("site".to_owned(), "s1".to_owned()),
        ("region".to_owned(), "xx".to_owned()),
    ]);
    let labels = TargetLabels::new("j", "i", &statics).with_external(&external);
    let page = b"m{job=\"x\",exported_job=\"y\",instance=\"\"} 1\n";
    let line = |labels: TargetLabels| {
        let mut target = ScrapeTarget::new(TargetId::new(0), labels, ScrapeRules::default());
        Reader::default()
            .read(&target.scraped(at(0), Some(page), SECOND).rows[0], false)
            .remove(0)
    };
    let renamed = "m{exported_exported_job=\"x\", exported_job=\"y\", instance=\"i\", job=\"j\", region=\"eu\", site=\"s1\"} 1";
    assert_eq!(line(labels.clone()), renamed);
    let honoured = "m{exported_job=\"y\", job=\"x\", region=\"eu\", site=\"s1\"} 1";
    assert_eq!(line(labels.honoring_labels(true)), honoured);
}

#[test]
fn metadata_is_told_once_and_again_when_it_changes() {
    let mut target = target(ScrapeRules::default());
    let page = "# HELP a Help.\n# TYPE a counter\na 1\n";
    let mut told = |page: &str| {
        target
            .scraped(at(0), Some(page.as_bytes()), SECOND)
            .rows
            .remove(0)
            .metadata
    };
    let first = told(page);
    assert_eq!(
        (first.len(), first[0].kind.as_str(), &*first[0].help),
        (1, "counter", "Help.")
    );
    assert!(told(page).is_empty());
    assert!(told(&format!("{page}!")).is_empty());
    assert_eq!(told(&page.replace("Help", "Text"))[0].help, "Text.");
}

#[test]
fn loopback_targets_are_named_after_the_device() {
    let device = wire::DeviceId::new("gw-1").unwrap();
    for (address, instance) in [
        ("localhost:9100", "gw-1:9100"),
        ("127.0.0.1:80", "gw-1:80"),
        ("127.8.9.1:80", "gw-1:80"),
        ("[::1]:80", "gw-1:80"),
        ("LOCALHOST", "gw-1"),
        ("10.0.0.1:9100", "10.0.0.1:9100"),
        ("plc.local:80", "plc.local:80"),
        ("[fe80::1]:80", "[fe80::1]:80"),
    ] {
        assert_eq!(
            target_labels::instance_of(address, &device),
            instance,
            "{address}"
        );
    }
}

#[test]
fn ticks_are_exact_multiples_and_lateness_shows() {
    let schedule = schedule::Schedule::new(Duration::from_secs(15), "target");
    let ms = Timestamp::from_ms;
    let tick = schedule.next_after(ms(1_700_000_000_000));
    assert!(tick.ms() > 1_700_000_000_000 && tick.ms() <= 1_700_000_015_000);
    assert_eq!(schedule.next_after(tick).ms(), tick.ms() + 15_000);
    assert_eq!(
        schedule.next_tick(tick, ms(tick.ms() - 1)).ms(),
        tick.ms() + 15_000,
        "a timer that fires early"
    );
    assert_eq!(
        schedule.next_tick(tick, ms(tick.ms() + 40_000)).ms(),
        tick.ms() + 45_000,
        "late: ticks are skipped"
    );
    let set_back = schedule.next_tick(tick, ms(tick.ms() - 3_600_000)).ms();
    assert!(
        set_back <= tick.ms() - 3_600_000 + 15_000,
        "a clock that was set back"
    );
    assert_eq!(schedule.align(tick, ms(tick.ms() + 2)), tick);
    assert_eq!(schedule.align(tick, ms(tick.ms() + 3)).ms(), tick.ms() + 3);
}
