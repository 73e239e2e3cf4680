//! From an answer that is not a success to an [`Error`].
//!
//! Status and Google's `reason` words decide, never messages, with one exception that Google leaves no other way to
//! tell. What does not look like the calendar API at all decides nothing: it is [`Error::Unavailable`].

use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use hyper::{HeaderMap, StatusCode, header};
use serde::Deserialize;

use super::{Error, transport::Answer};

impl Error {
    /// Judges an answer that is not a success. `listing`: the call was `events.list`. `write`: it was not a read.
    pub(super) fn judge(answer: &Answer, listing: bool, write: bool) -> Self {
        let status = answer.status;
        let retry_after = retry_after(&answer.headers);
        let unavailable = Self::Unavailable {
            status: Some(status.as_u16()),
            retry_after,
            maybe_applied: write && (status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT),
        };
        // Some front ends send these two without any body.
        match status {
            StatusCode::PRECONDITION_FAILED => return Self::PreconditionFailed,
            StatusCode::UNAUTHORIZED => return Self::Unauthorized,
            _ if !status.is_client_error() || status == StatusCode::REQUEST_TIMEOUT => return unavailable,
            _ => {}
        }
        let Ok(Envelope { error: fault }) = serde_json::from_slice::<Envelope>(&answer.body) else {
            // Not the calendar API: a proxy, an abuse page, a wrong address. Its 404 must not pass for "deleted".
            if status == StatusCode::TOO_MANY_REQUESTS {
                return Self::RateLimited { retry_after, project: false };
            }
            return unavailable;
        };
        let has = |words: &[&str]| fault.reasons().any(|reason| words.contains(&reason));
        let reason = || fault.reasons().map(word).next().unwrap_or_else(|| word(""));
        match status {
            _ if has(&["quotaExceeded", "dailyLimitExceeded", "variableTermLimitExceeded"]) => {
                Self::QuotaExhausted { reason: reason(), retry_after }
            }
            _ if has(&["rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED"]) => {
                Self::RateLimited { retry_after, project: fault.blames_the_project() }
            }
            StatusCode::TOO_MANY_REQUESTS => Self::RateLimited { retry_after, project: fault.blames_the_project() },
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::CONFLICT if has(&["duplicate"]) => Self::Duplicate,
            StatusCode::CONFLICT => unavailable,
            StatusCode::GONE if has(&["deleted"]) => Self::AlreadyDeleted,
            StatusCode::GONE if has(&["fullSyncRequired", "updatedMinTooLongAgo"]) || listing => Self::FullSyncRequired,
            StatusCode::GONE => Self::AlreadyDeleted,
            StatusCode::FORBIDDEN if has(&["accessNotConfigured", "SERVICE_DISABLED"]) => {
                Self::Misconfigured { reason: reason() }
            }
            StatusCode::FORBIDDEN if has(&["insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"]) => {
                Self::InsufficientScope
            }
            StatusCode::FORBIDDEN => Self::Forbidden { reason: reason() },
            _ if has(&["pushNotSupportedForRequestedResource"]) => Self::PushNotSupported,
            _ if has(&["channelIdNotUnique"]) => Self::ChannelIdNotUnique,
            StatusCode::BAD_REQUEST if listing && fault.names_a_bad_sync_token() => Self::FullSyncRequired,
            _ => Self::BadRequest { reason: reason() },
        }
    }
}

#[derive(Deserialize)]
struct Envelope {
    error: Fault,
}

/// The `error` object of the calendar API and of the front end before it.
#[derive(Deserialize)]
struct Fault {
    #[serde(default)]
    errors: Vec<Item>,
    #[serde(default)]
    details: Vec<Detail>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Item {
    reason: Option<String>,
    message: Option<String>,
    location: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Detail {
    reason: Option<String>,
    metadata: Metadata,
}

/// Which quota it was, where the front end says so.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Metadata {
    quota_limit: Option<String>,
    quota_unit: Option<String>,
}

impl Fault {
    fn reasons(&self) -> impl Iterator<Item = &str> {
        let errors = self.errors.iter().filter_map(|item| item.reason.as_deref());
        errors.chain(self.details.iter().filter_map(|detail| detail.reason.as_deref()))
    }

    /// The same reason stands for the quotas of a user and of the project; only the front end's details tell them apart.
    fn blames_the_project(&self) -> bool {
        self.details.iter().any(|Detail { metadata, .. }| {
            let limit = metadata.quota_limit.as_deref().unwrap_or_default();
            let unit = metadata.quota_unit.as_deref().unwrap_or_default();
            let user = limit.contains("PerUser") || unit.contains("{user}");
            (limit.contains("PerProject") || unit.contains("{project}")) && !user
        })
    }

    /// Garbage and tokens of other calendars are 400 `invalid`, like any bad parameter; `location` or the message tell.
    fn names_a_bad_sync_token(&self) -> bool {
        self.errors.iter().any(|item| {
            let located = item.location.as_deref() == Some("syncToken");
            let said = item.message.as_deref().is_some_and(|text| text.starts_with("Invalid sync token"));
            item.reason.as_deref() == Some("invalid") && (located || said)
        })
    }
}

/// A reason word of Google, with everything taken out that such words do not contain.
pub(super) fn word(reason: &str) -> String {
    let allowed = |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    let word: String = reason.chars().filter(allowed).take(64).collect();
    if word.is_empty() { "no reason given".to_owned() } else { word }
}

/// `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3). A date is measured from the answer's own `Date`, so
/// this machine's clock does not matter. At most a day: nobody may switch a calendar off with one header.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    const DAY: Duration = Duration::from_hours(24);
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if let Ok(seconds) = text.parse() {
        Duration::from_secs(seconds)
    } else {
        let date = |text: &str| DateTime::parse_from_rfc2822(text).ok();
        let now = date(headers.get(header::DATE)?.to_str().ok()?)?;
        (date(text)? - now).max(TimeDelta::zero()).to_std().ok()?
    };
    Some(wait.min(DAY))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::google::OUTCOMES;

    fn answer(status: u16, headers: &[(header::HeaderName, &str)], body: impl Into<Vec<u8>>) -> Answer {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        Answer { status: StatusCode::from_u16(status).unwrap(), headers, body: body.into() }
    }

    fn judged(status: u16, error: &Value) -> &'static str {
        Error::judge(&answer(status, &[], json!({ "error": error }).to_string()), false, true).outcome_label()
    }

    fn reason(reason: &str) -> Value {
        json!({ "errors": [{ "reason": reason, "message": "anna@example.com" }] })
    }

    #[test]
    fn each_status_and_reason_has_its_decision() {
        for (status, reason_word, label) in [
            (404, "notFound", "not_found"),
            (409, "duplicate", "duplicate"),
            (409, "conflict", "unavailable"),
            (410, "deleted", "already_deleted"),
            (410, "fullSyncRequired", "full_sync_required"),
            (410, "updatedMinTooLongAgo", "full_sync_required"),
            (412, "conditionNotMet", "precondition_failed"),
            (403, "rateLimitExceeded", "rate_limited"),
            (403, "userRateLimitExceeded", "rate_limited"),
            (429, "rateLimitExceeded", "rate_limited"),
            (403, "quotaExceeded", "quota_exhausted"),
            (403, "dailyLimitExceeded", "quota_exhausted"),
            (403, "forbiddenForNonOrganizer", "forbidden"),
            (403, "insufficientPermissions", "insufficient_scope"),
            (403, "accessNotConfigured", "misconfigured"),
            (400, "pushNotSupportedForRequestedResource", "push_not_supported"),
            (400, "channelIdNotUnique", "channel_id_not_unique"),
            (400, "timeRangeEmpty", "bad_request"),
            (401, "authError", "unauthorized"),
            (500, "backendError", "unavailable"),
            (503, "backendError", "unavailable"),
        ] {
            assert_eq!(judged(status, &reason(reason_word)), label, "{status} {reason_word}");
            assert!(OUTCOMES.contains(&label));
        }
        let details =
            json!({ "status": "PERMISSION_DENIED", "details": [{ "reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT" }] });
        assert_eq!(judged(403, &details), "insufficient_scope");
    }

    #[test]
    fn a_quota_of_the_project_is_told_from_one_of_a_user() {
        for (limit, unit, project) in [
            ("defaultPerMinutePerProject", "1/min/{project}", true),
            ("defaultPerMinutePerUser", "1/min/{project}/{user}", false),
            ("PerMinutePerProjectPerUser", "1/min/{project}/{user}", false),
            ("", "", false),
        ] {
            let metadata =
                json!({ "quota_limit": limit, "quota_unit": unit, "service": "calendar-json.googleapis.com" });
            let detail = json!({ "reason": "RATE_LIMIT_EXCEEDED", "metadata": metadata });
            let body = json!({ "error": { "status": "RESOURCE_EXHAUSTED", "details": [detail] } }).to_string();
            let expected = Error::RateLimited { retry_after: None, project };
            assert_eq!(Error::judge(&answer(429, &[], body), true, false), expected, "{limit}");
        }
    }

    #[test]
    fn a_bad_sync_token_asks_for_a_full_sync_only_when_listing() {
        let item = json!({ "reason": "invalid", "message": "Invalid sync token value.", "location": "syncToken" });
        let body = json!({ "error": { "errors": [item] } }).to_string();
        assert_eq!(Error::judge(&answer(400, &[], body.clone()), true, false), Error::FullSyncRequired);
        assert_eq!(Error::judge(&answer(400, &[], body), false, false).outcome_label(), "bad_request");
    }

    #[test]
    fn an_answer_that_is_not_the_calendar_api_never_means_gone() {
        for status in [302, 400, 403, 404, 409, 410, 500, 502] {
            for body in ["", "<html>Not Found</html>", "[]"] {
                let error = Error::judge(&answer(status, &[], body), true, false);
                let expected = Error::Unavailable { status: Some(status), retry_after: None, maybe_applied: false };
                assert_eq!(error, expected, "{status} {body:?}");
            }
        }
    }

    #[test]
    fn only_a_server_error_leaves_a_write_in_doubt() {
        assert!(Error::judge(&answer(503, &[], ""), false, true).maybe_applied());
        assert!(!Error::judge(&answer(404, &[], ""), false, true).maybe_applied());
        assert!(!Error::judge(&answer(503, &[], ""), false, false).maybe_applied());
    }

    #[test]
    fn retry_after_is_read_in_both_forms_and_capped() {
        let wait = |value, date: &str| {
            let headers = [(header::RETRY_AFTER, value), (header::DATE, date)];
            Error::judge(&answer(503, &headers, ""), false, false).retry_after()
        };
        let date = "Tue, 24 Nov 2026 10:00:00 GMT";
        assert_eq!(wait("7", date), Some(Duration::from_secs(7)));
        assert_eq!(wait("Tue, 24 Nov 2026 10:01:30 GMT", date), Some(Duration::from_secs(90)));
        assert_eq!(wait("Tue, 24 Nov 2026 09:00:00 GMT", date), Some(Duration::ZERO));
        assert_eq!(wait("999999999", date), Some(Duration::from_hours(24)));
        assert_eq!(wait("soon", date), None);
    }

    #[test]
    fn messages_hold_nothing_out_of_the_body() {
        for status in [400, 403, 410] {
            let body = json!({ "error": reason("anna@example.com bad") }).to_string();
            let error = Error::judge(&answer(status, &[], body), false, false);
            assert!(!format!("{error} {error:?}").contains('@'), "{error:?}");
        }
    }
}
