//! Notices to the businesses' own programs: claimed, sent, settled.
//!
//! Those about one booking reach an endpoint in their order; one endpoint that does not answer holds up no other. A notice
//! whose node dies is sent again when its lease ends, under the same id.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::Url;

use super::rounds;
use crate::{
    config,
    domain::{SharedChance, SharedClock, notice::next_wait},
    notify::{Failure, Message, Sender, check_url},
    store::{
        self, Lane, Store,
        endpoints::{Disabled, Endpoint},
        notices::Notice,
    },
    telemetry::Metrics,
};

/// The sleep while all that is due waits for others of its endpoint.
const NAP: Duration = Duration::from_secs(1);
/// How much waits vary.
const JITTER_PERCENT: u32 = 20;
/// The kind under which attempts are counted.
const KIND: &str = "webhook";

/// Delivers notices. Cheap to clone.
#[derive(Clone)]
pub struct Notices {
    store: Store,
    sender: Sender,
    clock: SharedClock,
    chance: SharedChance,
    metrics: Metrics,
    config: Arc<config::Notify>,
}

impl std::fmt::Debug for Notices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notices").field("config", &self.config).finish_non_exhaustive()
    }
}

/// What [`Notices`] stands on.
pub struct NoticesFoundation {
    /// The database.
    pub store: Store,
    /// The way out.
    pub sender: Sender,
    /// The time.
    pub clock: SharedClock,
    /// Jitter.
    pub chance: SharedChance,
    /// Where to count.
    pub metrics: Metrics,
    /// The `[notify]` section.
    pub config: config::Notify,
}

impl Notices {
    /// A worker that does nothing until [`Notices::run`].
    #[must_use]
    pub fn new(foundation: NoticesFoundation) -> Self {
        let NoticesFoundation { store, sender, clock, chance, metrics, config } = foundation;
        Self { store, sender, clock, chance, metrics, config: Arc::new(config) }
    }

    /// Delivers until `stop` is cancelled, then waits for what is in flight.
    pub async fn run(self, stop: CancellationToken) {
        let in_flight = TaskTracker::new();
        let room = Arc::new(Semaphore::new(usize::try_from(self.config.concurrency).unwrap_or(1).max(1)));
        let (wake, poll) = (self.store.announced(), Duration::from_secs(self.config.poll_s.into()));
        while !stop.is_cancelled() {
            let woken = rounds::woken(&wake);
            let due = self.start(&in_flight, &room).await;
            rounds::rest(&stop, woken, due, poll, "notices").await;
        }
        in_flight.close();
        in_flight.wait().await;
    }

    /// Starts as many notices as there is room and need for. Returns how long nothing more is due.
    async fn start(&self, in_flight: &TaskTracker, room: &Arc<Semaphore>) -> store::Result<Duration> {
        let free = room.available_permits();
        if free == 0 {
            return Ok(NAP);
        }
        let look = store::work::<Option<DateTime<Utc>>, store::Error, _>(|tx| {
            Box::pin(async move { tx.next_notice_at().await })
        });
        let (next, now) = (self.store.read(look).await?, self.clock.now());
        match next {
            None => return Ok(Duration::MAX),
            Some(next) if next > now => return Ok((next - now).to_std().unwrap_or_default()),
            Some(_) => {}
        }
        let lease = Duration::from_secs(self.config.lease_s.into());
        let per_endpoint = usize::try_from(self.config.endpoint_concurrency).unwrap_or(1).max(1);
        let claim = store::work::<Vec<Notice>, store::Error, _>(move |tx| {
            Box::pin(async move { tx.claim_notices(lease, free, per_endpoint).await })
        });
        let notices = self.store.write(Lane::Background, claim).await?;
        if notices.is_empty() {
            return Ok(NAP);
        }
        for notice in notices {
            let Ok(permit) = Arc::clone(room).acquire_owned().await else { break };
            let worker = self.clone();
            in_flight.spawn(async move {
                let outcome = worker.deliver(&notice).await.unwrap_or_else(|error| {
                    tracing::warn!(%error, "cannot settle a notice; it is repeated when its lease ends");
                    "unsettled"
                });
                worker.metrics.outbox_delivery(KIND, outcome);
                drop(permit);
                worker.store.announced().notify_one();
            });
        }
        Ok(Duration::ZERO)
    }

    /// Sends one notice, with no transaction open, and settles it.
    async fn deliver(&self, notice: &Notice) -> store::Result<&'static str> {
        let (business, id) = (notice.business, notice.endpoint);
        let read = store::work::<Option<Endpoint>, store::Error, _>(move |tx| {
            Box::pin(async move { tx.endpoint(business, id).await })
        });
        let Some(endpoint) = self.store.read(read).await? else {
            self.settle(notice, Settle::Done { took: false }).await?;
            return Ok("dropped");
        };
        if endpoint.disabled.is_some() {
            self.settle(notice, Settle::Unwanted).await?;
            return Ok("dead");
        }
        let sent = match self.url(&endpoint) {
            Some(url) => {
                let id = notice.id.to_string();
                let message = Message { id: &id, at: self.clock.now(), body: &notice.payload };
                self.sender.send(&url, &endpoint.secret, message).await
            }
            None => Err(Failure::Forbidden),
        };
        let Err(failure) = sent else {
            self.settle(notice, Settle::Done { took: true }).await?;
            return Ok("done");
        };
        let next = next_wait(&self.config.retry_s, notice.attempts);
        tracing::warn!(
            business = %notice.business, endpoint = %notice.endpoint, kind = notice.kind, attempt = notice.attempts,
            %failure, dead = failure.is_gone() || next.is_none(), "a notice was not taken"
        );
        let why = failure.to_string();
        let Some(wait) = next.filter(|_| !failure.is_gone()) else {
            let disable = failure.is_gone().then_some(Disabled::Gone);
            self.settle(notice, Settle::Dead { why, disable }).await?;
            return Ok("dead");
        };
        let asked = failure.retry_after();
        let wait = self.chance.jitter(wait, JITTER_PERCENT).max(asked.unwrap_or_default());
        let now = self.clock.now();
        self.settle(notice, Settle::Later { why, due_at: now + wait, pause: asked.map(|wait| now + wait) }).await?;
        Ok("retry")
    }

    /// The URL, checked again: the operator may allow less than when it was saved.
    fn url(&self, endpoint: &Endpoint) -> Option<Url> {
        check_url(&endpoint.url, self.sender.allows_local()).ok()
    }

    /// Keeps what came of a try, unless somebody else has the notice now.
    async fn settle(&self, notice: &Notice, settle: Settle) -> store::Result<()> {
        let notice = notice.clone();
        let failing_max = chrono::TimeDelta::seconds(self.config.disable_after_s.into());
        let work = store::work::<Option<Disabled>, store::Error, _>(move |tx| {
            Box::pin(async move {
                if !tx.holds_notice(&notice).await? {
                    return Ok(None);
                }
                let (business, endpoint, now) = (notice.business, notice.endpoint, tx.now());
                let (failing_since, disable) = match settle {
                    Settle::Done { took } => {
                        tx.noticed(&notice).await?;
                        if took {
                            tx.endpoint_took(business, endpoint).await?;
                        }
                        return Ok(None);
                    }
                    Settle::Unwanted => {
                        tx.give_notice_up(&notice, "the endpoint is disabled").await?;
                        return Ok(None);
                    }
                    Settle::Later { why, due_at, pause } => {
                        tx.notice_later(&notice, due_at, &why).await?;
                        (tx.endpoint_failed(business, endpoint, &why, pause).await?, None)
                    }
                    Settle::Dead { why, disable } => {
                        tx.give_notice_up(&notice, &why).await?;
                        (tx.endpoint_failed(business, endpoint, &why, None).await?, disable)
                    }
                };
                let failing = failing_since.is_some_and(|since| now - since >= failing_max);
                match disable.or(failing.then_some(Disabled::Failing)) {
                    Some(why) if tx.disable_endpoint(business, endpoint, why).await? => Ok(Some(why)),
                    _ => Ok(None),
                }
            })
        });
        let disabled = self.store.write(Lane::Background, work).await?;
        if let Some(why) = disabled {
            tracing::warn!(why = why.as_str(), "a webhook endpoint is disabled");
        }
        Ok(())
    }
}

/// What came of a try.
enum Settle {
    /// The endpoint has it, or there is no endpoint any more.
    Done { took: bool },
    /// The endpoint is disabled, and was not asked.
    Unwanted,
    /// It is tried again.
    Later {
        why: String,
        due_at: DateTime<Utc>,
        /// The whole endpoint is left alone until then.
        pause: Option<DateTime<Utc>>,
    },
    /// It is given up.
    Dead { why: String, disable: Option<Disabled> },
}
