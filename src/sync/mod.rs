//! Keeps each calendar's mirror like Google's.
//!
//! A pass takes no input: whatever woke it (a push, the clock, "sync now"), it reads its sync token from the store and
//! asks Google what changed. So a lost wake-up costs time and nothing else.
//!
//! ```text
//! claim by lease ─▶ events.list ─▶ stage ─▶ expand ─▶ switch to the new rows together with the token ─▶ follow the owner
//! ```

mod audit;
mod changes;
mod full;
mod horizon;
mod incremental;
mod lists;
mod own;
mod pass;
mod period;
mod polls;
mod push;
mod scheduler;
mod watch;
mod zone;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use chrono::{DateTime, Days, NaiveTime, TimeDelta, Utc};
use tokio::sync::{Notify, Semaphore};
use url::Url;

pub use push::{Push, PushOutcome};

use crate::{
    config,
    domain::{CalendarId, Interval, SharedChance, SharedClock},
    google::Google,
    store::Store,
    telemetry::Metrics,
};

/// Pushes that are looked up at once.
const PUSHES_AT_ONCE: usize = 4;

/// Mirrors calendars. Cheap to clone.
#[derive(Clone)]
pub struct Mirrors {
    store: Store,
    google: Google,
    clock: SharedClock,
    chance: SharedChance,
    config: Arc<config::Sync>,
    metrics: Metrics,
    /// Where Google is to push; without it every calendar is polled.
    push_address: Option<Url>,
    /// Wakes the scheduler of this node.
    wake: Arc<Notify>,
    /// Wakes whoever opens watch channels on this node.
    watch: Arc<Notify>,
    /// Wakes whoever reads the lists of accounts on this node.
    lists: Arc<Notify>,
    /// Tells the desk of each pass that ends on this node.
    passes: Arc<Notify>,
    /// Wakes the outbox of this node.
    outbox: Arc<Notify>,
    /// How much longer than wished the periods of polling are, so that they fit into Google's quotas.
    stretch: Arc<Mutex<f64>>,
    /// Wakes whoever audits mirrors on this node.
    audits: Arc<Notify>,
    /// Turns for pushes. A storm of them waits here and not for connections to the database, which callers need.
    pushes: Arc<Semaphore>,
    /// How often a push was followed by a pass that found nothing: Google's list may lag behind its own push.
    empty_looks: Arc<Mutex<HashMap<CalendarId, u32>>>,
}

impl std::fmt::Debug for Mirrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mirrors").field("push_address", &self.push_address.is_some()).finish_non_exhaustive()
    }
}

/// What [`Mirrors`] stands on.
pub struct Foundation {
    /// The database.
    pub store: Store,
    /// The client.
    pub google: Google,
    /// The time.
    pub clock: SharedClock,
    /// Randomness for channel tokens and jitter.
    pub chance: SharedChance,
    /// The `[sync]` section.
    pub config: config::Sync,
    /// Where to count.
    pub metrics: Metrics,
    /// Where Google is to push.
    pub push_address: Option<Url>,
    /// Wakes the scheduler.
    pub wake: Arc<Notify>,
    /// Is told of each pass that ends.
    pub passes: Arc<Notify>,
    /// Wakes the outbox of this node.
    pub outbox: Arc<Notify>,
}

impl Mirrors {
    /// Mirrors that do nothing until [`Mirrors::run`].
    #[must_use]
    pub fn new(foundation: Foundation) -> Self {
        let Foundation { store, google, clock, chance, config, metrics, push_address, wake, passes, outbox } =
            foundation;
        Self {
            store,
            google,
            clock,
            chance,
            config: Arc::new(config),
            metrics,
            push_address,
            wake,
            watch: Arc::default(),
            lists: Arc::default(),
            passes,
            outbox,
            stretch: Arc::new(Mutex::new(1.0)),
            audits: Arc::default(),
            pushes: Arc::new(Semaphore::new(PUSHES_AT_ONCE)),
            empty_looks: Arc::default(),
        }
    }

    /// Looks at once whether a calendar is due, or wants to be watched.
    pub fn wake(&self) {
        self.wake.notify_one();
        self.watch.notify_one();
        self.lists.notify_one();
    }

    /// The time that a pass begun now covers: whole days in UTC.
    fn window(&self, now: DateTime<Utc>) -> Interval {
        let midnight = now.date_naive().and_time(NaiveTime::MIN).and_utc();
        let from = midnight - TimeDelta::days(i64::from(self.config.coverage_back_days));
        let to = midnight + Days::new(u64::from(self.config.horizon_days) + 1);
        Interval::new(from, to).expect("the horizon lies ahead")
    }

    /// Most rows that one transaction writes.
    fn rows_max(&self) -> usize {
        usize::try_from(self.config.write_rows_max).unwrap_or(usize::MAX).max(1)
    }

    fn lease(&self) -> std::time::Duration {
        std::time::Duration::from_secs(self.config.lease_s.into())
    }
}
