//! What all nodes know of Google's quotas.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use slotd::store::quota::AccountPause;

use crate::harness::{
    Db, on_both_engines,
    samples::{Shop, at},
};

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn pause(shop: &Shop, until: DateTime<Utc>, writes_until: DateTime<Utc>, reason: &str) -> AccountPause {
    let (business, account) = (shop.business.id, shop.account.id);
    AccountPause { business, account, until, writes_until, reason: Some(reason.to_owned()) }
}

async fn keep(db: &Db, pause: &AccountPause) {
    let pause = pause.clone();
    db.write(move |tx| Box::pin(async move { tx.pause_account(&pause).await })).await.unwrap();
}

on_both_engines! {
    async fn the_calls_of_a_day_add_up_over_nodes_and_starts(db: Db) {
        let node = db.another_node(2).await;
        let today = day("2027-03-01");
        assert_eq!(db.read(move |tx| Box::pin(tx.google_calls(today))).await, 0);
        for (date, calls) in [(today, 40), (day("2027-02-28"), 7), (today, 2)] {
            db.write(move |tx| Box::pin(tx.add_google_calls(date, calls))).await.unwrap();
        }
        let count = slotd::store::work::<i64, slotd::store::Error, _>(move |tx| Box::pin(tx.google_calls(today)));
        assert_eq!(node.read(count).await.unwrap(), 42);
        assert_eq!(db.write(move |tx| Box::pin(tx.forget_google_calls(today))).await.unwrap(), 1);
        assert_eq!(db.read(move |tx| Box::pin(tx.google_calls(today))).await, 42);
        node.close().await;
    }

    async fn of_two_pauses_the_longer_holds_until_it_ends(db: Db) {
        let (shop, other) = (db.shop(1).await, db.shop(1).await);
        let none = DateTime::UNIX_EPOCH;
        keep(&db, &pause(&shop, at(9), none, "rateLimitExceeded")).await;
        keep(&db, &pause(&shop, at(5), at(120), "quotaExceeded")).await;
        let paused = db.read(|tx| Box::pin(tx.paused_accounts())).await;
        assert_eq!(paused, [pause(&shop, at(9), at(120), "quotaExceeded")]);
        let of = |shop: &Shop| {
            let business = shop.business.id;
            db.read(move |tx| Box::pin(tx.paused_accounts_of(business)))
        };
        assert_eq!((of(&shop).await, of(&other).await), (paused, Vec::new()));
        db.clock.advance(TimeDelta::minutes(120));
        assert_eq!(db.read(|tx| Box::pin(tx.paused_accounts())).await, []);
    }
}
