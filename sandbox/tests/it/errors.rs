use axum::http::Method;
use serde_json::{Value, json};
use slotd_sandbox::{Effect, Fault, NewCalendar, Options, RefusedEvents, Sandbox};

use crate::harness::{ANNA, Google, timed};

#[tokio::test]
async fn requests_that_google_refuses_are_refused_alike() {
    let google = Google::start().await;
    let events = "calendars/primary/events";
    for (query, reason) in [
        ("maxResults=0", "invalidParameter"),
        ("maxResults=many", "invalidParameter"),
        ("singleEvents=yes", "invalidParameter"),
        ("timeMin=2027-01-01", "badRequest"),
        ("timeMin=2027-01-02T00:00:00Z&timeMax=2027-01-01T00:00:00Z", "timeRangeEmpty"),
        ("orderBy=startTime", "badRequest"),
        ("orderBy=color", "invalidParameter"),
        ("fields=items(", "invalidParameter"),
        ("timeZone=Mars/Base", "invalid"),
    ] {
        assert_eq!(google.get(&format!("{events}?{query}")).await.refusal(), (400, reason.into()), "{query}");
    }
    for path in [
        "calendars/nobody@example.com/events",
        "calendars/primary/events/abcde",
        "calendars/a%2Fb%3Fc/events",
        "nowhere",
    ] {
        assert_eq!(google.get(path).await.refusal(), (404, "notFound".into()), "{path}");
    }
    let token = format!("Bearer {}", google.token);
    let broken = google
        .try_send(Method::POST, "/calendar/v3/calendars/primary/events", &[("authorization", &token)], "{")
        .await
        .unwrap();
    assert_eq!(broken.refusal(), (400, "parseError".into()));
    let huge = "x".repeat(2 << 20);
    let huge = google
        .try_send(Method::POST, "/calendar/v3/calendars/primary/events", &[("authorization", &token)], &huge)
        .await;
    assert!(huge.is_none_or(|answer| answer.status == 413));
    assert_eq!(google.list("").await.0.len(), 0);
}

#[tokio::test]
async fn a_call_needs_a_live_token() {
    let google = Google::start().await;
    let path = "/calendar/v3/calendars/primary/events";
    let none = google.try_send(Method::GET, path, &[], "").await.unwrap();
    assert_eq!(none.refusal(), (401, "required".into()));
    let wrong = google.try_send(Method::GET, path, &[("authorization", "Bearer nonsense")], "").await.unwrap();
    assert_eq!(wrong.refusal(), (401, "authError".into()));
    assert_eq!(wrong.json()["error"]["status"], "UNAUTHENTICATED");
}

#[tokio::test]
async fn big_answers_are_compressed_for_those_who_ask() {
    let google = Google::start().await;
    for hour in 0..20 {
        google.insert(timed("Cut", 4, hour)).await;
    }
    let plain = google.get("calendars/primary/events").await;
    let packed = google.call(Method::GET, "calendars/primary/events", &[("accept-encoding", "gzip")], None).await;
    assert_eq!((plain.header("content-encoding"), packed.header("content-encoding")), ("", "gzip"));
    assert!(packed.bytes.len() < plain.bytes.len() / 2);
}

#[tokio::test]
async fn only_this_machine_is_served() {
    let options = Options { bind: "0.0.0.0:0".parse().unwrap(), ..Options::default() };
    assert_eq!(Sandbox::start(options).await.err().unwrap().kind(), std::io::ErrorKind::InvalidInput);
    let google = Google::start().await;
    for (host, status) in
        [("localhost:1", 200), ("[::1]", 200), ("rebound.example", 421), ("127.0.0.1.evil.example", 421)]
    {
        let answer = google.try_send(Method::GET, "/sandbox/state", &[("host", host)], "").await.unwrap();
        assert_eq!(answer.status, status, "{host}");
    }
}

#[tokio::test]
async fn calendars_that_cannot_be_stored_are_refused_whole() {
    let google = Google::start().await;
    let calendar = |zone: &str, events| NewCalendar {
        id: Some("x@group.calendar.google.com".to_owned()),
        summary: "X".to_owned(),
        time_zone: zone.to_owned(),
        primary: false,
        events,
    };
    let add = |owner: &str, calendar| google.sandbox.add_calendar(owner, calendar).unwrap_err();
    assert_eq!(add("nobody", calendar("UTC", vec![])), RefusedEvents::UnknownOwner("nobody".to_owned()));
    assert_eq!(add(ANNA, calendar("Mars/Base", vec![])), RefusedEvents::UnknownZone("Mars/Base".to_owned()));
    let broken = add(ANNA, calendar("UTC", vec![timed("fine", 4, 9), json!({ "summary": "no times" })]));
    assert!(matches!(broken, RefusedEvents::Event { index: 1, .. }), "{broken}");
    google.sandbox.add_calendar(ANNA, calendar("UTC", vec![])).unwrap();
    let twice = add(ANNA, calendar("UTC", vec![]));
    assert_eq!(twice, RefusedEvents::DuplicateCalendar("x@group.calendar.google.com".to_owned()));
}

#[tokio::test]
async fn what_no_document_knows_is_refused_unless_the_stand_in_is_lenient() {
    let strict = Google::start().await;
    let lenient = Google::with(Options { strict: false, ..Options::default() }, Vec::new()).await;
    let mut odd = timed("Cut", 4, 9);
    odd["summery"] = json!("misspelt");
    for (google, parameter, field) in [(&strict, 400, 400), (&lenient, 200, 200)] {
        assert_eq!(google.get("calendars/primary/events?maxResult=5").await.status, parameter);
        assert_eq!(google.post("calendars/primary/events", odd.clone()).await.status, field);
    }
    let unknown = strict.get("calendars/primary/events?maxResult=5").await.json();
    assert_eq!(unknown["error"]["errors"][0]["location"], "maxResult");
    assert_eq!(strict.list("").await.0.len(), 0);
}

#[tokio::test]
async fn every_exchange_can_be_recorded_and_no_token_is() {
    let file = std::env::temp_dir().join(format!("slotd-record-{}", std::process::id()));
    let options = Options { record: Some(file.clone()), ..Options::default() };
    let google = Google::with(options, Vec::new()).await;
    google.insert(timed("Cut", 4, 9)).await;
    google.sandbox.faults().add(Fault::once("calendar.events.list", Effect::Truncate));
    let bearer = format!("Bearer {}", google.token);
    let path = "/calendar/v3/calendars/primary/events?maxResults=5";
    assert!(google.try_send(Method::GET, path, &[("authorization", &bearer)], "").await.is_none());
    google.sandbox.faults().add(Fault::once("calendar.events.get", Effect::ResetBefore));
    let path = "/calendar/v3/calendars/primary/events/abcde";
    assert!(google.try_send(Method::GET, path, &[("authorization", &bearer)], "").await.is_none());
    google.try_send(Method::POST, "/revoke", &[], &format!("token={}", google.token)).await.unwrap();

    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(!text.contains(&google.token));
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen: Vec<_> =
        lines.iter().map(|line| (line["method"].as_str().unwrap(), line["status"].as_u64().unwrap())).collect();
    let wanted = [
        ("calendar.events.insert", 200),
        ("calendar.events.list", 200),
        ("calendar.events.get", 0),
        ("oauth2.revoke", 400),
    ];
    assert_eq!(seen, wanted);
    let answer: Value = serde_json::from_str(lines[0]["answer"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&answer["summary"], &lines[0]["cut"], &lines[0]["fault"]),
        (&json!("Cut"), &json!(false), &Value::Null)
    );
    assert_eq!((&lines[1]["query"], &lines[1]["cut"]), (&json!("maxResults=5"), &json!(true)));
    assert_eq!(lines[2]["fault"]["kind"], "reset_before");
    assert_eq!(lines[3]["body"], "token=masked");
}
