use proptest::prelude::*;

use super::*;

const BERLIN: Tz = Tz::Europe__Berlin;

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn window(start: &str, end: &str) -> Interval {
    Interval::new(utc(start), utc(end)).unwrap()
}

/// A time in Berlin, or a date.
fn when(text: &str) -> EventTime {
    match text.parse() {
        Ok(date) => EventTime::Date(date),
        Err(_) => {
            EventTime::At { at: crate::domain::zone::local_to_utc(text.parse().unwrap(), BERLIN), zone: Some(BERLIN) }
        }
    }
}

fn event(id: &str, kind: EventKind, start: &str, end: &str) -> Event {
    let times = Some((when(start), when(end)));
    Event { id: id.to_owned(), kind, status: EventStatus::Confirmed, times, transparent: false, declined: false }
}

fn master(start: &str, end: &str, recurrence: &[&str]) -> Event {
    let recurrence = recurrence.iter().map(|line| (*line).to_owned()).collect();
    event("m", EventKind::Master { recurrence }, start, end)
}

fn exception(id: &str, original: &str, start: &str, end: &str) -> Event {
    event(id, EventKind::Exception { master: "m".to_owned(), original: when(original) }, start, end)
}

fn cancelled(original: &str) -> Event {
    let kind = EventKind::Exception { master: "m".to_owned(), original: when(original) };
    Event { times: None, status: EventStatus::Cancelled, ..event("x", kind, "2026-01-01", "2026-01-02") }
}

/// The starts in Berlin of what a series makes busy in 2026, as `MMDD` or `MMDDTHHMM`.
fn busy(master: &Event, exceptions: &[Event]) -> String {
    let year = window("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
    let expansion = expand_series(master, exceptions, BERLIN, year, &Limits::default());
    assert_eq!((expansion.odd, expansion.truncated), (None, false));
    let shown = expansion.busy.iter().map(|occurrence| {
        let local = utc_to_local(occurrence.interval.start(), BERLIN);
        local.format(if local.time() == NaiveTime::MIN { "%m%d" } else { "%m%dT%H%M" }).to_string()
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_series_without_length_has_places_for_exceptions() {
    let master = master("2026-03-02T09:00:00", "2026-03-02T09:00:00", &["RRULE:FREQ=DAILY;COUNT=3"]);
    let has = |day: &str| {
        let moved = exception("x", day, "2026-03-10T09:00:00", "2026-03-10T10:00:00");
        has_place_for(&master, &moved, BERLIN, &Limits::default())
    };
    assert!(has("2026-03-03T09:00:00") && !has("2026-03-05T09:00:00"));
}

#[test]
fn lines_in_every_usual_spelling_are_understood() {
    let timed = ("2026-03-02T09:00:00", "2026-03-02T10:00:00");
    let day = ("2026-03-02", "2026-03-03");
    let daily = "RRULE:FREQ=DAILY;COUNT=3";
    for ((start, end), lines, expected) in [
        (timed, &[daily][..], "0302T0900 0303T0900 0304T0900"),
        (timed, &["rrule:freq=daily;count=3;x-note=hello"], "0302T0900 0303T0900 0304T0900"),
        (timed, &["RRULE:FREQ=DAILY;UNTIL=20260304T080000Z"], "0302T0900 0303T0900 0304T0900"),
        (timed, &["RRULE:FREQ=DAILY;UNTIL=20260304T075959Z"], "0302T0900 0303T0900"),
        (timed, &["RRULE:FREQ=DAILY;UNTIL=20260304T090000"], "0302T0900 0303T0900 0304T0900"),
        (timed, &["RRULE:FREQ=DAILY;UNTIL=20260303"], "0302T0900 0303T0900"),
        (timed, &["RRULE:FREQ=DAILY;UNTIL=20260301T000000Z"], ""),
        (timed, &[daily, "EXDATE:20260303T080000Z"], "0302T0900 0304T0900"),
        (timed, &[daily, "EXDATE;TZID=Europe/Berlin:20260303T090000,20260304T090000"], "0302T0900"),
        (timed, &[daily, "EXDATE;TZID=\"America/New_York\":20260303T030000"], "0302T0900 0304T0900"),
        (timed, &[daily, "EXDATE;VALUE=DATE:20260303"], "0302T0900 0304T0900"),
        (timed, &[daily, "EXDATE:20260302T090000"], "0303T0900 0304T0900"),
        (timed, &["RDATE;TZID=Europe/Berlin:20260401T113000,20260402T113000"], "0302T0900 0401T1130 0402T1130"),
        (timed, &["RDATE;VALUE=PERIOD:20260401T100000Z/PT2H"], "0302T0900 0401T1200"),
        (timed, &["RRULE:FREQ=DAILY;COUNT=2", "RRULE:FREQ=WEEKLY;COUNT=2"], "0302T0900 0303T0900 0309T0900"),
        (timed, &["RRULE:FREQ=DAILY;COUNT=4", "EXRULE:FREQ=DAILY;INTERVAL=2"], "0303T0900 0305T0900"),
        (
            timed,
            &["RRULE:FREQ=DAILY;COUNT=2", "RDATE:20260309T080000Z,20260311T080000Z", "EXRULE:FREQ=WEEKLY"],
            "0303T0900 0311T0900",
        ),
        (timed, &["RRULE:FREQ=WEEKLY;BYDAY=FR;UNTIL=20260313T235959Z"], "0302T0900 0306T0900 0313T0900"),
        (day, &["RRULE:FREQ=DAILY;UNTIL=20260304"], "0302 0303 0304"),
        (day, &["RRULE:FREQ=DAILY;UNTIL=20260304T000000Z"], "0302 0303 0304"),
        (day, &[daily, "EXDATE;VALUE=DATE:20260303"], "0302 0304"),
        (day, &[daily, "EXDATE:20260303T000000Z"], "0302 0304"),
        (day, &["RDATE;VALUE=DATE:20260401"], "0302 0401"),
    ] {
        assert_eq!(busy(&master(start, end, lines), &[]), expected, "{lines:?}");
    }
}

#[test]
fn a_series_stays_on_the_wall_clock_and_keeps_its_exact_length() {
    let night = master("2026-03-27T22:00:00", "2026-03-28T06:00:00", &["RRULE:FREQ=DAILY;COUNT=3"]);
    let week = window("2026-03-20T00:00:00Z", "2026-04-03T00:00:00Z");
    let expansion = expand_series(&night, &[], BERLIN, week, &Limits::default());
    let lengths: Vec<i64> = expansion.busy.iter().map(|it| it.interval.duration().num_hours()).collect();
    assert_eq!(busy(&night, &[]), "0327T2200 0328T2200 0329T2200");
    assert_eq!(lengths, [8, 8, 8], "also in the night in which clocks skip an hour");
}

#[test]
fn a_time_that_the_clock_skips_moves_forward_and_still_counts() {
    let early = master("2026-03-28T02:30:00", "2026-03-28T02:45:00", &["RRULE:FREQ=DAILY;COUNT=3"]);
    assert_eq!(busy(&early, &[]), "0328T0230 0329T0330 0330T0230");
}

#[test]
fn days_follow_the_zone_of_the_calendar() {
    let days = master("2026-03-28", "2026-03-29", &["RRULE:FREQ=DAILY;COUNT=2"]);
    let year = window("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
    let expansion = expand_series(&days, &[], BERLIN, year, &Limits::default());
    let hours: Vec<i64> = expansion.busy.iter().map(|it| it.interval.duration().num_hours()).collect();
    assert_eq!(hours, [24, 23]);
    assert_eq!(expansion.busy[0].interval.start(), utc("2026-03-27T23:00:00Z"));
}

#[test]
fn exceptions_take_the_place_of_what_they_replace() {
    let weekly = master("2026-03-02T09:00:00", "2026-03-02T10:00:00", &["RRULE:FREQ=WEEKLY;COUNT=3"]);
    let moved = exception("e", "2026-03-09T09:00:00", "2026-03-10T15:00:00", "2026-03-10T16:00:00");
    let free = Event { transparent: true, ..moved.clone() };
    let declined = Event { declined: true, ..moved.clone() };
    let by_date = exception("e", "2026-03-09", "2026-03-10T15:00:00", "2026-03-10T16:00:00");
    let stray = exception("e", "2026-03-11T09:00:00", "2026-03-12T15:00:00", "2026-03-12T16:00:00");
    for (exceptions, expected) in [
        (&[moved.clone()][..], "0302T0900 0310T1500 0316T0900"),
        (&[cancelled("2026-03-09T09:00:00")], "0302T0900 0316T0900"),
        (&[cancelled("2026-03-09")], "0302T0900 0316T0900"),
        (&[free], "0302T0900 0316T0900"),
        (&[declined], "0302T0900 0316T0900"),
        (&[by_date], "0302T0900 0310T1500 0316T0900"),
        (&[stray], "0302T0900 0309T0900 0312T1500 0316T0900"),
        (&[cancelled("2026-03-11T09:00:00")], "0302T0900 0309T0900 0316T0900"),
    ] {
        assert_eq!(busy(&weekly, exceptions), expected, "{exceptions:?}");
    }
    let transparent = Event { transparent: true, ..weekly.clone() };
    assert_eq!(busy(&transparent, std::slice::from_ref(&moved)), "0310T1500", "the exception alone blocks");
    let gone = Event { status: EventStatus::Cancelled, ..weekly };
    assert_eq!(busy(&gone, &[moved]), "", "a cancelled series takes its exceptions along");
}

#[test]
fn an_exception_moved_into_the_window_counts_though_its_original_lies_outside() {
    let weekly = master("2025-12-01T09:00:00", "2025-12-01T10:00:00", &["RRULE:FREQ=WEEKLY;COUNT=2"]);
    let moved = exception("e", "2025-12-08T09:00:00", "2026-02-02T09:00:00", "2026-02-02T10:00:00");
    assert_eq!(busy(&weekly, &[moved]), "0202T0900");
}

#[test]
fn what_began_before_the_window_and_lasts_into_it_counts() {
    let fortnight = master("2025-12-27", "2026-01-10", &["RRULE:FREQ=YEARLY"]);
    assert_eq!(busy(&fortnight, &[]), "1227 1227", "last year's and this year's");
}

#[test]
fn rules_that_cannot_be_read_are_told_and_the_rest_is_given() {
    let odd = master(
        "2026-03-02T09:00:00",
        "2026-03-02T10:00:00",
        &["RRULE:FREQ=FORTNIGHTLY", "RDATE;TZID=Europe/Berlin:20260401T113000"],
    );
    let year = window("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
    let expansion = expand_series(&odd, &[], BERLIN, year, &Limits::default());
    assert_eq!(expansion.busy.len(), 2, "the first instance and the added one");
    assert!(expansion.odd.unwrap().contains("FORTNIGHTLY"));
}

#[test]
fn an_event_without_length_takes_no_time() {
    let kind = EventKind::Single;
    assert_eq!(single_interval(&event("s", kind.clone(), "2026-03-02", "2026-03-02"), BERLIN), None);
    let day = single_interval(&event("s", kind, "2026-03-29", "2026-03-30"), BERLIN).unwrap();
    assert_eq!(day.duration().num_hours(), 23);
}

proptest! {
    #[test]
    fn no_line_makes_expanding_fail(
        lines in prop::collection::vec(
            prop_oneof![
                "\\PC{0,40}",
                "(RRULE|EXRULE):FREQ=(DAILY|SECONDLY|YEARLY)(;(COUNT|INTERVAL|BYMONTHDAY|BYSETPOS)=-?[0-9]{1,6}){0,3}",
                "(RDATE|EXDATE)(;VALUE=(DATE|PERIOD))?(;TZID=[A-Za-z/]{0,12})?:[0-9]{8}(T[0-9]{6}Z?)?(/(P[0-9]{1,9}[WDT][0-9]{0,12}[HMS]?))?",
            ],
            0..5,
        ),
        all_day: bool,
    ) {
        let (start, end) = if all_day { ("2026-03-02", "2026-03-03") } else { ("2026-03-02T09:00:00", "2026-03-02T10:00:00") };
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let limits = Limits { occurrences_max: 100, steps_max: 2_000 };
        let year = window("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
        let expansion = expand_series(&master(start, end, &lines), &[], BERLIN, year, &limits);
        prop_assert!(expansion.busy.len() <= 100);
        prop_assert!(expansion.busy.iter().all(|occurrence| occurrence.interval.overlaps(year)));
    }
}

/// Where an event of a series that does not block would be, as its start and end in Berlin.
fn free(event: &Event, series: &[Event], from: &str, to: &str) -> Option<(String, String)> {
    let (found, cut) = free_interval(event, series, BERLIN, window(from, to), &Limits::default());
    assert!(!cut);
    let local = |at| utc_to_local(at, BERLIN).format("%m%dT%H%M").to_string();
    found.map(|interval| (local(interval.start()), local(interval.end())))
}

#[test]
fn what_does_not_block_is_found_where_it_would_be() {
    let at = |start: &str, end: &str| Some((start.to_owned(), end.to_owned()));
    let moment = ("2026-03-31T07:10:00Z", "2026-03-31T07:11:00Z");
    let mut radio = master("2026-03-24T09:00:00", "2026-03-24T10:00:00", &["RRULE:FREQ=WEEKLY;COUNT=3"]);
    radio.transparent = true;
    let moved = exception("m_1", "2026-03-31T09:00:00", "2026-04-01T09:00:00", "2026-04-01T10:00:00");
    // On the other side of a clock change, and not where an exception took its place.
    assert_eq!(free(&radio, std::slice::from_ref(&radio), moment.0, moment.1), at("0331T0900", "0331T1000"));
    assert_eq!(free(&radio, &[radio.clone(), moved], moment.0, moment.1), None);
    assert_eq!(free(&radio, &[], "2026-04-01T07:10:00Z", "2026-04-01T07:11:00Z"), None);

    let called_off = cancelled("2026-03-31T09:00:00");
    let lunch = master("2026-03-24T09:00:00", "2026-03-24T10:00:00", &["RRULE:FREQ=WEEKLY;COUNT=3"]);
    assert_eq!(free(&called_off, &[lunch, called_off.clone()], moment.0, moment.1), at("0331T0900", "0331T1000"));
    let fair = master("2026-03-24", "2026-03-27", &["RRULE:FREQ=WEEKLY;COUNT=3"]);
    let called_off = cancelled("2026-03-31");
    assert_eq!(
        free(&called_off, &[fair], "2026-04-02T07:00:00Z", "2026-04-02T07:01:00Z"),
        at("0331T0000", "0403T0000")
    );
    assert_eq!(free(&called_off, &[], moment.0, moment.1), None, "without its series nobody knows how long it was");

    let mut walk = event("w", EventKind::Single, "2026-03-31T09:00:00", "2026-03-31T09:11:00");
    walk.declined = true;
    assert_eq!(free(&walk, &[], moment.0, moment.1), at("0331T0900", "0331T0911"));
    assert_eq!(free(&walk, &[], "2026-03-31T07:11:00Z", "2026-03-31T07:12:00Z"), None);
}

/// In Berlin the clock shows 2:30 twice on 25 October 2026: at 0:30 and at 1:30 UTC.
#[test]
fn an_rdate_at_a_repeated_time_means_the_instant_it_names_or_the_first_of_the_two() {
    let begins = |at: &str, line: &str| {
        let mut series = master("2026-10-20T02:30:00", "2026-10-20T03:00:00", &[line]);
        let start = EventTime::At { at: utc(at), zone: Some(BERLIN) };
        let end = EventTime::At { at: utc(at) + TimeDelta::minutes(30), zone: Some(BERLIN) };
        series.times = Some((start, end));
        let whole = window("2026-10-19T00:00:00Z", "2026-10-27T00:00:00Z");
        let found = expand_series(&series, &[], BERLIN, whole, &Limits::default()).busy;
        found.iter().map(|one| one.interval.start().format("%dT%H:%M").to_string()).collect::<Vec<_>>().join(" ")
    };
    let (earlier, second) = ("2026-10-20T00:30:00Z", "2026-10-25T01:30:00Z");
    assert_eq!(begins(earlier, "RDATE:20261025T003000Z"), "20T00:30 25T00:30");
    assert_eq!(begins(earlier, "RDATE:20261025T013000Z"), "20T00:30 25T01:30");
    assert_eq!(begins(earlier, "RDATE:20261025T003000Z,20261025T013000Z"), "20T00:30 25T00:30 25T01:30");
    assert_eq!(begins(earlier, "RDATE;TZID=Europe/Berlin:20261025T023000"), "20T00:30 25T00:30");
    assert_eq!(begins(second, "RDATE;TZID=Europe/Berlin:20261025T023000"), "25T00:30 25T01:30");
    assert_eq!(begins(second, "RDATE:20261025T013000Z"), "25T01:30");
}
