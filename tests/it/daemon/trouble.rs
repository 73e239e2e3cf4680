//! Google is unwell, forgets its tokens, or sends what nobody can read.

use std::time::Duration;

use serde_json::json;
use slotd_sandbox::Effect;

use crate::{
    harness::{Db, on_both_engines},
    stage::{OWNER, Stage, at, event, eventually, garble, id, text},
};

const LIST: &str = "calendar.events.list";

async fn sync_now(stage: &Stage) {
    let path = format!("/settings/{}/calendar/sync", stage.business);
    stage.api.post(&path, &json!({})).await.ok();
}

on_both_engines! {
    async fn a_sync_token_that_ended_leads_to_a_new_full_sync_behind_the_old_rows(db: Db) {
        let stage = Stage::with(db, vec![event("Old", at(3, 9, 0), 60)], |_| {}).await;
        let refused = Effect::Refuse {
            status: 400,
            reason: "invalid".to_owned(),
            domain: None,
            message: Some("Invalid sync token value.".to_owned()),
            retry_after_s: None,
        };
        for (day, how) in [(4, None), (5, Some(refused))] {
            let calls = stage.google.lists();
            match how {
                None => stage.google.faults().expire_sync_tokens(OWNER),
                Some(effect) => drop(stage.google.strike(LIST, effect)),
            }
            // The refused list passes, the full one is late.
            if day == 4 {
                stage.google.strike_after(1, Some(1), LIST, Effect::Delay { ms: 1_500 });
            }
            stage.google.insert(&event("New", at(day, 9, 0), 60)).await;
            eventually("the token is refused", async || (stage.google.lists() > calls).then_some(())).await;
            if day == 4 {
                let during = stage.availability(at(3, 9, 0), 60).await;
                assert_eq!((&during["available"], &during["reason"]), (&json!(false), &json!("busy")));
                assert_eq!(stage.availability(at(day, 9, 0), 60).await["available"], true);
            }
            stage.same_as_google(at(0, 0, 0), at(60, 0, 0)).await;
        }
    }

    async fn a_page_that_fails_leaves_everything_as_it_was(db: Db) {
        let events = (1..30).map(|day| event("Old", at(day, 9, 0), 60)).collect();
        let stage = Stage::with(db, events, |config| config.sync.page_size = 10).await;
        let before = stage.busy(at(0, 0, 0), at(60, 0, 0)).await;
        assert_eq!(before.len(), 29);
        // The token is refused, two pages of the full list come, the third does not.
        let broken = stage.google.strike_after(3, None, LIST, Effect::Empty { status: 400 });
        stage.google.faults().expire_sync_tokens(OWNER);
        stage.google.insert(&event("New", at(40, 9, 0), 60)).await;
        eventually("the pass fails", async || {
            (stage.status().await["calendars"][0]["state"] == "failing").then_some(())
        })
        .await;
        assert_eq!(stage.busy(at(0, 0, 0), at(60, 0, 0)).await, before);
        assert_eq!(stage.availability(at(5, 9, 0), 30).await["freshness"], "stale");
        assert!(stage.google.faults().remove(broken));
        sync_now(&stage).await;
        stage.same_as_google(at(0, 0, 0), at(60, 0, 0)).await;
    }

    async fn a_list_waits_as_long_as_google_asks(db: Db) {
        let stage = Stage::open(db).await;
        let effect = Effect::Refuse {
            status: 429,
            reason: "rateLimitExceeded".to_owned(),
            domain: Some("usageLimits".to_owned()),
            message: None,
            retry_after_s: Some(9),
        };
        stage.google.strike(LIST, effect);
        stage.google.insert(&event("New", at(4, 9, 0), 60)).await;
        stage.expect_free(at(4, 9, 0), 60, false).await;
        let calls = stage.google.sandbox.calls();
        let lists: Vec<_> = calls.iter().filter(|call| call.method == LIST).collect();
        let refused = lists.iter().position(|call| call.status == 429).unwrap();
        let waited = lists[refused + 1].at - lists[refused].at;
        assert!(waited.to_std().unwrap() >= Duration::from_secs(9), "{waited}");
    }

    async fn an_access_token_that_ended_early_is_renewed_once(db: Db) {
        let stage = Stage::open(db).await;
        let tokens = stage.google.calls("oauth2.token");
        stage.google.strike(LIST, Effect::refuse(401, "global", "authError"));
        stage.google.insert(&event("New", at(4, 9, 0), 60)).await;
        stage.expect_free(at(4, 9, 0), 60, false).await;
        assert_eq!(stage.google.calls("oauth2.token"), tokens + 1);
    }

    async fn a_revoked_grant_stops_no_booking_and_loses_none(db: Db) {
        let stage = Stage::with(db, vec![event("Old", at(3, 9, 0), 60)], |_| {}).await;
        let first = stage.book_and_write(at(3, 11, 0)).await;
        stage.google.revoke().await;
        sync_now(&stage).await;
        eventually("the owner is asked to connect again", async || {
            (stage.status().await["connection"] == "needs_reconnect").then_some(())
        })
        .await;
        let status = stage.status().await;
        assert!(status["what_to_do"].as_str().unwrap().contains("start"), "{status}");
        let known = stage.availability(at(3, 9, 0), 60).await;
        assert_eq!((&known["available"], &known["freshness"]), (&json!(false), &json!("stale")));

        let second = stage.book(at(3, 12, 0)).await;
        assert_eq!(second["calendar_sync"], "pending");
        assert!(second["warning"].as_str().unwrap().contains("connect"), "{second}");
        let moved = json!({ "start": text(at(3, 14, 0)) });
        stage.api.patch(&stage.at(&format!("/bookings/{}", id(&first))), &moved).await.ok();
        assert_eq!(stage.google.of_booking(&id(&second)).await.len(), 0);

        stage.connect().await;
        eventually("the account is connected", async || {
            (stage.status().await["connection"] == "connected").then_some(())
        })
        .await;
        for booking in [&first, &second] {
            stage.synced(booking).await;
            assert_eq!(stage.google.of_booking(&id(booking)).await.len(), 1);
        }
        stage.same_as_google(at(0, 0, 0), at(30, 0, 0)).await;
    }

    async fn an_event_that_cannot_be_read_is_counted_and_the_rest_of_its_page_is_kept(db: Db) {
        let events = vec![
            event("Before", at(3, 8, 0), 30),
            event("Never", at(3, 10, 0), 15),
            event("Long", at(3, 12, 0), 60),
            event("After", at(3, 15, 0), 30),
        ];
        let end = text(at(3, 13, 0));
        let garbled = [(text(at(3, 10, 0)), "soon".to_owned()), (end.clone(), end[..19].to_owned())];
        let stage = Stage::with(db, events, |config| {
            config.google.api_base_url = garble(&config.google.api_base_url, garbled.to_vec());
        })
        .await;
        assert_eq!(stage.status().await["calendars"][0]["odd_events"], 2);
        let expected = [(at(3, 8, 0), at(3, 8, 30)), (at(3, 12, 0), at(3, 13, 0)), (at(3, 15, 0), at(3, 15, 30))];
        assert_eq!(stage.busy(at(3, 0, 0), at(4, 0, 0)).await, expected);
        stage.google.insert(&event("Visit", at(3, 17, 0), 30)).await;
        stage.expect_free(at(3, 17, 0), 30, false).await;
    }
}
