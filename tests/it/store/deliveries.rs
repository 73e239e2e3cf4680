//! The outbox: what is owed goes to one worker at a time, and is owed until it was delivered as it is now.

use std::{collections::BTreeSet, time::Duration};

use chrono::TimeDelta;
use slotd::{
    domain::BookingId,
    store::{
        self, Error, Lane,
        outbox::{Delivery, Depth, Owed},
    },
};
use tokio::task::JoinSet;

use crate::harness::{
    Db, on_both_engines,
    samples::{Shop, at, id},
};

/// Longer than any test.
const LONG: Duration = Duration::from_mins(10);

async fn owe(db: &Db, shop: &Shop, booking: BookingId) {
    let business = shop.business.id;
    db.write(move |tx| Box::pin(tx.owe_event(business, booking))).await.unwrap();
}

async fn claim(db: &Db, lease: Duration, limit: usize) -> Vec<Delivery> {
    db.write(move |tx| Box::pin(tx.claim_deliveries(lease, limit, usize::MAX))).await.unwrap()
}

async fn delivered(db: &Db, delivery: &Delivery) {
    let delivery = delivery.clone();
    db.write(move |tx| Box::pin(async move { tx.delivered(&delivery).await })).await.unwrap();
}

async fn later(db: &Db, delivery: &Delivery, minute: i64) {
    let delivery = delivery.clone();
    let written =
        db.write(move |tx| Box::pin(async move { tx.deliver_later(&delivery, at(minute), "Google is down").await }));
    written.await.unwrap();
}

async fn give_up(db: &Db, delivery: &Delivery) {
    let delivery = delivery.clone();
    db.write(move |tx| Box::pin(async move { tx.give_up(&delivery, "refused").await })).await.unwrap();
}

async fn holds(db: &Db, delivery: &Delivery) -> bool {
    let delivery = delivery.clone();
    db.write(move |tx| Box::pin(async move { tx.holds_delivery(&delivery).await })).await.unwrap()
}

async fn depth(db: &Db) -> Depth {
    db.read(|tx| Box::pin(tx.outbox_depth())).await
}

on_both_engines! {
    async fn what_is_owed_reads_back(db: Db) {
        let shop = db.shop(1).await;
        let (business, calendar, booking) = (shop.business.id, shop.calendar.id, id());
        assert_eq!(depth(&db).await, Depth::default());
        assert_eq!(db.read(|tx| Box::pin(tx.next_delivery_at())).await, None);
        owe(&db, &shop, booking).await;
        db.clock.advance(TimeDelta::minutes(1));
        db.write(move |tx| Box::pin(tx.owe_removal(business, calendar, "slotd0"))).await.unwrap();
        assert_eq!(depth(&db).await, Depth { waiting: 2, dead: 0, oldest: Some(at(0)) });
        assert_eq!(db.read(|tx| Box::pin(tx.next_delivery_at())).await, Some(at(0)));

        let mut taken = claim(&db, LONG, 9).await;
        taken.sort_by_key(|delivery| delivery.id);
        let owed: Vec<_> = taken.iter().map(|delivery| &delivery.owed).collect();
        assert_eq!(owed, [&Owed::Event(booking), &Owed::Removal { calendar, event_id: "slotd0".to_owned() }]);
        assert!(
            taken.iter().all(|delivery| (delivery.business, delivery.revision, delivery.attempts) == (business, 1, 1))
        );
        assert_eq!(db.read(|tx| Box::pin(tx.next_delivery_at())).await, None, "somebody works on both");
        delivered(&db, &taken[0]).await;
        delivered(&db, &taken[1]).await;
        assert_eq!(depth(&db).await, Depth::default());
    }

    async fn asking_twice_is_one_delivery(db: Db) {
        let shop = db.shop(1).await;
        let booking = id();
        owe(&db, &shop, booking).await;
        owe(&db, &shop, booking).await;
        let taken = claim(&db, LONG, 9).await;
        assert_eq!((taken.len(), taken[0].revision), (1, 2));
    }

    async fn what_was_asked_for_again_during_its_delivery_stays_due(db: Db) {
        let shop = db.shop(1).await;
        let booking = id();
        owe(&db, &shop, booking).await;
        let first = claim(&db, LONG, 9).await.remove(0);
        db.clock.advance(TimeDelta::minutes(1));
        owe(&db, &shop, booking).await;
        assert_eq!(claim(&db, LONG, 9).await, [], "one worker at a time");
        delivered(&db, &first).await;
        let second = claim(&db, LONG, 9).await.remove(0);
        assert_eq!((second.id, second.revision, second.attempts), (first.id, 2, 1));
        delivered(&db, &second).await;
        assert_eq!(depth(&db).await, Depth::default());
    }

    async fn two_workers_never_get_one_delivery(db: Db) {
        let shop = db.shop(1).await;
        for _ in 0..40 {
            owe(&db, &shop, id()).await;
        }
        let mut tasks = JoinSet::new();
        for _ in 0..8 {
            let store = db.store.clone();
            tasks.spawn(async move {
                let mut mine = Vec::new();
                // On PostgreSQL a worker passes over what another is just taking, and may find nothing for once.
                for _ in 0..20 {
                    let work = store::work::<Vec<Delivery>, Error, _>(|tx| Box::pin(tx.claim_deliveries(LONG, 3, usize::MAX)));
                    let deliveries = store.write(Lane::Background, work).await.unwrap();
                    assert!(deliveries.len() <= 3, "{} are more than were asked for", deliveries.len());
                    mine.extend(deliveries);
                }
                mine
            });
        }
        let taken: Vec<Delivery> = tasks.join_all().await.concat();
        assert_eq!(taken.len(), 40);
        assert_eq!(taken.iter().map(|delivery| delivery.id).collect::<BTreeSet<_>>().len(), 40);
    }

    async fn a_lease_that_ends_gives_the_delivery_back(db: Db) {
        let shop = db.shop(1).await;
        let short = Duration::from_millis(300);
        owe(&db, &shop, id()).await;
        let first = claim(&db, short, 1).await.remove(0);
        assert!(holds(&db, &first).await);
        db.outlast(short).await;
        let second = claim(&db, LONG, 1).await.remove(0);
        assert_eq!((second.id, second.fence, second.attempts), (first.id, first.fence + 1, 2));
        assert!(!holds(&db, &first).await);

        // The first worker wakes up late: nothing that it says counts.
        later(&db, &first, 60).await;
        give_up(&db, &first).await;
        delivered(&db, &first).await;
        assert!(holds(&db, &second).await);
        assert_eq!(depth(&db).await, Depth { waiting: 1, dead: 0, oldest: Some(at(0)) });
        assert_eq!(claim(&db, LONG, 1).await, []);
    }

    async fn a_failed_delivery_waits_and_one_given_up_stays_visible(db: Db) {
        let shop = db.shop(1).await;
        let booking = id();
        owe(&db, &shop, booking).await;
        let first = claim(&db, LONG, 1).await.remove(0);
        later(&db, &first, 5).await;
        assert_eq!(claim(&db, LONG, 1).await, []);
        assert_eq!(db.read(|tx| Box::pin(tx.next_delivery_at())).await, Some(at(5)));
        db.clock.advance(TimeDelta::minutes(5));
        let second = claim(&db, LONG, 1).await.remove(0);
        assert_eq!(second.attempts, 2);

        give_up(&db, &second).await;
        assert_eq!(depth(&db).await, Depth { waiting: 0, dead: 1, oldest: None });
        assert_eq!(claim(&db, LONG, 1).await, []);
        owe(&db, &shop, booking).await;
        let third = claim(&db, LONG, 1).await.remove(0);
        assert_eq!((third.id, third.attempts), (first.id, 1), "a new change begins anew");
    }

    async fn what_was_asked_for_again_is_not_given_up_with_what_it_replaced(db: Db) {
        let shop = db.shop(1).await;
        let booking = id();
        owe(&db, &shop, booking).await;
        let first = claim(&db, LONG, 1).await.remove(0);
        owe(&db, &shop, booking).await;
        give_up(&db, &first).await;
        assert_eq!(depth(&db).await, Depth { waiting: 1, dead: 0, oldest: Some(at(0)) });
        assert_eq!(claim(&db, LONG, 1).await.remove(0).revision, 2);
    }

    async fn what_is_owed_is_owed_only_when_its_transaction_commits(db: Db) {
        let shop = db.shop(1).await;
        let (business, booking) = (shop.business.id, id());
        let failed: store::Result<()> = db
            .write(move |tx| {
                Box::pin(async move {
                    tx.owe_event(business, booking).await?;
                    Err(Error::Died)
                })
            })
            .await;
        assert!(failed.is_err());
        assert_eq!(depth(&db).await, Depth::default());
    }
}
