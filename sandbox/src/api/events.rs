//! `events.get`, `insert`, `patch`, `update` and `delete`.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Call;
use super::lag::seen;
use crate::model::{Record, Role, View, Write, parse_zone};
use crate::refusal::Refusal;

/// Most attendees that are shown when nothing else is asked for.
const ATTENDEES_MAX: usize = 100_000;

/// How the caller wants events shown.
pub(super) fn view(call: &Call, role: Role, deleted_details: bool) -> Result<View, Refusal> {
    Ok(View {
        role,
        zone: call.query.get("timeZone").map(parse_zone).transpose()?,
        attendees_max: call.query.count("maxAttendees", ATTENDEES_MAX)?,
        deleted_details,
    })
}

fn write(call: &Call) -> Write<'_> {
    Write { actor: call.user(), if_match: call.header(header::IF_MATCH), import: false }
}

fn show(call: &Call, record: &Record, role: Role) -> Result<Response, Refusal> {
    call.answer(record.show(view(call, role, true)?))
}

/// A deleted event is still found, with `status: cancelled`.
pub(super) fn get(call: &Call) -> Result<Response, Refusal> {
    let (record, role) = {
        let model = call.state.model();
        let (calendar, role) = model.calendar(call.user(), call.calendar())?;
        (seen(call, calendar, 0).find(call.event()).ok_or_else(Refusal::not_found)?, role)
    };
    show(call, &record, role)
}

pub(super) fn insert(call: &Call) -> Result<Response, Refusal> {
    let body = call.json()?;
    let (record, role) = call
        .state
        .write(call.user(), call.calendar(), |calendar, role| Ok((calendar.insert(&body, write(call))?, role)))?;
    show(call, &record, role)
}

pub(super) fn patch(call: &Call) -> Result<Response, Refusal> {
    let body = call.json()?;
    let (record, role) = call.state.write(call.user(), call.calendar(), |calendar, role| {
        Ok((calendar.patch(call.event(), &body, write(call))?, role))
    })?;
    show(call, &record, role)
}

pub(super) fn update(call: &Call) -> Result<Response, Refusal> {
    let body = call.json()?;
    let (record, role) = call.state.write(call.user(), call.calendar(), |calendar, role| {
        Ok((calendar.update(call.event(), &body, write(call))?, role))
    })?;
    show(call, &record, role)
}

pub(super) fn delete(call: &Call) -> Result<Response, Refusal> {
    call.state.write(call.user(), call.calendar(), |calendar, _| calendar.delete(call.event(), write(call)))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
