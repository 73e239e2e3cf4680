//! A mirror proves itself against Google, and is healed when it is wrong.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use hyper::Method;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use slotd::{
    domain::{Clock, clock::SystemClock},
    store::Sql,
};
use slotd_sandbox::{Effect, Fault};
use tokio::time::Instant;

use super::edits::edit_once;
use crate::{
    harness::{Db, on_both_engines},
    stage::{Stage, at, event, eventually, id, times},
};

const LIST: &str = "calendar.events.list";

async fn ask(stage: &Stage) {
    let path = format!("/settings/{}/calendar/audit", stage.business);
    assert_eq!(stage.api.post(&path, &json!({})).await.status, 202);
}

async fn last(stage: &Stage) -> Value {
    stage.status().await["calendars"][0]["audit"].clone()
}

/// Asks for an audit and waits for what it finds.
async fn audit(stage: &Stage) -> Value {
    let before = last(stage).await["at"].clone();
    ask(stage).await;
    eventually("an audit ends", async || Some(last(stage).await).filter(|audit| audit["at"] != before)).await
}

/// Waits until an audit after the healing has found everything equal.
async fn healed(stage: &Stage) -> Value {
    eventually("the drift is healed", async || {
        Some(last(stage).await)
            .filter(|audit| audit["outcome"] == "equal" && audit["last_drift"]["healed_at"].is_string())
    })
    .await
}

fn is_equal(audit: &Value) -> bool {
    audit["outcome"] == "equal"
        && audit["drift_s"] == json!({ "missing": 0, "surplus": 0 })
        && audit["events_differing"] == 0
}

async fn metrics(stage: &Stage) -> String {
    let page = format!("http://{}/metrics", stage.node().daemon.metrics);
    let answer = stage.api.with_bearer("").send(Method::GET, &page, &[], "".into()).await;
    String::from_utf8(answer.bytes.to_vec()).unwrap()
}

/// Changes the database behind the daemon's back.
async fn meddle(stage: &Stage, sql: &str) {
    assert_eq!(stage.raw.execute(sql).await.unwrap(), 1, "{sql}");
}

async fn lose_slot(stage: &Stage, start: DateTime<Utc>) {
    meddle(stage, &format!("DELETE FROM busy_slot WHERE start_at = {}", start.timestamp_micros())).await;
}

async fn add_slot(stage: &Stage, start: DateTime<Utc>, end: DateTime<Utc>, event: &str) {
    let (start, end) = (start.timestamp_micros(), end.timestamp_micros());
    let sql = format!(
        "INSERT INTO busy_slot (business_id, calendar_id, generation, start_at, end_at, event_id, series_id)
         SELECT business_id, id, generation, {start}, {end}, '{event}', '{event}' FROM calendar"
    );
    meddle(stage, &sql).await;
}

fn daily(summary: &str, start: DateTime<Utc>, minutes: i64, count: u32) -> Value {
    let mut series = event(summary, start, minutes);
    series["recurrence"] = json!([format!("RRULE:FREQ=DAILY;COUNT={count}")]);
    series
}

fn all_day(day: u64) -> Value {
    let date = |day| at(day, 12, 0).date_naive();
    json!({ "summary": "Fair", "start": { "date": date(day) }, "end": { "date": date(day + 2) } })
}

on_both_engines! {
    async fn an_untouched_mirror_is_equal_whatever_it_holds(db: Db) {
        let events = vec![
            event("Visit", at(2, 8, 0), 60),
            event("Visit at the same time", at(2, 8, 30), 60),
            daily("Lunch", at(1, 13, 0), 45, 30),
            all_day(4),
        ];
        let stage = Stage::with(db, events, |config| config.sync.page_size = 3).await;
        let series = id(stage.google.events().await.iter().find(|event| event["summary"] == "Lunch").unwrap());
        let days = stage.google.instances(&series).await;
        stage.google.delete(&id(&days[3])).await;
        stage.google.patch(&id(&days[4]), &times(at(5, 17, 0), 30)).await;
        let free = stage.google.insert(&event("Free", at(6, 9, 0), 60)).await;
        stage.google.patch(&id(&free), &json!({ "transparency": "transparent" })).await;
        let other = stage.google.insert(&daily("Gone", at(7, 7, 0), 30, 9)).await;
        let gone = stage.google.instances(&id(&other)).await;
        stage.google.patch(&id(&gone[2]), &times(at(9, 19, 0), 30)).await;
        // A change of the rules takes the exceptions along, without a word.
        stage.google.patch(&id(&other), &times(at(7, 6, 0), 30)).await;

        let kept = stage.book_and_write(at(2, 10, 0)).await;
        let moved = stage.book_and_write(at(2, 11, 0)).await;
        stage.google.patch(moved["event_id"].as_str().unwrap(), &times(at(2, 15, 0), 30)).await;
        stage.booking_becomes(&id(&moved), "it moves", |booking| booking["start"] == crate::stage::text(at(2, 15, 0))).await;
        let recurs = stage.book_and_write(at(2, 12, 0)).await;
        stage.google.patch(recurs["event_id"].as_str().unwrap(), &json!({ "recurrence": ["RRULE:FREQ=DAILY;COUNT=3"] })).await;
        stage.expect_free(at(3, 12, 0), 30, false).await;
        let ended = stage.book_and_write(at(2, 16, 0)).await;
        stage.api.post(&stage.at(&format!("/bookings/{}/cancel", id(&ended))), &json!({})).await.ok();
        let deleted = stage.book_and_write(at(2, 17, 0)).await;
        stage.google.delete(deleted["event_id"].as_str().unwrap()).await;
        stage.booking_becomes(&id(&deleted), "it goes", |booking| booking["status"] == "cancelled").await;
        let restored = stage.book_and_write(at(2, 18, 0)).await;
        stage.google.delete(restored["event_id"].as_str().unwrap()).await;
        stage.booking_becomes(&id(&restored), "it goes", |booking| booking["status"] == "cancelled").await;
        stage.google.patch(restored["event_id"].as_str().unwrap(), &json!({ "status": "confirmed" })).await;
        stage.expect_free(at(2, 18, 0), 30, false).await;
        stage.idle().await;

        let lists = stage.google.lists();
        let found = audit(&stage).await;
        assert!(is_equal(&found), "{found}");
        let listed = stage.google.events().await.len();
        assert_eq!(found["events_compared"], listed);
        // One look was enough, so nothing looked like drift for a moment.
        assert_eq!(stage.google.lists() - lists, listed.div_ceil(3));
        assert_eq!(found["last_drift"], Value::Null);
        assert_eq!(stage.booking(&id(&kept)).await["status"], "confirmed");
        assert!(metrics(&stage).await.contains("slotd_audit_runs_total{outcome=\"equal\"} 1\n"));
    }

    async fn what_the_owner_changes_meanwhile_is_no_drift(db: Db) {
        let stage = Stage::with(db, Vec::new(), |config| config.sync.page_size = 4).await;
        let seed: u64 = rand::random();
        eprintln!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let mut known = Vec::new();
        for _ in 0..20 {
            edit_once(&stage, &mut random, &mut known).await;
        }
        // No push comes: the mirror is always behind.
        stage.google.faults().add(Fault { times: None, ..Fault::once("push", Effect::Drop) });
        stage.google.strike_after(0, None, LIST, Effect::Delay { ms: 120 });
        for _ in 0..3 {
            let edits = async {
                for _ in 0..25 {
                    edit_once(&stage, &mut random, &mut known).await;
                    let pause = Duration::from_millis(random.random_range(0..300));
                    tokio::time::sleep(pause).await;
                }
            };
            let (found, ()) = tokio::join!(audit(&stage), edits);
            assert!(is_equal(&found), "{found}");
        }
        stage.google.faults().clear();
    }

    async fn rows_that_went_wrong_are_found_to_the_second_healed_and_kept_in_history(db: Db) {
        let events = vec![
            event("Lost slot", at(2, 8, 0), 60),
            event("Lost event", at(3, 8, 0), 45),
            event("Changed", at(4, 8, 0), 30),
            event("Half covered", at(5, 8, 0), 60),
            event("Covers", at(5, 8, 20), 120),
            daily("Lunch", at(6, 13, 0), 40, 9),
        ];
        let stage = Stage::with(db, events, |_| {}).await;
        let changed = id(stage.google.events().await.iter().find(|event| event["summary"] == "Changed").unwrap());
        let lost = id(stage.google.events().await.iter().find(|event| event["summary"] == "Lost event").unwrap());
        // Missing: an hour, twenty minutes that nothing else covers, one of nine lunches, and an event with its slot.
        for start in [at(2, 8, 0), at(5, 8, 0), at(8, 13, 0), at(3, 8, 0)] {
            lose_slot(&stage, start).await;
        }
        meddle(&stage, &format!("DELETE FROM event WHERE event_id = '{lost}'")).await;
        // An event that is not as Google has it, though it is as busy.
        let facts = "facts = replace(facts, '\"declined\":false', '\"declined\":true')";
        meddle(&stage, &format!("UPDATE event SET {facts} WHERE event_id = '{changed}'")).await;
        // Surplus: half an hour and 17 seconds of nobody's, and an hour of two across the end of what is covered.
        add_slot(&stage, at(9, 10, 0), at(9, 10, 30) + TimeDelta::seconds(17), "nobody").await;
        let coverage: Vec<(i64,)> = stage.raw.rows(Sql::same("SELECT covered_to FROM calendar")).await;
        let end = DateTime::from_timestamp_micros(coverage[0].0).unwrap();
        add_slot(&stage, end - TimeDelta::hours(1), end + TimeDelta::hours(1), "across").await;
        add_slot(&stage, end + TimeDelta::hours(2), end + TimeDelta::hours(3), "beyond").await;

        // The two looks and the pass between them are not late, the full pass that heals is.
        stage.google.strike_after(3, Some(1), LIST, Effect::Delay { ms: 2_500 });
        ask(&stage).await;
        eventually("the old rows are served as stale", async || {
            (stage.availability(at(2, 8, 0), 60).await["freshness"] == "stale").then_some(())
        })
        .await;
        let found = last(&stage).await;
        assert_eq!(found["outcome"], "drift", "{found}");
        assert_eq!(stage.availability(at(5, 9, 0), 30).await["available"], false);

        let found = healed(&stage).await;
        let drift = &found["last_drift"];
        let (missing, surplus) = (3_600 + 1_200 + 2_400 + 2_700, 1_817 + 3_600);
        assert_eq!(drift["drift_s"], json!({ "missing": missing, "surplus": surplus }), "{found}");
        assert_eq!((&drift["events_differing"], &drift["events_compared"]), (&json!(2), &json!(6)), "{found}");
        stage.same_as_google(at(0, 0, 0), at(60, 0, 0)).await;
        assert_eq!(stage.availability(at(2, 8, 0), 60).await["freshness"], "fresh");

        let page = metrics(&stage).await;
        for line in [
            format!("slotd_audit_drift_seconds_total{{kind=\"missing\"}} {missing}\n"),
            format!("slotd_audit_drift_seconds_total{{kind=\"surplus\"}} {surplus}\n"),
            "slotd_audit_runs_total{outcome=\"drift\"} 1\n".to_owned(),
            "slotd_audit_runs_total{outcome=\"equal\"} 1\n".to_owned(),
        ] {
            assert!(page.contains(&line), "{line} in {page}");
        }
        let history: Vec<(String, i64)> = stage
            .raw
            .rows(Sql::same("SELECT outcome, missing_us FROM audit ORDER BY started_at"))
            .await;
        assert_eq!(history, [("drift".to_owned(), missing * 1_000_000), ("equal".to_owned(), 0)]);
        let log = stage.node().log.text();
        let told: Vec<&str> = log.lines().filter(|line| line.contains("not what Google shows")).collect();
        assert!(told.len() == 1 && told[0].contains(" WARN "), "{told:?}");
        assert!(!told[0].contains(&lost) && !told[0].contains("Lost"), "{told:?}");
    }

    async fn drift_that_comes_back_waits_before_it_is_healed_again(db: Db) {
        let stage = Stage::with(db, vec![event("Visit", at(2, 8, 0), 60)], |_| {}).await;
        lose_slot(&stage, at(2, 8, 0)).await;
        audit(&stage).await;
        healed(&stage).await;
        lose_slot(&stage, at(2, 8, 0)).await;
        let found = audit(&stage).await;
        assert_eq!((&found["outcome"], &found["drift_s"]["missing"]), (&json!("drift"), &json!(3_600)));
        let token = "SELECT COUNT(*) FROM calendar WHERE sync_token IS NOT NULL";
        assert_eq!(stage.raw.count(token).await, 1, "no full pass is asked for");
        let again: Vec<(i64, i64)> =
            stage.raw.rows(Sql::same("SELECT due_at, heal_after FROM audit_plan WHERE drifts = 2")).await;
        let wait = DateTime::from_timestamp_micros(again[0].1).unwrap() - SystemClock.now();
        assert!(again[0].0 == again[0].1 && wait > TimeDelta::minutes(30) && wait <= TimeDelta::hours(1), "{wait}");
        eventually("the alarm is on", async || {
            metrics(&stage).await.contains("slotd_audit_drifting_calendars 1\n").then_some(())
        })
        .await;
        assert!(stage.node().log.text().contains("again not what Google shows"));
        // The hour has passed.
        meddle(&stage, "UPDATE audit_plan SET due_at = 0, heal_after = 0").await;
        eventually("it is healed after all", async || {
            (stage.raw.count("SELECT COUNT(*) FROM audit WHERE outcome = 'drift' AND healed_at IS NULL").await == 0)
                .then_some(())
        })
        .await;
        assert_eq!(stage.availability(at(2, 8, 0), 60).await["available"], false);
    }

    async fn an_audit_that_google_does_not_let_end_has_failed_and_heals_nothing(db: Db) {
        let events = (1..12).map(|day| event("Visit", at(day, 9, 0), 60)).collect();
        let stage = Stage::with(db, events, |config| config.sync.page_size = 5).await;
        lose_slot(&stage, at(3, 9, 0)).await;
        let generation = stage.raw.count("SELECT generation FROM calendar").await;
        let broken = stage.google.strike_after(1, Some(1), LIST, Effect::Empty { status: 503 });
        let found = audit(&stage).await;
        assert_eq!((&found["outcome"], &found["why"]), (&json!("failed"), &json!("Google is unavailable")), "{found}");
        assert!(stage.google.has_struck(broken));
        assert_eq!(stage.raw.count("SELECT generation FROM calendar WHERE sync_token IS NOT NULL").await, generation);
        assert_eq!(stage.availability(at(3, 9, 0), 60).await["available"], true, "nobody knows yet");
        assert_eq!(stage.status().await["calendars"][0]["state"], "mirrored");
        assert!(metrics(&stage).await.contains("slotd_audit_runs_total{outcome=\"failed\"} 1\n"));
        let found = audit(&stage).await;
        assert_eq!((&found["outcome"], &found["drift_s"]["missing"]), (&json!("drift"), &json!(3_600)), "{found}");
        healed(&stage).await;
    }

    async fn an_audit_waits_when_google_asks_to_slow_down(db: Db) {
        let events = (1..12).map(|day| event("Visit", at(day, 9, 0), 60)).collect();
        let stage = Stage::with(db, events, |config| config.sync.page_size = 5).await;
        let effect = Effect::Refuse {
            status: 429,
            reason: "rateLimitExceeded".to_owned(),
            domain: Some("usageLimits".to_owned()),
            message: None,
            retry_after_s: Some(3),
        };
        let fault = stage.google.strike_after(1, Some(1), LIST, effect);
        let began = Instant::now();
        let found = audit(&stage).await;
        assert!(is_equal(&found) && found["events_compared"] == 11, "{found}");
        assert!(stage.google.has_struck(fault) && began.elapsed() >= Duration::from_secs(3));
    }

    async fn a_push_is_as_quick_as_ever_while_an_audit_runs(db: Db) {
        let events = (1..30).map(|day| event("Visit", at(day, 9, 0), 60)).collect();
        let stage = Stage::with(db, events, |config| config.sync.page_size = 10).await;
        let late = stage.google.strike(LIST, Effect::Delay { ms: 8_000 });
        ask(&stage).await;
        eventually("the audit has begun", async || stage.google.has_struck(late).then_some(())).await;
        let began = Instant::now();
        stage.google.insert(&event("New", at(2, 15, 0), 60)).await;
        stage.expect_free(at(2, 15, 0), 60, false).await;
        let took = began.elapsed();
        assert_eq!(last(&stage).await, Value::Null, "the audit still waits for its first page");
        assert!(took < Duration::from_secs(6), "{took:?}");
        let found = eventually("the audit ends", async || Some(last(&stage).await).filter(Value::is_object)).await;
        assert!(is_equal(&found), "{found}");
    }

    async fn audits_are_for_owners_and_of_their_own_business(db: Db) {
        let stage = Stage::open(db).await;
        let stranger = "/settings/01890000-0000-7000-8000-000000000000/calendar/audit";
        assert_eq!(stage.api.post(stranger, &json!({})).await.problem().0, 404);
        let new = slotd::auth::NewKey {
            business: None,
            scope: slotd::store::api_keys::Scope::Receptionist,
            label: "phone".to_owned(),
            expires_at: None,
        };
        let (_, key) = stage.node().daemon.keys.create(new).await.unwrap();
        let path = format!("/settings/{}/calendar/audit", stage.business);
        assert_eq!(stage.api.with_bearer(key.reveal()).post(&path, &json!({})).await.problem().0, 403);
        assert_eq!(stage.raw.count("SELECT COUNT(*) FROM audit_plan").await, 0);
    }
}
