//! The feed of changes, within a node and between nodes.

use std::time::Duration;

use slotd::{
    domain::BusinessId,
    store::{
        self, Lane, Store,
        changes::{Change, Changes, Heard, Part},
        work,
    },
};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::harness::{Db, on_both_engines, samples};

/// How long a change may take that has to be heard of.
const HEARD_MAX: Duration = Duration::from_secs(30);
/// Longer than a node needs to look at the table twice.
const TWO_LOOKS: Duration = Duration::from_millis(2_500);

/// A business of its own.
async fn a_business(db: &Db) -> BusinessId {
    let business = samples::business();
    let id = business.id;
    db.write(move |tx| Box::pin(async move { tx.insert_business(&business).await })).await.unwrap();
    id
}

/// Changes the calls of a business.
async fn hang_up(store: &Store, business: BusinessId) {
    let change = work::<(), store::Error, _>(move |tx| {
        Box::pin(async move {
            tx.touch_call(business, "call", None).await?;
            tx.hang_up(business, "call").await
        })
    });
    store.write(Lane::Caller, change).await.unwrap();
}

fn of_calls(business: BusinessId) -> Heard {
    Heard::Changed(Change { business, part: Part::Calls })
}

/// Listens until all of `wanted` were heard.
async fn hear(changes: &mut Changes, mut wanted: Vec<Heard>) {
    let all = async {
        while !wanted.is_empty() {
            let heard = changes.next().await;
            wanted.retain(|one| *one != heard);
        }
    };
    timeout(HEARD_MAX, all).await.expect("all of it is heard in time");
}

/// A store whose changes are carried while this lives.
struct Carrying {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Carrying {
    fn of(store: &Store) -> Self {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(store.clone().carry_changes(stop.clone()));
        tasks.close();
        Self { stop, tasks }
    }

    async fn end(self) {
        self.stop.cancel();
        timeout(HEARD_MAX, self.tasks.wait()).await.expect("it stops when it is told");
    }
}

on_both_engines! {
    async fn a_change_is_heard_of_after_the_commit_and_not_after_a_rollback(db: Db) {
        let business = a_business(&db).await;
        let mut changes = db.store.changes();
        let (release, released) = oneshot::channel::<()>();
        let store = db.store.clone();
        let tasks = TaskTracker::new();
        tasks.spawn(async move {
            let change = work::<(), store::Error, _>(move |tx| {
                Box::pin(async move {
                    tx.hang_up(business, "call").await?;
                    released.await.unwrap();
                    Ok(())
                })
            });
            store.write(Lane::Caller, change).await.unwrap();
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(changes.try_next(), None, "nobody can see it yet");
        release.send(()).unwrap();
        hear(&mut changes, vec![of_calls(business)]).await;

        let fails = work::<(), store::Error, _>(move |tx| {
            Box::pin(async move {
                tx.hang_up(business, "call").await?;
                Err(store::Error::NoBusiness)
            })
        });
        db.store.write(Lane::Caller, fails).await.unwrap_err();
        assert_eq!(changes.try_next(), None);
    }

    async fn carrying_stops_when_it_is_told(db: Db) {
        let business = a_business(&db).await;
        let carrying = Carrying::of(&db.store);
        let mut changes = db.store.changes();
        hang_up(&db.store, business).await;
        hear(&mut changes, vec![of_calls(business)]).await;
        carrying.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_node_is_notified_at_once() {
    let db = Db::postgres().await;
    let business = a_business(&db).await;
    let other = db.another_node(4).await;
    let carrying = [Carrying::of(&db.store), Carrying::of(&other)];
    let mut changes = other.changes();
    // The first may come while it is not listening yet; then the table tells it.
    hang_up(&db.store, business).await;
    hear(&mut changes, vec![of_calls(business)]).await;
    tokio::time::sleep(TWO_LOOKS).await;
    while changes.try_next().is_some() {}
    let mut quickest = HEARD_MAX;
    for _ in 0..10 {
        let began = Instant::now();
        hang_up(&db.store, business).await;
        hear(&mut changes, vec![of_calls(business)]).await;
        quickest = quickest.min(began.elapsed());
    }
    // The table is looked at once a second; one of ten that came that way would have taken much longer.
    assert!(quickest < Duration::from_millis(100), "{quickest:?}");
    for one in carrying {
        one.end().await;
    }
    other.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_notification_told_is_found_in_the_table() {
    let db = Db::postgres().await;
    let business = a_business(&db).await;
    // This node writes, and tells nobody.
    let silent = db.another_node(4).await;
    let carrying = Carrying::of(&db.store);
    let mut changes = db.store.changes();
    tokio::time::sleep(TWO_LOOKS).await;
    hang_up(&silent, business).await;
    hear(&mut changes, vec![of_calls(business)]).await;
    carrying.end().await;
    silent.close().await;
}

/// Its number is lower than that of one that was read already, had it been.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_commits_late_is_not_skipped() {
    let db = Db::postgres().await;
    let (slow, quick) = (a_business(&db).await, a_business(&db).await);
    let silent = db.another_node(4).await;
    let carrying = Carrying::of(&db.store);
    let mut changes = db.store.changes();
    tokio::time::sleep(TWO_LOOKS).await;
    let (begun, has_begun) = oneshot::channel::<()>();
    let (release, released) = oneshot::channel::<()>();
    let (tasks, store) = (TaskTracker::new(), silent.clone());
    tasks.spawn(async move {
        let change = work::<(), store::Error, _>(move |tx| {
            Box::pin(async move {
                tx.hang_up(slow, "call").await?;
                begun.send(()).unwrap();
                released.await.unwrap();
                Ok(())
            })
        });
        store.write(Lane::Caller, change).await.unwrap();
    });
    has_begun.await.unwrap();
    hang_up(&silent, quick).await;
    tokio::time::sleep(TWO_LOOKS).await;
    release.send(()).unwrap();
    hear(&mut changes, vec![of_calls(slow), of_calls(quick)]).await;
    carrying.end().await;
    silent.close().await;
}
