//! Google is down, slow, or loses its answers: bookings are taken all the same, and written once.

use std::time::Duration;

use serde_json::{Value, json};
use slotd_sandbox::Effect;
use tokio::time::Instant;

use crate::{
    harness::{Db, on_both_engines},
    stage::{Stage, at, eventually, id},
};

const INSERT: &str = "calendar.events.insert";

/// The one event of a booking, once Google has it.
async fn written_once(stage: &Stage, booking: &Value) {
    stage.synced(booking).await;
    let events = stage.google.of_booking(&id(booking)).await;
    assert_eq!(events.len(), 1, "{events:#?}");
    assert_eq!(events[0]["id"], booking["event_id"]);
}

on_both_engines! {
    async fn while_google_is_down_bookings_are_taken_and_written_when_it_is_back(db: Db) {
        let stage = Stage::open(db).await;
        stage.google.faults().set_down(true);
        // Past the time for which the last look at Google is good enough.
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        let started = Instant::now();
        let first = stage.book(at(2, 10, 0)).await;
        let waited = started.elapsed();
        assert!(waited < Duration::from_secs(3), "{waited:?}");
        assert_eq!(first["calendar_sync"], "pending");
        assert!(first["warning"].as_str().unwrap().contains("Google Calendar"), "{first}");
        let second = stage.book(at(2, 11, 0)).await;
        let gone = stage.book(at(2, 12, 0)).await;
        stage.api.post(&stage.at(&format!("/bookings/{}/cancel", id(&gone))), &json!({})).await.ok();
        assert_eq!(stage.try_book(at(2, 10, 0)).await.status, 409);

        stage.google.faults().set_down(false);
        written_once(&stage, &first).await;
        written_once(&stage, &second).await;
        assert_eq!(stage.google.events().await.len(), 2);
    }

    async fn an_insert_that_hangs_holds_nobody_up_and_is_written_once(db: Db) {
        let stage = Stage::with(db, Vec::new(), |config| config.google.request_timeout_s = 2).await;
        for (hour, effect) in [(10, Effect::HangBefore), (12, Effect::HangAfter)] {
            stage.google.strike(INSERT, effect);
            let started = Instant::now();
            let booked = stage.book(at(2, hour, 0)).await;
            assert!(started.elapsed() < Duration::from_secs(2));
            assert_eq!(booked["calendar_sync"], "pending");
            written_once(&stage, &booked).await;
        }
        stage.same_as_google(at(0, 0, 0), at(30, 0, 0)).await;
    }

    async fn an_answer_that_is_lost_leads_to_one_event(db: Db) {
        let stage = Stage::open(db).await;
        for (hour, effect) in [(9, Effect::ResetBefore), (10, Effect::ResetAfter), (11, Effect::Truncate)] {
            stage.google.strike(INSERT, effect);
            let booked = stage.book(at(2, hour, 0)).await;
            written_once(&stage, &booked).await;
        }
        assert_eq!(stage.google.events().await.len(), 3);

        let booked = stage.book_and_write(at(2, 14, 0)).await;
        stage.google.strike("calendar.events.delete", Effect::ResetAfter);
        stage.api.post(&stage.at(&format!("/bookings/{}/cancel", id(&booked))), &json!({})).await.ok();
        eventually("the event is deleted", async || {
            stage.google.of_booking(&id(&booked)).await.is_empty().then_some(())
        })
        .await;
    }

    async fn a_move_whose_answer_is_lost_ends_where_it_was_moved(db: Db) {
        let stage = Stage::open(db).await;
        for (hour, effect) in [(9, Effect::ResetBefore), (10, Effect::ResetAfter)] {
            let booked = stage.book_and_write(at(2, hour, 0)).await;
            stage.google.strike("calendar.events.patch", effect);
            let path = stage.at(&format!("/bookings/{}", id(&booked)));
            stage.api.patch(&path, &json!({ "start": crate::stage::text(at(3, hour, 0)) })).await.ok();
            let moved = stage.synced(&booked).await;
            assert_eq!(moved["start"], crate::stage::text(at(3, hour, 0)));
            assert_eq!(moved["history"].as_array().unwrap().len(), 2, "{moved}");
            let event = stage.google.get(booked["event_id"].as_str().unwrap()).await;
            assert_eq!(event["start"]["dateTime"], crate::stage::text(at(3, hour, 0)));
        }
        stage.same_as_google(at(0, 0, 0), at(30, 0, 0)).await;
    }
}
