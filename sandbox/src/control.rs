//! The stand-in's own routes: its state and its faults, for scripts.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::faults::{Fault, Listed, Outage, Weather};
use crate::push::{OpenChannel, Push};
use crate::state::AppState;

/// An answer to a body that makes no sense: the field and what would be right.
type Refused = (StatusCode, String);

/// Routes below `/sandbox`.
pub(crate) fn routes(state: AppState) -> Router {
    Router::new()
        .route("/sandbox/state", get(show_state))
        .route("/sandbox/calls", get(|State(state): State<AppState>| async move { Json(state.calls()) }))
        .route("/sandbox/faults", get(list_faults).post(add_fault).delete(clear_faults))
        .route(
            "/sandbox/faults/struck",
            get(|State(state): State<AppState>| async move { Json(state.faults.strikes()) }),
        )
        .route("/sandbox/faults/{id}", get(show_fault).delete(remove_fault))
        .route("/sandbox/weather", put(set_weather).delete(end_weather))
        .route("/sandbox/down", put(set_down))
        .route("/sandbox/watchable", put(set_watchable))
        .route("/sandbox/channels", get(list_channels).delete(kill_channels))
        .route("/sandbox/pushes", post(push))
        .route("/sandbox/expire-sync-tokens", post(expire_sync_tokens))
        .route("/sandbox/end-access-tokens", post(end_access_tokens))
        .route("/sandbox/revoke", post(revoke))
        .with_state(state)
}

fn refused(error: &impl ToString) -> Refused {
    (StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
}

async fn show_state(State(state): State<AppState>) -> Json<Value> {
    Json(json!({ "users": state.users(), "calendars": state.calendars() }))
}

async fn list_faults(State(state): State<AppState>) -> Json<Vec<Listed>> {
    Json(state.faults.list())
}

async fn add_fault(
    State(state): State<AppState>,
    Json(fault): Json<Fault>,
) -> Result<(StatusCode, Json<Value>), Refused> {
    let id = state.faults.try_add(fault).map_err(|error| refused(&error))?;
    Ok((StatusCode::CREATED, Json(json!({ "id": id }))))
}

async fn clear_faults(State(state): State<AppState>) -> StatusCode {
    state.faults.clear();
    StatusCode::NO_CONTENT
}

/// How often a fault has struck, also after its end.
async fn show_fault(State(state): State<AppState>, Path(id): Path<u64>) -> Json<Value> {
    Json(json!({ "id": id, "struck": state.faults.struck(id) }))
}

async fn remove_fault(State(state): State<AppState>, Path(id): Path<u64>) -> StatusCode {
    if state.faults.remove(id) { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

async fn set_weather(State(state): State<AppState>, Json(weather): Json<Weather>) -> Result<StatusCode, Refused> {
    state.faults.set_weather(weather).map_err(|error| refused(&error))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn end_weather(State(state): State<AppState>) -> StatusCode {
    state.faults.end_weather();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Down {
    down: bool,
    #[serde(default)]
    outage: Outage,
}

async fn set_down(State(state): State<AppState>, Json(wanted): Json<Down>) -> StatusCode {
    state.faults.set_outage(wanted.down.then_some(wanted.outage));
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Watchable {
    calendar: String,
    watchable: bool,
}

async fn set_watchable(State(state): State<AppState>, Json(wanted): Json<Watchable>) -> StatusCode {
    state.faults.set_watchable(&wanted.calendar, wanted.watchable);
    StatusCode::NO_CONTENT
}

async fn list_channels(State(state): State<AppState>) -> Json<Vec<OpenChannel>> {
    Json(state.channels.open())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfCalendar {
    calendar: String,
}

/// Ends a calendar's channels without a word to anybody.
async fn kill_channels(State(state): State<AppState>, Json(which): Json<OfCalendar>) -> Json<Value> {
    Json(json!({ "ended": state.channels.end(|channel| channel.calendar == which.calendar) }))
}

async fn push(State(state): State<AppState>, Json(push): Json<Push>) -> Result<Json<Value>, Refused> {
    let statuses = push.send(&state).await.map_err(|error| refused(&error))?;
    Ok(Json(json!({ "statuses": statuses })))
}

async fn expire_sync_tokens(State(state): State<AppState>, Json(which): Json<OfCalendar>) -> StatusCode {
    state.faults.expire_sync_tokens(&which.calendar);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfUser {
    user: String,
}

async fn end_access_tokens(State(state): State<AppState>, Json(which): Json<OfUser>) -> StatusCode {
    state.grants().end_access(&which.user);
    StatusCode::NO_CONTENT
}

async fn revoke(State(state): State<AppState>, Json(which): Json<OfUser>) -> StatusCode {
    state.revoke_user(&which.user);
    StatusCode::NO_CONTENT
}
