//! Whatever is on, an answer is one that Google or something in front of it could give.

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::{Value, json};
use slotd_sandbox::{Effect, Fault, GoogleError, Weather};

use crate::google_errors::assert_envelope;
use crate::harness::{Answer, Google, timed};
use crate::oauth::post;

/// Effects on any call, but for those that never answer.
fn effects() -> Vec<Effect> {
    let refused = GoogleError::ALL.iter().map(|error| Effect::google(*error));
    let others = [
        Effect::refuse(503, "global", "backendError"),
        Effect::RefuseOauth { status: 400, error: "invalid_grant".to_owned() },
        Effect::Html { status: 502 },
        Effect::Empty { status: 503 },
        Effect::Delay { ms: 1 },
        Effect::Trickle { ms: 5 },
        Effect::ResetBefore,
        Effect::ResetAfter,
        Effect::Truncate,
        Effect::HalfJson,
        Effect::Garbage,
        Effect::EndAccessTokens,
        Effect::RevokeGrant,
        Effect::EmptyPage,
        Effect::RepeatPage,
        Effect::PageLoop,
        Effect::Overlap { items: 1 },
        Effect::Shuffle,
        Effect::Stale,
        Effect::Lag { calls: 1, ms: 0 },
        Effect::CapTtl { seconds: 5 },
        Effect::SyncFirst { messages: 1 },
        Effect::DieEarly { messages: Some(1), ms: None },
    ];
    refused.chain(others).collect()
}

fn check(answer: &Answer, struck: Option<&str>, path: &str) {
    let kind = answer.header("content-type");
    match (answer.status, kind.split(';').next().unwrap_or_default()) {
        (200, "application/json") if matches!(struck, Some("half_json" | "garbage")) => {
            assert!(serde_json::from_slice::<Value>(&answer.bytes).is_err(), "{path}");
        }
        (200, "application/json") => {
            let body = answer.json();
            let named = |name: &str| body[name].as_str().is_some_and(|text| !text.is_empty());
            assert!(named("kind"), "{path}: {body}");
            assert!(!path.contains("watch") || named("expiration"), "int64 are strings: {body}");
            let ends = ["nextPageToken", "nextSyncToken"].map(|name| body.get(name).is_some());
            let listed = body.get("items").is_some() && !path.contains("instances") && !path.contains("orderBy");
            assert!(!listed || ends[0] != ends[1], "{path}: {body}");
        }
        (status, "application/json") if struck == Some("refuse_oauth") => {
            assert!(status == 400 && answer.json()["error"].is_string());
        }
        (_, "application/json") => assert_envelope(answer.status, &answer.json()),
        (204, "") => {}
        (status, "text/html") => assert_eq!((status, struck), (502, Some("html"))),
        (status, "") => assert_eq!((status, struck), (503, Some("empty"))),
        other => panic!("{path}: {other:?}"),
    }
}

#[tokio::test]
async fn every_answer_is_in_one_of_googles_forms() {
    let google = Google::start().await;
    for hour in 8..12 {
        google.insert(timed("Cut", 4, hour)).await;
    }
    let id = google.insert(timed("Cut", 5, 9)).await["id"].as_str().unwrap().to_owned();
    let channel = json!({ "id": "c", "type": "web_hook", "address": "http://127.0.0.1:9/push" });
    let event = format!("calendars/primary/events/{id}");
    let window =
        json!({ "timeMin": "2027-01-01T00:00:00Z", "timeMax": "2027-02-01T00:00:00Z", "items": [{ "id": "primary" }] });
    let calls: Vec<(Method, String, Option<Value>)> = vec![
        (Method::GET, "users/me/calendarList".to_owned(), None),
        (Method::GET, "calendars/primary".to_owned(), None),
        (Method::GET, "calendars/primary/events?maxResults=2".to_owned(), None),
        (Method::GET, event.clone(), None),
        (Method::PATCH, event, Some(json!({ "summary": "Colour" }))),
        (Method::POST, "calendars/primary/events".to_owned(), Some(timed("Cut", 6, 9))),
        (Method::POST, "calendars/primary/events/watch".to_owned(), Some(channel)),
        (Method::POST, "freeBusy".to_owned(), Some(window)),
    ];
    let mut struck = BTreeSet::new();
    for effect in effects() {
        google.sandbox.faults().clear();
        let weather =
            Weather { seed: 1, faults: vec![Fault { times: None, ..Fault::once("calendar.*", effect.clone()) }] };
        google.sandbox.faults().set_weather(weather).unwrap();
        for (method, path, body) in &calls {
            let _ = google.sandbox.kill_channels(crate::harness::ANNA);
            let token = format!("Bearer {}", google.token);
            let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
            let body = body.as_ref().map_or_else(String::new, Value::to_string);
            let answer = google.try_send(method.clone(), &format!("/calendar/v3/{path}"), &headers, &body).await;
            let fault = google.sandbox.calls().last().unwrap().fault.clone();
            struck.extend(fault.clone());
            match answer {
                Some(answer) => check(&answer, fault.as_deref(), path),
                None => {
                    assert!(
                        matches!(effect, Effect::ResetBefore | Effect::ResetAfter | Effect::Truncate),
                        "{effect:?}"
                    );
                }
            }
        }
    }
    assert_eq!(struck.len(), effects().len(), "each effect has struck");
}

#[tokio::test]
async fn the_token_endpoint_keeps_its_own_form_of_errors() {
    let google = Google::start().await;
    for error in GoogleError::ALL {
        google.sandbox.faults().add(Fault::once("oauth2.token", Effect::google(*error)));
        let refused = post(&google, "/token", &[("grant_type", "refresh_token")]).await;
        assert_eq!(refused.status, error.statuses()[0]);
        let body = refused.json();
        let keys: Vec<&String> = body.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["error", "error_description"], "{body}");
        assert!(body["error"].is_string() && body["error_description"].is_string());
    }
}

#[tokio::test]
async fn a_foreign_name_switches_no_fault() {
    let google = Google::start().await;
    let fault = json!({ "method": "push", "effect": { "kind": "drop" } }).to_string();
    for (method, path, body) in [
        (Method::POST, "/sandbox/faults", fault.as_str()),
        (Method::PUT, "/sandbox/weather", "{\"seed\":1,\"faults\":[]}"),
        (Method::PUT, "/sandbox/quota", "{\"user_per_minute\":1}"),
        (Method::GET, "/sandbox/calls", ""),
    ] {
        let headers = [("host", "evil.example"), ("content-type", "application/json")];
        assert_eq!(google.try_send(method, path, &headers, body).await.unwrap().status, 421, "{path}");
    }
    assert!(google.sandbox.faults().list().is_empty());
    assert_eq!(google.sandbox.quotas().limits(), None);
}
