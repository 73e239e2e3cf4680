//! Error answers in the two envelopes that Google Calendar uses.

use std::borrow::Cow;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// A request that is answered with an error envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal(Box<Envelope>);

/// What the envelope says.
///
/// The back end's envelope has no `status` key; the front end's (authentication, scopes, quota) has one and may carry
/// `details`. Clients tell errors apart by the HTTP status and `errors[].reason`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) status: u16,
    pub(crate) domain: Cow<'static, str>,
    pub(crate) reason: Cow<'static, str>,
    pub(crate) message: Cow<'static, str>,
    location: Option<(&'static str, Cow<'static, str>)>,
    front_end: Option<FrontEnd>,
    pub(crate) retry_after_s: Option<u64>,
}

impl std::ops::Deref for Refusal {
    type Target = Envelope;

    fn deref(&self) -> &Envelope {
        &self.0
    }
}

impl std::ops::DerefMut for Refusal {
    fn deref_mut(&mut self) -> &mut Envelope {
        &mut self.0
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FrontEnd {
    status: &'static str,
    /// A reason, and what its metadata name besides the service.
    detail: Option<Detail>,
}

pub(crate) type Detail = (&'static str, (&'static str, &'static str));

impl Refusal {
    pub(crate) fn new(
        status: u16,
        domain: impl Into<Cow<'static, str>>,
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self(Box::new(Envelope {
            status,
            domain: domain.into(),
            reason: reason.into(),
            message: message.into(),
            location: None,
            front_end: None,
            retry_after_s: None,
        }))
    }

    /// 400 `invalid`: a value that cannot be used.
    pub(crate) fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, "global", "invalid", message)
    }

    /// 400 `required`: something is missing.
    pub(crate) fn required(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, "global", "required", message)
    }

    /// 400 `badRequest`: parameters that do not go together.
    pub(crate) fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, "global", "badRequest", message)
    }

    /// 400 `invalidParameter`: a query parameter that cannot be read, or is not known.
    pub(crate) fn parameter(name: &str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, "global", "invalidParameter", message).at("parameter", name.to_owned())
    }

    pub(crate) fn time_range_empty() -> Self {
        Self::new(400, "calendar", "timeRangeEmpty", "The specified time range is empty.").at("parameter", "timeMax")
    }

    pub(crate) fn not_found() -> Self {
        Self::new(404, "global", "notFound", "Not Found")
    }

    pub(crate) fn duplicate() -> Self {
        Self::new(409, "global", "duplicate", "The requested identifier already exists.")
    }

    pub(crate) fn deleted() -> Self {
        Self::new(410, "global", "deleted", "Resource has been deleted")
    }

    pub(crate) fn full_sync_required() -> Self {
        let message = "Sync token is no longer valid, a full sync is required.";
        Self::new(410, "calendar", "fullSyncRequired", message).at("parameter", "syncToken")
    }

    pub(crate) fn invalid_sync_token() -> Self {
        Self::invalid("Invalid sync token value.").at("parameter", "syncToken")
    }

    pub(crate) fn invalid_page_token() -> Self {
        Self::invalid("Invalid page token value.").at("parameter", "pageToken")
    }

    pub(crate) fn condition_not_met() -> Self {
        Self::new(412, "global", "conditionNotMet", "Precondition Failed").at("header", "If-Match")
    }

    pub(crate) fn access_level() -> Self {
        let message = "You need to have writer access to this calendar.";
        Self::new(403, "calendar", "requiredAccessLevel", message)
    }

    /// 401 for a request without a token.
    pub(crate) fn login_required() -> Self {
        let mut refusal = Self::new(401, "global", "required", "Login Required.").at("header", "Authorization");
        refusal.front_end = Some(FrontEnd { status: "UNAUTHENTICATED", detail: None });
        refusal
    }

    /// 401 for a token that is unknown, expired or revoked.
    pub(crate) fn invalid_credentials() -> Self {
        let mut refusal = Self::new(401, "global", "authError", "Invalid Credentials").at("header", "Authorization");
        refusal.front_end = Some(FrontEnd { status: "UNAUTHENTICATED", detail: None });
        refusal
    }

    /// 403 for a token whose grant does not cover `method` (such as `calendar.events.list`).
    pub(crate) fn insufficient_scope(method: &'static str) -> Self {
        let message = "Request had insufficient authentication scopes.";
        let mut refusal = Self::new(403, "global", "insufficientPermissions", message);
        refusal.front_end = Some(FrontEnd {
            status: "PERMISSION_DENIED",
            detail: Some(("ACCESS_TOKEN_SCOPE_INSUFFICIENT", ("method", method))),
        });
        refusal
    }

    /// Makes it an answer of the front end.
    pub(crate) fn in_front(mut self, status: &'static str, detail: Option<Detail>) -> Self {
        self.front_end = Some(FrontEnd { status, detail });
        self
    }

    /// Names the parameter or header that is to blame.
    pub(crate) fn at(mut self, kind: &'static str, place: impl Into<Cow<'static, str>>) -> Self {
        self.location = Some((kind, place.into()));
        self
    }

    fn envelope(&self) -> Value {
        let mut entry = json!({ "domain": self.domain, "reason": self.reason, "message": self.message });
        if let Some((kind, place)) = &self.location {
            entry["locationType"] = json!(kind);
            entry["location"] = json!(place);
        }
        let mut error = json!({ "errors": [entry], "code": self.status, "message": self.message });
        if let Some(front_end) = &self.front_end {
            error["status"] = json!(front_end.status);
            if let Some((reason, (key, value))) = front_end.detail {
                error["details"] = json!([{
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": reason,
                    "domain": "googleapis.com",
                    "metadata": { "service": "calendar-json.googleapis.com", key: value },
                }]);
            }
        }
        json!({ "error": error })
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.envelope())).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
