//! Audits: slow comparisons of a whole mirror with Google, beside the passes.
//!
//! An audit reads Google's full list anew and never touches the sync token. It holds no lease of the calendar, so passes
//! go on, and a push is as quick as ever. What differs may just be on its way; so after a pass that began later, a second
//! look is taken, and only what both looks say alike is drift. Drift is healed by a full pass beside the served rows, and
//! then audited once more.

mod look;
mod next;
mod suspicion;

use std::{collections::BTreeSet, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Mirrors;
use crate::{
    domain::{BusinessId, CalendarId, drift::Drift},
    google,
    store::{
        self, Lane,
        accounts::AccountStatus,
        audits::{Audit, AuditLease, AuditNext, AuditOutcome},
        calendars::Calendar,
    },
};
use next::{Step, after, share};

/// How often this node looks for audits that are due, unless somebody wakes it.
const NAP: Duration = Duration::from_secs(5);
/// Between the first look and the pass before the second: Google's lists may lag behind each other.
const PAUSE: Duration = Duration::from_secs(2);
/// The longest wait for that pass.
const CATCH_UP_MAX: Duration = Duration::from_mins(2);
/// The longest wait until nobody works on a calendar that is to be synced anew.
const QUIET_MAX: Duration = Duration::from_mins(1);
/// How often the state of a calendar is looked at while something is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// When to look again whether a calendar has been synced anew.
const SOON: TimeDelta = TimeDelta::seconds(1);
/// A calendar is audited again when its last audit is so old. Together with the share that each run takes, each is
/// audited once a week.
const AUDITED_EVERY: TimeDelta = TimeDelta::days(6);
const FAILED_AGAIN: TimeDelta = TimeDelta::days(1);

/// Why an audit came to no result.
#[derive(Debug, thiserror::Error)]
enum AuditError {
    #[error(transparent)]
    Google(#[from] google::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("Google's list of events does not end")]
    Endless,
    #[error("the mirror is not complete")]
    Unready,
    #[error("the mirror was replaced meanwhile")]
    Replaced,
    #[error("the account has to be connected again")]
    Disconnected,
    #[error("no pass over the calendar ended in time")]
    NoPass,
}

/// What an audit found.
struct Found {
    drift: Drift,
    differing: usize,
    compared: usize,
}

impl Mirrors {
    /// Looks at once whether an audit is due.
    pub fn wake_audits(&self) {
        self.audits.notify_one();
    }

    /// Asks for the audits of the calendars whose last one is oldest, spread over `period`: the time to the next such run.
    /// Returns how many.
    pub async fn plan_audits(&self, period: Duration) -> store::Result<usize> {
        let now = self.clock.now();
        let find = store::work::<_, store::Error, _>(move |tx| {
            Box::pin(async move {
                let limit = share(tx.auditable().await?, period);
                tx.audits_to_order(now - AUDITED_EVERY, now - FAILED_AGAIN, limit).await
            })
        });
        let calendars = self.store.read(find).await?;
        let count = calendars.len();
        let due: Vec<_> = calendars
            .into_iter()
            // Anywhere in the period.
            .map(|(business, calendar)| (business, calendar, now + self.chance.jitter(period / 2, 100)))
            .collect();
        let order = store::work::<(), store::Error, _>(move |tx| {
            Box::pin(async move {
                for (business, calendar, at) in due {
                    tx.order_audit(business, calendar, at).await?;
                }
                Ok(())
            })
        });
        self.store.write(Lane::Background, order).await?;
        Ok(count)
    }

    /// Makes due audits, one at a time, until `stop` is cancelled.
    pub async fn keep_audits(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let woken = self.audits.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            let length = self.lease();
            let claim = store::work::<Option<AuditLease>, store::Error, _>(move |tx| {
                Box::pin(async move { tx.claim_audit(length).await })
            });
            match self.store.write(Lane::Background, claim).await {
                Ok(Some(lease)) => {
                    if stop.run_until_cancelled(self.audit(&lease)).await.is_none() {
                        // Another node, or this one once it is back, begins it anew.
                        let _ = self.postpone_audit(&lease, self.clock.now()).await;
                    }
                    continue;
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "cannot look for audits that are due"),
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = woken => {}
                () = tokio::time::sleep(NAP) => {}
            }
        }
    }

    async fn audit(&self, lease: &AuditLease) {
        let calendar = lease.calendar;
        match self.try_audit(lease).await {
            Ok(()) => {}
            Err(store::Error::LeaseLost) => tracing::info!(%calendar, "another node took the audit over"),
            Err(error) => tracing::warn!(%calendar, %error, "an audit could not be kept"),
        }
    }

    async fn try_audit(&self, lease: &AuditLease) -> store::Result<()> {
        let started_at = self.clock.now();
        let found = match self.present(lease.business, lease.calendar).await {
            // It is being synced anew.
            Ok(calendar) if calendar.mirror.sync_token.is_none() => {
                return self.postpone_audit(lease, started_at + SOON).await;
            }
            Ok(calendar) => self.examine(lease, &calendar).await,
            Err(error) => Err(error),
        };
        let finished_at = self.clock.now();
        let mut audit = Audit {
            business: lease.business,
            calendar: lease.calendar,
            started_at,
            finished_at,
            outcome: AuditOutcome::Failed,
            missing: TimeDelta::zero(),
            surplus: TimeDelta::zero(),
            events_differing: 0,
            events_compared: 0,
            healed_at: None,
            why: None,
        };
        match found {
            Ok(found) => {
                let equal = found.differing == 0 && found.drift == Drift::default();
                audit.outcome = if equal { AuditOutcome::Equal } else { AuditOutcome::Drift };
                (audit.missing, audit.surplus) = (found.drift.missing, found.drift.surplus);
                audit.events_differing = i64::try_from(found.differing).unwrap_or(i64::MAX);
                audit.events_compared = i64::try_from(found.compared).unwrap_or(i64::MAX);
            }
            Err(AuditError::Store(store::Error::LeaseLost)) => return Err(store::Error::LeaseLost),
            Err(error) => audit.why = Some(error.to_string()),
        }
        let (mut step, mut next) = after(lease, audit.outcome, started_at, finished_at);
        if step == Step::Heal && !self.heal(lease, &audit, next).await? {
            // Somebody works on the calendar without a pause.
            step = Step::HealLater;
            next = AuditNext { due_at: next.heal_after, healing: None, ..next };
        }
        if step != Step::Heal {
            self.keep_result(lease, &audit, next).await?;
        }
        self.tell(&audit, step);
        Ok(())
    }

    /// Counts and logs what was found. Logged here and nowhere else.
    fn tell(&self, audit: &Audit, step: Step) {
        self.metrics.audited(audit.outcome.as_str(), audit.missing, audit.surplus);
        let (business, calendar) = (audit.business, audit.calendar);
        let (missing_s, surplus_s) = (audit.missing.num_seconds(), audit.surplus.num_seconds());
        let events = audit.events_differing;
        match (audit.outcome, step) {
            (AuditOutcome::Equal, _) => tracing::debug!(%business, %calendar, "an audit found the mirror equal"),
            (AuditOutcome::Failed, _) => {
                let why = audit.why.as_deref().unwrap_or_default();
                tracing::warn!(%business, %calendar, why, "an audit failed");
            }
            (AuditOutcome::Drift, Step::Heal) => tracing::warn!(
                %business, %calendar, missing_s, surplus_s, events,
                "the mirror is not what Google shows: syncing it anew"
            ),
            (AuditOutcome::Drift, _) => tracing::warn!(
                %business, %calendar, missing_s, surplus_s, events,
                "the mirror is again not what Google shows: waiting before it is synced anew"
            ),
        }
    }

    async fn keep_result(&self, lease: &AuditLease, audit: &Audit, next: AuditNext) -> store::Result<()> {
        let (lease, audit) = (*lease, audit.clone());
        let finish = store::work::<(), store::Error, _>(move |tx| {
            Box::pin(async move { tx.finish_audit(&lease, &audit, &next).await })
        });
        self.store.write(Lane::Background, finish).await
    }

    /// Keeps the result and lets the next pass be a full one, both or neither. `false` when the calendar was always taken.
    async fn heal(&self, lease: &AuditLease, audit: &Audit, next: AuditNext) -> store::Result<bool> {
        let end = Instant::now() + QUIET_MAX;
        loop {
            let (lease, audit, length) = (*lease, audit.clone(), self.lease());
            let heal = store::work::<bool, store::Error, _>(move |tx| {
                Box::pin(async move {
                    // A pass under way would keep its own token after this.
                    let Some(pass) = tx.claim_calendar(lease.business, lease.calendar, length).await? else {
                        return Ok(false);
                    };
                    tx.begin_anew(&pass).await?;
                    tx.finish_audit(&lease, &audit, &next).await?;
                    Ok(true)
                })
            });
            if self.store.write(Lane::Background, heal).await? {
                self.wake.notify_one();
                return Ok(true);
            }
            if Instant::now() >= end {
                return Ok(false);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Compares a mirror with Google: one look when all is equal, else two.
    async fn examine(&self, lease: &AuditLease, calendar: &Calendar) -> Result<Found, AuditError> {
        let first = self.look(lease, calendar, &BTreeSet::new()).await?.close();
        if first.is_clean() {
            return Ok(Found { drift: Drift::default(), differing: 0, compared: first.compared });
        }
        self.catch_up(lease, calendar).await?;
        let second = self.look(lease, calendar, &first.differing()).await?.close();
        let sure = second.confirmed(&first);
        let served = self.served_around(sure.of, sure.places()).await?;
        Ok(Found { drift: sure.drift(&served), differing: sure.events_differing(), compared: sure.compared })
    }

    /// Waits for a pass that began after now.
    async fn catch_up(&self, lease: &AuditLease, calendar: &Calendar) -> Result<(), AuditError> {
        tokio::time::sleep(PAUSE).await;
        let (since, end) = (self.clock.now(), Instant::now() + CATCH_UP_MAX);
        let (business, id) = (calendar.business, calendar.id);
        let ask = store::work::<(), store::Error, _>(move |tx| {
            Box::pin(async move { tx.look_at_calendar(business, id).await })
        });
        self.store.write(Lane::Background, ask).await?;
        self.wake.notify_one();
        loop {
            let present = self.present(calendar.business, calendar.id).await?;
            if present.mirror.as_of.is_some_and(|as_of| as_of >= since) {
                return Ok(());
            }
            if Instant::now() >= end {
                return Err(AuditError::NoPass);
            }
            self.keep_audit(lease).await?;
            // Told of each pass that ends on this node.
            let _ = tokio::time::timeout(LOOK_EVERY, self.passes.notified()).await;
        }
    }

    /// The calendar as it is now.
    async fn present(&self, business: BusinessId, id: CalendarId) -> Result<Calendar, AuditError> {
        let read = store::work::<Option<Calendar>, store::Error, _>(move |tx| {
            Box::pin(async move { tx.calendar(business, id).await })
        });
        let calendar = self.store.read(read).await?.ok_or(AuditError::Unready)?;
        match calendar.mirror.account_status {
            AccountStatus::Connected => Ok(calendar),
            AccountStatus::NeedsReconnect | AccountStatus::Disconnected => Err(AuditError::Disconnected),
        }
    }

    async fn keep_audit(&self, lease: &AuditLease) -> Result<(), AuditError> {
        let (lease, length) = (*lease, self.lease());
        let keep =
            store::work::<(), store::Error, _>(move |tx| Box::pin(async move { tx.keep_audit(&lease, length).await }));
        Ok(self.store.write(Lane::Background, keep).await?)
    }

    async fn postpone_audit(&self, lease: &AuditLease, to: DateTime<Utc>) -> store::Result<()> {
        let lease = *lease;
        let postpone =
            store::work::<(), store::Error, _>(move |tx| Box::pin(async move { tx.postpone_audit(&lease, to).await }));
        self.store.write(Lane::Background, postpone).await
    }
}
