//! Callers who share a commit on SQLite.

use std::sync::Arc;

use slotd::{
    domain::BusinessId,
    store::{self, Error, Lane, Store, resources::Resource},
};
use tokio::{
    sync::Notify,
    task::{JoinSet, yield_now},
};

use crate::harness::{Db, samples::resource};

const CALLERS: usize = 10;

/// What one of them saw before its own commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Saw {
    /// Resources in its own transaction.
    inside: usize,
    /// Resources that are committed.
    outside: usize,
}

/// Inserts a resource and looks around.
async fn insert(store: &Store, new: Resource, wait: Option<Arc<Notify>>) -> store::Result<Saw> {
    let (reader, business) = (store.clone(), new.business);
    let work = store::work::<Saw, Error, _>(move |tx| {
        Box::pin(async move {
            tx.insert_resource(&new).await?;
            if let Some(wait) = wait {
                wait.notified().await;
            }
            let inside = tx.resources(business).await?.len();
            Ok(Saw { inside, outside: committed(&reader, business).await? })
        })
    });
    store.write(Lane::Caller, work).await
}

async fn committed(store: &Store, business: BusinessId) -> store::Result<usize> {
    let count =
        store::work::<usize, Error, _>(move |tx| Box::pin(async move { Ok(tx.resources(business).await?.len()) }));
    store.read(count).await
}

/// Lets whoever was started come as far as they come.
async fn all_wait() {
    for _ in 0..200 {
        yield_now().await;
    }
}

/// A caller that keeps the writer busy until `go`, so that those who come meanwhile wait together.
async fn first(db: &Db, business: BusinessId, go: &Arc<Notify>) -> JoinSet<store::Result<Saw>> {
    let mut tasks = JoinSet::new();
    let (store, wait) = (db.store.clone(), Some(Arc::clone(go)));
    tasks.spawn(async move { insert(&store, resource(business, 1), wait).await });
    all_wait().await;
    tasks
}

#[tokio::test]
async fn callers_who_wait_together_share_a_commit_and_are_answered_after_it() {
    let db = Db::sqlite().await;
    let business = db.shop(1).await.business.id;
    let go = Arc::new(Notify::new());
    let mut tasks = first(&db, business, &go).await;
    for _ in 0..CALLERS {
        let store = db.store.clone();
        tasks.spawn(async move {
            let saw = insert(&store, resource(business, 1), None).await?;
            assert!(committed(&store, business).await? >= saw.inside, "it was answered before it was durable");
            Ok(saw)
        });
    }
    all_wait().await;
    go.notify_one();
    let saw: Vec<Saw> = tasks.join_all().await.into_iter().map(Result::unwrap).collect();
    let alone = saw.iter().filter(|saw| saw.inside == saw.outside + 1).count();
    assert_eq!(alone, 1, "each but the first works on what the others have not committed: {saw:?}");
    assert_eq!(committed(&db.store, business).await.unwrap(), CALLERS + 2);
}

#[tokio::test]
async fn one_that_fails_or_dies_takes_nothing_of_the_others_along() {
    let db = Db::sqlite().await;
    let business = db.shop(1).await.business.id;
    let go = Arc::new(Notify::new());
    let mut tasks = first(&db, business, &go).await;
    for n in 0..CALLERS {
        let store = db.store.clone();
        tasks.spawn(async move {
            let new = resource(business, 1);
            let work = store::work::<Saw, Error, _>(move |tx| {
                Box::pin(async move {
                    tx.insert_resource(&new).await?;
                    match n % 3 {
                        0 => tx.insert_resource(&new).await.map(|()| unreachable!("the row is there already")),
                        1 => panic!("this one dies"),
                        _ => Ok(Saw { inside: 0, outside: 0 }),
                    }
                })
            });
            store.write(Lane::Caller, work).await
        });
    }
    all_wait().await;
    go.notify_one();
    let outcomes = tasks.join_all().await;
    let count = |of: fn(&store::Result<Saw>) -> bool| outcomes.iter().filter(|outcome| of(outcome)).count();
    assert_eq!(count(|outcome| matches!(outcome, Err(Error::Exists))), 4);
    assert_eq!(count(|outcome| matches!(outcome, Err(Error::Died))), 3);
    assert_eq!(count(Result::is_ok), 3 + 1);
    assert_eq!(
        committed(&db.store, business).await.unwrap(),
        1 + 3 + 1,
        "of the shop, the first and those that went well"
    );
}

#[tokio::test]
async fn background_work_waits_until_what_callers_share_is_committed() {
    let db = Db::sqlite().await;
    let business = db.shop(1).await.business.id;
    let go = Arc::new(Notify::new());
    let mut tasks = first(&db, business, &go).await;
    for _ in 0..CALLERS {
        let store = db.store.clone();
        tasks.spawn(async move { insert(&store, resource(business, 1), None).await });
    }
    let (store, reader) = (db.store.clone(), db.store.clone());
    tasks.spawn(async move {
        let work = store::work::<Saw, Error, _>(move |tx| {
            Box::pin(async move {
                let inside = tx.resources(business).await?.len();
                Ok(Saw { inside, outside: committed(&reader, business).await? })
            })
        });
        let saw = store.write(Lane::Background, work).await?;
        assert_eq!(saw.inside, saw.outside, "it worked in a transaction of callers");
        Ok(saw)
    });
    all_wait().await;
    go.notify_one();
    let failed = tasks.join_all().await.into_iter().filter(Result::is_err).count();
    assert_eq!(failed, 0);
}
