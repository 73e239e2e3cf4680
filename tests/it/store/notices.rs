//! Notices: one row for each message and endpoint, taken by one worker at a time and in the order of their booking.

use std::time::Duration;

use chrono::TimeDelta;
use slotd::{
    domain::{id::EndpointId, notice::Kind},
    store::{
        self, Error, Sql,
        bookings::Booking,
        claims::{Source, Step},
        endpoints::{Disabled, Endpoint},
        notices::{Announcement, Notice},
    },
};

use crate::harness::{
    Db, on_both_engines,
    samples::{START, Shop, at, between, booking, id},
};

/// Longer than any test.
const LONG: Duration = Duration::from_mins(10);

async fn endpoint(db: &Db, shop: &Shop, events: Vec<Kind>) -> Endpoint {
    let endpoint = Endpoint {
        business: shop.business.id,
        id: id(),
        url: "https://example.com/hook?token=7".to_owned(),
        secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into(),
        description: "the phone system".to_owned(),
        events,
        personal_data: false,
        disabled: None,
        failing_since: None,
        paused_until: None,
        last_ok_at: None,
        last_error: None,
        created_at: START,
    };
    let row = endpoint.clone();
    db.write(move |tx| Box::pin(async move { tx.insert_endpoint(&row).await })).await.unwrap();
    endpoint
}

async fn booked(db: &Db, shop: &Shop, from: i64) -> Booking {
    let booking = booking(&shop.resource, between(from, from + 30));
    db.insert(&booking, true, false).await.unwrap();
    booking
}

async fn step(db: &Db, booking: &Booking, step: Step) {
    let booking = booking.clone();
    db.write(move |tx| Box::pin(async move { tx.record_step(&booking, step, Source::Receptionist).await }))
        .await
        .unwrap();
}

async fn claim(db: &Db, lease: Duration, per_endpoint: usize) -> Vec<Notice> {
    let mut claimed =
        db.write(move |tx| Box::pin(async move { tx.claim_notices(lease, 100, per_endpoint).await })).await.unwrap();
    claimed.sort_by(|a, b| (a.endpoint, &a.kind).cmp(&(b.endpoint, &b.kind)));
    claimed
}

fn kinds(notices: &[Notice]) -> Vec<&str> {
    notices.iter().map(|notice| notice.kind.as_str()).collect()
}

async fn settled(db: &Db, notice: &Notice) {
    let notice = notice.clone();
    db.write(move |tx| Box::pin(async move { tx.noticed(&notice).await })).await.unwrap();
}

async fn give_up(db: &Db, notice: &Notice) {
    let notice = notice.clone();
    db.write(move |tx| Box::pin(async move { tx.give_notice_up(&notice, "no").await })).await.unwrap();
}

async fn later(db: &Db, notice: &Notice, minute: i64) {
    let notice = notice.clone();
    db.write(move |tx| Box::pin(async move { tx.notice_later(&notice, at(minute), "no").await })).await.unwrap();
}

async fn holds(db: &Db, notice: &Notice) -> bool {
    let notice = notice.clone();
    db.write(move |tx| Box::pin(async move { tx.holds_notice(&notice).await })).await.unwrap()
}

async fn disable(db: &Db, shop: &Shop, endpoint: EndpointId) -> bool {
    let business = shop.business.id;
    let disable =
        db.write(move |tx| Box::pin(async move { tx.disable_endpoint(business, endpoint, Disabled::Gone).await }));
    disable.await.unwrap()
}

on_both_engines! {
    async fn the_next_about_a_booking_waits_for_the_one_before_at_each_endpoint(db: Db) {
        let shop = db.shop(1).await;
        let (_all, some) = (endpoint(&db, &shop, Vec::new()).await, endpoint(&db, &shop, vec![Kind::Cancelled]).await);
        let (one, other) = (booked(&db, &shop, 0).await, booked(&db, &shop, 60).await);
        for what in [Step::Created, Step::Rescheduled, Step::Cancelled] {
            step(&db, &one, what).await;
        }
        step(&db, &other, Step::Created).await;
        let first = claim(&db, LONG, usize::MAX).await;
        assert_eq!(kinds(&first), ["booking.created", "booking.created", "booking.cancelled"]);
        assert_eq!(first[2].endpoint, some.id, "it wants nothing else");
        assert_eq!(claim(&db, LONG, usize::MAX).await, []);

        // Put back it keeps its place; given up it makes way.
        let mine = first[..2].iter().find(|notice| notice.payload.contains(&one.id.to_string())).unwrap().clone();
        later(&db, &mine, 5).await;
        assert_eq!(claim(&db, LONG, usize::MAX).await, []);
        db.clock.advance(TimeDelta::minutes(5));
        let again = claim(&db, LONG, usize::MAX).await.remove(0);
        assert_eq!((again.id, again.attempts), (mine.id, 2));
        give_up(&db, &again).await;
        let next = claim(&db, LONG, usize::MAX).await;
        assert_eq!(kinds(&next), ["booking.rescheduled"]);
        settled(&db, &next[0]).await;
        assert_eq!(kinds(&claim(&db, LONG, usize::MAX).await), ["booking.cancelled"]);
    }

    async fn a_lease_that_ends_passes_a_notice_on_and_its_old_holder_settles_nothing(db: Db) {
        let shop = db.shop(1).await;
        let endpoint = endpoint(&db, &shop, Vec::new()).await;
        let one = booked(&db, &shop, 0).await;
        step(&db, &one, Step::Created).await;
        let late = claim(&db, Duration::ZERO, 1).await.remove(0);
        let now = claim(&db, LONG, 1).await.remove(0);
        assert_eq!((late.id, late.fence + 1), (now.id, now.fence));
        assert!(!holds(&db, &late).await);
        for settle in [0, 1, 2] {
            match settle {
                0 => settled(&db, &late).await,
                1 => give_up(&db, &late).await,
                _ => later(&db, &late, 60).await,
            }
            assert!(holds(&db, &now).await, "{settle}");
        }
        // What is in flight is not given up with its endpoint; whoever has it settles it.
        step(&db, &one, Step::Edited).await;
        assert!(disable(&db, &shop, endpoint.id).await);
        assert!(!disable(&db, &shop, endpoint.id).await, "once");
        assert!(holds(&db, &now).await);
        let depth = db.read(|tx| Box::pin(tx.notice_depth())).await;
        assert_eq!((depth.waiting, depth.dead), (1, 1));
        step(&db, &one, Step::Cancelled).await;
        let depth = db.read(|tx| Box::pin(tx.notice_depth())).await;
        assert_eq!((depth.waiting, depth.dead), (1, 1), "a disabled endpoint is told nothing");
    }

    async fn one_endpoint_has_no_more_in_flight_than_it_may(db: Db) {
        let shop = db.shop(1).await;
        let (_one, _other) = (endpoint(&db, &shop, Vec::new()).await, endpoint(&db, &shop, Vec::new()).await);
        for place in 0..5 {
            let booking = booked(&db, &shop, place * 60).await;
            step(&db, &booking, Step::Created).await;
        }
        let first = claim(&db, LONG, 2).await;
        assert_eq!(first.len(), 4, "two of each");
        assert_eq!(first.iter().filter(|notice| notice.endpoint == first[0].endpoint).count(), 2);
        assert_eq!(claim(&db, LONG, 2).await, []);
        settled(&db, &first[0]).await;
        let next = claim(&db, LONG, 2).await;
        assert_eq!((next.len(), next[0].endpoint), (1, first[0].endpoint));
    }

    async fn a_notice_is_owed_only_when_its_step_commits_and_is_sealed(db: Db) {
        let shop = db.shop(1).await;
        let endpoint = endpoint(&db, &shop, Vec::new()).await;
        let one = booked(&db, &shop, 0).await;
        let (business, row) = (shop.business.id, one.clone());
        let failed: store::Result<()> = db
            .write(move |tx| {
                Box::pin(async move {
                    tx.announce(business, Announcement::booking(Kind::Conflict, Source::Owner, &row)).await?;
                    Err(Error::Died)
                })
            })
            .await;
        assert!(failed.is_err());
        assert_eq!(claim(&db, LONG, 1).await, []);
        step(&db, &one, Step::Created).await;
        let raw = db.raw(1).await;
        for column in ["SELECT payload FROM notice", "SELECT url FROM webhook_endpoint", "SELECT secret FROM webhook_endpoint"] {
            let rows: Vec<(Vec<u8>,)> = raw.rows(Sql::same(column)).await;
            let stored = &rows[0].0;
            for secret in ["whsec_", "example.com", "booking.created"] {
                assert!(!stored.windows(secret.len()).any(|part| part == secret.as_bytes()), "{column} shows {secret}");
            }
        }
        let read = db.read(move |tx| Box::pin(async move { tx.endpoint(business, endpoint.id).await })).await.unwrap();
        assert_eq!((read.url, read.description), (endpoint.url, endpoint.description));
    }
}
