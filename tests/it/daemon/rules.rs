//! Daily caps, dates that are not like the week, and who gets it when nobody is named.

use chrono::{DateTime, TimeDelta, Utc};
use hyper::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    harness::{Db, on_both_engines},
    stage::{Stage, ZONE, at, id, text, url_time},
};

fn date(at: DateTime<Utc>) -> String {
    at.with_timezone(&ZONE).date_naive().to_string()
}

fn wanted(start: DateTime<Utc>, service: &str, resource: Option<&str>) -> Value {
    json!({
        "start": text(start), "service": service, "resource": resource,
        "customer": { "name": "Ada Lovelace", "phone": "0151 12345678" },
    })
}

async fn service(stage: &Stage, name: &str, more: Value) -> String {
    let mut body = json!({ "name": name, "duration_min": 30, "slot_step_min": 30 });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    id(&stage.api.post(&stage.at("/services"), &body).await.ok())
}

async fn ben(stage: &Stage) -> String {
    id(&stage.api.post(&stage.at("/resources"), &json!({ "name": "Ben" })).await.ok())
}

async fn asked(stage: &Stage, start: DateTime<Utc>, service: &str) -> Value {
    let path = stage.at(&format!("/availability?start={}&service={service}", url_time(start)));
    stage.api.get(&path).await.ok()
}

async fn slots(stage: &Stage, from: DateTime<Utc>, to: DateTime<Utc>, service: &str) -> Vec<Value> {
    let query = format!("/slots?from={}&to={}&service={service}&limit=500", url_time(from), url_time(to));
    stage.api.get(&stage.at(&query)).await.ok()["slots"].as_array().unwrap().clone()
}

on_both_engines! {
    async fn two_bookings_with_different_resources_do_not_both_take_the_last_of_a_day(db: Db) {
        let stage = Stage::open(db).await;
        ben(&stage).await;
        service(&stage, "Massage", json!({ "daily_cap": 2 })).await;
        let mut callers = JoinSet::new();
        for (caller, resource) in ["Mia", "Ben"].into_iter().cycle().take(12).enumerate() {
            let (api, path) = (stage.api.clone(), stage.at("/bookings"));
            let start = at(5, 8, 0) + TimeDelta::hours(i64::try_from(caller).unwrap());
            callers.spawn(async move { api.post(&path, &wanted(start, "Massage", Some(resource))).await });
        }
        let answers = callers.join_all().await;
        let (booked, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
        assert_eq!((booked.len(), refused.len()), (2, 10));
        for answer in refused {
            assert_eq!((answer.status, &answer.json()["reason"]), (409, &json!("cap")), "{}", answer.json());
            let alternatives = answer.json()["alternatives"].as_array().unwrap().clone();
            assert!(!alternatives.is_empty());
            let day = date(at(5, 8, 0));
            assert!(alternatives.iter().all(|slot| !slot["start"].as_str().unwrap().starts_with(&day)), "{}", answer.json());
        }
        let full = asked(&stage, at(5, 21, 0), "Massage").await;
        assert_eq!((&full["available"], &full["reason"]), (&json!(false), &json!("cap")));
        assert!(slots(&stage, at(5, 0, 0), at(6, 0, 0), "Massage").await.is_empty());
        assert!(!slots(&stage, at(6, 0, 0), at(7, 0, 0), "Massage").await.is_empty());
        assert_eq!(asked(&stage, at(5, 21, 0), "Haircut").await["available"], true, "another service has no cap");
        let hold = json!({ "start": text(at(5, 21, 0)), "service": "Massage", "call_id": "c" });
        assert_eq!(stage.api.post(&stage.at("/holds"), &hold).await.json()["reason"], "cap");

        let cancel = stage.at(&format!("/bookings/{}/cancel", id(&booked[0].json())));
        stage.api.post(&cancel, &json!({})).await.ok();
        assert_eq!(asked(&stage, at(5, 21, 0), "Massage").await["available"], true);
        // A hold counts while it lives; the call's own does not stand in its way.
        stage.api.post(&stage.at("/holds"), &hold).await.ok();
        assert_eq!(asked(&stage, at(5, 22, 0), "Massage").await["reason"], "cap");
        let mut other = wanted(at(5, 22, 0), "Massage", None);
        other["call_id"] = json!("c");
        stage.api.post(&stage.at("/bookings"), &other).await.ok();
        let live = "SELECT COUNT(*) FROM claim WHERE active = 1";
        assert_eq!(stage.raw.count(live).await, 2, "what it held was given up for it");
        let path = stage.at(&format!("/bookings/{}", id(&booked[1].json())));
        stage.api.patch(&path, &json!({ "start": text(at(6, 9, 0)) })).await.ok();
        assert_eq!(asked(&stage, at(5, 20, 0), "Massage").await["available"], true, "it counts where it went");
    }

    async fn an_override_closes_a_date_and_the_resources_own_word_counts_more(db: Db) {
        let stage = Stage::open(db).await;
        let (first, noon) = (at(8, 0, 0), at(8, 12, 0));
        let closed = json!({ "from": date(first), "to": date(at(9, 0, 0)), "hours": [], "label": "Christmas" });
        let made = stage.api.post(&stage.at("/overrides"), &closed).await;
        assert_eq!(made.status, 201, "{}", made.json());
        assert_eq!(asked(&stage, noon, "Haircut").await["reason"], "closed");
        assert!(slots(&stage, first, at(10, 0, 0), "Haircut").await.is_empty());
        assert_eq!(stage.try_book(noon).await.json()["reason"], "closed");
        let why = stage.at(&format!("/availability/explain?at={}", url_time(noon)));
        let told = stage.api.get(&why).await.ok()["resources"][0].clone();
        assert_eq!(told["verdict"], "closed");
        let cause = &told["causes"][0];
        assert_eq!((&cause["type"], &cause["of"], &cause["label"]), (&json!("override"), &json!("business"), &json!("Christmas")));
        assert_eq!((&cause["opens_next"], &cause["blocks"]), (&json!(text(at(10, 0, 0))), &json!(true)));

        let again = stage.api.post(&stage.at("/overrides"), &closed).await;
        assert_eq!((again.status, &again.json()["reason"]), (409, &json!("override")));
        let own = json!({ "from": date(first), "resource": "Mia", "hours": [["12:00", "13:00"]] });
        let own = id(&stage.api.post(&stage.at("/overrides"), &own).await.ok());
        let given: Vec<Value> = slots(&stage, first, at(10, 0, 0), "Haircut").await.iter().map(|slot| slot["start"].clone()).collect();
        assert_eq!(given, [text(noon), text(at(8, 12, 30))]);
        stage.book(noon).await;
        let listed = stage.api.get(&stage.at("/overrides")).await.ok()["overrides"].as_array().unwrap().len();
        assert_eq!(listed, 2);

        let later = json!({ "from": date(first), "resource": "Mia", "hours": [["20:00", "24:00"]] });
        let put = stage.api.json(Method::PUT, &stage.at(&format!("/overrides/{own}")), &[], &later).await;
        assert_eq!(put.ok()["hours"], later["hours"]);
        assert_eq!(asked(&stage, at(8, 12, 30), "Haircut").await["reason"], "closed");
        for id in [own, id(&made.json())] {
            assert_eq!(stage.api.delete(&stage.at(&format!("/overrides/{id}"))).await.status, 204);
        }
        assert_eq!(asked(&stage, at(8, 12, 30), "Haircut").await["available"], true);
    }

    async fn each_wrong_field_of_a_rule_is_pointed_to_and_nothing_is_stored(db: Db) {
        let stage = Stage::open(db).await;
        let rows = "SELECT (SELECT COUNT(*) FROM hours_override) + (SELECT COUNT(*) FROM service)";
        let before = stage.raw.count(rows).await;
        for (path, body, field) in [
            ("/overrides", json!({ "hours": [] }), "/from"),
            ("/overrides", json!({ "from": "2026-02-30", "hours": [] }), "/from"),
            ("/overrides", json!({ "from": "24.12.2026", "hours": [] }), "/from"),
            ("/overrides", json!({ "from": "2026-12-24T00:00:00Z", "hours": [] }), "/from"),
            ("/overrides", json!({ "from": "1026-12-24", "hours": [] }), "/from"),
            ("/overrides", json!({ "from": "2026-12-24", "to": "2026-12-23", "hours": [] }), "/to"),
            ("/overrides", json!({ "from": "2026-12-24", "to": "2027-12-25", "hours": [] }), "/to"),
            ("/overrides", json!({ "from": "2026-12-24" }), "/hours"),
            ("/overrides", json!({ "from": "2026-12-24", "hours": [["22:00", "02:00"]] }), "/hours"),
            ("/overrides", json!({ "from": "2026-12-24", "hours": [["9", "12:00"]] }), "/hours"),
            ("/overrides", json!({ "from": "2026-12-24", "hours": [], "label": "x".repeat(101) }), "/label"),
            ("/overrides", json!({ "from": "2026-12-24", "hours": [], "resource": "Nobody" }), "/resource"),
            ("/overrides", json!({ "from": "2026-12-24", "hours": [], "closed": true }), "/closed"),
            ("/services", json!({ "name": "Cut", "duration_min": 30, "daily_cap": 0 }), "/daily_cap"),
            ("/services", json!({ "name": "Cut", "duration_min": 30, "daily_cap": 10_001 }), "/daily_cap"),
            ("/services", json!({ "name": "Cut", "duration_min": 30, "daily_cap": "two" }), "/daily_cap"),
        ] {
            let answer = stage.api.post(&stage.at(path), &body).await;
            assert_eq!(answer.problem(), (400, "invalid".to_owned(), field.to_owned()), "{body}: {}", answer.json());
        }
        assert_eq!(stage.raw.count(rows).await, before);
    }

    async fn whoever_has_least_to_do_in_the_week_gets_it_as_it_was_offered(db: Db) {
        let stage = Stage::open(db).await;
        let ben = ben(&stage).await;
        let mut mine = std::collections::HashMap::new();
        for hour in 8..16 {
            let start = at(7, hour, 0);
            let first = asked(&stage, start, "Haircut").await["resources"][0].clone();
            let offered = slots(&stage, start, start + TimeDelta::minutes(1), "Haircut").await[0]["resource"].clone();
            let booked = stage.api.post(&stage.at("/bookings"), &wanted(start, "Haircut", None)).await.ok();
            assert_eq!((&booked["resource"], &booked["resource"]), (&first, &offered));
            *mine.entry(booked["resource"].as_str().unwrap().to_owned()).or_insert(0) += 1;
        }
        assert_eq!((mine[&stage.resource], mine[&ben]), (4, 4), "{mine:?}");
    }

    async fn every_slot_that_is_offered_can_be_booked_and_what_is_not_has_a_reason(db: Db) {
        let stage = Stage::open(db).await;
        ben(&stage).await;
        let rules = json!({ "duration_min": 40, "buffer_before_min": 10, "buffer_after_min": 5, "minimum_notice_min": 90, "daily_cap": 5 });
        service(&stage, "Check", rules).await;
        let own = json!({ "from": date(at(4, 0, 0)), "resource": "Ben", "hours": [["09:10", "12:00"], ["22:00", "24:00"]] });
        stage.api.post(&stage.at("/overrides"), &own).await.ok();
        let closed = json!({ "from": date(at(3, 0, 0)), "to": date(at(4, 0, 0)), "hours": [] });
        stage.api.post(&stage.at("/overrides"), &closed).await.ok();
        stage.api.post(&stage.at("/bookings"), &wanted(at(4, 10, 0), "Haircut", Some("Ben"))).await.ok();
        let mut booked = 0;
        loop {
            let offered = slots(&stage, at(3, 0, 0), at(5, 0, 0), "Check").await;
            // Always another one of them, so that they lie here and there.
            let Some(slot) = offered.get(booked * 7 % offered.len().max(1)) else { break };
            let start: DateTime<Utc> = slot["start"].as_str().unwrap().parse().unwrap();
            let body = wanted(start, "Check", slot["resource"].as_str());
            stage.api.post(&stage.at("/bookings"), &body).await.ok();
            booked += 1;
            // A moment later it is taken, by what was just booked or by the cap.
            let refused = stage.api.post(&stage.at("/bookings"), &body).await;
            assert_eq!(refused.status, 409, "{}", refused.json());
            assert_eq!(refused.json()["reason"], if booked == 5 { "cap" } else { "busy" });
        }
        assert!(booked > 1 && booked <= 5, "{booked}");
    }
}
