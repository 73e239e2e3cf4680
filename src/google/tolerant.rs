//! Reads an event that `google-calendar3` refuses, field by field, and takes what there is.
//!
//! Known cases: `dateTime` without offset, years over 9999, hour 24, a `sequence` over 32 bits, extended properties
//! that are not strings. What cannot be read is left out and said in `odd`; better an event at the right time without a
//! title than a calendar that stops.

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, Utc};
use chrono_tz::Tz;
use serde_json::Value;

use super::wire::{BOOKING_PROPERTY, Fields, zone};
use crate::domain::{EventTime, zone::local_to_utc};

/// `None` when there is no id.
pub(super) fn read(value: &Value, calendar_zone: Option<Tz>) -> Option<Fields> {
    let mut odd = Vec::new();
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let mut time = |key: &str| read_time(value.get(key)?, calendar_zone, &mut odd);
    let (start, end, original) = (time("start"), time("end"), time("originalStartTime"));

    let lines = list(value, "recurrence");
    let recurrence: Vec<String> = lines.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    if recurrence.len() < lines.len() {
        odd.push("a recurrence rule cannot be read".to_owned());
    }
    let declined = |attendee: &Value| {
        attendee.get("self") == Some(&Value::Bool(true))
            && attendee.get("responseStatus").and_then(Value::as_str) == Some("declined")
    };
    let private_booking =
        value.pointer("/extendedProperties/private").and_then(|private| private.get(BOOKING_PROPERTY));
    Some(Fields {
        id: text("id")?,
        status: text("status"),
        start,
        end,
        recurrence,
        master: text("recurringEventId"),
        original,
        transparent: text("transparency").as_deref() == Some("transparent"),
        declined: list(value, "attendees").iter().any(declined),
        title: text("summary"),
        etag: text("etag"),
        updated: text("updated").and_then(|text| text.parse().ok()),
        private_booking: private_booking.and_then(Value::as_str).map(str::to_owned),
        odd,
    })
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn read_time(value: &Value, calendar_zone: Option<Tz>, odd: &mut Vec<String>) -> Option<EventTime> {
    if let Some(date) = value.get("date").and_then(Value::as_str) {
        return read_date(date).map(EventTime::Date);
    }
    let text = value.get("dateTime").and_then(Value::as_str)?;
    let zone = zone(value.get("timeZone").and_then(Value::as_str), odd);
    let at = read_instant(text, zone.or(calendar_zone))?;
    Some(EventTime::At { at, zone })
}

/// chrono reads years over 9999 only behind a plus sign.
fn with_signed_year(text: &str) -> String {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits > 4 { format!("+{text}") } else { text.to_owned() }
}

/// The last day that four-digit years reach. "For ever" need not be longer, and every later step can write it.
const LAST_DAY: NaiveDate = NaiveDate::from_ymd_opt(9999, 12, 31).expect("a date");

fn read_date(text: &str) -> Option<NaiveDate> {
    let date = NaiveDate::parse_from_str(&with_signed_year(text), "%Y-%m-%d").ok()?;
    Some(date.min(LAST_DAY))
}

fn read_instant(text: &str, zone: Option<Tz>) -> Option<DateTime<Utc>> {
    const LOCAL: &str = "%Y-%m-%dT%H:%M:%S%.f";
    let text = with_signed_year(&text.replacen(' ', "T", 1).to_ascii_uppercase());
    // ISO 8601 calls the end of a day hour 24, chrono does not.
    let (text, days) = if text.contains("T24:00") { (text.replacen("T24:00", "T00:00", 1), 1) } else { (text, 0) };
    let text = text.strip_suffix('Z').map(|start| format!("{start}+00:00")).unwrap_or(text);

    let at = if let Ok(at) = DateTime::parse_from_str(&text, &format!("{LOCAL}%:z")) {
        at.to_utc()
    } else {
        let local = NaiveDateTime::parse_from_str(&text, LOCAL).ok()?;
        local_to_utc(local, zone?)
    };
    let at = at.checked_add_days(Days::new(days))?;
    Some(at.min(LAST_DAY.and_hms_opt(23, 59, 59)?.and_utc()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BERLIN: Option<Tz> = Some(chrono_tz::Europe::Berlin);

    fn instant(text: &str, zone: Option<Tz>) -> Option<String> {
        read_instant(text, zone).map(|at| at.to_rfc3339())
    }

    #[test]
    fn a_time_without_offset_is_local_to_its_zone() {
        let berlin = |text| instant(text, BERLIN);
        assert_eq!(berlin("2026-07-01T10:00:00").as_deref(), Some("2026-07-01T08:00:00+00:00"));
        assert_eq!(berlin("2026-10-25T02:30:00").as_deref(), Some("2026-10-25T00:30:00+00:00"), "the first of two");
        assert_eq!(berlin("2026-03-29T02:30:00").as_deref(), Some("2026-03-29T01:30:00+00:00"), "shown as 3:30");
        assert_eq!(instant("2026-07-01T10:00:00", None), None, "nobody knows when that is");
    }

    #[test]
    fn odd_spellings_of_instants_are_read() {
        for (text, expected) in [
            ("2026-11-24T10:00:00+01:00", "2026-11-24T09:00:00+00:00"),
            ("2026-11-24t10:00:00.5z", "2026-11-24T10:00:00.500+00:00"),
            ("2026-11-24 10:00:00Z", "2026-11-24T10:00:00+00:00"),
            ("2026-12-31T24:00:00Z", "2027-01-01T00:00:00+00:00"),
            ("10000-01-01T00:00:00Z", "9999-12-31T23:59:59+00:00"),
            ("9999-12-31T24:00:00Z", "9999-12-31T23:59:59+00:00"),
        ] {
            assert_eq!(instant(text, None).as_deref(), Some(expected), "{text}");
        }
        for text in ["", "Z", "T24:00", "tomorrow", "2026-13-01T00:00:00Z", "2026-11-24T10:00:00+99:99", "𝟚026-11-24"]
        {
            assert_eq!(instant(text, BERLIN), None, "{text}");
        }
    }

    #[test]
    fn what_is_readable_is_taken_from_among_the_strange() {
        let value = json!({
            "id": "e", "status": 7, "summary": ["x"], "etag": "\"1\"", "updated": "yesterday",
            "start": { "dateTime": "2026-11-24T10:00:00", "timeZone": "Nowhere/Town" },
            "end": { "date": "10000-01-01" },
            "recurrence": ["RRULE:FREQ=DAILY", 5],
            "attendees": [7, { "self": true, "responseStatus": "declined" }],
            "extendedProperties": { "private": { "slotd": "b1", "n": 3 } },
        });
        let read = read(&value, BERLIN).unwrap();
        let at = "2026-11-24T09:00:00Z".parse().unwrap();
        assert_eq!(read.start, Some(EventTime::At { at, zone: None }), "the calendar's zone stands in");
        assert_eq!(read.end, Some(EventTime::Date(LAST_DAY)));
        assert_eq!(read.recurrence, ["RRULE:FREQ=DAILY"]);
        assert!(read.declined);
        assert_eq!((read.status, read.title, read.updated), (None, None, None));
        assert_eq!(read.private_booking.as_deref(), Some("b1"));
        assert_eq!(read.odd, ["a time zone is unknown", "a recurrence rule cannot be read"]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}", date in "[0-9]{0,7}-[0-9]{1,3}-[0-9]{1,3}[Tt ]?[0-9:.]{0,9}[Zz+]?") {
            for text in [text, date] {
                read_instant(&text, BERLIN);
                read_date(&text);
            }
        }
    }
}
