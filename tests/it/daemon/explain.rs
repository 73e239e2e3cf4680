//! Why a moment is busy or free, as the owner is told, and that it is what availability says.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use slotd::{
    auth::NewKey,
    domain::{Chance, Clock, clock::SystemChance, clock::SystemClock},
    store::api_keys::Scope,
};
use slotd_sandbox::Effect;

use crate::{
    harness::{Db, on_both_engines},
    stage::{Client, OWNER, Stage, at, event, id, text, times, url_time, wish},
};

const LIST: &str = "calendar.events.list";

async fn explain(stage: &Stage, at: DateTime<Utc>, more: &str) -> Value {
    let path = stage.at(&format!("/availability/explain?at={}{more}", url_time(at)));
    let answer = stage.api.get(&path).await.ok();
    assert!(answer["as_of"].is_string() || answer["freshness"] == "unknown", "{answer}");
    answer["resources"][0].clone()
}

/// The causes of one type.
fn causes(explained: &Value, kind: &str) -> Vec<Value> {
    explained["causes"].as_array().unwrap().iter().filter(|cause| cause["type"] == kind).cloned().collect()
}

/// The only cause of a type.
fn cause(explained: &Value, kind: &str) -> Value {
    let all = causes(explained, kind);
    assert_eq!(all.len(), 1, "{kind}: {explained:#}");
    all[0].clone()
}

async fn key(stage: &Stage, business: &str, scope: Scope) -> Client {
    let new = NewKey { business: Some(business.parse().unwrap()), scope, label: "test".to_owned(), expires_at: None };
    let (_, key) = stage.node().daemon.keys.create(new).await.unwrap();
    stage.api.with_bearer(key.reveal())
}

/// What availability says of the same instant, in the words of a verdict.
async fn said(stage: &Stage, at: DateTime<Utc>) -> &'static str {
    let end = at + TimeDelta::microseconds(1);
    let query = format!("start={}&end={}&resource=Mia", url_time(at), url_time(end));
    let answer = stage.api.get(&stage.at(&format!("/availability?{query}"))).await.ok();
    match (answer["available"].as_bool(), answer["reason"].as_str()) {
        (Some(true), None) => "free",
        (Some(false), Some("busy")) => "busy",
        (Some(false), Some("closed")) => "closed",
        (None, Some("stale" | "outside_coverage")) => "unknown",
        _ => panic!("{answer}"),
    }
}

/// Random numbers from a seed that a failure prints.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let (seed, _) = SystemChance.uuid(SystemClock.now()).as_u64_pair();
        let seed = seed ^ SystemChance.uuid(SystemClock.now()).as_u64_pair().1;
        eprintln!("seed {seed}");
        Self(seed | 1)
    }

    fn up_to(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn event(&mut self) -> Value {
        let start = at(1 + self.up_to(12), 0, 0) + TimeDelta::minutes(15 * i64::try_from(self.up_to(96)).unwrap());
        let mut event = event("Something", start, 15 * (1 + i64::try_from(self.up_to(12)).unwrap()));
        match self.up_to(8) {
            0 => event["transparency"] = json!("transparent"),
            1 => event["attendees"] = json!([{ "email": OWNER, "responseStatus": "declined" }]),
            2 => {
                let day = start.date_naive();
                event["start"] = json!({ "date": day.to_string() });
                event["end"] = json!({ "date": (day + TimeDelta::days(1)).to_string() });
            }
            _ => {}
        }
        if self.up_to(4) == 0 {
            event["recurrence"] = json!([format!("RRULE:FREQ=DAILY;INTERVAL={};COUNT=4", 1 + self.up_to(3))]);
        }
        event
    }
}

on_both_engines! {
    async fn each_event_that_covers_a_moment_is_told_and_whether_it_counts(db: Db) {
        let mut walk = event("Walk", at(2, 10, 0), 120);
        walk["transparency"] = json!("transparent");
        let mut lunch = event("Lunch", at(1, 13, 0), 45);
        lunch["recurrence"] = json!(["RRULE:FREQ=DAILY;COUNT=10"]);
        let mut idle = event("Radio", at(1, 16, 0), 60);
        (idle["recurrence"], idle["transparency"]) = (json!(["RRULE:FREQ=DAILY;COUNT=10"]), json!("transparent"));
        let dentist = event("Dentist", at(2, 10, 15), 45);
        let stage = Stage::with(db, vec![walk, lunch, idle, dentist], |_| {}).await;
        let meeting = id(&stage.google.insert(&event("Meeting", at(2, 10, 0), 30)).await);
        stage.expect_free(at(2, 10, 0), 10, false).await;
        let declined = json!({ "attendees": [{ "email": OWNER, "responseStatus": "declined" }] });
        stage.google.patch(&meeting, &declined).await;
        stage.expect_free(at(2, 10, 0), 10, true).await;

        let busy = explain(&stage, at(2, 10, 20), "").await;
        assert_eq!((&busy["verdict"], &busy["name"], &busy["truncated"]), (&json!("busy"), &json!("Mia"), &json!(false)));
        let told: Vec<(Value, Value, Value)> = causes(&busy, "event")
            .iter()
            .map(|one| (one["title"].clone(), one["blocks"].clone(), one["ignored"].clone()))
            .collect();
        assert_eq!(told.len(), 3, "{busy:#}");
        assert_eq!(told[0], (json!("Dentist"), json!(true), Value::Null));
        assert!(told.contains(&(json!("Walk"), json!(false), json!("transparent"))), "{told:?}");
        assert!(told.contains(&(json!("Meeting"), json!(false), json!("declined"))), "{told:?}");
        let dentist = &causes(&busy, "event")[0];
        assert_eq!((&dentist["start"], &dentist["end"]), (&json!(text(at(2, 10, 15))), &json!(text(at(2, 11, 0)))));
        assert_eq!((&dentist["occurs"], &dentist["series_id"]), (&json!("single"), &Value::Null));
        assert_eq!(cause(&busy, "hours")["day"].as_str().map(str::len), Some(3));
        // Neither its first instant before, nor its end.
        assert_eq!(explain(&stage, at(2, 11, 0), "").await["verdict"], "free");
        assert_eq!(cause(&explain(&stage, at(2, 11, 0), "").await, "event")["title"], "Walk");

        let lunch = cause(&explain(&stage, at(3, 13, 10), "").await, "event");
        assert_eq!((&lunch["occurs"], &lunch["blocks"]), (&json!("instance"), &json!(true)));
        assert_eq!(lunch["start"], text(at(3, 13, 0)));
        let radio = cause(&explain(&stage, at(4, 16, 30), "").await, "event");
        assert_eq!((&radio["title"], &radio["ignored"], &radio["start"]), (&json!("Radio"), &json!("transparent"), &json!(text(at(4, 16, 0)))));

        let days = stage.google.instances(lunch["series_id"].as_str().unwrap()).await;
        stage.google.delete(&id(&days[3])).await;
        stage.google.patch(&id(&days[4]), &times(at(5, 17, 0), 30)).await;
        stage.expect_free(at(4, 13, 0), 45, true).await;
        stage.expect_free(at(5, 17, 0), 30, false).await;
        let hole = explain(&stage, at(4, 13, 10), "").await;
        assert_eq!(hole["verdict"], "free");
        let hole = cause(&hole, "event");
        assert_eq!((&hole["ignored"], &hole["start"]), (&json!("cancelled"), &json!(text(at(4, 13, 0)))));
        assert_eq!((&hole["end"], &hole["blocks"]), (&json!(text(at(4, 13, 45))), &json!(false)));
        let moved = cause(&explain(&stage, at(5, 17, 10), "").await, "event");
        assert_eq!((&moved["occurs"], &moved["series_id"]), (&json!("exception"), &lunch["series_id"]));
        assert!(causes(&explain(&stage, at(5, 13, 10), "").await, "event").is_empty());
    }

    async fn bookings_hours_and_rules_are_told(db: Db) {
        let stage = Stage::open(db).await;
        let colour = json!({
            "name": "Colour", "duration_min": 60, "buffer_before_min": 10, "buffer_after_min": 15, "slot_step_min": 30,
            "minimum_notice_min": 1440, "horizon_days": 30,
        });
        stage.api.post(&stage.at("/services"), &colour).await.ok();
        let week = json!({ "mon": [["09:00", "18:00"]], "tue": [["09:00", "18:00"]], "wed": [["09:00", "18:00"]],
            "thu": [["09:00", "18:00"]], "fri": [["09:00", "18:00"]], "sat": [["09:00", "18:00"]], "sun": [["09:00", "18:00"]] });
        stage.api.patch(&stage.at(""), &json!({ "hours": week })).await.ok();
        let mut wanted = wish(at(3, 10, 0));
        wanted["service"] = json!("Colour");
        let booked = stage.api.post(&stage.at("/bookings"), &wanted).await.ok();
        stage.synced(&booked).await;
        crate::stage::eventually("the mirror has the event", async || {
            let explained = explain(&stage, at(3, 10, 30), "").await;
            (causes(&explained, "own_event").len() == 1).then_some(())
        })
        .await;

        let during = explain(&stage, at(3, 10, 30), "").await;
        assert_eq!(during["verdict"], "busy");
        let booking = cause(&during, "booking");
        assert_eq!((&booking["id"], &booking["status"], &booking["blocks"]), (&booked["id"], &json!("confirmed"), &json!(true)));
        assert_eq!((&booking["start"], &booking["end"]), (&booked["start"], &booked["end"]));
        assert_eq!((&booking["occupied_from"], &booking["occupied_to"]), (&json!(text(at(3, 9, 50))), &json!(text(at(3, 11, 15)))));
        let own = cause(&during, "own_event");
        assert_eq!((&own["event_id"], &own["booking"], &own["blocks"]), (&booked["event_id"], &booked["id"], &json!(false)));
        assert!(causes(&during, "event").is_empty(), "{during:#}");
        // In the buffer there is no event.
        let after = explain(&stage, at(3, 11, 10), "").await;
        assert_eq!((&after["verdict"], causes(&after, "own_event").len()), (&json!("busy"), 0));

        let night = explain(&stage, at(3, 20, 0), "").await;
        assert_eq!(night["verdict"], "closed");
        let hours = cause(&night, "hours");
        assert_eq!((&hours["of"], &hours["blocks"], &hours["opens_next"]), (&json!("business"), &json!(true), &json!(text(at(4, 9, 0)))));
        let day = cause(&during, "hours");
        assert_eq!((&day["opens"], &day["closes"], &day["blocks"]), (&json!("09:00"), &json!("18:00"), &json!(false)));

        for (start, available, reason, rule) in [
            (at(3, 12, 0), true, Value::Null, Value::Null),
            (at(3, 12, 10), true, Value::Null, json!("step")),
            (at(3, 11, 20), false, json!("buffer"), json!("buffer")),
            (at(3, 10, 30), false, json!("busy"), Value::Null),
            (at(3, 17, 30), false, json!("closed"), Value::Null),
            (at(40, 12, 0), false, json!("horizon"), json!("horizon")),
            (SystemClock.now() + TimeDelta::minutes(5), false, json!("notice"), json!("notice")),
            (SystemClock.now() - TimeDelta::days(2), false, json!("past"), json!("past")),
        ] {
            let explained = explain(&stage, start, "&service=Colour").await;
            let begins = &explained["start"];
            assert_eq!((&begins["available"], &begins["reason"]), (&json!(available), &reason), "{explained:#}");
            let rules: Vec<Value> = causes(&explained, "rule").iter().map(|one| one["rule"].clone()).collect();
            assert_eq!(rules, if rule.is_null() { Vec::new() } else { vec![rule] }, "{explained:#}");
            let query = format!("start={}&service=Colour&resource=Mia", url_time(start));
            let answer = stage.api.get(&stage.at(&format!("/availability?{query}"))).await.ok();
            assert_eq!((&answer["available"], &answer["reason"]), (&begins["available"], &begins["reason"]));
        }
        // The booking that the buffer meets is told, though it is not there at that moment.
        let near = explain(&stage, at(3, 11, 20), "&service=Colour").await;
        assert_eq!((&near["verdict"], &cause(&near, "booking")["id"]), (&json!("free"), &booked["id"]));

        stage.api.post(&stage.at(&format!("/bookings/{}/cancel", id(&booked))), &json!({})).await.ok();
        let cancelled = explain(&stage, at(3, 10, 30), "").await;
        assert_eq!((&cancelled["verdict"], causes(&cancelled, "booking").len()), (&json!("free"), 0));
    }

    async fn what_is_not_known_is_told_with_its_calendar(db: Db) {
        let stage = Stage::with(db, vec![event("Dentist", at(2, 10, 0), 60)], |_| {}).await;
        let calendar = stage.status().await["calendars"][0]["id"].clone();
        let far = explain(&stage, at(600, 10, 0), "").await;
        assert_eq!(far["verdict"], "unknown");
        let outside = cause(&far, "coverage");
        assert_eq!((&outside["why"], &outside["calendar"], &outside["blocks"]), (&json!("outside"), &calendar, &json!(true)));
        assert!(outside["covered_to"].is_string(), "{outside}");
        // Of the past, the mirror tells what it holds.
        assert_eq!(explain(&stage, at(0, 0, 0) - TimeDelta::days(3), "").await["verdict"], "free");

        let broken = stage.google.strike_after(0, None, LIST, Effect::Empty { status: 503 });
        stage.raw.execute("UPDATE calendar SET failures = 1, due_at = 4000000000000000").await.unwrap();
        for (policy, verdict) in [("verify", "busy"), ("refuse", "unknown")] {
            stage.api.patch(&stage.at(""), &json!({ "freshness": { "stale": policy } })).await.ok();
            let lists = stage.google.lists();
            let behind = explain(&stage, at(2, 10, 30), "").await;
            assert_eq!(stage.google.lists(), lists, "Google is not asked");
            assert_eq!(behind["verdict"], verdict);
            let why = cause(&behind, "stale");
            assert_eq!((&why["why"], &why["blocks"]), (&json!("failing"), &json!(verdict == "unknown")));
            assert!(why["as_of"].is_string() && cause(&behind, "event")["title"] == "Dentist", "{behind:#}");
        }
        stage.raw.execute("UPDATE calendar SET as_of = NULL").await.unwrap();
        let unread = explain(&stage, at(2, 12, 30), "").await;
        assert_eq!((&unread["verdict"], &cause(&unread, "coverage")["why"]), (&json!("unknown"), &json!("never_read")));
        assert!(stage.google.faults().remove(broken));
    }

    async fn only_owners_and_operators_are_told(db: Db) {
        let stage = Stage::with(db, vec![event("Secret", at(2, 10, 0), 60)], |_| {}).await;
        let other = id(&stage.api.post("/businesses", &json!({ "name": "Other", "time_zone": "UTC" })).await.ok());
        let path = stage.at(&format!("/availability/explain?at={}", url_time(at(2, 10, 30))));
        for scope in [Scope::Owner, Scope::Admin] {
            let told = key(&stage, &stage.business, scope).await.get(&path).await.ok();
            assert_eq!(cause(&told["resources"][0], "event")["title"], "Secret");
        }
        let receptionist = key(&stage, &stage.business, Scope::Receptionist).await.get(&path).await;
        assert_eq!(receptionist.problem(), (403, "forbidden".to_owned(), String::new()));
        let stranger = key(&stage, &other, Scope::Admin).await.get(&path).await;
        assert_eq!(stranger.problem(), (404, "not-found".to_owned(), String::new()));
        assert_eq!(stage.api.with_bearer("").get(&path).await.status, 401);
        for answer in [&receptionist, &stranger] {
            assert!(!String::from_utf8_lossy(&answer.bytes).contains("Secret"));
        }
        // A question that finds out the event itself tells no title to a receptionist.
        let asked = key(&stage, &stage.business, Scope::Receptionist).await;
        let busy = asked.get(&stage.at(&format!("/busy?from={}&to={}", url_time(at(2, 0, 0)), url_time(at(3, 0, 0))))).await;
        assert_eq!(busy.status, 200);
        assert!(!String::from_utf8_lossy(&busy.bytes).contains("Secret"));

        let ten = url_time(at(2, 10, 0));
        for (query, field) in [
            (String::new(), "at"),
            ("at=2027-01-11T10:00:00".to_owned(), "at"),
            ("at=noon".to_owned(), "at"),
            (format!("at={ten}&resource=Nobody"), "resource"),
            (format!("at={ten}&service=Massage"), "service"),
            (format!("at={ten}&resource=Mia&moment=now"), "moment"),
        ] {
            let answer = stage.api.get(&stage.at(&format!("/availability/explain?{query}"))).await;
            assert_eq!(answer.problem(), (400, "invalid".to_owned(), field.to_owned()), "{query}: {}", answer.json());
        }
    }

    async fn many_causes_are_cut_short_and_that_is_said(db: Db) {
        let events = (0..70).map(|_| event("One of many", at(2, 10, 0), 60)).collect();
        let stage = Stage::with(db, events, |_| {}).await;
        let explained = explain(&stage, at(2, 10, 30), "").await;
        assert_eq!((&explained["verdict"], &explained["truncated"]), (&json!("busy"), &json!(true)));
        assert_eq!(causes(&explained, "event").len(), 50);
    }

    async fn the_verdict_is_what_availability_says_at_any_instant(db: Db) {
        let mut dice = Dice::new();
        let events = (0..60).map(|_| dice.event()).collect();
        let stage = Stage::with(db, events, |config| config.sync.horizon_days = 12).await;
        let hours = json!({ "mon": [["07:00", "21:00"]], "tue": [["00:00", "24:00"]], "wed": [["00:00", "13:00"]],
            "thu": [["09:00", "12:00"], ["13:00", "20:00"]], "sat": [["00:00", "24:00"]], "sun": [["00:00", "24:00"]] });
        stage.api.patch(&stage.at(""), &json!({ "hours": hours, "freshness": { "stale": "answer", "unknown": "answer" } })).await.ok();
        for _ in 0..20 {
            let start = at(1 + dice.up_to(8), 0, 0) + TimeDelta::minutes(30 * i64::try_from(dice.up_to(48)).unwrap());
            stage.try_book(start).await;
        }
        let mut seen = std::collections::BTreeMap::<String, usize>::new();
        for round in 0..3 {
            match round {
                1 => drop(stage.raw.execute("UPDATE calendar SET failures = 1, due_at = 4000000000000000").await.unwrap()),
                2 => drop(stage.api.patch(&stage.at(""), &json!({ "freshness": { "stale": "refuse" } })).await.ok()),
                _ => {}
            }
            let broken = (round == 2).then(|| stage.google.strike_after(0, None, LIST, Effect::Empty { status: 503 }));
            for _ in 0..if round == 0 { 150 } else { 15 } {
                let edge = at(1, 0, 0) + TimeDelta::minutes(15 * i64::try_from(dice.up_to(15 * 96)).unwrap());
                let moment = edge + TimeDelta::microseconds([-1, 0, 1, 421_000_000][usize::try_from(dice.up_to(4)).unwrap()]);
                let explained = explain(&stage, moment, "&resource=Mia").await;
                let verdict = explained["verdict"].as_str().unwrap();
                assert_eq!(verdict, said(&stage, moment).await, "at {}: {explained:#}", text(moment));
                let blocks = |kinds: &[&str]| {
                    kinds.iter().flat_map(|kind| causes(&explained, kind)).any(|cause| cause["blocks"] == true)
                };
                let taken = blocks(&["event", "own_event", "booking", "hold"]);
                match verdict {
                    "free" => assert!(!taken && !blocks(&["hours", "coverage", "stale"]), "{explained:#}"),
                    "busy" => assert!(taken && !blocks(&["hours"]), "{explained:#}"),
                    "closed" => assert!(blocks(&["hours"]), "{explained:#}"),
                    _ => assert!(blocks(&["coverage", "stale"]) && !blocks(&["hours"]), "{explained:#}"),
                }
                *seen.entry(verdict.to_owned()).or_default() += 1;
            }
            broken.map(|fault| stage.google.faults().remove(fault));
        }
        assert_eq!(seen.len(), 4, "each verdict was met: {seen:?}");
    }
}
