//! Slots that are held for a call, and what becomes of them.

use chrono::{DateTime, TimeDelta, Utc};
use hyper::Method;
use serde_json::{Value, json};
use slotd::domain::{Clock, clock::SystemClock};
use slotd_sandbox::Effect;
use tokio::task::JoinSet;

use crate::{
    harness::{Db, on_both_engines},
    stage::{Stage, at, event, eventually, id, text, url_time, wish},
};

fn hold(start: DateTime<Utc>, call: &str) -> Value {
    json!({ "start": text(start), "service": "Haircut", "call_id": call })
}

fn expires(hold: &Value) -> DateTime<Utc> {
    hold["expires_at"].as_str().unwrap_or_else(|| panic!("no end in {hold}")).parse().unwrap()
}

/// What happened to a hold or booking, in a word each.
async fn steps(stage: &Stage, id: &str) -> Vec<String> {
    let booking = stage.booking(id).await;
    booking["history"].as_array().unwrap().iter().map(|step| step["what"].as_str().unwrap().to_owned()).collect()
}

/// Whether a call could have half an hour.
async fn free_for(stage: &Stage, start: DateTime<Utc>, call: &str) -> Value {
    let query = format!("start={}&duration_min=30&call_id={call}", url_time(start));
    stage.api.get(&stage.at(&format!("/availability?{query}"))).await.ok()["available"].clone()
}

on_both_engines! {
    async fn a_held_slot_is_busy_for_everybody_else_until_it_is_booked_or_given_back(db: Db) {
        let stage = Stage::open(db).await;
        let taken = stage.api.post(&stage.at("/holds"), &hold(at(2, 10, 0), "call-1")).await;
        assert_eq!(taken.status, 201, "{}", taken.json());
        let held = taken.ok();
        assert_eq!((&held["status"], &held["call_id"]), (&json!("held"), &json!("call-1")));
        assert!(held["spoken"].is_string() && held["event_id"].is_null(), "{held}");
        let left = expires(&held) - SystemClock.now();
        assert!(left > TimeDelta::seconds(100) && left <= TimeDelta::seconds(120), "{left}");

        assert_eq!(stage.availability(at(2, 10, 0), 30).await["available"], false);
        assert_eq!(free_for(&stage, at(2, 10, 0), "call-1").await, true, "its own hold stands in nobody's way");
        assert_eq!(free_for(&stage, at(2, 10, 0), "call-2").await, false);
        let slots = format!("/slots?from={}&to={}&service=Haircut", url_time(at(2, 10, 0)), url_time(at(2, 10, 30)));
        assert_eq!(stage.api.get(&stage.at(&slots)).await.ok()["slots"], json!([]));
        let mine = stage.api.get(&stage.at(&format!("{slots}&call_id=call-1"))).await.ok();
        assert_eq!(mine["slots"].as_array().unwrap().len(), 1, "{mine}");
        let refused = stage.api.post(&stage.at("/holds"), &hold(at(2, 10, 0), "call-2")).await;
        assert_eq!((refused.status, &refused.json()["reason"]), (409, &json!("busy")));
        assert!(!refused.json()["alternatives"].as_array().unwrap().is_empty());
        assert_eq!(stage.try_book(at(2, 10, 0)).await.status, 409);

        let path = stage.at(&format!("/holds/{}", id(&held)));
        for _ in 0..2 {
            assert_eq!(stage.api.delete(&path).await.status, 204);
        }
        assert_eq!(stage.availability(at(2, 10, 0), 30).await["available"], true);
        assert_eq!(stage.booking(&id(&held)).await["status"], "released");
        assert_eq!(steps(&stage, &id(&held)).await, ["held", "released"]);
        assert_eq!(stage.google.calls("calendar.events.insert"), 0, "Google hears of bookings only");
    }

    async fn a_booking_consumes_its_hold_and_keeps_its_id(db: Db) {
        let stage = Stage::open(db).await;
        let held = stage.api.post(&stage.at("/holds"), &hold(at(2, 10, 0), "call-1")).await.ok();
        let customer = json!({ "name": "Ada Lovelace", "phone": "0151 12345678" });
        let body = json!({ "hold_id": id(&held), "call_id": "call-1", "customer": customer, "notes": "First visit" });
        let key = [("idempotency-key", "k")];
        let first = stage.api.json(Method::POST, &stage.at("/bookings"), &key, &body).await;
        assert_eq!(first.status, 201, "{}", first.json());
        let booked = first.json();
        assert_eq!((&booked["id"], &booked["status"], &booked["start"]), (&held["id"], &json!("confirmed"), &held["start"]));
        assert!(booked["expires_at"].is_null());
        let again = stage.api.json(Method::POST, &stage.at("/bookings"), &key, &body).await;
        assert_eq!((again.bytes, again.status), (first.bytes, 201));
        assert_eq!(steps(&stage, &id(&held)).await, ["held", "confirmed"]);
        stage.synced(&booked).await;
        assert_eq!(stage.google.of_booking(&id(&booked)).await.len(), 1);
        assert_eq!(stage.raw.count("SELECT COUNT(*) FROM claim WHERE active = 1 AND expires_at IS NULL").await, 1);

        // What became a booking is no hold any more.
        let path = stage.at(&format!("/holds/{}", id(&held)));
        assert_eq!(stage.api.delete(&path).await.status, 409);
        assert_eq!(stage.api.patch(&path, &json!({ "ttl_s": 60 })).await.status, 409);
        assert_eq!(stage.api.post(&stage.at("/bookings"), &body).await.status, 409);
        assert_eq!(stage.api.delete(&stage.at("/holds?call_id=call-1")).await.status, 204);
        assert_eq!(stage.booking(&id(&booked)).await["status"], "confirmed");
    }

    async fn a_call_that_books_what_it_holds_needs_not_name_the_hold(db: Db) {
        let stage = Stage::open(db).await;
        let held = stage.api.post(&stage.at("/holds"), &hold(at(2, 10, 0), "call-1")).await.ok();
        let near = stage.api.post(&stage.at("/holds"), &hold(at(2, 11, 0), "call-1")).await.ok();
        let mut wanted = wish(at(2, 10, 0));
        wanted["call_id"] = json!("call-1");
        let booked = stage.api.post(&stage.at("/bookings"), &wanted).await.ok();
        assert_eq!(booked["id"], held["id"]);
        // Another time than those that are held, over one of them: that one is given up in the same transaction.
        wanted["start"] = json!(text(at(2, 11, 0)));
        wanted["service"] = Value::Null;
        wanted["duration_min"] = json!(45);
        let other = stage.api.post(&stage.at("/bookings"), &wanted).await.ok();
        assert_ne!(other["id"], near["id"]);
        assert_eq!(stage.booking(&id(&near)).await["status"], "released");
        for booking in [&booked, &other] {
            stage.synced(booking).await;
        }
    }

    async fn a_hold_that_ran_out_frees_its_slot_at_that_instant(db: Db) {
        let stage = Stage::open(db).await;
        let mut short = hold(at(2, 10, 0), "call-1");
        short["ttl_s"] = json!(5);
        let held = stage.api.post(&stage.at("/holds"), &short).await.ok();
        eventually("the slot is free again", async || {
            let free = stage.availability(at(2, 10, 0), 30).await["available"] == true;
            assert!(!free || SystemClock.now() >= expires(&held), "free before its end");
            free.then_some(())
        })
        .await;
        let late = SystemClock.now() - expires(&held);
        assert!(late < TimeDelta::seconds(3), "free only {late} after its end");
        let path = stage.at(&format!("/holds/{}", id(&held)));
        assert_eq!(stage.api.patch(&path, &json!({ "ttl_s": 60 })).await.json()["reason"], "state");
        // Booking with it still works, as a booking of its own, for the slot is free.
        let customer = json!({ "name": "Ada Lovelace", "phone": "0151 12345678" });
        let body = json!({ "hold_id": id(&held), "customer": customer });
        let booked = stage.api.post(&stage.at("/bookings"), &body).await.ok();
        assert_eq!((&booked["status"], &booked["start"]), (&json!("confirmed"), &held["start"]));
        assert_ne!(booked["id"], held["id"]);
        assert_eq!(stage.booking(&id(&held)).await["status"], "expired");
        assert_eq!(steps(&stage, &id(&held)).await, ["held", "expired"]);
        stage.synced(&booked).await;
        // And once more it does not, for now somebody has it.
        assert_eq!(stage.api.post(&stage.at("/bookings"), &body).await.status, 409);
    }

    async fn a_hold_is_extended_and_swapped_in_one_step(db: Db) {
        let stage = Stage::with(db, vec![event("Lunch", at(2, 12, 0), 60)], |_| {}).await;
        let mut short = hold(at(2, 10, 0), "call-1");
        short["ttl_s"] = json!(20);
        let held = stage.api.post(&stage.at("/holds"), &short).await.ok();
        let path = stage.at(&format!("/holds/{}", id(&held)));
        let longer = stage.api.patch(&path, &json!({ "ttl_s": 300 })).await.ok();
        assert!(expires(&longer) - expires(&held) > TimeDelta::seconds(270));
        // The same slot again extends it too, and takes no second one.
        let same = stage.api.post(&stage.at("/holds"), &hold(at(2, 10, 0), "call-1")).await;
        assert_eq!((same.status, &same.json()["id"]), (200, &held["id"]));

        let taken = stage.api.patch(&path, &json!({ "start": text(at(2, 12, 30)) })).await;
        assert_eq!((taken.status, &taken.json()["reason"]), (409, &json!("busy")));
        assert_eq!(stage.availability(at(2, 10, 0), 30).await["available"], false, "the old slot is still held");
        let swapped = stage.api.patch(&path, &json!({ "start": text(at(2, 14, 0)) })).await.ok();
        assert_eq!((&swapped["id"], &swapped["start"]), (&held["id"], &json!(text(at(2, 14, 0)))));
        assert_eq!(stage.availability(at(2, 10, 0), 30).await["available"], true);
        assert_eq!(stage.availability(at(2, 14, 0), 30).await["available"], false);
        // To a time that overlaps its own.
        stage.api.patch(&path, &json!({ "start": text(at(2, 14, 15)), "service": "Haircut" })).await.ok();
        assert_eq!(steps(&stage, &id(&held)).await, ["held", "extended", "extended", "rescheduled", "rescheduled"]);
        assert_eq!(stage.api.delete(&stage.at("/holds?call_id=call-1")).await.status, 204);
        assert_eq!(stage.availability(at(2, 14, 0), 60).await["available"], true);
    }

    async fn an_owner_event_over_a_held_slot_stops_the_booking(db: Db) {
        let stage = Stage::open(db).await;
        let held = stage.api.post(&stage.at("/holds"), &hold(at(2, 10, 0), "call-1")).await.ok();
        stage.google.insert(&event("Dentist", at(2, 10, 15), 30)).await;
        let customer = json!({ "name": "Ada Lovelace", "phone": "0151 12345678" });
        let body = json!({ "hold_id": id(&held), "call_id": "call-1", "customer": customer });
        let refused = stage.api.post(&stage.at("/bookings"), &body).await;
        assert_eq!((refused.status, &refused.json()["reason"]), (409, &json!("busy")), "{}", refused.json());
        assert!(!refused.json()["alternatives"].as_array().unwrap().is_empty());
        // The hold is not lost by it: the call may swap it.
        let path = stage.at(&format!("/holds/{}", id(&held)));
        stage.api.patch(&path, &json!({ "start": text(at(2, 16, 0)) })).await.ok();
        let booked = stage.api.post(&stage.at("/bookings"), &body).await.ok();
        assert_eq!((&booked["id"], &booked["start"]), (&held["id"], &json!(text(at(2, 16, 0)))));
        stage.synced(&booked).await;
    }

    async fn many_calls_for_few_slots_get_one_hold_each_at_most(db: Db) {
        let stage = Stage::open(db).await;
        stage.google.strike_after(0, None, "calendar.events.list", Effect::Delay { ms: 1 });
        let mut tries = JoinSet::new();
        for number in 0..60_u32 {
            let (api, path) = (stage.api.clone(), stage.at("/holds"));
            let wanted = hold(at(3, 9 + number % 4, 0), &format!("call-{number}"));
            tries.spawn(async move { api.post(&path, &wanted).await.status });
        }
        let statuses = tries.join_all().await;
        let taken = statuses.iter().filter(|status| **status == 201).count();
        assert!(statuses.iter().all(|status| [201, 409].contains(status)), "{statuses:?}");
        assert_eq!(taken, 4);
        assert_eq!(stage.raw.count("SELECT COUNT(*) FROM booking WHERE state = 'held'").await, 4);
    }

    async fn a_call_holds_a_few_slots_and_no_more(db: Db) {
        let stage = Stage::open(db).await;
        for hour in 9..14 {
            stage.api.post(&stage.at("/holds"), &hold(at(3, hour, 0), "call-1")).await.ok();
        }
        let sixth = stage.api.post(&stage.at("/holds"), &hold(at(3, 15, 0), "call-1")).await;
        assert_eq!((sixth.status, &sixth.json()["reason"]), (409, &json!("too_many_holds")));
        stage.api.post(&stage.at("/holds"), &hold(at(3, 15, 0), "call-2")).await.ok();
        assert_eq!(stage.api.delete(&stage.at("/holds?call_id=call-1")).await.status, 204);
        let held = "SELECT COUNT(*) FROM booking WHERE state = 'held'";
        assert_eq!(stage.raw.count(held).await, 1, "the other call keeps its own");
    }

    async fn what_is_wrong_with_a_hold_is_named_and_nothing_is_kept(db: Db) {
        let stage = Stage::open(db).await;
        let held = stage.api.post(&stage.at("/holds"), &hold(at(2, 10, 0), "call-1")).await.ok();
        let rows = "SELECT COUNT(*) FROM booking";
        let before = stage.raw.count(rows).await;
        let with = |field: &str, value: Value| {
            let mut body = hold(at(2, 11, 0), "call-1");
            body[field] = value;
            body
        };
        for (body, field) in [
            (with("ttl_s", json!(4)), "/ttl_s"),
            (with("ttl_s", json!(901)), "/ttl_s"),
            (with("call_id", json!("")), "/call_id"),
            (with("service", json!("Massage")), "/service"),
            (with("duration_min", json!(30)), "/duration_min"),
            (with("resource", json!("Nobody")), "/resource"),
            (with("start", json!("2026-11-24T10:00:00")), "/start"),
            (with("stat", json!(1)), "/stat"),
        ] {
            let answer = stage.api.post(&stage.at("/holds"), &body).await;
            assert_eq!((answer.status, &answer.json()["field"]), (400, &json!(field)), "{}", answer.json());
        }
        let path = stage.at(&format!("/holds/{}", id(&held)));
        for (body, field) in [
            (json!({}), "/ttl_s"),
            (json!({ "ttl_s": 0 }), "/ttl_s"),
            (json!({ "start": "soon" }), "/start"),
            (json!({ "resource": "Nobody" }), "/resource"),
        ] {
            let answer = stage.api.patch(&path, &body).await;
            assert_eq!((answer.status, &answer.json()["field"]), (400, &json!(field)), "{}", answer.json());
        }
        let customer = json!({ "name": "Ada", "phone": "0151 12345678" });
        for (body, field) in [
            (json!({ "hold_id": "x", "customer": customer }), "/hold_id"),
            (json!({ "hold_id": id(&held), "start": text(at(2, 11, 0)), "customer": customer }), "/start"),
            (json!({ "hold_id": id(&held), "duration_min": 45, "customer": customer }), "/duration_min"),
            (json!({ "hold_id": id(&held), "call_id": "call-2", "customer": customer }), "/call_id"),
            (json!({ "customer": customer, "service": "Haircut" }), "/start"),
        ] {
            let answer = stage.api.post(&stage.at("/bookings"), &body).await;
            assert_eq!((answer.status, &answer.json()["field"]), (400, &json!(field)), "{}", answer.json());
        }
        let stranger = stage.at("/holds/01890000-0000-7000-8000-000000000000");
        assert_eq!(stage.api.delete(&stranger).await.status, 404);
        assert_eq!(stage.api.patch(&stranger, &json!({ "ttl_s": 60 })).await.status, 404);
        let missing = json!({ "hold_id": "01890000-0000-7000-8000-000000000000", "customer": customer });
        assert_eq!(stage.api.post(&stage.at("/bookings"), &missing).await.status, 404);
        assert_eq!(stage.api.delete(&stage.at("/holds")).await.json()["field"], "call_id");
        assert_eq!(stage.raw.count(rows).await, before);
        assert_eq!(stage.booking(&id(&held)).await["status"], "held");
    }
}
