//! Pages that loop, are empty, come twice or in no order, and reads that lag behind.

use std::collections::HashSet;

use serde_json::{Value, json};
use slotd_sandbox::{Effect, Fault, GoogleError};

use crate::harness::{Google, ids, timed};

const LIST: &str = "calendar.events.list";

async fn with_events(count: u32) -> Google {
    let google = Google::start().await;
    for index in 0..count {
        google.insert(timed("Cut", 1 + index / 10, 8 + index % 10)).await;
    }
    google
}

/// One page of two events: the answer, and its page token.
async fn page(google: &Google, token: Option<&str>) -> (Value, Option<String>) {
    let token = token.map_or_else(String::new, |token| format!("&pageToken={token}"));
    let answer = google.get(&format!("calendars/primary/events?maxResults=2{token}")).await.ok();
    let next = answer["nextPageToken"].as_str().map(str::to_owned);
    assert_eq!(next.is_some(), answer.get("nextSyncToken").is_none(), "{answer}");
    (answer, next)
}

fn listed(page: &Value) -> Vec<String> {
    ids(page["items"].as_array().unwrap()).into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn any_page_of_a_list_can_be_struck() {
    let google = with_events(6).await;
    let (_, second) = page(&google, None).await;
    let (_, third) = page(&google, second.as_deref()).await;
    google
        .sandbox
        .faults()
        .add(Fault { page: Some(3), ..Fault::once(LIST, Effect::google(GoogleError::FullSyncRequired)) });
    page(&google, None).await;
    page(&google, second.as_deref()).await;
    let third = format!("calendars/primary/events?maxResults=2&pageToken={}", third.unwrap());
    assert_eq!(google.get(&third).await.refusal(), (410, "fullSyncRequired".into()));
    assert_eq!(google.get(&third).await.status, 200);
}

#[tokio::test]
async fn a_page_leads_to_itself_once_or_for_ever() {
    let google = with_events(6).await;
    let (first, _) = page(&google, None).await;
    google.sandbox.faults().add(Fault { page: Some(2), ..Fault::once(LIST, Effect::RepeatPage) });
    assert_eq!(google.list("maxResults=2").await.0.len(), 8, "one page came twice");

    google.sandbox.faults().add(Fault { times: None, ..Fault::once(LIST, Effect::RepeatPage) });
    let (looping, token) = page(&google, None).await;
    assert_eq!(listed(&looping), listed(&first));
    let (again, same) = page(&google, token.as_deref()).await;
    let (_, still) = page(&google, same.as_deref()).await;
    assert_eq!((listed(&again), &same, &still), (listed(&first), &token, &token));
}

#[tokio::test]
async fn pages_go_round_in_a_cycle_of_any_length() {
    let google = with_events(9).await;
    let mut truth = Vec::new();
    let mut token = None;
    for _ in 0..3 {
        let (answer, next) = page(&google, token.as_deref()).await;
        truth.push(listed(&answer));
        token = next;
    }
    google.sandbox.faults().add(Fault { page: Some(3), times: None, ..Fault::once(LIST, Effect::PageLoop) });
    let mut seen = Vec::new();
    let mut token = None;
    for _ in 0..9 {
        let (answer, next) = page(&google, token.as_deref()).await;
        assert!(next.is_some());
        seen.push(listed(&answer));
        token = next;
    }
    assert_eq!(seen, [truth.clone(), truth.clone(), truth].concat());
}

#[tokio::test]
async fn empty_pages_go_on_for_ever_with_ever_new_tokens() {
    let google = with_events(2).await;
    google.sandbox.faults().add(Fault { times: None, ..Fault::once(LIST, Effect::EmptyPage) });
    let mut tokens = HashSet::new();
    let mut token = None;
    for _ in 0..10 {
        let (answer, next) = page(&google, token.as_deref()).await;
        assert!(listed(&answer).is_empty());
        assert!(tokens.insert(next.clone().unwrap()));
        token = next;
    }
    google.sandbox.faults().clear();
    assert_eq!(listed(&page(&google, token.as_deref()).await.0).len(), 2, "nothing was lost");
}

#[tokio::test]
async fn events_come_again_on_the_next_page() {
    let google = with_events(6).await;
    let whole = google.list("maxResults=2500").await.0;
    google.sandbox.faults().add(Fault { times: None, ..Fault::once(LIST, Effect::Overlap { events: 1 }) });
    let overlapping = google.list("maxResults=3").await.0;
    let order = ids(&whole);
    // Three a page, each page beginning with the last event of the page before.
    let wanted = [order[0], order[1], order[2], order[2], order[3], order[4], order[4], order[5]];
    assert_eq!(ids(&overlapping), wanted);
    // A pass gets on even when everything is to come again.
    google.sandbox.faults().clear();
    google.sandbox.faults().add(Fault { times: None, ..Fault::once(LIST, Effect::Overlap { events: 99 }) });
    let distinct: HashSet<String> = ids(&google.list("maxResults=2").await.0).into_iter().map(str::to_owned).collect();
    assert_eq!(distinct.len(), 6);
}

#[tokio::test]
async fn a_pass_comes_in_no_order_and_loses_nothing() {
    let google = with_events(20).await;
    let whole = google.list("maxResults=2500").await.0;
    let order: Vec<String> = ids(&whole).into_iter().map(str::to_owned).collect();
    let set: HashSet<&String> = order.iter().collect();
    google.sandbox.faults().add(Fault { page: Some(1), ..Fault::once(LIST, Effect::Shuffle) });
    let (items, last) = google.list("maxResults=3").await;
    let shuffled: Vec<String> = ids(&items).into_iter().map(str::to_owned).collect();
    assert_eq!(shuffled.iter().collect::<HashSet<_>>(), set);
    assert_eq!(shuffled.len(), 20);
    let sorted = |part: &[String]| {
        let mut part = part.to_vec();
        part.sort();
        part
    };
    assert!(sorted(&shuffled[..3]) != sorted(&order[..3]), "the order goes over all pages: {shuffled:?}");
    let token = last["nextSyncToken"].as_str().unwrap();
    assert!(google.changes(token).await.0.is_empty());

    // From a later page on only the page itself is shuffled.
    google.sandbox.faults().add(Fault { page: Some(2), ..Fault::once(LIST, Effect::Shuffle) });
    let items = google.list("maxResults=10").await.0;
    let within: Vec<String> = ids(&items).into_iter().map(str::to_owned).collect();
    assert_eq!(within[..10], order[..10]);
    assert_ne!(within[10..], order[10..]);
    assert_eq!(sorted(&within[10..]), sorted(&order[10..]));
}

#[tokio::test]
async fn a_write_is_not_seen_by_so_many_reads() {
    let google = with_events(2).await;
    let kept = google.insert(timed("before", 4, 9)).await;
    let path = format!("calendars/primary/events/{}", kept["id"].as_str().unwrap());
    let token = google.sync_token().await;
    let lag = Effect::Lag { calls: 2, ms: 0 };
    google.sandbox.faults().add(Fault { times: None, ..Fault::once("calendar.events.*", lag) });
    // What was written before is seen as soon as it has been read so often.
    for _ in 0..2 {
        google.get("calendars/primary/events").await.ok();
    }
    assert_eq!(google.list("").await.0.len(), 3);

    google.patch(&path, json!({ "summary": "after" })).await.ok();
    google.insert(timed("new", 4, 10)).await;
    let stale = google.get(&path).await.ok();
    assert_eq!((&stale["summary"], &stale["etag"]), (&json!("before"), &kept["etag"]));
    let (nothing, same) = google.changes(&token).await;
    assert!(nothing.is_empty());
    // Two reads have missed the writes: now they are seen.
    assert_eq!(google.get(&path).await.ok()["summary"], "after");
    let (changes, _) = google.changes(&same).await;
    let mut summaries: Vec<&str> = changes.iter().map(|event| event["summary"].as_str().unwrap()).collect();
    summaries.sort_unstable();
    assert_eq!(summaries, ["after", "new"]);

    google.delete(&path).await;
    assert_eq!(google.get(&path).await.ok()["status"], "confirmed");
    let full = google.list("").await.0;
    assert_eq!(full.len(), 4, "a full list lags as well");
    assert_eq!(google.list("").await.0.len(), 3);
}

#[tokio::test]
async fn a_write_is_not_seen_for_some_time() {
    let google = with_events(1).await;
    let token = google.sync_token().await;
    let lag = Effect::Lag { calls: 0, ms: 60_000 };
    let long = google.sandbox.faults().add(Fault { times: None, ..Fault::once(LIST, lag) });
    google.insert(timed("new", 4, 10)).await;
    for _ in 0..3 {
        assert!(google.changes(&token).await.0.is_empty());
    }
    google.sandbox.faults().remove(long);
    google.sandbox.faults().add(Fault { times: None, ..Fault::once(LIST, Effect::Lag { calls: 0, ms: 1 }) });
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert_eq!(google.changes(&token).await.0.len(), 1);
}

#[tokio::test]
async fn the_past_of_a_series_is_shown_as_it_was() {
    let google = Google::start().await;
    let mut weekly = timed("lesson", 4, 9);
    weekly["id"] = json!("lesson");
    weekly["recurrence"] = json!(["RRULE:FREQ=WEEKLY;COUNT=5"]);
    google.insert(weekly).await;
    google.patch("calendars/primary/events/lesson_20270111T080000Z", json!({ "summary": "moved" })).await.ok();
    let before = google.list("singleEvents=true").await.0;
    let lag = Effect::Lag { calls: 1, ms: 0 };
    google.sandbox.faults().add(Fault { times: None, ..Fault::once(LIST, lag) });
    assert!(google.list("singleEvents=true").await.0.is_empty(), "as it was before anything was written");
    assert_eq!(google.list("singleEvents=true").await.0, before);
    // Deleting a series takes its exceptions along.
    google.delete("calendars/primary/events/lesson").await;
    assert_eq!(google.list("singleEvents=true").await.0, before);
    assert!(google.list("singleEvents=true").await.0.is_empty());
    assert_eq!((before.len(), &before[1]["summary"]), (5, &json!("moved")));
}
