//! One calendar, one worker at a time.

use std::{collections::BTreeSet, time::Duration};

use chrono::TimeDelta;
use chrono_tz::Tz;
use slotd::{
    domain::CalendarId,
    store::{
        self, Error, Lane,
        calendars::Calendar,
        leases::{Failed, Finished, Lease},
        turns::Turns,
    },
};
use tokio::task::JoinSet;

use crate::harness::{
    Db, on_both_engines,
    samples::{Shop, at, between, calendar},
};

/// Longer than any test.
const LONG: Duration = Duration::from_mins(10);

async fn claim(db: &Db, lease: Duration, limit: usize) -> Vec<Lease> {
    db.write(move |tx| Box::pin(tx.claim_calendars(lease, Turns::up_to(limit)))).await.unwrap()
}

async fn saved(db: &Db, shop: &Shop) -> Calendar {
    let (business, id) = (shop.business.id, shop.calendar.id);
    db.read(move |tx| Box::pin(tx.calendar(business, id))).await.unwrap()
}

fn failed(why: &str, due_minute: i64) -> Failed {
    Failed { why: why.to_owned(), due_at: at(due_minute), refused: false }
}

fn finished(due_minute: i64) -> Finished {
    Finished {
        unannounced: false,
        regained: false,
        sync_token: "token".to_owned(),
        generation: 1,
        coverage: between(-60, 600),
        longest_us: 60_000_000,
        whole: false,
        changed: true,
        odd_events: 2,
        time_zone: Some(Tz::Pacific__Auckland),
        access_role: Some("reader".to_owned()),
        as_of: at(0),
        due_at: at(due_minute),
        period: Duration::from_mins(7),
    }
}

async fn finish(db: &Db, lease: Lease, finished: Finished) -> store::Result<()> {
    db.write(move |tx| Box::pin(async move { tx.finish_pass(&lease, &finished).await })).await
}

async fn wake(db: &Db, shop: &Shop) {
    let (business, id) = (shop.business.id, shop.calendar.id);
    assert!(db.write(move |tx| Box::pin(tx.wake_calendar(business, id))).await.unwrap());
}

async fn more_calendars(db: &Db, shop: &Shop, count: usize) -> BTreeSet<CalendarId> {
    let rows: Vec<Calendar> = (0..count).map(|_| calendar(&shop.account, None)).collect();
    let ids = rows.iter().map(|row| row.id).chain([shop.calendar.id]).collect();
    let written = db.write(move |tx| {
        Box::pin(async move {
            for row in &rows {
                tx.insert_calendar(row).await?;
            }
            Ok(())
        })
    });
    written.await.unwrap();
    ids
}

on_both_engines! {
    async fn each_due_calendar_goes_to_one_of_many_claimers(db: Db) {
        let shop = db.shop(1).await;
        let ids = more_calendars(&db, &shop, 39).await;
        let mut tasks = JoinSet::new();
        for _ in 0..8 {
            let store = db.store.clone();
            tasks.spawn(async move {
                let mut mine = Vec::new();
                // On PostgreSQL a claimer passes over what another is just taking, and may find nothing for once.
                for _ in 0..20 {
                    let work = store::work::<Vec<Lease>, Error, _>(|tx| Box::pin(tx.claim_calendars(LONG, Turns::up_to(3))));
                    let leases = store.write(Lane::Background, work).await.unwrap();
                    assert!(leases.len() <= 3, "{} are more than were asked for", leases.len());
                    mine.extend(leases);
                }
                mine
            });
        }
        let claimed: Vec<Lease> = tasks.join_all().await.concat();
        assert_eq!(claimed.len(), ids.len(), "nobody shares one");
        assert_eq!(claimed.iter().map(|lease| lease.calendar).collect::<BTreeSet<_>>(), ids);
        assert!(claimed.iter().all(|lease| lease.fence == 1));
    }

    async fn the_longest_due_come_first_and_others_wait(db: Db) {
        let shop = db.shop(1).await;
        let lease = claim(&db, LONG, 9).await[0];
        finish(&db, lease, finished(60)).await.unwrap();
        assert_eq!(claim(&db, LONG, 9).await, [], "not due");
        assert_eq!(db.read(|tx| Box::pin(tx.next_pass_at())).await, Some(at(60)));

        db.clock.advance(TimeDelta::minutes(30));
        let younger = calendar(&shop.account, None);
        let row = younger.clone();
        db.write(move |tx| Box::pin(async move { tx.insert_calendar(&row).await })).await.unwrap();
        db.clock.advance(TimeDelta::minutes(30));
        let order = [claim(&db, LONG, 1).await[0].calendar, claim(&db, LONG, 1).await[0].calendar];
        assert_eq!(order, [younger.id, shop.calendar.id]);
        assert_eq!(db.read(|tx| Box::pin(tx.next_pass_at())).await, None, "somebody works on all");
    }

    async fn calendars_of_an_account_that_is_not_connected_are_left_alone(db: Db) {
        let shop = db.shop(1).await;
        let (business, account) = (shop.business.id, shop.account.id);
        db.write(move |tx| Box::pin(tx.mark_needs_reconnect(business, account, chrono::DateTime::<chrono::Utc>::MAX_UTC, "invalid_grant"))).await.unwrap();
        assert_eq!(claim(&db, LONG, 9).await, []);
        assert_eq!(db.read(|tx| Box::pin(tx.next_pass_at())).await, None);
        assert_eq!(db.read(|tx| Box::pin(tx.watches_due(9))).await, []);
    }

    async fn a_lease_that_ends_gives_the_calendar_to_another(db: Db) {
        let shop = db.shop(1).await;
        let short = Duration::from_millis(300);
        let first = claim(&db, LONG, 1).await[0];
        assert_eq!(claim(&db, LONG, 1).await, [], "the lease runs");
        db.write(move |tx| Box::pin(async move { tx.keep_lease(&first, short, 0).await })).await.unwrap();
        db.outlast(short).await;
        let second = claim(&db, LONG, 1).await[0];
        assert_eq!((second.calendar, second.fence), (first.calendar, first.fence + 1));

        let before = saved(&db, &shop).await;
        let lost = [
            finish(&db, first, finished(60)).await,
            db.write(move |tx| Box::pin(async move { tx.keep_lease(&first, LONG, 5).await })).await,
            db.write(move |tx| Box::pin(async move { tx.fail_pass(&first, &failed("late", 9)).await })).await,
            db.write(move |tx| Box::pin(async move { tx.release_calendar(&first).await })).await,
            db.write(move |tx| Box::pin(async move { tx.coverage_rolled(&first, between(0, 9), 7).await })).await,
        ];
        assert!(lost.iter().all(|lost| matches!(lost, Err(Error::LeaseLost))), "{lost:?}");
        assert_eq!(saved(&db, &shop).await.mirror, before.mirror);
        finish(&db, second, finished(60)).await.unwrap();
    }

    async fn what_a_pass_without_its_lease_wrote_is_rolled_back(db: Db) {
        let shop = db.shop(1).await;
        let business = shop.business.id;
        let lease = claim(&db, LONG, 1).await[0];
        let late = Lease { fence: lease.fence - 1, ..lease };
        let pass = db.write(move |tx| {
            Box::pin(async move {
                tx.touch_call(business, "call 1", None).await?;
                tx.keep_lease(&late, LONG, 1).await
            })
        });
        assert!(matches!(pass.await, Err(Error::LeaseLost)));
        assert_eq!(db.read(move |tx| Box::pin(tx.call(business, "call 1"))).await, None);
    }

    async fn keeping_a_lease_extends_it_and_counts_progress(db: Db) {
        let shop = db.shop(1).await;
        let short = Duration::from_millis(300);
        let lease = claim(&db, short, 1).await[0];
        for _ in 0..2 {
            db.write(move |tx| Box::pin(async move { tx.keep_lease(&lease, LONG, 5).await })).await.unwrap();
        }
        db.outlast(short).await;
        assert_eq!(claim(&db, LONG, 1).await, []);
        assert_eq!(saved(&db, &shop).await.mirror.synced_events, 10);
        db.write(move |tx| Box::pin(async move { tx.release_calendar(&lease).await })).await.unwrap();
        let next = claim(&db, LONG, 1).await[0];
        assert_eq!(next.fence, lease.fence + 1);
        let late = db.write(move |tx| Box::pin(async move { tx.count_from_zero(&lease).await })).await;
        assert!(matches!(late, Err(Error::LeaseLost)), "{late:?}");
        assert_eq!(saved(&db, &shop).await.mirror.synced_events, 10);
        db.write(move |tx| Box::pin(async move { tx.count_from_zero(&next).await })).await.unwrap();
        assert_eq!(saved(&db, &shop).await.mirror.synced_events, 0);
    }

    async fn a_finished_pass_says_all_it_learned(db: Db) {
        let shop = db.shop(1).await;
        let lease = claim(&db, LONG, 1).await[0];
        let failed = db.write(move |tx| Box::pin(async move { tx.fail_pass(&lease, &failed("Google is down", 0)).await }));
        failed.await.unwrap();
        let after = saved(&db, &shop).await.mirror;
        assert_eq!((after.failures, after.last_error.as_deref()), (1, Some("Google is down")));

        let lease = claim(&db, LONG, 1).await[0];
        finish(&db, lease, finished(60)).await.unwrap();
        let after = saved(&db, &shop).await;
        assert_eq!((after.time_zone, after.access_role.as_str()), (Tz::Pacific__Auckland, "reader"));
        let mirror = &after.mirror;
        assert_eq!((mirror.sync_token.as_deref(), mirror.generation, mirror.version), (Some("token"), 1, 1));
        assert_eq!((mirror.as_of, mirror.coverage, mirror.odd_events), (Some(at(0)), Some(between(-60, 600)), 2));
        assert_eq!(mirror.period, Some(TimeDelta::minutes(7)));
        assert_eq!((mirror.failures, &mirror.last_error, mirror.due_at, mirror.pushed), (0, &None, at(60), false));

        let due = |minute| db.read(move |tx| Box::pin(tx.short_mirrors(at(minute), 9)));
        assert_eq!(due(600).await, []);
        assert_eq!(due(601).await, [(shop.business.id, shop.calendar.id)]);
    }

    async fn a_push_during_a_pass_makes_the_calendar_due_again(db: Db) {
        let shop = db.shop(1).await;
        wake(&db, &shop).await;
        let (business, id) = (shop.business.id, shop.calendar.id);
        let again = db.write(move |tx| Box::pin(tx.wake_calendar(business, id)));
        assert!(!again.await.unwrap(), "the pass that is owed will see both");
        let lease = claim(&db, LONG, 1).await[0];
        assert_eq!((lease.seen, lease.pushed_at), (1, Some(at(0))));
        db.clock.advance(TimeDelta::minutes(1));
        wake(&db, &shop).await;
        assert_eq!(claim(&db, LONG, 1).await, [], "the pass under way comes first");
        finish(&db, lease, finished(60)).await.unwrap();
        let after = saved(&db, &shop).await.mirror;
        assert!(after.pushed && after.due_at == at(0), "{after:?}");

        let lease = claim(&db, LONG, 1).await[0];
        assert_eq!(lease.seen, 2);
        finish(&db, lease, finished(60)).await.unwrap();
        let after = saved(&db, &shop).await.mirror;
        assert!(!after.pushed && after.due_at == at(60), "{after:?}");
        wake(&db, &shop).await;
        assert_eq!(claim(&db, LONG, 1).await[0].pushed_at, Some(at(1)), "answered pushes are forgotten");
    }

    async fn a_wish_to_look_during_a_pass_is_not_lost(db: Db) {
        let shop = db.shop(1).await;
        let (business, id) = (shop.business.id, shop.calendar.id);
        let look = || db.write(move |tx| Box::pin(tx.look_at_calendar(business, id)));
        let lease = claim(&db, LONG, 1).await[0];
        look().await.unwrap();
        finish(&db, lease, finished(60)).await.unwrap();
        let lease = claim(&db, LONG, 1).await;
        assert_eq!(lease.len(), 1, "Google may have been read before the wish");
        finish(&db, lease[0], finished(60)).await.unwrap();
        assert_eq!(claim(&db, LONG, 1).await, []);
        look().await.unwrap();
        look().await.unwrap();
        let lease = claim(&db, LONG, 1).await[0];
        assert_eq!(lease.pushed_at, None, "nobody pushed");
        finish(&db, lease, finished(60)).await.unwrap();
        assert_eq!(claim(&db, LONG, 1).await, [], "two wishes before a pass are one");
    }

    async fn one_calendar_can_be_taken_out_of_turn(db: Db) {
        let shop = db.shop(1).await;
        let (business, id) = (shop.business.id, shop.calendar.id);
        let take = || db.write(move |tx| Box::pin(tx.claim_calendar(business, id, LONG)));
        let first = claim(&db, LONG, 1).await[0];
        assert_eq!(take().await.unwrap(), None, "while somebody works on it");
        finish(&db, first, finished(60)).await.unwrap();
        wake(&db, &shop).await;
        let second = take().await.unwrap().unwrap();
        assert_eq!(second.fence, first.fence + 1);
        db.write(move |tx| Box::pin(async move { tx.coverage_rolled(&second, between(0, 900), 7).await }))
            .await
            .unwrap();
        db.write(move |tx| Box::pin(async move { tx.release_calendar(&second).await })).await.unwrap();
        assert_eq!(saved(&db, &shop).await.mirror.coverage, Some(between(0, 900)));
        assert_eq!(claim(&db, LONG, 1).await.len(), 1, "the push is still owed a pass");
    }

    async fn an_account_that_was_connected_anew_is_looked_at_and_watched_at_once(db: Db) {
        let shop = db.shop(1).await;
        let (business, account, id) = (shop.business.id, shop.account.id, shop.calendar.id);
        let lease = claim(&db, LONG, 1).await[0];
        finish(&db, lease, finished(60)).await.unwrap();
        db.write(move |tx| Box::pin(tx.schedule_watch(business, id, at(60), true))).await.unwrap();
        db.write(move |tx| Box::pin(tx.wake_account(business, account))).await.unwrap();
        assert_eq!(db.read(|tx| Box::pin(tx.watches_due(9))).await, [(business, id)]);
        assert_eq!(claim(&db, LONG, 1).await.len(), 1);
    }

    async fn a_channel_is_due_when_it_was_said(db: Db) {
        let shop = db.shop(1).await;
        let (business, id) = (shop.business.id, shop.calendar.id);
        let due = || db.read(|tx| Box::pin(tx.watches_due(9)));
        let schedule =
            |minute, watchable| db.write(move |tx| Box::pin(tx.schedule_watch(business, id, at(minute), watchable)));
        assert_eq!(due().await, [(business, id)], "at once");
        schedule(10, true).await.unwrap();
        assert_eq!(due().await, []);
        db.clock.advance(TimeDelta::minutes(10));
        assert_eq!(due().await, [(business, id)]);
        schedule(20, false).await.unwrap();
        assert_eq!(due().await, [], "Google cannot push for it");
        db.clock.advance(TimeDelta::minutes(10));
        assert_eq!(due().await, [(business, id)], "it may be able to by now");
    }
}

#[tokio::test]
async fn a_claimer_does_not_wait_for_a_row_that_another_holds() {
    let db = Db::postgres().await;
    let shop = db.shop(1).await;
    let ids = more_calendars(&db, &shop, 3).await;
    let pool = db.raw(1).await.postgres();
    let mut other = pool.begin().await.unwrap();
    let lock = "SELECT id FROM calendar WHERE id = $1 FOR UPDATE";
    sqlx::query(lock).bind(shop.calendar.id.to_string()).execute(&mut *other).await.unwrap();

    // Less than the server lets anybody wait for a lock.
    let claimed = tokio::time::timeout(Duration::from_secs(4), claim(&db, LONG, 9)).await.unwrap();
    let claimed: BTreeSet<CalendarId> = claimed.iter().map(|lease| lease.calendar).collect();
    assert_eq!(ids.difference(&claimed).collect::<Vec<_>>(), [&shop.calendar.id]);
    other.rollback().await.unwrap();
}
