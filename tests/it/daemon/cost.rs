//! What a change costs: work in proportion to the change, whatever the size of the calendar.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::{
    harness::{Db, on_both_engines},
    stage::{Stage, ZONE, at, event, text, times},
};

/// Rows written for one change.
type Written = BTreeMap<String, i64>;

/// A calendar of so many single events, spread over the coming months, and one long series.
fn calendar(singles: u64) -> Vec<Value> {
    let mut events: Vec<Value> = (0..singles)
        .map(|place| {
            let start = at(1 + place % 300, 8, 0) + TimeDelta::minutes(i64::try_from(place / 300).unwrap() * 20);
            let mut one = event("Visit", start, 15);
            one["id"] = json!(format!("visit{place:06}"));
            one
        })
        .collect();
    let mut series = event("Break", at(1, 20, 0), 30);
    series["id"] = json!("break00");
    series["recurrence"] = json!(["RRULE:FREQ=DAILY;COUNT=300"]);
    events.push(series);
    events
}

/// What one changed single event writes, and then one moved instance of the series.
async fn changes(db: Db, singles: u64) -> (Written, Written) {
    let stage = Stage::with(db, calendar(singles), |_| {}).await;
    let instance = stage.google.instances("break00").await[40].clone();
    stage.raw.meter().await;
    stage.google.patch("visit000007", &times(at(2, 22, 0), 30)).await;
    stage.expect_free(at(2, 22, 0), 30, false).await;
    stage.idle().await;
    let single = stage.raw.written().await;

    stage.google.patch(instance["id"].as_str().unwrap(), &times(at(41, 23, 0), 30)).await;
    stage.expect_free(at(41, 23, 0), 30, false).await;
    stage.expect_free(at(41, 20, 0), 30, true).await;
    stage.idle().await;
    (single, stage.raw.written().await)
}

/// Without the calendar's own row, whose turn it was, how many calls were made, and what other nodes are told: one row
/// each.
fn rows(written: &Written) -> Vec<(&str, i64)> {
    const AS_TIME_GOES_BY: [&str; 4] = ["calendar ", "account ", "google_usage ", "change "];
    let others = written.iter().filter(|(what, _)| !AS_TIME_GOES_BY.iter().any(|table| what.starts_with(table)));
    others.map(|(what, count)| (what.as_str(), *count)).collect()
}

fn expect_few(of_single: &Written, of_instance: &Written) {
    let replaced = |event: &'static str| vec![("busy_slot delete", 1), ("busy_slot insert", 1), (event, 1)];
    assert_eq!(rows(of_single), replaced("event update"));
    assert_eq!(rows(of_instance), replaced("event insert"), "of 300 instances one was moved");
    for written in [of_single, of_instance] {
        // The push, the claim, the lease that is kept, the end; and once more where a second push came.
        assert!((1..=12).contains(&written["calendar update"]), "{written:?}");
        // Other nodes, where there are any, are told once.
        assert!(written.get("change insert").is_none_or(|told| *told == 1), "{written:?}");
        // Its turn, once for each pass.
        assert!(written.get("account update").is_none_or(|turns| *turns <= 6), "{written:?}");
    }
}

on_both_engines! {
    async fn a_change_in_a_small_calendar_writes_its_own_rows_and_no_others(db: Db) {
        let (single, instance) = changes(db, 200).await;
        expect_few(&single, &instance);
    }

    async fn a_change_in_a_large_calendar_writes_no_more_than_in_a_small_one(db: Db) {
        let (single, instance) = changes(db, 5_000).await;
        expect_few(&single, &instance);
    }

    async fn a_series_that_cannot_be_mirrored_in_full_flags_its_calendar_until_it_is_gone(db: Db) {
        let stage = Stage::open(db).await;
        let flag = async |stage: &Stage| stage.status().await["calendars"][0]["limited_series"].clone();
        assert_eq!(flag(&stage).await, Value::Null);
        let zone = ZONE.name();
        let second = json!({
            "id": "eve0second", "summary": "Spam", "recurrence": ["RRULE:FREQ=SECONDLY;INTERVAL=2"],
            "start": { "dateTime": text(at(3, 9, 0)), "timeZone": zone },
            "end": { "dateTime": text(at(3, 9, 0) + TimeDelta::seconds(1)), "timeZone": zone },
        });
        stage.google.insert(&second).await;
        crate::stage::eventually("the calendar is flagged", async || {
            (flag(&stage).await == json!({ "count": 1, "events": [{ "event_id": "eve0second", "why": "truncated" }] }))
                .then_some(())
        })
        .await;
        let advice = stage.status().await["what_to_do"].as_str().unwrap().to_owned();
        assert!(advice.contains("limited_series"), "{advice}");
        assert_eq!(stage.availability(at(200, 9, 0), 30).await["available"], false, "beyond the cut nothing is free");
        assert_eq!(stage.availability(at(1, 9, 0), 30).await["available"], true, "before the series everything is");
        stage.google.insert(&event("Visit", at(1, 12, 0), 30)).await;
        stage.expect_free(at(1, 12, 0), 30, false).await;
        stage.idle().await;
        let told = stage.node().log.text().matches("cannot be mirrored in full").count();
        assert_eq!(told, 1, "once, and not with each pass");
        stage.google.delete("eve0second").await;
        stage.expect_free(at(200, 9, 0), 30, true).await;
        assert_eq!(flag(&stage).await, Value::Null);
    }
}
