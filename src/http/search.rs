//! Finding a caller's bookings.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

use super::{
    Json, Path, Problem, Rfc3339,
    api::Api,
    availability::check_call,
    bookings::{BookingBody, REFERENCE_MAX},
    customer::{NAME_MAX, phone, text},
    wire::{Saying, local},
};
use crate::{
    auth::Caller,
    availability::spoken,
    booking::{Booked, Facts, Search},
    domain::{BookingId, BusinessId, ResourceId, ServiceId},
    store::{
        api_keys::Scope,
        search::{Sought, Which},
    },
};

/// Body of `POST bookings/search`: one of `phone`, `reference` and `call_id`, and what proves who asks.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchInput {
    phone: Option<String>,
    reference: Option<String>,
    call_id: Option<String>,
    last_name: Option<String>,
    start: Option<Rfc3339>,
}

/// What a receptionist needs to know of a booking to move it or to call it off. The name is what the caller said, or is
/// not told.
#[derive(Debug, Serialize)]
struct FoundBody {
    id: BookingId,
    status: &'static str,
    start: String,
    end: String,
    resource: ResourceId,
    resources: Vec<ResourceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<ServiceId>,
    spoken: String,
}

/// What was found.
#[derive(Debug, Serialize)]
struct FoundList<T> {
    bookings: Vec<T>,
}

impl FoundBody {
    fn new(booked: &Booked) -> Self {
        let (booking, zone) = (&booked.booking, booked.voice.zone);
        Self {
            id: booking.id,
            status: booking.state.as_str(),
            start: local(booking.interval.start(), zone),
            end: local(booking.interval.end(), zone),
            resource: booking.resource,
            resources: booked.resources.clone(),
            service: booking.service,
            spoken: spoken(booking.interval.start(), booked.voice, booked.now),
        }
    }
}

impl SearchInput {
    /// Checks it. `region` says how a number without country code is read.
    fn read(self, region: &str) -> Result<(Sought, Facts), Problem> {
        let facts = Facts {
            last_name: given("/last_name", self.last_name, NAME_MAX)?,
            start: self.start.map(|Rfc3339(start)| start),
        };
        if let Some(said) = &facts.last_name
            && !said.chars().any(char::is_alphanumeric)
        {
            return Err(Problem::invalid("/last_name", "a last name is expected"));
        }
        let one = |field| Err(Problem::invalid(field, "give one of `phone`, `reference` and `call_id`"));
        let sought = match (self.phone, self.reference, self.call_id) {
            (Some(text), None, None) => Sought::Phone(phone("/phone", &text, region)?),
            (None, reference @ Some(_), None) => {
                let reference = given("/reference", reference, REFERENCE_MAX)?;
                Sought::Reference(reference.unwrap_or_default())
            }
            (None, None, Some(call)) => {
                check_call(Some(&call), "/call_id")?;
                Sought::Call(call)
            }
            (None, None, None) => return one("/phone"),
            (Some(_), Some(_), _) | (None, Some(_), Some(_)) => return one("/reference"),
            (Some(_), None, Some(_)) => return one("/call_id"),
        };
        if facts.is_empty() && !matches!(sought, Sought::Call(_)) {
            let detail = "give a second fact that the caller told: `last_name`, or `start` of the booking";
            return Err(Problem::invalid("/last_name", detail));
        }
        Ok((sought, facts))
    }
}

/// A text that is not empty when it is given.
fn given(field: &'static str, value: Option<String>, max: usize) -> Result<Option<String>, Problem> {
    let was_given = value.is_some();
    match text(field, value, max)? {
        None if was_given => Err(Problem::invalid(field, "it is empty: give a text, or leave it out")),
        text => Ok(text),
    }
}

/// Finds bookings by a phone number, a reference or a call.
pub(super) async fn search(
    State(api): State<Api>,
    caller: Caller,
    Path(business): Path<BusinessId>,
    Json(body): Json<SearchInput>,
) -> Result<Response, Problem> {
    caller.at(business, Scope::Receptionist)?;
    let region = api.region(business).await?;
    let (sought, facts) = body.read(&region)?;
    let sees_all = caller.scope >= Scope::Owner;
    let which = if sees_all { Which::All } else { Which::Upcoming };
    let found = api.desk.search(business, Search { sought, facts, which, key: caller.key }).await?;
    Ok(if sees_all {
        let bookings = found.iter().map(|booked| BookingBody::new(booked, Saying::new(None), None)).collect::<Vec<_>>();
        Json(FoundList { bookings }).into_response()
    } else {
        Json(FoundList { bookings: found.iter().map(FoundBody::new).collect::<Vec<_>>() }).into_response()
    })
}
