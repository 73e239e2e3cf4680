//! Runs one call: faults, authentication, the method's action, and the log.

use std::collections::HashMap;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Map, Value, json};

use super::fields::Mask;
use super::{Method, Query, SCOPE_PREFIX};
use crate::clock;
use crate::faults::{Effect, REFRESH, Shape, Target};
use crate::model::resolve;
use crate::refusal::Refusal;
use crate::state::{self, AppState};
use crate::tokens::Sealer;

/// Largest request body, in bytes.
const BODY_MAX: usize = 1 << 20;
/// How long a call that is never answered is kept open.
const HANG_MAX: Duration = Duration::from_hours(1);
/// In how many pieces an answer comes that is sent slowly.
const PIECES: usize = 20;

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
    /// The number of the page that is asked for, from 1.
    pub(crate) page: u32,
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

    /// The body as a JSON object.
    pub(crate) fn json(&self) -> Result<Map<String, Value>, Refusal> {
        serde_json::from_slice(&self.body).map_err(|_| Refusal::new(400, "global", "parseError", "Parse Error"))
    }

    /// What the query's page token holds, if there is one.
    pub(crate) fn open_page<T: DeserializeOwned>(&self, binding: &str) -> Result<Option<T>, Refusal> {
        let Some(token) = self.query.get("pageToken") else { return Ok(None) };
        let opened: Option<(u32, T)> = self.state.sealer.open(binding, token);
        opened.map(|(_, point)| Some(point)).ok_or_else(Refusal::invalid_page_token)
    }

    /// A page token for the page with this number.
    pub(crate) fn seal_page(&self, binding: &str, number: u32, point: &impl Serialize) -> String {
        self.state.sealer.seal(binding, &(number, point))
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
    let seen = Seen::of(&state, method, &query, &path, &user, &body);
    let effect = seen.strike(&state, method);
    let call =
        Call { state: state.clone(), query, headers: parts.headers, body, effect, page: seen.number, path, user };

    let response = if let Some(response) = interfere(&call, method, &seen).await {
        response
    } else {
        let response = caller.and_then(|_| (method.action)(&call)).unwrap_or_else(IntoResponse::into_response);
        distort(&call, &seen, response).await
    };
    let aborted = response.extensions().get::<Aborted>().is_some();
    state.note(state::Call {
        method: method.id,
        calendar: seen.calendar,
        user: Some(call.user).filter(|user| !user.is_empty()),
        page: seen.page,
        shape: seen.shape,
        channel: seen.channel,
        fault: call.effect.as_ref().map(Effect::name),
        status: if aborted { 0 } else { response.status().as_u16() },
        at: clock::now(),
    });
    response
}

/// What a call is about, as faults and the log see it.
struct Seen {
    calendar: Option<String>,
    user: Option<String>,
    /// The page of a list.
    page: Option<u32>,
    number: u32,
    shape: Option<Shape>,
    channel: Option<String>,
    refreshes: bool,
}

impl Seen {
    fn of(
        state: &AppState,
        method: &Method,
        query: &Query,
        path: &HashMap<String, String>,
        user: &str,
        body: &Bytes,
    ) -> Self {
        let verb = method.id.rsplit('.').next().unwrap_or_default();
        let lists = matches!(verb, "list" | "instances");
        let number = query.get("pageToken").and_then(Sealer::peek::<(u32, IgnoredAny)>).map_or(1, |(page, _)| page);
        let shape = if query.has("syncToken") { Shape::Incremental } else { Shape::Full };
        let names_channel = verb == "watch" || method.id == "calendar.channels.stop";
        let body_id = || serde_json::from_slice::<Value>(body).ok()?.get("id")?.as_str().map(str::to_owned);
        let form = (method.id == "oauth2.token").then(|| Query::parse(body));
        let refresh_token = form.as_ref().filter(|form| form.get("grant_type") == Some("refresh_token"));
        let refreshed = refresh_token.and_then(|form| state.grants().refresh(form.get("refresh_token")?));
        let refreshed = refreshed.map(|(user, _)| user);
        Self {
            calendar: path.get("calendar").map(|id| resolve(user, id).to_owned()),
            user: Some(user.to_owned()).filter(|user| !user.is_empty()).or(refreshed),
            page: lists.then_some(number),
            number,
            shape: lists.then_some(shape),
            channel: names_channel.then(body_id).flatten(),
            refreshes: refresh_token.is_some(),
        }
    }

    fn strike(&self, state: &AppState, method: &Method) -> Option<Effect> {
        if let Some(effect) = state.faults.outage() {
            return Some(effect);
        }
        let target = Target {
            method: method.id,
            calendar: self.calendar.as_deref(),
            user: self.user.as_deref(),
            page: self.page,
            shape: self.shape,
            channel: self.channel.as_deref(),
        };
        let refresh = || state.faults.strike(Target { method: REFRESH, ..target });
        state.faults.strike(target).or_else(|| self.refreshes.then(refresh).flatten())
    }
}

/// What a fault does before the work; `Some` when the work is not to be done.
async fn interfere(call: &Call, method: &Method, seen: &Seen) -> Option<Response> {
    let effect = call.effect.as_ref()?;
    let status = |code: u16| StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let oauth_error = |code: u16, error: &str, description: &str| {
        (status(code), Json(json!({ "error": error, "error_description": description }))).into_response()
    };
    match effect {
        // The OAuth endpoints know nothing of the envelopes.
        Effect::Google { .. } | Effect::Refuse { .. } if method.scopes.is_none() => {
            let refusal = effect.refusal(method.id)?;
            Some(oauth_error(refusal.status, "internal_failure", &refusal.message))
        }
        Effect::Google { .. } | Effect::Refuse { .. } => effect.refusal(method.id).map(IntoResponse::into_response),
        Effect::RefuseOauth { status: code, error } => {
            Some(oauth_error(*code, error, "The stand-in was told to refuse."))
        }
        Effect::Html { status: code } => {
            let page = format!("<!DOCTYPE html><title>Error {code}</title><p>That is an error.");
            Some((status(*code), Html(page)).into_response())
        }
        Effect::Empty { status: code } => Some(status(*code).into_response()),
        Effect::RevokeGrant => {
            call.state.revoke_user(seen.user.as_deref()?);
            Some(Refusal::invalid_credentials().into_response())
        }
        Effect::EndAccessTokens => {
            call.state.grants().end_access(seen.user.as_deref()?);
            Some(Refusal::invalid_credentials().into_response())
        }
        Effect::Delay { ms } => {
            tokio::time::sleep(Duration::from_millis(*ms)).await;
            None
        }
        Effect::HangBefore => Some(hang(&call.state).await),
        Effect::ResetBefore => Some(aborted()),
        _ => None,
    }
}

/// What a fault does to a finished answer.
async fn distort(call: &Call, seen: &Seen, response: Response) -> Response {
    match call.effect {
        Some(Effect::HangAfter) => hang(&call.state).await,
        Some(Effect::ResetAfter) => aborted(),
        Some(Effect::Truncate) => truncated(response).await,
        Some(Effect::HalfJson) => {
            let (parts, whole) = read(response).await;
            Response::from_parts(parts, Body::from(whole.slice(..whole.len() / 2)))
        }
        Some(Effect::Garbage) => {
            let (parts, _) = read(response).await;
            Response::from_parts(parts, Body::from(&b"\x00)]}'\n{\"kind\": calendar#events, <items>\xff"[..]))
        }
        Some(Effect::Trickle { ms }) => trickling(response, Duration::from_millis(ms)).await,
        Some(Effect::SyncFirst { messages }) => {
            if let Some(id) = seen.channel.as_deref().filter(|_| response.status().is_success()) {
                call.state.channels.first_carried(id, messages).await;
            }
            response
        }
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

/// The answer taken apart. Its length may change, and it is not compressed again, which would hide that.
async fn read(response: Response) -> (axum::http::response::Parts, Bytes) {
    let (mut parts, body) = response.into_parts();
    let whole = to_bytes(body, usize::MAX).await.unwrap_or_default();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("identity"));
    (parts, whole)
}

/// Announces the whole body, sends half of it and fails.
async fn truncated(response: Response) -> Response {
    let (mut parts, whole) = read(response).await;
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(whole.len()));
    let half = whole.slice(..whole.len() / 2);
    let cut = stream::iter([Ok(half), Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))]);
    Response::from_parts(parts, Body::from_stream(cut))
}

/// Sends the body in pieces.
async fn trickling(response: Response, time: Duration) -> Response {
    let (parts, whole) = read(response).await;
    let pieces: Vec<Bytes> = whole.chunks(whole.len().div_ceil(PIECES).max(1)).map(|at| whole.slice_ref(at)).collect();
    let pause = time / u32::try_from(pieces.len().max(1)).unwrap_or(u32::MAX);
    let slow = stream::iter(pieces).then(move |piece| async move {
        tokio::time::sleep(pause).await;
        Ok::<_, std::io::Error>(piece)
    });
    Response::from_parts(parts, Body::from_stream(slow))
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
