//! The week page, on which a person plays the owner: it shows a calendar's week and lets events be made, moved and deleted.
//!
//! The page is a client of Calendar v3 like any other. The server only hands out its files, with a token for each account,
//! and tells it at once which calendar has changed.

#[cfg(test)]
mod tests;

use std::convert::Infallible;

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderName, StatusCode, header},
    response::{
        Html, IntoResponse, Redirect, Response, Sse,
        sse::{Event, KeepAlive},
    },
    routing::get,
};
use futures_util::{Stream, StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use crate::state::AppState;

const PAGE: &str = include_str!("page.html");
/// What `PAGE` has in place of the accounts.
const ACCOUNTS: &str = "__ACCOUNTS__";

const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const FILES: &[(&str, &str, &str)] = &[
    ("style.css", STYLE, include_str!("style.css")),
    ("api.js", SCRIPT, include_str!("api.js")),
    ("app.js", SCRIPT, include_str!("app.js")),
    ("drag.js", SCRIPT, include_str!("drag.js")),
    ("editor.js", SCRIPT, include_str!("editor.js")),
    ("events.js", SCRIPT, include_str!("events.js")),
    ("grid.js", SCRIPT, include_str!("grid.js")),
    ("time.js", SCRIPT, include_str!("time.js")),
];

/// The page needs nothing from elsewhere, and an event's title must never become a script.
const POLICY: (HeaderName, &str) = (
    header::CONTENT_SECURITY_POLICY,
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
/// A new build of the stand-in on the same port must not meet an old script.
const FRESH: (HeaderName, &str) = (header::CACHE_CONTROL, "no-cache");

/// Routes below `/page`.
pub(crate) fn routes(state: AppState) -> Router {
    Router::new()
        .route("/page", get(|| async { Redirect::permanent("/page/") }))
        .route("/page/", get(page))
        .route("/page/changes", get(changes))
        .route("/page/{file}", get(file))
        .with_state(state)
}

async fn page(State(state): State<AppState>) -> impl IntoResponse {
    // Within a script element only "<" could end it.
    let accounts = accounts(&state).to_string().replace('<', "\\u003c");
    ([POLICY, FRESH], Html(PAGE.replace(ACCOUNTS, &accounts)))
}

async fn file(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, content)) => ([(header::CONTENT_TYPE, *kind), FRESH], *content).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Each user with a token and calendars; calendars with events come first, because they are the ones to look at.
fn accounts(state: &AppState) -> Value {
    let users = state.users();
    let mut calendars: Vec<_> = state
        .model()
        .calendars
        .values()
        .map(|calendar| {
            let shown = json!({ "id": calendar.id, "summary": calendar.summary, "timeZone": calendar.zone.name() });
            (calendar.revision == 0, calendar.summary.clone(), calendar.owner.clone(), shown)
        })
        .collect();
    calendars.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
    let account = |user: crate::state::UserSummary| {
        let own: Vec<&Value> =
            calendars.iter().filter(|(.., owner, _)| *owner == user.email).map(|(.., shown)| shown).collect();
        json!({ "email": user.email, "name": user.name, "token": state.bearer_token(&user.email), "calendars": own })
    };
    users.into_iter().map(account).collect()
}

/// Says which calendar changed, as server-sent events; `null` when some were missed and any may have.
async fn changes(State(state): State<AppState>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let changes = stream::unfold(state.changes(), |mut changes| async move {
        let calendar = match changes.recv().await {
            Ok(change) => Some(change.calendar),
            Err(RecvError::Lagged(_)) => None,
            Err(RecvError::Closed) => return None,
        };
        Some((Ok(Event::default().data(json!({ "calendar": calendar }).to_string())), changes))
    });
    Sse::new(changes.take_until(state.stop.clone().cancelled_owned())).keep_alive(KeepAlive::default())
}
