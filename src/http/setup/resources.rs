//! Resources.

use axum::{extract::State, response::Response};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::{created, name, room, zone};
use crate::{
    auth::Caller,
    availability::WeeklyHours,
    domain::{BusinessId, ResourceId},
    http::{Api, Json, Path, Problem},
    store::{self, Lane, api_keys::Scope, resources::Resource},
};

const CAPACITY_MAX: u32 = 1_000;

/// Body of `POST resources`, and of `PUT resources/{id}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ResourceInput {
    name: String,
    time_zone: Option<String>,
    hours: Option<WeeklyHours>,
    capacity: Option<u32>,
}

/// A resource as answers tell it.
#[derive(Debug, Serialize)]
pub(in crate::http) struct ResourceBody {
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
pub(in crate::http) async fn create_resource(
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

/// Replaces what may change of a resource.
pub(in crate::http) async fn put_resource(
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
pub(in crate::http) struct ResourcesBody {
    resources: Vec<ResourceBody>,
}

/// Lists resources.
pub(in crate::http) async fn resources(
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
