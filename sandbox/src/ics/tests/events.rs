use serde_json::json;

use super::{calendar, event, imported, only, why};

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
