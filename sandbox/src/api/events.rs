//! `events.get`, `insert`, `import`, `quickAdd`, `patch`, `update`, `move` and `delete`.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DurationRound as _, TimeDelta};
use chrono_tz::Tz;
use serde_json::json;

use super::Call;
use super::lag::seen;
use crate::clock;
use crate::model::{Calendar, Record, Role, View, Write, parse_zone, resolve, rfc3339};
use crate::refusal::Refusal;

/// Most attendees that are shown when nothing else is asked for.
const ATTENDEES_MAX: usize = 100_000;

/// Who looks at which calendar.
#[derive(Clone, Copy)]
pub(super) struct Viewer {
    role: Role,
    new_zone: Option<Tz>,
}

impl Viewer {
    pub(super) fn new(calendar: &Calendar, role: Role) -> Self {
        Self { role, new_zone: calendar.new_zone() }
    }
}

/// How the caller wants events shown.
pub(super) fn view(call: &Call, viewer: Viewer, deleted_details: bool) -> Result<View, Refusal> {
    Ok(View {
        role: viewer.role,
        zone: call.query.get("timeZone").map(parse_zone).transpose()?.or(viewer.new_zone),
        attendees_max: call.query.count("maxAttendees", ATTENDEES_MAX)?,
        deleted_details,
    })
}

fn write(call: &Call) -> Write<'_> {
    Write { actor: call.user(), if_match: call.header(header::IF_MATCH), import: false }
}

fn show(call: &Call, record: &Record, viewer: Viewer) -> Result<Response, Refusal> {
    call.answer(record.show(view(call, viewer, true)?))
}

/// A deleted event is still found, with `status: cancelled`.
pub(super) fn get(call: &Call) -> Result<Response, Refusal> {
    let (record, viewer) = {
        let model = call.state.model();
        let (calendar, role) = model.calendar(call.user(), call.calendar())?;
        let found = seen(call, calendar, 0).find(call.event()).filter(|_| !calendar.is_purged(call.event()));
        (found.ok_or_else(Refusal::not_found)?, Viewer::new(calendar, role))
    };
    show(call, &record, viewer)
}

pub(super) fn insert(call: &Call) -> Result<Response, Refusal> {
    let body = call.json()?;
    let (record, viewer) = call.state.write(call.user(), call.calendar(), |calendar, role| {
        Ok((calendar.insert(&body, write(call))?, Viewer::new(calendar, role)))
    })?;
    show(call, &record, viewer)
}

pub(super) fn import(call: &Call) -> Result<Response, Refusal> {
    let body = call.json()?;
    let (record, viewer) = call.state.write(call.user(), call.calendar(), |calendar, role| {
        Ok((calendar.import(&body, write(call))?, Viewer::new(calendar, role)))
    })?;
    show(call, &record, viewer)
}

/// The stand-in reads no dates from the text: the event begins at the next full hour.
pub(super) fn quick_add(call: &Call) -> Result<Response, Refusal> {
    let text = call.query.get("text").filter(|text| !text.trim().is_empty());
    let text = text.ok_or_else(|| Refusal::required("Missing text.").at("parameter", "text"))?;
    let hour = TimeDelta::hours(1);
    let start = (clock::now() + hour).duration_trunc(hour).map_err(|_| Refusal::invalid("Invalid start time."))?;
    let time = |at| json!({ "dateTime": rfc3339(at, Tz::UTC) });
    let body = json!({ "summary": text, "start": time(start), "end": time(start + hour) });
    let body = body.as_object().cloned().unwrap_or_default();
    let (record, viewer) = call.state.write(call.user(), call.calendar(), |calendar, role| {
        Ok((calendar.insert(&body, write(call))?, Viewer::new(calendar, role)))
    })?;
    show(call, &record, viewer)
}

/// Both calendars must be writable. The event goes before its stub is left, so that it is never in none of them.
pub(super) fn relocate(call: &Call) -> Result<Response, Refusal> {
    let to = call.query.get("destination").unwrap_or_default();
    let parcel = {
        let mut model = call.state.model();
        model.calendar_to_write(call.user(), to)?;
        let (calendar, _) = model.calendar_to_write(call.user(), call.calendar())?;
        if calendar.id == resolve(call.user(), to) {
            return Err(Refusal::invalid("The event is in this calendar already.").at("parameter", "destination"));
        }
        calendar.pack(call.event(), write(call))?
    };
    let (record, viewer) = call
        .state
        .write(call.user(), to, |calendar, role| Ok((calendar.adopt(&parcel)?, Viewer::new(calendar, role))))?;
    call.state.write(call.user(), call.calendar(), |calendar, _| {
        calendar.let_go(&parcel);
        Ok(())
    })?;
    show(call, &record, viewer)
}

pub(super) fn patch(call: &Call) -> Result<Response, Refusal> {
    let body = call.json()?;
    let (record, viewer) = call.state.write(call.user(), call.calendar(), |calendar, role| {
        Ok((calendar.patch(call.event(), &body, write(call))?, Viewer::new(calendar, role)))
    })?;
    show(call, &record, viewer)
}

pub(super) fn update(call: &Call) -> Result<Response, Refusal> {
    let body = call.json()?;
    let (record, viewer) = call.state.write(call.user(), call.calendar(), |calendar, role| {
        Ok((calendar.update(call.event(), &body, write(call))?, Viewer::new(calendar, role)))
    })?;
    show(call, &record, viewer)
}

pub(super) fn delete(call: &Call) -> Result<Response, Refusal> {
    call.state.write(call.user(), call.calendar(), |calendar, _| calendar.delete(call.event(), write(call)))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
