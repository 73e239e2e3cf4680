//! Series that are made to cost much, or to break something.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};
use slotd::{
    domain::{
        Interval,
        expand::{Expansion, Limits, expand_series},
    },
    google::Item,
};

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn window() -> Interval {
    Interval::new(utc("2026-10-01T00:00:00Z"), utc("2027-12-01T00:00:00Z")).unwrap()
}

fn expand(start: &str, end: &str, recurrence: &[String]) -> Expansion {
    let time = |at: &str| json!({ "dateTime": at, "timeZone": "Europe/Berlin" });
    let series: Value = json!({ "id": "series", "start": time(start), "end": time(end), "recurrence": recurrence });
    let event = Item::read(&series, Some(Tz::Europe__Berlin)).unwrap().event;
    expand_series(&event, &[], Tz::Europe__Berlin, window(), &Limits::default())
}

fn numbers(from: i32, to: i32) -> String {
    (from..=to).map(|number| number.to_string()).collect::<Vec<_>>().join(",")
}

#[test]
fn hostile_series_end_within_their_limits_and_say_whether_they_were_cut_short() {
    let every_time = format!("BYHOUR={};BYMINUTE={};BYSECOND={}", numbers(0, 23), numbers(0, 59), numbers(0, 59));
    let many_days: Vec<String> = (1..=28).map(|day| format!("202702{day:02}T090000Z")).collect();
    let exdates: Vec<String> = (0..100)
        .map(|_| format!("EXDATE:{}", vec![many_days.join(","); 4].join(",")))
        .chain(["RRULE:FREQ=DAILY".into()])
        .collect();
    let rule = |text: &str| vec![format!("RRULE:{text}")];
    // Lines, whether they are cut short, whether some cannot be read.
    for (name, lines, truncated, odd) in [
        ("never", rule("FREQ=DAILY;INTERVAL=0"), false, true),
        ("a number too large", rule("FREQ=DAILY;COUNT=99999999999999999999"), false, true),
        ("a count without end", rule("FREQ=DAILY;COUNT=4000000000"), false, false),
        ("every second", rule("FREQ=SECONDLY"), true, false),
        ("every second, counted", rule("FREQ=SECONDLY;COUNT=4000000000"), true, false),
        ("every second of each day", rule(&format!("FREQ=DAILY;{every_time}")), true, false),
        ("every second of each year", rule(&format!("FREQ=YEARLY;{every_time}")), true, false),
        (
            "positions",
            rule(&format!(
                "FREQ=YEARLY;BYHOUR={};BYMINUTE={};BYSETPOS={}",
                numbers(0, 23),
                numbers(0, 59),
                numbers(-200, -1)
            )),
            false,
            false,
        ),
        ("a day that no month has", rule("FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30;COUNT=5"), false, false),
        ("over before it begins", rule("FREQ=DAILY;UNTIL=20200101T000000Z"), false, false),
        ("until the last year", rule("FREQ=YEARLY;UNTIL=99991231T235959Z"), false, false),
        ("a day in the last year", vec!["RDATE:99991231T235959Z".to_owned()], false, false),
        ("11,200 dates taken away", exdates, false, false),
        ("a rule of a megabyte", rule(&format!("FREQ=DAILY;BYYEARDAY={}", numbers(1, 150_000))), false, true),
        ("a thousand rules", vec!["RRULE:FREQ=SECONDLY;INTERVAL=7".to_owned(); 1_000], true, true),
        (
            "every second is taken away",
            vec!["RRULE:FREQ=DAILY".to_owned(), "EXRULE:FREQ=SECONDLY".to_owned()],
            true,
            false,
        ),
        ("letters", vec!["\u{0}RRULE:\u{ffff}".to_owned(), ":".repeat(1_000_000)], false, true),
    ] {
        let expansion = expand("2026-11-02T09:00:00+01:00", "2026-11-02T09:30:00+01:00", &lines);
        let limits = Limits::default();
        assert_eq!((expansion.truncated, expansion.odd.is_some()), (truncated, odd), "{name}: {:?}", expansion.odd);
        assert!(expansion.steps <= 2 * limits.steps_max, "{name}: {} steps", expansion.steps);
        assert!(expansion.busy.len() <= limits.occurrences_max + 500, "{name}: {} slots", expansion.busy.len());
        assert!(expansion.odd.is_none_or(|odd| odd.len() < 300), "{name} tells too much");
    }
}

#[test]
fn a_series_that_begins_long_ago_or_far_ahead_costs_little() {
    for (start, end, text, truncated, most) in [
        ("0001-01-01T09:00:00Z", "0001-01-01T10:00:00Z", "FREQ=DAILY", false, 2_000),
        ("0001-01-01T09:00:00Z", "0001-01-01T10:00:00Z", "FREQ=YEARLY", false, 2_000),
        ("0001-01-01T09:00:00Z", "0001-01-01T10:00:00Z", "FREQ=DAILY;COUNT=4000000000", true, 400_000),
        ("9999-12-30T09:00:00Z", "9999-12-31T10:00:00Z", "FREQ=DAILY", false, 100),
        ("9999-12-30T09:00:00Z", "9999-12-31T10:00:00Z", "FREQ=SECONDLY;COUNT=4000000000", false, 100),
    ] {
        let expansion = expand(start, end, &[format!("RRULE:{text}")]);
        assert_eq!(expansion.truncated, truncated, "{start} {text}");
        assert!(expansion.steps <= most, "{start} {text}: {} steps", expansion.steps);
    }
}

#[test]
fn beyond_the_cut_a_dense_series_counts_as_busy_and_a_sparse_one_does_not() {
    let ends = |start: &str, end: &str, lines: &[&str]| {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let expansion = expand(start, end, &lines);
        assert!(expansion.truncated, "{lines:?}");
        assert!(expansion.busy.iter().all(|one| one.interval.duration().num_days() <= 1), "{lines:?}");
        expansion.busy.last().unwrap().interval.end()
    };
    let second = ("2026-11-02T09:00:00+01:00", "2026-11-02T09:00:01+01:00");
    assert_eq!(ends(second.0, second.1, &["RRULE:FREQ=SECONDLY;INTERVAL=2"]), window().end());
    let old = ("0001-01-01T09:00:00Z", "0001-01-01T10:00:00Z");
    let lines = ["RRULE:FREQ=DAILY;COUNT=4000000000", "RDATE:20261102T090000Z"];
    assert_eq!(ends(old.0, old.1, &lines), utc("2026-11-02T10:00:00Z"));
}

#[test]
fn the_rest_is_busy_from_where_the_dense_rule_was_cut_though_another_rule_goes_on() {
    let lines = ["RRULE:FREQ=DAILY".to_owned(), "RRULE:FREQ=SECONDLY;INTERVAL=2".to_owned()];
    let expansion = expand("2026-11-02T09:00:00+01:00", "2026-11-02T09:00:01+01:00", &lines);
    let at = utc("2027-03-03T15:00:00Z");
    assert!(
        expansion.truncated && expansion.busy.iter().any(|one| one.interval.start() <= at && at < one.interval.end())
    );
}
