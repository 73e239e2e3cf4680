//! The stand-in's own routes: its state and its faults, for scripts.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::faults::{Fault, Listed};
use crate::state::AppState;

/// Routes below `/sandbox`.
pub(crate) fn routes(state: AppState) -> Router {
    Router::new()
        .route("/sandbox/state", get(show_state))
        .route("/sandbox/calls", get(|State(state): State<AppState>| async move { Json(state.calls()) }))
        .route("/sandbox/faults", get(list_faults).post(add_fault).delete(clear_faults))
        .route("/sandbox/faults/{id}", delete(remove_fault))
        .route("/sandbox/down", put(set_down))
        .route("/sandbox/expire-sync-tokens", post(expire_sync_tokens))
        .route("/sandbox/revoke", post(revoke))
        .with_state(state)
}

async fn show_state(State(state): State<AppState>) -> Json<Value> {
    Json(json!({ "users": state.users(), "calendars": state.calendars() }))
}

async fn list_faults(State(state): State<AppState>) -> Json<Vec<Listed>> {
    Json(state.faults.list())
}

async fn add_fault(State(state): State<AppState>, Json(fault): Json<Fault>) -> (StatusCode, Json<Value>) {
    (StatusCode::CREATED, Json(json!({ "id": state.faults.add(fault) })))
}

async fn clear_faults(State(state): State<AppState>) -> StatusCode {
    state.faults.clear();
    StatusCode::NO_CONTENT
}

async fn remove_fault(State(state): State<AppState>, Path(id): Path<u64>) -> StatusCode {
    if state.faults.remove(id) { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Down {
    down: bool,
}

async fn set_down(State(state): State<AppState>, Json(wanted): Json<Down>) -> StatusCode {
    state.faults.set_down(wanted.down);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfCalendar {
    calendar: String,
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

/// Ends a user's grant as if the user had removed the app from the Google account.
async fn revoke(State(state): State<AppState>, Json(which): Json<OfUser>) -> StatusCode {
    state.grants().revoke_user(&which.user);
    state.channels.stop_all_of(&which.user);
    StatusCode::NO_CONTENT
}
