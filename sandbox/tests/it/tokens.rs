//! Grants and tokens that end when nobody expects it, and a token endpoint in trouble.

use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};
use slotd_sandbox::{Effect, Fault, GoogleError, Options};

use crate::faults::control;
use crate::harness::{ANNA, Google, timed};
use crate::oauth::{authorize, exchange, post, refresh};

/// A stand-in, and Anna's access and refresh tokens.
async fn connected() -> (Google, String, String) {
    let google = Google::with(Options { auto_approve: true, ..Options::default() }, Vec::new()).await;
    let back = authorize(&google, &[]).await;
    let tokens = exchange(&google, back["code"].as_str().unwrap(), &[]).await.ok();
    let token = |name: &str| tokens[name].as_str().unwrap().to_owned();
    (google, token("access_token"), token("refresh_token"))
}

async fn list(google: &Google, access: &str, query: &str) -> (u16, Value) {
    let token = format!("Bearer {access}");
    let path = format!("/calendar/v3/calendars/primary/events?{query}");
    let answer = google.try_send(Method::GET, &path, &[("authorization", &token)], "").await.unwrap();
    (answer.status, answer.json())
}

#[tokio::test]
async fn a_grant_is_revoked_in_the_middle_of_a_pass() {
    let (google, access, refresh_token) = connected().await;
    for hour in 8..12 {
        google.insert(timed("Cut", 4, hour)).await;
    }
    google.sandbox.faults().add(Fault { page: Some(2), ..Fault::once("calendar.events.list", Effect::RevokeGrant) });
    let (status, first) = list(&google, &access, "maxResults=2").await;
    assert_eq!(status, 200);
    let second = format!("maxResults=2&pageToken={}", first["nextPageToken"].as_str().unwrap());
    let (status, refused) = list(&google, &access, &second).await;
    assert_eq!((status, &refused["error"]["errors"][0]["reason"]), (401, &json!("authError")));
    let dead = refresh(&google, &refresh_token).await;
    assert_eq!((dead.status, &dead.json()["error"]), (400, &json!("invalid_grant")));
}

#[tokio::test]
async fn access_tokens_end_before_their_time_and_refreshing_helps() {
    let (google, access, refresh_token) = connected().await;
    google.sandbox.faults().add(Fault::once("calendar.events.list", Effect::EndAccessTokens));
    assert_eq!(list(&google, &access, "").await.0, 401);
    assert_eq!(list(&google, &access, "").await.0, 401, "not only once");
    let new = refresh(&google, &refresh_token).await.ok()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(list(&google, &new, "").await.0, 200);
    assert_eq!(control(&google, Method::POST, "end-access-tokens", json!({ "user": ANNA })).await.0, 204);
    assert_eq!(list(&google, &new, "").await.0, 401);

    google.sandbox.faults().add(Fault::once("oauth2.refresh", Effect::ShortToken { ms: 1 }));
    let tokens = refresh(&google, &refresh_token).await.ok();
    assert_eq!(tokens["expires_in"], 3599, "the promise is as ever");
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(list(&google, tokens["access_token"].as_str().unwrap(), "").await.0, 401);
}

#[tokio::test]
async fn one_call_is_refused_with_401_and_the_token_lives_on() {
    let (google, access, _) = connected().await;
    google.sandbox.faults().add(Fault::once("calendar.events.list", Effect::google(GoogleError::AuthError)));
    assert_eq!(list(&google, &access, "").await.0, 401);
    assert_eq!(list(&google, &access, "").await.0, 200);
}

#[tokio::test]
async fn refreshing_meets_all_kinds_of_trouble() {
    let (google, _, refresh_token) = connected().await;
    let faults = google.sandbox.faults();
    let strike =
        |effect: Effect| faults.add(Fault { user: Some(ANNA.to_owned()), ..Fault::once("oauth2.refresh", effect) });

    strike(Effect::google(GoogleError::BackendError));
    let json = refresh(&google, &refresh_token).await;
    assert_eq!((json.status, &json.json()["error"]), (500, &json!("internal_failure")));
    strike(Effect::Html { status: 502 });
    let html = refresh(&google, &refresh_token).await;
    assert_eq!((html.status, html.header("content-type")), (502, "text/html; charset=utf-8"));
    strike(Effect::Empty { status: 503 });
    let empty = refresh(&google, &refresh_token).await;
    assert_eq!((empty.status, empty.bytes.len()), (503, 0));
    strike(Effect::RefuseOauth { status: 400, error: "invalid_grant".to_owned() });
    let refused = refresh(&google, &refresh_token).await;
    assert_eq!((refused.status, &refused.json()["error"]), (400, &json!("invalid_grant")));
    strike(Effect::Delay { ms: 60_000 });
    let slow = tokio::time::timeout(Duration::from_millis(200), refresh(&google, &refresh_token)).await;
    assert!(slow.is_err());
    strike(Effect::ResetBefore);
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let form = format!("grant_type=refresh_token&refresh_token={refresh_token}");
    assert!(google.try_send(Method::POST, "/token", &headers, &form).await.is_none());
    assert_eq!(refresh(&google, &refresh_token).await.status, 200);

    // Other users and other grants are left alone.
    faults.add(Fault {
        user: Some("ben@salon.example".to_owned()),
        ..Fault::once("oauth2.refresh", Effect::Empty { status: 503 })
    });
    assert_eq!(refresh(&google, &refresh_token).await.status, 200);
    let other = post(&google, "/token", &[("grant_type", "authorization_code")]).await;
    assert_eq!(other.status, 401, "not a refresh: {}", other.json());
}

#[tokio::test]
async fn a_refresh_token_is_changed_for_a_new_one() {
    let (google, _, old) = connected().await;
    google.sandbox.faults().add(Fault::once("oauth2.refresh", Effect::RotateRefreshToken));
    let tokens = refresh(&google, &old).await.ok();
    let new = tokens["refresh_token"].as_str().unwrap();
    assert_ne!(new, old);
    assert_eq!(refresh(&google, &old).await.json()["error"], "invalid_grant");
    let later = refresh(&google, new).await.ok();
    assert!(later.get("refresh_token").is_none());
}
