//! Many at once: what goes wrong without the store's precautions, and that it does not with them.

use std::sync::Arc;

use slotd::{
    domain::{BusinessId, ResourceId},
    store::{self, Error, Lane, Tx, bookings::Booking, claims, micros, offers::Offer, resources},
};
use sqlx::{PgPool, Row};
use tokio::{sync::Barrier, task::JoinSet};

use crate::harness::{
    Db, on_both_engines,
    samples::{at, between, booking, resource},
};

/// Callers at once in these tests.
const CALLERS: usize = 20;

fn code(error: &sqlx::Error) -> String {
    error.as_database_error().and_then(|error| error.code().map(Into::into)).unwrap_or_default()
}

/// Why [`store::Store::write`] takes the write lock first: a transaction that reads and then writes is refused at once
/// when somebody else wrote in between, whatever the busy timeout.
#[tokio::test]
async fn deferred_transactions_that_read_and_then_write_fail_on_sqlite() {
    let db = Db::sqlite().await;
    let shop = db.shop(1).await;
    let pool = db.raw(8).await.sqlite();
    let all_have_read = Arc::new(Barrier::new(8));
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let (pool, all_have_read, id) = (pool.clone(), Arc::clone(&all_have_read), shop.resource.id.to_string());
        tasks.spawn(async move {
            let mut tx = pool.begin().await?;
            let read = sqlx::query("SELECT capacity FROM resource WHERE id = ?").bind(&id).fetch_one(&mut *tx).await?;
            all_have_read.wait().await;
            let more = read.get::<i64, _>(0) + 1;
            sqlx::query("UPDATE resource SET capacity = ? WHERE id = ?").bind(more).bind(&id).execute(&mut *tx).await?;
            tx.commit().await
        });
    }
    let outcomes = tasks.join_all().await;
    let (done, failed): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((done.len(), failed.len()), (1, 7));
    // SQLITE_BUSY and SQLITE_BUSY_SNAPSHOT.
    let codes: Vec<String> = failed.iter().map(|failed| code(failed.as_ref().unwrap_err())).collect();
    assert!(codes.iter().all(|code| code == "5" || code == "517"), "{codes:?}");
}

/// Counts what a resource holds with the product's own statement, waits for everybody, and then books.
async fn book_without_a_lock(pool: PgPool, booking: Booking, everybody_counted: Arc<Barrier>) -> sqlx::Result<bool> {
    let mut tx = pool.begin().await?;
    let (start, end) = (micros(booking.interval.start()), micros(booking.interval.end()));
    let held = sqlx::query(claims::OVERLAPPING.postgres)
        .bind(booking.business.to_string())
        .bind(booking.resource.to_string())
        .bind(start)
        .bind(end)
        .bind(micros(at(0)))
        .fetch_all(&mut *tx)
        .await?;
    everybody_counted.wait().await;
    if held.len() >= 2 {
        return Ok(false);
    }
    let claim = "INSERT INTO claim (business_id, resource_id, booking_id, start_at, end_at, active, exclusive, forced)
                 VALUES ($1, $2, $3, $4, $5, 1, 0, 0)";
    sqlx::query(claim)
        .bind(booking.business.to_string())
        .bind(booking.resource.to_string())
        .bind(booking.id.to_string())
        .bind(start)
        .bind(end)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(true)
}

/// Why a booking locks its resource: no constraint counts to two.
#[tokio::test]
async fn counting_without_a_lock_overbooks_on_postgres() {
    let db = Db::postgres().await;
    let shop = db.shop(2).await;
    let pool = db.raw(u32::try_from(CALLERS).unwrap()).await.postgres();
    let everybody_counted = Arc::new(Barrier::new(CALLERS));
    let mut tasks = JoinSet::new();
    for _ in 0..CALLERS {
        let new = booking(&shop.resource, between(60, 90));
        let row = new.clone();
        db.write(move |tx| Box::pin(async move { tx.insert_booking(&row).await })).await.unwrap();
        tasks.spawn(book_without_a_lock(pool.clone(), new, Arc::clone(&everybody_counted)));
    }
    let booked = tasks.join_all().await.into_iter().filter(|outcome| *outcome.as_ref().unwrap()).count();
    assert_eq!(booked, CALLERS, "of a resource that holds two");
}

/// Why locks are taken in the order of ids.
#[tokio::test]
async fn locks_in_opposite_orders_deadlock_on_postgres() {
    let db = Db::postgres().await;
    let shop = db.shop(1).await;
    let second = resource(shop.business.id, 1);
    let row = second.clone();
    db.write(move |tx| Box::pin(async move { tx.insert_resource(&row).await })).await.unwrap();
    let pool = db.raw(2).await.postgres();
    let both_have_one = Arc::new(Barrier::new(2));
    let mut tasks = JoinSet::new();
    for order in [[shop.resource.id, second.id], [second.id, shop.resource.id]] {
        let (pool, both_have_one, business) = (pool.clone(), Arc::clone(&both_have_one), shop.business.id.to_string());
        tasks.spawn(async move {
            let mut tx = pool.begin().await?;
            let lock =
                |id: ResourceId| sqlx::query(resources::LOCK.postgres).bind(business.clone()).bind(id.to_string());
            lock(order[0]).execute(&mut *tx).await?;
            both_have_one.wait().await;
            lock(order[1]).execute(&mut *tx).await?;
            tx.commit().await
        });
    }
    let failed: Vec<sqlx::Error> = tasks.join_all().await.into_iter().filter_map(Result::err).collect();
    let codes: Vec<String> = failed.iter().map(code).collect();
    // deadlock_detected
    assert_eq!(codes, ["40P01"]);
}

/// Why resources are locked without their keys: whoever writes what a call was offered has the call's row and refers to the
/// resource, and a booking has the resource and wants the call's row.
#[tokio::test]
async fn what_only_refers_to_a_resource_does_not_wait_for_its_lock() {
    let db = Db::postgres().await;
    let shop = db.shop(1).await;
    let (business, resource, store) = (shop.business.id, shop.resource.id, db.store.clone());
    let booking = db.write(move |tx| {
        Box::pin(async move {
            tx.lock_resources(business, &[resource]).await?;
            let offers = store::work::<(), Error, _>(move |tx| {
                Box::pin(async move {
                    tx.touch_call(business, "call 1", None).await?;
                    let offer = Offer { interval: between(60, 90), resource, service: None };
                    tx.remember_offers(business, "call 1", &[offer]).await
                })
            });
            // It would give up after the longest wait for a lock.
            store.write(Lane::Background, offers).await?;
            tx.touch_call(business, "call 1", None).await
        })
    });
    booking.await.unwrap();
}

/// Books one of `capacity` places when there is one.
async fn book(tx: &mut Tx, new: &Booking, capacity: usize) -> store::Result<bool> {
    tx.lock_resources(new.business, &[new.resource]).await?;
    if tx.claims(new.business, Some(new.resource), new.interval, new.created_at).await?.len() >= capacity {
        return Ok(false);
    }
    tokio::task::yield_now().await;
    tx.insert_booking(new).await?;
    tx.insert_claim(new, new.resource, capacity == 1, false).await?;
    Ok(true)
}

async fn raise_capacity(tx: &mut Tx, business: BusinessId, id: ResourceId) -> store::Result<()> {
    tx.lock_resources(business, &[id]).await?;
    let mut known = tx.resources(business).await?.into_iter().find(|known| known.id == id).unwrap();
    known.capacity += 1;
    tokio::task::yield_now().await;
    tx.update_resource(&known).await
}

on_both_engines! {
    async fn transactions_that_read_and_then_write_never_fail_and_lose_nothing(db: Db) {
        let shop = db.shop(1).await;
        let (business, id) = (shop.business.id, shop.resource.id);
        let mut tasks = JoinSet::new();
        for n in 0..8 {
            let store = db.store.clone();
            let lane = if n % 2 == 0 { Lane::Caller } else { Lane::Background };
            tasks.spawn(async move {
                for _ in 0..10 {
                    let work = store::work::<(), Error, _>(move |tx| Box::pin(raise_capacity(tx, business, id)));
                    store.write(lane, work).await.unwrap();
                }
            });
        }
        tasks.join_all().await;
        assert_eq!(db.read(move |tx| Box::pin(tx.resources(business))).await[0].capacity, 81);
    }

    async fn counting_under_the_lock_books_exactly_as_many_as_there_is_room_for(db: Db) {
        for capacity in [1, 2, 3] {
            let shop = db.shop(capacity).await;
            let mut tasks = JoinSet::new();
            for n in 0..CALLERS {
                let store = db.store.clone();
                // Some are longer than others, all meet in the same half hour.
                let new = booking(&shop.resource, between(60, 90 + i64::try_from(n).unwrap()));
                tasks.spawn(async move {
                    let work = store::work::<bool, Error, _>(move |tx| {
                        Box::pin(async move { book(tx, &new, capacity as usize).await })
                    });
                    store.write(Lane::Caller, work).await
                });
            }
            let booked = tasks.join_all().await.into_iter().filter(|outcome| *outcome.as_ref().unwrap()).count();
            assert_eq!(booked, capacity as usize);
        }
    }

    async fn without_the_check_the_constraint_still_lets_only_one_in(db: Db) {
        let shop = db.shop(1).await;
        let mut tasks = JoinSet::new();
        for _ in 0..CALLERS {
            let (store, new) = (db.store.clone(), booking(&shop.resource, between(60, 90)));
            tasks.spawn(async move {
                let work = store::work::<(), Error, _>(move |tx| {
                    Box::pin(async move {
                        tx.insert_booking(&new).await?;
                        tx.insert_claim(&new, new.resource, true, false).await
                    })
                });
                store.write(Lane::Caller, work).await
            });
        }
        let (done, refused): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().partition(Result::is_ok);
        assert_eq!((done.len(), refused.len()), (1, CALLERS - 1));
        assert!(refused.iter().all(|refused| matches!(refused, Err(Error::Overlap))), "{refused:?}");
        assert_eq!(db.raw(1).await.count("SELECT COUNT(*) FROM booking").await, 1, "the losers left nothing");
    }

    async fn two_resources_can_be_locked_in_any_order(db: Db) {
        let shop = db.shop(1).await;
        let business = shop.business.id;
        let second = resource(business, 1);
        let row = second.clone();
        db.write(move |tx| Box::pin(async move { tx.insert_resource(&row).await })).await.unwrap();
        let mut tasks = JoinSet::new();
        for order in [[shop.resource.id, second.id], [second.id, shop.resource.id]].repeat(4) {
            let store = db.store.clone();
            tasks.spawn(async move {
                for _ in 0..25 {
                    let work = store::work::<(), Error, _>(move |tx| {
                        Box::pin(async move {
                            tx.lock_resources(business, &order).await?;
                            tokio::task::yield_now().await;
                            Ok(())
                        })
                    });
                    store.write(Lane::Caller, work).await.unwrap();
                }
            });
        }
        tasks.join_all().await;
    }

    async fn readers_see_one_state_and_wait_for_no_writer(db: Db) {
        let shop = db.shop(1).await;
        let (business, id) = (shop.business.id, shop.resource.id);
        let (store, other) = (db.store.clone(), db.store.clone());
        let seen = db
            .read(move |tx| {
                Box::pin(async move {
                    let before = tx.resources(business).await?[0].capacity;
                    let raise = store::work::<(), Error, _>(move |tx| Box::pin(raise_capacity(tx, business, id)));
                    store.write(Lane::Caller, raise).await?;
                    Ok((before, tx.resources(business).await?[0].capacity))
                })
            })
            .await;
        assert_eq!(seen, (1, 1));

        let under_way = db.write(move |tx| {
            Box::pin(async move {
                raise_capacity(tx, business, id).await?;
                other
                    .read(move |tx| Box::pin(async move { Ok::<_, Error>(tx.resources(business).await?[0].capacity) }))
                    .await
            })
        });
        assert_eq!(under_way.await.unwrap(), 2, "what is not committed is not seen");
        assert_eq!(db.read(move |tx| Box::pin(tx.resources(business))).await[0].capacity, 3);
    }

    async fn a_reader_cannot_write(db: Db) {
        let shop = db.shop(1).await;
        let business = shop.business.id;
        let tried = db.store.read(move |tx| Box::pin(tx.touch_call(business, "call 1", None))).await;
        assert!(matches!(tried, Err(Error::Driver(_))), "{tried:?}");
    }
}
