//! Services.

use axum::{extract::State, response::Response};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::{created, name, needs, room};
use crate::{
    auth::Caller,
    availability::Rules,
    domain::{BusinessId, ResourceId, ServiceId},
    http::{Api, Json, Path, Problem},
    store::{self, Lane, api_keys::Scope, resources::Resource, services::Service},
};

/// Body of `POST services`, and of `PUT services/{id}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ServiceInput {
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
    /// Without an end when absent.
    daily_cap: Option<i64>,
    /// Ids or names; everybody when empty.
    #[serde(default)]
    resources: Vec<String>,
    /// Groups of ids or names, of which one each is needed at once.
    #[serde(default)]
    needs: Vec<Vec<String>>,
}

/// A service as answers tell it.
#[derive(Debug, Serialize)]
pub(in crate::http) struct ServiceBody {
    id: ServiceId,
    name: String,
    duration_min: i64,
    buffer_before_min: i64,
    buffer_after_min: i64,
    slot_step_min: i64,
    minimum_notice_min: i64,
    horizon_days: i64,
    /// Without an end when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    daily_cap: Option<u32>,
    resources: Vec<ResourceId>,
    needs: Vec<Vec<ResourceId>>,
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
            daily_cap: service.rules.daily_cap,
            resources: service.resources,
            needs: service.needs,
        }
    }
}

/// Most bookings a day that a cap may allow.
const DAILY_CAP_MAX: i64 = 10_000;

fn u32_of(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
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
            daily_cap: self.daily_cap.map(|cap| within("/daily_cap", cap, 1..=DAILY_CAP_MAX)).transpose()?.map(u32_of),
        })
    }
}

/// Adds a service.
pub(in crate::http) async fn create_service(
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
pub(in crate::http) async fn put_service(
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
                let unknown = || Problem::invalid(format!("/resources/{at}"), "there is no such resource");
                resources.push(Resource::find(&known, text).ok_or_else(unknown)?.id);
            }
            resources.sort_unstable();
            resources.dedup();
            let needs = needs::read(&body.needs, &resources, &known)?;
            let service = Service { business, id, name, rules, resources, needs, created_at: now };
            let services = tx.services(business).await?;
            if new {
                room(services.len(), "services")?;
                tx.insert_service(&service).await?;
            } else if services.iter().any(|known| known.id == id) {
                // What is being counted against the cap is counted first.
                tx.lock_service(business, id).await?;
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
pub(in crate::http) struct ServicesBody {
    services: Vec<ServiceBody>,
}

/// Lists services.
pub(in crate::http) async fn services(
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
