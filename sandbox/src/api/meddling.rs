//! What faults do to a call before and after its work.

use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, StatusCode, header, response};
use axum::response::{Html, IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde_json::json;

use super::seen::Seen;
use super::{Call, Method};
use crate::faults::Effect;
use crate::refusal::Refusal;
use crate::state::AppState;

/// How long a call that is never answered is kept open.
const HANG_MAX: Duration = Duration::from_hours(1);
/// In how many pieces an answer comes that is sent slowly.
const PIECES: usize = 20;

/// Marks a response that must not be sent: its connection is closed instead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aborted;

/// What a fault does before the work; `Some` when the work is not to be done.
pub(super) async fn interfere(call: &Call, method: &Method, seen: &Seen) -> Option<Response> {
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
pub(super) async fn distort(call: &Call, seen: &Seen, response: Response) -> Response {
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
async fn read(response: Response) -> (response::Parts, Bytes) {
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
