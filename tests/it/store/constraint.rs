//! The database itself keeps exclusive claims apart, whatever the code above it checks.

use chrono::TimeDelta;
use slotd::{
    domain::booking::State,
    store::{Error, bookings::Booking, micros},
};

use crate::harness::{
    Db, Raw, on_both_engines,
    samples::{Shop, at, between, booking},
};

/// In minutes.
const WEEK: i64 = 7 * 24 * 60;

/// A claim, past the store.
fn claim(booking: &Booking, active: u8, exclusive: u8, forced: u8) -> String {
    format!(
        "INSERT INTO claim (business_id, resource_id, booking_id, start_at, end_at, active, exclusive, forced)
         VALUES ('{}', '{}', '{}', {}, {}, {active}, {exclusive}, {forced})",
        booking.business,
        booking.resource,
        booking.id,
        micros(booking.interval.start()),
        micros(booking.interval.end()),
    )
}

/// A booking in the database that claims nothing yet.
async fn unclaimed(db: &Db, shop: &Shop, from: i64, to: i64) -> Booking {
    let new = booking(&shop.resource, between(from, to));
    let row = new.clone();
    db.write(move |tx| Box::pin(async move { tx.insert_booking(&row).await })).await.unwrap();
    new
}

async fn refused(raw: &Raw, sql: &str) {
    let error = raw.execute(sql).await.unwrap_err();
    let overlap = Error::from(error);
    assert!(matches!(overlap, Error::Overlap), "{overlap:?}");
}

on_both_engines! {
    async fn overlapping_claims_are_refused_whoever_writes_them(db: Db) {
        let shop = db.shop(1).await;
        let raw = db.raw(1).await;
        db.insert(&booking(&shop.resource, between(60, 120)), true, false).await.unwrap();

        for (from, to) in [(60, 120), (30, 61), (119, 180), (90, 100), (0, 600)] {
            refused(&raw, &claim(&unclaimed(&db, &shop, from, to).await, 1, 1, 0)).await;
            let through = db.insert(&booking(&shop.resource, between(from, to)), true, false).await;
            assert!(matches!(through, Err(Error::Overlap)), "[{from}, {to}): {through:?}");
        }
        assert_eq!(raw.count("SELECT COUNT(*) FROM claim").await, 1);
    }

    async fn touching_claims_are_accepted(db: Db) {
        let shop = db.shop(1).await;
        let raw = db.raw(1).await;
        db.insert(&booking(&shop.resource, between(60, 120)), true, false).await.unwrap();
        db.insert(&booking(&shop.resource, between(120, 150)), true, false).await.unwrap();
        raw.execute(&claim(&unclaimed(&db, &shop, 30, 60).await, 1, 1, 0)).await.unwrap();
    }

    async fn buffers_belong_to_the_claim(db: Db) {
        let shop = db.shop(1).await;
        let buffered = Booking {
            buffer_before: TimeDelta::minutes(10),
            buffer_after: TimeDelta::minutes(5),
            ..booking(&shop.resource, between(60, 120))
        };
        db.insert(&buffered, true, false).await.unwrap();
        for (from, to, free) in [(40, 50, true), (40, 51, false), (124, 150, false), (125, 150, true)] {
            let outcome = db.insert(&booking(&shop.resource, between(from, to)), true, false).await;
            assert_eq!(outcome.is_ok(), free, "[{from}, {to}): {outcome:?}");
        }
    }

    async fn the_longest_claim_still_keeps_others_out(db: Db) {
        let shop = db.shop(1).await;
        db.insert(&booking(&shop.resource, between(0, WEEK)), true, false).await.unwrap();
        let last_minute = db.insert(&booking(&shop.resource, between(WEEK - 1, WEEK + 30)), true, false).await;
        assert!(matches!(last_minute, Err(Error::Overlap)), "{last_minute:?}");
        let longer = db.insert(&booking(&shop.resource, between(2 * WEEK, 3 * WEEK + 1)), true, false).await;
        assert!(matches!(longer, Err(Error::Corrupt { .. })), "{longer:?}");
        let raw = db.raw(1).await;
        let longer = unclaimed(&db, &shop, 2 * WEEK, 3 * WEEK + 1).await;
        assert!(raw.execute(&claim(&longer, 1, 1, 0)).await.is_err(), "also by the tables");
    }

    async fn what_the_owner_forced_may_overlap(db: Db) {
        let shop = db.shop(1).await;
        db.insert(&booking(&shop.resource, between(60, 120)), true, false).await.unwrap();
        db.insert(&booking(&shop.resource, between(90, 150)), true, true).await.unwrap();
        let third = db.insert(&booking(&shop.resource, between(100, 110)), true, false).await;
        assert!(matches!(third, Err(Error::Overlap)), "the first still stands: {third:?}");
    }

    async fn claims_of_a_shared_resource_are_not_kept_apart(db: Db) {
        let shop = db.shop(2).await;
        for _ in 0..2 {
            db.insert(&booking(&shop.resource, between(60, 120)), false, false).await.unwrap();
        }
    }

    async fn claims_of_another_resource_or_business_do_not_count(db: Db) {
        let (shop, other) = (db.shop(1).await, db.shop(1).await);
        let second = crate::harness::samples::resource(shop.business.id, 1);
        let row = second.clone();
        db.write(move |tx| Box::pin(async move { tx.insert_resource(&row).await })).await.unwrap();
        for resource in [&shop.resource, &second, &other.resource] {
            db.insert(&booking(resource, between(60, 120)), true, false).await.unwrap();
        }
    }

    async fn ended_claims_do_not_count_and_cannot_come_back_over_others(db: Db) {
        let shop = db.shop(1).await;
        let raw = db.raw(1).await;
        let first = booking(&shop.resource, between(60, 120));
        db.insert(&first, true, false).await.unwrap();
        let ended = first.clone();
        db.write(move |tx| Box::pin(async move { tx.end_claims(&ended).await })).await.unwrap();
        db.insert(&booking(&shop.resource, between(90, 150)), true, false).await.unwrap();
        raw.execute(&claim(&unclaimed(&db, &shop, 60, 120).await, 0, 1, 0)).await.unwrap();

        refused(&raw, &format!("UPDATE claim SET active = 1 WHERE booking_id = '{}'", first.id)).await;
    }

    async fn a_claim_cannot_be_changed_into_an_overlap(db: Db) {
        let shop = db.shop(1).await;
        let raw = db.raw(1).await;
        db.insert(&booking(&shop.resource, between(60, 120)), true, false).await.unwrap();
        let later = booking(&shop.resource, between(120, 180));
        db.insert(&later, true, false).await.unwrap();
        let forced = booking(&shop.resource, between(70, 80));
        db.insert(&forced, true, true).await.unwrap();

        let earlier = micros(at(119));
        refused(&raw, &format!("UPDATE claim SET start_at = {earlier} WHERE booking_id = '{}'", later.id)).await;
        refused(&raw, &format!("UPDATE claim SET forced = 0 WHERE booking_id = '{}'", forced.id)).await;
        let shorter = micros(at(130));
        let own = format!("UPDATE claim SET start_at = {shorter} WHERE booking_id = '{}'", later.id);
        assert_eq!(raw.execute(&own).await.unwrap(), 1, "its own old time is not in its way");
    }

    async fn a_hold_that_ran_out_keeps_out_until_it_is_ended(db: Db) {
        let shop = db.shop(1).await;
        let hold = Booking { state: State::Held { until: at(5) }, ..booking(&shop.resource, between(60, 120)) };
        db.insert(&hold, true, false).await.unwrap();
        let wish = booking(&shop.resource, between(60, 120));
        assert!(matches!(db.insert(&wish, true, false).await, Err(Error::Overlap)));

        let (business, resource) = (shop.business.id, shop.resource.id);
        let seen = |now| db.read(move |tx| Box::pin(tx.claims(business, Some(resource), between(0, 600), now)));
        assert_eq!((seen(at(4)).await.len(), seen(at(5)).await.len()), (1, 0), "half-open, before anybody ended it");
        let expire = |now| db.write(move |tx| Box::pin(tx.expire_claims(business, resource, now)));
        assert_eq!(expire(at(4)).await.unwrap(), 0);
        assert_eq!(expire(at(5)).await.unwrap(), 1);
        db.insert(&wish, true, false).await.unwrap();
    }
}
