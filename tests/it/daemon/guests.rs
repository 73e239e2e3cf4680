//! Customers as guests of their events: only where the business wants it, beside the owner's guests, within Google's limits.

use std::path::PathBuf;

use serde_json::{Value, json};
use slotd_sandbox::{Effect, Options};

use crate::{
    harness::{Db, on_both_engines},
    stage::{Stage, at, eventually, id, text, times, wish},
};

const INSERT: &str = "calendar.events.insert";
const PATCH: &str = "calendar.events.patch";
const DELETE: &str = "calendar.events.delete";

/// A stage whose calls to Google are written down in `file`.
async fn recorded(db: Db, file: PathBuf, invites: bool) -> Stage {
    let options = Options { record: Some(file), ..Options::default() };
    let stage = Stage::before(options, db, Vec::new(), |_| {}).await;
    if invites {
        let business = stage.api.patch(&stage.at(""), &json!({ "invite_customers": true })).await.ok();
        assert_eq!(business["invite_customers"], true);
    }
    stage
}

/// The query of each of slotd's calls to a method, in order.
fn queries(file: &std::path::Path, method: &str) -> Vec<String> {
    let lines = std::fs::read_to_string(file).unwrap();
    let exchanges = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    // The tests' own calls ask for no fields.
    let ours = exchanges.filter(|one| one["method"] == method).map(|one| one["query"].to_string());
    ours.filter(|query| query.contains("fields") || method == DELETE).collect()
}

fn with_email(day: u64, email: &str) -> Value {
    let mut body = wish(at(day, 10, 0));
    body["customer"]["email"] = json!(email);
    body
}

async fn emails(stage: &Stage, booking: &Value) -> Vec<String> {
    let event = stage.google.get(booking["event_id"].as_str().unwrap()).await;
    let guests = event["attendees"].as_array().cloned().unwrap_or_default();
    guests.iter().map(|guest| guest["email"].as_str().unwrap().to_owned()).collect()
}

async fn steps(stage: &Stage, booking: &Value) -> Vec<String> {
    let told = stage.booking(&id(booking)).await;
    told["history"].as_array().unwrap().iter().map(|step| step["what"].as_str().unwrap().to_owned()).collect()
}

fn refusal() -> Effect {
    let domain = Some("usageLimits".to_owned());
    Effect::Refuse { status: 403, reason: "quotaExceeded".to_owned(), domain, message: None, retry_after_s: None }
}

on_both_engines! {
    async fn nobody_is_invited_unless_the_business_wants_it(db: Db) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("calls");
        let stage = recorded(db, file.clone(), false).await;
        let booked = stage.api.post(&stage.at("/bookings"), &with_email(2, "ada@example.com")).await.ok();
        let path = stage.at(&format!("/bookings/{}", id(&booked)));
        let told = stage.synced(&booked).await;
        assert!(told["invitation"].is_null(), "{told}");
        assert_eq!(told["customer"]["email"], "ada@example.com");
        stage.api.patch(&path, &json!({ "start": text(at(2, 12, 0)) })).await.ok();
        stage.synced(&booked).await;
        assert_eq!(emails(&stage, &booked).await, Vec::<String>::new());
        stage.api.post(&format!("{path}/cancel"), &json!({})).await.ok();
        stage.synced(&booked).await;
        let asked: Vec<String> = [INSERT, PATCH, DELETE].iter().flat_map(|method| queries(&file, method)).collect();
        assert_eq!(asked.len(), 3, "{asked:?}");
        assert!(asked.iter().all(|query| !query.contains("sendUpdates")), "{asked:?}");
    }

    async fn a_customer_is_invited_told_and_exchanged_beside_the_owners_guests(db: Db) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("calls");
        let stage = recorded(db, file.clone(), true).await;
        let booked = stage.api.post(&stage.at("/bookings"), &with_email(2, "ada@example.com")).await.ok();
        assert_eq!(booked["invitation"], "pending");
        let path = stage.at(&format!("/bookings/{}", id(&booked)));
        assert_eq!(stage.synced(&booked).await["invitation"], "sent");
        assert_eq!(emails(&stage, &booked).await, ["ada@example.com"]);

        // The owner makes the event their own.
        let event_id = booked["event_id"].as_str().unwrap();
        let owners = json!({
            "attendees": [
                { "email": "ada@example.com", "responseStatus": "accepted", "comment": "gladly" },
                { "email": "helper@example.com", "optional": true, "additionalGuests": 2, "responseStatus": "tentative" },
            ],
            "colorId": "3", "location": "Room 2",
            "reminders": { "useDefault": false, "overrides": [{ "method": "popup", "minutes": 7 }] },
            "extendedProperties": { "private": { "other": "x" } },
        });
        stage.google.patch(event_id, &owners).await;
        let theirs = |event: &Value| {
            let guests = event["attendees"].as_array().unwrap();
            let helper = guests.iter().find(|guest| guest["email"] == "helper@example.com").cloned();
            (helper, event["colorId"].clone(), event["location"].clone(), event["reminders"].clone(),
             event["extendedProperties"]["private"]["other"].clone())
        };
        let before = theirs(&stage.google.get(event_id).await);
        assert_eq!(before.1, "3");

        for change in [
            json!({ "start": text(at(2, 12, 0)) }),
            json!({ "customer": { "name": "Ada King" }, "notes": "Late" }),
            json!({ "duration_min": 45 }),
        ] {
            stage.api.patch(&path, &change).await.ok();
            stage.synced(&booked).await;
            let event = stage.google.get(event_id).await;
            assert_eq!(theirs(&event), before, "{change}");
            assert_eq!(event["attendees"][0]["comment"], "gladly", "{change}");
            assert_eq!(event["extendedProperties"]["private"]["slotd"], booked["id"]);
        }
        stage.api.patch(&path, &json!({ "customer": { "email": "ada@king.example" } })).await.ok();
        assert_eq!(stage.synced(&booked).await["invitation"], "sent");
        assert_eq!(emails(&stage, &booked).await, ["helper@example.com", "ada@king.example"]);
        assert_eq!(theirs(&stage.google.get(event_id).await), before);

        // Whom the owner takes off stays off.
        stage.google.patch(event_id, &json!({ "attendees": [{ "email": "helper@example.com" }] })).await;
        stage.api.patch(&path, &json!({ "start": text(at(2, 14, 0)) })).await.ok();
        stage.synced(&booked).await;
        assert_eq!(emails(&stage, &booked).await, ["helper@example.com"]);
        stage.api.patch(&path, &json!({ "customer": { "email": "" } })).await.ok();
        assert!(stage.synced(&booked).await["invitation"].is_null());
        assert_eq!(emails(&stage, &booked).await, ["helper@example.com"]);
        let asked = queries(&file, PATCH);
        assert!(asked.iter().take(5).all(|query| query.contains("sendUpdates=all")), "{asked:?}");
        assert_eq!(stage.google.calls("calendar.events.update"), 0, "never replaced as a whole");
    }

    async fn an_invited_customer_is_told_that_it_is_off(db: Db) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("calls");
        let stage = recorded(db, file.clone(), true).await;
        for (day, email) in [(2, Some("ada@example.com")), (3, None)] {
            let body = email.map_or_else(|| wish(at(day, 10, 0)), |email| with_email(day, email));
            let booked = stage.api.post(&stage.at("/bookings"), &body).await.ok();
            stage.synced(&booked).await;
            stage.api.post(&stage.at(&format!("/bookings/{}/cancel", id(&booked))), &json!({})).await.ok();
            stage.synced(&booked).await;
        }
        let told: Vec<bool> = queries(&file, DELETE).iter().map(|query| query.contains("sendUpdates=all")).collect();
        assert_eq!(told, [true, false]);
        let told: Vec<bool> = queries(&file, INSERT).iter().map(|query| query.contains("sendUpdates=all")).collect();
        assert_eq!(told, [true, false]);
    }

    async fn an_event_that_google_lets_nobody_be_invited_to_is_written_without(db: Db) {
        let stage = Stage::open(db).await;
        stage.api.patch(&stage.at(""), &json!({ "invite_customers": true })).await.ok();
        stage.google.strike(INSERT, refusal());
        let refused = stage.api.post(&stage.at("/bookings"), &with_email(2, "ada@example.com")).await.ok();
        assert_eq!(stage.synced(&refused).await["invitation"], "refused");
        assert_eq!(emails(&stage, &refused).await, Vec::<String>::new());
        assert_eq!(steps(&stage, &refused).await, ["created", "not_invited"]);
        assert_eq!(stage.google.calls(INSERT), 2);

        // For a while nobody else is tried.
        let skipped = stage.api.post(&stage.at("/bookings"), &with_email(3, "ada@example.com")).await.ok();
        assert_eq!(stage.synced(&skipped).await["invitation"], "refused");
        assert_eq!((stage.google.calls(INSERT), steps(&stage, &skipped).await.len()), (3, 2));
        // What is no invitation is written as ever.
        stage.book_and_write(at(4, 10, 0)).await;

        // An hour later the next write of a booking invites its customer after all.
        stage.raw.execute("UPDATE event_guest SET refused_at = refused_at - 3600000001").await.unwrap();
        for booked in [&refused, &skipped] {
            let path = stage.at(&format!("/bookings/{}", id(booked)));
            stage.api.patch(&path, &json!({ "notes": "Late" })).await.ok();
            assert_eq!(stage.synced(booked).await["invitation"], "sent");
            assert_eq!(emails(&stage, booked).await, ["ada@example.com"]);
        }

        // A move that Google lets nobody be told of is written all the same.
        stage.google.strike(PATCH, refusal());
        let path = stage.at(&format!("/bookings/{}", id(&refused)));
        stage.api.patch(&path, &json!({ "start": text(at(2, 15, 0)) })).await.ok();
        stage.synced(&refused).await;
        let event = stage.google.get(refused["event_id"].as_str().unwrap()).await;
        assert_eq!(event["start"], times(at(2, 15, 0), 30)["start"]);
        assert_eq!(emails(&stage, &refused).await, ["ada@example.com"]);
        assert_eq!(steps(&stage, &refused).await.last().unwrap(), "not_invited");
        let status = stage.status().await;
        assert!(status["accounts"][0]["writes_paused_until"].is_null(), "{status}");
    }

    async fn an_invitation_whose_answer_was_lost_is_sent_once(db: Db) {
        let stage = Stage::open(db).await;
        stage.api.patch(&stage.at(""), &json!({ "invite_customers": true })).await.ok();
        stage.google.strike(INSERT, Effect::ResetAfter);
        let booked = stage.api.post(&stage.at("/bookings"), &with_email(2, "ada@example.com")).await.ok();
        assert_eq!(stage.synced(&booked).await["invitation"], "sent");
        assert_eq!(emails(&stage, &booked).await, ["ada@example.com"]);

        stage.google.strike(PATCH, Effect::ResetAfter);
        let path = stage.at(&format!("/bookings/{}", id(&booked)));
        stage.api.patch(&path, &json!({ "customer": { "email": "ada@king.example" } })).await.ok();
        stage.synced(&booked).await;
        eventually("the guest is exchanged", async || {
            (emails(&stage, &booked).await == ["ada@king.example"]).then_some(())
        })
        .await;
        stage.api.patch(&path, &json!({ "customer": { "email": "ada@byron.example" } })).await.ok();
        stage.synced(&booked).await;
        assert_eq!(emails(&stage, &booked).await, ["ada@byron.example"]);
    }
}
