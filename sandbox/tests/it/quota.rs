//! Quotas that refuse, and rates that are told.

use std::time::Duration;

use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use slotd_sandbox::{Effect, Fault, Limits, NewCalendar};
use tokio::time::Instant;

use crate::faults::control;
use crate::google_errors::assert_envelope;
use crate::harness::{ANNA, Answer, DEADLINE, Google, timed};
use crate::oauth::post;

const LIST: &str = "calendars/primary/events";
const BEN: &str = "ben@salon.example";

async fn set(google: &Google, limits: Value) {
    let (status, answer) = control(google, Method::PUT, "quota", limits).await;
    assert_eq!(status, 204, "{answer}");
}

async fn usage(google: &Google) -> Value {
    control(google, Method::GET, "quota", Value::Null).await.1["usage"].clone()
}

/// A list in the name of whoever the token is for.
async fn list_with(google: &Google, token: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let token = format!("Bearer {token}");
    let mut headers = headers.to_vec();
    headers.push(("authorization", &token));
    google.try_send(Method::GET, path, &headers, "").await.unwrap()
}

#[tokio::test]
async fn a_user_who_calls_too_often_is_refused_until_the_window_has_passed() {
    let google = Google::start().await;
    google.sandbox.add_user(BEN, "Ben");
    set(&google, json!({ "user_per_minute": 5, "window_ms": 4000 })).await;
    for _ in 0..5 {
        google.get(LIST).await.ok();
    }
    let refused = google.post(LIST, timed("Cut", 4, 9)).await;
    assert_eq!(refused.refusal(), (403, "userRateLimitExceeded".into()));
    assert_envelope(403, &refused.json());
    assert_eq!(refused.header("retry-after"), "");
    let ben = google.sandbox.bearer_token(BEN);
    assert_eq!(list_with(&google, &ben, "/calendar/v3/calendars/primary/events", &[]).await.status, 200);
    // The OAuth endpoints and the control routes are no calls of the Calendar API.
    assert_eq!(post(&google, "/token", &[]).await.status, 400);

    let until = Instant::now() + DEADLINE;
    let mut refusals = 1;
    let list = loop {
        let list = google.get(LIST).await;
        if list.status == 200 {
            break list.json();
        }
        refusals += 1;
        assert!(Instant::now() < until, "the window never passed");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert_eq!(list["items"], json!([]), "nothing was written");
    let calls = 6 + refusals;
    let told = usage(&google).await;
    assert_eq!(told["users"][ANNA], json!({ "calls": calls, "peak_per_minute": calls, "refused": refusals }));
    assert_eq!(told["refused"], json!({ "userRateLimitExceeded": refusals }));
}

#[tokio::test]
async fn all_users_share_the_quota_of_the_project() {
    let google = Google::start().await;
    google.sandbox.add_user(BEN, "Ben");
    let ben = google.sandbox.bearer_token(BEN);
    set(&google, json!({ "project_per_minute": 4, "status": 429, "retry_after": true })).await;
    for _ in 0..2 {
        google.get(LIST).await.ok();
        assert_eq!(list_with(&google, &ben, "/calendar/v3/calendars/primary/events", &[]).await.status, 200);
    }
    let refused = google.get(LIST).await;
    assert_eq!(refused.refusal(), (429, "rateLimitExceeded".into()));
    assert!((55..=60).contains(&refused.header("retry-after").parse::<u32>().unwrap()));
    assert_eq!(list_with(&google, &ben, "/calendar/v3/calendars/primary/events", &[]).await.status, 429);
    assert_eq!(google.sandbox.calls().last().unwrap().fault.as_deref(), Some("quota"));
    assert_eq!(control(&google, Method::DELETE, "quota", Value::Null).await.0, 204);
    google.get(LIST).await.ok();
    assert_eq!(google.sandbox.quotas().limits(), None);
}

#[tokio::test]
async fn a_used_up_day_ends_at_midnight() {
    let google = Google::start().await;
    google.sandbox.quotas().set(Limits { project_per_day: Some(1), retry_after: true, ..Limits::default() }).unwrap();
    google.get(LIST).await.ok();
    let refused = google.get(LIST).await;
    assert_eq!(refused.refusal(), (403, "dailyLimitExceeded".into()));
    assert!((1..=25 * 3600).contains(&refused.header("retry-after").parse::<u32>().unwrap()));
    assert_eq!(google.sandbox.quotas().usage().today, 1);
}

#[tokio::test]
async fn a_calendar_takes_only_so_many_writes_at_once() {
    let google = Google::start().await;
    let other = NewCalendar { summary: "Other".to_owned(), time_zone: "UTC".to_owned(), ..Default::default() };
    let other = google.sandbox.add_calendar(ANNA, other).unwrap();
    set(&google, json!({ "calendar_burst": 3, "burst_ms": 60_000 })).await;
    for hour in 9..12 {
        google.insert(timed("Cut", 4, hour)).await;
    }
    assert_eq!(google.post(LIST, timed("Cut", 4, 12)).await.refusal(), (403, "rateLimitExceeded".into()));
    google.get(LIST).await.ok();
    google.post(&format!("calendars/{other}/events"), timed("Cut", 4, 12)).await.ok();
    assert_eq!(google.list("").await.0.len(), 3);
    let written = usage(&google).await["calendar_writes"].clone();
    assert_eq!(written[ANNA], json!({ "calls": 4, "peak_per_minute": 4, "refused": 1 }));
    assert_eq!(written[other]["calls"], 1);
}

#[tokio::test]
async fn a_call_may_name_whose_quota_it_uses() {
    let google = Google::start().await;
    let path = "/calendar/v3/calendars/primary/events";
    list_with(&google, &google.token, &format!("{path}?quotaUser=one"), &[]).await.ok();
    list_with(&google, &google.token, path, &[("x-goog-quota-user", "two")]).await.ok();
    // A service account is charged itself, unless it names somebody.
    let now = chrono::DateTime::<chrono::Utc>::from(std::time::UNIX_EPOCH + std::time::UNIX_EPOCH.elapsed().unwrap());
    let scope = "https://www.googleapis.com/auth/calendar.events";
    let now = now.timestamp();
    let claims = json!({ "iss": "robot@x", "aud": format!("{}/token", google.sandbox.root()), "scope": scope, "sub": ANNA, "iat": now, "exp": now + 3600 });
    let assertion = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let grant = ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let tokens = post(&google, "/token", &[grant, ("assertion", &assertion)]).await.ok();
    let robot = tokens["access_token"].as_str().unwrap();
    list_with(&google, robot, path, &[]).await.ok();
    list_with(&google, robot, path, &[("x-goog-quota-user", ANNA)]).await.ok();
    let users = usage(&google).await["users"].clone();
    let calls = |user: &str| users[user]["calls"].clone();
    assert_eq!([calls("one"), calls("two"), calls("robot@x"), calls(ANNA)], [1, 1, 1, 1]);
}

#[tokio::test]
async fn rates_are_told_though_nothing_is_refused_and_faults_count() {
    let google = Google::start().await;
    google.sandbox.faults().add(Fault::once("calendar.events.list", Effect::Empty { status: 503 }));
    for _ in 0..10 {
        google.get(LIST).await;
    }
    let used = google.sandbox.quotas().usage();
    assert_eq!((used.calls, used.peak_per_minute, used.users[ANNA].peak_per_minute), (10, 10, 10));
    assert_eq!(control(&google, Method::DELETE, "quota/usage", Value::Null).await.0, 204);
    assert_eq!(google.sandbox.quotas().usage().calls, 0);
    google.get(LIST).await.ok();
    assert_eq!(google.sandbox.quotas().usage().peak_per_minute, 1);
}

#[tokio::test]
async fn limits_that_make_no_sense_are_refused_with_the_field() {
    let google = Google::start().await;
    set(&google, json!({ "user_per_minute": 600 })).await;
    for (limits, field) in [
        (json!({ "user_per_minute": 0 }), "user_per_minute"),
        (json!({ "calendar_burst": 1, "burst_ms": 0 }), "burst_ms"),
        (json!({ "status": 503 }), "status"),
        (json!({ "users_per_minute": 1 }), "users_per_minute"),
    ] {
        let headers = [("content-type", "application/json")];
        let answer = google.try_send(Method::PUT, "/sandbox/quota", &headers, &limits.to_string()).await.unwrap();
        let text = String::from_utf8_lossy(&answer.bytes);
        assert!(answer.status == 422 && text.contains(field), "{limits}: {} {text}", answer.status);
    }
    let kept = Limits { user_per_minute: Some(600), ..Limits::default() };
    assert_eq!(google.sandbox.quotas().limits(), Some(kept));
}
