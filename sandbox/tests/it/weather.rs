use axum::http::Method;
use serde_json::{Value, json};
use slotd_sandbox::{Effect, Fault, GoogleError, Outage, Shape, Weather};

use crate::faults::control;
use crate::harness::{ANNA, Google, timed};

const LIST: &str = "calendars/primary/events";

/// Which of so many lists are struck.
async fn pattern(google: &Google, calls: usize) -> Vec<bool> {
    let mut struck = Vec::new();
    for _ in 0..calls {
        struck.push(google.get(LIST).await.status == 503);
    }
    struck
}

#[tokio::test]
async fn a_rate_strikes_the_same_calls_for_the_same_seed() {
    let google = Google::start().await;
    let faults = google.sandbox.faults();
    let mut seen = Vec::new();
    for seed in [7, 7, 8] {
        let id = faults.add(Fault::at_random("calendar.events.list", 30.0, seed, Effect::Empty { status: 503 }));
        let struck = pattern(&google, 200).await;
        let count = struck.iter().filter(|struck| **struck).count();
        assert!((30..=90).contains(&count), "{count} of 200");
        assert_eq!(faults.struck(id), count as u64);
        assert!(faults.remove(id));
        assert_eq!(faults.struck(id), count as u64, "the count outlives the fault");
        seen.push(struck);
    }
    assert_eq!(seen[0], seen[1]);
    assert_ne!(seen[0], seen[2]);

    // A seed that was drawn is told, and brings the same calls again.
    let fault = json!({ "method": "calendar.events.list", "rate": 30, "effect": { "kind": "empty", "status": 503 } });
    control(&google, Method::POST, "faults", fault.clone()).await;
    let first = pattern(&google, 50).await;
    let (_, listed) = control(&google, Method::GET, "faults", Value::Null).await;
    faults.clear();
    let mut again = fault;
    again["seed"] = listed[0]["seed"].clone();
    assert!(again["seed"].is_u64(), "{listed}");
    control(&google, Method::POST, "faults", again).await;
    assert_eq!(pattern(&google, 50).await, first);
}

#[tokio::test]
async fn a_rate_goes_along_with_skip_and_times() {
    let google = Google::start().await;
    let fault = Fault::at_random("calendar.events.list", 50.0, 3, Effect::Empty { status: 503 });
    google.sandbox.faults().add(Fault { skip: 10, times: Some(2), ..fault });
    let struck = pattern(&google, 60).await;
    assert!(struck[..10].iter().all(|struck| !struck));
    assert_eq!(struck.iter().filter(|struck| **struck).count(), 2);
}

#[tokio::test]
async fn weather_comes_and_goes_as_a_whole_and_is_counted() {
    let google = Google::start().await;
    let faults = google.sandbox.faults();
    let kept =
        faults.add(Fault { times: None, ..Fault::once("calendar.calendars.get", Effect::Empty { status: 502 }) });
    let weather = json!({
        "seed": 11,
        "faults": [
            { "method": "calendar.events.list", "rate": 20, "effect": { "kind": "empty", "status": 503 } },
            { "method": "calendar.events.list", "rate": 20, "effect": { "kind": "google", "error": "rateLimitExceeded" } },
            { "method": "push", "rate": 20, "effect": { "kind": "twice" } },
        ],
    });
    assert_eq!(control(&google, Method::PUT, "weather", weather.clone()).await.0, 204);
    let statuses = async || {
        let mut statuses = Vec::new();
        for _ in 0..100 {
            statuses.push(google.get(LIST).await.status);
        }
        statuses
    };
    let first = statuses().await;
    let (_, counts) = control(&google, Method::GET, "faults/struck", Value::Null).await;
    let count = |wanted: u16| first.iter().filter(|status| **status == wanted).count();
    assert_eq!((&counts["empty"], &counts["rateLimitExceeded"]), (&json!(count(503)), &json!(count(403))));
    assert!(count(503) > 0 && count(403) > 0 && count(200) > 0, "{first:?}");
    // The calls tell which fault struck them.
    let calls = google.sandbox.calls();
    let told = calls.iter().filter(|call| call.fault.as_deref() == Some("rateLimitExceeded")).count();
    assert_eq!(told, count(403));

    // The same weather again brings the same strikes; a bad one leaves it as it is.
    assert_eq!(control(&google, Method::PUT, "weather", weather.clone()).await.0, 204);
    let mut bad = weather;
    bad["faults"][1]["rate"] = json!(1000);
    assert_eq!(control(&google, Method::PUT, "weather", bad).await.0, 422);
    assert_eq!(faults.list().len(), 4);
    assert_eq!(statuses().await, first);

    assert_eq!(control(&google, Method::DELETE, "weather", Value::Null).await.0, 204);
    assert_eq!(statuses().await, [200; 100]);
    assert_eq!(faults.list().iter().map(|listed| (listed.id, listed.weather)).collect::<Vec<_>>(), [(kept, false)]);
    faults.set_weather(Weather { seed: 1, faults: vec![Fault::once("push", Effect::Drop)] }).unwrap();
    faults.clear();
    assert!(faults.list().is_empty());
}

#[tokio::test]
async fn an_outage_has_three_faces_and_leaves_the_control_routes_alone() {
    let google = Google::start().await;
    let token = format!("Bearer {}", google.token);
    let headers = [("authorization", token.as_str())];
    let list = || google.try_send(Method::GET, "/calendar/v3/calendars/primary/events", &headers, "");
    let down = |outage: &str| json!({ "down": true, "outage": outage });
    control(&google, Method::PUT, "down", down("html")).await;
    let page = list().await.unwrap();
    assert_eq!((page.status, page.json()), (503, Value::Null));
    control(&google, Method::PUT, "down", down("reset")).await;
    assert!(list().await.is_none());
    let refresh = google.try_send(Method::POST, "/token", &[], "grant_type=refresh_token").await;
    assert!(refresh.is_none(), "the OAuth endpoints are down as well");
    control(&google, Method::PUT, "down", down("hang")).await;
    assert!(tokio::time::timeout(std::time::Duration::from_millis(200), list()).await.is_err());
    assert_eq!(control(&google, Method::PUT, "down", json!({ "down": false })).await.0, 204);
    assert_eq!(list().await.unwrap().status, 200);
    google.sandbox.faults().set_outage(Some(Outage::Reset));
    assert!(list().await.is_none() && google.sandbox.faults().is_down());
    assert_eq!(google.sandbox.faults().strikes()["down"], 5);
}

#[tokio::test]
async fn the_log_of_calls_tells_user_page_and_kind_of_list() {
    let google = Google::start().await;
    let token = google.sync_token().await;
    for hour in 9..13 {
        google.insert(timed("Cut", 4, hour)).await;
    }
    let before = google.sandbox.calls().len();
    google.list(&format!("maxResults=2&syncToken={token}")).await;
    google.get(&format!("calendars/{ANNA}/events?maxResults=2")).await;
    google.sandbox.faults().add(Fault::once("calendar.calendars.get", Effect::google(GoogleError::NotFound)));
    google.get("calendars/primary").await;
    let calls = google.sandbox.calls();
    let seen: Vec<_> = calls[before..]
        .iter()
        .map(|call| (call.user.as_deref(), call.calendar.as_deref(), call.page, call.shape, call.fault.as_deref()))
        .collect();
    let anna = Some(ANNA);
    assert_eq!(
        seen,
        [
            (anna, anna, Some(1), Some(Shape::Incremental), None),
            (anna, anna, Some(2), Some(Shape::Incremental), None),
            (anna, anna, Some(1), Some(Shape::Full), None),
            (anna, anna, None, None, Some("notFound")),
        ]
    );
}
