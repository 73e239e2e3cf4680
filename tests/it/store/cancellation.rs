//! Callers hang up at any moment: a transaction is done or was never begun, and its connection is whole afterwards.

use std::time::Duration;

use slotd::{
    domain::{BusinessId, Chance, clock::SystemChance},
    store::{Error, Lane, Store, work},
};
use tokio::time::{Instant, timeout};

use crate::harness::{Db, Raw, on_both_engines, samples};

/// Callers that hang up in each test.
const CALLERS: u64 = 200;
/// A transaction of these tests takes about as long.
const TRANSACTION_US: u64 = 4_000;

/// Writes two rows that belong together.
async fn write_pair(store: Store, business: BusinessId, name: String) -> Result<(), Error> {
    let work = work::<(), Error, _>(move |tx| {
        Box::pin(async move {
            tx.touch_call(business, &format!("{name} a"), None).await?;
            tokio::task::yield_now().await;
            tx.touch_call(business, &format!("{name} b"), None).await
        })
    });
    store.write(Lane::Caller, work).await
}

/// What a connection left inside a transaction would do: later commits of the store stay invisible to everybody else.
async fn assert_commits_are_seen(store: &Store, raw: &Raw, business: BusinessId) {
    for n in 0..8 {
        let name = format!("after {n}");
        timeout(Duration::from_secs(10), write_pair(store.clone(), business, name.clone())).await.unwrap().unwrap();
        let seen = raw.execute(&format!("UPDATE call SET seen_at = 7 WHERE call_id LIKE '{name} _'")).await.unwrap();
        assert_eq!(seen, 2, "{name}");
    }
}

/// Waits until no transaction that a caller left behind runs any more. A connection that was left inside one shows only
/// until the next use, so this is asked after each caller.
async fn settle(raw: &Raw) {
    let Raw::Postgres(pool) = raw else {
        // Fails after a wait when somebody keeps the write lock.
        raw.execute("UPDATE call SET seen_at = seen_at").await.unwrap();
        return;
    };
    let open = "SELECT COUNT(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()
                   AND (state = 'active' OR state LIKE '%transaction%')";
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let (count,): (i64,) = sqlx::query_as(open).fetch_one(pool).await.unwrap();
        if count == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{count} connections stay inside a transaction");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Calls, and hangs up at a random moment.
async fn hang_up<T>(call: impl Future<Output = T>) {
    let mut call = Box::pin(call);
    let patience = Duration::from_micros(random_below(TRANSACTION_US));
    let since = Instant::now();
    while futures_util::poll!(&mut call).is_pending() && since.elapsed() < patience {
        tokio::task::yield_now().await;
    }
}

fn random_below(limit: u64) -> u64 {
    let mut bytes = [0; 8];
    SystemChance.fill(&mut bytes);
    u64::from_le_bytes(bytes) % limit
}

const HALVES: &str = "SELECT COUNT(*) FROM (SELECT 1 FROM call GROUP BY substr(call_id, 1, length(call_id) - 2)
                                            HAVING COUNT(*) <> 2) halves";

on_both_engines! {
    async fn writers_that_go_away_leave_whole_transactions_and_connections(db: Db) {
        let business = db.shop(1).await.business.id;
        let (store, raw) = (db.another_node(1).await, db.raw(1).await);
        for n in 0..CALLERS {
            hang_up(write_pair(store.clone(), business, format!("caller {n}"))).await;
            settle(&raw).await;
        }
        assert_commits_are_seen(&store, &raw, business).await;
        assert_eq!(raw.count(HALVES).await, 0);
        let written = raw.count("SELECT COUNT(*) FROM call WHERE call_id LIKE 'caller%'").await;
        assert!(written > 0 && written % 2 == 0, "{written}");
    }

    async fn readers_that_go_away_leave_whole_connections(db: Db) {
        let business = db.shop(1).await.business.id;
        let (store, raw) = (db.another_node(1).await, db.raw(1).await);
        for _ in 0..CALLERS {
            hang_up(store.read(work::<_, Error, _>(move |tx| Box::pin(tx.call(business, "nobody"))))).await;
            settle(&raw).await;
        }
        assert_commits_are_seen(&store, &raw, business).await;
        for n in 0..8 {
            let name = format!("after {n} b");
            let seen =
                store.read(work::<_, Error, _>(move |tx| Box::pin(async move { tx.call(business, &name).await })));
            assert!(timeout(Duration::from_secs(10), seen).await.unwrap().unwrap().is_some(), "an old state is read");
        }
    }

    async fn a_transaction_that_panics_is_rolled_back_and_frees_its_connection(db: Db) {
        let business = db.shop(1).await.business.id;
        let (store, raw) = (db.another_node(1).await, db.raw(1).await);
        for _ in 0..5 {
            let work = work::<(), Error, _>(move |tx| {
                Box::pin(async move {
                    tx.touch_call(business, "lost a", None).await?;
                    panic!("as a fault in a handler would")
                })
            });
            assert!(matches!(store.write(Lane::Caller, work).await, Err(Error::Died)));
            settle(&raw).await;
        }
        assert_commits_are_seen(&store, &raw, business).await;
        assert_eq!(raw.count("SELECT COUNT(*) FROM call WHERE call_id LIKE 'lost%'").await, 0);
    }

    async fn keys_of_a_business_that_was_rolled_back_are_forgotten(db: Db) {
        let business = samples::business();
        let account = samples::account(business.id);
        let rows = (business.clone(), account.clone());
        let failed: slotd::store::Result<()> = db
            .write(move |tx| {
                Box::pin(async move {
                    tx.insert_business(&rows.0).await?;
                    tx.save_account(&rows.1).await?;
                    Err(Error::Died)
                })
            })
            .await;
        assert!(failed.is_err());
        let rows = (business.clone(), account.clone());
        let written = db.write(move |tx| {
            Box::pin(async move {
                tx.insert_business(&rows.0).await?;
                tx.save_account(&rows.1).await
            })
        });
        written.await.unwrap();
        let node = db.another_node(1).await;
        let read = node.read(work::<_, Error, _>(move |tx| Box::pin(tx.accounts(business.id)))).await;
        assert_eq!(read.unwrap()[0].email, account.email, "another node opens what this one sealed");
    }
}
