use proptest::prelude::*;
use serde_json::{Value, json};

use super::{IcsError, ImportedCalendar, import};
use crate::model::{Model, NewCalendar, RefusedEvents};

const HEAD: &str = "BEGIN:VCALENDAR\r\nPRODID:-//Google Inc//Google Calendar 70.9054//EN\r\nVERSION:2.0\r\n";

/// A calendar in New York around the given components. Indentation is dropped, `~` stands for the space of a folded line.
fn calendar(components: &str) -> String {
    let body =
        components.trim().lines().map(str::trim_start).collect::<Vec<_>>().join("\r\n").replace("\r\n~", "\r\n ");
    format!("{HEAD}X-WR-CALNAME:anna@example.com\r\nX-WR-TIMEZONE:America/New_York\r\n{body}\r\nEND:VCALENDAR\r\n")
}

fn event(properties: &str) -> String {
    calendar(&format!("BEGIN:VEVENT\nUID:one@google.com\n{}\nEND:VEVENT", properties.trim()))
}

fn imported(text: &str) -> ImportedCalendar {
    import(text, "UTC").unwrap()
}

/// The only event of a calendar from which nothing was left out.
fn only(text: &str) -> Value {
    let mut calendar = imported(text);
    assert_eq!(calendar.skipped, []);
    assert_eq!(calendar.events.len(), 1, "{:#?}", calendar.events);
    calendar.events.remove(0)
}

fn why(properties: &str) -> String {
    let calendar = imported(&event(properties));
    assert_eq!(calendar.events, Vec::<Value>::new());
    assert_eq!(calendar.skipped.len(), 1);
    assert_eq!(calendar.skipped[0].line, Some(6));
    calendar.skipped[0].why.clone()
}

#[test]
fn the_file_names_the_calendar_and_its_zone() {
    let calendar = imported(&event("DTSTART:20261124T150000Z"));
    assert_eq!(calendar.name.as_deref(), Some("anna@example.com"));
    assert_eq!(calendar.time_zone, "America/New_York");

    let bare = format!("{HEAD}BEGIN:VEVENT\r\nUID:a\r\nDTSTART:20261124T150000\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n");
    let calendar = import(&bare, "Europe/Berlin").unwrap();
    assert_eq!((calendar.name, calendar.time_zone.as_str()), (None, "Europe/Berlin"));
    assert_eq!(
        calendar.events[0]["start"],
        json!({"dateTime": "2026-11-24T15:00:00+01:00", "timeZone": "Europe/Berlin"})
    );
}

#[test]
fn a_plain_event_becomes_a_resource_of_calendar_v3() {
    let text = event(
        "DTSTART;TZID=America/New_York:20261124T093000
        DTEND;TZID=America/New_York:20261124T100000
        SUMMARY:Cut\\, color\\; and
         ~ a long talk
        DESCRIPTION:first\\nsecond
        LOCATION:Main St 1
        SEQUENCE:3
        TRANSP:TRANSPARENT
        CLASS:PRIVATE
        STATUS:TENTATIVE",
    );
    let mut resource = only(&text);
    let id = resource["id"].take();
    assert!(id.as_str().unwrap().bytes().all(|c| matches!(c, b'a'..=b'v' | b'0'..=b'9')));
    assert_eq!(
        resource,
        json!({
            "id": null,
            "iCalUID": "one@google.com",
            "status": "tentative",
            "summary": "Cut, color; and a long talk",
            "description": "first\nsecond",
            "location": "Main St 1",
            "start": {"dateTime": "2026-11-24T09:30:00-05:00", "timeZone": "America/New_York"},
            "end": {"dateTime": "2026-11-24T10:00:00-05:00", "timeZone": "America/New_York"},
            "transparency": "transparent",
            "visibility": "private",
            "sequence": 3,
        })
    );
}

#[test]
fn starts_and_ends_of_every_kind_are_understood() {
    let at = |time: &str, zone: &str| json!({"dateTime": time, "timeZone": zone});
    let ny = "America/New_York";
    let cases = [
        // All day, with and without an end; Google's end is exclusive like the file's.
        (
            "DTSTART;VALUE=DATE:20261124\nDTEND;VALUE=DATE:20261127",
            json!({"date": "2026-11-24"}),
            json!({"date": "2026-11-27"}),
        ),
        ("DTSTART;VALUE=DATE:20261124", json!({"date": "2026-11-24"}), json!({"date": "2026-11-25"})),
        ("DTSTART;VALUE=DATE:20261124\nDURATION:P1W", json!({"date": "2026-11-24"}), json!({"date": "2026-12-01"})),
        ("DTSTART:20261124", json!({"date": "2026-11-24"}), json!({"date": "2026-11-25"})),
        // UTC, floating, no end at all.
        (
            "DTSTART:20261124T150000Z\nDTEND:20261124T153000Z",
            at("2026-11-24T15:00:00Z", "UTC"),
            at("2026-11-24T15:30:00Z", "UTC"),
        ),
        (
            "DTSTART:20261124T150000\nDTEND:20261124T153000",
            at("2026-11-24T15:00:00-05:00", ny),
            at("2026-11-24T15:30:00-05:00", ny),
        ),
        ("DTSTART:20261124T150000Z", at("2026-11-24T15:00:00Z", "UTC"), at("2026-11-24T15:00:00Z", "UTC")),
        // A day of a DURATION is a day of the calendar, an hour is an hour: the clocks change on 8 March at 2.
        (
            "DTSTART:20260307T120000\nDURATION:P1D",
            at("2026-03-07T12:00:00-05:00", ny),
            at("2026-03-08T12:00:00-04:00", ny),
        ),
        (
            "DTSTART:20260307T120000\nDURATION:PT24H",
            at("2026-03-07T12:00:00-05:00", ny),
            at("2026-03-08T13:00:00-04:00", ny),
        ),
        // 02:30 does not exist and becomes 03:30; the short event keeps its length, the long one its end.
        (
            "DTSTART:20260308T023000\nDTEND:20260308T030000",
            at("2026-03-08T03:30:00-04:00", ny),
            at("2026-03-08T04:00:00-04:00", ny),
        ),
        (
            "DTSTART:20260308T023000\nDTEND:20260308T050000",
            at("2026-03-08T03:30:00-04:00", ny),
            at("2026-03-08T05:00:00-04:00", ny),
        ),
        // 01:30 comes twice, the first is meant.
        (
            "DTSTART:20261101T013000\nDTEND:20261101T020000",
            at("2026-11-01T01:30:00-04:00", ny),
            at("2026-11-01T02:00:00-05:00", ny),
        ),
        // Another zone than the calendar's, Windows names, registry names, and an end in a zone of its own.
        (
            "DTSTART;TZID=W. Europe Standard Time:20260701T100000\nDTEND;TZID=/freeassociation.sourceforge.net/Europe/London:20260701T100000",
            at("2026-07-01T10:00:00+02:00", "Europe/Berlin"),
            at("2026-07-01T10:00:00+01:00", "Europe/London"),
        ),
    ];
    for (properties, start, end) in cases {
        let resource = only(&event(properties));
        assert_eq!((&resource["start"], &resource["end"]), (&start, &end), "{properties}");
    }
}

#[test]
fn rules_keep_their_meaning_in_googles_lines() {
    let start = "DTSTART;TZID=America/New_York:20260105T090000\nDTEND;TZID=America/New_York:20260105T100000\n";
    let day = "DTSTART;VALUE=DATE:20260105\n";
    let cases = [
        (
            start,
            "RRULE:FREQ=WEEKLY;UNTIL=20260401T035959Z;INTERVAL=2;BYDAY=MO",
            "RRULE:FREQ=WEEKLY;UNTIL=20260401T035959Z;INTERVAL=2;BYDAY=MO",
        ),
        (
            start,
            "RRULE:FREQ=MONTHLY;BYDAY=MO,TU;BYSETPOS=-1;COUNT=7",
            "RRULE:FREQ=MONTHLY;COUNT=7;BYDAY=MO,TU;BYSETPOS=-1",
        ),
        // UNTIL on the clock of the series, and a bare day that is wholly meant.
        (start, "RRULE:FREQ=DAILY;UNTIL=20260701T090000", "RRULE:FREQ=DAILY;UNTIL=20260701T130000Z"),
        (start, "RRULE:FREQ=DAILY;UNTIL=20260110", "RRULE:FREQ=DAILY;UNTIL=20260111T045959Z"),
        (day, "RRULE:FREQ=DAILY;UNTIL=20260110T000000Z", "RRULE:FREQ=DAILY;UNTIL=20260110"),
        (day, "RRULE:FREQ=YEARLY", "RRULE:FREQ=YEARLY"),
        (start, "EXRULE:FREQ=MONTHLY\nRRULE:FREQ=DAILY", "EXRULE:FREQ=MONTHLY|RRULE:FREQ=DAILY"),
        (
            start,
            "RRULE:FREQ=DAILY\nEXDATE;TZID=America/New_York:20260107T090000,20260108T090000",
            "RRULE:FREQ=DAILY|EXDATE;TZID=America/New_York:20260107T090000,20260108T090000",
        ),
        // In UTC and as a bare date, the same instance is meant.
        (
            start,
            "RRULE:FREQ=DAILY\nEXDATE:20260107T140000Z\nEXDATE;VALUE=DATE:20260108",
            "RRULE:FREQ=DAILY|EXDATE;TZID=America/New_York:20260107T090000|EXDATE;TZID=America/New_York:20260108T090000",
        ),
        (
            day,
            "RRULE:FREQ=DAILY\nEXDATE;VALUE=DATE:20260107,20260109",
            "RRULE:FREQ=DAILY|EXDATE;VALUE=DATE:20260107,20260109",
        ),
        (start, "RDATE;TZID=America/New_York:20260107T110000", "RDATE;TZID=America/New_York:20260107T110000"),
        ("DTSTART:20260105T090000Z\n", "RDATE:20260107T110000Z", "RDATE:20260107T110000Z"),
        // Without a rule there is no series.
        (start, "EXDATE;TZID=America/New_York:20260107T090000", ""),
    ];
    for (start, rules, lines) in cases {
        let text = event(&format!("{start}{rules}"));
        let resource = only(&text);
        let wanted = if lines.is_empty() { Value::Null } else { lines.split('|').collect() };
        assert_eq!(resource["recurrence"], wanted, "{rules}");
    }
}

#[test]
fn exceptions_name_their_series_and_the_start_they_replace() {
    let calendar = imported(&calendar(
        "BEGIN:VEVENT
        UID:daily
        RECURRENCE-ID:20260107T140000Z
        DTSTART;TZID=America/New_York:20260108T160000
        DTEND;TZID=America/New_York:20260108T170000
        END:VEVENT
        BEGIN:VEVENT
        UID:daily
        DTSTART;TZID=America/New_York:20260105T090000
        DTEND;TZID=America/New_York:20260105T100000
        RRULE:FREQ=DAILY
        END:VEVENT
        BEGIN:VEVENT
        UID:daily
        RECURRENCE-ID;TZID=America/New_York:20260109T090000
        DTSTART;TZID=America/New_York:20260109T090000
        STATUS:CANCELLED
        END:VEVENT
        BEGIN:VEVENT
        UID:vacation
        DTSTART;VALUE=DATE:20260105
        RRULE:FREQ=YEARLY
        END:VEVENT
        BEGIN:VEVENT
        UID:vacation
        RECURRENCE-ID;VALUE=DATE:20270105
        DTSTART;VALUE=DATE:20270107
        END:VEVENT",
    ));
    let events = &calendar.events;
    assert_eq!((calendar.skipped.len(), events.len()), (0, 5));
    let daily = events[0]["id"].as_str().unwrap();
    assert_eq!(events[1]["id"], format!("{daily}_20260107T140000Z"));
    assert_eq!(events[1]["recurringEventId"], daily);
    let original = json!({"dateTime": "2026-01-07T09:00:00-05:00", "timeZone": "America/New_York"});
    assert_eq!(events[1]["originalStartTime"], original);
    assert_eq!(events[2]["status"], "cancelled");
    let vacation = events[3]["id"].as_str().unwrap();
    assert_eq!(events[4]["id"], format!("{vacation}_20270105"));
    assert_eq!(events[4]["originalStartTime"], json!({"date": "2027-01-05"}));
    assert_eq!(events[4]["start"], json!({"date": "2027-01-07"}));
}

#[test]
fn an_exception_without_its_series_stands_alone() {
    let calendar = imported(&calendar(
        "BEGIN:VEVENT
        UID:lost
        RECURRENCE-ID:20260107T140000Z
        DTSTART:20260108T160000Z
        END:VEVENT
        BEGIN:VEVENT
        UID:lost
        RECURRENCE-ID:20260114T140000Z
        DTSTART:20260115T160000Z
        END:VEVENT",
    ));
    assert_eq!(calendar.events.len(), 2);
    assert_ne!(calendar.events[0]["id"], calendar.events[1]["id"]);
    assert!(calendar.events.iter().all(|event| event.get("recurringEventId").is_none()));
}

#[test]
fn what_is_cancelled_as_a_whole_is_left_out() {
    let calendar = imported(&calendar(
        "BEGIN:VEVENT
        UID:off
        DTSTART:20260105T100000Z
        RRULE:FREQ=DAILY
        STATUS:CANCELLED
        END:VEVENT
        BEGIN:VEVENT
        UID:off
        RECURRENCE-ID:20260106T100000Z
        DTSTART:20260106T110000Z
        END:VEVENT
        BEGIN:VEVENT
        UID:single
        DTSTART:20260105T100000Z
        STATUS:CANCELLED
        END:VEVENT",
    ));
    assert_eq!((calendar.events, calendar.skipped), (vec![], vec![]));
}

#[test]
fn an_exception_to_a_single_event_takes_its_place() {
    let calendar = imported(&calendar(
        "BEGIN:VEVENT
        UID:once
        DTSTART:20260105T100000Z
        END:VEVENT
        BEGIN:VEVENT
        UID:once
        RECURRENCE-ID:20260105T100000Z
        DTSTART:20260106T110000Z
        END:VEVENT",
    ));
    assert_eq!(calendar.events.len(), 1);
    assert_eq!(calendar.events[0]["start"]["dateTime"], "2026-01-06T11:00:00Z");
    assert_eq!(calendar.events[0].get("recurringEventId"), None);
}

#[test]
fn a_period_of_rdate_becomes_an_exception_with_its_own_end() {
    let calendar = imported(&event(
        "DTSTART:20260105T090000Z
        DTEND:20260105T100000Z
        RDATE;VALUE=PERIOD:20260106T090000Z/20260106T093000Z,20260107T090000Z/PT2H",
    ));
    assert_eq!(calendar.events[0]["recurrence"], json!(["RDATE:20260106T090000Z,20260107T090000Z"]));
    assert_eq!(calendar.events[1]["end"]["dateTime"], "2026-01-06T09:30:00Z");
    assert_eq!(calendar.events[2]["end"]["dateTime"], "2026-01-07T11:00:00Z");
    assert_eq!(calendar.events[2]["originalStartTime"]["dateTime"], "2026-01-07T09:00:00Z");
}

#[test]
fn the_owners_answer_is_marked_as_the_owners() {
    let resource = only(&event(
        "DTSTART:20260105T090000Z
        ATTENDEE;CUTYPE=INDIVIDUAL;ROLE=REQ-PARTICIPANT;PARTSTAT=DECLINED;CN=Anna;X-NUM-GUESTS=0:mailto:Anna@example.com
        ATTENDEE;PARTSTAT=ACCEPTED:mailto:ben@example.com
        ATTENDEE:Carol in person",
    ));
    assert_eq!(
        resource["attendees"],
        json!([
            {"email": "Anna@example.com", "displayName": "Anna", "self": true, "responseStatus": "declined"},
            {"email": "ben@example.com", "responseStatus": "accepted"},
        ])
    );
}

#[test]
fn a_zone_of_the_files_own_is_found_by_its_location_and_else_reported() {
    let calendar = imported(&calendar(
        "BEGIN:VTIMEZONE
        TZID:Our shop
        X-LIC-LOCATION:Australia/Sydney
        END:VTIMEZONE
        BEGIN:VEVENT
        UID:known
        DTSTART;TZID=Our shop:20260105T090000
        END:VEVENT
        BEGIN:VEVENT
        UID:unknown
        DTSTART;TZID=Middle Earth:20260105T090000
        END:VEVENT",
    ));
    assert_eq!(calendar.events[0]["start"]["dateTime"], "2026-01-05T09:00:00+11:00");
    assert_eq!(calendar.events[1]["start"]["dateTime"], "2026-01-05T09:00:00-05:00");
    assert_eq!(calendar.unknown_zones, ["Middle Earth"]);
}

#[test]
fn a_broken_event_is_left_out_and_says_why() {
    let cases = [
        ("SUMMARY:x", "it has no DTSTART"),
        ("DTSTART:tomorrow", "DTSTART is not a date (20261124) or a time (20261124T143000)"),
        ("DTSTART:00010101T100000", "DTSTART is not a date (20261124) or a time (20261124T143000)"),
        ("DTSTART:20261340T100000", "DTSTART is not a date (20261124) or a time (20261124T143000)"),
        ("DTSTART:20261124T100000Z\nDTEND:20261124T090000Z", "DTEND is before DTSTART"),
        (
            "DTSTART:20261124T100000Z\nDTEND;VALUE=DATE:20261125",
            "one of DTSTART and DTEND is a date and the other a time",
        ),
        ("DTSTART:20261124T100000Z\nDURATION:-PT1H", "DURATION:-PT1H cannot follow this DTSTART"),
        ("DTSTART:20261124T100000Z\nRRULE:FREQ=SOMETIMES", "RRULE is not a rule such as FREQ=WEEKLY;BYDAY=MO"),
        ("DTSTART:20261124T100000Z\nRRULE:FREQ=MONTHLY;BYMONTHDAY=40", "BYMONTHDAY"),
        (
            "DTSTART:20261124T100000Z\nRRULE:FREQ=DAILY\nEXDATE:never",
            "EXDATE lists something that is not a date or a time",
        ),
        (
            "DTSTART:20261124T100000Z\nRDATE;VALUE=PERIOD:20261125T100000Z/20261125T090000Z",
            "RDATE lists something that is not a date or a time",
        ),
        (
            "RECURRENCE-ID;RANGE=THISANDFUTURE:20261124T100000Z\nDTSTART:20261124T110000Z",
            "it starts a new series instead",
        ),
    ];
    for (properties, expected) in cases {
        let why = why(properties);
        assert!(why.contains(expected), "{properties}: {why}");
    }
    let nameless = imported(&calendar("BEGIN:VEVENT\nDTSTART:20261124T100000Z\nEND:VEVENT"));
    assert!(nameless.skipped[0].why.contains("UID"));
}

#[test]
fn of_two_versions_of_an_event_the_newer_stays() {
    let calendar = imported(&calendar(
        "BEGIN:VEVENT
        UID:twice
        SEQUENCE:2
        DTSTART:20260105T100000Z
        END:VEVENT
        BEGIN:VEVENT
        UID:twice
        SEQUENCE:1
        DTSTART:20260105T090000Z
        END:VEVENT",
    ));
    assert_eq!(calendar.events[0]["start"]["dateTime"], "2026-01-05T10:00:00Z");
    assert_eq!((calendar.events.len(), calendar.skipped.len()), (1, 1));
}

#[test]
fn alarms_and_other_components_are_passed_over() {
    let resource = only(&calendar(
        "BEGIN:VTODO
        UID:todo
        DTSTART:20260105T090000Z
        END:VTODO
        BEGIN:VEVENT
        UID:a
        DTSTART:20260105T090000Z
        BEGIN:VALARM
        ACTION:DISPLAY
        TRIGGER:-P0DT0H30M0S
        DESCRIPTION:not the event's
        END:VALARM
        END:VEVENT",
    ));
    assert_eq!(resource.get("description"), None);
}

#[test]
fn a_broken_file_is_refused_with_the_line() {
    let whole = event("DTSTART:20261124T100000Z");
    let cases = [
        (String::new(), IcsError::NotACalendar { line: 1 }),
        ("{\"a\": 1}".to_owned(), IcsError::NotACalendar { line: 1 }),
        ("\r\n\r\nBEGIN:VEVENT\r\n".to_owned(), IcsError::NotACalendar { line: 3 }),
        (
            whole.replace("END:VEVENT\r\n", ""),
            IcsError::WrongEnd { line: 9, found: "VCALENDAR".to_owned(), open: "VEVENT".to_owned(), opened: 6 },
        ),
        (
            whole.replace("END:VEVENT\r\nEND:VCALENDAR\r\n", ""),
            IcsError::CutOff { line: 8, open: "VEVENT".to_owned(), opened: 6 },
        ),
        (format!("{HEAD}{}", "BEGIN:X\r\n".repeat(20)), IcsError::TooDeep { line: 19 }),
    ];
    for (text, error) in cases {
        assert_eq!(import(&text, "UTC"), Err(error), "{text}");
    }
    assert_eq!(import(&whole, "Mars/Base"), Err(IcsError::UnknownZone { zone: "Mars/Base".to_owned() }));
    let message = import("hello", "UTC").unwrap_err().to_string();
    assert!(message.starts_with("line 1: expected BEGIN:VCALENDAR"), "{message}");
}

#[test]
fn a_byte_order_mark_and_bare_newlines_are_tolerated() {
    let text = event("DTSTART:20261124T100000Z").replace("\r\n", "\n");
    assert_eq!(imported(&format!("\u{feff}{text}")), imported(&text));
}

/// Whatever is imported must be storable: one event that is not would take the whole calendar with it.
fn stored(calendar: &ImportedCalendar) -> Result<String, RefusedEvents> {
    let mut model = Model::default();
    model.add_user("anna@example.com", "Anna");
    let new = NewCalendar {
        id: None,
        summary: String::new(),
        time_zone: calendar.time_zone.clone(),
        primary: false,
        events: calendar.events.clone(),
    };
    model.add_calendar("anna@example.com", new)
}

#[test]
fn the_fixtures_are_imported_whole_and_stored() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut files = 0;
    for file in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_none_or(|extension| extension != "ics") {
            continue;
        }
        let calendar = imported(&std::fs::read_to_string(&file).unwrap());
        let exceptions = calendar.events.iter().filter(|event| event.get("recurringEventId").is_some()).count();
        assert_eq!((&calendar.skipped, &calendar.unknown_zones), (&vec![], &vec![]), "{}", file.display());
        assert!(calendar.events.len() > 300 && exceptions > 30, "{}", file.display());
        assert!(stored(&calendar).is_ok(), "{}", file.display());
        files += 1;
    }
    assert!(files >= 6);
}

/// Something of everything, for mutation.
fn sample() -> String {
    calendar(
        "BEGIN:VTIMEZONE
        TZID:America/New_York
        X-LIC-LOCATION:America/New_York
        BEGIN:DAYLIGHT
        TZOFFSETFROM:-0500
        TZOFFSETTO:-0400
        TZNAME:EDT
        DTSTART:19700308T020000
        RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=2SU
        END:DAYLIGHT
        END:VTIMEZONE
        BEGIN:VEVENT
        DTSTART;TZID=America/New_York:20260105T090000
        DURATION:P1DT2H
        RRULE:FREQ=MONTHLY;WKST=MO;UNTIL=20270401T035959Z;INTERVAL=2;BYDAY=2TU,-1FR;BYSETPOS=1
        EXDATE;TZID=America/New_York:20260107T090000,20260108T090000
        RDATE;VALUE=PERIOD:20260106T090000Z/20260106T093000Z,20260107T090000Z/PT2H
        UID:one@google.com
        ATTENDEE;CN=\"A, B\";PARTSTAT=DECLINED:mailto:anna@example.com
        SUMMARY:Grüße\\, \\n und mehr
        END:VEVENT
        BEGIN:VEVENT
        DTSTART;VALUE=DATE:20260210
        UID:one@google.com
        RECURRENCE-ID;TZID=America/New_York:20260210T090000
        STATUS:CANCELLED
        END:VEVENT",
    )
}

proptest! {
    #[test]
    fn mutated_files_never_panic_and_what_they_give_is_stored(cuts in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12, "[ -~\r\n\tä]{0,8}"), 1..6)) {
        let mut text: Vec<char> = sample().chars().collect();
        for (place, length, insert) in cuts {
            let from = place.index(text.len());
            let to = (from + length).min(text.len());
            text.splice(from..to, insert.chars());
        }
        let text: String = text.into_iter().collect();
        if let Ok(calendar) = import(&text, "Europe/Berlin") {
            prop_assert!(stored(&calendar).is_ok(), "{:?} in {text}", stored(&calendar));
        }
    }

    #[test]
    fn mutated_values_never_panic_and_what_they_give_is_stored(line in 0_usize..40, value in "[0-9TZ/PDHMSW+,;=:A-Y-]{0,40}") {
        let text = sample();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let at = line % lines.len();
        let name = lines[at].split(':').next().unwrap_or_default().to_owned();
        lines[at] = format!("{name}:{value}");
        if let Ok(calendar) = import(&lines.join("\r\n"), "Europe/Berlin") {
            prop_assert!(stored(&calendar).is_ok(), "{:?} after {}", stored(&calendar), lines[at]);
        }
    }
}
