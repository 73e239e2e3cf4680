//! The accounts take turns: one with many calendars or deliveries never starves one with few.

use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use slotd::{
    domain::{CalendarId, Clock},
    store::{
        bookings::EventLink,
        calendars::Calendar,
        leases::{Finished, Lease},
        outbox::Delivery,
        quota::AccountPause,
        turns::Turns,
    },
};

use crate::harness::{
    Db, on_both_engines,
    samples::{Shop, at, between, booking, calendar, id},
};

const LONG: Duration = Duration::from_mins(10);
/// What a node with the usual settings asks for.
const USUAL: Turns = Turns { limit: 8, per_account: 3, asked_only: false };

async fn claim(db: &Db, turns: Turns) -> Vec<Lease> {
    db.write(move |tx| Box::pin(tx.claim_calendars(LONG, turns))).await.unwrap()
}

async fn finish(db: &Db, lease: Lease) {
    let finished = Finished {
        sync_token: "token".to_owned(),
        generation: 1,
        coverage: between(-60, 600),
        longest_us: 0,
        whole: false,
        changed: false,
        odd_events: 0,
        time_zone: None,
        access_role: None,
        as_of: at(0),
        due_at: at(600),
        unannounced: false,
        regained: false,
        period: Duration::from_mins(5),
    };
    db.write(move |tx| Box::pin(async move { tx.finish_pass(&lease, &finished).await })).await.unwrap();
}

async fn grow(db: &Db, shop: &Shop, calendars: usize) {
    let rows: Vec<Calendar> = (0..calendars).map(|_| calendar(&shop.account, None)).collect();
    let written = db.write(move |tx| {
        Box::pin(async move {
            for row in &rows {
                tx.insert_calendar(row).await?;
            }
            Ok(())
        })
    });
    written.await.unwrap();
}

async fn pause(db: &Db, shop: &Shop, minute: i64) {
    let pause = AccountPause {
        business: shop.business.id,
        account: shop.account.id,
        until: at(minute),
        writes_until: DateTime::UNIX_EPOCH,
        reason: Some("rateLimitExceeded".to_owned()),
    };
    db.write(move |tx| Box::pin(async move { tx.pause_account(&pause).await })).await.unwrap();
}

async fn ask(db: &Db, shop: &Shop) {
    let (business, id) = (shop.business.id, shop.calendar.id);
    db.write(move |tx| Box::pin(tx.ask_for_look(business, id))).await.unwrap();
}

async fn saved(db: &Db, shop: &Shop) -> Calendar {
    let (business, id) = (shop.business.id, shop.calendar.id);
    db.read(move |tx| Box::pin(tx.calendar(business, id))).await.unwrap()
}

/// Owes Google one event of each of so many bookings.
async fn owe(db: &Db, shop: &Shop, bookings: i64) {
    for n in 0..bookings {
        let mut booking = booking(&shop.resource, between(n * 60, n * 60 + 30));
        booking.link = Some(EventLink {
            calendar: shop.calendar.id,
            event_id: format!("event{}", booking.id.to_string().replace('-', "")),
            generation: 0,
            sent: None,
            written: None,
            etag: None,
            recheck: false,
            gone: None,
        });
        db.insert(&booking, true, false).await.unwrap();
        let (business, id) = (shop.business.id, booking.id);
        db.write(move |tx| Box::pin(tx.owe_event(business, id))).await.unwrap();
    }
}

async fn claim_deliveries(db: &Db, limit: usize, per_account: usize) -> Vec<Delivery> {
    db.write(move |tx| Box::pin(tx.claim_deliveries(LONG, limit, per_account))).await.unwrap()
}

on_both_engines! {
    async fn one_calendar_beside_300_of_another_account_waits_for_no_more_than_one_round(db: Db) {
        let large = db.shop(1).await;
        grow(&db, &large, 299).await;
        db.clock.advance(TimeDelta::minutes(1));
        let small = db.shop(1).await;

        // A node that works on one calendar at a time.
        let mut before = 0;
        loop {
            let lease = claim(&db, Turns { limit: 1, ..USUAL }).await[0];
            finish(&db, lease).await;
            if lease.business == small.business.id {
                break;
            }
            before += 1;
            assert!(before <= 1, "the single calendar waits for {before} of the others");
        }
        // And all the others get their turns all the same.
        let mut done = before;
        loop {
            let leases = claim(&db, USUAL).await;
            if leases.is_empty() {
                break;
            }
            assert!(leases.len() <= 3, "{} of one account at once", leases.len());
            done += leases.len();
            for lease in leases {
                finish(&db, lease).await;
            }
        }
        assert_eq!(done, 300);
    }

    async fn an_account_has_a_few_passes_at_a_time_and_the_rest_of_the_room_is_for_others(db: Db) {
        let shops = [db.shop(1).await, db.shop(1).await, db.shop(1).await];
        grow(&db, &shops[0], 50).await;
        let leases = claim(&db, USUAL).await;
        let of = |shop: &Shop| leases.iter().filter(|lease| lease.account == shop.account.id).count();
        assert_eq!(shops.iter().map(of).collect::<Vec<_>>(), [3, 1, 1]);
        assert_eq!(claim(&db, USUAL).await, [], "those under way count");
        finish(&db, *leases.iter().find(|lease| lease.account == shops[0].account.id).unwrap()).await;
        assert_eq!(claim(&db, USUAL).await.len(), 1);
    }

    async fn what_a_caller_waits_for_goes_before_all_and_beyond_the_share_of_its_account(db: Db) {
        let (large, other) = (db.shop(1).await, db.shop(1).await);
        let first = claim(&db, Turns::up_to(9)).await;
        for lease in first {
            finish(&db, lease).await;
        }
        grow(&db, &large, 20).await;
        grow(&db, &other, 20).await;
        assert_eq!(claim(&db, Turns { limit: 6, ..USUAL }).await.len(), 6);
        assert_eq!(claim(&db, Turns { asked_only: true, ..USUAL }).await, []);
        assert!(!saved(&db, &large).await.mirror.pushed);
        ask(&db, &large).await;
        ask(&db, &large).await;
        let asked = claim(&db, Turns { asked_only: true, limit: 1, ..USUAL }).await[0];
        assert_eq!((asked.calendar, asked.asked), (large.calendar.id, true));
        finish(&db, asked).await;
        assert_eq!(claim(&db, Turns { asked_only: true, ..USUAL }).await, [], "the wish is fulfilled");
    }

    async fn pushes_go_before_polls_of_the_same_account(db: Db) {
        let shop = db.shop(1).await;
        grow(&db, &shop, 20).await;
        db.clock.advance(TimeDelta::minutes(1));
        let (business, pushed) = (shop.business.id, shop.calendar.id);
        for lease in claim(&db, Turns::up_to(99)).await {
            finish(&db, lease).await;
        }
        db.clock.advance(TimeDelta::minutes(700));
        db.write(move |tx| Box::pin(tx.wake_calendar(business, pushed))).await.unwrap();
        assert_eq!(claim(&db, Turns { limit: 1, ..USUAL }).await[0].calendar, pushed);
    }

    async fn a_paused_account_is_passed_over_until_its_pause_ends(db: Db) {
        let (paused, other) = (db.shop(1).await, db.shop(1).await);
        pause(&db, &paused, 5).await;
        let calendars: Vec<CalendarId> = claim(&db, USUAL).await.iter().map(|lease| lease.calendar).collect();
        assert_eq!(calendars, [other.calendar.id]);
        assert_eq!(db.read(|tx| Box::pin(tx.next_pass_at())).await, Some(at(5)), "the end of the pause");
        owe(&db, &paused, 1).await;
        assert_eq!(claim_deliveries(&db, 9, 9).await, []);
        assert_eq!(db.read(|tx| Box::pin(tx.next_delivery_at())).await, Some(at(5)));
        db.clock.advance(TimeDelta::minutes(5));
        assert_eq!(claim(&db, USUAL).await[0].calendar, paused.calendar.id);
        assert_eq!(claim_deliveries(&db, 9, 9).await.len(), 1);
    }

    async fn a_postponed_pass_is_no_failure_and_is_owed_as_before(db: Db) {
        let shop = db.shop(1).await;
        let (business, id) = (shop.business.id, shop.calendar.id);
        let push = || db.write(move |tx| Box::pin(tx.wake_calendar(business, id)));
        push().await.unwrap();
        ask(&db, &shop).await;
        let lease = claim(&db, USUAL).await[0];
        let postponed = db.write(move |tx| Box::pin(async move { tx.postpone_pass(&lease, "not asked", at(2)).await }));
        postponed.await.unwrap();
        let mirror = saved(&db, &shop).await.mirror;
        assert_eq!((mirror.failures, mirror.last_error.as_deref(), mirror.due_at), (0, Some("not asked"), at(2)));
        assert!(mirror.pushed && mirror.waits_for_quota(at(0)), "{mirror:?}");
        // A thousand pushes more are no reason to come earlier.
        push().await.unwrap();
        assert_eq!(claim(&db, USUAL).await, []);
        db.clock.advance(TimeDelta::minutes(2));
        let lease = claim(&db, USUAL).await[0];
        assert_eq!((lease.pushed_at, lease.asked), (Some(at(0)), false));
        finish(&db, lease).await;
        let mirror = saved(&db, &shop).await.mirror;
        assert!(!mirror.pushed && !mirror.waits_for_quota(at(0)) && mirror.last_error.is_none(), "{mirror:?}");
    }

    async fn one_delivery_beside_100_of_another_account_waits_for_no_more_than_one(db: Db) {
        let large = db.shop(200).await;
        owe(&db, &large, 100).await;
        db.clock.advance(TimeDelta::minutes(1));
        let small = db.shop(1).await;
        owe(&db, &small, 1).await;

        let mut before = 0;
        loop {
            let delivery = claim_deliveries(&db, 1, 4).await.remove(0);
            let business = delivery.business;
            db.write(move |tx| Box::pin(async move { tx.delivered(&delivery).await })).await.unwrap();
            if business == small.business.id {
                break;
            }
            before += 1;
            assert!(before <= 1, "the single delivery waits for {before} of the others");
        }
        assert_eq!(claim_deliveries(&db, 16, 4).await.len(), 4);
        assert_eq!(claim_deliveries(&db, 16, 4).await, [], "those in flight count");
    }

    async fn a_postponed_delivery_was_not_tried(db: Db) {
        let shop = db.shop(1).await;
        owe(&db, &shop, 1).await;
        for _ in 0..3 {
            let delivery = claim_deliveries(&db, 1, 4).await.remove(0);
            assert_eq!(delivery.attempts, 1);
            let due_at = db.clock.now() + TimeDelta::minutes(1);
            let put_back =
                db.write(move |tx| Box::pin(async move { tx.postpone_delivery(&delivery, due_at, "not asked").await }));
            put_back.await.unwrap();
            assert_eq!(claim_deliveries(&db, 1, 4).await, []);
            db.clock.advance(TimeDelta::minutes(1));
        }
    }

    async fn polled_calendars_are_counted_by_whether_somebody_watches_them(db: Db) {
        let shop = db.shop(1).await;
        grow(&db, &shop, 4).await;
        let channel = slotd::store::channels::Channel {
            business: shop.business.id,
            id: id(),
            calendar: shop.calendar.id,
            token_hash: vec![1; 32],
            google_resource_id: None,
            stopping: false,
            expires_at: at(60),
        };
        db.write(move |tx| Box::pin(async move {
            tx.insert_channel(&channel).await?;
            tx.channel_granted(&channel, "r", at(60)).await
        })).await.unwrap();
        assert_eq!(db.read(|tx| Box::pin(tx.polled_calendars())).await, (1, 4));
        let (business, account) = (shop.business.id, shop.account.id);
        assert_eq!(db.read(move |tx| Box::pin(tx.calendars_of_account(business, account))).await, 5);
        db.clock.advance(TimeDelta::minutes(60));
        assert_eq!(db.read(|tx| Box::pin(tx.polled_calendars())).await, (0, 5));
    }
}

/// Of calendars and deliveries nothing is read but what is due, leased, or named.
#[tokio::test]
async fn a_claim_reads_only_what_is_due_or_leased() {
    let db = Db::sqlite().await;
    let shop = db.shop(1).await;
    grow(&db, &shop, 2_000).await;
    let pool = db.raw(1).await.sqlite();
    sqlx::query("ANALYZE").execute(&pool).await.unwrap();
    let claims = slotd::store::STATEMENTS.iter().flat_map(|file| file.iter());
    let mut seen = 0;
    for (name, sql) in claims.filter(|(name, _)| *name == "CLAIM" || *name == "NEXT_DUE") {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", sql.sqlite));
        let steps: Vec<(i64, i64, i64, String)> = sqlx::query_as(explain).fetch_all(&pool).await.unwrap();
        for (.., step) in &steps {
            let words: Vec<&str> = step.split_whitespace().collect();
            let whole = words[0] == "SCAN" && ["calendar", "outbox", "c", "o"].contains(&words[1]);
            // In the order of what is due, up to the first.
            let up_to_the_first = *name == "NEXT_DUE" && step.ends_with("_due");
            assert!(!whole || up_to_the_first, "{name} reads a whole table:\n{steps:#?}");
        }
        seen += 1;
    }
    assert!(seen >= 4, "calendars and deliveries, each in two statements: {seen}");
}
