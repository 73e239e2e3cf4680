//! Runs one call: faults, authentication, the method's action, and the log.

use std::collections::HashMap;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Map, Value, json};

use super::fields::Mask;
use super::{Method, Query, SCOPE_PREFIX, strict};
use crate::faults::Effect;
use crate::model::resolve;
use crate::refusal::Refusal;
use crate::state::AppState;

/// Largest request body, in bytes.
pub(crate) const BODY_MAX: usize = 1 << 20;
/// How long a call that is never answered is kept open.
const HANG_MAX: Duration = Duration::from_hours(1);

/// Marks a response that must not be sent: its connection is closed instead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aborted;

/// A call that has been read and whose caller is known.
pub(crate) struct Call {
    pub(crate) state: AppState,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The fault that has struck the call.
    pub(crate) effect: Option<Effect>,
    path: HashMap<String, String>,
    user: String,
}

impl Call {
    /// The caller's address; empty where no token is needed.
    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    pub(crate) fn calendar(&self) -> &str {
        self.path.get("calendar").map_or("", String::as_str)
    }

    pub(crate) fn event(&self) -> &str {
        self.path.get("event").map_or("", String::as_str)
    }

    pub(crate) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Refuses what the discovery document does not know, where the stand-in is strict.
    fn check(&self, method: &Method) -> Result<(), Refusal> {
        if self.state.options.strict { strict::check(method.id, &self.query, &self.body) } else { Ok(()) }
    }

    /// The body as a JSON object.
    pub(crate) fn json(&self) -> Result<Map<String, Value>, Refusal> {
        serde_json::from_slice(&self.body).map_err(|_| Refusal::new(400, "global", "parseError", "Parse Error"))
    }

    /// A JSON answer, reduced to the wanted `fields`. With an etag the answer is 304 for a caller who knows it.
    pub(crate) fn answer(&self, mut value: Value) -> Result<Response, Refusal> {
        let etag = value.get("etag").and_then(Value::as_str).and_then(|etag| HeaderValue::from_str(etag).ok());
        if let Some(known) = self.headers.get(header::IF_NONE_MATCH)
            && etag.as_ref() == Some(known)
        {
            return Ok(StatusCode::NOT_MODIFIED.into_response());
        }
        if let Some(fields) = self.query.get("fields") {
            Mask::parse(fields)?.apply(&mut value);
        }
        let pretty = self.query.flag("prettyPrint")?.unwrap_or(false);
        let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) };
        let content_type = (header::CONTENT_TYPE, "application/json; charset=UTF-8");
        let mut response = ([content_type], text.unwrap_or_default()).into_response();
        if let Some(etag) = etag {
            response.headers_mut().insert(header::ETAG, etag);
        }
        Ok(response)
    }
}

/// Serves one request.
pub(super) async fn run(
    state: AppState,
    method: &'static Method,
    Path(path): Path<HashMap<String, String>>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(Body::new(body), BODY_MAX).await else {
        return Refusal::new(413, "global", "uploadTooLarge", "Request Entity Too Large").into_response();
    };
    let query = Query::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let caller = authenticate(&state, method, &parts.headers);
    let user = caller.as_ref().map_or("", |user| user.as_deref().unwrap_or_default()).to_owned();
    let calendar = path.get("calendar").map(|id| resolve(&user, id).to_owned());
    let effect = strike(&state, method, calendar.as_deref(), &user);
    let call = Call { state: state.clone(), query, headers: parts.headers, body, effect, path, user };

    let mut response = match interfere(&state, call.effect.as_ref()).await {
        Some(response) => response,
        None => match caller.and_then(|_| call.check(method)).and_then(|()| (method.action)(&call)) {
            Ok(response) => distort(&state, call.effect.as_ref(), response).await,
            Err(refusal) => distort(&state, call.effect.as_ref(), refusal.into_response()).await,
        },
    };
    if let Some(effect) = call.effect {
        response.extensions_mut().insert(effect);
    }
    let aborted = response.extensions().get::<Aborted>().is_some();
    state.note(method.id, calendar, if aborted { 0 } else { response.status().as_u16() });
    response
}

fn strike(state: &AppState, method: &Method, calendar: Option<&str>, user: &str) -> Option<Effect> {
    if state.faults.is_down() {
        return Some(Effect::Html { status: 503 });
    }
    state.faults.strike(method.id, calendar, Some(user).filter(|user| !user.is_empty()))
}

/// What a fault does before the work; `Some` when the work is not to be done.
async fn interfere(state: &AppState, effect: Option<&Effect>) -> Option<Response> {
    let effect = effect?;
    let status = |code: u16| StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match effect {
        Effect::Refuse { .. } => effect.refusal().map(IntoResponse::into_response),
        Effect::RefuseOauth { status: code, error } => {
            Some((status(*code), Json(json!({ "error": error }))).into_response())
        }
        Effect::Html { status: code } => {
            let page = format!("<!DOCTYPE html><title>Error {code}</title><p>That is an error.");
            Some((status(*code), Html(page)).into_response())
        }
        Effect::Empty { status: code } => Some(status(*code).into_response()),
        Effect::Delay { ms } => {
            tokio::time::sleep(Duration::from_millis(*ms)).await;
            None
        }
        Effect::HangBefore => Some(hang(state).await),
        Effect::ResetBefore => Some(aborted()),
        Effect::HangAfter
        | Effect::ResetAfter
        | Effect::Truncate
        | Effect::EmptyPage
        | Effect::Stale
        | Effect::Drop
        | Effect::Twice => None,
    }
}

/// What a fault does to a finished answer.
async fn distort(state: &AppState, effect: Option<&Effect>, response: Response) -> Response {
    match effect {
        Some(Effect::HangAfter) => hang(state).await,
        Some(Effect::ResetAfter) => aborted(),
        Some(Effect::Truncate) => truncated(response).await,
        _ => response,
    }
}

async fn hang(state: &AppState) -> Response {
    state.stop.run_until_cancelled(tokio::time::sleep(HANG_MAX)).await;
    aborted()
}

fn aborted() -> Response {
    let mut response = StatusCode::SERVICE_UNAVAILABLE.into_response();
    response.extensions_mut().insert(Aborted);
    response
}

/// Announces the whole body, sends half of it and fails.
async fn truncated(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let whole = to_bytes(body, usize::MAX).await.unwrap_or_default();
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(whole.len()));
    // A body that is already encoded is not compressed again, which would hide the missing half.
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("identity"));
    let half = whole.slice(..whole.len() / 2);
    let cut = stream::iter([Ok(half), Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))]);
    Response::from_parts(parts, Body::from_stream(cut))
}

/// The user behind the request's token, `None` where the method needs no token.
fn authenticate(state: &AppState, method: &Method, headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(scopes) = method.scopes else { return Ok(None) };
    let value = headers.get(header::AUTHORIZATION).ok_or_else(Refusal::login_required)?;
    let token =
        value.to_str().ok().and_then(|value| value.strip_prefix("Bearer ")).ok_or_else(Refusal::invalid_credentials)?;
    let grants = state.grants();
    let access = grants.access(token).ok_or_else(Refusal::invalid_credentials)?;
    let known = |granted: &str| scopes.contains(&granted.strip_prefix(SCOPE_PREFIX).unwrap_or(granted));
    if access.scopes.iter().any(|granted| known(granted)) {
        Ok(Some(access.user.clone()))
    } else {
        Err(Refusal::insufficient_scope(method.id))
    }
}
