//! The book as a whole: who is told what, and what survives.

use super::*;

const TIMES: Times = Times {
    min_firing_ms: 100,
    resend_delay_ms: 50,
    silent_after_ms: 1_000,
    hold_silent_ms: 10_000,
};

fn nobody(_: &str) -> Option<i64> {
    None
}

fn report(name: &str, starts_ms: i64, ends_ms: i64) -> Report {
    Report {
        labels: Labels::new([("alertname", name)]).unwrap(),
        annotations: Vec::new(),
        generator_url: String::new(),
        starts_ms,
        ends_ms,
    }
}

fn book() -> Book {
    let mut book = Book::new(TIMES, []);
    book.set_alertmanagers(vec!["a".to_owned(), "b".to_owned()]);
    book
}

const DEVICE: Source<'_> = Source::Device("default.d");

fn names(notices: &[Notice]) -> Vec<(&str, bool)> {
    notices.iter().map(|n| (&*n.labels[0].value, n.firing)).collect()
}

#[test]
fn firing_alerts_go_first_and_a_batch_is_bounded() {
    let mut book = book();
    book.report(
        "default",
        Source::Http,
        report("Over", 1_000, 2_000),
        (1_500, &nobody),
    );
    let taken = book.due("a", 10, (1_500, &nobody));
    book.accepted("a", &taken, 1_500);
    for name in ["One", "Two"] {
        book.report("default", DEVICE, report(name, 1_900, 0), (2_000, &nobody));
    }
    let due = book.due("a", 10, (2_000, &nobody));
    assert_eq!(names(&due).iter().filter(|(_, firing)| *firing).count(), 2);
    assert_eq!(names(&due)[2], ("Over", false));
    assert_eq!(book.due("a", 1, (2_000, &nobody)).len(), 1);
    // Prometheus's validity.
    assert_eq!(due[0].ends_ms, 2_000 + 4 * 50);
}

#[test]
fn a_book_that_was_written_goes_on_where_it_was() {
    let mut book = book();
    book.report("default", DEVICE, report("Hot", 1_000, 0), (1_000, &nobody));
    let taken = book.due("a", 10, (1_000, &nobody));
    assert_eq!(book.accepted("a", &taken, 1_010), [10]);
    let (rows, gone) = book.take_changes();
    assert!(gone.is_empty() && book.take_changes().0.is_empty());
    let rows = rows
        .iter()
        .map(|(key, row)| (*key, Life::decode(&row[..]).unwrap()));
    let mut again = Book::new(TIMES, rows);
    again.set_alertmanagers(vec!["a".to_owned(), "b".to_owned()]);
    assert!(again.due("a", 10, (1_020, &nobody)).is_empty());
    assert_eq!(names(&again.due("b", 10, (1_020, &nobody))), [("Hot", true)]);
    assert_eq!(again.by_device(1_020, &nobody)["default.d"], (1, 1));
}

#[test]
fn a_group_that_no_longer_holds_an_alert_resolves_it_but_not_one_that_is_pending_again() {
    let mut book = book();
    let (hot, cold) = (report("Hot", 1_000, 0), report("Cold", 1_000, 0));
    for report in [&hot, &cold] {
        book.report("default", Source::Group("g"), report.clone(), (1_000, &nobody));
    }
    let taken = book.due("a", 10, (1_000, &nobody));
    book.accepted("a", &taken, 1_000);
    let pending = BTreeSet::from([key_of("default", &cold.labels)]);
    assert!(!book.evaluated("default", "other", &BTreeSet::new(), 1_500));
    assert!(book.evaluated("default", "g", &pending, 2_000));
    let mut due = book.due("a", 10, (2_100, &nobody));
    due.sort_by(|x, y| x.labels[0].value.cmp(&y.labels[0].value));
    assert_eq!(names(&due), [("Cold", true), ("Hot", false)]);
    assert_eq!(due[1].ends_ms, 2_000);
    let there = BTreeSet::from([("default".to_owned(), "g".to_owned())]);
    assert!(!book.keep_groups(&there, 3_000));
    assert!(book.keep_groups(&BTreeSet::new(), 3_000));
    assert_eq!(book.census(3_000, &nobody).firing, 0);
}

#[test]
fn what_is_over_and_known_is_forgotten_and_what_nobody_took_is_counted() {
    let mut book = book();
    for (name, told) in [("Told", true), ("Untold", false)] {
        book.report("default", DEVICE, report(name, 1_000, 0), (1_000, &nobody));
        if told {
            for url in ["a", "b"] {
                let due = book.due(url, 10, (1_000, &nobody));
                book.accepted(url, &due, 1_000);
            }
        }
        book.report("default", DEVICE, report(name, 1_000, 2_000), (2_000, &nobody));
    }
    for url in ["a", "b"] {
        let due: Vec<Notice> = book.due(url, 10, (2_000, &nobody));
        let told: Vec<Notice> = due.into_iter().filter(|n| !n.firing).collect();
        assert_eq!(names(&told), [("Told", false)]);
        book.accepted(url, &told, 2_000);
    }
    let quarter = 2_000 + super::super::life::RESOLVED_RETENTION_MS;
    assert_eq!(book.sweep(quarter, &nobody), 0);
    assert_eq!(book.census(quarter, &nobody).firing, 1);
    let hours = 2_000 + super::super::life::RESOLVED_PATIENCE_MS;
    assert_eq!(book.sweep(hours, &nobody), 1);
    assert_eq!(book.take_changes().1.len(), 2);
}

/// An Alertmanager as far as it matters: it believes an alert firing until the end that it was last given.
#[derive(Default)]
struct Believer {
    until_ms: Option<i64>,
    pages: usize,
    resolves: usize,
}

impl Believer {
    fn take(&mut self, notice: &Notice, now_ms: i64) {
        let (before, after) = (self.fires(now_ms), notice.ends_ms > now_ms);
        self.pages += usize::from(!before && after);
        self.resolves += usize::from(before && !after);
        self.until_ms = Some(notice.ends_ms);
    }

    fn fires(&self, now_ms: i64) -> bool {
        self.until_ms.is_some_and(|until| until > now_ms)
    }
}

/// A second of an hour with a link that is up for 30 s and down for 30 s: what the book says goes to the Alertmanager.
fn second(book: &mut Book, believer: &mut Believer, now_ms: i64) {
    let is_up = |ms: i64| ms / 30_000 % 2 == 0;
    let silent_since = (!is_up(now_ms)).then(|| now_ms / 30_000 * 30_000);
    let silence = |_: &str| silent_since;
    let was_firing = believer.fires(now_ms - 1_000);
    let due = book.due("a", 10, (now_ms, &silence));
    due.iter().for_each(|notice| believer.take(notice, now_ms));
    book.accepted("a", &due, now_ms);
    // An end that is reached without being told is a resolve, too.
    believer.resolves += usize::from(was_firing && !believer.fires(now_ms) && due.is_empty());
}

#[test]
fn an_hour_of_a_link_that_flaps_every_30_s_pages_once_and_resolves_nothing() {
    let mut book = Book::new(Times::default(), []);
    book.set_alertmanagers(vec!["a".to_owned()]);
    let mut believer = Believer::default();
    let begin = 1_000_000_020_000;
    // The device sends its record once; after each reconnect it may come again.
    for now_ms in (begin..begin + 3_600_000).step_by(1_000) {
        if (now_ms - begin) % 60_000 == 0 {
            book.report(
                "default",
                DEVICE,
                report("Hot", begin - 5_000, 0),
                (now_ms, &nobody),
            );
        }
        second(&mut book, &mut believer, now_ms);
        assert!(believer.fires(now_ms), "{}", now_ms - begin);
    }
    assert_eq!((believer.pages, believer.resolves), (1, 0));
}

#[test]
fn an_alert_that_itself_flaps_every_30_s_is_one_page() {
    let mut book = Book::new(Times::default(), []);
    book.set_alertmanagers(vec!["a".to_owned()]);
    let mut believer = Believer::default();
    let begin = 1_000_000_020_000;
    for now_ms in (begin..begin + 3_600_000).step_by(1_000) {
        let start = now_ms / 60_000 * 60_000;
        match now_ms % 60_000 {
            0 => drop(book.report("default", DEVICE, report("Flap", start, 0), (now_ms, &nobody))),
            30_000 => drop(book.report(
                "default",
                DEVICE,
                report("Flap", start, now_ms),
                (now_ms, &nobody),
            )),
            _ => {}
        }
        second(&mut book, &mut believer, now_ms);
    }
    assert_eq!((believer.pages, believer.resolves), (1, 0));
    // Once it is over for good, it is told so.
    for now_ms in (begin + 3_600_000..begin + 4_200_000).step_by(1_000) {
        second(&mut book, &mut believer, now_ms);
    }
    assert_eq!((believer.pages, believer.resolves), (1, 1));
}
