//! Bookings: made, found, moved, edited, cancelled.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::DateTime;
use serde::{Deserialize, Serialize};

use super::{
    Json, Path, Problem, Query, Rfc3339,
    api::Api,
    availability::check_call,
    conflicts::ConflictBody,
    customer::{CustomerInput, CustomerPatch, text},
    wire::{Said, Saying, language, local, no_length, what},
};
use crate::{
    auth::Caller,
    availability::spoken,
    booking::{Asked, Booked, Change, Key, NewBooking, Reply, Wish},
    crypto::sha256,
    domain::{
        BookingId, BusinessId, ResourceId, ServiceId,
        booking::State as Stage,
        contact::{Email, Language},
    },
    store::{
        api_keys::Scope,
        bookings::{CalendarSync, Filter},
        cancellations::Gone,
        claims::HistoryStep,
    },
};

/// Bookings in one page of a list, and the most.
const PAGE_DEFAULT: usize = 50;
const PAGE_MAX: usize = 200;
/// Longest idempotency key.
const KEY_MAX: usize = 255;
/// Longest reference of the receptionist's own.
pub(super) const REFERENCE_MAX: usize = 128;
/// States that a list can be narrowed to.
const STATES: [&str; 6] = ["held", "confirmed", "completed", "cancelled", "expired", "released"];

/// A booking as answers tell it.
#[derive(Debug, Serialize)]
pub(super) struct BookingBody {
    id: BookingId,
    status: &'static str,
    start: String,
    end: String,
    /// The lead resource.
    resource: ResourceId,
    resources: Vec<ResourceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<ServiceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer: Option<CustomerBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_id: Option<String>,
    calendar_sync: CalendarSync,
    /// Google's id of the calendar event.
    event_id: Option<String>,
    /// Whether the customer is invited to the event: `pending`, `sent`, or `refused` by Google.
    #[serde(skip_serializing_if = "Option::is_none")]
    invitation: Option<&'static str>,
    /// The event was deleted with many others: `asked`, the owner is asked whether the booking ends too; `kept`, the owner
    /// keeps the booking without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_gone: Option<&'static str>,
    /// How to say its time on the phone.
    spoken: String,
    /// Of a hold: from then on the slot is free again.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<&'static str>,
    /// Where the owner's calendar and the booking disagree now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conflicts: Vec<ConflictBody>,
    created_at: String,
    updated_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<Vec<StepBody>>,
}

#[derive(Debug, Serialize)]
struct CustomerBody {
    name: String,
    phone: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<Email>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<Language>,
}

#[derive(Debug, Serialize)]
struct StepBody {
    at: String,
    what: String,
    source: String,
    status: String,
    start: String,
    end: String,
}

impl BookingBody {
    pub(super) fn new(booked: &Booked, saying: Saying, history: Option<&[HistoryStep]>) -> Self {
        let (booking, voice) = (&booked.booking, booked.voice.speaking(saying.language()));
        let zone = voice.zone;
        let step = |step: &HistoryStep| StepBody {
            at: local(step.at, zone),
            what: step.what.clone(),
            source: step.source.clone(),
            status: step.state.clone(),
            start: local(step.interval.start(), zone),
            end: local(step.interval.end(), zone),
        };
        let stands = matches!(booking.state, Stage::Confirmed { .. } | Stage::Completed { .. });
        let gone = booking.link.as_ref().and_then(|link| link.gone).filter(|_| stands);
        Self {
            id: booking.id,
            status: booking.state.as_str(),
            start: local(booking.interval.start(), zone),
            end: local(booking.interval.end(), zone),
            resource: booking.resource,
            resources: booked.resources.clone(),
            service: booking.service,
            customer: booking.customer.as_ref().map(|customer| CustomerBody {
                name: customer.name.clone(),
                phone: customer.phone.clone(),
                email: customer.email.clone(),
                language: customer.language.clone(),
            }),
            notes: booking.customer.as_ref().and_then(|customer| customer.notes.clone()),
            reference: booking.reference.clone(),
            call_id: booking.call_id.clone(),
            calendar_sync: booking.calendar_sync,
            event_id: booking.link.as_ref().map(|link| link.event_id.clone()),
            invitation: booked.invitation,
            event_gone: gone.and_then(|gone| match gone {
                Gone::Asked => Some("asked"),
                Gone::Kept => Some("kept"),
                Gone::Doubted | Gone::Found => None,
            }),
            spoken: spoken(booking.interval.start(), voice, booked.now),
            expires_at: match booking.state {
                crate::domain::booking::State::Held { until } => Some(local(until, zone)),
                _ => None,
            },
            warning: booked.warning,
            conflicts: booked.conflicts.iter().map(|conflict| ConflictBody::new(conflict, zone)).collect(),
            created_at: local(booking.created_at, zone),
            updated_at: local(booking.updated_at, zone),
            history: history.map(|steps| steps.iter().map(step).collect()),
        }
    }
}

/// Makes the body of an answer that may be given again.
pub(super) fn render(saying: Saying) -> impl Fn(&Booked) -> Vec<u8> + Send + Sync + 'static {
    move |booked| serde_json::to_vec(&BookingBody::new(booked, saying, None)).unwrap_or_default()
}

pub(super) fn answer(reply: Reply) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK);
    let mut response = (status, Body::from(reply.body)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if reply.replayed {
        response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    response
}

/// The idempotency key of a request, bound to what the request asks.
pub(super) fn key(headers: &HeaderMap, operation: &str, request: &impl Serialize) -> Result<Option<Key>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| (1..=KEY_MAX).contains(&text.len()));
    let expected = || Problem::invalid("Idempotency-Key", format!("1 to {KEY_MAX} ASCII characters are expected"));
    let text = text.ok_or_else(expected)?.to_owned();
    let mut hashed = operation.as_bytes().to_vec();
    hashed.push(0);
    serde_json::to_writer(&mut hashed, request).map_err(Problem::internal)?;
    Ok(Some(Key { text, request_hash: sha256(&hashed) }))
}

/// Body of `POST bookings`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateBody {
    /// A hold that becomes the booking; what is held may be left out then.
    hold_id: Option<BookingId>,
    start: Option<Rfc3339>,
    service: Option<String>,
    duration_min: Option<i64>,
    resource: Option<String>,
    call_id: Option<String>,
    customer: CustomerInput,
    notes: Option<String>,
    reference: Option<String>,
}

/// Takes a booking.
pub(super) async fn create(
    State(api): State<Api>,
    caller: Caller,
    Path(business): Path<BusinessId>,
    Query(said): Query<Said>,
    headers: HeaderMap,
    Json(mut body): Json<CreateBody>,
) -> Result<Response, Problem> {
    caller.at(business, Scope::Receptionist)?;
    let saying = said.read()?;
    let key = key(&headers, &saying.operation("create"), &body)?;
    check_call(body.call_id.as_deref(), "/call_id")?;
    let region = api.region(business).await?;
    let new = NewBooking {
        asked: asked(&mut body)?,
        customer: body.customer.read(body.notes, &region)?,
        reference: text("/reference", body.reference, REFERENCE_MAX)?,
        call_id: body.call_id,
    };
    Ok(answer(api.desk.book(business, new, key, render(saying)).await.map_err(|error| saying.refuse(error))?))
}

fn asked(body: &mut CreateBody) -> Result<Asked, Problem> {
    let what = what(body.service.take(), body.duration_min, "/duration_min")?;
    let (start, resource) = (body.start.map(|Rfc3339(start)| start), body.resource.take());
    match body.hold_id {
        Some(id) => Ok(Asked::Hold { id, start, what, resource }),
        None => Ok(Asked::Time {
            start: start.ok_or_else(|| Problem::invalid("/start", "give `start`, or `hold_id`"))?,
            wish: Wish { what: what.ok_or_else(|| no_length("/service"))?, resource, call_id: body.call_id.clone() },
        }),
    }
}

/// One booking, with its history.
pub(super) async fn show(
    State(api): State<Api>,
    caller: Caller,
    Path((business, id)): Path<(BusinessId, BookingId)>,
    Query(said): Query<Said>,
) -> Result<Json<BookingBody>, Problem> {
    caller.at(business, Scope::Receptionist)?;
    let saying = said.read()?;
    let (booked, history) = api.desk.booking(business, id).await?;
    Ok(Json(BookingBody::new(&booked, saying, Some(&history))))
}

/// Parameters of `GET bookings`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    from: Option<Rfc3339>,
    to: Option<Rfc3339>,
    status: Option<String>,
    call_id: Option<String>,
    reference: Option<String>,
    cursor: Option<String>,
    limit: Option<usize>,
    language: Option<String>,
}

/// A page of bookings, in the order of their starts.
#[derive(Debug, Serialize)]
pub(super) struct ListBody {
    bookings: Vec<BookingBody>,
    /// Where the next page begins; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// Lists bookings.
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Path(business): Path<BusinessId>,
    Query(query): Query<ListQuery>,
) -> Result<Json<ListBody>, Problem> {
    caller.at(business, Scope::Receptionist)?;
    let limit = query.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::invalid("limit", format!("1 to {PAGE_MAX} are expected")));
    }
    if let Some(status) = query.status.as_deref().filter(|status| !STATES.contains(status)) {
        return Err(Problem::invalid("status", format!("`{status}` is none of {}", STATES.join(", "))));
    }
    check_call(query.call_id.as_deref(), "call_id")?;
    let saying = Saying::new(language("language", query.language.as_deref())?);
    if let (Some(Rfc3339(from)), Some(Rfc3339(to))) = (query.from, query.to)
        && to <= from
    {
        return Err(Problem::invalid("to", "it must be after `from`"));
    }
    let reference = query.reference.map(|wanted| text("reference", Some(wanted), REFERENCE_MAX)).transpose()?;
    if reference == Some(None) {
        return Err(Problem::invalid("reference", "it is empty: give a reference, or leave it out"));
    }
    let reference = reference.flatten();
    let after = query.cursor.as_deref().map(read_cursor).transpose()?;
    let filter = Filter {
        from: query.from.map(|Rfc3339(at)| at),
        to: query.to.map(|Rfc3339(at)| at),
        state: query.status,
        call_id: query.call_id,
        reference,
        after,
    };
    let mut found = api.desk.bookings(business, filter, limit + 1).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next_cursor = found.last().filter(|_| more).map(|last| cursor(&last.booking));
    Ok(Json(ListBody {
        bookings: found.iter().map(|booked| BookingBody::new(booked, saying, None)).collect(),
        next_cursor,
    }))
}

fn cursor(last: &crate::store::bookings::Booking) -> String {
    format!("{}.{}", last.interval.start().timestamp_micros(), last.id)
}

fn read_cursor(text: &str) -> Result<(DateTime<chrono::Utc>, BookingId), Problem> {
    let parts = text.split_once('.');
    let start = parts.and_then(|(start, _)| DateTime::from_timestamp_micros(start.parse().ok()?));
    let id = parts.and_then(|(_, id)| id.parse().ok());
    start.zip(id).ok_or_else(|| Problem::invalid("cursor", "give `next_cursor` of the page before, unchanged"))
}

/// Body of `PATCH bookings/{id}`. What is absent stays.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeBody {
    start: Option<Rfc3339>,
    service: Option<String>,
    duration_min: Option<i64>,
    resource: Option<String>,
    customer: Option<CustomerPatch>,
    notes: Option<String>,
    reference: Option<String>,
}

/// Moves or edits a booking.
pub(super) async fn change(
    State(api): State<Api>,
    caller: Caller,
    Path((business, id)): Path<(BusinessId, BookingId)>,
    Query(said): Query<Said>,
    headers: HeaderMap,
    Json(body): Json<ChangeBody>,
) -> Result<Response, Problem> {
    caller.at(business, Scope::Receptionist)?;
    let saying = said.read()?;
    let key = key(&headers, &saying.operation(&format!("change {id}")), &body)?;
    let what = what(body.service, body.duration_min, "/duration_min")?;
    let customer = match (body.customer, body.notes) {
        (None, None) => None,
        (customer, notes) => {
            let region = api.region(business).await?;
            customer.unwrap_or_default().read(notes, &region).map(Some)?
        }
    };
    let reference = body.reference.map(|new| text("/reference", Some(new), REFERENCE_MAX)).transpose()?;
    let change =
        Change { start: body.start.map(|Rfc3339(start)| start), what, resource: body.resource, customer, reference };
    Ok(answer(api.desk.change(business, id, change, key, render(saying)).await.map_err(|error| saying.refuse(error))?))
}

/// Cancels a booking. Cancelling twice is harmless.
pub(super) async fn cancel(
    State(api): State<Api>,
    caller: Caller,
    Path((business, id)): Path<(BusinessId, BookingId)>,
    Query(said): Query<Said>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.at(business, Scope::Receptionist)?;
    let saying = said.read()?;
    let key = key(&headers, &saying.operation(&format!("cancel {id}")), &())?;
    Ok(answer(api.desk.cancel(business, id, key, render(saying)).await?))
}
