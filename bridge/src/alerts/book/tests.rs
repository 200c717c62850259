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
