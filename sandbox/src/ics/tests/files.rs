use proptest::prelude::*;
use serde_json::json;

use super::{HEAD, calendar, event, imported, only};
use crate::{
    ics::{IcsError, ImportedCalendar, import},
    model::{Model, NewCalendar, RefusedEvents},
};

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
