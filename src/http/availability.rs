//! Is it free, when is it free, when is somebody busy.

use axum::extract::State;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::{
    Json, Path, Problem, Query, Rfc3339,
    api::Api,
    wire::{AlternativeBody, SlotBody, StandingBody, language, local, no_length, range, what},
};
use crate::{
    auth::Caller,
    availability::Reason,
    booking::{Gap, SlotsQuestion, What, Wish},
    domain::{BusinessId, ResourceId},
    store::api_keys::Scope,
};

/// Most days that one question about slots may span.
const SLOTS_DAYS_MAX: i64 = 62;
/// Most days that one question about busy time may span.
const BUSY_DAYS_MAX: i64 = 366;
/// Slots given unless asked for fewer or more.
const SLOTS_DEFAULT: usize = 20;
/// Most slots in one answer.
const SLOTS_MAX: usize = 500;
/// The oldest mirror that a caller may ask for, in seconds.
const STALENESS_MAX_S: u32 = 366 * 86_400;

/// Parameters of `GET availability`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AvailabilityQuery {
    start: Rfc3339,
    end: Option<Rfc3339>,
    duration_min: Option<i64>,
    service: Option<String>,
    resource: Option<String>,
    max_staleness_s: Option<u32>,
    call_id: Option<String>,
    language: Option<String>,
}

/// The answer to "is it free?".
#[derive(Debug, Serialize)]
pub(super) struct AvailabilityBody {
    /// Yes, no, or null when it is not known.
    available: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    start: String,
    end: String,
    /// Who could do it.
    resources: Vec<ResourceId>,
    alternatives: Vec<AlternativeBody>,
    #[serde(flatten)]
    standing: StandingBody,
}

/// Is this time free?
pub(super) async fn availability(
    State(api): State<Api>,
    caller: Caller,
    Path(business): Path<BusinessId>,
    Query(query): Query<AvailabilityQuery>,
) -> Result<Json<AvailabilityBody>, Problem> {
    caller.at(business, Scope::Receptionist)?;
    let Rfc3339(start) = query.start;
    check_call(query.call_id.as_deref(), "call_id")?;
    let what = match (what(query.service, query.duration_min, "duration_min")?, query.end) {
        (Some(_), Some(_)) => {
            return Err(Problem::invalid("end", "give `end`, or `service`, or `duration_min`; one of them"));
        }
        (Some(what), None) => what,
        (None, Some(Rfc3339(end))) if end > start => What::Lasting(range(start, end, 1).map_err(at_end)?.duration()),
        (None, Some(_)) => return Err(Problem::invalid("end", "it must be after `start`")),
        (None, None) => {
            return Err(Problem::invalid("end", "give `end`, or `service` (id or name), or `duration_min`"));
        }
    };
    let max_staleness = staleness(query.max_staleness_s)?;
    let language = language("language", query.language.as_deref())?;
    let wish = Wish { what, resource: query.resource, call_id: query.call_id };
    let answer = api.desk.is_free(business, wish, start, max_staleness).await?;
    let voice = answer.voice.speaking(language);
    Ok(Json(AvailabilityBody {
        available: answer.available,
        reason: answer.reason,
        start: local(answer.interval.start(), voice.zone),
        end: local(answer.interval.end(), voice.zone),
        resources: answer.resources,
        alternatives: answer.alternatives.iter().map(|one| AlternativeBody::new(one, voice, answer.now)).collect(),
        standing: StandingBody::new(&answer.standing, voice.zone),
    }))
}

/// The oldest last look at Google that the caller tolerates.
fn staleness(max_staleness_s: Option<u32>) -> Result<Option<TimeDelta>, Problem> {
    match max_staleness_s {
        Some(seconds) if seconds > STALENESS_MAX_S => {
            Err(Problem::invalid("max_staleness_s", format!("0 to {STALENESS_MAX_S} seconds are expected")))
        }
        seconds => Ok(seconds.map(|seconds| TimeDelta::seconds(seconds.into()))),
    }
}

/// Somebody whose time is not known, or not all of it.
#[derive(Debug, Serialize)]
struct GapBody {
    resource: ResourceId,
    reason: Reason,
}

/// What is missing from an answer that tells of several people's time.
#[derive(Debug, Serialize)]
struct GapsBody {
    /// Why something is missing; absent when all that was asked is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_known: Vec<GapBody>,
}

impl GapsBody {
    fn new(gaps: &[Gap]) -> Self {
        let stale = gaps.iter().find(|gap| gap.reason == Reason::Stale);
        Self {
            reason: stale.or(gaps.first()).map(|gap| gap.reason),
            not_known: gaps.iter().map(|gap| GapBody { resource: gap.resource, reason: gap.reason }).collect(),
        }
    }
}

fn at_end(_: Problem) -> Problem {
    Problem::invalid("end", "at most one day after `start`")
}

/// Longest name that a receptionist may give to a call.
pub(super) const CALL_ID_MAX: usize = 128;

/// Refuses names of calls that cannot be kept. `field` is how the request calls it.
pub(super) fn check_call(call: Option<&str>, field: &'static str) -> Result<(), Problem> {
    match call {
        Some(call) if call.is_empty() || call.len() > CALL_ID_MAX || call.chars().any(char::is_control) => {
            Err(Problem::invalid(field, format!("1 to {CALL_ID_MAX} printable characters are expected")))
        }
        _ => Ok(()),
    }
}

/// Parameters of `GET slots`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SlotsQuery {
    from: Rfc3339,
    to: Rfc3339,
    service: Option<String>,
    duration_min: Option<i64>,
    resource: Option<String>,
    limit: Option<usize>,
    #[serde(default)]
    diverse: bool,
    max_staleness_s: Option<u32>,
    call_id: Option<String>,
    language: Option<String>,
}

/// The answer to "when can I come?".
#[derive(Debug, Serialize)]
pub(super) struct SlotsBody {
    slots: Vec<SlotBody>,
    #[serde(flatten)]
    gaps: GapsBody,
    #[serde(flatten)]
    standing: StandingBody,
}

/// When can I come?
pub(super) async fn slots(
    State(api): State<Api>,
    caller: Caller,
    Path(business): Path<BusinessId>,
    Query(query): Query<SlotsQuery>,
) -> Result<Json<SlotsBody>, Problem> {
    caller.at(business, Scope::Receptionist)?;
    check_call(query.call_id.as_deref(), "call_id")?;
    let limit = query.limit.unwrap_or(SLOTS_DEFAULT);
    if !(1..=SLOTS_MAX).contains(&limit) {
        return Err(Problem::invalid("limit", format!("1 to {SLOTS_MAX} are expected")));
    }
    let language = language("language", query.language.as_deref())?;
    let question = SlotsQuestion {
        range: range(query.from.0, query.to.0, SLOTS_DAYS_MAX)?,
        wish: Wish {
            what: what(query.service, query.duration_min, "duration_min")?.ok_or_else(|| no_length("service"))?,
            resource: query.resource,
            call_id: query.call_id,
        },
        limit,
        diverse: query.diverse,
    };
    let answer = api.desk.free_slots(business, question, staleness(query.max_staleness_s)?).await?;
    let voice = answer.voice.speaking(language);
    Ok(Json(SlotsBody {
        gaps: GapsBody::new(&answer.gaps),
        slots: answer.slots.iter().map(|slot| SlotBody::new(slot, voice, answer.now)).collect(),
        standing: StandingBody::new(&answer.standing, voice.zone),
    }))
}

/// Parameters of `GET busy`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BusyQuery {
    from: Rfc3339,
    to: Rfc3339,
    resource: Option<String>,
    max_staleness_s: Option<u32>,
}

/// The answer to "when is somebody busy?". No titles, like Google's freeBusy.
#[derive(Debug, Serialize)]
pub(super) struct BusyBody {
    /// Null when the time of somebody asked about may not be told: a list would look as if they were free.
    busy: Option<Vec<BusyInterval>>,
    #[serde(flatten)]
    gaps: GapsBody,
    #[serde(flatten)]
    standing: StandingBody,
}

#[derive(Debug, Serialize)]
struct BusyInterval {
    start: String,
    end: String,
    resource: ResourceId,
}

/// When is somebody busy?
pub(super) async fn busy(
    State(api): State<Api>,
    caller: Caller,
    Path(business): Path<BusinessId>,
    Query(query): Query<BusyQuery>,
) -> Result<Json<BusyBody>, Problem> {
    caller.at(business, Scope::Receptionist)?;
    let range = range(query.from.0, query.to.0, BUSY_DAYS_MAX)?;
    let answer = api.desk.busy(business, query.resource, range, staleness(query.max_staleness_s)?).await?;
    let told = |busy: &crate::booking::Busy| BusyInterval {
        start: local(busy.interval.start(), answer.zone),
        end: local(busy.interval.end(), answer.zone),
        resource: busy.resource,
    };
    Ok(Json(BusyBody {
        busy: answer.busy.map(|busy| busy.iter().map(told).collect()),
        gaps: GapsBody::new(&answer.gaps),
        standing: StandingBody::new(&answer.standing, answer.zone),
    }))
}
