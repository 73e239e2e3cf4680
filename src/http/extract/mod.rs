//! Reading requests, with refusals that name the field.
//!
//! axum's own extractors answer in plain text; these take their place everywhere.

use axum::{
    body::Body,
    extract::{FromRequest, FromRequestParts, RawPathParams, Request, path::ErrorKind, rejection::PathRejection},
    http::{HeaderMap, header, request::Parts},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use chrono::{DateTime, NaiveDateTime, Utc};
use http_body_util::BodyExt;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned, de::Error as _};
use url::form_urlencoded;

use super::problem::Problem;

/// How much of a body that is too large is read and thrown away, in bytes. A client that is still sending when the
/// connection closes would see a broken connection instead of the answer.
const DISCARD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest piece of a client's text that is repeated to it.
const QUOTE_CHARS_MAX: usize = 200;

/// Largest body in bytes; a router sets it for its routes as an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimit(pub usize);

impl Default for BodyLimit {
    fn default() -> Self {
        Self(64 * 1024)
    }
}

/// A JSON body. Types should refuse unknown fields, so that a misspelled one is not ignored.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let limit = parts.extensions.get().copied().unwrap_or_default();
        let body = read_body(&parts.headers, body, limit).await?;
        if !is_json(&parts.headers) {
            return Err(Problem::unsupported_media_type());
        }
        read_json(&body).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// The parameters of the query.
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let pairs = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs)).map(Self).map_err(|error| {
            let field = error.path().to_string();
            let detail = error.into_inner().to_string();
            Problem::invalid(named(&detail).unwrap_or(field), quote(&detail))
        })
    }
}

/// The parameters of the path.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => Err(match error.into_kind() {
                ErrorKind::ParseErrorAtKey { key, expected_type, .. } => {
                    Problem::invalid(key, format!("expected {expected_type}"))
                }
                ErrorKind::DeserializeError { key, message, .. } => Problem::invalid(key, quote(&message)),
                ErrorKind::InvalidUtf8InPathParam { key } => Problem::invalid(key, "expected UTF-8"),
                // What a type says after it was handed its text comes without the name.
                ErrorKind::Message(message) => Problem::invalid(blamed(parts, &message).await, quote(&message)),
                other => Problem::invalid("path", other.to_string()),
            }),
            Err(error) => Err(Problem::internal(error)),
        }
    }
}

/// An instant that a client sent: RFC 3339 with an offset. One without would mean another instant in each zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rfc3339(pub DateTime<Utc>);

impl std::str::FromStr for Rfc3339 {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        // A `+` that was not percent-encoded arrives as a space.
        let text = match text.rfind(' ') {
            Some(at) if text.contains(['T', 't']) => format!("{}+{}", &text[..at], &text[at + 1..]),
            _ => text.to_owned(),
        };
        if let Ok(time) = DateTime::parse_from_rfc3339(&text) {
            // Whole microseconds, as they are kept; a leap second becomes the first of the next minute.
            return DateTime::from_timestamp_micros(time.timestamp_micros())
                .map(Self)
                .ok_or("this time is out of range");
        }
        let local = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M"];
        if local.iter().any(|format| NaiveDateTime::parse_from_str(&text, format).is_ok()) {
            return Err("add the offset, for example 2026-11-24T14:30:00+01:00");
        }
        Err("expected an RFC 3339 time with offset, for example 2026-11-24T14:30:00+01:00")
    }
}

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Rfc3339 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Reads a body whole, up to `limit`.
pub async fn read_body(headers: &HeaderMap, mut body: Body, limit: BodyLimit) -> Result<Bytes, Problem> {
    let BodyLimit(limit) = limit;
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit) && headers.contains_key(header::EXPECT) {
        // The client asked before sending.
        return Err(Problem::too_large(limit));
    }

    let (mut whole, mut received) = (Vec::with_capacity(declared.unwrap_or_default().min(limit)), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::malformed("the body was cut off"))?;
        let Ok(data) = frame.into_data() else { continue };
        received += data.len();
        if received <= limit {
            whole.extend_from_slice(&data);
        } else if received > DISCARD_BYTES_MAX {
            break;
        }
    }
    if received > limit { Err(Problem::too_large(limit)) } else { Ok(whole.into()) }
}

/// Reads JSON text into a `T`, with refusals that point to the field.
pub fn read_json<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let mut field: String = error.path().iter().filter_map(pointer).collect();
        let inner = error.into_inner();
        if inner.classify() != serde_json::error::Category::Data {
            return Problem::malformed(format!("the body is not JSON: {inner}"));
        }
        let detail = inner.to_string();
        // The field says where; the line would only repeat it.
        let detail = detail.rsplit_once(" at line ").map_or(&*detail, |(detail, _)| detail);
        if let Some(name) = detail.starts_with("missing field").then(|| named(detail)).flatten() {
            field = format!("{field}/{name}");
        }
        Problem::invalid(field, quote(detail))
    })?;
    deserializer.end().map_err(|error| Problem::malformed(format!("the body is not JSON: {error}")))?;
    Ok(value)
}

/// The parameter of the path that `message` is about: the one whose value it quotes, else the first.
async fn blamed(parts: &mut Parts, message: &str) -> String {
    let Ok(parameters) = RawPathParams::from_request_parts(parts, &()).await else { return "path".to_owned() };
    let quoted = parameters.iter().find(|(_, value)| message.contains(&format!("`{value}`")));
    let name = quoted.or_else(|| parameters.iter().next()).map(|(name, _)| name);
    name.unwrap_or("path").to_owned()
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// One step of a JSON pointer.
fn pointer(segment: &serde_path_to_error::Segment) -> Option<String> {
    use serde_path_to_error::Segment;
    match segment {
        Segment::Seq { index } => Some(format!("/{index}")),
        Segment::Map { key } => Some(format!("/{}", key.replace('~', "~0").replace('/', "~1"))),
        Segment::Enum { variant } => Some(format!("/{variant}")),
        Segment::Unknown => None,
    }
}

/// The field that serde names in "missing field `a`", "unknown field `a`, …" or "duplicate field `a`".
fn named(message: &str) -> Option<String> {
    let (_, rest) = message.split_once(" field `")?;
    let (name, _) = rest.split_once('`')?;
    Some(quote(name))
}

fn quote(text: &str) -> String {
    text.chars().take(QUOTE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
