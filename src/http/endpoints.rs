//! Where a business's own programs are told what happens: its webhook endpoints.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use chrono_tz::Tz;
use data_encoding::BASE64;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::{Json, Path, Problem, api::Api, customer::text, wire::local};
use crate::{
    auth::Caller,
    domain::{
        BusinessId, Chance,
        id::{DeliveryId, EndpointId},
        notice::Kind,
    },
    notify::check_url,
    store::{
        self, Lane,
        api_keys::Scope,
        endpoints::{Disabled, Endpoint},
    },
};

/// Most endpoints of one business.
const ENDPOINTS_MAX: usize = 20;
const DESCRIPTION_MAX: usize = 200;
/// Bytes of a secret; Standard Webhooks wants 24 to 64.
const SECRET_BYTES: usize = 32;

/// Body of `POST webhook-endpoints`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndpointInput {
    url: String,
    description: Option<String>,
    events: Option<Vec<String>>,
    #[serde(default)]
    personal_data: bool,
}

/// Body of `PATCH webhook-endpoints/{id}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndpointPatch {
    url: Option<String>,
    description: Option<String>,
    events: Option<Vec<String>>,
    personal_data: Option<bool>,
    enabled: Option<bool>,
    /// A new secret is made, and shown once.
    #[serde(default)]
    new_secret: bool,
}

/// An endpoint as answers tell it.
#[derive(Debug, Serialize)]
pub(super) struct EndpointBody {
    id: EndpointId,
    url: String,
    description: String,
    /// Everything when empty.
    events: Vec<&'static str>,
    personal_data: bool,
    enabled: bool,
    /// `owner`, `gone` or `failing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_why: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paused_until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_ok_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    created_at: String,
    /// Only in the answer that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl EndpointBody {
    fn new(endpoint: Endpoint, zone: Tz) -> Self {
        let at = |at: Option<chrono::DateTime<chrono::Utc>>| at.map(|at| local(at, zone));
        Self {
            id: endpoint.id,
            url: endpoint.url,
            description: endpoint.description,
            events: endpoint.events.iter().map(|kind| kind.as_str()).collect(),
            personal_data: endpoint.personal_data,
            enabled: endpoint.disabled.is_none(),
            disabled_why: endpoint.disabled.map(Disabled::as_str),
            failing_since: at(endpoint.failing_since),
            paused_until: at(endpoint.paused_until),
            last_ok_at: at(endpoint.last_ok_at),
            last_error: endpoint.last_error,
            created_at: local(endpoint.created_at, zone),
            secret: None,
        }
    }

    fn with_secret(endpoint: Endpoint, zone: Tz) -> Self {
        let secret = endpoint.secret.expose_secret().to_owned();
        Self { secret: Some(secret), ..Self::new(endpoint, zone) }
    }
}

/// An answer that holds a secret is kept by nobody on its way.
fn unkept(status: StatusCode, body: EndpointBody) -> Response {
    let headers = [(axum::http::header::CACHE_CONTROL, "no-store")];
    (status, headers, Json(body)).into_response()
}

fn new_secret(chance: &dyn Chance) -> SecretString {
    let mut bytes = zeroize::Zeroizing::new([0; SECRET_BYTES]);
    chance.fill(&mut *bytes);
    format!("whsec_{}", BASE64.encode(&*bytes)).into()
}

fn url(api: &Api, text: &str) -> Result<String, Problem> {
    match check_url(text, api.local_webhooks) {
        Ok(url) => Ok(url.into()),
        Err(why) => Err(Problem::invalid("/url", why.to_string())),
    }
}

fn events(words: &[String]) -> Result<Vec<Kind>, Problem> {
    let mut kinds = Vec::with_capacity(words.len().min(Kind::ALL.len()));
    for (place, word) in words.iter().enumerate() {
        let kind = word.parse().map_err(|why: String| Problem::invalid(format!("/events/{place}"), why))?;
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    Ok(kinds)
}

fn description(value: Option<String>) -> Result<String, Problem> {
    Ok(text("/description", value, DESCRIPTION_MAX)?.unwrap_or_default())
}

/// Adds an endpoint.
pub(super) async fn create(
    State(api): State<Api>,
    caller: Caller,
    Path(business): Path<BusinessId>,
    Json(body): Json<EndpointInput>,
) -> Result<Response, Problem> {
    caller.at(business, Scope::Owner)?;
    let now = api.clock.now();
    let endpoint = Endpoint {
        business,
        id: EndpointId::new(api.chance.uuid(now)),
        url: url(&api, &body.url)?,
        secret: new_secret(&*api.chance),
        description: description(body.description)?,
        events: events(&body.events.unwrap_or_default())?,
        personal_data: body.personal_data,
        disabled: None,
        failing_since: None,
        paused_until: None,
        last_ok_at: None,
        last_error: None,
        created_at: now,
    };
    let row = endpoint.clone();
    let insert = store::work::<Tz, Problem, _>(move |tx| {
        Box::pin(async move {
            let business = tx.business(row.business).await?.ok_or_else(|| Problem::not_found("business"))?;
            if tx.endpoints(row.business).await?.len() >= ENDPOINTS_MAX {
                let detail = format!("a business has at most {ENDPOINTS_MAX} webhook endpoints");
                return Err(Problem::conflict("limit", detail));
            }
            tx.insert_endpoint(&row).await?;
            Ok(business.time_zone)
        })
    });
    let zone = api.store.write(Lane::Caller, insert).await?;
    Ok(unkept(StatusCode::CREATED, EndpointBody::with_secret(endpoint, zone)))
}

/// Every endpoint of a business.
#[derive(Debug, Serialize)]
pub(super) struct EndpointsBody {
    webhook_endpoints: Vec<EndpointBody>,
}

/// Lists endpoints, without their secrets.
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Path(business): Path<BusinessId>,
) -> Result<Json<EndpointsBody>, Problem> {
    caller.at(business, Scope::Owner)?;
    let read = store::work::<(Tz, Vec<Endpoint>), Problem, _>(move |tx| {
        Box::pin(async move {
            let zone = tx.business(business).await?.ok_or_else(|| Problem::not_found("business"))?.time_zone;
            Ok((zone, tx.endpoints(business).await?))
        })
    });
    let (zone, endpoints) = api.store.read(read).await?;
    let body = |endpoint| EndpointBody::new(endpoint, zone);
    Ok(Json(EndpointsBody { webhook_endpoints: endpoints.into_iter().map(body).collect() }))
}

/// Changes an endpoint. What is known of its failures is forgotten, so enabling it begins anew.
pub(super) async fn change(
    State(api): State<Api>,
    caller: Caller,
    Path((business, id)): Path<(BusinessId, EndpointId)>,
    Json(body): Json<EndpointPatch>,
) -> Result<Response, Problem> {
    caller.at(business, Scope::Owner)?;
    let url = body.url.as_deref().map(|text| url(&api, text)).transpose()?;
    let events = body.events.as_deref().map(events).transpose()?;
    let description = body.description.map(|text| description(Some(text))).transpose()?;
    let secret = body.new_secret.then(|| new_secret(&*api.chance));
    let fresh = secret.is_some();
    let change = store::work::<(Tz, Endpoint), Problem, _>(move |tx| {
        Box::pin(async move {
            let (zone, mut endpoint) = known(tx, business, id).await?;
            endpoint.url = url.unwrap_or(endpoint.url);
            endpoint.events = events.unwrap_or(endpoint.events);
            endpoint.description = description.unwrap_or(endpoint.description);
            endpoint.personal_data = body.personal_data.unwrap_or(endpoint.personal_data);
            endpoint.secret = secret.unwrap_or(endpoint.secret);
            endpoint.disabled = match body.enabled {
                Some(true) => None,
                Some(false) => Some(Disabled::Owner),
                None => endpoint.disabled,
            };
            tx.update_endpoint(&endpoint).await?;
            let (_, endpoint) = known(tx, business, id).await?;
            Ok((zone, endpoint))
        })
    });
    let (zone, endpoint) = api.store.write(Lane::Caller, change).await?;
    if fresh {
        return Ok(unkept(StatusCode::OK, EndpointBody::with_secret(endpoint, zone)));
    }
    Ok(Json(EndpointBody::new(endpoint, zone)).into_response())
}

/// Removes an endpoint, and what it was still to be told.
pub(super) async fn remove(
    State(api): State<Api>,
    caller: Caller,
    Path((business, id)): Path<(BusinessId, EndpointId)>,
) -> Result<StatusCode, Problem> {
    caller.at(business, Scope::Owner)?;
    let delete =
        store::work::<bool, Problem, _>(move |tx| Box::pin(async move { Ok(tx.delete_endpoint(business, id).await?) }));
    if api.store.write(Lane::Caller, delete).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::not_found("webhook endpoint"))
}

/// The delivery of a test.
#[derive(Debug, Serialize)]
pub(super) struct PingBody {
    delivery_id: DeliveryId,
}

/// Sends a test to an endpoint, like any other notice.
pub(super) async fn ping(
    State(api): State<Api>,
    caller: Caller,
    Path((business, id)): Path<(BusinessId, EndpointId)>,
) -> Result<Response, Problem> {
    caller.at(business, Scope::Owner)?;
    let owe = store::work::<DeliveryId, Problem, _>(move |tx| {
        Box::pin(async move {
            let (_, endpoint) = known(tx, business, id).await?;
            if endpoint.disabled.is_some() {
                return Err(Problem::conflict("disabled", "the endpoint is disabled: enable it first"));
            }
            Ok(tx.ping_endpoint(&endpoint).await?)
        })
    });
    let delivery_id = api.store.write(Lane::Caller, owe).await?;
    Ok((StatusCode::ACCEPTED, Json(PingBody { delivery_id })).into_response())
}

async fn known(tx: &mut store::Tx, business: BusinessId, id: EndpointId) -> Result<(Tz, Endpoint), Problem> {
    let zone = tx.business(business).await?.ok_or_else(|| Problem::not_found("business"))?.time_zone;
    let endpoint = tx.endpoint(business, id).await?.ok_or_else(|| Problem::not_found("webhook endpoint"))?;
    Ok((zone, endpoint))
}
