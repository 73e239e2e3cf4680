use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::{Value, json};
use slotd_sandbox::{Effect, Fault, GoogleError};

use crate::faults::control;
use crate::harness::{ANNA, Google};

const LIST: &str = "calendars/primary/events";

/// The keys of an object; none may be there that Google's envelopes do not have.
fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Judges an answer by the two envelopes that Google has.
pub(crate) fn assert_envelope(status: u16, body: &Value) {
    assert_eq!(keys(body), BTreeSet::from(["error"]));
    let error = &body["error"];
    let back = BTreeSet::from(["code", "errors", "message"]);
    let known: BTreeSet<&str> = back.iter().copied().chain(["status", "details"]).collect();
    assert!(keys(error).is_superset(&back) && keys(error).is_subset(&known), "{body}");
    assert_eq!(error["code"], status);
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
    let entries = error["errors"].as_array().unwrap();
    assert_eq!(entries.len(), 1);
    let entry = &entries[0];
    let least = BTreeSet::from(["domain", "message", "reason"]);
    let located: BTreeSet<&str> = least.iter().copied().chain(["location", "locationType"]).collect();
    assert!(keys(entry) == least || keys(entry) == located, "{body}");
    assert!(["global", "calendar", "usageLimits"].contains(&entry["domain"].as_str().unwrap()), "{body}");
    if let Some(details) = error.get("details") {
        assert!(error["status"].as_str().is_some(), "details come from the front end only: {body}");
        assert_eq!(details[0]["@type"], "type.googleapis.com/google.rpc.ErrorInfo");
        assert_eq!(details[0]["metadata"]["service"], "calendar-json.googleapis.com");
    }
}

#[tokio::test]
async fn each_of_googles_errors_comes_by_its_name_in_its_envelope() {
    let google = Google::start().await;
    for error in GoogleError::ALL {
        let name = json!(error);
        for status in error.statuses() {
            let effect = json!({ "kind": "google", "error": name, "status": status });
            let fault = json!({ "method": "calendar.events.list", "times": 1, "effect": effect });
            let (added, answer) = control(&google, Method::POST, "faults", fault).await;
            assert_eq!(added, 201, "{answer}");
            let refused = google.get(LIST).await;
            assert_eq!(refused.status, *status, "{name}");
            assert!(refused.header("content-type").starts_with("application/json"));
            assert_envelope(*status, &refused.json());
        }
        let struck = google.sandbox.faults().strikes()[name.as_str().unwrap()];
        assert_eq!(struck, error.statuses().len() as u64, "{name}");
    }
    assert_eq!(google.get(LIST).await.status, 200);
}

#[tokio::test]
async fn the_errors_that_clients_tell_apart_are_those_that_google_documents() {
    let google = Google::start().await;
    let table = [
        (GoogleError::AuthError, 401, "global", "authError", Some(("header", "Authorization"))),
        (GoogleError::UserRateLimitExceeded, 403, "usageLimits", "userRateLimitExceeded", None),
        (GoogleError::RateLimitExceeded, 403, "usageLimits", "rateLimitExceeded", None),
        (GoogleError::QuotaExceeded, 403, "usageLimits", "quotaExceeded", None),
        (GoogleError::DailyLimitExceeded, 403, "usageLimits", "dailyLimitExceeded", None),
        (GoogleError::ForbiddenForNonOrganizer, 403, "calendar", "forbiddenForNonOrganizer", None),
        (GoogleError::RequiredAccessLevel, 403, "calendar", "requiredAccessLevel", None),
        (GoogleError::NotFound, 404, "global", "notFound", None),
        (GoogleError::Duplicate, 409, "global", "duplicate", None),
        (GoogleError::FullSyncRequired, 410, "calendar", "fullSyncRequired", Some(("parameter", "syncToken"))),
        (GoogleError::UpdatedMinTooLongAgo, 410, "calendar", "updatedMinTooLongAgo", Some(("parameter", "updatedMin"))),
        (GoogleError::ConditionNotMet, 412, "global", "conditionNotMet", Some(("header", "If-Match"))),
        (GoogleError::BackendError, 500, "global", "backendError", None),
        (GoogleError::InvalidSyncToken, 400, "global", "invalid", Some(("parameter", "syncToken"))),
        (GoogleError::TimeRangeEmpty, 400, "calendar", "timeRangeEmpty", Some(("parameter", "timeMax"))),
    ];
    for (error, status, domain, reason, place) in table {
        google.sandbox.faults().add(Fault::once("calendar.events.list", Effect::google(error)));
        let refused = google.get(LIST).await;
        let body = refused.json();
        let entry = &body["error"]["errors"][0];
        assert_eq!((refused.status, &entry["domain"], &entry["reason"]), (status, &json!(domain), &json!(reason)));
        let place = place.map(|(kind, at)| (json!(kind), json!(at))).unwrap_or_default();
        assert_eq!((entry["locationType"].clone(), entry["location"].clone()), place, "{reason}");
    }
    let details = async |name: &str| {
        let fault =
            json!({ "method": "calendar.events.list", "times": 1, "effect": { "kind": "google", "error": name } });
        assert_eq!(control(&google, Method::POST, "faults", fault).await.0, 201);
        let body = google.get(LIST).await.json();
        let error = &body["error"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (
            error["code"].clone(),
            text(&error["errors"][0]["reason"]),
            text(&error["status"]),
            text(&error["details"][0]["reason"]),
        )
    };
    let shown = |code: u16, reason: &str, status: &str, detail: &str| {
        (json!(code), reason.to_owned(), status.to_owned(), detail.to_owned())
    };
    let scopes = shown(403, "insufficientPermissions", "PERMISSION_DENIED", "ACCESS_TOKEN_SCOPE_INSUFFICIENT");
    assert_eq!(details("insufficientPermissions").await, scopes);
    assert_eq!(details("ACCESS_TOKEN_SCOPE_INSUFFICIENT").await, scopes);
    let disabled = shown(403, "accessNotConfigured", "PERMISSION_DENIED", "SERVICE_DISABLED");
    assert_eq!(details("SERVICE_DISABLED").await, disabled);
    let quota = shown(429, "rateLimitExceeded", "RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED");
    assert_eq!(details("RATE_LIMIT_EXCEEDED").await, quota);
}

#[tokio::test]
async fn retry_after_comes_only_when_asked_for() {
    let google = Google::start().await;
    for (retry_after_s, header) in [(None, ""), (Some(7), "7")] {
        for (error, status) in [(GoogleError::RateLimitExceeded, 429), (GoogleError::BackendError, 503)] {
            let effect = Effect::Google { error, status: Some(status), retry_after_s };
            google.sandbox.faults().add(Fault::once("calendar.events.list", effect));
            let refused = google.get(LIST).await;
            assert_eq!((refused.status, refused.header("retry-after")), (status, header));
        }
    }
}

#[tokio::test]
async fn a_fault_that_makes_no_sense_is_refused_with_what_would_be_right() {
    let google = Google::start().await;
    let list = |effect: Value| json!({ "method": "calendar.events.list", "effect": effect });
    let with = |field: &str, value: Value| {
        let mut fault = list(json!({ "kind": "hang_after" }));
        fault[field] = value;
        fault
    };
    let table = [
        (list(json!({ "kind": "google", "error": "rateLimitExeeded" })), "`rateLimitExceeded`"),
        (list(json!({ "kind": "google", "error": "rateLimitExceeded", "status": 500 })), "[403, 429]"),
        (list(json!({ "kind": "magic" })), "`reset_after`"),
        (list(json!({ "kind": "empty", "status": 200 })), "effect.status"),
        (list(json!({ "kind": "drop" })), "give one of push"),
        (list(json!({ "kind": "lag" })), "calls, ms or both"),
        (list(json!({ "kind": "overlap", "events": 0 })), "at least 1"),
        (json!({ "method": "calendar.event.list", "effect": { "kind": "stale" } }), "calendar.events.list"),
        (json!({ "method": "push", "effect": { "kind": "empty_page" } }), "give one of calendar.events.list"),
        (with("rate", json!(101)), "rate"),
        (with("rate", json!(0)), "rate"),
        (with("page", json!(0)), "counted from 1"),
        (with("times", json!(0)), "times"),
        (with("pages", json!(1)), "unknown field `pages`"),
    ];
    for (fault, wanted) in table {
        let headers = [("content-type", "application/json")];
        let answer = google.try_send(Method::POST, "/sandbox/faults", &headers, &fault.to_string()).await.unwrap();
        let text = String::from_utf8_lossy(&answer.bytes);
        assert_eq!(answer.status, 422, "{fault}");
        assert!(text.contains(wanted), "{fault}: {text}");
    }
    assert!(google.sandbox.faults().list().is_empty());
    let refused = google.sandbox.faults().try_add(Fault::once("push", Effect::Stale)).unwrap_err();
    assert_eq!(refused.to_string(), "method: stale never strikes \"push\"; give one of calendar.events.list");
}

#[tokio::test]
async fn faults_strike_by_calendar_user_page_and_kind_of_list() {
    let google = Google::start().await;
    let refused = |fault: Fault| {
        google.sandbox.faults().clear();
        google.sandbox.faults().add(Fault { times: None, ..fault });
    };
    let gone = || Fault::once("calendar.events.*", Effect::google(GoogleError::FullSyncRequired));
    let token = google.sync_token().await;
    let full = async || google.get(LIST).await.status;
    let incremental = async || google.get(&format!("{LIST}?syncToken={token}")).await.status;

    refused(Fault { shape: Some(slotd_sandbox::Shape::Incremental), ..gone() });
    assert_eq!((full().await, incremental().await), (200, 410));
    refused(Fault { shape: Some(slotd_sandbox::Shape::Full), ..gone() });
    assert_eq!((full().await, incremental().await), (410, 200));
    refused(Fault { page: Some(1), ..gone() });
    assert_eq!((full().await, incremental().await), (410, 410));
    refused(Fault { page: Some(2), ..gone() });
    assert_eq!((full().await, incremental().await), (200, 200));
    refused(Fault { user: Some(ANNA.to_owned()), ..gone() });
    assert_eq!(full().await, 410);
    refused(Fault { user: Some("ben@salon.example".to_owned()), ..gone() });
    assert_eq!(full().await, 200);
    refused(Fault { calendar: Some("other".to_owned()), ..gone() });
    assert_eq!(full().await, 200);
}
