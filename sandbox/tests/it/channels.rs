//! Channels that begin oddly, die early, or cannot be opened.

use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};
use slotd_sandbox::{Effect, Fault};
use tokio::time::Instant;

use crate::faults::control;
use crate::harness::{ANNA, DEADLINE, Google, timed};
use crate::push::{Receiver, text};

const WATCH: &str = "calendars/primary/events/watch";

/// Waits until no channel is open.
async fn wait_until_dead(google: &Google) {
    let until = Instant::now() + DEADLINE;
    while !google.sandbox.channels().is_empty() {
        assert!(Instant::now() < until, "a channel lives on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn messages_come_before_or_after_the_watch_call_is_answered() {
    let google = Google::start().await;
    for _ in 0..5 {
        let receiver = Receiver::start(&[]).await;
        google.sandbox.faults().add(Fault::once("calendar.events.watch", Effect::SyncFirst { messages: 2 }));
        let id = receiver.address[17..].replace(['/', ':'], "-");
        google.post(WATCH, receiver.channel(&id)).await.ok();
        // No waiting: they have come.
        assert_eq!(receiver.numbers(), [1, 2, 3]);
        let states: Vec<String> =
            receiver.got.lock().unwrap().iter().map(|got| text(got, "x-goog-resource-state").to_owned()).collect();
        assert_eq!(states, ["sync", "exists", "exists"]);
    }
    assert_eq!(google.sandbox.kill_channels(ANNA), 5);
    let receiver = Receiver::start(&[]).await;
    google.sandbox.faults().add(Fault::once("calendar.events.watch", Effect::SyncLater { ms: 200 }));
    google.post(WATCH, receiver.channel("later")).await.ok();
    google.insert(timed("Cut", 4, 9)).await;
    assert!(receiver.numbers().is_empty());
    receiver.wait_for(2).await;
    assert_eq!(receiver.numbers(), [1, 2]);
}

#[tokio::test]
async fn a_channel_dies_early_without_a_word() {
    let google = Google::start().await;
    let receiver = Receiver::start(&[]).await;
    let witness = Receiver::start(&[]).await;
    google.sandbox.faults().add(Fault {
        channel: Some("mortal".to_owned()),
        ..Fault::once("calendar.events.watch", Effect::DieEarly { messages: Some(2), ms: None })
    });
    google.post(WATCH, witness.channel("witness")).await.ok();
    let opened = google.post(WATCH, receiver.channel("mortal")).await.ok();
    assert!(opened["expiration"].is_string(), "the answer promises as long a life as ever: {opened}");
    for hour in 9..12 {
        google.insert(timed("Cut", 4, hour)).await;
    }
    witness.wait_for(4).await;
    assert_eq!(receiver.numbers(), [1, 2]);
    assert_eq!(google.sandbox.channels().len(), 1);
    let stop = json!({ "id": "mortal", "resourceId": opened["resourceId"] });
    assert_eq!(google.post("channels/stop", stop).await.refusal(), (404, "notFound".into()));

    assert_eq!(google.sandbox.kill_channels(ANNA), 1);
    let effect = Effect::DieEarly { messages: None, ms: Some(1) };
    google.sandbox.faults().add(Fault::once("calendar.events.watch", effect));
    google.post(WATCH, receiver.channel("brief")).await.ok();
    wait_until_dead(&google).await;
}

#[tokio::test]
async fn open_channels_are_listed_and_killed() {
    let google = Google::start().await;
    let receiver = Receiver::start(&[]).await;
    let opened = google.post(WATCH, receiver.channel("c")).await.ok();
    receiver.wait_for(1).await;
    let (_, listed) = control(&google, Method::GET, "channels", Value::Null).await;
    let channel = &listed[0];
    assert_eq!((&channel["id"], &channel["calendar"], &channel["user"]), (&json!("c"), &json!(ANNA), &json!(ANNA)));
    assert_eq!((&channel["resourceId"], &channel["messages"]), (&opened["resourceId"], &json!(1)));
    let kill = async || control(&google, Method::DELETE, "channels", json!({ "calendar": ANNA })).await;
    assert_eq!(kill().await, (200, json!({ "ended": 1 })));
    assert_eq!(kill().await, (200, json!({ "ended": 0 })));
    google.insert(timed("Cut", 4, 9)).await;
    // The id is free again; a new channel is told of what comes after it.
    google.post(WATCH, receiver.channel("c")).await.ok();
    google.insert(timed("Cut", 4, 10)).await;
    receiver.wait_for(3).await;
    assert_eq!(receiver.numbers(), [1, 1, 2]);
}

#[tokio::test]
async fn the_life_of_a_channel_is_cut_and_the_answer_says_so() {
    let google = Google::start().await;
    let receiver = Receiver::start(&[]).await;
    let expiration = async |id: &str| {
        let opened = google.post(WATCH, receiver.channel(id)).await.ok();
        opened["expiration"].as_str().unwrap().parse::<i64>().unwrap()
    };
    let long = expiration("long").await;
    google.sandbox.faults().add(Fault::once("calendar.events.watch", Effect::CapTtl { seconds: 60 }));
    let short = expiration("short").await;
    assert!((3_530_000..3_550_000).contains(&(long - short)), "an hour was asked for: {long} {short}");
}

#[tokio::test]
async fn a_calendar_stops_being_watchable_and_starts_again() {
    let google = Google::start().await;
    let receiver = Receiver::start(&[]).await;
    let set = async |watchable: bool| {
        let body = json!({ "calendar": ANNA, "watchable": watchable });
        assert_eq!(control(&google, Method::PUT, "watchable", body).await.0, 204);
    };
    google.post(WATCH, receiver.channel("open")).await.ok();
    set(false).await;
    let refused = google.post(WATCH, receiver.channel("refused")).await;
    assert_eq!(refused.refusal(), (400, "pushNotSupportedForRequestedResource".into()));
    google.insert(timed("Cut", 4, 9)).await;
    receiver.wait_for(2).await;
    set(true).await;
    google.post(WATCH, receiver.channel("again")).await.ok();
    google.sandbox.faults().set_watchable(ANNA, false);
    google.sandbox.faults().clear();
    google.post(WATCH, receiver.channel("cleared")).await.ok();
}
