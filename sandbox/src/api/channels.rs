//! `events.watch`, `calendarList.watch` and `channels.stop`.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use url::Url;

use super::Call;
use crate::clock;
use crate::faults::Effect;
use crate::model::digest;
use crate::push::{self, Channel};
use crate::refusal::Refusal;

/// How long a channel lives when nothing is asked for, and at most.
const TTL_DEFAULT: Duration = Duration::from_hours(168);
const ID_MAX: usize = 64;
const TOKEN_MAX: usize = 256;
/// Most channels at a time in the whole stand-in.
const CHANNELS_MAX: usize = 10_000;

pub(super) fn watch(call: &Call) -> Result<Response, Refusal> {
    let body = call.json()?;
    let channel = {
        let model = call.state.model();
        let (calendar, _) = model.calendar(call.user(), call.calendar())?;
        if !calendar.is_watchable() || call.state.faults.is_unwatchable(&calendar.id) {
            let message = "Push notifications are not supported by this resource.";
            return Err(Refusal::new(400, "calendar", "pushNotSupportedForRequestedResource", message));
        }
        let id: String = url::form_urlencoded::byte_serialize(calendar.id.as_bytes()).collect();
        let collection = format!("calendars/{id}/events");
        read(call, &body, calendar.resource_id(), &collection, calendar.id.clone())?
    };
    open(call, channel)
}

/// Names a user's list of calendars in watch channels.
pub(crate) fn list_resource_id(email: &str) -> String {
    digest(&["calendarList", email])
}

/// A channel for the caller's list of calendars.
pub(super) fn watch_list(call: &Call) -> Result<Response, Refusal> {
    let body = call.json()?;
    let resource_id = list_resource_id(call.user());
    open(call, read(call, &body, resource_id, "users/me/calendarList", String::new())?)
}

/// The channel that a body asks for.
fn read(
    call: &Call,
    body: &Map<String, Value>,
    resource_id: String,
    collection: &str,
    calendar: String,
) -> Result<Channel, Refusal> {
    Ok(Channel {
        id: id(body)?,
        resource_id,
        resource_uri: format!("{}/calendar/v3/{collection}?alt=json", call.state.root()),
        calendar,
        user: call.user().to_owned(),
        address: address(body, call.state.options.allow_http_push)?,
        token: token(body)?,
        expiration: expiration(body, call.effect.as_ref())?,
    })
}

fn open(call: &Call, channel: Channel) -> Result<Response, Refusal> {
    if call.state.channels.count() >= CHANNELS_MAX {
        return Err(Refusal::new(403, "usageLimits", "rateLimitExceeded", "Rate Limit Exceeded"));
    }
    if !push::open(&call.state, channel.clone(), call.effect.as_ref()) {
        let message = format!("Channel id {} not unique", channel.id);
        return Err(Refusal::new(400, "global", "channelIdNotUnique", message));
    }
    let mut answer = json!({
        "kind": "api#channel",
        "id": channel.id,
        "resourceId": channel.resource_id,
        "resourceUri": channel.resource_uri,
        "expiration": channel.expiration.timestamp_millis().to_string(),
    });
    if let Some(token) = channel.token {
        answer["token"] = json!(token);
    }
    call.answer(answer)
}

pub(super) fn stop(call: &Call) -> Result<Response, Refusal> {
    let body = call.json()?;
    let text = |name: &str| {
        body.get(name).and_then(Value::as_str).ok_or_else(|| Refusal::required(format!("Missing {name}.")))
    };
    if call.state.channels.stop(text("id")?, text("resourceId")?, call.user()) {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(Refusal::new(404, "global", "notFound", "Channel not found"))
    }
}

fn id(body: &Map<String, Value>) -> Result<String, Refusal> {
    if !matches!(body.get("type").and_then(Value::as_str), Some("web_hook" | "webhook")) {
        return Err(Refusal::invalid("Unknown channel type."));
    }
    let id = body.get("id").and_then(Value::as_str).ok_or_else(|| Refusal::required("Missing channel id."))?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_+/=".contains(&byte);
    if (1..=ID_MAX).contains(&id.len()) && id.bytes().all(fits) {
        Ok(id.to_owned())
    } else {
        Err(Refusal::invalid("Invalid channel id."))
    }
}

fn address(body: &Map<String, Value>, allow_http: bool) -> Result<String, Refusal> {
    let text = body.get("address").and_then(Value::as_str).ok_or_else(|| Refusal::required("Missing address."))?;
    match Url::parse(text).ok().filter(Url::has_host) {
        Some(url) if url.scheme() == "https" || (allow_http && url.scheme() == "http") => Ok(text.to_owned()),
        Some(_) => {
            let message = format!("WebHook callback must be HTTPS: {text}");
            Err(Refusal::new(400, "global", "push.webhookUrlNotHttps", message))
        }
        None => Err(Refusal::invalid("Invalid address.")),
    }
}

fn token(body: &Map<String, Value>) -> Result<Option<String>, Refusal> {
    match body.get("token").filter(|token| !token.is_null()) {
        None => Ok(None),
        Some(Value::String(token)) if token.chars().count() <= TOKEN_MAX => Ok(Some(token.clone())),
        Some(_) => Err(Refusal::invalid("Invalid channel token.")),
    }
}

/// The earlier of what is asked for (`expiration` in milliseconds, `params.ttl` in seconds) and the longest life.
fn expiration(body: &Map<String, Value>, effect: Option<&Effect>) -> Result<DateTime<Utc>, Refusal> {
    let number = |value: &Value| value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
    let now = clock::now();
    let longest = match effect {
        Some(Effect::CapTtl { seconds }) => Duration::from_secs(u64::from(*seconds)),
        _ => TTL_DEFAULT,
    };
    let mut end = now + longest;
    if let Some(value) = body.get("expiration").filter(|value| !value.is_null()) {
        let asked = number(value).and_then(DateTime::from_timestamp_millis);
        end = end.min(asked.ok_or_else(|| Refusal::invalid("Invalid expiration."))?);
    }
    if let Some(value) = body.get("params").and_then(|params| params.get("ttl")) {
        let asked = number(value).and_then(TimeDelta::try_seconds).and_then(|ttl| now.checked_add_signed(ttl));
        end = end.min(asked.ok_or_else(|| Refusal::invalid("Invalid ttl."))?);
    }
    if end > now { Ok(end) } else { Err(Refusal::invalid("Channel expiration is in the past.")) }
}
