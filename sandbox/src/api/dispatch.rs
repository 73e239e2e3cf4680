//! Runs one call: quotas, faults, authentication, the method's action, and the log.

use std::collections::HashMap;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::fields::Mask;
use super::meddling::{Aborted, distort, interfere};
use super::seen::Seen;
use super::{Method, Query, SCOPE_PREFIX, strict};
use crate::clock;
use crate::faults::Effect;
use crate::quota::Charge;
use crate::refusal::Refusal;
use crate::state::{self, AppState};

/// Largest request body, in bytes.
pub(crate) const BODY_MAX: usize = 1 << 20;

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

    /// Refuses what the discovery document does not know, where the stand-in is strict.
    fn check(&self, method: &Method) -> Result<(), Refusal> {
        if self.state.options.strict { strict::check(method.id, &self.query, &self.body) } else { Ok(()) }
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
    let over_quota = if caller.is_ok() { charge(&state, method, &seen, &parts.headers, &query) } else { None };
    let effect = if over_quota.is_none() { seen.strike(&state, method) } else { None };
    let fault = if over_quota.is_some() { Some("quota".to_owned()) } else { effect.as_ref().map(Effect::name) };
    let mut noted = Noted { state: state.clone(), method: method.id, seen: seen.clone(), fault, status: 0 };
    let call = Call { state, query, headers: parts.headers, body, effect, page: seen.number, path, user };

    let mut response = if let Some(refusal) = over_quota {
        refusal.into_response()
    } else if let Some(response) = interfere(&call, method, &seen).await {
        response
    } else {
        let checked = caller.and_then(|_| call.check(method));
        let response = checked.and_then(|()| (method.action)(&call)).unwrap_or_else(IntoResponse::into_response);
        distort(&call, &seen, response).await
    };
    if response.extensions().get::<Aborted>().is_none() {
        noted.status = response.status().as_u16();
    }
    if let Some(effect) = call.effect {
        response.extensions_mut().insert(effect);
    }
    response
}

/// Puts a call into the log when it ends, also when the client gives up before.
struct Noted {
    state: AppState,
    method: &'static str,
    seen: Seen,
    fault: Option<String>,
    status: u16,
}

impl Drop for Noted {
    fn drop(&mut self) {
        let seen = self.seen.clone();
        self.state.note(state::Call {
            method: self.method,
            calendar: seen.calendar,
            user: seen.user,
            page: seen.page,
            shape: seen.shape,
            channel: seen.channel,
            fault: self.fault.take(),
            status: self.status,
            at: clock::now(),
        });
    }
}

/// Takes a call of the Calendar API into account. Returns the refusal when a quota is used up.
fn charge(state: &AppState, method: &Method, seen: &Seen, headers: &HeaderMap, query: &Query) -> Option<Refusal> {
    if !method.id.starts_with("calendar.") || state.faults.is_down() {
        return None;
    }
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let named = query.get("quotaUser").or_else(|| header("x-goog-quota-user")).filter(|user| !user.is_empty());
    let token = header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let grants = state.grants();
    let service_account = token.and_then(|token| grants.access(token)?.service_account.as_deref());
    let user = named.or(service_account).or(seen.user.as_deref()).unwrap_or_default();
    let writes_to = seen.calendar.as_deref().filter(|_| method.writes());
    state.quotas.charge(Charge { user, writes_to })
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
