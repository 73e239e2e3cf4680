//! What an event says, and whose word it is.

use serde_json::json;

use crate::{
    harness::{Db, on_both_engines},
    stage::{Stage, at, id, text, wish},
};

on_both_engines! {
    async fn a_new_template_touches_only_events_that_are_written_later(db: Db) {
        let link = "https://salon.example/{business_id}/bookings/{booking_id}";
        let stage = Stage::with(db, Vec::new(), |config| config.booking.event_link = Some(link.parse().unwrap())).await;
        let booked = stage.book_and_write(at(2, 10, 0)).await;
        let (event_id, path) = (booked["event_id"].as_str().unwrap(), stage.at(&format!("/bookings/{}", id(&booked))));
        let page = format!("https://salon.example/{}/bookings/{}", stage.business, id(&booked));
        let event = stage.google.get(event_id).await;
        assert_eq!((&event["summary"], &event["description"]), (&json!("Haircut - Ada Lovelace"), &json!(format!("Phone: +4915112345678\n{page}"))));

        let templates = json!({ "event_title": "{name}: {service}", "event_description": "Call {phone}\n{notes}\n{reference}\n\n{link}" });
        stage.api.patch(&stage.at(""), &templates).await.ok();
        stage.google.patch(event_id, &json!({ "summary": "Ada, the regular" })).await;
        stage.api.patch(&path, &json!({ "start": text(at(2, 12, 0)) })).await.ok();
        stage.synced(&booked).await;
        let event = stage.google.get(event_id).await;
        assert_eq!((&event["summary"], &event["start"]["dateTime"]), (&json!("Ada, the regular"), &json!(text(at(2, 12, 0)))), "a move leaves the texts alone");

        let mut wanted = wish(at(3, 10, 0));
        wanted["reference"] = json!("R-9");
        wanted["notes"] = json!("{name} {link}");
        let later = stage.api.post(&stage.at("/bookings"), &wanted).await.ok();
        stage.synced(&later).await;
        let event = stage.google.get(later["event_id"].as_str().unwrap()).await;
        let page = format!("https://salon.example/{}/bookings/{}", stage.business, id(&later));
        assert_eq!(event["summary"], "Ada Lovelace: Haircut");
        assert_eq!(event["description"], format!("Call +4915112345678\n{{name}} {{link}}\nR-9\n\n{page}"), "what people say is no template");

        // Other details are told, in the new words.
        stage.api.patch(&path, &json!({ "customer": { "name": "Ada King" } })).await.ok();
        stage.synced(&booked).await;
        assert_eq!(stage.google.get(event_id).await["summary"], "Ada King: Haircut");
    }

    async fn two_changes_of_a_customer_at_once_leave_both(db: Db) {
        let stage = Stage::open(db).await;
        let booked = stage.book_and_write(at(2, 10, 0)).await;
        let path = stage.at(&format!("/bookings/{}", id(&booked)));
        for round in 0..8 {
            let (name, email) = (format!("Ada {round}"), format!("ada{round}@example.com"));
            let (named, mailed) = (json!({ "customer": { "name": name } }), json!({ "customer": { "email": email } }));
            let (one, other) = tokio::join!(stage.api.patch(&path, &named), stage.api.patch(&path, &mailed));
            one.ok();
            other.ok();
            let customer = stage.booking(&id(&booked)).await["customer"].clone();
            assert_eq!((&customer["name"], &customer["email"]), (&json!(name), &json!(email)));
        }
        let change = json!({ "customer": { "language": "DE-at", "email": "" }, "reference": "R-1", "notes": "n" });
        stage.api.patch(&path, &change).await.ok();
        let told = stage.booking(&id(&booked)).await;
        assert_eq!((&told["customer"]["language"], &told["reference"]), (&json!("de-AT"), &json!("R-1")));
        assert!(told["customer"]["email"].is_null());
        let change = json!({ "customer": { "language": "" }, "reference": "", "notes": "" });
        stage.api.patch(&path, &change).await.ok();
        let told = stage.booking(&id(&booked)).await;
        assert!(told["customer"]["language"].is_null() && told["reference"].is_null() && told["notes"].is_null(), "{told}");
    }
}
