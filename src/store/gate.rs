//! Who may use SQLite's one writer next.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// How urgent a write is. A caller on the phone waits for a booking; nobody waits for a first sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Bookings and whatever else a person waits for. Goes first.
    Caller,
    /// Sync, deliveries and maintenance. Waits while any caller waits.
    Background,
}

/// Lets one writer through at a time, callers before background work.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    turn: Arc<Semaphore>,
    callers: Arc<AtomicUsize>,
    quiet: Arc<Notify>,
}

/// The right to write, until dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _permit: OwnedSemaphorePermit,
}

/// Counts a caller as waiting, also when its wait is given up.
struct Waiting<'a>(&'a Gate);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.0.callers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.quiet.notify_waiters();
        }
    }
}

impl Gate {
    pub(super) fn new() -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), callers: Arc::default(), quiet: Arc::default() }
    }

    /// Waits for a turn.
    pub(super) async fn pass(&self, lane: Lane) -> Turn {
        match lane {
            Lane::Caller => {
                self.callers.fetch_add(1, Ordering::AcqRel);
                let _waiting = Waiting(self);
                self.take().await
            }
            Lane::Background => loop {
                // Registered before looking, so that a caller who leaves in between is not missed.
                let quiet = self.quiet.notified();
                tokio::pin!(quiet);
                quiet.as_mut().enable();
                if self.callers_wait() {
                    quiet.await;
                    continue;
                }
                let turn = self.take().await;
                if !self.callers_wait() {
                    return turn;
                }
                drop(turn);
            },
        }
    }

    /// Whether a caller waits, and so will have a turn.
    pub(super) fn callers_wait(&self) -> bool {
        self.callers.load(Ordering::Acquire) > 0
    }

    async fn take(&self) -> Turn {
        let permit = Arc::clone(&self.turn).acquire_owned().await;
        Turn { _permit: permit.expect("the gate's semaphore is never closed") }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, time::Duration};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn callers_overtake_background_work_that_waits() {
        let gate = Gate::new();
        let order = Arc::new(Mutex::new(Vec::new()));
        let first = gate.pass(Lane::Background).await;

        let mut tasks = tokio::task::JoinSet::new();
        for (name, lane, after) in
            [("sync 1", Lane::Background, 1), ("sync 2", Lane::Background, 2), ("call", Lane::Caller, 3)]
        {
            let (gate, order) = (gate.clone(), Arc::clone(&order));
            tasks.spawn(async move {
                tokio::time::sleep(Duration::from_millis(after)).await;
                let _turn = gate.pass(lane).await;
                order.lock().unwrap().push(name);
                tokio::time::sleep(Duration::from_millis(5)).await;
            });
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        drop(first);
        while tasks.join_next().await.is_some() {}

        assert_eq!(order.lock().unwrap()[0], "call");
        assert_eq!(order.lock().unwrap().len(), 3);
    }
}
