//! Many events of bookings are gone at once: the bookings stand until the owner answers.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use slotd::{auth::NewKey, store::api_keys::Scope};
use slotd_sandbox::Effect;

use crate::{
    harness::{Db, on_both_engines},
    stage::{Ending, OWNER, Stage, at, eventually, id, text},
};

const LIST: &str = "calendar.events.list";

/// So many bookings, written to Google.
async fn bookings(stage: &Stage, count: u32) -> Vec<Value> {
    let mut booked = Vec::new();
    for number in 0..count {
        booked.push(stage.book(at(2 + u64::from(number / 10), 8 + number % 10, 0)).await);
    }
    for booking in &booked {
        stage.synced(booking).await;
    }
    stage.idle().await;
    booked
}

async fn delete(stage: &Stage, bookings: &[Value]) {
    for booking in bookings {
        stage.google.delete(booking["event_id"].as_str().unwrap()).await;
    }
}

/// Deletes the events of bookings before the pass that the first deletion wakes looks at any.
async fn delete_at_once(stage: &Stage, bookings: &[Value]) {
    stage.google.strike(LIST, Effect::Delay { ms: 1_500 });
    delete(stage, bookings).await;
}

/// Waits until the owner is asked about so many bookings.
async fn asked(stage: &Stage, count: usize) {
    eventually(&format!("the owner is asked about {count}"), async || {
        (stage.status().await["calendars"][0]["asked_bookings"] == count).then_some(())
    })
    .await;
    stage.idle().await;
}

async fn answer(stage: &Stage, body: &Value) -> crate::stage::Answer {
    let calendar = id(&stage.status().await["calendars"][0]);
    let path = format!("/settings/{}/calendar/{calendar}/cancellations", stage.business);
    stage.api.post(&path, body).await
}

/// How many bookings stand in which way.
async fn counts(stage: &Stage, bookings: &[Value]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for booking in bookings {
        let booking = stage.booking(&id(booking)).await;
        let gone = booking["event_gone"].as_str().unwrap_or("there");
        *counts.entry(format!("{} {gone}", booking["status"].as_str().unwrap())).or_default() += 1;
    }
    counts
}

fn are(counts: &[(&str, usize)]) -> BTreeMap<String, usize> {
    counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

const WARNING: &str = "many events of bookings are gone at once";

on_both_engines! {
    async fn ten_of_twelve_deleted_at_once_wait_for_the_owner_who_lets_them_go(db: Db) {
        let mut stage = Stage::open(db).await;
        let booked = bookings(&stage, 12).await;
        delete_at_once(&stage, &booked[..10]).await;
        asked(&stage, 10).await;

        assert_eq!(counts(&stage, &booked).await, are(&[("confirmed asked", 10), ("confirmed there", 2)]));
        let status = stage.status().await;
        assert!(status["what_to_do"].as_str().unwrap().contains("/cancellations"), "{status}");
        assert_eq!(status["calendars"][0]["state"], "mirrored");
        assert_eq!(stage.node().log.text().matches(WARNING).count(), 1);
        // The time stays taken, and the mirror goes on.
        assert_eq!(stage.try_book(at(2, 8, 0)).await.status, 409);
        stage.google.insert(&crate::stage::event("Visit", at(5, 9, 0), 30)).await;
        stage.expect_free(at(5, 9, 0), 30, false).await;

        stage.restart(Ending::Order, |_| {}).await;
        assert_eq!(stage.status().await["calendars"][0]["asked_bookings"], 10);
        assert_eq!(answer(&stage, &json!({ "decision": "maybe" })).await.problem().0, 400);
        assert_eq!(answer(&stage, &json!({ "decision": "keep", "why": "x" })).await.problem().0, 400);
        let new = NewKey { business: None, scope: Scope::Receptionist, label: "desk".to_owned(), expires_at: None };
        let (_, desk) = stage.node().daemon.keys.create(new).await.unwrap();
        let calendar = id(&status["calendars"][0]);
        let path = format!("/settings/{}/calendar/{calendar}/cancellations", stage.business);
        let refused = stage.api.with_bearer(desk.reveal()).post(&path, &json!({ "decision": "cancel" })).await;
        assert_eq!(refused.problem().0, 403);
        assert_eq!(counts(&stage, &booked).await, are(&[("confirmed asked", 10), ("confirmed there", 2)]));

        let answered = answer(&stage, &json!({ "decision": "cancel" })).await.ok();
        assert_eq!(answered, json!({ "decision": "cancel", "bookings": 10 }));
        assert_eq!(counts(&stage, &booked).await, are(&[("cancelled there", 10), ("confirmed there", 2)]));
        let last = stage.booking(&id(&booked[0])).await["history"].as_array().unwrap().last().unwrap().clone();
        assert_eq!((&last["what"], &last["source"]), (&json!("cancelled"), &json!("owner")));
        assert_eq!(stage.availability(at(2, 8, 0), 30).await["available"], true);
        assert!(stage.status().await["calendars"][0]["asked_bookings"].is_null());
        let again = answer(&stage, &json!({ "decision": "cancel" })).await;
        assert_eq!((again.problem().0, &again.json()["reason"]), (409, &json!("no_question")));

        // One more is the owner's as ever.
        stage.google.delete(booked[10]["event_id"].as_str().unwrap()).await;
        stage.sync_now().await;
        stage.booking_becomes(&id(&booked[10]), "one deletion ends one booking", |b| b["status"] == "cancelled").await;
        assert_eq!(stage.google.calls("calendar.events.insert"), 13, "twelve bookings and a visit");
    }

    async fn kept_bookings_stand_without_an_event_and_get_none_again(db: Db) {
        let stage = Stage::open(db).await;
        let booked = bookings(&stage, 5).await;
        delete_at_once(&stage, &booked[..4]).await;
        asked(&stage, 4).await;
        assert_eq!(answer(&stage, &json!({ "decision": "keep" })).await.ok()["bookings"], 4);
        assert_eq!(counts(&stage, &booked).await, are(&[("confirmed kept", 4), ("confirmed there", 1)]));
        let writes = (stage.google.calls("calendar.events.insert"), stage.google.calls("calendar.events.patch"));

        // Neither a change of the booking nor a new full sync brings the event back, or the question.
        let path = stage.at(&format!("/bookings/{}", id(&booked[0])));
        let moved = stage.api.patch(&path, &json!({ "start": text(at(6, 9, 0)) })).await.ok();
        assert_eq!((&moved["calendar_sync"], &moved["event_gone"]), (&json!("none"), &json!("kept")));
        stage.api.post(&stage.at(&format!("/bookings/{}/cancel", id(&booked[1]))), &json!({})).await.ok();
        stage.google.faults().expire_sync_tokens(OWNER);
        stage.sync_now().await;
        stage.idle().await;
        let expected = are(&[("cancelled there", 1), ("confirmed kept", 3), ("confirmed there", 1)]);
        assert_eq!(counts(&stage, &booked).await, expected);
        assert_eq!(stage.try_book(at(6, 9, 0)).await.status, 409);
        assert_eq!(writes, (stage.google.calls("calendar.events.insert"), stage.google.calls("calendar.events.patch")));
        assert!(stage.status().await["calendars"][0]["asked_bookings"].is_null());

        // Unless the owner restores it.
        stage.google.patch(booked[2]["event_id"].as_str().unwrap(), &json!({ "status": "confirmed" })).await;
        let back = stage.booking_becomes(&id(&booked[2]), "it is there again", |b| b["calendar_sync"] == "synced").await;
        assert_eq!((&back["status"], &back["event_gone"]), (&json!("confirmed"), &Value::Null));
        stage.google.delete(booked[2]["event_id"].as_str().unwrap()).await;
        stage.booking_becomes(&id(&booked[2]), "it ends with its event", |b| b["status"] == "cancelled").await;
    }

    async fn events_that_a_new_full_sync_lacks_are_judged_together(db: Db) {
        let stage = Stage::open(db).await;
        let booked = bookings(&stage, 12).await;
        stage.google.faults().expire_sync_tokens(OWNER);
        delete_at_once(&stage, &booked[..10]).await;
        asked(&stage, 10).await;
        assert_eq!(counts(&stage, &booked).await, are(&[("confirmed asked", 10), ("confirmed there", 2)]));
        // Restored, they are as before, and nothing is left to ask about.
        for booking in &booked[..10] {
            stage.google.patch(booking["event_id"].as_str().unwrap(), &json!({ "status": "confirmed" })).await;
        }
        eventually("nothing is asked any more", async || {
            stage.status().await["calendars"][0]["asked_bookings"].is_null().then_some(())
        })
        .await;
        assert_eq!(counts(&stage, &booked).await, are(&[("confirmed there", 12)]));
        stage.same_as_google(at(0, 0, 0), at(30, 0, 0)).await;
    }

    async fn bookings_of_long_ago_are_held_back_without_asking_google_again(db: Db) {
        let stage = Stage::open(db).await;
        let booked = bookings(&stage, 6).await;
        stage.raw.execute("UPDATE booking SET updated_at = updated_at - 600000000").await.unwrap();
        let reads = stage.google.calls("calendar.events.get");
        delete_at_once(&stage, &booked[..5]).await;
        asked(&stage, 5).await;
        assert_eq!(stage.google.calls("calendar.events.get"), reads);
        assert_eq!(counts(&stage, &booked).await, are(&[("confirmed asked", 5), ("confirmed there", 1)]));
        assert_eq!(answer(&stage, &json!({ "decision": "cancel" })).await.ok()["bookings"], 5);
    }

    async fn a_calendar_that_is_emptied_event_by_event_is_braked_as_well(db: Db) {
        let stage = Stage::open(db).await;
        let booked = bookings(&stage, 7).await;
        for booking in &booked[..3] {
            delete(&stage, std::slice::from_ref(booking)).await;
            stage.booking_becomes(&id(booking), "few end at once", |b| b["status"] == "cancelled").await;
        }
        delete(&stage, &booked[3..]).await;
        asked(&stage, 4).await;
        assert_eq!(counts(&stage, &booked).await, are(&[("cancelled there", 3), ("confirmed asked", 4)]));
        // What is restored is out of the question.
        stage.google.patch(booked[3]["event_id"].as_str().unwrap(), &json!({ "status": "confirmed" })).await;
        asked(&stage, 3).await;
        assert_eq!(answer(&stage, &json!({ "decision": "cancel" })).await.ok()["bookings"], 3);
        assert_eq!(counts(&stage, &booked).await, are(&[("cancelled there", 6), ("confirmed there", 1)]));
    }

    async fn three_of_four_end_with_their_events(db: Db) {
        let stage = Stage::open(db).await;
        let booked = bookings(&stage, 4).await;
        delete_at_once(&stage, &booked[..3]).await;
        for booking in &booked[..3] {
            stage.booking_becomes(&id(booking), "it ends", |b| b["status"] == "cancelled").await;
        }
        assert!(!stage.node().log.text().contains(WARNING));
    }
}
