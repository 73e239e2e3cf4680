//! Errors as problem documents (RFC 9457).

use std::error::Error;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// Everything a client can tell apart. `docs/problems.md` explains each slug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A field or parameter cannot be used.
    Invalid,
    /// The body cannot be read at all.
    Malformed,
    /// No key, or not a valid one.
    Unauthorized,
    /// The key is valid and does not allow this.
    Forbidden,
    /// There is no such thing, or it is not the caller's.
    NotFound,
    /// The path exists and does not take this method.
    MethodNotAllowed,
    /// The state of things does not allow this now.
    Conflict,
    /// The time is not free.
    SlotTaken,
    /// The body is over the limit.
    TooLarge,
    /// The body has another type than the one that is read here.
    UnsupportedMediaType,
    /// The idempotency key was used for another request.
    IdempotencyKeyReused,
    /// Come back later: too much was asked.
    TooManyRequests,
    /// A fault of ours.
    Internal,
    /// Come back later: we cannot answer now.
    Unavailable,
}

impl Kind {
    /// All kinds, in the order of their statuses.
    pub const ALL: [Self; 14] = [
        Self::Invalid,
        Self::Malformed,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::SlotTaken,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::IdempotencyKeyReused,
        Self::TooManyRequests,
        Self::Internal,
        Self::Unavailable,
    ];

    /// Status, slug and title. This table is the contract with clients.
    #[must_use]
    pub const fn describe(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Invalid => (StatusCode::BAD_REQUEST, "invalid", "Invalid request"),
            Self::Malformed => (StatusCode::BAD_REQUEST, "malformed", "Unreadable body"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "No valid API key"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "Not allowed with this API key"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed"),
            Self::Conflict => (StatusCode::CONFLICT, "conflict", "Not possible now"),
            Self::SlotTaken => (StatusCode::CONFLICT, "slot-taken", "The time is not free"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Body too large"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Not a JSON body")
            }
            Self::IdempotencyKeyReused => {
                (StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused", "Idempotency key used for another request")
            }
            Self::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not available now"),
        }
    }
}

/// Why a request was not done.
#[derive(Debug)]
pub struct Problem(Box<Parts>);

/// When to ask again for what the database is needed for, in seconds.
const DATABASE_AFTER_S: u32 = 2;

/// Boxed, because every fallible function of this floor returns it.
#[derive(Debug)]
struct Parts {
    kind: Kind,
    detail: Option<String>,
    field: Option<String>,
    reason: Option<&'static str>,
    alternatives: Option<serde_json::Value>,
    standing: Option<serde_json::Value>,
    retry_after_s: Option<u32>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

/// The body of every error answer.
#[derive(Debug, Serialize)]
pub struct ProblemBody {
    /// Names the kind of problem: `/problems/<slug>`. Stable, for programs.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// This occurrence in words. Absent for faults on our side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What to correct: the name of a parameter, or a JSON pointer (RFC 6901) into the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Why, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// What could be booked instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alternatives: Option<serde_json::Value>,
    /// How far the answer can be believed: `as_of`, `freshness`, `coverage`.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub standing: Option<serde_json::Value>,
}

impl Problem {
    /// A problem of `kind`, said in words for this occurrence.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self::bare(kind).with(|parts| parts.detail = Some(detail.into()))
    }

    fn bare(kind: Kind) -> Self {
        Self(Box::new(Parts {
            kind,
            detail: None,
            field: None,
            reason: None,
            alternatives: None,
            standing: None,
            retry_after_s: None,
            cause: None,
        }))
    }

    fn with(mut self, change: impl FnOnce(&mut Parts)) -> Self {
        change(&mut self.0);
        self
    }

    /// `field` (a parameter's name, or a JSON pointer into the body) cannot be used, and what would be right.
    pub fn invalid(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, detail).with(|parts| parts.field = Some(field.into()))
    }

    /// The body cannot be read at all.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(Kind::Malformed, detail)
    }

    /// No key, or not a valid one. It tells nobody which.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(Kind::Unauthorized, "send a valid API key as `Authorization: Bearer slotd_...`")
    }

    /// The key is valid and does not allow this.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(Kind::Forbidden, detail)
    }

    /// There is no such `what` (a word of the vocabulary), or it is not the caller's: the answers are the same.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(Kind::NotFound, format!("there is no such {what}"))
    }

    /// The path does not take this method.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        Self::new(Kind::MethodNotAllowed, "this path does not take this method")
    }

    /// The state of things does not allow this now; `reason` is for programs.
    pub fn conflict(reason: &'static str, detail: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, detail).because(reason)
    }

    /// The time is not free; `reason` says why, `alternatives` what is, and the object `standing` how far that can be
    /// believed.
    pub fn slot_taken(
        reason: &'static str,
        detail: impl Into<String>,
        alternatives: serde_json::Value,
        standing: serde_json::Value,
    ) -> Self {
        Self::new(Kind::SlotTaken, detail).because(reason).with(|parts| {
            parts.alternatives = Some(alternatives);
            parts.standing = Some(standing);
        })
    }

    /// The body is larger than `limit` bytes.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        Self::new(Kind::TooLarge, format!("a body may have at most {limit} bytes"))
    }

    /// The body is not declared as JSON.
    #[must_use]
    pub fn unsupported_media_type() -> Self {
        Self::new(Kind::UnsupportedMediaType, "send the body as `Content-Type: application/json`")
    }

    /// The idempotency key was used for another request.
    #[must_use]
    pub fn idempotency_key_reused() -> Self {
        let detail = "this key was used for a different request; use a new key for every new request";
        Self::new(Kind::IdempotencyKeyReused, detail).with(|parts| parts.field = Some("Idempotency-Key".to_owned()))
    }

    /// Too much was asked; `retry_after_s` seconds from now there is room again.
    #[must_use]
    pub fn too_many_requests(retry_after_s: u32) -> Self {
        let detail = format!("too many requests; come back in {retry_after_s} s");
        Self::new(Kind::TooManyRequests, detail).with(|parts| parts.retry_after_s = Some(retry_after_s))
    }

    /// A fault of ours. The client learns nothing about it; the log has it.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::bare(Kind::Internal).with(|parts| parts.cause = Some(cause.into()))
    }

    /// The database does not answer. What was asked for may have been done: the client has to ask again to know. The log
    /// has the cause.
    pub fn unreachable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let detail = "the database cannot be reached; ask again, with the same Idempotency-Key if there was one";
        Self::unavailable(DATABASE_AFTER_S, detail).with(|parts| parts.cause = Some(cause.into()))
    }

    /// We cannot answer now, for a reason that passes.
    pub fn unavailable(retry_after_s: u32, detail: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, detail).with(|parts| parts.retry_after_s = Some(retry_after_s))
    }

    /// Adds the reason, for programs.
    #[must_use]
    pub fn because(self, reason: &'static str) -> Self {
        self.with(|parts| parts.reason = Some(reason))
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.kind.describe().0
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self(parts) = self;
        let (status, slug, title) = parts.kind.describe();
        if let Some(cause) = &parts.cause {
            // Logged here and nowhere below.
            let mut causes = cause.to_string();
            let mut next = cause.source();
            while let Some(error) = next {
                causes = format!("{causes}: {error}");
                next = error.source();
            }
            tracing::error!(error = causes, "request failed");
        }
        let body = ProblemBody {
            kind: format!("/problems/{slug}"),
            title,
            status: status.as_u16(),
            detail: parts.detail,
            field: parts.field,
            reason: parts.reason,
            alternatives: parts.alternatives,
            standing: parts.standing,
        };
        let mut response = (status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if parts.kind == Kind::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = parts.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    use super::*;

    async fn answer(problem: Problem) -> (Response, Value) {
        let mut response = problem.into_response();
        let body = response.body_mut().collect().await.unwrap().to_bytes();
        (response, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn a_problem_names_its_kind_and_the_field() {
        let (response, body) = answer(Problem::invalid("/customer/phone", "add the country code")).await;
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let expected = json!({
            "type": "/problems/invalid", "title": "Invalid request", "status": 400,
            "detail": "add the country code", "field": "/customer/phone",
        });
        assert_eq!(body, expected);
    }

    #[tokio::test]
    async fn a_taken_slot_comes_with_its_reason_and_alternatives() {
        let free = json!([{ "start": "2026-11-24T15:00:00+01:00" }]);
        let standing = json!({ "as_of": null, "freshness": "stale" });
        let (response, body) = answer(Problem::slot_taken("busy", "Anna is busy then", free.clone(), standing)).await;
        assert_eq!(response.status(), 409);
        assert_eq!((&body["reason"], &body["alternatives"]), (&json!("busy"), &free));
        assert_eq!((&body["freshness"], body.get("as_of")), (&json!("stale"), Some(&Value::Null)));
    }

    #[tokio::test]
    async fn a_fault_of_ours_is_not_shown() {
        let (response, body) = answer(Problem::internal("password=hunter2")).await;
        assert_eq!(response.status(), 500);
        assert_eq!(body, json!({ "type": "/problems/internal", "title": "Internal error", "status": 500 }));
    }

    #[tokio::test]
    async fn answers_say_when_to_come_back_and_how_to_authenticate() {
        assert_eq!(answer(Problem::too_many_requests(7)).await.0.headers()["retry-after"], "7");
        assert_eq!(answer(Problem::unauthorized()).await.0.headers()["www-authenticate"], "Bearer");
    }

    #[test]
    fn the_documentation_lists_each_kind() {
        let documented: Vec<String> = include_str!("../../docs/problems.md")
            .lines()
            .filter(|line| line.starts_with("| `"))
            .map(|line| line.split('|').take(4).collect::<Vec<_>>().join("|") + "|")
            .collect();
        let known: Vec<String> = Kind::ALL
            .iter()
            .map(|kind| {
                let (status, slug, title) = kind.describe();
                format!("| `{slug}` | {} | {title} |", status.as_u16())
            })
            .collect();
        assert_eq!(documented, known);
    }
}
