//! Which calendar is worked on when, by this node.

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::Mirrors;
use crate::{
    google::Pacer,
    store::{self, Lane, leases::Lease, turns::Turns},
};

/// The longest sleep between two looks at what is due. Another node may have taken a push, so a node that shares its
/// database looks more often than one that is alone with it.
const NAP_ALONE: Duration = Duration::from_secs(5);
const NAP_SHARED: Duration = Duration::from_secs(1);
/// The shortest sleep, against a busy loop when something is due that cannot be claimed.
const NAP_MIN: Duration = Duration::from_millis(5);
/// Passes beyond `sync.concurrency` that a caller on the phone waits for.
const ASKED_ROOM: usize = 2;
/// The sleep after the database failed.
const NAP_AFTER_FAILURE: Duration = Duration::from_secs(2);

impl Mirrors {
    /// Syncs due calendars until `stop` is cancelled, then waits for the passes in flight.
    pub async fn run(self, stop: CancellationToken) {
        let passes = TaskTracker::new();
        let room = Arc::new(Semaphore::new(usize::try_from(self.config.concurrency).unwrap_or(1).max(1)));
        let asked_room = Arc::new(Semaphore::new(ASKED_ROOM));
        let nap_max = if self.store.engine_name() == "sqlite" { NAP_ALONE } else { NAP_SHARED };
        while !stop.is_cancelled() {
            // Taken before looking, so that a wake-up in between is not lost.
            let woken = self.wake.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            let nap = match self.start_passes(&passes, &room, &asked_room).await {
                Ok(nap) => nap.clamp(NAP_MIN, nap_max),
                Err(error) => {
                    tracing::warn!(%error, "cannot look for calendars that are due");
                    NAP_AFTER_FAILURE
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = woken => {}
                () = tokio::time::sleep(nap) => {}
            }
        }
        passes.close();
        passes.wait().await;
    }

    /// Runs one pass that is due. Returns whether there was one. For whoever decides without [`Mirrors::run`] when that is.
    pub async fn pass_next(&self) -> store::Result<bool> {
        let (length, turns) = (self.lease(), Turns::up_to(1));
        let claim = store::work::<Vec<Lease>, store::Error, _>(move |tx| {
            Box::pin(async move { tx.claim_calendars(length, turns).await })
        });
        let leases = self.store.write(Lane::Background, claim).await?;
        let found = !leases.is_empty();
        for lease in leases {
            self.pass(lease).await;
        }
        Ok(found)
    }

    /// Starts as many passes as there is room and need for. Returns how long nothing more is due.
    async fn start_passes(
        &self,
        passes: &TaskTracker,
        room: &Arc<Semaphore>,
        asked_room: &Arc<Semaphore>,
    ) -> store::Result<Duration> {
        let asked_only = room.available_permits() == 0;
        let room = if asked_only { asked_room } else { room };
        let free = room.available_permits();
        if free == 0 {
            // A pass that ends wakes this loop.
            return Ok(NAP_SHARED);
        }
        if let Some(pause) = self.google.pacer().and_then(Pacer::project_pause) {
            return Ok(pause);
        }
        let now = self.clock.now();
        let next = self
            .store
            .read(store::work::<_, store::Error, _>(|tx| Box::pin(async move { tx.next_pass_at().await })))
            .await?;
        let Some(next) = next else { return Ok(NAP_ALONE) };
        if next > now {
            return Ok((next - now).to_std().unwrap_or_default());
        }
        let length = self.lease();
        let per_account = usize::try_from(self.config.account_concurrency).unwrap_or(1).max(1);
        let turns = Turns { limit: free, per_account, asked_only };
        let claim = store::work::<Vec<Lease>, store::Error, _>(move |tx| {
            Box::pin(async move { tx.claim_calendars(length, turns).await })
        });
        let leases = self.store.write(Lane::Background, claim).await?;
        if leases.is_empty() {
            // What is due has no turn yet. A pass that ends wakes this loop.
            return Ok(NAP_SHARED);
        }
        for lease in leases {
            let Ok(permit) = Arc::clone(room).acquire_owned().await else { break };
            let mirrors = self.clone();
            passes.spawn(async move {
                mirrors.pass(lease).await;
                drop(permit);
                mirrors.wake.notify_one();
            });
        }
        Ok(Duration::ZERO)
    }
}
