//! Deliveries owed to the outside: claimed, made, settled.
//!
//! A row says what is owed about whom; how is read from the present state when it is delivered. Claim, commit, work,
//! settle: no transaction is open while Google is asked. A delivery whose node dies falls back to the queue when its lease
//! ends, and is harmless to repeat.

mod elsewhere;
mod event;
mod guests;
mod notices;
mod operator;
mod rounds;
mod worker;

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;

pub use notices::{Notices, NoticesFoundation};
pub use operator::{Operator, Support};

use crate::{
    config,
    domain::{SharedChance, SharedClock},
    google::Google,
    store::Store,
    telemetry::Metrics,
};

/// Delivers what is owed. Cheap to clone.
#[derive(Clone)]
pub struct Outbox {
    store: Store,
    google: Google,
    clock: SharedClock,
    chance: SharedChance,
    metrics: Metrics,
    config: Arc<config::Outbox>,
    event_link: Option<config::LinkPattern>,
    /// Wakes this worker.
    wake: Arc<Notify>,
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox").field("config", &self.config).finish_non_exhaustive()
    }
}

/// What [`Outbox`] stands on.
pub struct Foundation {
    /// The database.
    pub store: Store,
    /// The client.
    pub google: Google,
    /// The time.
    pub clock: SharedClock,
    /// Jitter.
    pub chance: SharedChance,
    /// Where to count.
    pub metrics: Metrics,
    /// The `[outbox]` section.
    pub config: config::Outbox,
    /// What `{link}` in an event is.
    pub event_link: Option<config::LinkPattern>,
    /// Wakes the worker.
    pub wake: Arc<Notify>,
}

impl Outbox {
    /// A worker that does nothing until [`Outbox::run`].
    #[must_use]
    pub fn new(foundation: Foundation) -> Self {
        let Foundation { store, google, clock, chance, metrics, config, event_link, wake } = foundation;
        Self { store, google, clock, chance, metrics, config: Arc::new(config), event_link, wake }
    }

    fn lease(&self) -> Duration {
        Duration::from_secs(self.config.lease_s.into())
    }
}
