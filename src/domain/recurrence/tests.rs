use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use proptest::prelude::*;

use super::rule::{Budget, Rule};

fn local(text: &str) -> NaiveDateTime {
    text.parse().unwrap()
}

fn plenty() -> Budget {
    Budget::new(u32::MAX, usize::MAX)
}

fn starts(rule: &str, start: NaiveDateTime, from: NaiveDateTime, to: NaiveDateTime) -> Vec<NaiveDateTime> {
    let mut found = Vec::new();
    Rule::read(rule, start, |_| None).unwrap().starts(from, to, &mut plenty(), &mut found);
    found
}

/// The same by the iterator of the `rrule` crate, which begins at DTSTART and knows no window.
fn starts_by_the_crate(rule: &str, start: NaiveDateTime, from: NaiveDateTime, to: NaiveDateTime) -> Vec<NaiveDateTime> {
    let set: rrule::RRuleSet = format!("DTSTART:{}\nRRULE:{rule}", start.format("%Y%m%dT%H%M%SZ")).parse().unwrap();
    let all = set.into_iter().map(|at| at.naive_utc()).take_while(|at| *at <= to);
    all.filter(|at| *at >= from).collect()
}

#[test]
fn the_examples_of_the_standard_come_out() {
    let start = local("1997-09-02T09:00:00");
    for (rule, days) in [
        ("FREQ=MONTHLY;COUNT=3;BYDAY=-2MO", "0922 1020 1117"),
        ("FREQ=MONTHLY;COUNT=3;BYMONTHDAY=-3", "0928 1029 1128"),
        ("FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3", "0904 1007 1106"),
        ("FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO", "0902 0907 0916 0921"),
        ("FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU", "0902 0914 0916 0928"),
        ("FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13;COUNT=2", "0213 0313"),
        ("FREQ=YEARLY;COUNT=2;BYDAY=20MO", "0518 0517"),
        ("FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO;COUNT=2", "0511 0517"),
        ("FREQ=YEARLY;INTERVAL=3;COUNT=4;BYYEARDAY=1,100,200", "0101 0409 0718 0101"),
    ] {
        let found = starts(rule, start, start, local("2010-01-01T00:00:00"));
        let shown: Vec<String> = found.iter().map(|at| at.format("%m%d").to_string()).collect();
        assert_eq!(shown.join(" "), days, "{rule}");
    }
}

#[test]
fn a_plain_and_a_counted_weekday_are_both_meant() {
    let found = starts(
        "FREQ=MONTHLY;BYDAY=MO,1TU",
        local("2026-06-01T09:00:00"),
        local("2026-06-01T00:00:00"),
        local("2026-06-30T00:00:00"),
    );
    let days: Vec<String> = found.iter().map(|at| at.format("%d").to_string()).collect();
    assert_eq!(days, ["01", "02", "08", "15", "22", "29"]);
}

#[test]
fn hostile_rules_run_out_of_budget_and_say_so() {
    let start = local("2016-01-01T09:00:00");
    for (rule, exhausted) in [
        ("FREQ=SECONDLY", true),
        ("FREQ=SECONDLY;COUNT=4000000000", true),
        ("FREQ=DAILY;BYHOUR=0,1,2,3,4,5,6,7,8,9,10,11;BYMINUTE=0,1,2,3,4,5,6,7,8,9;BYSECOND=0,1,2,3,4,5,6,7,8,9", true),
        ("FREQ=SECONDLY;BYHOUR=3;BYMONTH=2;BYMONTHDAY=30", false),
        ("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30;COUNT=3", false),
    ] {
        let mut budget = Budget::new(50_000, 5_000);
        let mut found = Vec::new();
        let read = Rule::read(rule, start, |_| None).unwrap();
        read.starts(local("2026-01-01T00:00:00"), local("2028-01-01T00:00:00"), &mut budget, &mut found);
        assert_eq!(budget.exhausted, exhausted, "{rule}");
        assert!(found.len() <= 5_000, "{rule}");
    }
}

fn list(values: &'static [i32], most: usize) -> impl Strategy<Value = Vec<i32>> {
    prop::sample::subsequence(values, 1..=most.min(values.len()))
}

fn joined(name: &str, values: &[i32]) -> String {
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    format!(";{name}={}", values.join(","))
}

/// Rules that the crate and RFC 5545 understand alike: no plain beside counted weekdays, no counted ones where the
/// standard forbids them, no positions within a first week that DTSTART cuts.
fn rule() -> impl Strategy<Value = String> {
    const WEEKDAYS: [&str; 7] = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"];
    let frequency = prop::sample::select(vec!["YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY"]);
    let parts = (
        prop::option::of(list(&[1, 2, 3, 6, 11, 12], 3)),
        prop::option::of(list(&[1, 2, 15, 28, 29, 30, 31, -1, -2, -31], 3)),
        prop::option::of(prop::sample::subsequence(WEEKDAYS.to_vec(), 1..4)),
        prop::option::of(prop::sample::select(vec![1, 2, 4, 5, -1, -2])),
        prop::option::of(list(&[1, 59, 60, 366, -1, -366], 2)),
        prop::option::of(list(&[0, 2, 9, 23], 3)),
        prop::option::of(list(&[1, 2, -1], 2)),
    );
    (frequency, 1..6_u32, parts, prop::option::of(1..60_u32), prop::sample::select(WEEKDAYS.to_vec())).prop_map(
        |(frequency, interval, (months, month_days, weekdays, nth, year_days, hours, positions), count, week_start)| {
            let mut rule = format!("FREQ={frequency};INTERVAL={interval};WKST={week_start}");
            let long = ["YEARLY", "MONTHLY"].contains(&frequency);
            let mut push = |name: &str, values: Option<Vec<i32>>, fits: bool| {
                if let Some(values) = values.filter(|_| fits) {
                    rule += &joined(name, &values);
                }
            };
            push("BYMONTH", months, true);
            push("BYMONTHDAY", month_days.clone(), frequency != "WEEKLY");
            push("BYYEARDAY", year_days, frequency == "YEARLY");
            push("BYHOUR", hours, frequency != "HOURLY");
            push("BYSETPOS", positions, long && month_days.is_some());
            if let Some(weekdays) = weekdays {
                let nth = nth.filter(|_| long).map(|nth| nth.to_string()).unwrap_or_default();
                let weekdays: Vec<String> = weekdays.iter().map(|day| format!("{nth}{day}")).collect();
                rule = format!("{rule};BYDAY={}", weekdays.join(","));
            }
            count.map(|count| rule.clone() + &format!(";COUNT={count}")).unwrap_or(rule)
        },
    )
}

proptest! {
    #[test]
    fn rules_give_what_the_rrule_crate_gives(rule in rule(), hour in 0..200_000_i64, later in 0..900_i64, days in 1..500_i64) {
        let start = DateTime::<Utc>::from_timestamp(1_200_000_000 + hour * 3_600, 0).unwrap().naive_utc();
        let from = start + TimeDelta::days(later);
        let to = from + TimeDelta::days(days);
        prop_assert_eq!(starts(&rule, start, from, to), starts_by_the_crate(&rule, start, from, to));
    }

    #[test]
    fn no_text_makes_reading_or_stepping_fail(
        text in prop_oneof![
            "\\PC{0,60}",
            "(FREQ=(YEARLY|MONTHLY|WEEKLY|DAILY|HOURLY|MINUTELY|SECONDLY);?)((INTERVAL|COUNT|BYDAY|BYMONTH|BYMONTHDAY|BYYEARDAY|BYWEEKNO|BYHOUR|BYMINUTE|BYSECOND|BYSETPOS|WKST|UNTIL|X-A)=[-+]?[0-9]{0,5}(MO|SU|,-?[0-9]{1,3})?;){0,5}",
        ],
        year in 1..9_999_i32,
    ) {
        let start = chrono::NaiveDate::from_ymd_opt(year, 2, 28).unwrap().and_hms_opt(23, 59, 59).unwrap();
        if let Ok(rule) = Rule::read(&text, start, |_| Some(start)) {
            let mut budget = Budget::new(20_000, 1_000);
            let mut found = Vec::new();
            rule.starts(start, start + TimeDelta::days(400), &mut budget, &mut found);
            prop_assert!(found.iter().all(|at| *at >= start));
        }
    }
}
