//! One stored event: a single event, a master, an exception or a tombstone.

use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use serde_json::{Map, Value, json};

use super::Role;
use super::series::Series;
use super::times::{self, When};

/// An event as it stands after its last write. Never changed in place, so that a listing can be read without a lock.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) id: String,
    /// The place of the last write in the calendar's change feed.
    pub(crate) revision: u64,
    pub(crate) updated: DateTime<Utc>,
    /// The event resource, times in the calendar's zone. A deleted event keeps its details: the owner may restore it.
    pub(crate) body: Map<String, Value>,
    pub(crate) times: Option<Times>,
    pub(crate) series: Option<Series>,
    pub(crate) exception: Option<Exception>,
    pub(crate) cancelled: bool,
}

/// When an event is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) start: When,
    pub(crate) end: When,
}

/// Which instance of which series an exception replaces.
#[derive(Clone, Debug)]
pub(crate) struct Exception {
    pub(crate) master: String,
    pub(crate) original: When,
}

/// How events are shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub(crate) role: Role,
    /// The zone to show times in, when it is not the calendar's.
    pub(crate) zone: Option<Tz>,
    pub(crate) attendees_max: Option<usize>,
    /// Whether deleted events keep their details.
    pub(crate) deleted_details: bool,
}

/// What is left of an event for those who may not see its details.
const TIMES_ONLY: &[&str] = &[
    "end",
    "etag",
    "eventType",
    "iCalUID",
    "id",
    "kind",
    "originalStartTime",
    "recurrence",
    "recurringEventId",
    "start",
    "status",
    "transparency",
    "updated",
    "visibility",
];
/// What is left of a deleted event, and of a deleted instance.
const SKELETON: &[&str] = &["etag", "id", "kind", "originalStartTime", "recurringEventId", "status"];

impl Record {
    pub(crate) fn etag(&self) -> &str {
        self.body.get("etag").and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn text(&self, field: &str) -> &str {
        self.body.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// The resource as one caller sees it.
    pub(crate) fn show(&self, view: View) -> Value {
        if self.cancelled && !view.deleted_details {
            return Value::Object(self.keep(SKELETON));
        }
        let private = matches!(self.text("visibility"), "private" | "confidential");
        let mut body = match view.role {
            Role::FreeBusyReader => self.keep(TIMES_ONLY),
            Role::Reader | Role::WriterWithoutPrivateAccess if private => self.keep(TIMES_ONLY),
            _ => self.body.clone(),
        };
        if let Some(zone) = view.zone {
            times::rezone(&mut body, zone);
        }
        if let Some(most) = view.attendees_max {
            omit_attendees(&mut body, most);
        }
        Value::Object(body)
    }

    fn keep(&self, fields: &[&str]) -> Map<String, Value> {
        let known = |field: &&str| self.body.get(*field).map(|value| ((*field).to_owned(), value.clone()));
        fields.iter().filter_map(known).collect()
    }

    /// Whether the event makes its calendar busy: opaque, not deleted, not declined by the calendar's own attendee.
    pub(crate) fn is_busy(&self) -> bool {
        let declined = |attendee: &Value| attendee["self"] == json!(true) && attendee["responseStatus"] == "declined";
        let attendees = self.body.get("attendees").and_then(Value::as_array);
        !self.cancelled
            && self.text("transparency") != "transparent"
            && !attendees.is_some_and(|attendees| attendees.iter().any(declined))
    }

    /// Whether the event itself (not its other instances) lies in the half-open window; a missing bound is open.
    pub(crate) fn overlaps(&self, window: Window, zone: Tz) -> bool {
        self.times.is_some_and(|times| window.meets(times.start.instant(zone), times.end.instant(zone)))
    }
}

/// A half-open stretch of time with optional bounds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window {
    pub(crate) from: Option<DateTime<Utc>>,
    pub(crate) to: Option<DateTime<Utc>>,
}

impl Window {
    /// Google keeps events that end after the lower and start before the upper bound.
    pub(crate) fn meets(self, start: DateTime<Utc>, end: DateTime<Utc>) -> bool {
        self.from.is_none_or(|from| end > from) && self.to.is_none_or(|to| start < to)
    }
}

/// `updated` as Google prints it: milliseconds and `Z`.
pub(crate) fn millis(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn omit_attendees(body: &mut Map<String, Value>, most: usize) {
    let Some(attendees) = body.get_mut("attendees").and_then(Value::as_array_mut) else { return };
    if attendees.len() <= most {
        return;
    }
    let mut room = most;
    attendees.retain(|attendee| {
        let keep = attendee["self"] == json!(true) || room > 0;
        room = room.saturating_sub(usize::from(keep));
        keep
    });
    body.insert("attendeesOmitted".to_owned(), json!(true));
}
