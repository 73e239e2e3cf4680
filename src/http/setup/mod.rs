//! Setting a business up: the business itself, its resources and its services.

mod businesses;
mod needs;
mod overrides;
mod resources;
mod services;

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use chrono_tz::Tz;
use serde::Serialize;

pub(super) use businesses::{business, businesses, create_business, patch_business};
pub(super) use overrides::{create_override, delete_override, overrides, put_override};
pub(super) use resources::{create_resource, put_resource, resources};
pub(super) use services::{create_service, put_service, services};

use super::{Json, Problem, api::Api, customer::text};
use crate::{
    domain::BusinessId,
    store::{self, businesses::Business},
};

const NAME_MAX: usize = 200;
/// Most resources, and most services, of one business.
const THINGS_MAX: usize = 500;

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

fn created(body: impl Serialize) -> Response {
    (StatusCode::CREATED, Json(body)).into_response()
}

fn room(count: usize, things: &str) -> Result<(), Problem> {
    if count < THINGS_MAX {
        return Ok(());
    }
    Err(Problem::conflict("limit", format!("a business has at most {THINGS_MAX} {things}")))
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
