//! How far answers can be believed, how old they may be, and what a business wants done when the mirror is behind.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use slotd_sandbox::{Effect, NewCalendar};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    harness::{Db, on_both_engines},
    stage::{Answer, OWNER, Stage, ZONE, at, event, eventually, id, text, url_time, wish},
};

const LIST: &str = "calendar.events.list";
/// No pass comes by itself, and the last one failed.
const STALE: &str = "UPDATE calendar SET failures = 1, due_at = 4000000000000000";
/// No pass comes by itself, and none ever did.
const UNREAD: &str = "UPDATE calendar SET as_of = NULL, failures = 1, due_at = 4000000000000000";
/// The last look was an hour ago.
const AN_HOUR_AGO: &str = "UPDATE calendar SET as_of = as_of - 3600000000";

async fn ask(stage: &Stage, question: &str) -> Value {
    stage.api.get(&stage.at(&format!("/{question}"))).await.ok()
}

/// Is half an hour at `start` free?
fn availability(start: DateTime<Utc>) -> String {
    format!("availability?start={}&duration_min=30", url_time(start))
}

fn slots(day: u64) -> String {
    format!("slots?from={}&to={}&service=Haircut", url_time(at(day, 8, 0)), url_time(at(day, 18, 0)))
}

fn busy(day: u64) -> String {
    format!("busy?from={}&to={}", url_time(at(day, 0, 0)), url_time(at(day + 1, 0, 0)))
}

async fn set_policy(stage: &Stage, when_stale: &str, when_unknown: &str) {
    let policy = json!({ "stale": when_stale, "unknown": when_unknown });
    let changed = stage.api.patch(&stage.at(""), &json!({ "freshness": policy })).await.ok();
    assert_eq!(changed["freshness"], policy);
}

/// The answer says how far it can be believed.
fn is_marked(answer: &Value, freshness: &str) {
    assert_eq!(answer["freshness"], freshness, "{answer}");
    assert!(answer.as_object().unwrap().contains_key("as_of") && answer["coverage"]["to"].is_string(), "{answer}");
    assert_eq!(answer["as_of"].is_null(), freshness == "unknown", "{answer}");
}

fn is_refused(answer: &Answer, reason: &str, freshness: &str) {
    assert_eq!(answer.problem(), (409, "slot-taken".to_owned(), String::new()), "{}", answer.json());
    assert_eq!(answer.json()["reason"], reason);
    is_marked(&answer.json(), freshness);
}

on_both_engines! {
    async fn each_policy_says_what_is_done_with_a_stale_mirror(db: Db) {
        let stage = Stage::with(db, vec![event("Dentist", at(2, 10, 0), 60)], |_| {}).await;
        assert_eq!(ask(&stage, "").await["freshness"], json!({ "stale": "verify", "unknown": "refuse" }));
        let booked = stage.book_and_write(at(3, 10, 0)).await;
        let path = stage.at(&format!("/bookings/{}", id(&booked)));
        stage.idle().await;
        stage.google.strike_after(0, None, "push", Effect::Drop);
        let broken = stage.google.strike_after(0, None, LIST, Effect::Empty { status: 503 });
        for (hour, policy) in [(12, "answer"), (13, "verify"), (14, "refuse")] {
            set_policy(&stage, policy, "refuse").await;
            let mut lists = stage.google.lists();
            // Whether Google was asked since.
            let mut asked = || {
                let before = std::mem::replace(&mut lists, stage.google.lists());
                before < lists
            };
            let looks = policy != "answer";
            stage.raw.execute(STALE).await.unwrap();
            let free = ask(&stage, &availability(at(2, hour, 0))).await;
            assert_eq!(asked(), looks, "{policy}");
            let offered = ask(&stage, &slots(2)).await;
            let taken = ask(&stage, &busy(2)).await;
            asked();
            let new = stage.try_book(at(2, hour, 0)).await;
            assert_eq!(asked(), looks, "{policy}");
            let moved = stage.api.patch(&path, &json!({ "start": text(at(3, hour, 0)) })).await;
            assert_eq!(asked(), looks, "{policy}");
            for answer in [&free, &offered, &taken] {
                is_marked(answer, "stale");
            }
            if policy == "refuse" {
                assert_eq!((&free["available"], &free["reason"]), (&Value::Null, &json!("stale")));
                assert_eq!((&free["resources"], &free["alternatives"]), (&json!([]), &json!([])));
                let gap = json!([{ "resource": stage.resource, "reason": "stale" }]);
                assert_eq!((&offered["slots"], &offered["reason"], &offered["not_known"]), (&json!([]), &json!("stale"), &gap));
                assert_eq!((&taken["busy"], &taken["reason"], &taken["not_known"]), (&Value::Null, &json!("stale"), &gap));
                is_refused(&new, "stale", "stale");
                assert_eq!(new.json()["alternatives"], json!([]));
                is_refused(&moved, "stale", "stale");
                let edited = stage.api.patch(&path, &json!({ "customer": { "name": "Ada King" } })).await;
                assert_eq!(edited.status, 200, "an edit needs no calendar");
            } else {
                assert_eq!((&free["available"], &free["reason"]), (&json!(true), &Value::Null));
                assert!(offered["slots"].as_array().unwrap().len() > 10 && offered["reason"].is_null(), "{offered}");
                assert!(taken["busy"].as_array().unwrap().iter().any(|one| one["start"] == text(at(2, 10, 0))), "{taken}");
                for answer in [new, moved] {
                    assert!(answer.ok()["warning"].as_str().unwrap().contains("cannot be checked"), "{}", answer.json());
                }
            }
        }
        // Google is well again: the look before a refusal finds that out.
        assert!(stage.google.faults().remove(broken));
        stage.raw.execute(STALE).await.unwrap();
        let again = ask(&stage, &availability(at(2, 16, 0))).await;
        assert_eq!((&again["available"], &again["freshness"]), (&json!(true), &json!("fresh")));
        assert!(stage.book(at(2, 16, 0)).await["warning"].is_null());
    }

    async fn what_was_never_read_is_never_free(db: Db) {
        let stage = Stage::with(db, vec![event("Dentist", at(2, 10, 0), 60)], |_| {}).await;
        stage.book_and_write(at(2, 14, 0)).await;
        stage.idle().await;
        stage.google.strike_after(0, None, "push", Effect::Drop);
        let broken = stage.google.strike_after(0, None, LIST, Effect::Empty { status: 503 });
        for (hour, policy) in [(16, "answer"), (17, "refuse")] {
            set_policy(&stage, "answer", policy).await;
            stage.raw.execute(UNREAD).await.unwrap();
            let mut answers = Vec::new();
            for quarter in 0..40 {
                let answer = ask(&stage, &availability(at(2, 8 + quarter / 4, quarter % 4 * 15))).await;
                assert_ne!(answer["available"], true, "{answer}");
                is_marked(&answer, "unknown");
                answers.push(answer);
            }
            let own = &answers[24];
            let (offered, taken) = (ask(&stage, &slots(2)).await, ask(&stage, &busy(2)).await);
            for answer in [&offered, &taken] {
                is_marked(answer, "unknown");
                assert_eq!(answer["reason"], "outside_coverage", "{answer}");
            }
            assert_eq!(offered["slots"], json!([]));
            let new = stage.try_book(at(2, hour, 0)).await;
            if policy == "answer" {
                assert_eq!((&own["available"], &own["reason"]), (&json!(false), &json!("busy")), "a booking is known");
                assert_eq!(taken["busy"].as_array().unwrap().len(), 1, "{taken}");
                assert!(new.ok()["warning"].as_str().unwrap().contains("not been read"), "{}", new.json());
            } else {
                assert_eq!((&own["available"], &own["reason"]), (&Value::Null, &json!("outside_coverage")));
                assert_eq!(taken["busy"], Value::Null);
                is_refused(&new, "outside_coverage", "unknown");
            }
            let demanded = ask(&stage, &format!("{}&max_staleness_s=600", availability(at(2, 9, 0)))).await;
            assert_eq!((&demanded["available"], &demanded["reason"]), (&Value::Null, &json!("outside_coverage")));
        }
        assert!(stage.google.faults().remove(broken));
        stage.raw.execute(UNREAD).await.unwrap();
        let read = ask(&stage, &format!("{}&max_staleness_s=600", availability(at(2, 9, 0)))).await;
        assert_eq!((&read["available"], &read["freshness"]), (&json!(true), &json!("fresh")));
    }

    async fn outside_the_coverage_no_policy_knows_anything(db: Db) {
        let stage = Stage::with(db, Vec::new(), |config| config.sync.horizon_days = 20).await;
        for policy in ["answer", "verify", "refuse"] {
            set_policy(&stage, policy, "answer").await;
            let free = ask(&stage, &availability(at(60, 10, 0))).await;
            assert_eq!((&free["available"], &free["reason"]), (&Value::Null, &json!("outside_coverage")), "{policy}");
            is_marked(&free, "fresh");
            let offered = ask(&stage, &slots(60)).await;
            assert_eq!((&offered["slots"], &offered["reason"]), (&json!([]), &json!("outside_coverage")), "{policy}");
            let taken = ask(&stage, &busy(60)).await;
            assert_eq!((&taken["busy"], &taken["reason"]), (&json!([]), &json!("outside_coverage")), "{policy}");
            is_refused(&stage.try_book(at(60, 10, 0)).await, "outside_coverage", "fresh");
            // Within it all is known.
            assert!(ask(&stage, &slots(2)).await["reason"].is_null());
            assert!(ask(&stage, &busy(2)).await["reason"].is_null());
        }
    }

    async fn a_caller_may_say_how_old_an_answer_may_be(db: Db) {
        let stage = Stage::open(db).await;
        stage.google.strike_after(0, None, "push", Effect::Drop);
        let (mut hour, mut lists) = (9, stage.google.lists());
        for question in [availability(at(2, 9, 0)), availability(at(2, 10, 0)), slots(2), busy(2)] {
            stage.google.insert(&event("Dentist", at(2, hour, 0), 30)).await;
            let old = ask(&stage, &format!("{question}&max_staleness_s=86400")).await;
            assert_eq!(stage.google.lists(), lists, "the last look is good enough");
            let new = ask(&stage, &format!("{question}&max_staleness_s=0")).await;
            lists += 1;
            assert_eq!(stage.google.lists(), lists);
            assert_ne!(old["available"].clone(), json!(false));
            let start = text(at(2, hour, 0));
            let names = |list: &Value| list.as_array().unwrap().iter().any(|one| one["start"] == start);
            match question.split('?').next().unwrap() {
                "availability" => assert_eq!((&old["available"], &new["available"]), (&json!(true), &json!(false))),
                "slots" => assert!(names(&old["slots"]) && !names(&new["slots"]), "{old} {new}"),
                _ => assert!(!names(&old["busy"]) && names(&new["busy"]), "{old} {new}"),
            }
            hour += 1;
        }
        stage.google.faults().clear();
    }

    async fn when_google_hangs_the_answer_is_null_by_the_deadline(db: Db) {
        let stage = Stage::with(db, Vec::new(), |config| {
            config.google.request_timeout_s = 6;
            config.booking.verify_deadline_ms = 400;
        })
        .await;
        stage.google.strike_after(0, None, LIST, Effect::HangBefore);
        for (question, list) in [(availability(at(2, 9, 0)), ""), (slots(2), "slots"), (busy(2), "busy")] {
            let started = Instant::now();
            let answer = ask(&stage, &format!("{question}&max_staleness_s=0")).await;
            let waited = started.elapsed();
            assert!(waited >= Duration::from_millis(390) && waited < Duration::from_millis(1_500), "{waited:?}");
            assert_eq!(answer["reason"], "stale", "{answer}");
            assert!(answer["as_of"].is_string() && answer["coverage"]["to"].is_string(), "{answer}");
            match list {
                "slots" => assert_eq!(answer["slots"], json!([])),
                "busy" => assert_eq!(answer["busy"], Value::Null),
                _ => assert_eq!((&answer["available"], &answer["alternatives"]), (&Value::Null, &json!([]))),
            }
        }
        // The channel is alive, so the mirror is fresh: the booking stands, and says that the second look did not come.
        let started = Instant::now();
        let booked = stage.book(at(2, 9, 0)).await;
        assert!(started.elapsed() < Duration::from_millis(1_500), "{:?}", started.elapsed());
        assert!(booked["warning"].as_str().unwrap().contains("cannot be checked"), "{booked}");
        stage.google.faults().clear();
    }

    async fn callers_who_wait_for_google_hold_nobody_up(db: Db) {
        let stage = Stage::with(db, Vec::new(), |config| config.booking.verify_deadline_ms = 12_000).await;
        set_policy(&stage, "answer", "refuse").await;
        let late = stage.google.strike(LIST, Effect::Delay { ms: 8_000 });
        let mut waiting = JoinSet::new();
        for _ in 0..60 {
            let (api, path) = (stage.api.clone(), stage.at(&format!("/{}&max_staleness_s=0", availability(at(2, 9, 0)))));
            waiting.spawn(async move { api.get(&path).await.ok() });
        }
        eventually("Google is asked", async || stage.google.has_struck(late).then_some(())).await;
        stage.book(at(2, 9, 0)).await;
        stage.api.patch(&stage.at(""), &json!({ "name": "Aurora" })).await.ok();
        stage.availability(at(2, 9, 0), 30).await;
        assert!(waiting.try_join_next().is_none(), "they still wait");
        for answer in waiting.join_all().await {
            assert_eq!((&answer["available"], &answer["reason"]), (&json!(false), &json!("busy")), "{answer}");
        }
    }

    async fn callers_who_ask_at_once_cause_one_pass(db: Db) {
        let stage = Stage::with(db, Vec::new(), |config| config.booking.verify_deadline_ms = 15_000).await;
        // A pass that began before a caller came does not serve who must ask now: one more may wait behind it.
        for (max_staleness, most) in [(600, 1), (0, 2)] {
            stage.idle().await;
            stage.raw.execute(AN_HOUR_AGO).await.unwrap();
            stage.google.strike(LIST, Effect::Delay { ms: 2_500 });
            let before = stage.google.lists();
            let mut callers = JoinSet::new();
            for _ in 0..100 {
                let (api, question) = (stage.api.clone(), availability(at(2, 9, 0)));
                let path = stage.at(&format!("/{question}&max_staleness_s={max_staleness}"));
                callers.spawn(async move { api.get(&path).await.ok() });
            }
            for answer in callers.join_all().await {
                assert_eq!(answer["available"], true, "{answer}");
            }
            stage.idle().await;
            let passes = stage.google.lists() - before;
            assert!((1..=most).contains(&passes), "{passes} passes for a hundred callers");
        }
    }

    async fn one_dead_calendar_says_nothing_about_the_others(db: Db) {
        let stage = Stage::open(db).await;
        let ben = id(&stage.api.post(&stage.at("/resources"), &json!({ "name": "Ben" })).await.ok());
        let calendar = NewCalendar {
            summary: "Ben".to_owned(),
            time_zone: ZONE.name().to_owned(),
            ..NewCalendar::default()
        };
        let google_id = stage.google.sandbox.add_calendar(OWNER, calendar).unwrap();
        let body = json!({ "google_id": google_id, "resource": "Ben", "target": true });
        stage.api.post(&stage.at("/calendars"), &body).await.ok();
        stage.mirrored().await;
        set_policy(&stage, "refuse", "refuse").await;
        let both = ask(&stage, &availability(at(2, 9, 0))).await;
        assert_eq!(both["resources"].as_array().unwrap().len(), 2);

        let dead = Effect::Empty { status: 503 };
        let fault = slotd_sandbox::Fault { calendar: Some(google_id), times: None, ..slotd_sandbox::Fault::once(LIST, dead) };
        stage.google.faults().add(fault);
        let failing = format!("UPDATE calendar SET failures = 1, due_at = 4000000000000000 WHERE resource_id = '{ben}'");
        stage.raw.execute(&failing).await.unwrap();
        let free = ask(&stage, &availability(at(2, 9, 0))).await;
        assert_eq!((&free["available"], &free["resources"]), (&json!(true), &json!([stage.resource])));
        assert_eq!(free["freshness"], "fresh", "it rests on Mia's calendar alone");
        let gap = json!([{ "resource": ben, "reason": "stale" }]);
        let offered = ask(&stage, &slots(2)).await;
        assert_eq!((&offered["reason"], &offered["not_known"]), (&json!("stale"), &gap));
        let with = |slot: &Value| slot["resource"] == stage.resource;
        assert!(offered["slots"].as_array().unwrap().iter().all(with) && offered["slots"][0].is_object(), "{offered}");
        let taken = ask(&stage, &busy(2)).await;
        assert_eq!((&taken["busy"], &taken["not_known"]), (&Value::Null, &gap));
        let mias = ask(&stage, &format!("{}&resource=Mia", busy(2))).await;
        assert_eq!((&mias["busy"], &mias["freshness"]), (&json!([]), &json!("fresh")));

        let booked = stage.book(at(2, 9, 0)).await;
        assert_eq!((&booked["resource"], &booked["warning"]), (&json!(stage.resource), &Value::Null));
        // Mia is busy now, and of Ben nothing is known.
        let rest = ask(&stage, &availability(at(2, 9, 0))).await;
        assert_eq!((&rest["available"], &rest["reason"]), (&Value::Null, &json!("stale")));
        let offers = rest["alternatives"].as_array().unwrap();
        assert!(!offers.is_empty() && offers.iter().all(with), "{rest}");
        let mut bens = wish(at(2, 11, 0));
        bens["resource"] = json!("Ben");
        is_refused(&stage.api.post(&stage.at("/bookings"), &bens).await, "stale", "stale");

        // With a warning where the business wants that, and without where somebody else is free.
        set_policy(&stage, "verify", "refuse").await;
        assert_eq!(stage.book(at(2, 10, 0)).await["resource"], json!(stage.resource));
        let second = stage.book(at(2, 10, 0)).await;
        assert_eq!(second["resource"], json!(ben));
        assert!(second["warning"].as_str().unwrap().contains("cannot be checked"), "{second}");
        stage.google.faults().clear();
    }
}
