//! What is owed to the outside, for people: seeing what waits or was given up, and asking for it again.

use axum::{extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};

use super::{Json, Path, Problem, Query, api::Api};
use crate::{
    auth::Caller,
    domain::{
        BookingId, BusinessId,
        id::{DeliveryId, EndpointId},
    },
    store::{
        self, Lane,
        api_keys::Scope,
        deliveries::{OwedDelivery, Retried},
    },
};

const PAGE_MAX: u32 = 200;
/// Deliveries that are asked for again in one transaction.
const BATCH: u32 = 50;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DeliveryState {
    Waiting,
    Dead,
}

/// Parameters of `GET deliveries`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeliveriesQuery {
    state: DeliveryState,
    cursor: Option<DeliveryId>,
    limit: Option<u32>,
}

/// A delivery as answers tell it. Times are UTC, for they may be of several businesses.
#[derive(Debug, Serialize)]
struct DeliveryBody {
    id: DeliveryId,
    business_id: BusinessId,
    kind: String,
    state: DeliveryState,
    #[serde(skip_serializing_if = "Option::is_none")]
    booking_id: Option<BookingId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint_id: Option<EndpointId>,
    attempts: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    /// When it is tried next.
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<chrono::DateTime<chrono::Utc>>,
    created_at: chrono::DateTime<chrono::Utc>,
}

impl From<OwedDelivery> for DeliveryBody {
    fn from(delivery: OwedDelivery) -> Self {
        Self {
            id: delivery.id,
            business_id: delivery.business,
            kind: delivery.kind,
            state: if delivery.dead { DeliveryState::Dead } else { DeliveryState::Waiting },
            booking_id: delivery.booking,
            endpoint_id: delivery.endpoint,
            attempts: delivery.attempts,
            last_error: delivery.last_error,
            due_at: (!delivery.dead).then_some(delivery.due_at),
            created_at: delivery.created_at,
        }
    }
}

/// A page of deliveries.
#[derive(Debug, Serialize)]
pub(super) struct DeliveriesBody {
    deliveries: Vec<DeliveryBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<DeliveryId>,
}

/// Lists the deliveries of a business.
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Path(business): Path<BusinessId>,
    Query(query): Query<DeliveriesQuery>,
) -> Result<Json<DeliveriesBody>, Problem> {
    caller.at(business, Scope::Owner)?;
    api.business(business).await?;
    api.page_of_deliveries(Some(business), query).await
}

/// Lists the deliveries of all businesses.
pub(super) async fn list_all(
    State(api): State<Api>,
    caller: Caller,
    Query(query): Query<DeliveriesQuery>,
) -> Result<Json<DeliveriesBody>, Problem> {
    caller.everywhere(Scope::Admin)?;
    api.page_of_deliveries(None, query).await
}

/// Makes one delivery that was given up due now.
pub(super) async fn retry(
    State(api): State<Api>,
    caller: Caller,
    Path((business, id)): Path<(BusinessId, DeliveryId)>,
) -> Result<StatusCode, Problem> {
    caller.at(business, Scope::Owner)?;
    let again = store::work::<Retried, Problem, _>(move |tx| {
        Box::pin(async move { Ok(tx.retry_delivery(business, id).await?) })
    });
    match api.store.write(Lane::Caller, again).await? {
        Retried::Due => {
            api.desk.wake_outbox();
            Ok(StatusCode::ACCEPTED)
        }
        Retried::Unknown => Err(Problem::not_found("delivery")),
        Retried::Alive => Err(Problem::conflict("not_dead", "the delivery was not given up: it is tried by itself")),
        Retried::Disabled => Err(Problem::conflict("disabled", "its endpoint is disabled: enable it first")),
    }
}

/// How many deliveries were asked for again.
#[derive(Debug, Serialize)]
pub(super) struct RetriedBody {
    retried: usize,
    /// Those whose endpoint is disabled.
    left: usize,
}

/// Makes every delivery of a business that was given up due now.
pub(super) async fn retry_all(
    State(api): State<Api>,
    caller: Caller,
    Path(business): Path<BusinessId>,
) -> Result<Json<RetriedBody>, Problem> {
    caller.at(business, Scope::Owner)?;
    api.business(business).await?;
    api.retry_everything(Some(business)).await
}

/// Makes every delivery of all businesses that was given up due now.
pub(super) async fn retry_everywhere(State(api): State<Api>, caller: Caller) -> Result<Json<RetriedBody>, Problem> {
    caller.everywhere(Scope::Admin)?;
    api.retry_everything(None).await
}

impl Api {
    async fn page_of_deliveries(
        &self,
        business: Option<BusinessId>,
        query: DeliveriesQuery,
    ) -> Result<Json<DeliveriesBody>, Problem> {
        let limit = query.limit.unwrap_or(50);
        if !(1..=PAGE_MAX).contains(&limit) {
            return Err(Problem::invalid("limit", format!("1 to {PAGE_MAX} are expected")));
        }
        let dead = matches!(query.state, DeliveryState::Dead);
        let read = store::work::<Vec<OwedDelivery>, Problem, _>(move |tx| {
            Box::pin(async move { Ok(tx.deliveries(business, dead, query.cursor, limit).await?) })
        });
        let found = self.store.read(read).await?;
        let full = found.len() == usize::try_from(limit).unwrap_or_default();
        let next_cursor = found.last().filter(|_| full).map(|last| last.id);
        Ok(Json(DeliveriesBody { deliveries: found.into_iter().map(Into::into).collect(), next_cursor }))
    }

    async fn retry_everything(&self, business: Option<BusinessId>) -> Result<Json<RetriedBody>, Problem> {
        let (mut body, mut after) = (RetriedBody { retried: 0, left: 0 }, None);
        loop {
            let batch = store::work::<(Vec<Retried>, Option<DeliveryId>), Problem, _>(move |tx| {
                Box::pin(async move { Ok(tx.retry_dead(business, after, BATCH).await?) })
            });
            let (outcomes, last) = self.store.write(Lane::Caller, batch).await?;
            let due = outcomes.iter().filter(|outcome| **outcome == Retried::Due).count();
            body.retried += due;
            body.left += outcomes.len() - due;
            match last {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        self.desk.wake_outbox();
        Ok(Json(body))
    }
}
