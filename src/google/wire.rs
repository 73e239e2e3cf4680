//! From Google's event resource to the mirrored event.
//!
//! Each item is read on its own: by the schema of `google-calendar3`, or, when that refuses it, field by field
//! (`tolerant`). An item with an id is never dropped and never fails its page.

use std::fmt;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use google_calendar3::api;
use serde::Deserialize;
use serde_json::Value;

use super::tolerant;
use crate::domain::{Event, EventKind, EventStatus, EventTime};

/// The private extended property that holds the id of the booking which an event was written for.
pub(super) const BOOKING_PROPERTY: &str = "slotd";

/// An event as a calendar lists it.
#[derive(Clone, PartialEq, Eq)]
pub struct Item {
    /// What decides when somebody is busy.
    pub event: Event,
    /// `summary`. Personal: encrypt it, never log it.
    pub title: Option<String>,
    /// Changes with each write; for `If-Match`.
    pub etag: Option<String>,
    /// Last change, UTC.
    pub updated: Option<DateTime<Utc>>,
    /// The booking that this event was written for, as slotd marked it. A copy made by the owner carries it too.
    pub private_booking: Option<String>,
    /// Why this event is not read in full, in words without personal data. Its times are `None` when they are among
    /// what could not be read.
    pub odd: Option<String>,
}

impl Item {
    /// Reads one event resource as a list holds it. `calendar_zone` stands in where a time names no zone and no offset.
    /// `None` when it has no id, so that nobody could ever say which event it is.
    #[must_use]
    pub fn read(resource: &Value, calendar_zone: Option<Tz>) -> Option<Self> {
        read_item(resource, calendar_zone)
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Item");
        shown.field("event", &self.event).field("etag", &self.etag).field("odd", &self.odd).finish_non_exhaustive()
    }
}

/// The fields of an event that slotd reads, before they are judged together.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) id: String,
    pub(super) status: Option<String>,
    pub(super) start: Option<EventTime>,
    pub(super) end: Option<EventTime>,
    pub(super) recurrence: Vec<String>,
    pub(super) master: Option<String>,
    pub(super) original: Option<EventTime>,
    pub(super) transparent: bool,
    pub(super) declined: bool,
    pub(super) title: Option<String>,
    pub(super) etag: Option<String>,
    pub(super) updated: Option<DateTime<Utc>>,
    pub(super) private_booking: Option<String>,
    pub(super) odd: Vec<String>,
}

/// Reads one event. `calendar_zone` stands in where a time names no zone and no offset. `None` when it has no id, so
/// that nobody could ever say which event it is.
pub(super) fn read_item(value: &Value, calendar_zone: Option<Tz>) -> Option<Item> {
    let fields = if let Ok(event) = api::Event::deserialize(value) {
        from_schema(event)?
    } else {
        let mut fields = tolerant::read(value, calendar_zone)?;
        fields.odd.insert(0, format!("`{}` is not as documented", refused_field(value)));
        fields
    };
    Some(fields.assemble())
}

/// Where the schema stopped. Only the outermost name: inner ones may be chosen by people.
fn refused_field(value: &Value) -> String {
    // Keeping track of the path is not free, so it is done only for the few that need it.
    let error = serde_path_to_error::deserialize::<_, api::Event>(value).err();
    match error.as_ref().and_then(|error| error.path().iter().next()) {
        Some(serde_path_to_error::Segment::Map { key }) => key.clone(),
        _ => "event".to_owned(),
    }
}

fn from_schema(event: api::Event) -> Option<Fields> {
    let mut odd = Vec::new();
    let mut time = |time: Option<api::EventDateTime>| {
        let time = time?;
        match (time.date, time.date_time) {
            (Some(date), _) => Some(EventTime::Date(date)),
            (None, Some(at)) => Some(EventTime::At { at, zone: zone(time.time_zone.as_deref(), &mut odd) }),
            (None, None) => None,
        }
    };
    let (start, end, original) = (time(event.start), time(event.end), time(event.original_start_time));
    let private = event.extended_properties.and_then(|properties| properties.private);
    Some(Fields {
        id: event.id?,
        status: event.status,
        start,
        end,
        recurrence: event.recurrence.unwrap_or_default(),
        master: event.recurring_event_id,
        original,
        transparent: event.transparency.as_deref() == Some("transparent"),
        declined: event
            .attendees
            .unwrap_or_default()
            .iter()
            .any(|attendee| attendee.self_ == Some(true) && attendee.response_status.as_deref() == Some("declined")),
        title: event.summary,
        etag: event.etag,
        updated: event.updated,
        private_booking: private.and_then(|mut private| private.remove(BOOKING_PROPERTY)),
        odd,
    })
}

/// The zone of that IANA name. A name that is none is noted; the instant is known without it, only a series needs it.
pub(super) fn zone(name: Option<&str>, odd: &mut Vec<String>) -> Option<Tz> {
    let zone = name?.parse().ok();
    let note = "a time zone is unknown";
    if zone.is_none() && !odd.iter().any(|before| before == note) {
        odd.push(note.to_owned());
    }
    zone
}

impl Fields {
    fn assemble(mut self) -> Item {
        let status = match self.status.as_deref() {
            None | Some("confirmed") => EventStatus::Confirmed,
            Some("tentative") => EventStatus::Tentative,
            Some("cancelled") => EventStatus::Cancelled,
            Some(_) => {
                // Whatever it means, it is safer to be busy.
                self.odd.push("the status is unknown".to_owned());
                EventStatus::Confirmed
            }
        };
        let times = self.start.zip(self.end);
        if times.is_none() && status != EventStatus::Cancelled {
            self.odd.push("start or end cannot be read".to_owned());
        }
        let kind = match (self.master, self.original) {
            (Some(master), Some(original)) => EventKind::Exception { master, original },
            (None, _) if !self.recurrence.is_empty() => EventKind::Master { recurrence: self.recurrence },
            (None, _) => EventKind::Single,
            (Some(_), None) => {
                // Which occurrence it replaces is not known. On its own, it at least blocks its own time.
                self.odd.push("the original start cannot be read".to_owned());
                EventKind::Single
            }
        };
        Item {
            event: Event { id: self.id, kind, status, times, transparent: self.transparent, declined: self.declined },
            title: self.title,
            etag: self.etag,
            updated: self.updated,
            private_booking: self.private_booking,
            odd: (!self.odd.is_empty()).then(|| self.odd.join("; ")),
        }
    }
}

/// `events.list`, as far as the items are not looked into.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventsBody {
    #[serde(default)]
    pub(super) items: Vec<Value>,
    pub(super) next_page_token: Option<String>,
    pub(super) next_sync_token: Option<String>,
    pub(super) time_zone: Option<String>,
    pub(super) access_role: Option<String>,
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;
    use serde_json::json;

    use super::*;

    fn item(value: &Value) -> Item {
        read_item(value, Some(chrono_tz::Europe::Berlin)).unwrap()
    }

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_series_is_read_with_its_zone_and_marks() {
        let read = item(&json!({
            "id": "m", "etag": "\"1\"", "status": "confirmed", "summary": "Team", "updated": "2026-11-20T08:00:00.123Z",
            "start": { "dateTime": "2026-11-24T10:00:00+01:00", "timeZone": "Europe/Berlin" },
            "end": { "dateTime": "2026-11-24T11:00:00+01:00", "timeZone": "Europe/Berlin" },
            "recurrence": ["RRULE:FREQ=WEEKLY"], "transparency": "transparent",
            "attendees": [{ "email": "b@example.com", "responseStatus": "declined" },
                          { "self": true, "responseStatus": "declined" }],
            "extendedProperties": { "private": { "slotd": "b1", "other": "x" } },
            "somethingNew": { "a": 1 },
        }));
        let at = |text| EventTime::At { at: utc(text), zone: Some(chrono_tz::Europe::Berlin) };
        let event = Event {
            id: "m".to_owned(),
            kind: EventKind::Master { recurrence: vec!["RRULE:FREQ=WEEKLY".to_owned()] },
            status: EventStatus::Confirmed,
            times: Some((at("2026-11-24T09:00:00Z"), at("2026-11-24T10:00:00Z"))),
            transparent: true,
            declined: true,
        };
        assert_eq!(
            read,
            Item {
                event,
                title: Some("Team".to_owned()),
                etag: Some("\"1\"".to_owned()),
                updated: Some(utc("2026-11-20T08:00:00.123Z")),
                private_booking: Some("b1".to_owned()),
                odd: None,
            }
        );
        assert!(!format!("{read:?}").contains("Team"));
    }

    #[test]
    fn another_guest_who_declined_changes_nothing() {
        let read = item(&json!({ "id": "e", "start": { "date": "2026-11-24" }, "end": { "date": "2026-11-25" },
            "attendees": [{ "responseStatus": "declined" }, { "self": true, "responseStatus": "needsAction" }] }));
        assert!(read.event.blocks());
    }

    #[test]
    fn a_tombstone_needs_nothing_but_its_id() {
        let read = item(&json!({ "id": "e", "status": "cancelled" }));
        assert_eq!((read.event.status, read.event.times, read.odd), (EventStatus::Cancelled, None, None));
    }

    #[test]
    fn a_cancelled_instance_is_a_hole_in_its_series() {
        let read = item(&json!({ "id": "m_20261124", "status": "cancelled", "recurringEventId": "m",
            "originalStartTime": { "date": "2026-11-24" } }));
        let original = EventTime::Date(NaiveDate::from_ymd_opt(2026, 11, 24).unwrap());
        assert_eq!(read.event.kind, EventKind::Exception { master: "m".to_owned(), original });
        assert_eq!(read.odd, None);
    }

    #[test]
    fn an_exception_without_its_original_start_still_blocks_its_own_time() {
        let read = item(&json!({ "id": "x", "recurringEventId": "m",
            "start": { "date": "2026-11-24" }, "end": { "date": "2026-11-25" } }));
        assert_eq!(read.event.kind, EventKind::Single);
        assert!(read.event.blocks() && read.odd.is_some());
    }

    #[test]
    fn an_unknown_zone_or_status_is_noted_and_blocks() {
        for zone in ["W. Europe Standard Time", "GMT+01:00"] {
            let read = item(&json!({ "id": "e", "status": "waitlisted",
                "start": { "dateTime": "2026-11-24T10:00:00+01:00", "timeZone": zone },
                "end": { "dateTime": "2026-11-24T11:00:00+01:00", "timeZone": zone } }));
            let start = EventTime::At { at: utc("2026-11-24T09:00:00Z"), zone: None };
            assert_eq!(read.event.times.unwrap().0, start);
            assert!(read.event.blocks());
            assert_eq!(read.odd.as_deref(), Some("a time zone is unknown; the status is unknown"));
        }
    }

    #[test]
    fn what_the_schema_refuses_is_read_by_the_tolerant_way_and_says_where() {
        let read = item(&json!({ "id": "e", "sequence": 99_999_999_999_u64,
            "start": { "date": "2026-11-24" }, "end": { "date": "2026-11-25" },
            "extendedProperties": { "private": { "anna@example.com": "x" } } }));
        assert_eq!(read.odd.as_deref(), Some("`sequence` is not as documented"));
        assert!(read.event.times.is_some());
        let read = item(&json!({ "id": "e", "start": { "date": "2026-11-24" }, "end": { "date": "2026-11-25" },
            "extendedProperties": { "private": { "anna@example.com": 3, "slotd": "b1" } } }));
        assert_eq!(read.odd.as_deref(), Some("`extendedProperties` is not as documented"));
        assert_eq!(read.private_booking.as_deref(), Some("b1"));
    }

    #[test]
    fn an_item_without_an_id_is_no_item() {
        assert_eq!(read_item(&json!({ "status": "confirmed" }), None), None);
        assert_eq!(read_item(&json!("confirmed"), None), None);
    }
}
