use axum::http::Method;
use serde_json::{Value, json};
use slotd_sandbox::{Effect, Fault};

use crate::harness::{ANNA, Google, timed};

pub(crate) async fn control(google: &Google, method: Method, path: &str, body: Value) -> (u16, Value) {
    let headers = [("content-type", "application/json")];
    let answer = google.try_send(method, &format!("/sandbox/{path}"), &headers, &body.to_string()).await.unwrap();
    (answer.status, answer.json())
}

#[tokio::test]
async fn a_fault_strikes_the_named_calls_as_often_as_it_says() {
    let google = Google::start().await;
    let faults = google.sandbox.faults();
    faults.add(Fault {
        skip: 1,
        times: Some(2),
        ..Fault::once("calendar.events.list", Effect::refuse(403, "usageLimits", "rateLimitExceeded"))
    });
    let list = "calendars/primary/events";
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(google.get(list).await.status);
        assert_eq!(google.get("calendars/primary").await.status, 200);
    }
    assert_eq!(statuses, [200, 403, 403, 200]);
    faults
        .add(Fault { calendar: Some("other".to_owned()), ..Fault::once("calendar.*", Effect::Empty { status: 503 }) });
    assert_eq!(google.get(list).await.status, 200);
    faults.add(Fault { calendar: Some(ANNA.to_owned()), ..Fault::once("calendar.*", Effect::Empty { status: 503 }) });
    let empty = google.get(list).await;
    assert_eq!((empty.status, empty.bytes.len()), (503, 0));
}

#[tokio::test]
async fn work_may_be_done_before_the_answer_is_lost() {
    let google = Google::start().await;
    let token = format!("Bearer {}", google.token);
    for (effect, committed) in [(Effect::ResetBefore, false), (Effect::ResetAfter, true), (Effect::Truncate, true)] {
        let before = google.list("").await.0.len();
        google.sandbox.faults().add(Fault::once("calendar.events.insert", effect.clone()));
        let body = timed("Cut", 4, 9).to_string();
        let headers = [("authorization", token.as_str())];
        let answer = google.try_send(Method::POST, "/calendar/v3/calendars/primary/events", &headers, &body).await;
        assert!(answer.is_none(), "{effect:?}");
        assert_eq!(google.list("").await.0.len(), before + usize::from(committed), "{effect:?}");
    }
    let calls = google.sandbox.calls();
    let inserts: Vec<u16> =
        calls.iter().filter(|call| call.method == "calendar.events.insert").map(|call| call.status).collect();
    assert_eq!(inserts, [0, 0, 200]);
}

#[tokio::test]
async fn a_call_that_hangs_ends_when_the_stand_in_stops() {
    let google = Google::start().await;
    for effect in [Effect::HangBefore, Effect::HangAfter] {
        google.sandbox.faults().add(Fault::once("calendar.events.insert", effect));
        let hung = google.post("calendars/primary/events", timed("Cut", 4, 9));
        assert!(tokio::time::timeout(std::time::Duration::from_millis(200), hung).await.is_err());
    }
    assert_eq!(google.list("").await.0.len(), 1);
    google.sandbox.faults().add(Fault::once("calendar.events.list", Effect::HangBefore));
    let token = format!("Bearer {}", google.token);
    let headers = [("authorization", token.as_str())];
    let hung = google.try_send(Method::GET, "/calendar/v3/calendars/primary/events", &headers, "");
    let hung = tokio::time::timeout(std::time::Duration::from_millis(200), hung).await;
    assert!(hung.is_err());
    tokio::time::timeout(crate::harness::DEADLINE, google.sandbox.stop()).await.unwrap();
}

#[tokio::test]
async fn scripts_switch_faults_over_http() {
    let google = Google::start().await;
    let fault = json!({
        "method": "calendar.events.list",
        "times": 1,
        "effect": { "kind": "refuse", "status": 429, "reason": "rateLimitExceeded", "domain": "usageLimits", "retry_after_s": 7 },
    });
    let (status, added) = control(&google, Method::POST, "faults", fault.clone()).await;
    assert_eq!(status, 201);
    let (_, listed) = control(&google, Method::GET, "faults", Value::Null).await;
    assert_eq!((&listed[0]["id"], &listed[0]["effect"]), (&added["id"], &fault["effect"]));
    let refused = google.get("calendars/primary/events").await;
    assert_eq!((refused.refusal(), refused.header("retry-after")), ((429, "rateLimitExceeded".into()), "7"));
    assert_eq!(google.get("calendars/primary/events").await.status, 200);

    assert_eq!(
        control(&google, Method::POST, "faults", json!({ "method": "x", "effect": { "kind": "magic" } })).await.0,
        422
    );
    assert_eq!(control(&google, Method::PUT, "down", json!({ "down": true })).await.0, 204);
    let down = google.get("calendars/primary/events").await;
    assert_eq!((down.status, down.json()), (503, Value::Null));
    assert_eq!(control(&google, Method::DELETE, "faults", Value::Null).await.0, 204);
    assert_eq!(google.get("calendars/primary/events").await.status, 200);

    let token = google.sync_token().await;
    assert_eq!(control(&google, Method::POST, "expire-sync-tokens", json!({ "calendar": ANNA })).await.0, 204);
    assert_eq!(google.get(&format!("calendars/primary/events?syncToken={token}")).await.status, 410);
    let (_, state) = control(&google, Method::GET, "state", Value::Null).await;
    let wanted = json!([{ "id": ANNA, "summary": "Salon", "timeZone": "Europe/Berlin", "owner": ANNA }]);
    assert_eq!(state["calendars"], wanted);
    assert_eq!(state["users"], json!([{ "email": ANNA, "name": "Anna" }]));
}

#[tokio::test]
async fn lists_may_have_empty_pages_and_lag_behind_without_losing_anything() {
    let google = Google::start().await;
    let token = google.sync_token().await;
    for hour in 9..14 {
        google.insert(timed("Cut", 4, hour)).await;
    }
    let faults = google.sandbox.faults();
    for order in ["", "&singleEvents=true", "&orderBy=updated"] {
        faults.add(Fault { skip: 1, times: Some(2), ..Fault::once("calendar.events.list", Effect::EmptyPage) });
        faults.add(Fault::once("calendar.events.list", Effect::EmptyPage));
        let before = google.sandbox.calls().len();
        assert_eq!(google.list(&format!("maxResults=2{order}")).await.0.len(), 5);
        assert_eq!(google.sandbox.calls().len() - before, 6, "{order}");
    }
    faults.add(Fault::once("calendar.events.list", Effect::Stale));
    let (nothing, next) = google.changes(&token).await;
    assert!(nothing.is_empty());
    assert_eq!(google.changes(&next).await.0.len(), 5);
}
