use serde_json::{Value, json};

use super::{calendar, event, imported, only};

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
