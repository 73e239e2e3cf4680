//! Where a simulation decides whose transaction comes next.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::Store;

/// Where somebody stands who works with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// A transaction that only reads is about to begin.
    BeforeRead,
    /// A transaction that may write is about to begin.
    BeforeWrite,
    /// A transaction that may write was committed, and who asked for it does not know yet. Dropped here, as when its node
    /// dies, it will never know.
    Committed,
}

/// Holds everybody up who works with the store, and lets them through one by one.
pub trait Turnstile: Send + Sync + 'static {
    /// Ends when it is this one's turn.
    fn pass(&self, moment: Moment) -> BoxFuture<'_, ()>;
}

impl Store {
    /// The same database, before which everybody waits for their turn.
    #[must_use]
    pub fn behind(mut self, turnstile: Arc<dyn Turnstile>) -> Self {
        self.turnstile = Some(turnstile);
        self
    }

    /// Waits for this one's turn, where somebody decides about turns.
    pub(super) async fn turn(&self, moment: Moment) {
        if let Some(turnstile) = &self.turnstile {
            turnstile.pass(moment).await;
        }
    }
}
