//! One pass over one calendar, from its lease to its end.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use tokio::time::Instant;

use super::Mirrors;
use crate::{
    domain::{
        Interval,
        sabotage::{Bug, sabotaged},
    },
    google::{self, AccountKey, EventsPage},
    store::{
        self, Lane,
        calendars::Calendar,
        events::Generation,
        leases::{Finished, Lease},
    },
};

/// Why a pass did not end well.
#[derive(Debug, thiserror::Error)]
pub(super) enum PassError {
    #[error(transparent)]
    Google(#[from] google::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Google gave pages without end.
    #[error("Google's list of events does not end")]
    Endless,
    /// The last page lacks the token for the next pass.
    #[error("Google's last page has no sync token")]
    NoToken,
    /// Too much changed for one short transaction: a full pass stages it instead.
    #[error("too much changed at once")]
    TooMuch,
}

/// What a pass works with.
pub(super) struct Pass {
    pub(super) lease: Lease,
    pub(super) calendar: Calendar,
    /// When it began.
    pub(super) began: DateTime<Utc>,
    /// What it covers.
    pub(super) window: Interval,
}

/// What a pass did.
pub(super) struct Report {
    /// `full` or `incremental`.
    pub(super) kind: &'static str,
    /// Items that Google gave.
    pub(super) items: usize,
}

/// Google's word on the calendar itself, as pages carry it.
#[derive(Debug, Default, Clone)]
pub(super) struct Heading {
    pub(super) zone: Option<Tz>,
    pub(super) access_role: Option<String>,
}

impl Heading {
    /// Takes what a page says.
    pub(super) fn read(&mut self, page: &EventsPage) {
        if let Some(zone) = page.time_zone.as_deref().and_then(|name| name.parse().ok()) {
            self.zone = Some(zone);
        }
        if page.access_role.is_some() {
            self.access_role.clone_from(&page.access_role);
        }
    }
}

/// Pages that a pass follows at most; more is a loop.
pub(super) const PAGES_MAX: usize = 10_000;
/// The first wait after a failure; it doubles up to [`BACKOFF_MAX`].
const BACKOFF: Duration = Duration::from_secs(5);
const BACKOFF_MAX: Duration = Duration::from_mins(15);
/// While Google is down nobody is slowed down by asking, and mirrors should be fresh soon after it is back.
const OUTAGE_BACKOFF_MAX: Duration = Duration::from_mins(1);
/// How much waits vary, so that calendars that failed together do not come back together.
const JITTER_PERCENT: u32 = 25;
/// When to look again after a push that led to nothing.
const SECOND_LOOKS: [TimeDelta; 2] = [TimeDelta::seconds(2), TimeDelta::seconds(15)];

impl Pass {
    pub(super) const fn account(&self) -> AccountKey {
        AccountKey { business: self.calendar.business, account: self.calendar.account }
    }

    /// Names a state of this calendar's mirror.
    pub(super) const fn generation(&self, number: i64) -> Generation {
        Generation { business: self.calendar.business, calendar: self.calendar.id, number }
    }

    /// The generation that is served now.
    pub(super) const fn served(&self) -> Generation {
        self.generation(self.calendar.mirror.generation)
    }
}

impl Mirrors {
    /// Runs one pass and settles its lease, however it ends.
    pub(super) async fn pass(&self, lease: Lease) {
        let started = Instant::now();
        let outcome = self.try_pass(lease).await;
        let (kind, items, outcome) = match &outcome {
            Ok(report) => (report.kind, report.items, "ok"),
            Err(PassError::Google(error)) => ("incremental", 0, error.outcome_label()),
            Err(PassError::Store(store::Error::LeaseLost)) => ("incremental", 0, "lease_lost"),
            Err(_) => ("incremental", 0, "failed"),
        };
        self.passes.notify_waiters();
        self.metrics.sync_pass(kind, outcome, started.elapsed(), u64::try_from(items).unwrap_or_default());
    }

    async fn try_pass(&self, lease: Lease) -> Result<Report, PassError> {
        let began = self.clock.now();
        let load = store::work::<Option<Calendar>, store::Error, _>(move |tx| {
            Box::pin(async move { tx.calendar(lease.business, lease.calendar).await })
        });
        let Some(calendar) = self.store.read(load).await? else {
            return Err(store::Error::NoBusiness.into());
        };
        let pass = Pass { lease, window: self.window(began), calendar, began };
        let result = match &pass.calendar.mirror.sync_token {
            None => self.full(&pass).await,
            Some(token) => match self.incremental(&pass, token).await {
                // The served rows stay until the staged ones replace them.
                Err(PassError::Google(google::Error::FullSyncRequired)) if sabotaged(Bug::GoneIgnored) => {
                    self.look_away(&pass, token).await
                }
                Err(PassError::Google(google::Error::FullSyncRequired) | PassError::TooMuch) => self.full(&pass).await,
                other => other,
            },
        };
        if let Err(error) = &result {
            self.failed(&pass, error).await;
        }
        result
    }

    /// A deliberate bug: ends a pass as if nothing had changed.
    async fn look_away(&self, pass: &Pass, token: &str) -> Result<Report, PassError> {
        let (lease, finished) = (pass.lease, self.finished(pass, Heading::default(), token.to_owned(), 0));
        let finish = store::work::<(), store::Error, _>(move |tx| {
            Box::pin(async move { tx.finish_pass(&lease, &finished).await })
        });
        self.store.write(Lane::Background, finish).await?;
        Ok(Report { kind: "incremental", items: 0 })
    }

    /// Keeps the lease before Google is asked once more: a slow answer must not cost it.
    pub(super) async fn keep(&self, pass: &Pass) -> Result<(), PassError> {
        let (lease, length) = (pass.lease, self.lease());
        let keep = store::work::<(), store::Error, _>(move |tx| {
            Box::pin(async move { tx.keep_lease(&lease, length, 0).await })
        });
        Ok(self.store.write(Lane::Background, keep).await?)
    }

    /// When to look at Google next, after a pass that went well.
    pub(super) fn next_look(&self, pass: &Pass, items: usize) -> DateTime<Utc> {
        let now = self.clock.now();
        let mut looks = self.empty_looks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let looked = looks.remove(&pass.calendar.id).unwrap_or_default();
        if items == 0 && !sabotaged(Bug::SecondLookLost) && (pass.lease.pushed_at.is_some() || looked > 0) {
            let wait = usize::try_from(looked).ok().and_then(|looked| SECOND_LOOKS.get(looked));
            if let Some(wait) = wait {
                looks.insert(pass.calendar.id, looked + 1);
                return now + *wait;
            }
        }
        let watched = pass.calendar.mirror.watched_until.is_some_and(|until| until > now);
        let period = if watched { self.config.poll_watched_s } else { self.config.poll_unwatched_s };
        now + self.chance.jitter(Duration::from_secs(period.into()), JITTER_PERCENT)
    }

    /// The end of a pass that went well; to be committed with its rows.
    pub(super) fn finished(&self, pass: &Pass, heading: Heading, token: String, items: usize) -> Finished {
        Finished {
            sync_token: token,
            generation: pass.calendar.mirror.generation,
            coverage: pass.calendar.mirror.coverage.unwrap_or(pass.window),
            longest_us: 0,
            whole: false,
            changed: items > 0,
            odd_events: 0,
            time_zone: heading.zone,
            access_role: heading.access_role,
            as_of: pass.began,
            due_at: self.next_look(pass, items),
        }
    }

    /// After a pass that went well: how long the push took to become a busy slot, and who must know.
    pub(super) fn settled(&self, pass: &Pass) {
        if let Some(pushed_at) = pass.lease.pushed_at {
            let elapsed = (self.clock.now() - pushed_at).to_std().unwrap_or_default();
            self.metrics.push_to_busy(elapsed);
        }
        self.wake.notify_one();
    }

    /// Gives the lease back and decides what follows. Logged here and nowhere else.
    async fn failed(&self, pass: &Pass, error: &PassError) {
        let (business, calendar) = (pass.calendar.business, pass.calendar.id);
        match error {
            PassError::Store(store::Error::LeaseLost) => {
                return tracing::info!(%calendar, "another node took the calendar over");
            }
            PassError::Google(google::Error::NeedsReconnect { .. }) => {
                tracing::warn!(%business, account = %pass.calendar.account, %error, "Google ended the grant");
            }
            // Google's faults; those of ours come below.
            PassError::Google(_) | PassError::Endless | PassError::NoToken => {
                tracing::warn!(%calendar, %error, "cannot sync, will try again");
            }
            error => tracing::error!(%calendar, %error, "cannot sync, will try again"),
        }
        let doublings = u32::try_from(pass.calendar.mirror.failures).unwrap_or(u32::MAX).min(10);
        let outage = matches!(error, PassError::Google(google::Error::Unavailable { .. }));
        let longest = if outage { OUTAGE_BACKOFF_MAX } else { BACKOFF_MAX };
        let backoff = (BACKOFF * 2_u32.pow(doublings)).min(longest);
        let asked = match error {
            PassError::Google(error) => error.retry_after(),
            _ => None,
        };
        let wait = self.chance.jitter(backoff, JITTER_PERCENT).max(asked.unwrap_or_default());
        let due_at = self.clock.now() + wait;
        let (lease, account, began, why) = (pass.lease, pass.calendar.account, pass.began, error.to_string());
        let reconnect = matches!(error, PassError::Google(google::Error::NeedsReconnect { .. }));
        let settle = self.store.write(Lane::Background, move |tx| {
            Box::pin(async move {
                if reconnect {
                    tx.mark_needs_reconnect(business, account, began, &why).await?;
                }
                tx.fail_pass(&lease, &why, due_at).await
            })
        });
        if let Err(error) = settle.await {
            tracing::warn!(%calendar, %error, "cannot give a lease back; it runs out by itself");
        }
        self.wake.notify_one();
    }
}
