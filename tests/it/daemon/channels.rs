//! Watch channels: renewed with overlap, never left behind, and not trusted when they fall silent.

use std::time::Duration;

use serde_json::json;
use slotd::config::Config;
use slotd_sandbox::{Effect, Fault, NewCalendar, Role};

use crate::{
    harness::{Db, on_both_engines},
    stage::{EDITOR, OWNER, Stage, at, event, eventually, id},
};

const WATCH: &str = "calendar.events.watch";
const STOP: &str = "calendar.channels.stop";

/// Each second instead of each ten minutes.
fn renew_often(config: &mut Config) {
    config.jobs.renew_channels = "* * * * * *".parse().unwrap();
}

/// How often slotd stopped a channel that was there.
fn stopped(stage: &Stage) -> usize {
    stage.google.sandbox.calls().iter().filter(|call| call.method == STOP && call.status == 204).count()
}

async fn channels(stage: &Stage) -> i64 {
    stage.raw.count("SELECT COUNT(*) FROM channel").await
}

async fn ask_for_another(stage: &Stage) {
    stage.raw.execute("UPDATE calendar SET watch_due_at = 0").await.unwrap();
}

/// A change that only a push can tell of soon.
async fn pushes_arrive(stage: &Stage, hour: u32) {
    stage.google.insert(&event("Visit", at(9, hour, 0), 30)).await;
    stage.expect_free(at(9, hour, 0), 30, false).await;
}

on_both_engines! {
    async fn a_channel_is_renewed_before_its_end_and_the_old_one_stopped_after(db: Db) {
        let stage = Stage::with(db, Vec::new(), |config| {
            renew_often(config);
            config.sync.channel_ttl_s = 12;
        })
        .await;
        eventually("the old one is stopped", async || (stopped(&stage) >= 1).then_some(())).await;
        let calls = stage.google.sandbox.calls();
        let watched: Vec<_> = calls.iter().filter(|call| call.method == WATCH).collect();
        let stop = calls.iter().find(|call| call.method == STOP).unwrap();
        assert_eq!(watched[1].status, 200);
        assert!(watched[1].at <= stop.at, "the new one first");
        let lived = (watched[1].at - watched[0].at).num_milliseconds();
        assert!((9_000..12_000).contains(&lived), "renewed {lived} ms after the first, which lives for 12 s");
        assert_eq!(stage.status().await["calendars"][0]["state"], "mirrored");
        pushes_arrive(&stage, 9).await;
    }

    async fn a_channel_whose_answer_was_lost_is_stopped(db: Db) {
        let stage = Stage::with(db, Vec::new(), |config| {
            renew_often(config);
            config.google.request_timeout_s = 2;
        })
        .await;
        let lost = stage.google.strike(WATCH, Effect::HangAfter);
        ask_for_another(&stage).await;
        eventually("the answer is lost", async || stage.google.has_struck(lost).then_some(())).await;
        eventually("the orphan is stopped", async || (stopped(&stage) == 1).then_some(())).await;
        eventually("nothing is left of it", async || (channels(&stage).await == 1).then_some(())).await;
        assert_eq!(stage.raw.count("SELECT COUNT(*) FROM channel WHERE state = 'live'").await, 1);
        pushes_arrive(&stage, 9).await;
        assert!(stage.google.calls(WATCH) <= 2, "the next try waits");
    }

    async fn a_channel_that_nobody_heard_of_again_is_stopped_by_what_others_know(db: Db) {
        let stage = Stage::with(db, Vec::new(), renew_often).await;
        // As a process leaves it that dies between its note and Google's answer.
        let orphan = "INSERT INTO channel (business_id, id, calendar_id, token_hash, state, expires_at, created_at)
                      SELECT business_id, '01890000-0000-7000-8000-000000000001', calendar_id, token_hash, 'pending', expires_at,
                             created_at - 600000000
                        FROM channel";
        stage.raw.execute(orphan).await.unwrap();
        eventually("it is stopped", async || (stage.google.calls(STOP) >= 1).then_some(())).await;
        eventually("it is forgotten", async || (channels(&stage).await == 1).then_some(())).await;
        pushes_arrive(&stage, 9).await;
    }

    async fn a_channel_that_tells_nothing_is_replaced_and_not_trusted_meanwhile(db: Db) {
        let stage = Stage::with(db, Vec::new(), |config| {
            renew_often(config);
            config.sync.poll_watched_s = 1;
            config.sync.poll_unwatched_s = 1;
        })
        .await;
        let silent = stage.google.faults().add(Fault { times: None, ..Fault::once("push", Effect::Drop) });
        for hour in 8..20 {
            pushes_arrive(&stage, hour).await;
            tokio::time::sleep(Duration::from_millis(1_300)).await;
            if stage.google.calls(WATCH) > 1 {
                break;
            }
        }
        assert_eq!(stage.google.calls(WATCH), 2, "a new channel is asked for");
        assert!(stage.node().log.text().contains("a channel told nothing"));
        // The new one is as silent, and the next waits.
        for day in 10..16 {
            stage.google.insert(&event("Visit", at(day, 9, 0), 30)).await;
            stage.expect_free(at(day, 9, 0), 30, false).await;
            tokio::time::sleep(Duration::from_millis(1_300)).await;
        }
        assert_eq!(stage.google.calls(WATCH), 2);
        assert!(stage.status().await["calendars"][0]["watched_until"].is_null(), "it is told as polled");
        stage.google.faults().remove(silent);
        ask_for_another(&stage).await;
        stage.mirrored().await;
    }

    async fn own_writes_and_many_pushes_do_not_make_a_channel_suspect(db: Db) {
        let stage = Stage::with(db, Vec::new(), |config| config.sync.poll_watched_s = 1).await;
        for hour in 8..14 {
            stage.book_and_write(at(2, hour, 0)).await;
            pushes_arrive(&stage, hour).await;
        }
        stage.idle().await;
        assert_eq!(stage.google.calls(WATCH), 1);
        assert!(!stage.node().log.text().contains("a channel told nothing"));
    }

    async fn a_calendar_that_cannot_be_watched_now_is_polled_and_asked_for_slowly(db: Db) {
        let stage = Stage::with(db, Vec::new(), |config| {
            renew_often(config);
            config.sync.poll_watched_s = 2;
            config.sync.poll_unwatched_s = 1;
        })
        .await;
        stage.google.strike_after(0, None, WATCH, Effect::refuse(403, "usageLimits", "rateLimitExceeded"));
        stage.raw.execute("DELETE FROM channel").await.unwrap();
        ask_for_another(&stage).await;
        stage.google.insert(&event("Visit", at(3, 9, 0), 30)).await;
        stage.expect_free(at(3, 9, 0), 30, false).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(stage.google.calls(WATCH), 2);
        stage.google.insert(&event("Visit", at(3, 11, 0), 30)).await;
        stage.expect_free(at(3, 11, 0), 30, false).await;
    }

    async fn a_calendar_that_google_never_pushes_for_is_polled(db: Db) {
        let stage = Stage::with(db, Vec::new(), |config| {
            renew_often(config);
            config.sync.poll_unwatched_s = 1;
        })
        .await;
        let holidays = "en.german#holiday@group.v.calendar.google.com";
        let calendar = NewCalendar {
            id: Some(holidays.to_owned()),
            summary: "Holidays".to_owned(),
            time_zone: "Europe/Berlin".to_owned(),
            ..NewCalendar::default()
        };
        stage.google.sandbox.add_calendar(OWNER, calendar).unwrap();
        assert!(stage.google.sandbox.share(holidays, EDITOR, Role::Owner));
        let body = json!({ "google_id": holidays, "resource": "Mia" });
        stage.api.post(&stage.at("/calendars"), &body).await.ok();
        for hour in [9, 11] {
            stage.google.insert_into(holidays, &event("Holiday", at(3, hour, 0), 30)).await;
            stage.expect_free(at(3, hour, 0), 30, false).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let asked = stage.google.sandbox.calls();
        let asked = asked.iter().filter(|call| call.method == WATCH && call.calendar.as_deref() == Some(holidays)).count();
        assert_eq!(asked, 1);
        assert_eq!(stage.availability(at(3, 9, 0), 30).await["freshness"], "fresh");
    }

    async fn a_calendar_that_concerns_nobody_is_not_watched(db: Db) {
        let stage = Stage::with(db, Vec::new(), renew_often).await;
        let path = stage.at(&format!("/calendars/{}", id(&stage.status().await["calendars"][0])));
        stage.api.patch(&path, &json!({ "blocks": false, "target": false })).await.ok();
        eventually("its channel is stopped", async || (stopped(&stage) == 1).then_some(())).await;
        eventually("nothing is left of it", async || (channels(&stage).await == 0).then_some(())).await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert_eq!(stage.google.calls(WATCH), 1);
        stage.api.patch(&path, &json!({ "blocks": true, "target": true })).await.ok();
        stage.mirrored().await;
        pushes_arrive(&stage, 9).await;
    }
}
