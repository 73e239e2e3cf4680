//! Businesses.

use axum::{extract::State, response::Response};
use serde::{Deserialize, Serialize};

use super::{created, name, zone};
use crate::{
    auth::Caller,
    availability::{Policy, WeeklyHours, WhenStale, WhenUnknown},
    domain::{
        BusinessId, reconcile,
        template::{self, BODY, TITLE},
    },
    http::{Api, Json, Path, Problem, Query, wire::language},
    store::{self, Lane, api_keys::Scope, businesses::Business},
};

const TITLE_MAX: usize = 300;
const TEMPLATE_MAX: usize = 2_000;
const PAGE_MAX: u32 = 200;

/// Body of `POST businesses`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct BusinessInput {
    name: String,
    time_zone: String,
    region: Option<String>,
    hours: Option<WeeklyHours>,
    event_title: Option<String>,
    event_description: Option<String>,
    #[serde(default)]
    invite_customers: bool,
    #[serde(default)]
    freshness: PolicyPatch,
    language: Option<String>,
    #[serde(default)]
    calendar_changes: reconcile::Policy,
}

/// What is done with a mirror that is behind. What is absent stays.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyPatch {
    stale: Option<WhenStale>,
    unknown: Option<WhenUnknown>,
}

impl PolicyPatch {
    fn apply(&self, to: Policy) -> Policy {
        Policy { stale: self.stale.unwrap_or(to.stale), unknown: self.unknown.unwrap_or(to.unknown) }
    }
}

/// Body of `PATCH businesses/{id}`. What is absent stays.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct BusinessPatch {
    name: Option<String>,
    time_zone: Option<String>,
    region: Option<String>,
    hours: Option<WeeklyHours>,
    event_title: Option<String>,
    event_description: Option<String>,
    invite_customers: Option<bool>,
    #[serde(default)]
    freshness: PolicyPatch,
    language: Option<String>,
    calendar_changes: Option<reconcile::Policy>,
}

/// A business as answers tell it.
#[derive(Debug, Serialize)]
pub(in crate::http) struct BusinessBody {
    id: BusinessId,
    name: String,
    time_zone: String,
    region: String,
    hours: WeeklyHours,
    event_title: String,
    event_description: String,
    /// Customers with an e-mail address become guests of their booking's event.
    invite_customers: bool,
    freshness: Policy,
    /// In which times are said.
    language: &'static str,
    calendar_changes: reconcile::Policy,
}

impl From<Business> for BusinessBody {
    fn from(business: Business) -> Self {
        Self {
            id: business.id,
            name: business.name,
            time_zone: business.time_zone.name().to_owned(),
            region: business.region,
            hours: business.hours,
            event_title: business.event_title,
            event_description: business.event_body,
            invite_customers: business.invite_customers,
            freshness: business.freshness,
            language: business.language.tag(),
            calendar_changes: business.calendar_changes,
        }
    }
}

fn region(code: &str) -> Result<String, Problem> {
    let expected = || Problem::invalid("/region", "two letters of ISO 3166-1 are expected, such as DE or US");
    code.parse::<phonenumber::country::Id>().map(|_| code.to_owned()).map_err(|_| expected())
}

/// The template of a title is one line, and not empty: an event without a title is found by nobody.
fn title(value: &str) -> Result<String, Problem> {
    if value.trim().is_empty() || value.chars().any(char::is_control) {
        return Err(Problem::invalid("/event_title", "one line of text is expected, such as {service} - {name}"));
    }
    template("/event_title", value, TITLE_MAX)
}

fn description(value: &str) -> Result<String, Problem> {
    if value.chars().any(|letter| letter.is_control() && letter != '\n') {
        return Err(Problem::invalid("/event_description", "control characters other than line ends are not allowed"));
    }
    template("/event_description", value, TEMPLATE_MAX)
}

fn template(field: &'static str, value: &str, max: usize) -> Result<String, Problem> {
    if value.chars().count() > max {
        return Err(Problem::invalid(field, format!("at most {max} characters are expected")));
    }
    template::check(value).map_err(|unknown| Problem::invalid(field, unknown.to_string()))?;
    Ok(value.to_owned())
}

/// Adds a business.
pub(in crate::http) async fn create_business(
    State(api): State<Api>,
    caller: Caller,
    Json(body): Json<BusinessInput>,
) -> Result<Response, Problem> {
    caller.everywhere(Scope::Admin)?;
    let now = api.clock.now();
    let business = Business {
        id: BusinessId::new(api.chance.uuid(now)),
        name: name(body.name)?,
        time_zone: zone("/time_zone", &body.time_zone)?,
        region: region(body.region.as_deref().unwrap_or("US"))?,
        hours: body.hours.unwrap_or_else(WeeklyHours::always),
        event_title: title(body.event_title.as_deref().unwrap_or(TITLE))?,
        event_body: description(body.event_description.as_deref().unwrap_or(BODY))?,
        invite_customers: body.invite_customers,
        freshness: body.freshness.apply(Policy::default()),
        language: language("/language", body.language.as_deref())?.unwrap_or_default(),
        calendar_changes: body.calendar_changes,
        created_at: now,
    };
    let row = business.clone();
    let insert = store::work::<(), Problem, _>(move |tx| Box::pin(async move { Ok(tx.insert_business(&row).await?) }));
    api.store.write(Lane::Caller, insert).await?;
    Ok(created(BusinessBody::from(business)))
}

/// Parameters of `GET businesses`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct BusinessesQuery {
    cursor: Option<BusinessId>,
    limit: Option<u32>,
}

/// A page of businesses.
#[derive(Debug, Serialize)]
pub(in crate::http) struct BusinessesBody {
    businesses: Vec<BusinessBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<BusinessId>,
}

/// Lists businesses.
pub(in crate::http) async fn businesses(
    State(api): State<Api>,
    caller: Caller,
    Query(query): Query<BusinessesQuery>,
) -> Result<Json<BusinessesBody>, Problem> {
    caller.everywhere(Scope::Owner)?;
    let limit = query.limit.unwrap_or(50);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::invalid("limit", format!("1 to {PAGE_MAX} are expected")));
    }
    let list = store::work::<Vec<Business>, Problem, _>(move |tx| {
        Box::pin(async move { Ok(tx.businesses(query.cursor, limit).await?) })
    });
    let found = api.store.read(list).await?;
    let full = found.len() == usize::try_from(limit).unwrap_or_default();
    let next_cursor = found.last().filter(|_| full).map(|last| last.id);
    Ok(Json(BusinessesBody { businesses: found.into_iter().map(Into::into).collect(), next_cursor }))
}

/// One business.
pub(in crate::http) async fn business(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<BusinessId>,
) -> Result<Json<BusinessBody>, Problem> {
    caller.at(id, Scope::Receptionist)?;
    Ok(Json(api.business(id).await?.into()))
}

/// Changes a business.
pub(in crate::http) async fn patch_business(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<BusinessId>,
    Json(body): Json<BusinessPatch>,
) -> Result<Json<BusinessBody>, Problem> {
    caller.at(id, Scope::Owner)?;
    let new_name = body.name.map(name).transpose()?;
    let new_zone = body.time_zone.as_deref().map(|text| zone("/time_zone", text)).transpose()?;
    let new_region = body.region.as_deref().map(region).transpose()?;
    let new_title = body.event_title.as_deref().map(title).transpose()?;
    let new_description = body.event_description.as_deref().map(description).transpose()?;
    let language = language("/language", body.language.as_deref())?;
    let change = store::work::<Business, Problem, _>(move |tx| {
        Box::pin(async move {
            let mut business = tx.business(id).await?.ok_or_else(|| Problem::not_found("business"))?;
            business.name = new_name.unwrap_or(business.name);
            business.time_zone = new_zone.unwrap_or(business.time_zone);
            business.region = new_region.unwrap_or(business.region);
            business.hours = body.hours.unwrap_or(business.hours);
            business.event_title = new_title.unwrap_or(business.event_title);
            business.event_body = new_description.unwrap_or(business.event_body);
            business.invite_customers = body.invite_customers.unwrap_or(business.invite_customers);
            business.freshness = body.freshness.apply(business.freshness);
            business.language = language.unwrap_or(business.language);
            business.calendar_changes = body.calendar_changes.unwrap_or(business.calendar_changes);
            tx.update_business(&business).await?;
            Ok(business)
        })
    });
    Ok(Json(api.store.write(Lane::Caller, change).await?.into()))
}
