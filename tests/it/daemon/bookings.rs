//! Bookings through the API, and their events in Google.

use std::collections::HashMap;

use chrono::TimeDelta;
use hyper::Method;
use serde_json::{Value, json};
use slotd::store::Sql;
use slotd_sandbox::Effect;
use tokio::task::JoinSet;

use crate::{
    harness::{Db, on_both_engines},
    stage::{Stage, ZONE, at, event, eventually, id, text, times, url_time, wish},
};

on_both_engines! {
    async fn a_booking_is_an_event_that_moves_and_goes_with_it(db: Db) {
        let stage = Stage::open(db).await;
        let mut wanted = wish(at(2, 10, 0));
        wanted["notes"] = json!("First visit");
        wanted["reference"] = json!("R-7");
        wanted["call_id"] = json!("call-1");
        let booked = stage.api.post(&stage.at("/bookings"), &wanted).await.ok();
        assert_eq!((&booked["status"], &booked["calendar_sync"]), (&json!("confirmed"), &json!("pending")));
        assert_eq!((&booked["start"], &booked["end"]), (&json!(text(at(2, 10, 0))), &json!(text(at(2, 10, 30)))));
        assert_eq!(booked["customer"]["phone"], "+4915112345678");
        assert!(booked["warning"].is_null() && booked["spoken"].is_string(), "{booked}");
        let path = stage.at(&format!("/bookings/{}", id(&booked)));

        let told = stage.synced(&booked).await;
        let written = stage.google.get(booked["event_id"].as_str().unwrap()).await;
        assert_eq!(written["summary"], "Haircut - Ada Lovelace");
        assert_eq!(written["description"], "Phone: +4915112345678\nFirst visit\nReference: R-7");
        assert_eq!(written["extendedProperties"]["private"]["slotd"], booked["id"]);
        assert_eq!(written["start"], json!({ "dateTime": text(at(2, 10, 0)), "timeZone": ZONE.name() }));
        assert_eq!(told["history"].as_array().unwrap().len(), 1, "{told}");

        let query = format!("/bookings?from={}&to={}&call_id=call-1", url_time(at(2, 0, 0)), url_time(at(3, 0, 0)));
        let listed = stage.api.get(&stage.at(&query)).await.ok();
        assert_eq!((listed["bookings"].as_array().unwrap().len(), &listed["bookings"][0]["id"]), (1, &booked["id"]));

        let moved = stage.api.patch(&path, &json!({ "start": text(at(2, 15, 0)) })).await.ok();
        assert_eq!((&moved["start"], &moved["event_id"]), (&json!(text(at(2, 15, 0))), &booked["event_id"]));
        assert_eq!(stage.availability(at(2, 10, 0), 30).await["available"], true);
        stage.synced(&booked).await;
        let written = stage.google.get(booked["event_id"].as_str().unwrap()).await;
        assert_eq!(written["start"]["dateTime"], text(at(2, 15, 0)));

        let edit = json!({ "customer": { "name": "Ada King" }, "notes": "" });
        stage.api.patch(&path, &edit).await.ok();
        stage.synced(&booked).await;
        let written = stage.google.get(booked["event_id"].as_str().unwrap()).await;
        assert_eq!((&written["summary"], &written["description"]), (&json!("Haircut - Ada King"), &json!("Phone: +4915112345678\nReference: R-7")));

        let cancelled = stage.api.post(&format!("{path}/cancel"), &json!({})).await.ok();
        assert_eq!(cancelled["status"], "cancelled");
        assert_eq!(stage.availability(at(2, 15, 0), 30).await["available"], true);
        let again = stage.api.post(&format!("{path}/cancel"), &json!({})).await.ok();
        assert_eq!(again["status"], "cancelled");
        eventually("the event is deleted", async || {
            stage.google.of_booking(&id(&booked)).await.is_empty().then_some(())
        })
        .await;
        assert_eq!(stage.api.patch(&path, &json!({ "start": text(at(2, 16, 0)) })).await.status, 409);
        let what: Vec<Value> =
            stage.booking(&id(&booked)).await["history"].as_array().unwrap().iter().map(|one| one["what"].clone()).collect();
        assert_eq!(what, ["created", "rescheduled", "edited", "cancelled"]);
        assert_eq!(stage.google.calls("calendar.events.insert"), 1);
    }

    async fn a_repeated_request_is_answered_by_the_same_bytes(db: Db) {
        let stage = Stage::open(db).await;
        let path = stage.at("/bookings");
        let key = [("idempotency-key", "once")];
        let first = stage.api.json(Method::POST, &path, &key, &wish(at(2, 10, 0))).await;
        let again = stage.api.json(Method::POST, &path, &key, &wish(at(2, 10, 0))).await;
        assert_eq!((first.status, again.status), (201, 201));
        assert_eq!(first.bytes, again.bytes);
        assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), ("", "true"));
        // The same instant written another way is the same request.
        let mut same = wish(at(2, 10, 0));
        same["start"] = json!(at(2, 10, 0).to_rfc3339());
        assert_eq!(stage.api.json(Method::POST, &path, &key, &same).await.bytes, first.bytes);
        let other = stage.api.json(Method::POST, &path, &key, &wish(at(2, 12, 0))).await;
        assert_eq!(other.problem(), (422, "idempotency-key-reused".to_owned(), "Idempotency-Key".to_owned()));

        // A refusal is not kept: the same key may be used again.
        let taken = [("idempotency-key", "later")];
        let refused = stage.api.json(Method::POST, &path, &taken, &wish(at(2, 10, 0))).await;
        assert_eq!((refused.status, &refused.json()["reason"]), (409, &json!("busy")));
        assert!(!refused.json()["alternatives"].as_array().unwrap().is_empty());
        let cancel = format!("{path}/{}/cancel", id(&first.json()));
        let off = stage.api.json(Method::POST, &cancel, &[("idempotency-key", "off")], &json!({})).await;
        let off_again = stage.api.json(Method::POST, &cancel, &[("idempotency-key", "off")], &json!({})).await;
        assert_eq!((off.bytes, off_again.header("idempotency-replayed")), (off_again.bytes.clone(), "true"));
        assert_eq!(stage.api.json(Method::POST, &path, &taken, &wish(at(2, 10, 0))).await.status, 201);
        assert_eq!(stage.raw.count("SELECT COUNT(*) FROM booking").await, 2);
    }

    async fn requests_with_one_key_at_once_take_one_booking(db: Db) {
        let stage = Stage::open(db).await;
        let mut requests = JoinSet::new();
        for _ in 0..12 {
            let (api, path) = (stage.api.clone(), stage.at("/bookings"));
            requests.spawn(async move {
                api.json(Method::POST, &path, &[("idempotency-key", "once")], &wish(at(2, 10, 0))).await
            });
        }
        let answers = requests.join_all().await;
        for answer in &answers {
            assert_eq!((answer.status, &answer.bytes), (201, &answers[0].bytes));
        }
        assert_eq!(answers.iter().filter(|one| one.header("idempotency-replayed").is_empty()).count(), 1);
        assert_eq!(stage.raw.count("SELECT COUNT(*) FROM booking").await, 1);
    }

    async fn two_hundred_callers_take_fifty_slots_and_none_twice(db: Db) {
        let stage = Stage::open(db).await;
        let mut requests = JoinSet::new();
        for caller in 0..200 {
            let (api, path) = (stage.api.clone(), stage.at("/bookings"));
            let start = at(3, 0, 0) + TimeDelta::minutes(30 * (caller % 50));
            requests.spawn(async move { api.post(&path, &wish(start)).await.status });
        }
        let mut answers: HashMap<u16, usize> = HashMap::new();
        for status in requests.join_all().await {
            *answers.entry(status).or_default() += 1;
        }
        assert_eq!(answers, HashMap::from([(201, 50), (409, 150)]));
        let overlaps = Sql::same(
            "SELECT COUNT(*) FROM claim a JOIN claim b ON a.resource_id = b.resource_id AND a.booking_id < b.booking_id
              WHERE a.active = 1 AND b.active = 1 AND a.start_at < b.end_at AND b.start_at < a.end_at",
        );
        let overlaps: Vec<(i64,)> = stage.raw.rows(overlaps).await;
        assert_eq!(overlaps, [(0,)]);
        assert_eq!(stage.raw.count("SELECT COUNT(*) FROM claim WHERE active = 1").await, 50);
        eventually("every booking is in Google, once", async || {
            (stage.google.events().await.len() == 50).then_some(())
        })
        .await;
        stage.same_as_google(at(0, 0, 0), at(30, 0, 0)).await;
    }

    async fn an_edit_of_the_owner_at_the_same_time_wins(db: Db) {
        let stage = Stage::open(db).await;
        let booked = stage.book_and_write(at(2, 10, 0)).await;
        let event_id = booked["event_id"].as_str().unwrap();
        // The owner's edit reaches Google while slotd's own change is under way, and no push tells of it.
        stage.google.strike_after(0, None, "push", Effect::Drop);
        let late = stage.google.strike("calendar.events.patch", Effect::Delay { ms: 1_000 });
        let path = stage.at(&format!("/bookings/{}", id(&booked)));
        stage.api.patch(&path, &json!({ "start": text(at(2, 12, 0)) })).await.ok();
        eventually("slotd's change is under way", async || stage.google.has_struck(late).then_some(())).await;
        stage.google.patch(event_id, &times(at(2, 17, 0), 30)).await;

        let followed = stage
            .booking_becomes(&id(&booked), "the booking follows the owner", |booking| {
                booking["start"] == text(at(2, 17, 0)) && booking["calendar_sync"] == "synced"
            })
            .await;
        let last = followed["history"].as_array().unwrap().last().unwrap().clone();
        assert_eq!((&last["what"], &last["source"]), (&json!("rescheduled"), &json!("owner")));
        assert_eq!(stage.google.get(event_id).await["start"]["dateTime"], text(at(2, 17, 0)));
        let calls = stage.google.sandbox.calls();
        assert!(calls.iter().any(|call| call.method == "calendar.events.patch" && call.status == 412));
        stage.google.faults().clear();
    }

    async fn a_new_name_reaches_google_beside_an_edit_of_the_owner(db: Db) {
        let stage = Stage::open(db).await;
        let booked = stage.book_and_write(at(2, 10, 0)).await;
        let event_id = booked["event_id"].as_str().unwrap();
        stage.google.strike_after(0, None, "push", Effect::Drop);
        let late = stage.google.strike("calendar.events.patch", Effect::Delay { ms: 1_000 });
        let path = stage.at(&format!("/bookings/{}", id(&booked)));
        stage.api.patch(&path, &json!({ "customer": { "name": "Ada King" } })).await.ok();
        eventually("slotd's change is under way", async || stage.google.has_struck(late).then_some(())).await;
        stage.google.patch(event_id, &json!({ "colorId": "3" })).await;
        stage.synced(&booked).await;
        let written = stage.google.get(event_id).await;
        assert_eq!((&written["summary"], &written["colorId"]), (&json!("Haircut - Ada King"), &json!("3")));
        stage.google.faults().clear();
    }

    async fn a_time_that_the_owner_took_in_google_cannot_be_booked(db: Db) {
        let stage = Stage::open(db).await;
        // No push tells of it: the booking itself looks first, when the last look is older than it may be.
        stage.google.strike("push", Effect::Drop);
        stage.google.insert(&event("Dentist", at(2, 10, 0), 60)).await;
        tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
        let refused = stage.try_book(at(2, 10, 0)).await;
        assert_eq!((refused.status, &refused.json()["reason"]), (409, &json!("busy")));
    }
}
