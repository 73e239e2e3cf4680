//! Setting a business up: the business itself, its resources, services and calendars.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use chrono::TimeDelta;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::{Json, Path, Problem, Query, api::Api, customer::text};
use crate::{
    auth::Caller,
    availability::{Rules, WeeklyHours},
    domain::{
        BusinessId, ResourceId, ServiceId,
        template::{self, BODY, TITLE},
    },
    store::{self, Lane, api_keys::Scope, businesses::Business, resources::Resource, services::Service},
};

const NAME_MAX: usize = 200;
const TEMPLATE_MAX: usize = 2_000;
const CAPACITY_MAX: u32 = 1_000;
const PAGE_MAX: u32 = 200;
/// Most resources, and most services, of one business.
const THINGS_MAX: usize = 500;

/// Body of `POST businesses`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BusinessInput {
    name: String,
    time_zone: String,
    region: Option<String>,
    hours: Option<WeeklyHours>,
    event_title: Option<String>,
    event_description: Option<String>,
}

/// Body of `PATCH businesses/{id}`. What is absent stays.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BusinessPatch {
    name: Option<String>,
    time_zone: Option<String>,
    region: Option<String>,
    hours: Option<WeeklyHours>,
    event_title: Option<String>,
    event_description: Option<String>,
}

/// A business as answers tell it.
#[derive(Debug, Serialize)]
pub(super) struct BusinessBody {
    id: BusinessId,
    name: String,
    time_zone: String,
    region: String,
    hours: WeeklyHours,
    event_title: String,
    event_description: String,
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
        }
    }
}

fn name(value: String) -> Result<String, Problem> {
    text("/name", Some(value), NAME_MAX)?.ok_or_else(|| Problem::invalid("/name", "a name is expected"))
}

fn zone(field: &'static str, name: &str) -> Result<Tz, Problem> {
    name.parse().map_err(|_| {
        Problem::invalid(
            field,
            "a time zone of the IANA database is expected, such as Europe/Berlin or America/New_York",
        )
    })
}

fn region(code: &str) -> Result<String, Problem> {
    let expected = || Problem::invalid("/region", "two letters of ISO 3166-1 are expected, such as DE or US");
    code.parse::<phonenumber::country::Id>().map(|_| code.to_owned()).map_err(|_| expected())
}

fn template(field: &'static str, value: &str) -> Result<String, Problem> {
    if value.chars().count() > TEMPLATE_MAX {
        return Err(Problem::invalid(field, format!("at most {TEMPLATE_MAX} characters are expected")));
    }
    template::check(value).map_err(|unknown| Problem::invalid(field, unknown.to_string()))?;
    Ok(value.to_owned())
}

fn created(body: impl Serialize) -> Response {
    (StatusCode::CREATED, Json(body)).into_response()
}

/// Adds a business.
pub(super) async fn create_business(
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
        event_title: template("/event_title", body.event_title.as_deref().unwrap_or(TITLE))?,
        event_body: template("/event_description", body.event_description.as_deref().unwrap_or(BODY))?,
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
pub(super) struct BusinessesQuery {
    cursor: Option<BusinessId>,
    limit: Option<u32>,
}

/// A page of businesses.
#[derive(Debug, Serialize)]
pub(super) struct BusinessesBody {
    businesses: Vec<BusinessBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<BusinessId>,
}

/// Lists businesses.
pub(super) async fn businesses(
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
pub(super) async fn business(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<BusinessId>,
) -> Result<Json<BusinessBody>, Problem> {
    caller.at(id, Scope::Receptionist)?;
    Ok(Json(api.business(id).await?.into()))
}

/// Changes a business.
pub(super) async fn patch_business(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<BusinessId>,
    Json(body): Json<BusinessPatch>,
) -> Result<Json<BusinessBody>, Problem> {
    caller.at(id, Scope::Owner)?;
    let new_name = body.name.map(name).transpose()?;
    let new_zone = body.time_zone.as_deref().map(|text| zone("/time_zone", text)).transpose()?;
    let new_region = body.region.as_deref().map(region).transpose()?;
    let title = body.event_title.as_deref().map(|text| template("/event_title", text)).transpose()?;
    let description = body.event_description.as_deref().map(|text| template("/event_description", text)).transpose()?;
    let change = store::work::<Business, Problem, _>(move |tx| {
        Box::pin(async move {
            let mut business = tx.business(id).await?.ok_or_else(|| Problem::not_found("business"))?;
            business.name = new_name.unwrap_or(business.name);
            business.time_zone = new_zone.unwrap_or(business.time_zone);
            business.region = new_region.unwrap_or(business.region);
            business.hours = body.hours.unwrap_or(business.hours);
            business.event_title = title.unwrap_or(business.event_title);
            business.event_body = description.unwrap_or(business.event_body);
            tx.update_business(&business).await?;
            Ok(business)
        })
    });
    Ok(Json(api.store.write(Lane::Caller, change).await?.into()))
}

/// Body of `POST resources`, and of `PUT resources/{id}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResourceInput {
    name: String,
    time_zone: Option<String>,
    hours: Option<WeeklyHours>,
    capacity: Option<u32>,
}

/// A resource as answers tell it.
#[derive(Debug, Serialize)]
pub(super) struct ResourceBody {
    id: ResourceId,
    name: String,
    /// The business's when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<&'static str>,
    /// The business's when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    hours: Option<WeeklyHours>,
    capacity: u32,
}

impl From<Resource> for ResourceBody {
    fn from(resource: Resource) -> Self {
        Self {
            id: resource.id,
            name: resource.name,
            time_zone: resource.time_zone.map(Tz::name),
            hours: resource.hours,
            capacity: resource.capacity,
        }
    }
}

impl ResourceInput {
    fn read(self, api: &Api, business: BusinessId, id: ResourceId) -> Result<Resource, Problem> {
        let capacity = self.capacity.unwrap_or(1);
        if !(1..=CAPACITY_MAX).contains(&capacity) {
            return Err(Problem::invalid("/capacity", format!("1 to {CAPACITY_MAX} are expected")));
        }
        Ok(Resource {
            business,
            id,
            name: name(self.name)?,
            time_zone: self.time_zone.as_deref().map(|text| zone("/time_zone", text)).transpose()?,
            hours: self.hours,
            capacity,
            created_at: api.clock.now(),
        })
    }
}

/// Adds a resource.
pub(super) async fn create_resource(
    State(api): State<Api>,
    caller: Caller,
    Path(business): Path<BusinessId>,
    Json(body): Json<ResourceInput>,
) -> Result<Response, Problem> {
    caller.at(business, Scope::Owner)?;
    let resource = body.read(&api, business, ResourceId::new(api.chance.uuid(api.clock.now())))?;
    let insert = store::work::<Resource, Problem, _>(move |tx| {
        Box::pin(async move {
            tx.business(business).await?.ok_or_else(|| Problem::not_found("business"))?;
            room(tx.resources(business).await?.len(), "resources")?;
            tx.insert_resource(&resource).await?;
            Ok(resource)
        })
    });
    Ok(created(ResourceBody::from(api.store.write(Lane::Caller, insert).await?)))
}

fn room(count: usize, things: &str) -> Result<(), Problem> {
    if count < THINGS_MAX {
        return Ok(());
    }
    Err(Problem::conflict("limit", format!("a business has at most {THINGS_MAX} {things}")))
}

/// Replaces what may change of a resource.
pub(super) async fn put_resource(
    State(api): State<Api>,
    caller: Caller,
    Path((business, id)): Path<(BusinessId, ResourceId)>,
    Json(body): Json<ResourceInput>,
) -> Result<Json<ResourceBody>, Problem> {
    caller.at(business, Scope::Owner)?;
    let wanted = body.read(&api, business, id)?;
    let change = store::work::<Resource, Problem, _>(move |tx| {
        Box::pin(async move {
            tx.lock_resources(business, &[id]).await?;
            let known = tx.resources(business).await?.into_iter().find(|known| known.id == id);
            let known = known.ok_or_else(|| Problem::not_found("resource"))?;
            if known.capacity != wanted.capacity {
                // Claims already made are watched over by a constraint that goes by the capacity of their time.
                return Err(Problem::conflict("capacity", "the capacity of a resource is fixed; add another resource"));
            }
            tx.update_resource(&wanted).await?;
            Ok(Resource { created_at: known.created_at, ..wanted })
        })
    });
    Ok(Json(api.store.write(Lane::Caller, change).await?.into()))
}

/// Every resource of a business.
#[derive(Debug, Serialize)]
pub(super) struct ResourcesBody {
    resources: Vec<ResourceBody>,
}

/// Lists resources.
pub(super) async fn resources(
    State(api): State<Api>,
    caller: Caller,
    Path(business): Path<BusinessId>,
) -> Result<Json<ResourcesBody>, Problem> {
    caller.at(business, Scope::Receptionist)?;
    let list = store::work::<Vec<Resource>, Problem, _>(move |tx| {
        Box::pin(async move {
            tx.business(business).await?.ok_or_else(|| Problem::not_found("business"))?;
            Ok(tx.resources(business).await?)
        })
    });
    Ok(Json(ResourcesBody { resources: api.store.read(list).await?.into_iter().map(Into::into).collect() }))
}

/// Body of `POST services`, and of `PUT services/{id}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServiceInput {
    name: String,
    duration_min: i64,
    #[serde(default)]
    buffer_before_min: i64,
    #[serde(default)]
    buffer_after_min: i64,
    slot_step_min: Option<i64>,
    #[serde(default)]
    minimum_notice_min: i64,
    horizon_days: Option<i64>,
    /// Ids or names; everybody when empty.
    #[serde(default)]
    resources: Vec<String>,
}

/// A service as answers tell it.
#[derive(Debug, Serialize)]
pub(super) struct ServiceBody {
    id: ServiceId,
    name: String,
    duration_min: i64,
    buffer_before_min: i64,
    buffer_after_min: i64,
    slot_step_min: i64,
    minimum_notice_min: i64,
    horizon_days: i64,
    resources: Vec<ResourceId>,
}

impl From<Service> for ServiceBody {
    fn from(service: Service) -> Self {
        Self {
            id: service.id,
            name: service.name,
            duration_min: service.rules.duration.num_minutes(),
            buffer_before_min: service.rules.buffer_before.num_minutes(),
            buffer_after_min: service.rules.buffer_after.num_minutes(),
            slot_step_min: service.rules.slot_step.num_minutes(),
            minimum_notice_min: service.rules.minimum_notice.num_minutes(),
            horizon_days: service.rules.horizon.num_days(),
            resources: service.resources,
        }
    }
}

fn within(field: &'static str, value: i64, range: std::ops::RangeInclusive<i64>) -> Result<i64, Problem> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(Problem::invalid(field, format!("{} to {} are expected", range.start(), range.end())))
}

impl ServiceInput {
    fn rules(&self) -> Result<Rules, Problem> {
        const DAY: i64 = 24 * 60;
        let minutes = |field, value, range| within(field, value, range).map(TimeDelta::minutes);
        let step = self.slot_step_min.unwrap_or(Rules::SLOT_STEP.num_minutes());
        let horizon = self.horizon_days.unwrap_or(Rules::HORIZON.num_days());
        Ok(Rules {
            duration: minutes("/duration_min", self.duration_min, 1..=DAY)?,
            buffer_before: minutes("/buffer_before_min", self.buffer_before_min, 0..=DAY)?,
            buffer_after: minutes("/buffer_after_min", self.buffer_after_min, 0..=DAY)?,
            slot_step: minutes("/slot_step_min", step, 1..=DAY)?,
            minimum_notice: minutes("/minimum_notice_min", self.minimum_notice_min, 0..=365 * DAY)?,
            horizon: TimeDelta::days(within("/horizon_days", horizon, 1..=3_660)?),
        })
    }
}

/// Adds a service.
pub(super) async fn create_service(
    State(api): State<Api>,
    caller: Caller,
    Path(business): Path<BusinessId>,
    Json(body): Json<ServiceInput>,
) -> Result<Response, Problem> {
    caller.at(business, Scope::Owner)?;
    let now = api.clock.now();
    let service = save_service(&api, business, ServiceId::new(api.chance.uuid(now)), body, true).await?;
    Ok(created(ServiceBody::from(service)))
}

/// Replaces a service.
pub(super) async fn put_service(
    State(api): State<Api>,
    caller: Caller,
    Path((business, id)): Path<(BusinessId, ServiceId)>,
    Json(body): Json<ServiceInput>,
) -> Result<Json<ServiceBody>, Problem> {
    caller.at(business, Scope::Owner)?;
    Ok(Json(save_service(&api, business, id, body, false).await?.into()))
}

async fn save_service(
    api: &Api,
    business: BusinessId,
    id: ServiceId,
    body: ServiceInput,
    new: bool,
) -> Result<Service, Problem> {
    let (rules, name, now) = (body.rules()?, name(body.name)?, api.clock.now());
    let save = store::work::<Service, Problem, _>(move |tx| {
        Box::pin(async move {
            tx.business(business).await?.ok_or_else(|| Problem::not_found("business"))?;
            let known = tx.resources(business).await?;
            let mut resources = Vec::with_capacity(body.resources.len());
            for (at, text) in body.resources.iter().enumerate() {
                let found = known.iter().find(|known| known.id.to_string() == *text || known.name == *text);
                let unknown = || Problem::invalid(format!("/resources/{at}"), "there is no such resource");
                resources.push(found.ok_or_else(unknown)?.id);
            }
            resources.sort_unstable();
            resources.dedup();
            let service = Service { business, id, name, rules, resources, created_at: now };
            let services = tx.services(business).await?;
            if new {
                room(services.len(), "services")?;
                tx.insert_service(&service).await?;
            } else if services.iter().any(|known| known.id == id) {
                tx.update_service(&service).await?;
            } else {
                return Err(Problem::not_found("service"));
            }
            Ok(service)
        })
    });
    api.store.write(Lane::Caller, save).await
}

/// Every service of a business.
#[derive(Debug, Serialize)]
pub(super) struct ServicesBody {
    services: Vec<ServiceBody>,
}

/// Lists services.
pub(super) async fn services(
    State(api): State<Api>,
    caller: Caller,
    Path(business): Path<BusinessId>,
) -> Result<Json<ServicesBody>, Problem> {
    caller.at(business, Scope::Receptionist)?;
    let list = store::work::<Vec<Service>, Problem, _>(move |tx| {
        Box::pin(async move {
            tx.business(business).await?.ok_or_else(|| Problem::not_found("business"))?;
            Ok(tx.services(business).await?)
        })
    });
    Ok(Json(ServicesBody { services: api.store.read(list).await?.into_iter().map(Into::into).collect() }))
}

impl Api {
    /// The business with this id.
    pub(super) async fn business(&self, id: BusinessId) -> Result<Business, Problem> {
        let find =
            store::work::<Option<Business>, Problem, _>(move |tx| Box::pin(async move { Ok(tx.business(id).await?) }));
        self.store.read(find).await?.ok_or_else(|| Problem::not_found("business"))
    }

    /// How a business's phone numbers without a country code are read.
    pub(super) async fn region(&self, id: BusinessId) -> Result<String, Problem> {
        Ok(self.business(id).await?.region)
    }
}
