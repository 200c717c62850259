//! Random pages in random order against a model that has no cache.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// A sample line: which of the series below, in which of its spellings, its value, and whether it has a time.
type Line = (usize, usize, u32, bool);

/// Spellings of the same series.
const SERIES: [[&str; 3]; 5] = [
    ["a", "a{}", "a { }"],
    ["a{x=\"1\",y=\"2\"}", "a{y=\"2\",x=\"1\"}", "a{x=\"1\", y=\"2\",}"],
    ["a{x=\"}\"}", "a{x=\"}\",z=\"\"}", "a {x=\"}\"}"],
    ["ab", "ab{x=\"\"}", "ab{}"],
    ["b{job=\"p\"}", "b{ job=\"p\" }", "b{job=\"p\",}"],
];

const NAMES: [&str; 5] = [
    "a{instance=\"i:1\", job=\"j\"}",
    "a{instance=\"i:1\", job=\"j\", x=\"1\", y=\"2\"}",
    "a{instance=\"i:1\", job=\"j\", x=\"}\"}",
    "ab{instance=\"i:1\", job=\"j\"}",
    "b{exported_job=\"p\", instance=\"i:1\", job=\"j\"}",
];

/// What Prometheus would hold of a target.
#[derive(Default)]
struct Model {
    alive: BTreeSet<usize>,
}

impl Model {
    fn scrape(&mut self, page: Option<&[Line]>) -> Vec<String> {
        let (mut seen, mut tracked, mut expected) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for (series, _, value, timed) in page.unwrap_or_default() {
            if seen.insert(*series) && !timed {
                tracked.insert(*series);
                expected.push(format!("{} {value}", NAMES[*series]));
            }
        }
        expected.extend(
            self.alive
                .difference(&tracked)
                .map(|series| format!("{} stale", NAMES[*series])),
        );
        self.alive = tracked;
        expected.sort_unstable();
        expected
    }
}

fn text(page: &[Line]) -> String {
    let line = |(series, spelling, value, timed): &Line| {
        format!(
            "{} {value}{}\n",
            SERIES[*series][*spelling],
            if *timed { " 5" } else { "" }
        )
    };
    page.iter().map(line).collect()
}

fn page() -> impl Strategy<Value = Vec<Line>> {
    let line = (0..SERIES.len(), 0..3usize, 0..9u32, prop::bool::weighted(0.1));
    prop::collection::vec(line, 0..8)
}

proptest! {
    #[test]
    fn a_cached_scrape_yields_what_an_uncached_one_does(
        scrapes in prop::collection::vec(prop_oneof![8 => page().prop_map(Ok), 1 => Just(Err(false)), 1 => page().prop_map(|_| Err(true))], 1..12),
    ) {
        let (mut target, mut reader, mut model) = (target(ScrapeRules::default()), Reader::default(), Model::default());
        for (ms, outcome) in (0i64..).zip(&scrapes) {
            let (page, body) = match outcome {
                Ok(page) => (Some(&page[..]), Some(text(page))),
                Err(true) => (None, Some("a 1\nnew{n=\"1\"} 2\nbroken{\n".to_owned())),
                Err(false) => (None, None),
            };
            let scraped = target.scraped(at(1000 + ms), body.as_deref().map(str::as_bytes), SECOND);
            let mut lines = reader.read(&scraped.rows[0], false);
            lines.sort_unstable();
            prop_assert_eq!(lines, model.scrape(page));
            // One more than there are series: the broken page's own.
            prop_assert!(reader.0.keys().all(|slot| slot.index() <= REPORTS.len() + SERIES.len()));
        }
    }
}
