//! Who delivers what when, on this node.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Outbox, rounds};
use crate::{
    domain::{
        CalendarId,
        notice::Kind,
        sabotage::{Bug, sabotaged},
    },
    google::{self, AccountKey, Pacer},
    store::{
        self, Lane,
        accounts::AccountStatus,
        cancellations::Gone,
        claims::Source,
        notices::Announcement,
        outbox::{Delivery, Owed},
    },
};

/// How a delivery went.
#[derive(Debug)]
pub(super) enum Delivered {
    /// Settled, in the transaction that also keeps its outcome.
    Settled,
    /// Not now.
    Later {
        /// Why.
        error: google::Error,
        /// For whom Google was asked.
        account: AccountKey,
        /// When.
        asked_at: DateTime<Utc>,
    },
    /// The database failed; the lease runs out and the delivery is repeated.
    Unsettled(store::Error),
}

/// The first wait after a failure; it doubles up to [`BACKOFF_MAX`].
const BACKOFF: Duration = Duration::from_secs(2);
const BACKOFF_MAX: Duration = Duration::from_mins(30);
/// While Google is down nobody is slowed down by asking, and bookings should appear soon after it is back.
const OUTAGE_BACKOFF_MAX: Duration = Duration::from_mins(1);
/// Until the owner consents anew nothing can be delivered; that wakes every delivery.
const UNTIL_CONSENT: Duration = Duration::from_hours(6);
/// Tries after which a delivery is given up that Google does not allow: what it says of rights does not change by asking.
const REFUSALS_MAX: i64 = 4;
/// The sleep while all that is due waits for others of its account.
const NAP: Duration = Duration::from_secs(1);
/// How much waits vary.
const JITTER_PERCENT: u32 = 25;

/// What came to light while a delivery was put back.
struct PutBack {
    /// The grant was ended, which nobody knew.
    ended: bool,
    /// The calendar whose missing events have one fewer to be read.
    doubted: Option<CalendarId>,
}

impl Outbox {
    /// Delivers until `stop` is cancelled, then waits for the deliveries in flight.
    pub async fn run(self, stop: CancellationToken) {
        let in_flight = TaskTracker::new();
        let room = Arc::new(Semaphore::new(usize::try_from(self.config.concurrency).unwrap_or(1).max(1)));
        let poll = Duration::from_secs(self.config.poll_s.into());
        while !stop.is_cancelled() {
            let woken = rounds::woken(&self.wake);
            let due = self.start_deliveries(&in_flight, &room).await;
            rounds::rest(&stop, woken, due, poll, "deliveries").await;
        }
        in_flight.close();
        in_flight.wait().await;
    }

    /// Starts as many deliveries as there is room and need for. Returns how long nothing more is due.
    async fn start_deliveries(&self, in_flight: &TaskTracker, room: &Arc<Semaphore>) -> store::Result<Duration> {
        let free = room.available_permits();
        if free == 0 {
            return Ok(BACKOFF);
        }
        if let Some(pause) = self.google.pacer().and_then(Pacer::project_pause) {
            return Ok(pause);
        }
        let look = store::work::<Option<DateTime<Utc>>, store::Error, _>(|tx| {
            Box::pin(async move { tx.next_delivery_at().await })
        });
        let (next, now) = (self.store.read(look).await?, self.clock.now());
        match next {
            None => return Ok(Duration::MAX),
            Some(next) if next > now => return Ok((next - now).to_std().unwrap_or_default()),
            Some(_) => {}
        }
        let length = self.lease();
        let per_account = usize::try_from(self.config.account_concurrency).unwrap_or(1).max(1);
        let claim = store::work::<Vec<Delivery>, store::Error, _>(move |tx| {
            Box::pin(async move { tx.claim_deliveries(length, free, per_account).await })
        });
        let deliveries = self.store.write(Lane::Background, claim).await?;
        if deliveries.is_empty() {
            // What is due has no turn yet. A delivery that ends wakes this loop.
            return Ok(NAP);
        }
        for delivery in deliveries {
            let Ok(permit) = Arc::clone(room).acquire_owned().await else { break };
            let outbox = self.clone();
            in_flight.spawn(async move {
                outbox.deliver(&delivery).await;
                drop(permit);
                outbox.wake.notify_one();
            });
        }
        Ok(Duration::ZERO)
    }

    /// Takes on one delivery that is due, makes it, and settles it. Returns whether there was one. For whoever decides
    /// without [`Outbox::run`] when that is.
    pub async fn deliver_next(&self) -> store::Result<bool> {
        let length = self.lease();
        let claim = store::work::<Vec<Delivery>, store::Error, _>(move |tx| {
            Box::pin(async move { tx.claim_deliveries(length, 1, 1).await })
        });
        let deliveries = self.store.write(Lane::Background, claim).await?;
        for delivery in &deliveries {
            self.deliver(delivery).await;
        }
        Ok(!deliveries.is_empty())
    }

    /// Makes one delivery and settles it.
    async fn deliver(&self, delivery: &Delivery) {
        let kind = delivery.owed.kind();
        let delivered = match &delivery.owed {
            Owed::Event(booking) => self.deliver_event(delivery, *booking).await,
            Owed::Removal { calendar, event_id } => self.deliver_removal(delivery, *calendar, event_id).await,
        };
        let outcome = match delivered {
            Delivered::Settled => "done",
            Delivered::Later { error: google::Error::HeldBack { held, retry_after }, .. } => {
                self.postpone(delivery, &google::Error::HeldBack { held, retry_after }, retry_after).await
            }
            Delivered::Later { error, account, asked_at } => self.put_back(delivery, &error, account, asked_at).await,
            Delivered::Unsettled(error) => {
                tracing::warn!(kind, %error, "cannot settle a delivery; it is repeated when its lease ends");
                "unsettled"
            }
        };
        self.metrics.outbox_delivery(kind, outcome);
    }

    /// Puts a delivery back that was not tried, for a quota's sake.
    async fn postpone(&self, delivery: &Delivery, error: &google::Error, wait: Duration) -> &'static str {
        let kind = delivery.owed.kind();
        tracing::debug!(business = %delivery.business, kind, %error, "a delivery is postponed");
        // Never earlier than there is room.
        let due_at = self.clock.now() + wait + self.chance.jitter(wait / 16, 100);
        let (why, held) = (error.to_string(), delivery.clone());
        let settle = store::work::<(), store::Error, _>(move |tx| {
            Box::pin(async move { tx.postpone_delivery(&held, due_at, &why).await })
        });
        if let Err(error) = self.store.write(Lane::Background, settle).await {
            tracing::warn!(%error, "cannot put a delivery back; it is repeated when its lease ends");
        }
        "held_back"
    }

    /// Decides when a delivery that failed is tried again, or that it is given up.
    async fn put_back(
        &self,
        delivery: &Delivery,
        error: &google::Error,
        account: AccountKey,
        asked_at: DateTime<Utc>,
    ) -> &'static str {
        let doublings = u32::try_from(delivery.attempts - 1).unwrap_or_default().min(20);
        let outage = matches!(error, google::Error::Unavailable { .. });
        let longest = if outage { OUTAGE_BACKOFF_MAX } else { BACKOFF_MAX };
        let backoff = BACKOFF.saturating_mul(2_u32.saturating_pow(doublings)).min(longest);
        let (consent, ends) = (error.needs_consent(), error.ends_the_grant());
        let backoff = if consent { UNTIL_CONSENT } else { backoff };
        let wait = self.chance.jitter(backoff, JITTER_PERCENT).max(error.retry_after().unwrap_or_default());
        // Google being down, a dead grant or a wrong setting is not the delivery's fault: such deliveries wait as long as it takes.
        let waits = error.is_transient() || consent || matches!(error, google::Error::Misconfigured { .. });
        let refused = matches!(error, google::Error::Forbidden { .. });
        let doubtful_access = error.is_refusal() && delivery.attempts == 1;
        let attempts_max = i64::from(self.config.attempts_max);
        let dead = !waits && delivery.attempts >= if refused { attempts_max.min(REFUSALS_MAX) } else { attempts_max };
        if !consent {
            tracing::warn!(
                business = %delivery.business, kind = delivery.owed.kind(), attempt = delivery.attempts, %error, dead,
                "a delivery failed"
            );
        }
        let (due_at, why, held) = (self.clock.now() + wait, error.to_string(), delivery.clone());
        let settle = store::work::<PutBack, store::Error, _>(move |tx| {
            Box::pin(async move {
                let mut doubted = None;
                if let (true, Owed::Event(booking)) = (dead, &held.owed) {
                    // Bookings are locked before deliveries, here as everywhere.
                    let booking = tx.lock_booking(held.business, *booking).await?;
                    doubted = booking.and_then(|booking| booking.link).filter(|link| link.gone == Some(Gone::Doubted));
                }
                let ended = ends && tx.mark_needs_reconnect(held.business, account.account, asked_at, &why).await?;
                if doubtful_access {
                    // The list tells whether the calendar may still be written to.
                    tx.want_list(held.business, account.account).await?;
                }
                let doubted = doubted.map(|link| link.calendar);
                if !tx.holds_delivery(&held).await? {
                    return Ok(PutBack { ended, doubted: None });
                }
                if sabotaged(Bug::FailureIsDelivered) {
                    tx.delivered(&held).await?;
                    return Ok(PutBack { ended, doubted: None });
                }
                if !dead {
                    // The owner consented since Google was asked: nothing else would wake this delivery, for whoever connects
                    // an account leaves alone what somebody holds.
                    let back = consent
                        && tx.hold_account_status(held.business, account.account).await?
                            == Some(AccountStatus::Connected);
                    let due_at = if back { tx.now() } else { due_at };
                    tx.deliver_later(&held, due_at, &why).await?;
                    return Ok(PutBack { ended, doubted: None });
                }
                if let Owed::Event(booking) = held.owed {
                    tx.event_failed(held.business, booking).await?;
                    if let Some(booking) = tx.booking(held.business, booking).await? {
                        let failed = Announcement::booking(Kind::CalendarFailed, Source::Slotd, &booking);
                        tx.announce(held.business, Announcement { why: Some(&why), ..failed }).await?;
                    }
                }
                tx.give_up(&held, &why).await?;
                Ok(PutBack { ended, doubted })
            })
        });
        match self.store.write(Lane::Background, settle).await {
            Ok(PutBack { ended, doubted }) => {
                if ended {
                    tracing::warn!(business = %delivery.business, account = %account.account, %error, "Google ended the grant");
                }
                if let Some(calendar) = doubted {
                    self.settle_gone(delivery.business, calendar).await;
                }
            }
            Err(error) => tracing::warn!(%error, "cannot put a delivery back; it is repeated when its lease ends"),
        }
        if dead { "dead" } else { "retry" }
    }
}
