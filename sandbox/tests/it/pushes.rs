//! What may befall a push: late, out of turn, in bursts, forged.

use axum::http::{HeaderMap, Method};
use serde_json::{Value, json};
use slotd_sandbox::{Effect, Fault, Forgery, NoChannel, Push};

use crate::faults::control;
use crate::harness::{ANNA, Google, timed};
use crate::push::{Receiver, text};

const WATCH: &str = "calendars/primary/events/watch";

/// A stand-in with one open channel, whose sync message has come.
async fn watched() -> (Google, Receiver) {
    let google = Google::start().await;
    let receiver = Receiver::start(&[]).await;
    google.post(WATCH, receiver.channel("c")).await.ok();
    receiver.wait_for(1).await;
    (google, receiver)
}

async fn write(google: &Google, count: u32) {
    for hour in 0..count {
        google.insert(timed("Cut", 4, 8 + hour)).await;
    }
}

#[tokio::test]
async fn a_late_push_is_overtaken() {
    let (google, receiver) = watched().await;
    google.sandbox.faults().add(Fault::once("push", Effect::Late { ms: 300 }));
    write(&google, 3).await;
    receiver.wait_for(4).await;
    assert_eq!(receiver.numbers(), [1, 3, 4, 2]);
}

#[tokio::test]
async fn two_pushes_change_places() {
    let (google, receiver) = watched().await;
    google.sandbox.faults().add(Fault { skip: 1, ..Fault::once("push", Effect::Swap) });
    write(&google, 4).await;
    receiver.wait_for(5).await;
    assert_eq!(receiver.numbers(), [1, 2, 4, 3, 5]);
    // The last one is not lost.
    google.sandbox.faults().add(Fault::once("push", Effect::Swap));
    write(&google, 1).await;
    receiver.wait_for(6).await;
    assert_eq!(receiver.numbers(), [1, 2, 4, 3, 5, 6]);
}

#[tokio::test]
async fn numbers_rise_with_gaps_and_in_bursts() {
    let (google, receiver) = watched().await;
    let faults = google.sandbox.faults();
    faults.add(Fault::once("push", Effect::Gap { numbers: 10 }));
    write(&google, 2).await;
    receiver.wait_for(3).await;
    assert_eq!(receiver.numbers(), [1, 12, 13]);
    faults.add(Fault::once("push", Effect::Burst { messages: 20 }));
    write(&google, 2).await;
    receiver.wait_for(24).await;
    let mut numbers = receiver.numbers();
    numbers.sort_unstable();
    assert_eq!(numbers[3..], (14..=34).collect::<Vec<u64>>()[..]);
}

#[tokio::test]
async fn a_push_may_say_that_the_resource_is_gone_and_not_when_the_channel_ends() {
    let (google, receiver) = watched().await;
    google.sandbox.faults().add(Fault::once("push", Effect::NotExists));
    google.sandbox.faults().add(Fault::once("push", Effect::WithoutExpiration));
    write(&google, 3).await;
    let got = receiver.wait_for(4).await;
    let seen = |headers: &HeaderMap| {
        (text(headers, "x-goog-resource-state").to_owned(), headers.contains_key("x-goog-channel-expiration"))
    };
    let exists = || "exists".to_owned();
    let wanted = [("not_exists".to_owned(), true), (exists(), false), (exists(), true)];
    assert_eq!(got[1..].iter().map(seen).collect::<Vec<_>>(), wanted);
}

#[tokio::test]
async fn a_thousand_pushes_come_at_once() {
    let (google, receiver) = watched().await;
    let (status, sent) = control(&google, Method::POST, "pushes", json!({ "calendar": ANNA, "messages": 1000 })).await;
    assert_eq!((status, sent["statuses"].as_array().unwrap().len()), (200, 1000));
    assert!(sent["statuses"].as_array().unwrap().iter().all(|status| *status == 204));
    let mut numbers = receiver.numbers();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=1001).collect::<Vec<u64>>());
    write(&google, 1).await;
    receiver.wait_for(1002).await;
    assert_eq!(receiver.numbers()[1001], 1002);
}

#[tokio::test]
async fn each_forgery_differs_from_the_truth_in_one_thing() {
    let (google, receiver) = watched().await;
    let mut other = receiver.channel("other");
    other["token"] = json!("0ther");
    google.post(WATCH, other).await.ok();
    receiver.wait_for(2).await;
    let of_c = |forgery: Forgery| Push { channel: Some("c".to_owned()), ..Push::forged(ANNA, forgery) };
    let truth = google.sandbox.channels();
    assert_eq!(truth.iter().map(|channel| channel.id.as_str()).collect::<Vec<_>>(), ["c", "other"]);

    let mut got = Vec::new();
    for forgery in [
        Forgery::WrongToken,
        Forgery::NoToken,
        Forgery::UnknownChannel,
        Forgery::OtherToken,
        Forgery::WrongResource,
        Forgery::Replay,
    ] {
        assert_eq!(google.sandbox.push(of_c(forgery)).await.unwrap(), [204], "{forgery:?}");
        got.push(receiver.got.lock().unwrap().last().unwrap().clone());
    }
    let part = |index: usize, name: &str| text(&got[index], name).to_owned();
    for index in 0..6 {
        let same_channel = part(index, "x-goog-channel-id") == "c";
        let same_token = part(index, "x-goog-channel-token") == "s3cret";
        let same_resource = part(index, "x-goog-resource-id") == truth[0].resource_id;
        assert_eq!(
            [same_channel, same_token, same_resource].map(|same| !same),
            [index == 2, matches!(index, 0 | 1 | 3), index == 4,]
        );
    }
    assert!(!part(0, "x-goog-channel-token").is_empty());
    assert!(!got[1].contains_key("x-goog-channel-token"));
    assert_eq!(part(3, "x-goog-channel-token"), "0ther");
    assert_eq!(part(5, "x-goog-message-number"), "1");

    // A channel that was stopped speaks up again, with its true token and the next number.
    let nothing = google.sandbox.push(of_c(Forgery::EndedChannel)).await;
    assert_eq!(nothing, Err(NoChannel::NotEnded));
    let stop = json!({ "id": "c", "resourceId": truth[0].resource_id });
    assert_eq!(google.post("channels/stop", stop).await.status, 204);
    assert_eq!(google.sandbox.push(of_c(Forgery::EndedChannel)).await.unwrap(), [204]);
    let ghost = receiver.got.lock().unwrap().last().unwrap().clone();
    assert_eq!((text(&ghost, "x-goog-channel-id"), text(&ghost, "x-goog-channel-token")), ("c", "s3cret"));
    assert_eq!((text(&ghost, "x-goog-message-number"), text(&ghost, "x-goog-resource-state")), ("2", "exists"));

    let (status, answer) = control(&google, Method::POST, "pushes", json!({ "calendar": "nobody" })).await;
    assert_eq!((status, answer), (422, Value::Null));
    let alone = google.sandbox.push(Push::forged(ANNA, Forgery::OtherToken)).await;
    assert_eq!(alone, Err(NoChannel::NoOther));
}

#[tokio::test]
async fn a_forged_push_comes_along_with_a_true_one() {
    let (google, receiver) = watched().await;
    let effect = json!({ "kind": "forge", "forgery": "wrong_token" });
    control(&google, Method::POST, "faults", json!({ "method": "push", "times": 1, "effect": effect })).await;
    write(&google, 1).await;
    let got = receiver.wait_for(3).await;
    let tokens: Vec<bool> = got.iter().map(|headers| text(headers, "x-goog-channel-token") == "s3cret").collect();
    assert_eq!(tokens, [true, false, true]);
    assert_eq!(receiver.numbers(), [1, 2, 2]);
}
