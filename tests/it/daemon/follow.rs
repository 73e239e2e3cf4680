//! Bookings follow what the owner does to their events.

use chrono::TimeDelta;
use serde_json::{Value, json};
use slotd_sandbox::Effect;

use crate::{
    harness::{Db, on_both_engines},
    stage::{Stage, at, eventually, id, text, times},
};

/// What the last step of a booking's history was, and whose.
fn last_step(booking: &Value) -> (String, String) {
    let step = booking["history"].as_array().unwrap().last().unwrap();
    (step["what"].as_str().unwrap().to_owned(), step["source"].as_str().unwrap().to_owned())
}

fn by_owner(what: &str) -> (String, String) {
    (what.to_owned(), "owner".to_owned())
}

on_both_engines! {
    async fn a_booking_moves_grows_and_goes_with_its_event(db: Db) {
        let stage = Stage::open(db).await;
        let booked = stage.book_and_write(at(2, 10, 0)).await;
        let (booking, event) = (id(&booked), booked["event_id"].as_str().unwrap().to_owned());
        assert_eq!(stage.busy(at(2, 0, 0), at(3, 0, 0)).await, [(at(2, 10, 0), at(2, 10, 30))]);

        stage.google.patch(&event, &times(at(2, 14, 0), 30)).await;
        let moved =
            stage.booking_becomes(&booking, "it moves", |booking| booking["start"] == text(at(2, 14, 0))).await;
        assert_eq!(last_step(&moved), by_owner("rescheduled"));
        assert_eq!(stage.availability(at(2, 10, 0), 30).await["available"], true);
        assert_eq!(stage.busy(at(2, 0, 0), at(3, 0, 0)).await, [(at(2, 14, 0), at(2, 14, 30))]);

        stage.google.patch(&event, &times(at(2, 14, 0), 90)).await;
        stage.booking_becomes(&booking, "it grows", |booking| booking["end"] == text(at(2, 15, 30))).await;
        assert_eq!(stage.busy(at(2, 0, 0), at(3, 0, 0)).await, [(at(2, 14, 0), at(2, 15, 30))]);

        stage.google.patch(&event, &json!({ "summary": "My own words" })).await;
        stage.idle().await;
        let known = stage.booking(&booking).await;
        assert_eq!((&known["status"], last_step(&known)), (&json!("confirmed"), by_owner("rescheduled")));
        assert_eq!(stage.google.get(&event).await["summary"], "My own words");

        stage.google.delete(&event).await;
        let gone = stage.booking_becomes(&booking, "it goes", |booking| booking["status"] == "cancelled").await;
        assert_eq!(last_step(&gone), by_owner("cancelled"));
        assert_eq!(stage.availability(at(2, 14, 0), 90).await["available"], true);

        // Restored by the owner: their event, no booking, and busy.
        stage.google.patch(&event, &json!({ "status": "confirmed" })).await;
        stage.expect_free(at(2, 14, 0), 90, false).await;
        stage.idle().await;
        assert_eq!(stage.booking(&booking).await["status"], "cancelled");
        assert_eq!(stage.google.get(&event).await["status"], "confirmed");
        assert_eq!(stage.busy(at(2, 0, 0), at(3, 0, 0)).await, [(at(2, 14, 0), at(2, 15, 30))]);
        assert_eq!(stage.google.calls("calendar.events.insert"), 1);
    }

    async fn moved_onto_another_booking_both_stand_and_it_is_recorded(db: Db) {
        let stage = Stage::open(db).await;
        let first = stage.book_and_write(at(2, 10, 0)).await;
        let second = stage.book_and_write(at(2, 12, 0)).await;
        stage.google.patch(second["event_id"].as_str().unwrap(), &times(at(2, 10, 0), 30)).await;
        let moved = stage
            .booking_becomes(&id(&second), "it moves", |booking| booking["start"] == text(at(2, 10, 0)))
            .await;
        assert_eq!(last_step(&moved), by_owner("conflict"));
        assert_eq!((&moved["status"], &stage.booking(&id(&first)).await["status"]), (&json!("confirmed"), &json!("confirmed")));
        assert_eq!(stage.busy(at(2, 0, 0), at(3, 0, 0)).await, [(at(2, 10, 0), at(2, 10, 30))]);
        assert_eq!(stage.availability(at(2, 12, 0), 30).await["available"], true);
        assert_eq!(stage.try_book(at(2, 10, 0)).await.status, 409);
    }

    async fn a_copy_of_our_event_is_the_owners_own(db: Db) {
        let stage = Stage::open(db).await;
        let booked = stage.book_and_write(at(2, 10, 0)).await;
        let mut copy = stage.google.get(booked["event_id"].as_str().unwrap()).await;
        for field in ["id", "etag", "iCalUID", "htmlLink", "created", "updated", "creator", "organizer", "sequence"] {
            copy.as_object_mut().unwrap().remove(field);
        }
        copy.as_object_mut().unwrap().extend(times(at(2, 16, 0), 60).as_object().unwrap().clone());
        let copy = stage.google.insert(&copy).await;
        stage.expect_free(at(2, 16, 0), 60, false).await;
        stage.google.delete(&id(&copy)).await;
        stage.expect_free(at(2, 16, 0), 60, true).await;
        let known = stage.booking(&id(&booked)).await;
        assert_eq!((&known["status"], &known["start"]), (&json!("confirmed"), &json!(text(at(2, 10, 0)))));
        stage.same_as_google(at(0, 0, 0), at(30, 0, 0)).await;
    }

    async fn a_cancelled_booking_frees_its_time_before_google_deletes_the_event(db: Db) {
        let stage = Stage::open(db).await;
        let booked = stage.book_and_write(at(2, 10, 0)).await;
        stage.google.strike("calendar.events.delete", Effect::Empty { status: 503 });
        stage.api.post(&stage.at(&format!("/bookings/{}/cancel", id(&booked))), &json!({})).await.ok();
        assert_eq!(stage.busy(at(2, 0, 0), at(3, 0, 0)).await, []);
        // A pass that sees the event meanwhile does not make it busy.
        stage.google.patch(booked["event_id"].as_str().unwrap(), &json!({ "colorId": "3" })).await;
        stage.idle().await;
        assert_eq!(stage.busy(at(2, 0, 0), at(3, 0, 0)).await, []);
        let again = stage.book(at(2, 10, 0)).await;
        eventually("the old event is gone", async || {
            stage.google.of_booking(&id(&booked)).await.is_empty().then_some(())
        })
        .await;
        stage.synced(&again).await;
        assert_eq!(stage.google.events().await.len(), 1);
    }

    async fn a_new_full_sync_leaves_bookings_as_they_are(db: Db) {
        let stage = Stage::open(db).await;
        let booked = stage.book_and_write(at(2, 10, 0)).await;
        stage.idle().await;
        stage.google.faults().expire_sync_tokens(crate::stage::OWNER);
        stage.google.insert(&crate::stage::event("Visit", at(3, 10, 0), 30)).await;
        stage.expect_free(at(3, 10, 0), 30, false).await;
        assert_eq!(stage.booking(&id(&booked)).await["status"], "confirmed");
        assert_eq!(stage.availability(at(2, 10, 0) + TimeDelta::minutes(15), 15).await["available"], false);
        stage.same_as_google(at(0, 0, 0), at(30, 0, 0)).await;
    }
}
