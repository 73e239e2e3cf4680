//! Which path leads where, and what every request goes through.

use std::time::Duration;

use axum::{
    Extension, Router,
    extract::{MatchedPath, Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, patch, post, put},
};
use tokio::time::Instant;
use tower_http::{catch_panic::CatchPanicLayer, timeout::TimeoutLayer};

use super::{
    BodyLimit, Problem, api::Api, audits, availability, bookings, calendars, cancellations, conflicts, deliveries,
    endpoints, events, explain, google, holds, search, setup, status,
};
use crate::config;

/// The API's routes over `api`.
pub fn router(api: Api, config: &config::Http) -> Router {
    let business = Router::new()
        .route("/availability", get(availability::availability))
        .route("/availability/explain", get(explain::explain))
        .route("/slots", get(availability::slots))
        .route("/busy", get(availability::busy))
        .route("/holds", post(holds::create).delete(holds::release_call))
        .route("/holds/{id}", patch(holds::change).delete(holds::release))
        .route("/calls/{call_id}/events", get(events::events))
        .route("/bookings", get(bookings::list).post(bookings::create))
        .route("/bookings/search", post(search::search))
        .route("/bookings/{id}", get(bookings::show).patch(bookings::change))
        .route("/bookings/{id}/cancel", post(bookings::cancel))
        .route("/conflicts", get(conflicts::list))
        .route("/resources", get(setup::resources).post(setup::create_resource))
        .route("/resources/{id}", put(setup::put_resource))
        .route("/services", get(setup::services).post(setup::create_service))
        .route("/services/{id}", put(setup::put_service))
        .route("/overrides", get(setup::overrides).post(setup::create_override))
        .route("/overrides/{id}", put(setup::put_override).delete(setup::delete_override))
        .route("/calendars", get(calendars::list).post(calendars::create))
        .route("/calendars/{id}", patch(calendars::change))
        .route("/webhook-endpoints", get(endpoints::list).post(endpoints::create))
        .route("/webhook-endpoints/{id}", patch(endpoints::change).delete(endpoints::remove))
        .route("/webhook-endpoints/{id}/ping", post(endpoints::ping))
        .route("/deliveries", get(deliveries::list))
        .route("/deliveries/retry", post(deliveries::retry_all))
        .route("/deliveries/{id}/retry", post(deliveries::retry));
    let v1 = Router::new()
        .route("/businesses", get(setup::businesses).post(setup::create_business))
        .route("/businesses/{business_id}", get(setup::business).patch(setup::patch_business))
        .nest("/businesses/{business_id}", business)
        .route("/deliveries", get(deliveries::list_all))
        .route("/deliveries/retry", post(deliveries::retry_everywhere))
        .route("/settings/{business_id}/calendar/status", get(status::status))
        .route("/settings/{business_id}/calendar/sync", post(status::sync_now))
        .route("/settings/{business_id}/calendar/{calendar_id}/cancellations", post(cancellations::answer))
        .route("/settings/{business_id}/calendar/audit", post(audits::audit_now))
        .route("/auth/google-calendar/start", post(google::start))
        .route("/auth/google-calendar/callback", get(google::callback).post(google::confirmed))
        .route("/webhooks/google-calendar", post(google::push));
    Router::new()
        .nest("/api/v1", v1)
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .fallback(|| async { Problem::not_found("path") })
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .layer(middleware::from_fn_with_state(api.clone(), measure))
        .layer(CatchPanicLayer::custom(|_| Problem::internal("a handler panicked").into_response()))
        .layer(Extension(BodyLimit(config.body_max_bytes)))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::REQUEST_TIMEOUT,
            Duration::from_secs(config.request_timeout_s.into()),
        ))
        .with_state(api)
}

/// Whether requests are welcome: the database answers and the daemon is not stopping.
async fn ready(State(api): State<Api>) -> Result<&'static str, Problem> {
    if !api.readiness.is_ready() {
        return Err(Problem::unavailable(1, "slotd is starting or stopping"));
    }
    let ask =
        crate::store::work::<(), crate::store::Error, _>(|tx| Box::pin(async move { tx.lease_time().await.map(drop) }));
    api.store.read(ask).await.map_err(|_| Problem::unavailable(1, "the database does not answer"))?;
    Ok("ready")
}

/// Counts each request by its route, never by its path.
async fn measure(State(api): State<Api>, path: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let (method, started) = (request.method().clone(), Instant::now());
    let response = next.run(request).await;
    let route = path.as_ref().map_or("unmatched", MatchedPath::as_str);
    api.metrics.record_http(route, &method, response.status().as_u16(), started.elapsed());
    response
}
