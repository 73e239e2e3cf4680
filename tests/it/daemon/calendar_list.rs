//! Calendars that are shared, taken away, renamed, hidden, and seen by several accounts.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use slotd::config::Config;
use slotd_sandbox::{Effect, Fault, NewCalendar, Role};

use crate::{
    harness::{Db, on_both_engines},
    stage::{Answer, EDITOR, OWNER, Stage, at, event, eventually, id, url_time},
};

const LIST: &str = "calendar.events.list";
const SHARED: &str = "zz-shared@group.calendar.google.com";
const LOST: &str = "a calendar is lost";

/// Each second instead of each day.
fn lists_often(config: &mut Config) {
    config.jobs.refresh_calendars = "* * * * * *".parse().unwrap();
    config.sync.list_spread_s = 0;
}

/// A calendar of somebody else's with one event, that the owner sees in this role.
fn share(stage: &Stage, role: Role, start: DateTime<Utc>) {
    let calendar = NewCalendar {
        id: Some(SHARED.to_owned()),
        summary: "Room".to_owned(),
        time_zone: "Europe/Berlin".to_owned(),
        events: vec![event("Meeting", start, 60)],
        ..NewCalendar::default()
    };
    stage.google.sandbox.add_calendar(EDITOR, calendar).unwrap();
    assert!(stage.google.sandbox.share(SHARED, OWNER, role));
}

async fn mirror(stage: &Stage, target: bool) -> Answer {
    let body = json!({ "google_id": SHARED, "resource": "Mia", "target": target });
    stage.api.post(&stage.at("/calendars"), &body).await
}

async fn shared(stage: &Stage) -> Value {
    let status = stage.status().await;
    let calendars = status["calendars"].as_array().unwrap();
    calendars.iter().find(|calendar| calendar["google_id"] == SHARED).unwrap().clone()
}

async fn shared_becomes(stage: &Stage, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    eventually(what, async || Some(shared(stage).await).filter(&is)).await
}

/// Makes the shared calendar the one that bookings are written to.
async fn target_shared(stage: &Stage) {
    let primary = id(&stage.status().await["calendars"][0]);
    stage.api.patch(&stage.at(&format!("/calendars/{primary}")), &json!({ "target": false })).await.ok();
    mirror(stage, true).await.ok();
    stage.mirrored().await;
}

/// Has Google refuse one more pass.
async fn refused(stage: &Stage) {
    let refusals = || stage.raw.count("SELECT CAST(SUM(refusals) AS BIGINT) FROM calendar");
    let before = refusals().await;
    stage.sync_now().await;
    eventually("a pass is refused", async || (refusals().await > before).then_some(())).await;
}

fn lists_of_shared(stage: &Stage) -> usize {
    let calls = stage.google.sandbox.calls();
    calls.iter().filter(|call| call.method == LIST && call.calendar.as_deref() == Some(SHARED)).count()
}

on_both_engines! {
    async fn a_calendar_that_is_taken_away_stays_busy_and_comes_back_by_itself(db: Db) {
        let stage = Stage::with(db, Vec::new(), lists_often).await;
        share(&stage, Role::Writer, at(3, 9, 0));
        mirror(&stage, false).await.ok();
        stage.mirrored().await;
        stage.expect_free(at(3, 9, 0), 60, false).await;

        assert!(stage.google.sandbox.unshare(SHARED, OWNER));
        for _ in 0..3 {
            refused(&stage).await;
        }
        let lost = shared_becomes(&stage, "the calendar is lost", |calendar| calendar["state"] == "lost").await;
        assert!(lost["what_to_do"].as_str().unwrap().contains("Share"), "{lost}");
        assert!(lost["lost_since"].is_string() && lost["listed"] == false, "{lost}");
        assert!(stage.status().await["what_to_do"].as_str().unwrap().contains("Share"));
        let known = stage.availability(at(3, 9, 0), 60).await;
        assert_eq!((&known["available"], &known["freshness"]), (&json!(false), &json!("stale")));
        assert_eq!(stage.try_book(at(3, 9, 0)).await.status, 409);
        let asked = lists_of_shared(&stage);
        tokio::time::sleep(std::time::Duration::from_secs(4)).await;
        assert_eq!(lists_of_shared(&stage), asked, "it is asked for again after a while only");
        assert_eq!(stage.node().log.text().matches(LOST).count(), 1);

        assert!(stage.google.sandbox.share(SHARED, OWNER, Role::Reader));
        let back = shared_becomes(&stage, "it is back", |calendar| {
            calendar["state"] == "mirrored" && calendar["watched_until"].is_string()
        })
        .await;
        assert_eq!((&back["access_role"], &back["what_to_do"], &back["listed"]), (&json!("reader"), &Value::Null, &json!(true)));
        stage.google.insert_into(SHARED, &event("Another", at(3, 15, 0), 60)).await;
        stage.expect_free(at(3, 15, 0), 60, false).await;
        assert_eq!(stage.availability(at(3, 9, 0), 60).await["freshness"], "fresh");
    }

    async fn a_blip_of_not_found_loses_nothing(db: Db) {
        let stage = Stage::with(db, vec![event("Old", at(3, 9, 0), 60)], |_| {}).await;
        stage.google.strike_after(0, Some(4), LIST, Effect::refuse(404, "global", "notFound"));
        for _ in 0..4 {
            refused(&stage).await;
            let status = stage.status().await;
            assert_eq!(status["calendars"][0]["state"], "failing", "{status}");
            assert_eq!(stage.availability(at(3, 9, 0), 60).await["available"], false);
        }
        stage.sync_now().await;
        eventually("it goes on", async || {
            (stage.status().await["calendars"][0]["state"] == "mirrored").then_some(())
        })
        .await;
        assert!(!stage.node().log.text().contains(LOST));
        // Whoever is refused looks whether the calendar is there still.
        let lists = stage.google.calls("calendar.calendarList.list");
        assert!((2..=6).contains(&lists), "{lists}");
    }

    async fn a_calendar_that_never_answers_is_lost_though_the_list_names_it(db: Db) {
        let stage = Stage::with(db, vec![event("Old", at(3, 9, 0), 60)], |_| {}).await;
        let broken = stage.google.strike_after(0, None, LIST, Effect::refuse(403, "calendar", "forbidden"));
        for _ in 0..10 {
            refused(&stage).await;
        }
        assert_eq!(stage.status().await["calendars"][0]["state"], "lost");
        assert_eq!(stage.availability(at(3, 9, 0), 60).await["available"], false);
        stage.google.faults().remove(broken);
        stage.sync_now().await;
        eventually("it is back", async || {
            (stage.status().await["calendars"][0]["state"] == "mirrored").then_some(())
        })
        .await;
    }

    async fn a_calendar_off_the_list_or_hidden_goes_on(db: Db) {
        let stage = Stage::with(db, Vec::new(), lists_often).await;
        share(&stage, Role::Reader, at(3, 9, 0));
        mirror(&stage, false).await.ok();
        stage.mirrored().await;
        assert!(stage.google.sandbox.hide_calendar(SHARED, OWNER, true));
        let hidden = shared_becomes(&stage, "it is hidden", |calendar| calendar["hidden"] == true).await;
        assert_eq!(hidden["what_to_do"], Value::Null);
        assert!(stage.google.sandbox.remove_calendar(SHARED, OWNER));
        let gone = shared_becomes(&stage, "it is off the list", |calendar| calendar["listed"] == false).await;
        assert_eq!(gone["state"], "mirrored");
        assert!(gone["what_to_do"].as_str().unwrap().contains("list"), "{gone}");
        stage.google.insert_into(SHARED, &event("Another", at(3, 15, 0), 60)).await;
        stage.expect_free(at(3, 15, 0), 60, false).await;
        assert_eq!(stage.availability(at(3, 9, 0), 60).await["freshness"], "fresh");
    }

    async fn a_booking_whose_event_is_gone_ends_though_its_calendar_is_off_the_list(db: Db) {
        let stage = Stage::open(db).await;
        share(&stage, Role::Writer, at(5, 9, 0));
        target_shared(&stage).await;
        let booked = stage.book_and_write(at(3, 9, 0)).await;
        assert!(stage.google.sandbox.remove_calendar(SHARED, OWNER));
        // Forgotten by Google altogether, as after a long time: neither listed nor found by its id.
        stage.google.strike("calendar.events.get", Effect::refuse(404, "global", "notFound"));
        stage.google.delete_from(SHARED, booked["event_id"].as_str().unwrap()).await;
        stage.booking_becomes(&id(&booked), "it ends", |booking| booking["status"] == "cancelled").await;
    }

    async fn without_the_right_to_write_bookings_stand_and_are_written_once_it_is_back(db: Db) {
        let stage = Stage::open(db).await;
        share(&stage, Role::Writer, at(5, 9, 0));
        target_shared(&stage).await;
        let first = stage.book_and_write(at(3, 9, 0)).await;

        assert!(stage.google.sandbox.share(SHARED, OWNER, Role::Reader));
        let second = stage.book(at(3, 11, 0)).await;
        let told = shared_becomes(&stage, "the new role is known", |calendar| calendar["access_role"] == "reader").await;
        assert!(told["what_to_do"].as_str().unwrap().contains("cannot be written"), "{told}");
        let failed = stage
            .booking_becomes(&id(&second), "it is told that it cannot be written", |b| b["calendar_sync"] == "failed")
            .await;
        assert_eq!(failed["status"], "confirmed");
        assert!(stage.google.calls("calendar.events.insert") <= 8);
        assert_eq!(stage.booking(&id(&first)).await["status"], "confirmed");
        // Events are mirrored all the same.
        stage.google.insert_into(SHARED, &event("Another", at(3, 15, 0), 60)).await;
        stage.expect_free(at(3, 15, 0), 60, false).await;

        assert!(stage.google.sandbox.share(SHARED, OWNER, Role::Writer));
        stage.sync_now().await;
        stage.synced(&second).await;
        assert_eq!(shared(&stage).await["what_to_do"], Value::Null);
    }

    async fn bookings_are_not_sent_where_they_cannot_be_written(db: Db) {
        let stage = Stage::open(db).await;
        share(&stage, Role::Reader, at(3, 9, 0));
        let (status, kind, field) = mirror(&stage, true).await.problem();
        assert_eq!((status, kind.as_str(), field.as_str()), (400, "invalid", "/target"));
        assert_eq!(stage.raw.count("SELECT COUNT(*) FROM calendar").await, 1);
        let seen = mirror(&stage, false).await.ok();
        assert_eq!(seen["access_role"], "reader");
        let path = stage.at(&format!("/calendars/{}", id(&seen)));
        let (status, kind, field) = stage.api.patch(&path, &json!({ "target": true })).await.problem();
        assert_eq!((status, kind.as_str(), field.as_str()), (400, "invalid", "/target"));
        assert_eq!(stage.raw.count("SELECT COUNT(*) FROM calendar WHERE target = 1").await, 1);
    }

    async fn a_calendar_that_shows_only_when_it_is_busy_is_mirrored_and_never_read_as_free(db: Db) {
        let stage = Stage::open(db).await;
        share(&stage, Role::FreeBusyReader, at(3, 9, 0));
        mirror(&stage, false).await.ok();
        stage.mirrored().await;
        assert_eq!(stage.availability(at(3, 9, 0), 60).await["reason"], "busy");
        stage.google.insert_into(SHARED, &event("Another", at(3, 15, 0), 60)).await;
        stage.expect_free(at(3, 15, 0), 60, false).await;
        let titles = stage.raw.count("SELECT COUNT(*) FROM event WHERE title IS NOT NULL").await;
        assert_eq!(titles, 0, "whoever may not see titles gets none");
        let refuse = Effect::refuse(403, "calendar", "forbidden");
        let fault = Fault { calendar: Some(SHARED.to_owned()), user: Some(OWNER.to_owned()), times: None, ..Fault::once(LIST, refuse) };
        stage.google.faults().add(fault);
        stage.sync_now().await;
        shared_becomes(&stage, "it cannot be read", |calendar| calendar["state"] == "failing").await;
        let known = stage.availability(at(3, 9, 0), 60).await;
        assert_eq!((&known["available"], &known["freshness"]), (&json!(false), &json!("stale")));
    }

    async fn a_calendar_that_was_never_readable_makes_nobody_free(db: Db) {
        let stage = Stage::open(db).await;
        share(&stage, Role::FreeBusyReader, at(3, 9, 0));
        let refuse = Effect::refuse(403, "calendar", "forbidden");
        let fault = Fault { calendar: Some(SHARED.to_owned()), times: None, ..Fault::once(LIST, refuse) };
        stage.google.faults().add(fault);
        mirror(&stage, false).await.ok();
        shared_becomes(&stage, "it cannot be read", |calendar| calendar["state"] == "failing").await;
        let unknown = stage.availability(at(3, 12, 0), 60).await;
        assert_eq!((&unknown["available"], &unknown["freshness"]), (&Value::Null, &json!("unknown")));
    }

    async fn titles_are_read_anew_each_day_from_all_pages(db: Db) {
        let stage = Stage::with(db, Vec::new(), lists_often).await;
        for number in 0..260 {
            let calendar = NewCalendar {
                id: Some(format!("c-{number:03}@group.calendar.google.com")),
                summary: format!("Nobody's {number}"),
                time_zone: "Europe/Berlin".to_owned(),
                ..NewCalendar::default()
            };
            stage.google.sandbox.add_calendar(OWNER, calendar).unwrap();
        }
        share(&stage, Role::Reader, at(3, 9, 0));
        mirror(&stage, false).await.ok();
        assert_eq!(shared(&stage).await["summary"], "Room");
        assert!(stage.google.sandbox.set_title(SHARED, "The quiet room"));
        shared_becomes(&stage, "the title is known", |calendar| calendar["summary"] == "The quiet room").await;
        // One calendar more or less says nothing of the others.
        assert_eq!(stage.raw.count("SELECT COUNT(*) FROM calendar WHERE listed = 1").await, 2);
    }

    async fn an_event_that_two_calendars_hold_is_busy_until_both_lack_it(db: Db) {
        let stage = Stage::open(db).await;
        share(&stage, Role::Writer, at(5, 9, 0));
        mirror(&stage, false).await.ok();
        stage.mirrored().await;
        let here = stage.google.insert(&event("Visit", at(3, 9, 0), 60)).await;
        let there = stage.google.insert_into(SHARED, &event("Visit", at(3, 9, 0), 60)).await;
        let both = || async { stage.raw.count("SELECT COUNT(*) FROM busy_slot").await };
        eventually("both have it", async || (both().await == 3).then_some(())).await;
        assert_eq!(stage.busy(at(3, 0, 0), at(4, 0, 0)).await, [(at(3, 9, 0), at(3, 10, 0))]);
        stage.google.delete(&id(&here)).await;
        eventually("one has it", async || (both().await == 2).then_some(())).await;
        assert_eq!(stage.availability(at(3, 9, 0), 60).await["available"], false);
        stage.google.delete_from(SHARED, &id(&there)).await;
        stage.expect_free(at(3, 9, 0), 60, true).await;
    }

    async fn one_calendar_may_be_mirrored_by_two_accounts_and_by_two_businesses(db: Db) {
        let stage = Stage::open(db).await;
        share(&stage, Role::Reader, at(3, 9, 0));
        mirror(&stage, false).await.ok();
        stage.connect_as(EDITOR).await;
        let accounts = stage.status().await["accounts"].as_array().unwrap().clone();
        assert_eq!(accounts.len(), 2);
        let noah = stage.api.post(&stage.at("/resources"), &json!({ "name": "Noah" })).await.ok();
        let other = accounts.iter().find(|account| account["email"] == EDITOR).unwrap();
        let body = json!({ "google_id": SHARED, "resource": "Noah", "account": id(other), "target": true });
        stage.api.post(&stage.at("/calendars"), &body).await.ok();
        let again = stage.api.post(&stage.at("/calendars"), &body).await;
        assert_eq!(again.problem().0, 409);

        let branch = json!({ "name": "Branch", "time_zone": "Europe/Berlin", "region": "DE" });
        let branch = id(&stage.api.post("/businesses", &branch).await.ok());
        stage.api.post(&format!("/businesses/{branch}/resources"), &json!({ "name": "Room" })).await.ok();
        stage.connect_business(&branch, OWNER).await;
        let body = json!({ "google_id": SHARED, "resource": "Room" });
        stage.api.post(&format!("/businesses/{branch}/calendars"), &body).await.ok();
        stage.mirrored().await;

        let visit = stage.google.insert_into(SHARED, &event("Visit", at(3, 15, 0), 60)).await;
        let free = |business: String, resource: String| {
            let (api, start) = (stage.api.clone(), url_time(at(3, 15, 0)));
            let query = format!("start={start}&duration_min=60&resource={resource}");
            async move { api.get(&format!("/businesses/{business}/availability?{query}")).await.ok()["available"].clone() }
        };
        let people = [
            (stage.business.clone(), "Mia".to_owned()),
            (stage.business.clone(), id(&noah)),
            (branch.clone(), "Room".to_owned()),
        ];
        for expected in [false, true] {
            for (business, resource) in &people {
                eventually("everybody knows", async || {
                    (free(business.clone(), resource.clone()).await == expected).then_some(())
                })
                .await;
            }
            if !expected {
                stage.google.delete_from(SHARED, &id(&visit)).await;
            }
        }
        // One of them going is not the other's business.
        assert!(stage.google.sandbox.unshare(SHARED, OWNER));
        stage.google.insert_into(SHARED, &event("Visit", at(3, 15, 0), 60)).await;
        eventually("Noah knows", async || {
            (free(stage.business.clone(), id(&noah)).await == json!(false)).then_some(())
        })
        .await;
    }
}
