//! Where the owner's calendar and the bookings disagree.

use axum::extract::State;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::{Json, Path, Problem, Query, api::Api, wire::local};
use crate::{
    auth::Caller,
    domain::{BookingId, BusinessId, CalendarId, ResourceId, id::ConflictId},
    store::{
        self,
        api_keys::Scope,
        conflicts::{Conflict, Kind},
    },
};

const PAGE_DEFAULT: usize = 50;
const PAGE_MAX: usize = 200;

/// A conflict as answers tell it. Says nothing of whose event it is or what it is called.
#[derive(Debug, Serialize)]
pub(super) struct ConflictBody {
    id: ConflictId,
    booking: BookingId,
    kind: &'static str,
    resource: ResourceId,
    /// The calendar of the event, as slotd names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    calendar: Option<CalendarId>,
    /// Google's id of the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    /// The other booking.
    #[serde(skip_serializing_if = "Option::is_none")]
    other_booking: Option<String>,
    /// When the event or the other booking is; absent when that cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<String>,
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved_at: Option<String>,
}

impl ConflictBody {
    pub(super) fn new(conflict: &Conflict, zone: Tz) -> Self {
        let meets = conflict.meets.clone();
        let (event_id, other_booking) = match conflict.kind {
            Kind::Booking => (None, Some(meets)),
            Kind::Event | Kind::Own(_) => (Some(meets), None),
        };
        Self {
            id: conflict.id,
            booking: conflict.booking,
            kind: conflict.kind.as_str(),
            resource: conflict.resource,
            calendar: conflict.calendar,
            event_id,
            other_booking,
            start: conflict.interval.map(|interval| local(interval.start(), zone)),
            end: conflict.interval.map(|interval| local(interval.end(), zone)),
            since: local(conflict.since, zone),
            resolved_at: conflict.resolved.map(|at| local(at, zone)),
        }
    }
}

/// Parameters of `GET conflicts`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    status: Option<String>,
    cursor: Option<String>,
    limit: Option<usize>,
}

/// A page of conflicts, in the order in which they were found.
#[derive(Debug, Serialize)]
pub(super) struct ListBody {
    conflicts: Vec<ConflictBody>,
    /// Where the next page begins; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<ConflictId>,
}

/// Lists conflicts.
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
    let open = match query.status.as_deref() {
        None => None,
        Some("open") => Some(true),
        Some("resolved") => Some(false),
        Some(other) => return Err(Problem::invalid("status", format!("`{other}` is none of open, resolved"))),
    };
    let wrong = || Problem::invalid("cursor", "give `next_cursor` of the page before, unchanged");
    let after = query.cursor.map(|text| text.parse().map_err(|_| wrong())).transpose()?;
    let zone = api.business(business).await?.time_zone;
    let find = store::work::<Vec<Conflict>, Problem, _>(move |tx| {
        Box::pin(async move { Ok(tx.conflicts(business, open, after, limit + 1).await?) })
    });
    let mut found = api.store.read(find).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next_cursor = found.last().filter(|_| more).map(|last| last.id);
    Ok(Json(ListBody { conflicts: found.iter().map(|one| ConflictBody::new(one, zone)).collect(), next_cursor }))
}
