//! Tokens that end, zones that change, days that go by, and grants that are taken back.

use chrono::TimeDelta;
use serde_json::{Value, json};
use slotd_sandbox::{Effect, NewCalendar};

use crate::{
    harness::{Db, on_both_engines},
    stage::{OWNER, Stage, at, event, eventually, id, text},
};

const LIST: &str = "calendar.events.list";
const ENDED: &str = "Google ended the grant";

/// A day off, and a lunch each day that has no zone of its own but the calendar's.
fn floating() -> Vec<Value> {
    let day = |day: u64| json!({ "date": at(day, 12, 0).date_naive().to_string() });
    vec![
        json!({ "summary": "Day off", "start": day(5), "end": day(6) }),
        json!({ "summary": "Rest day", "start": day(8), "end": day(9), "recurrence": ["RRULE:FREQ=WEEKLY;COUNT=4"] }),
        event("Timed", at(3, 10, 0), 60),
    ]
}

/// The calls of slotd to Google's calendar that came after so many.
fn calls_after(stage: &Stage, known: usize) -> Vec<(&'static str, u16)> {
    stage.google.sandbox.calls().iter().skip(known).map(|call| (call.method, call.status)).collect()
}

/// Waits until what was under way has ended. Returns how many calls there were.
async fn quiet(stage: &Stage) -> usize {
    let mut known = usize::MAX;
    eventually("nothing is under way", async || {
        let leased = stage.raw.count("SELECT COUNT(*) FROM calendar WHERE lease_until > 0").await;
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let before = std::mem::replace(&mut known, stage.google.sandbox.calls().len());
        (leased == 0 && before == known).then_some(known)
    })
    .await
}

async fn needs_reconnect(stage: &Stage) {
    eventually("the owner is asked to connect again", async || {
        (stage.status().await["connection"] == "needs_reconnect").then_some(())
    })
    .await;
}

on_both_engines! {
    async fn old_rows_are_served_as_stale_until_a_new_full_sync_replaces_them(db: Db) {
        let stage = Stage::with(db, vec![event("Old", at(3, 9, 0), 60)], |_| {}).await;
        let invalid = Effect::Refuse {
            status: 400,
            reason: "invalid".to_owned(),
            domain: None,
            message: Some("Invalid sync token value.".to_owned()),
            retry_after_s: None,
        };
        for (day, how) in [(4, Effect::refuse(410, "calendar", "fullSyncRequired")), (5, invalid)] {
            assert_eq!(stage.availability(at(3, 9, 0), 60).await["freshness"], "fresh");
            // The refused list passes, the full one is late.
            stage.google.strike(LIST, how);
            stage.google.strike(LIST, Effect::Delay { ms: 2_000 });
            stage.google.insert(&event("New", at(day, 9, 0), 60)).await;
            let during = eventually("the old rows are stale", async || {
                Some(stage.availability(at(3, 9, 0), 60).await).filter(|answer| answer["freshness"] == "stale")
            })
            .await;
            assert_eq!((&during["available"], &during["reason"]), (&json!(false), &json!("busy")));
            assert_eq!(stage.availability(at(day, 9, 0), 60).await["available"], true);
            stage.same_as_google(at(0, 0, 0), at(60, 0, 0)).await;
            stage.idle().await;
        }
        assert_eq!(stage.availability(at(3, 9, 0), 60).await["freshness"], "fresh");
    }

    async fn a_new_full_sync_that_fails_begins_anew_without_the_dead_token(db: Db) {
        let stage = Stage::with(db, vec![event("Old", at(3, 9, 0), 60)], |_| {}).await;
        stage.google.strike_after(1, Some(1), LIST, Effect::Empty { status: 503 });
        stage.google.faults().expire_sync_tokens(OWNER);
        let known = stage.google.sandbox.calls().len();
        stage.google.insert(&event("New", at(4, 9, 0), 60)).await;
        stage.expect_free(at(4, 9, 0), 60, false).await;
        let statuses: Vec<u16> =
            calls_after(&stage, known).into_iter().filter(|(method, _)| *method == LIST).map(|(_, status)| status).collect();
        assert_eq!(statuses[..3], [410, 503, 200], "the ended token is not asked with again");
        assert_eq!(stage.availability(at(3, 9, 0), 60).await["freshness"], "fresh");
    }

    async fn a_zone_that_a_page_tells_moves_whole_days_without_reading_all_again(db: Db) {
        let stage = Stage::with(db, floating(), |_| {}).await;
        stage.same_as_google(at(0, 0, 0), at(60, 0, 0)).await;
        let before = stage.busy(at(0, 0, 0), at(60, 0, 0)).await;
        let known = stage.google.sandbox.calls().len();
        assert!(stage.google.sandbox.set_time_zone(OWNER, "Asia/Tokyo"));
        stage.google.insert(&event("Visit", at(2, 9, 0), 30)).await;
        eventually("the zone is known", async || {
            (stage.status().await["calendars"][0]["time_zone"] == "Asia/Tokyo").then_some(())
        })
        .await;
        stage.same_as_google(at(0, 0, 0), at(60, 0, 0)).await;
        let after = stage.busy(at(0, 0, 0), at(60, 0, 0)).await;
        assert_eq!(after.iter().filter(|slot| !before.contains(slot)).count(), 6, "a visit and five days: {after:?}");
        let lists = calls_after(&stage, known).iter().filter(|(method, _)| *method == LIST).count();
        assert!(lists <= 2, "{lists} lists");
        let generation = stage.raw.count("SELECT generation FROM calendar").await;
        let full = stage.raw.count("SELECT fence FROM calendar").await;
        assert!(generation < full, "the served rows are those of the first sync");
    }

    async fn a_zone_that_the_daily_list_tells_moves_whole_days(db: Db) {
        let stage = Stage::with(db, floating(), |config| {
            config.jobs.refresh_calendars = "* * * * * *".parse().unwrap();
            config.sync.list_spread_s = 0;
        })
        .await;
        assert!(stage.google.sandbox.set_time_zone(OWNER, "America/New_York"));
        stage.same_as_google(at(0, 0, 0), at(60, 0, 0)).await;
        assert_eq!(stage.status().await["calendars"][0]["time_zone"], "America/New_York");
    }

    async fn the_horizon_moves_with_the_days_and_google_is_not_asked(db: Db) {
        let mut daily = event("Daily", at(1, 9, 0), 60);
        daily["recurrence"] = json!(["RRULE:FREQ=DAILY"]);
        let far = event("Far", at(395, 15, 0), 60);
        let stage = Stage::with(db, vec![daily, far], |config| {
            config.jobs.extend_horizon = "* * * * * *".parse().unwrap();
        })
        .await;
        let before = stage.busy(at(380, 0, 0), at(399, 0, 0)).await;
        assert_eq!(before.len(), 20);
        stage.idle().await;
        let known = stage.google.sandbox.calls().len();
        // As if the last days had not been reached yet.
        let cut = at(385, 0, 0).timestamp_micros();
        stage.raw.execute(&format!("UPDATE calendar SET covered_to = {cut}, lease_until = 0")).await.unwrap();
        stage.raw.execute(&format!("DELETE FROM busy_slot WHERE end_at > {cut}")).await.unwrap();
        eventually("the horizon is where it was", async || {
            (stage.raw.count("SELECT covered_to FROM calendar").await > at(398, 0, 0).timestamp_micros()).then_some(())
        })
        .await;
        assert_eq!(stage.busy(at(380, 0, 0), at(399, 0, 0)).await, before);
        assert_eq!(calls_after(&stage, known), []);
    }

    async fn a_revoked_grant_is_found_once_and_google_is_left_alone(db: Db) {
        let stage = Stage::with(db, vec![event("Old", at(3, 9, 0), 60)], |config| {
            config.sync.poll_unwatched_s = 1;
            config.sync.poll_watched_s = 1;
            config.jobs.refresh_calendars = "* * * * * *".parse().unwrap();
            config.jobs.renew_channels = "* * * * * *".parse().unwrap();
            config.sync.list_spread_s = 0;
        })
        .await;
        let second = NewCalendar {
            summary: "Second chair".to_owned(),
            time_zone: "Europe/Berlin".to_owned(),
            events: vec![event("There", at(3, 15, 0), 60)],
            ..NewCalendar::default()
        };
        let second = stage.google.sandbox.add_calendar(OWNER, second).unwrap();
        stage.api.post(&stage.at("/calendars"), &json!({ "google_id": second, "resource": "Mia" })).await.ok();
        stage.expect_free(at(3, 15, 0), 60, false).await;
        stage.google.revoke().await;
        needs_reconnect(&stage).await;
        let known = quiet(&stage).await;
        let booked = stage.book(at(3, 12, 0)).await;
        assert_eq!(booked["calendar_sync"], "pending");
        stage.sync_now().await;
        let mirrored = stage.availability(at(3, 9, 0), 60).await;
        assert_eq!((&mirrored["available"], &mirrored["freshness"]), (&json!(false), &json!("stale")));
        // Longer than polls, renewals and lists would wait.
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        assert_eq!(calls_after(&stage, known), []);
        assert_eq!(stage.node().log.text().matches(ENDED).count(), 1);

        stage.connect().await;
        stage.synced(&booked).await;
        stage.same_as_google(at(20, 0, 0), at(21, 0, 0)).await;
        stage.mirrored().await;
        assert_eq!(stage.raw.count("SELECT COUNT(*) FROM account").await, 1);
        assert_eq!(stage.raw.count("SELECT COUNT(*) FROM calendar").await, 2);
        stage.expect_free(at(3, 9, 0), 60, false).await;
        assert_eq!(stage.availability(at(3, 9, 0), 60).await["freshness"], "fresh");
    }

    async fn a_booking_that_cannot_be_written_finds_the_revoked_grant_too(db: Db) {
        let stage = Stage::open(db).await;
        stage.google.revoke().await;
        // Nothing else asks Google for hours.
        let booked = stage.book(at(3, 12, 0)).await;
        needs_reconnect(&stage).await;
        let status = stage.status().await;
        assert!(status["accounts"][0]["last_error"].as_str().unwrap().contains("invalid_grant"), "{status}");
        let other = stage.book(at(3, 14, 0)).await;
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        assert_eq!(stage.node().log.text().matches(ENDED).count(), 1);
        assert!(!stage.node().log.text().contains("a delivery failed"), "it is the account's trouble, told once");
        stage.connect().await;
        stage.synced(&booked).await;
        stage.synced(&other).await;
        assert_eq!(stage.google.events().await.len(), 2);
    }

    async fn a_channel_that_cannot_be_renewed_finds_the_revoked_grant_too(db: Db) {
        let stage = Stage::with(db, Vec::new(), |config| {
            config.jobs.renew_channels = "* * * * * *".parse().unwrap();
        })
        .await;
        stage.google.revoke().await;
        stage.raw.execute("UPDATE calendar SET watch_due_at = 0").await.unwrap();
        needs_reconnect(&stage).await;
        let known = quiet(&stage).await;
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        assert_eq!(calls_after(&stage, known), []);
        assert_eq!(stage.node().log.text().matches(ENDED).count(), 1);
        assert_eq!(stage.availability(at(3, 9, 0), 60).await["freshness"], "stale");
        stage.connect().await;
        stage.mirrored().await;
    }

    async fn words_of_google_for_a_dead_grant_and_those_for_a_bad_hour_are_told_apart(db: Db) {
        let stage = Stage::open(db).await;
        for (status, error) in [(500, "server_error"), (503, "temporarily_unavailable"), (429, "rate_limit")] {
            let fault = stage.google.faults().refuse_refresh(OWNER, status, error);
            let broken = stage.google.strike(LIST, Effect::refuse(401, "global", "authError"));
            stage.sync_now().await;
            eventually("the pass fails", async || {
                (stage.status().await["calendars"][0]["state"] == "failing").then_some(())
            })
            .await;
            assert_eq!(stage.status().await["connection"], "connected", "{status} {error}");
            stage.google.faults().remove(fault);
            stage.google.faults().remove(broken);
            stage.sync_now().await;
            eventually("the mirror goes on", async || {
                (stage.status().await["calendars"][0]["state"] == "mirrored").then_some(())
            })
            .await;
        }
        for error in ["admin_policy_enforced", "invalid_rapt", "invalid_grant"] {
            let fault = stage.google.faults().refuse_refresh(OWNER, 400, error);
            stage.google.strike(LIST, Effect::refuse(401, "global", "authError"));
            stage.sync_now().await;
            needs_reconnect(&stage).await;
            stage.google.faults().remove(fault);
            stage.connect().await;
            stage.mirrored().await;
        }
        stage.google.strike(LIST, Effect::refuse(403, "global", "insufficientPermissions"));
        stage.sync_now().await;
        needs_reconnect(&stage).await;
        stage.connect().await;
        stage.mirrored().await;
        assert!(stage.busy(at(0, 0, 0), at(9, 0, 0) + TimeDelta::minutes(1)).await.is_empty());
        let booked = stage.book(at(2, 9, 0)).await;
        assert_eq!(text(at(2, 9, 0)), stage.synced(&booked).await["start"]);
        assert_eq!(stage.google.of_booking(&id(&booked)).await.len(), 1);
    }
}
