//! Google's quotas are kept, whatever happens at once; who is in a hurry comes first, and no account suffers for another.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use hyper::Method;
use serde_json::{Value, json};
use slotd::{
    domain::{
        CalendarId, Chance, Clock,
        clock::{SystemChance, SystemClock},
    },
    store::{
        self, Lane,
        calendars::{Calendar, Mirror},
    },
};
use slotd_sandbox::{Effect, NewCalendar};
use tokio::time::Instant;

use crate::{
    harness::{Db, on_both_engines},
    stage::{OWNER, Stage, at, event, eventually, id},
};

const LIST: &str = "calendar.events.list";
const INSERT: &str = "calendar.events.insert";
const NOBODY: &str = "mia@example.com";

fn limited(status: u16, reason: &str, retry_after_s: Option<u64>) -> Effect {
    let domain = Some("usageLimits".to_owned());
    Effect::Refuse { status, reason: reason.to_owned(), domain, message: None, retry_after_s }
}

/// More calendars of the owner's account, due at once, which nobody watches. They concern nobody.
async fn add_calendars(stage: &Stage, events: Vec<Vec<Value>>) -> Vec<CalendarId> {
    let google: Vec<String> = events
        .into_iter()
        .map(|events| {
            let calendar = NewCalendar {
                summary: "Room".to_owned(),
                time_zone: "UTC".to_owned(),
                events,
                ..NewCalendar::default()
            };
            stage.google.sandbox.add_calendar(OWNER, calendar).unwrap()
        })
        .collect();
    let business = stage.business.parse().unwrap();
    let add = store::work::<Vec<CalendarId>, store::Error, _>(move |tx| {
        Box::pin(async move {
            let known = tx.calendars(business).await?.remove(0);
            let mut ids = Vec::new();
            for google_id in google {
                let id = CalendarId::new(SystemChance.uuid(SystemClock.now()));
                let mirror = Mirror::unread(known.mirror.account_status);
                let more =
                    Calendar { id, google_id, resource: None, blocks: false, target: false, mirror, ..known.clone() };
                tx.insert_calendar(&more).await?;
                tx.schedule_watch(business, id, SystemClock.now() + TimeDelta::days(1), true).await?;
                ids.push(id);
            }
            Ok(ids)
        })
    });
    stage.node().daemon.store.write(Lane::Caller, add).await.unwrap()
}

/// As if Google had pushed for each of them.
async fn push(stage: &Stage, calendars: &[CalendarId]) {
    let (business, calendars) = (stage.business.parse().unwrap(), calendars.to_vec());
    let wake = store::work::<(), store::Error, _>(move |tx| {
        Box::pin(async move {
            for id in calendars {
                tx.wake_calendar(business, id).await?;
            }
            Ok(())
        })
    });
    stage.node().daemon.store.write(Lane::Caller, wake).await.unwrap();
}

/// Waits until each calendar was read after the latest push.
async fn all_read(stage: &Stage) {
    eventually("every calendar is read", async || {
        let owed = "SELECT COUNT(*) FROM calendar WHERE dirty > seen OR as_of IS NULL";
        (stage.raw.count(owed).await == 0).then_some(())
    })
    .await;
}

/// When slotd's calls of the calendar API reached Google, if they are among `methods`.
fn calls(stage: &Stage, methods: &[&str]) -> Vec<DateTime<Utc>> {
    let calls = stage.google.sandbox.calls();
    calls.iter().filter(|call| methods.contains(&call.method)).map(|call| call.at).collect()
}

async fn metric(stage: &Stage, line: &str) -> f64 {
    let page = stage.api.get(&format!("http://{}/metrics", stage.node().daemon.metrics)).await;
    let text = String::from_utf8(page.bytes.to_vec()).unwrap();
    let value =
        text.lines().find_map(|found| found.strip_prefix(line)).unwrap_or_else(|| panic!("no {line} in {text}"));
    value.trim().parse().unwrap()
}

on_both_engines! {
    async fn an_account_stays_within_its_calls_when_all_its_calendars_are_pushed_and_when_an_outage_ends(db: Db) {
        const BURST: usize = 60;
        const PER_SECOND: f64 = 4.0;
        let stage = Stage::with(db, Vec::new(), |config| config.google.account_calls_per_minute = 300).await;
        let calendars = add_calendars(&stage, vec![Vec::new(); 50]).await;
        all_read(&stage).await;
        push(&stage, &calendars).await;
        all_read(&stage).await;
        stage.google.faults().set_down(true);
        push(&stage, &calendars[..10]).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        stage.google.faults().set_down(false);
        push(&stage, &calendars).await;
        all_read(&stage).await;

        let made = calls(&stage, &[LIST, "calendar.events.watch", "calendar.calendarList.list", "calendar.calendarList.get"]);
        assert!(made.len() > 150, "{} calls", made.len());
        for from in 0..made.len() {
            for to in from..made.len() {
                let seconds = (made[to] - made[from]).as_seconds_f64();
                // The stand-in notes when its answer was ready, which may be late on a busy machine.
                #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
                let over = (to - from + 1) as f64 - (60.0 + PER_SECOND * (seconds + 2.0));
                assert!(over <= 0.0, "{} calls in {seconds} s, more than {BURST} and {PER_SECOND}/s", to - from + 1);
            }
        }
        assert!(metric(&stage, r#"slotd_google_held_back_total{urgency="push",why="account"}"#).await > 0.0);
        let status = stage.status().await;
        assert!(status["calendars"].as_array().unwrap().iter().all(|one| one["state"] == "mirrored"), "{status:#}");
    }

    async fn what_google_asks_of_an_account_holds_for_all_its_calendars_and_for_no_other_account(db: Db) {
        let stage = Stage::open(db).await;
        second_account(&stage).await;
        let calendars = add_calendars(&stage, vec![Vec::new(); 20]).await;
        all_read(&stage).await;
        stage.idle().await;
        let strike = stage.google.strike(LIST, limited(403, "userRateLimitExceeded", Some(4)));
        push(&stage, &calendars).await;
        eventually("Google refuses", async || stage.google.has_struck(strike).then_some(())).await;
        // A true push, which wakes the daemon.
        let path = format!("/calendars/{NOBODY}/events");
        stage.google.editor().post(&path, &event("Visit", at(2, 10, 0), 30)).await.ok();
        all_read(&stage).await;

        let log = stage.google.sandbox.calls();
        let refused = log.iter().position(|call| call.status == 403).unwrap();
        let since: Vec<(f64, &str)> = log[refused + 1..]
            .iter()
            .filter(|call| call.method == LIST)
            .map(|call| ((call.at - log[refused].at).as_seconds_f64(), call.calendar.as_deref().unwrap_or_default()))
            .collect();
        let (others, own): (Vec<_>, Vec<_>) = since.iter().partition(|(_, calendar)| *calendar == NOBODY);
        assert!(others.iter().any(|(after, _)| *after < 3.0), "the other account goes on: {since:?}");
        // Two others of the account may have ended just before.
        assert!(own.len() >= 18, "{since:?}");
        // Passes of the account that were under way when Google refused may still end.
        let early = own.iter().filter(|(after, _)| *after < 4.0).collect::<Vec<_>>();
        assert!(early.len() <= 2 && early.iter().all(|(after, _)| *after < 1.0), "{since:?}");
        let status = stage.status().await;
        assert!(status["calendars"].as_array().unwrap().iter().all(|one| one["state"] == "mirrored"), "{status:#}");
    }

    async fn a_booking_is_written_while_a_first_sync_has_used_up_its_share(db: Db) {
        let stage = Stage::with(db, Vec::new(), |config| {
            config.google.account_calls_per_minute = 60;
            config.sync.page_size = 5;
        })
        .await;
        let events = (0..150).map(|n| event("Old", at(1, 0, 0) + TimeDelta::minutes(n * 30), 30)).collect();
        add_calendars(&stage, vec![events]).await;
        eventually("the first sync has to wait for room", async || {
            (stage.google.lists() >= 4 && metric(&stage, r#"slotd_google_quota_left_calls{quota="account"}"#).await < 9.0)
                .then_some(())
        })
        .await;
        let started = Instant::now();
        let booked = stage.book(at(2, 10, 0)).await;
        stage.synced(&booked).await;
        let took = started.elapsed();
        assert!(took < Duration::from_secs(8), "{took:?}");
        let unread = stage.raw.count("SELECT COUNT(*) FROM calendar WHERE as_of IS NULL").await;
        assert_eq!(unread, 1, "the first sync was done before the booking, so this test shows nothing");
        stage.raw.execute("DELETE FROM calendar WHERE as_of IS NULL").await.unwrap();
    }

    async fn when_google_takes_no_more_events_bookings_wait_and_the_mirror_goes_on(db: Db) {
        let stage = Stage::open(db).await;
        stage.google.strike_after(0, None, INSERT, limited(403, "quotaExceeded", None));
        let first = stage.book(at(2, 10, 0)).await;
        let status = eventually("the operator is told", async || {
            Some(stage.status().await).filter(|status| status["accounts"][0]["writes_paused_until"].is_string())
        })
        .await;
        assert_eq!(status["accounts"][0]["pause_reason"], "quotaExceeded");
        assert_eq!(status["accounts"][0].get("paused_until"), None);
        assert!(status["what_to_do"].as_str().unwrap().contains("no more events"), "{status}");

        let second = stage.book(at(2, 11, 0)).await;
        stage.google.insert(&event("Dentist", at(3, 9, 0), 60)).await;
        stage.expect_free(at(3, 9, 0), 60, false).await;
        eventually("the second event is held back", async || {
            let waits = "SELECT COUNT(*) FROM outbox WHERE last_error LIKE 'not asked%'";
            (stage.raw.count(waits).await > 0).then_some(())
        })
        .await;
        let refused = stage.google.sandbox.calls().iter().filter(|call| call.method == INSERT && call.status == 403).count();
        assert_eq!(refused, 1, "Google is asked once");
        for booking in [&first, &second] {
            assert_eq!(stage.booking(&id(booking)).await["calendar_sync"], "pending");
        }
        eventually("the metric says so", async || {
            (metric(&stage, r#"slotd_google_paused_accounts{what="writes"}"#).await > 0.0).then_some(())
        })
        .await;
        // Nothing is to be delivered for hours.
        stage.raw.execute("DELETE FROM outbox").await.unwrap();
    }

    async fn the_calls_of_the_day_are_those_that_google_saw(db: Db) {
        let stage = Stage::open(db).await;
        for hour in 9..12 {
            stage.book_and_write(at(2, hour, 0)).await;
        }
        stage.idle().await;
        eventually("the day's calls are kept", async || {
            let own = |method: &str| method.starts_with("calendar.") && method != "calendar.events.patch";
            let calls = stage.google.sandbox.calls();
            let made = calls.iter().filter(|call| own(call.method)).count() - stage.google.lists_of_the_test();
            let kept = stage.raw.count("SELECT CAST(COALESCE(SUM(calls), 0) AS BIGINT) FROM google_usage").await;
            (usize::try_from(kept).unwrap() == made && made > 8).then_some(())
        })
        .await;
        eventually("the metric says so", async || {
            (metric(&stage, "slotd_google_today_calls").await > 8.0).then_some(())
        })
        .await;
    }
}

/// Connects another account to the business and mirrors its primary calendar for the same resource.
async fn second_account(stage: &Stage) -> CalendarId {
    let started = stage.api.post("/auth/google-calendar/start", &json!({ "business_id": stage.business })).await;
    let cookie = started.header("set-cookie").split(';').next().unwrap();
    let browser = stage.api.with_bearer("");
    let consent = browser.get(&format!("{}&login_hint={NOBODY}", started.header("location"))).await;
    let back = browser.send(Method::GET, consent.header("location"), &[("cookie", cookie)], "".into()).await;
    assert_eq!(back.status, 200, "{}", String::from_utf8_lossy(&back.bytes));
    let calendar = json!({ "google_id": NOBODY, "resource": stage.resource });
    let made = stage.api.post(&stage.at("/calendars"), &calendar).await.ok();
    id(&made).parse().unwrap()
}
