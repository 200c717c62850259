//! The book against a source that repeats itself, falls silent, and changes its mind.

use proptest::prelude::*;

use super::*;

const WALL: i64 = 1_700_000_000_000;

pub(crate) fn moment(ms: u64) -> Moment {
    Moment {
        wall: Timestamp::from_ms(WALL + ms.cast_signed()),
        mono_ms: ms,
    }
}

pub(crate) fn posted(name: &str, starts: i64, ends: i64) -> Posted {
    Posted {
        labels: Labels::new([("alertname", name)]).unwrap(),
        annotations: Labels::default(),
        generator_url: String::new(),
        starts_ms: WALL + starts,
        ends_ms: WALL + ends,
    }
}

/// Asserts, and logs what comes of it.
fn assert_at(book: &mut Book, ms: u64, posted: Posted) -> Option<Alert> {
    let record = book.assert(posted, moment(ms)).unwrap();
    book.logged();
    record
}

#[test]
fn an_alert_that_is_asserted_every_minute_is_one_record_and_its_end_another() {
    let mut book = Book::default();
    let first = assert_at(&mut book, 0, posted("Hot", 0, 240_000)).unwrap();
    assert_eq!((first.starts_ms, first.ends_ms), (WALL, 0));
    for minute in 1..100 {
        let at = minute * 60_000;
        assert_eq!(book.expire(moment(at)), []);
        assert_eq!(
            assert_at(&mut book, at, posted("Hot", 0, at.cast_signed() + 240_000)),
            None
        );
    }
    let end = assert_at(&mut book, 6_000_000, posted("Hot", 0, 5_990_000)).unwrap();
    assert_eq!(end.ends_ms, WALL + 5_990_000);
    // Prometheus goes on saying so for 15 minutes.
    assert_eq!(assert_at(&mut book, 6_060_000, posted("Hot", 0, 5_990_000)), None);
    assert_eq!((book.firing(), book.entries().count()), (0, 1));
    assert_eq!(book.expire(moment(6_000_000 + KEEP_ENDED)), []);
    assert_eq!(book.entries().count(), 0);
}

#[test]
fn an_alert_that_nobody_asserts_ends_at_the_end_it_was_given() {
    let mut book = Book::default();
    assert_at(&mut book, 1000, posted("Hot", 0, 241_000));
    assert_eq!(book.expire(moment(240_999)), []);
    let ended = book.expire(moment(241_000));
    assert_eq!(ended.len(), 1);
    assert_eq!((ended[0].starts_ms, ended[0].ends_ms), (WALL, WALL + 241_000));
    book.logged();
    // Its source is back, and says that it never ended.
    let again = assert_at(&mut book, 300_000, posted("Hot", 0, 540_000)).unwrap();
    assert_eq!((again.starts_ms, again.ends_ms), (WALL, 0));
}

#[test]
fn a_jump_of_the_wall_clock_ends_nothing() {
    let mut book = Book::default();
    assert_at(&mut book, 0, posted("Hot", 0, 240_000));
    let later = Moment {
        wall: Timestamp::from_ms(WALL + 365 * 86_400_000),
        mono_ms: 60_000,
    };
    assert_eq!(book.expire(later), []);
}

#[test]
fn after_a_restart_a_source_has_its_time_again_and_what_was_not_logged_is() {
    let mut book = Book::default();
    assert_at(&mut book, 0, posted("Hot", 0, 240_000));
    book.assert(posted("New", 0, 240_000), moment(0)).unwrap();
    let entries: Vec<Entry> = book.entries().cloned().collect();
    // A day later; the monotonic clock began anew.
    let now = Moment {
        wall: Timestamp::from_ms(WALL + 86_400_000),
        mono_ms: 5000,
    };
    let mut book = Book::restored(entries, now);
    assert_eq!(book.unlogged().len(), 1);
    book.logged();
    let at = |mono_ms| Moment { mono_ms, ..now };
    assert_eq!(book.expire(at(244_999)), []);
    let ended = book.expire(at(245_000));
    let ends: Vec<i64> = ended.iter().map(|alert| alert.ends_ms).collect();
    assert_eq!(ends, [WALL + 240_000; 2]);
}

#[test]
fn annotations_that_change_all_the_time_are_a_record_a_minute() {
    let mut book = Book::default();
    let text = |n: u64| Posted {
        annotations: Labels::new([("value", n.to_string())]).unwrap(),
        ..posted("Hot", 0, 3_600_000)
    };
    let records = (0..300).filter_map(|second| assert_at(&mut book, second * 1000, text(second)));
    assert_eq!(records.count(), 5);
    let end = Posted {
        ends_ms: WALL + 300_000,
        ..text(300)
    };
    let end = assert_at(&mut book, 300_000, end).unwrap();
    assert_eq!(end.annotations[0].value, "300");
}

#[test]
fn the_book_is_bounded_and_makes_room_by_what_is_over() {
    let mut book = Book::default();
    for n in 0..MAX_ALERTS {
        assert_at(&mut book, 0, posted(&n.to_string(), 0, 240_000));
    }
    assert_eq!(book.assert(posted("one more", 0, 240_000), moment(0)), Err(Full));
    assert_at(&mut book, 1000, posted("7", 0, 1000));
    assert!(assert_at(&mut book, 2000, posted("one more", 0, 240_000)).is_some());
    assert_eq!(book.entries().count(), MAX_ALERTS);

    let mut book = Book::default();
    let large = |n: usize| Posted {
        annotations: Labels::new((0..4).map(|k| (k.to_string(), "x".repeat(4000)))).unwrap(),
        ..posted(&n.to_string(), 0, 240_000)
    };
    let taken = (0..MAX_ALERTS).take_while(|&n| book.assert(large(n), moment(0)).is_ok());
    let taken = taken.count();
    assert!((250..=262).contains(&taken), "{taken}");
}

#[derive(Debug, Clone)]
enum Step {
    Assert(u8, u64),
    Resolve(u8),
    Wait(u64),
    LogFails,
    Restart,
    /// The power goes at the next record: before or after it is in the log, which is before the file says so.
    Cut(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..3, 1u64..400_000).prop_map(|(name, patience)| Step::Assert(name, patience)),
        2 => (0u8..3).prop_map(Step::Resolve),
        3 => (0u64..400_000).prop_map(Step::Wait),
        1 => Just(Step::LogFails),
        1 => Just(Step::Restart),
        1 => any::<bool>().prop_map(Step::Cut),
    ]
}

proptest! {
    /// Whoever reads the records knows what fires: the last record of an alert says what the book says.
    #[test]
    fn the_records_tell_what_fires(steps in proptest::collection::vec(step(), 0..60)) {
        let mut book = Book::default();
        let mut told: BTreeMap<String, bool> = BTreeMap::new();
        let (mut now_ms, mut fails, mut cut) = (0u64, false, None);
        for step in steps {
            let now = moment(now_ms);
            let at = now_ms.cast_signed();
            let mut next = book.clone();
            let mut records: Vec<Alert> = match step {
                Step::Assert(name, patience) => next
                    .assert(posted(&name.to_string(), at, at + patience.cast_signed()), now)
                    .unwrap()
                    .into_iter()
                    .collect(),
                Step::Resolve(name) => {
                    next.assert(posted(&name.to_string(), at, at), now).unwrap().into_iter().collect()
                }
                Step::Wait(ms) => {
                    now_ms += ms;
                    next.expire(moment(now_ms))
                }
                Step::Cut(after) => {
                    cut = Some(after);
                    continue;
                }
                Step::LogFails => {
                    fails = true;
                    continue;
                }
                Step::Restart => {
                    next = Book::restored(book.entries().cloned(), now);
                    next.unlogged()
                }
            };
            if !records.is_empty() && std::mem::take(&mut fails) {
                continue;
            }
            if let (false, Some(after)) = (records.is_empty(), cut) {
                cut = None;
                // The file was written before the log; what it has as not logged comes (again).
                let in_log = records.iter().filter(|_| after);
                told.extend(in_log.map(|record| (record.labels[0].value.clone(), record.ends_ms == 0)));
                next = Book::restored(next.entries().cloned(), moment(now_ms));
                records = next.unlogged();
            }
            for record in &records {
                prop_assert!(record.ends_ms == 0 || record.ends_ms >= record.starts_ms);
                told.insert(record.labels[0].value.clone(), record.ends_ms == 0);
            }
            if !records.is_empty() {
                next.logged();
            }
            book = next;
            for entry in book.entries() {
                let name = entry.posted.labels.get("alertname").unwrap();
                prop_assert_eq!(told.get(name), Some(&!entry.ended), "{}", name);
            }
            for (name, firing) in &told {
                let known = book.entries().any(|e| e.posted.labels.get("alertname") == Some(name));
                prop_assert!(known || !firing, "{} is forgotten and fires", name);
            }
        }
    }
}
