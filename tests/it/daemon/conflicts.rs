//! Where the owner's calendar and the bookings disagree: followed or kept, told once, and over when it is over.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use slotd::domain::{Clock, clock::SystemClock};
use slotd_sandbox::NewCalendar;

use crate::{
    harness::{Db, on_both_engines},
    stage::{OWNER, Stage, ZONE, at, event, eventually, id, text, times},
};

const PATCH: &str = "calendar.events.patch";
const INSERT: &str = "calendar.events.insert";

fn event_id(booking: &Value) -> String {
    booking["event_id"].as_str().unwrap().to_owned()
}

/// The kinds of a booking's open conflicts.
fn kinds(booking: &Value) -> Vec<&str> {
    let conflicts = booking["conflicts"].as_array().map_or(&[][..], Vec::as_slice);
    conflicts.iter().map(|conflict| conflict["kind"].as_str().unwrap()).collect()
}

/// How often a step is in a booking's history.
fn steps(booking: &Value, what: &str) -> usize {
    booking["history"].as_array().unwrap().iter().filter(|step| step["what"] == what).count()
}

/// When a step was taken last.
fn taken(booking: &Value, what: &str) -> DateTime<Utc> {
    let history = booking["history"].as_array().unwrap();
    let step =
        history.iter().rev().find(|step| step["what"] == what).unwrap_or_else(|| panic!("no {what}: {booking:#}"));
    step["at"].as_str().unwrap().parse().unwrap()
}

/// How often something was announced of a booking.
fn announced(stage: &Stage, booking: &str, news: &str) -> usize {
    let log = stage.node().log.text();
    log.lines().filter(|line| line.contains(booking) && line.contains(&format!("{news}\""))).count()
}

async fn policy(stage: &Stage, policy: &str) {
    stage.api.patch(&stage.at(""), &json!({ "calendar_changes": policy })).await.ok();
}

async fn listed(stage: &Stage, query: &str) -> Vec<Value> {
    let list = stage.api.get(&stage.at(&format!("/conflicts{query}"))).await.ok();
    list["conflicts"].as_array().unwrap().clone()
}

/// Reads everything anew, twice.
async fn read_again(stage: &Stage) {
    for _ in 0..2 {
        stage.google.faults().expire_sync_tokens(OWNER);
        stage.sync_now().await;
        stage.idle().await;
    }
}

fn all_day(day: u64) -> Value {
    let date = |day: u64| json!({ "date": at(day, 12, 0).with_timezone(&ZONE).date_naive().to_string(), "dateTime": null, "timeZone": null });
    json!({ "start": date(day), "end": date(day + 1) })
}

/// What an owner does to an event, and what it is told as when the booking does not follow.
fn marks(day: u64) -> [(&'static str, Value); 4] {
    [
        ("free", json!({ "transparency": "transparent" })),
        ("declined", json!({ "attendees": [{ "email": OWNER, "responseStatus": "declined" }] })),
        ("series", json!({ "recurrence": ["RRULE:FREQ=WEEKLY;COUNT=3"] })),
        ("all_day", all_day(day)),
    ]
}

on_both_engines! {
    async fn what_an_owner_does_shows_in_booking_history_and_news_within_a_second(db: Db) {
        let stage = Stage::open(db).await;
        let mut booked = Vec::new();
        for day in 2..6 {
            booked.push(stage.book(at(day, 10, 0)).await);
        }
        for booking in &booked {
            stage.synced(booking).await;
        }
        stage.idle().await;

        // Moved, resized, deleted, overlapped; the last by another event and then by another booking.
        let began = SystemClock.now();
        stage.google.patch(&event_id(&booked[0]), &times(at(2, 14, 0), 30)).await;
        let moved = stage.booking_becomes(&id(&booked[0]), "moved", |b| b["start"] == text(at(2, 14, 0))).await;
        let resized_at = SystemClock.now();
        stage.google.patch(&event_id(&booked[0]), &times(at(2, 14, 0), 60)).await;
        let resized = stage.booking_becomes(&id(&booked[0]), "grown", |b| b["end"] == text(at(2, 15, 0))).await;
        let deleted_at = SystemClock.now();
        stage.google.delete(&event_id(&booked[1])).await;
        let deleted = stage.booking_becomes(&id(&booked[1]), "deleted", |b| b["status"] == "cancelled").await;
        let overlapped_at = SystemClock.now();
        stage.google.insert(&event("Visit", at(4, 10, 15), 60)).await;
        let overlapped = stage.booking_becomes(&id(&booked[2]), "overlapped", |b| kinds(b) == ["event"]).await;
        let onto_at = SystemClock.now();
        stage.google.patch(&event_id(&booked[0]), &times(at(5, 10, 0), 30)).await;
        let onto = stage.booking_becomes(&id(&booked[0]), "onto another", |b| kinds(b) == ["booking"]).await;
        let under = stage.booking_becomes(&id(&booked[3]), "moved onto", |b| kinds(b) == ["booking"]).await;

        for (booking, step, began, news) in [
            (&moved, "rescheduled", began, "booking.moved_by_owner"),
            (&resized, "rescheduled", resized_at, "booking.moved_by_owner"),
            (&deleted, "cancelled", deleted_at, "booking.cancelled_by_owner"),
            (&overlapped, "conflict", overlapped_at, "booking.conflict"),
            (&onto, "conflict", onto_at, "booking.conflict"),
            (&under, "conflict", onto_at, "booking.conflict"),
        ] {
            let after = (taken(booking, step) - began).num_milliseconds();
            assert!((0..1_000).contains(&after), "{step} took {after} ms");
            assert!(announced(&stage, &id(booking), news) > 0, "{news} of {booking:#}");
        }
        assert_eq!((&onto["status"], &under["status"]), (&json!("confirmed"), &json!("confirmed")));
        assert_eq!(onto["conflicts"][0]["other_booking"], under["id"]);
        assert_eq!(under["conflicts"][0]["other_booking"], onto["id"]);
        // The one that was there goes: the other has no conflict any more.
        stage.api.post(&stage.at(&format!("/bookings/{}/cancel", id(&under))), &json!({})).await.ok();
        assert!(kinds(&stage.booking(&id(&onto)).await).is_empty());
        assert!(kinds(&stage.booking(&id(&under)).await).is_empty());
        assert_eq!(announced(&stage, &id(&onto), "booking.conflict_resolved"), 1);
        stage.idle().await;
    }

    async fn an_event_over_a_booking_is_one_conflict_until_it_is_gone(db: Db) {
        let stage = Stage::open(db).await;
        let booked = stage.book_and_write(at(2, 10, 0)).await;
        let visit = stage.google.insert(&event("Visit", at(2, 9, 30), 45)).await;
        let met = stage.booking_becomes(&id(&booked), "a conflict", |b| kinds(b) == ["event"]).await;
        let conflict = &met["conflicts"][0];
        assert_eq!((&conflict["event_id"], &conflict["start"]), (&visit["id"], &json!(text(at(2, 9, 30)))));
        assert_eq!((&met["status"], &met["start"]), (&json!("confirmed"), &json!(text(at(2, 10, 0)))), "both stand");
        assert!(!met.to_string().contains("Visit"), "nobody's business what it is called");
        let open = listed(&stage, "?status=open").await;
        assert_eq!((open.len(), &open[0]["booking"], &open[0]["kind"]), (1, &booked["id"], &json!("event")));
        assert_eq!(listed(&stage, "?status=resolved").await, Vec::<Value>::new());

        // Neither more passes nor another title nor a shift within the overlap is a new one.
        read_again(&stage).await;
        stage.google.patch(&id(&visit), &json!({ "summary": "Other words" })).await;
        stage.google.patch(&id(&visit), &times(at(2, 9, 45), 45)).await;
        stage.booking_becomes(&id(&booked), "it is shifted", |b| b["conflicts"][0]["start"] == text(at(2, 9, 45))).await;
        read_again(&stage).await;
        let again = stage.booking(&id(&booked)).await;
        assert_eq!((steps(&again, "conflict"), &again["conflicts"][0]["id"]), (1, &open[0]["id"]));
        assert_eq!(announced(&stage, &id(&booked), "booking.conflict"), 1);

        // Touching is no overlap.
        stage.google.patch(&id(&visit), &times(at(2, 9, 30), 30)).await;
        stage.booking_becomes(&id(&booked), "it is over", |b| kinds(b).is_empty()).await;
        let resolved = listed(&stage, "?status=resolved").await;
        assert_eq!((resolved.len(), &resolved[0]["id"]), (1, &open[0]["id"]));
        assert!(resolved[0]["resolved_at"].is_string());
        assert_eq!(listed(&stage, "?status=open").await, Vec::<Value>::new());
        assert_eq!(announced(&stage, &id(&booked), "booking.conflict_resolved"), 1);

        // A second one is a second one. It ends with the booking's move, too.
        stage.google.insert(&event("Visit", at(2, 10, 0), 30)).await;
        stage.booking_becomes(&id(&booked), "a second", |b| kinds(b) == ["event"] && steps(b, "conflict") == 2).await;
        let path = stage.at(&format!("/bookings/{}", id(&booked)));
        let moved = stage.api.patch(&path, &json!({ "start": text(at(3, 10, 0)) })).await.ok();
        assert!(kinds(&moved).is_empty(), "{moved:#}");
        let page = stage.api.get(&stage.at("/conflicts?limit=1")).await.ok();
        assert_eq!(page["conflicts"].as_array().unwrap().len(), 1);
        let next = page["next_cursor"].as_str().unwrap();
        let rest = stage.api.get(&stage.at(&format!("/conflicts?limit=1&cursor={next}"))).await.ok();
        assert_eq!(rest["conflicts"].as_array().unwrap().len(), 1);
        assert_ne!(rest["conflicts"][0]["id"], page["conflicts"][0]["id"]);
        assert!(rest["next_cursor"].is_null());
        assert_eq!(stage.raw.count("SELECT COUNT(*) FROM conflict_due").await, 0);
    }

    async fn what_cannot_be_followed_is_told_and_left_as_the_owner_made_it(db: Db) {
        let stage = Stage::open(db).await;
        let mut booked = Vec::new();
        for day in 2..6 {
            booked.push(stage.book(at(day, 10, 0)).await);
        }
        for booking in &booked {
            stage.synced(booking).await;
        }
        stage.idle().await;
        for (booking, (kind, change)) in booked.iter().zip(marks(5)) {
            stage.google.patch(&event_id(booking), &change).await;
            let told = stage.booking_becomes(&id(booking), kind, |b| kinds(b) == [kind]).await;
            assert_eq!((&told["status"], &told["start"]), (&json!("confirmed"), &booking["start"]), "{kind}");
            assert_eq!((steps(&told, "conflict"), announced(&stage, &id(booking), "booking.conflict")), (1, 1), "{kind}");
        }
        read_again(&stage).await;
        for booking in &booked {
            let known = stage.booking(&id(booking)).await;
            assert_eq!((kinds(&known).len(), steps(&known, "conflict")), (1, 1), "{known:#}");
        }
        // The times stay taken, and so does the day and the series besides.
        assert_eq!(stage.try_book(at(2, 10, 0)).await.status, 409);
        stage.expect_free(at(5, 16, 0), 30, false).await;
        stage.expect_free(at(11, 10, 0), 30, false).await;
        assert_eq!((stage.google.calls(INSERT), stage.google.calls(PATCH)), (4, 4), "slotd wrote nothing but the bookings");

        stage.google.patch(&event_id(&booked[0]), &json!({ "transparency": "opaque" })).await;
        stage.booking_becomes(&id(&booked[0]), "it is shown as taken again", |b| kinds(b).is_empty()).await;
        let mut back = times(at(5, 10, 0), 30);
        for end in ["start", "end"] {
            back[end]["date"] = Value::Null;
        }
        stage.google.patch(&event_id(&booked[3]), &back).await;
        stage.booking_becomes(&id(&booked[3]), "it has a time again", |b| kinds(b).is_empty()).await;
        assert_eq!(listed(&stage, "?status=open").await.len(), 2);
    }

    async fn a_business_that_keeps_its_bookings_does_not_follow_and_does_not_fight(db: Db) {
        let stage = Stage::open(db).await;
        policy(&stage, "keep_and_alert").await;
        let booked = stage.book_and_write(at(2, 10, 0)).await;
        let (booking, shown) = (id(&booked), event_id(&booked));
        stage.idle().await;

        stage.google.patch(&shown, &times(at(2, 14, 0), 30)).await;
        let kept = stage.booking_becomes(&booking, "the move is told", |b| kinds(b) == ["moved"]).await;
        assert_eq!((&kept["status"], &kept["start"]), (&json!("confirmed"), &json!(text(at(2, 10, 0)))));
        assert_eq!(kept["conflicts"][0]["start"], text(at(2, 14, 0)));
        // Both times are taken.
        stage.expect_free(at(2, 14, 0), 30, false).await;
        assert_eq!(stage.try_book(at(2, 10, 0)).await.status, 409);
        read_again(&stage).await;
        let known = stage.booking(&booking).await;
        assert_eq!((steps(&known, "conflict"), announced(&stage, &booking, "booking.conflict")), (1, 1));
        assert_eq!(stage.busy(at(2, 0, 0), at(3, 0, 0)).await, [(at(2, 10, 0), at(2, 10, 30)), (at(2, 14, 0), at(2, 14, 30))]);
        assert_eq!(stage.google.calls(PATCH), 1, "the owner's own");

        // New details are written, and the owner's time is left alone.
        let path = stage.at(&format!("/bookings/{booking}"));
        let grace = json!({ "customer": { "name": "Grace Hopper" } });
        let edited = stage.api.patch(&path, &grace).await.ok();
        stage.synced(&edited).await;
        let there = stage.google.get(&shown).await;
        assert_eq!(there["summary"], "Haircut - Grace Hopper");
        assert_eq!(there["start"]["dateTime"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap(), at(2, 14, 0));
        stage.idle().await;
        assert_eq!(kinds(&stage.booking(&booking).await), ["moved"]);

        // A new time of the customer's is a new wish.
        let moved = stage.api.patch(&path, &json!({ "start": text(at(2, 16, 0)) })).await.ok();
        assert!(kinds(&moved).is_empty());
        stage.synced(&moved).await;
        let there = stage.google.get(&shown).await;
        assert_eq!(there["start"]["dateTime"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap(), at(2, 16, 0));
        stage.idle().await;
        stage.expect_free(at(2, 14, 0), 30, true).await;

        // Deleted: it stands without an event, and gets none.
        stage.google.delete(&shown).await;
        let kept = stage.booking_becomes(&booking, "the deletion is told", |b| kinds(b) == ["deleted"]).await;
        assert_eq!((&kept["status"], &kept["event_gone"], &kept["calendar_sync"]), (&json!("confirmed"), &json!("kept"), &json!("none")));
        read_again(&stage).await;
        assert_eq!(steps(&stage.booking(&booking).await, "conflict"), 2);
        assert_eq!(stage.google.calls(INSERT), 1);
        stage.google.patch(&shown, &json!({ "status": "confirmed" })).await;
        stage.booking_becomes(&booking, "it is there again", |b| kinds(b).is_empty()).await;

        // Back to following: the next edit is followed.
        policy(&stage, "owner_wins").await;
        stage.google.patch(&shown, &times(at(3, 9, 0), 30)).await;
        stage.booking_becomes(&booking, "it follows", |b| b["start"] == text(at(3, 9, 0))).await;
    }

    async fn an_event_moved_to_another_calendar_takes_its_booking_along(db: Db) {
        let stage = Stage::open(db).await;
        let second = NewCalendar { summary: "Tom".to_owned(), time_zone: ZONE.name().to_owned(), ..NewCalendar::default() };
        let second = stage.google.sandbox.add_calendar(OWNER, second).unwrap();
        let private = NewCalendar { summary: "Home".to_owned(), time_zone: ZONE.name().to_owned(), ..NewCalendar::default() };
        let private = stage.google.sandbox.add_calendar(OWNER, private).unwrap();
        for calendar in [&second, &private] {
            stage.google.let_edit(calendar);
        }
        let tom = id(&stage.api.post(&stage.at("/resources"), &json!({ "name": "Tom" })).await.ok());
        stage.api.post(&stage.at("/calendars"), &json!({ "google_id": second, "resource": "Tom", "target": true })).await.ok();
        stage.mirrored().await;
        let wish = |day, minute| json!({
            "start": text(at(day, 10, minute)), "service": "Haircut", "resource": "Mia",
            "customer": { "name": "Ada Lovelace", "phone": "0151 12345678" },
        });
        let booked = stage.synced(&stage.api.post(&stage.at("/bookings"), &wish(2, 0)).await.ok()).await;
        let other = stage.synced(&stage.api.post(&stage.at("/bookings"), &wish(3, 0)).await.ok()).await;
        stage.idle().await;

        let to = |calendar: &str, event: &str| format!("/calendars/{OWNER}/events/{event}/move?destination={}", calendar.replace('@', "%40"));
        stage.google.editor().post(&to(&second, &event_id(&booked)), &json!({})).await.ok();
        let moved = stage.booking_becomes(&id(&booked), "Tom does it", |b| b["resource"] == json!(tom)).await;
        assert_eq!((&moved["status"], &moved["start"]), (&json!("confirmed"), &json!(text(at(2, 10, 0)))));
        assert_eq!(announced(&stage, &id(&booked), "booking.moved_by_owner"), 1);
        stage.idle().await;
        assert_eq!(stage.busy(at(2, 0, 0), at(3, 0, 0)).await, [], "Mia is free");
        // What the booking does from now on is written there, and what the owner does there is followed.
        let path = stage.at(&format!("/bookings/{}", id(&booked)));
        let later = stage.api.patch(&path, &json!({ "start": text(at(2, 12, 0)) })).await.ok();
        stage.synced(&later).await;
        let there = format!("/calendars/{}/events/{}", second.replace('@', "%40"), event_id(&booked));
        let event = stage.google.editor().get(&there).await.ok();
        assert_eq!(event["start"]["dateTime"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap(), at(2, 12, 0));
        stage.google.editor().patch(&there, &times(at(2, 13, 0), 30)).await.ok();
        stage.booking_becomes(&id(&booked), "it moves there", |b| b["start"] == text(at(2, 13, 0))).await;

        // Where slotd does not look, it is gone.
        stage.google.editor().post(&to(&private, &event_id(&other)), &json!({})).await.ok();
        stage.booking_becomes(&id(&other), "it is gone", |b| b["status"] == "cancelled").await;
        stage.idle().await;
    }

    async fn bad_wishes_about_conflicts_name_the_field(db: Db) {
        let stage = Stage::open(db).await;
        for (query, field) in [
            ("status=closed", "status"), ("limit=0", "limit"), ("limit=201", "limit"), ("cursor=x", "cursor"), ("kind=event", "kind"),
        ] {
            let answer = stage.api.get(&stage.at(&format!("/conflicts?{query}"))).await;
            assert_eq!(answer.status, 400, "{query}");
            assert!(answer.json().to_string().contains(field), "{}", answer.json());
        }
        let wrong = stage.api.patch(&stage.at(""), &json!({ "calendar_changes": "fight" })).await;
        let (status, _, field) = wrong.problem();
        assert_eq!((status, field.as_str()), (400, "/calendar_changes"));
        assert!(wrong.json()["detail"].as_str().unwrap().contains("owner_wins, keep_and_alert"), "{}", wrong.json());
        assert_eq!(stage.api.get(&stage.at("")).await.ok()["calendar_changes"], "owner_wins");
        let wrong = json!({ "name": "B", "time_zone": "Europe/Berlin", "calendar_changes": 1 });
        assert_eq!(stage.api.post("/businesses", &wrong).await.status, 400);
        let kept = json!({ "name": "B", "time_zone": "Europe/Berlin", "calendar_changes": "keep_and_alert" });
        assert_eq!(stage.api.post("/businesses", &kept).await.ok()["calendar_changes"], "keep_and_alert");
        assert_eq!(stage.api.with_bearer("").get(&stage.at("/conflicts")).await.status, 401);
        let unknown = "/businesses/0193e6b4-0000-7000-8000-000000000000/conflicts";
        assert_eq!(stage.api.get(unknown).await.status, 404);
        eventually("nothing is due", async || (stage.raw.count("SELECT COUNT(*) FROM conflict_due").await == 0).then_some(())).await;
    }
}
