//! `events.get`, `insert`, `patch`, `update` and `delete`.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono_tz::Tz;

use super::Call;
use super::lag::seen;
use crate::model::{Calendar, Record, Role, View, Write, parse_zone};
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
        let viewer = Viewer::new(calendar, role);
        (seen(call, calendar, 0).find(call.event()).ok_or_else(Refusal::not_found)?, viewer)
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
