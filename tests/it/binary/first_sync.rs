//! The power goes while the mirror is made.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};
use slotd_sandbox::{Effect, Fault};
use tokio::time::Instant;

use super::{
    client::Client,
    installation::{Daemon, Installation},
    salon::{Salon, Span, google_busy, span, text, tomorrow},
    wait_for,
};
use crate::harness::{Home, on_both_engines};

const SINGLES: i64 = 1_200;
const SERIES: i64 = 40;
const KILLS: usize = 4;

/// Single events, series and whole days over most of a year.
fn events() -> Vec<Value> {
    let first = tomorrow() - TimeDelta::days(20);
    let timed = |minute: i64, length: i64| {
        let start = first + TimeDelta::minutes(minute);
        let time = |at| json!({ "dateTime": text(at), "timeZone": "Europe/Berlin" });
        json!({ "summary": "busy", "start": time(start), "end": time(start + TimeDelta::minutes(length)) })
    };
    let singles = (0..SINGLES).map(|n| timed(n * 367, 20 + n % 60));
    let series = (0..SERIES).map(|n| {
        let mut event = timed(n * 1_511, 15 + n);
        event["recurrence"] = json!([format!("RRULE:FREQ=WEEKLY;INTERVAL={};COUNT=30", 1 + n % 3)]);
        event
    });
    let day = |n: i64| (first + TimeDelta::days(n * 23)).date_naive();
    let days = (0..10).map(|n| json!({ "start": { "date": day(n) }, "end": { "date": day(n).succ_opt().unwrap() } }));
    singles.chain(series).chain(days).collect()
}

/// Asks for times at which Google shows an event, until `end`: no answer may ever call one of them free, and none may
/// know anything before the first sync is done.
async fn watch(salon: &Salon, api: &Client, witnesses: &[Span], end: Instant) {
    for (start, stop) in witnesses.iter().cycle() {
        if Instant::now() >= end {
            return;
        }
        let path = format!("{}/availability?start={}&end={}", salon.path, text(*start), text(*stop));
        let answer = api.get(&path).await;
        if answer["as_of"].is_null() {
            assert_eq!(
                (&answer["available"], &answer["reason"]),
                (&Value::Null, &json!("outside_coverage")),
                "{answer}"
            );
        } else {
            assert_eq!(answer["available"], false, "{answer}");
        }
    }
}

/// Waits until the daemon has begun to read the list of events.
async fn first_page(installation: &Installation, seen: usize) {
    let lists = || async {
        let calls = installation.google.calls();
        (calls.iter().filter(|call| call.method == "calendar.events.list").count() > seen).then_some(())
    };
    wait_for("the list of events is read", lists).await;
}

async fn kill_while_it_syncs(installation: &Installation, salon: &Salon, daemon: Daemon, witnesses: &[Span]) -> bool {
    let seen = installation.google.calls().iter().filter(|call| call.method == "calendar.events.list").count();
    first_page(installation, seen).await;
    let end = Instant::now() + Duration::from_millis(rand::random_range(0..1_000));
    watch(salon, &daemon.api, witnesses, end).await;
    let unfinished = !salon.is_mirrored(&daemon.api).await;
    daemon.kill();
    unfinished
}

on_both_engines! {
    async fn a_first_sync_that_is_killed_again_and_again_ends_in_an_equal_mirror(home: Home) {
        let mut installation = Installation::new(home).await;
        installation.set("SLOTD_SYNC__PAGE_SIZE", "60");
        installation.set("SLOTD_SYNC__WRITE_ROWS_MAX", "50");
        let slow = Fault { times: None, ..Fault::once("calendar.events.list", Effect::Delay { ms: 50 }) };
        installation.google.faults().add(slow);
        let mut daemon = installation.start().await;
        let events = events();
        let salon = Salon::open(&installation, &daemon, events.clone()).await;
        let coming = events.iter().filter(|event| event["start"]["dateTime"].is_string()).map(span);
        let witnesses: Vec<Span> = coming.filter(|(start, _)| *start > tomorrow()).step_by(37).collect();
        salon.connect(&daemon).await;

        let mut unfinished = 0;
        for _ in 0..KILLS {
            let killed_early = kill_while_it_syncs(&installation, &salon, daemon, &witnesses).await;
            daemon = installation.start().await;
            if !killed_early {
                break;
            }
            unfinished += 1;
        }
        assert!(unfinished > 0, "the daemon was never killed in its first sync, which this test is about");

        let google = installation.google_client();
        wait_for("the first sync ends", || async {
            watch(&salon, &daemon.api, &witnesses, Instant::now() + Duration::from_millis(20)).await;
            salon.is_mirrored(&daemon.api).await.then_some(())
        })
        .await;
        for part in 0..4 {
            let from = tomorrow() + TimeDelta::days(part * 90 - 30);
            let to = from + TimeDelta::days(90);
            let expected = google_busy(&google, from, to).await;
            assert!(!expected.is_empty());
            assert_eq!(salon.busy(&daemon.api, from, to).await, expected);
        }
        daemon.kill();
    }
}
