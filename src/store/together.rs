//! Commits callers' transactions together on SQLite.
//!
//! A commit waits for the disk, and SQLite has one writer. So callers who come while one of them writes are let into its
//! transaction one after the other, each behind a savepoint of its own: what one of them undoes, the others keep. The
//! last commits for all, and nobody is answered before that.

use std::{
    collections::BTreeSet,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{FutureExt, future::BoxFuture};
use sqlx::{Sqlite, SqlitePool, Transaction};
use tokio::sync::oneshot;

use super::{
    Error, Result, Store, Tx,
    changes::Change,
    engine::{EngineTx, begin_immediate},
};

/// The most that one commit is for: the first of them waits for the work of all the others.
const MEMBERS_MAX: usize = 32;

/// How a commit went.
type Settled = Result<(), Arc<sqlx::Error>>;

/// The transaction that the next caller enters. Whoever has the turn has it; in between it lies here.
#[derive(Debug, Clone, Default)]
pub(super) struct Together(Arc<Mutex<Option<Open>>>);

/// A transaction that has not been committed, and who waits for that.
#[derive(Debug)]
pub(super) struct Open {
    tx: Transaction<'static, Sqlite>,
    members: Vec<oneshot::Sender<Settled>>,
    /// What those who listen are told after the commit.
    changes: BTreeSet<Change>,
    /// Somebody is owed a notice.
    announces: bool,
}

/// One who worked in a transaction, and did not commit it yet.
#[derive(Debug)]
pub(super) struct Left {
    open: Open,
    settled: oneshot::Receiver<Settled>,
}

/// Hears how the commit goes.
#[derive(Debug)]
pub(super) struct Durable(oneshot::Receiver<Settled>);

impl Together {
    /// The transaction that was left for whoever has the turn now, else a new one.
    pub(super) async fn enter(&self, writer: &SqlitePool) -> Result<Open> {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match left {
            Some(open) => Ok(open),
            None => Ok(Open {
                tx: begin_immediate(writer).await?,
                members: Vec::new(),
                changes: BTreeSet::new(),
                announces: false,
            }),
        }
    }

    /// Leaves it to the next who has the turn.
    pub(super) fn leave(&self, left: Left) -> Durable {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(left.open);
        Durable(left.settled)
    }
}

impl Open {
    /// Does somebody's work, and undoes it alone when it fails.
    ///
    /// # Errors
    ///
    /// When the engine has given up the whole transaction, as it does when the disk is full: then all who share it failed.
    pub(super) async fn work<T, E, F>(mut self, store: &Store, work: F) -> Result<(Result<T, E>, Left), E>
    where
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send,
        E: From<Error>,
    {
        if let Err(lost) = sqlx::query("SAVEPOINT caller").execute(&mut *self.tx).await {
            let lost = Arc::new(lost);
            tell(self.members, &Err(Arc::clone(&lost)));
            return Err(Error::NotCommitted(lost).into());
        }
        let mut tx = Tx::shared(self.tx, store);
        // A panic is the failure of the one, and not of those who share the transaction.
        let outcome = AssertUnwindSafe(work(&mut tx)).catch_unwind().await;
        let outcome = outcome.unwrap_or_else(|_| Err(Error::Died.into()));
        if outcome.is_ok() {
            self.changes.append(&mut tx.changes);
            self.announces |= tx.announces;
        }
        let EngineTx::Sqlite(mut tx) = tx.engine else { return Err(Error::Died.into()) };
        if let Err(lost) = end_savepoint(&mut tx, outcome.is_ok()).await {
            let lost = Arc::new(lost);
            tell(self.members, &Err(Arc::clone(&lost)));
            return Err(outcome.err().unwrap_or_else(|| Error::NotCommitted(lost).into()));
        }
        let (tells, settled) = oneshot::channel();
        self.members.push(tells);
        let Self { members, changes, announces, .. } = self;
        Ok((outcome, Left { open: Open { tx, members, changes, announces }, settled }))
    }
}

async fn end_savepoint(tx: &mut Transaction<'static, Sqlite>, keep: bool) -> Result<(), sqlx::Error> {
    if !keep {
        sqlx::query("ROLLBACK TO caller").execute(&mut **tx).await?;
    }
    sqlx::query("RELEASE caller").execute(&mut **tx).await?;
    Ok(())
}

fn tell(members: Vec<oneshot::Sender<Settled>>, settled: &Settled) {
    for member in members {
        // Who has gone does not want to know.
        let _ = member.send(settled.clone());
    }
}

impl Left {
    /// Whether nobody else should enter.
    pub(super) fn is_full(&self) -> bool {
        self.open.members.len() >= MEMBERS_MAX
    }

    /// Makes durable what all of them did, and tells them, and those who listen.
    pub(super) async fn commit(self, store: &Store) -> Durable {
        let settled = self.open.tx.commit().await.map_err(Arc::new);
        if settled.is_ok() {
            store.feed.publish(self.open.changes, false);
        }
        if settled.is_ok() && self.open.announces {
            store.announced.notify_one();
        }
        tell(self.open.members, &settled);
        Durable(self.settled)
    }
}

impl Durable {
    /// Waits until what was done is durable.
    ///
    /// # Errors
    ///
    /// When it never will be.
    pub(super) async fn reached(self) -> Result<()> {
        match self.0.await {
            Ok(settled) => settled.map_err(Error::NotCommitted),
            Err(_) => Err(Error::Died),
        }
    }
}
