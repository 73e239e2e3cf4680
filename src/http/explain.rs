//! Why a moment is busy, free, closed or not known: for the owner and the operator.

use axum::extract::State;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Json, Path, Problem, Query, Rfc3339,
    api::Api,
    wire::{StandingBody, local},
};
use crate::{
    auth::Caller,
    availability::{Door, Reason},
    booking::{Cause, CauseKind, ExplainQuestion, ResourceExplained, Verdict},
    domain::{BusinessId, Interval, ResourceId},
    store::api_keys::Scope,
};

/// Parameters of `GET availability/explain`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExplainQuery {
    at: Rfc3339,
    resource: Option<String>,
    service: Option<String>,
}

/// Why a moment is what it is.
#[derive(Debug, Serialize)]
pub(super) struct ExplainBody {
    at: String,
    /// Of a service that needs several resources at once: whether all of it could begin then.
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<StartBody>,
    resources: Vec<ResourceBody>,
    /// There are more resources than are told.
    truncated: bool,
    #[serde(flatten)]
    standing: StandingBody,
}

#[derive(Debug, Serialize)]
struct ResourceBody {
    resource: ResourceId,
    name: String,
    /// Which of the groups that the service needs, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<usize>,
    verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<StartBody>,
    causes: Vec<Value>,
    /// There are more causes than are told, or than were looked through.
    truncated: bool,
}

/// Whether the service could begin then.
#[derive(Debug, Serialize)]
struct StartBody {
    available: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
}

/// Why is this moment busy, or free?
pub(super) async fn explain(
    State(api): State<Api>,
    caller: Caller,
    Path(business): Path<BusinessId>,
    Query(query): Query<ExplainQuery>,
) -> Result<Json<ExplainBody>, Problem> {
    caller.at(business, Scope::Owner)?;
    let Rfc3339(at) = query.at;
    let question = ExplainQuestion { at, resource: query.resource, service: query.service };
    let explanation = api.desk.explain(business, question).await?;
    let zone = explanation.zone;
    Ok(Json(ExplainBody {
        at: local(at, zone),
        start: explanation.together.map(start),
        resources: explanation.resources.into_iter().map(|resource| told(resource, zone)).collect(),
        truncated: explanation.truncated,
        standing: StandingBody::new(&explanation.standing, zone),
    }))
}

fn start(start: Result<(), Reason>) -> StartBody {
    StartBody {
        available: match start {
            Ok(()) => Some(true),
            Err(reason) if reason.is_unknown() => None,
            Err(_) => Some(false),
        },
        reason: start.err(),
    }
}

fn told(explained: ResourceExplained, zone: Tz) -> ResourceBody {
    ResourceBody {
        resource: explained.resource,
        name: explained.name,
        group: explained.group,
        verdict: explained.verdict,
        start: explained.start.map(start),
        causes: explained.causes.iter().map(|one| cause(one, zone)).collect(),
        truncated: explained.truncated,
    }
}

/// One cause; what is absent is left out.
fn cause(cause: &Cause, zone: Tz) -> Value {
    let time = |at: DateTime<Utc>| local(at, zone);
    let maybe = |at: Option<DateTime<Utc>>| at.map(time);
    let (start, end) = (|of: &Interval| time(of.start()), |of: &Interval| time(of.end()));
    let mut body = match &cause.kind {
        CauseKind::Event { calendar, event_id, series_id, occurs, interval, title, ignored } => json!({
            "type": "event", "calendar": calendar, "event_id": event_id, "series_id": series_id, "occurs": occurs,
            "start": start(interval), "end": end(interval), "title": title, "ignored": ignored,
        }),
        CauseKind::OwnEvent { calendar, event_id, booking, interval } => json!({
            "type": "own_event", "calendar": calendar, "event_id": event_id, "booking": booking,
            "start": start(interval), "end": end(interval),
        }),
        CauseKind::Booking { booking, state, interval, claim, expires_at } => json!({
            "type": if expires_at.is_some() { "hold" } else { "booking" }, "id": booking, "status": state,
            "start": start(interval), "end": end(interval), "occupied_from": start(claim), "occupied_to": end(claim),
            "expires_at": maybe(*expires_at),
        }),
        CauseKind::Hours { own, door } => {
            let of = if *own { "resource" } else { "business" };
            match door {
                Door::Open { day, opens, closes } => {
                    json!({ "type": "hours", "of": of, "day": day, "opens": opens, "closes": closes })
                }
                Door::Closed { opens } => json!({ "type": "hours", "of": of, "opens_next": maybe(*opens) }),
            }
        }
        CauseKind::Override { own, dates, door } => {
            let of = if *own { "resource" } else { "business" };
            let (opens, closes, next) = match door {
                Door::Open { opens, closes, .. } => (Some(opens), Some(closes), None),
                Door::Closed { opens } => (None, None, maybe(*opens)),
            };
            json!({
                "type": "override", "of": of, "from": dates.first, "to": dates.last, "label": dates.label,
                "opens": opens, "closes": closes, "opens_next": next,
            })
        }
        CauseKind::Rule { rule, from, to } => {
            json!({ "type": "rule", "rule": rule, "from": maybe(*from), "to": maybe(*to) })
        }
        CauseKind::Coverage { calendar, covered } => json!({
            "type": "coverage", "calendar": calendar,
            "why": if covered.is_some() { "outside" } else { "never_read" },
            "covered_from": covered.as_ref().map(start), "covered_to": covered.as_ref().map(end),
        }),
        CauseKind::Stale { calendar, as_of, doubt } => {
            json!({ "type": "stale", "calendar": calendar, "as_of": maybe(*as_of), "why": doubt.as_str() })
        }
    };
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
        fields.insert("blocks".to_owned(), cause.blocks.into());
    }
    body
}
