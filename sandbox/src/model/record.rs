//! One stored event: a single event, a master, an exception or a tombstone.

use std::sync::Arc;

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
    pub(crate) times: Option<Times>,
    pub(crate) series: Option<Series>,
    pub(crate) exception: Option<Exception>,
    pub(crate) cancelled: bool,
    /// Whether it makes its calendar busy.
    pub(crate) busy: bool,
    private: bool,
    body: Body,
}

/// The event resource, times in the calendar's zone. A deleted event keeps its details: the owner may restore it.
#[derive(Debug)]
enum Body {
    /// As JSON text: a tenth of the memory that the parsed form of a hundred thousand events takes.
    Stored(Box<str>),
    /// That of an instance follows from its series and is made when somebody looks at it.
    Instance { master: Arc<Record>, zone: Tz },
}

/// When an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// A written event; `body` is the whole resource but for what follows from the time of the write.
    pub(super) fn new(
        (revision, updated): (u64, DateTime<Utc>),
        mut body: Map<String, Value>,
        times: Option<Times>,
        series: Option<Series>,
        exception: Option<Exception>,
    ) -> Self {
        let text = |field: &str| body.get(field).and_then(Value::as_str).unwrap_or_default();
        let cancelled = text("status") == "cancelled";
        let attendees = body.get("attendees").and_then(Value::as_array);
        let declined = |attendee: &Value| attendee["self"] == json!(true) && attendee["responseStatus"] == "declined";
        let busy = !cancelled
            && text("transparency") != "transparent"
            && !attendees.is_some_and(|attendees| attendees.iter().any(declined));
        let private = matches!(text("visibility"), "private" | "confidential");
        let id = text("id").to_owned();
        body.insert("updated".to_owned(), json!(millis(updated)));
        body.insert("etag".to_owned(), json!(etag(updated)));
        let body = Body::Stored(Value::Object(body).to_string().into());
        Self { id, revision, updated, times, series, exception, cancelled, busy, private, body }
    }

    /// An instance of a series, which is not stored.
    pub(super) fn instance(master: &Arc<Record>, original: When, times: Times, zone: Tz) -> Self {
        Self {
            id: format!("{}_{}", master.id, original.suffix()),
            revision: master.revision,
            updated: master.updated,
            times: Some(times),
            series: None,
            exception: Some(Exception { master: master.id.clone(), original }),
            cancelled: master.cancelled,
            busy: master.busy,
            private: master.private,
            body: Body::Instance { master: Arc::clone(master), zone },
        }
    }

    /// The whole resource.
    pub(crate) fn body(&self) -> Map<String, Value> {
        match &self.body {
            // What was written as an object is one.
            Body::Stored(text) => serde_json::from_str(text).unwrap_or_default(),
            Body::Instance { master, zone } => {
                let mut body = master.body();
                body.remove("recurrence");
                body.insert("id".to_owned(), json!(self.id));
                body.insert("recurringEventId".to_owned(), json!(master.id));
                if let (Some(times), Some(exception)) = (self.times, &self.exception) {
                    body.insert("originalStartTime".to_owned(), exception.original.render(*zone));
                    body.insert("start".to_owned(), times.start.render(*zone));
                    body.insert("end".to_owned(), times.end.render(*zone));
                }
                body
            }
        }
    }

    /// The tombstone that is left once nobody can bring the event back.
    pub(super) fn without_details(&self) -> Self {
        let mut body = self.body();
        body.retain(|field, _| matches!(field.as_str(), "id" | "kind" | "status"));
        Self::new((self.revision, self.updated), body, self.times, None, self.exception.clone())
    }

    pub(crate) fn etag(&self) -> String {
        etag(self.updated)
    }

    /// The resource as one caller sees it.
    pub(crate) fn show(&self, view: View) -> Value {
        let mut body = self.body();
        let hidden = view.role == Role::FreeBusyReader
            || self.private && matches!(view.role, Role::Reader | Role::WriterWithoutPrivateAccess);
        if self.cancelled && !view.deleted_details {
            body.retain(|field, _| SKELETON.contains(&field.as_str()));
        } else if hidden {
            body.retain(|field, _| TIMES_ONLY.contains(&field.as_str()));
        }
        if let Some(zone) = view.zone {
            times::rezone(&mut body, zone);
        }
        if let Some(most) = view.attendees_max {
            omit_attendees(&mut body, most);
        }
        Value::Object(body)
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

/// Twice the microseconds of a write, as Google's etags look.
fn etag(updated: DateTime<Utc>) -> String {
    format!("\"{}\"", updated.timestamp_micros() * 2)
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
