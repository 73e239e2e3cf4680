//! Holds: taken, extended, swapped and given back while a call goes on.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::{
    Json, Path, Problem, Query, Rfc3339,
    api::Api,
    availability::check_call,
    bookings::{answer, key, render},
    wire::{Said, no_length, what},
};
use crate::{
    auth::Caller,
    booking::{Change, HOLD_LIFE_MAX, HoldChange, NewHold, Wish},
    domain::{BookingId, BusinessId},
    store::api_keys::Scope,
};

/// How long a slot is held unless the receptionist says otherwise, in seconds.
const TTL_DEFAULT_S: u32 = 120;
/// The shortest and the longest time that may be asked for, in seconds.
const TTL_S: std::ops::RangeInclusive<u32> = 5..=900;

/// Body of `POST holds`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HoldInput {
    start: Rfc3339,
    service: Option<String>,
    duration_min: Option<i64>,
    resource: Option<String>,
    call_id: String,
    ttl_s: Option<u32>,
}

/// Body of `PATCH holds/{id}`. What is absent stays.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HoldPatch {
    start: Option<Rfc3339>,
    service: Option<String>,
    duration_min: Option<i64>,
    resource: Option<String>,
    ttl_s: Option<u32>,
}

/// Parameters of `DELETE holds`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfCall {
    call_id: String,
}

fn ttl(seconds: u32) -> Result<TimeDelta, Problem> {
    if TTL_S.contains(&seconds) {
        return Ok(TimeDelta::seconds(seconds.into()));
    }
    let (least, most, all) = (TTL_S.start(), TTL_S.end(), HOLD_LIFE_MAX.num_minutes());
    let detail = format!("{least} to {most} seconds are expected; a hold can be extended up to {all} minutes in all");
    Err(Problem::invalid("/ttl_s", detail))
}

/// Holds a slot for a call.
pub(super) async fn create(
    State(api): State<Api>,
    caller: Caller,
    Path(business): Path<BusinessId>,
    Query(said): Query<Said>,
    headers: HeaderMap,
    Json(body): Json<HoldInput>,
) -> Result<Response, Problem> {
    caller.at(business, Scope::Receptionist)?;
    let saying = said.read()?;
    let key = key(&headers, &saying.operation("hold"), &body)?;
    check_call(Some(&body.call_id), "/call_id")?;
    let new = NewHold {
        wish: Wish {
            what: what(body.service, body.duration_min, "/duration_min")?.ok_or_else(|| no_length("/service"))?,
            resource: body.resource,
            call_id: Some(body.call_id.clone()),
        },
        start: body.start.0,
        ttl: ttl(body.ttl_s.unwrap_or(TTL_DEFAULT_S))?,
        call_id: body.call_id,
    };
    Ok(answer(api.desk.hold(business, new, key, render(saying)).await.map_err(|error| saying.refuse(error))?))
}

/// Extends a hold, or swaps it for another slot.
pub(super) async fn change(
    State(api): State<Api>,
    caller: Caller,
    Path((business, id)): Path<(BusinessId, BookingId)>,
    Query(said): Query<Said>,
    headers: HeaderMap,
    Json(body): Json<HoldPatch>,
) -> Result<Response, Problem> {
    caller.at(business, Scope::Receptionist)?;
    let saying = said.read()?;
    let key = key(&headers, &saying.operation(&format!("change hold {id}")), &body)?;
    let slot = Change {
        start: body.start.map(|Rfc3339(start)| start),
        what: what(body.service, body.duration_min, "/duration_min")?,
        resource: body.resource,
        ..Change::default()
    };
    let change = HoldChange { ttl: body.ttl_s.map(ttl).transpose()?, slot };
    if change.ttl.is_none() && !change.slot.moves() {
        return Err(Problem::invalid("/ttl_s", "give `ttl_s` to extend the hold, or `start` to swap it"));
    }
    Ok(answer(
        api.desk.change_hold(business, id, change, key, render(saying)).await.map_err(|error| saying.refuse(error))?,
    ))
}

/// Gives a hold back. Doing so twice is harmless.
pub(super) async fn release(
    State(api): State<Api>,
    caller: Caller,
    Path((business, id)): Path<(BusinessId, BookingId)>,
) -> Result<StatusCode, Problem> {
    caller.at(business, Scope::Receptionist)?;
    api.desk.release(business, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives all holds of a call back: the caller hung up.
pub(super) async fn release_call(
    State(api): State<Api>,
    caller: Caller,
    Path(business): Path<BusinessId>,
    Query(query): Query<OfCall>,
) -> Result<StatusCode, Problem> {
    caller.at(business, Scope::Receptionist)?;
    check_call(Some(&query.call_id), "call_id")?;
    api.desk.release_call(business, query.call_id).await?;
    Ok(StatusCode::NO_CONTENT)
}
