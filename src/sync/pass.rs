//! One pass over one calendar, from its lease to its end.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use tokio::time::Instant;

use super::Mirrors;
use crate::{
    domain::{
        Interval, access,
        sabotage::{Bug, sabotaged},
    },
    google::{self, AccountKey, EventsPage, Google, Urgency},
    store::{
        self, Lane,
        calendars::Calendar,
        events::Generation,
        leases::{Failed, Finished, Lease},
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
    /// The calendar's zone changed between two pages: what was staged is wrong, and read again.
    #[error("the calendar's zone changed while it was read")]
    ZoneMoved,
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
    /// For calls as urgent as the pass.
    pub(super) google: Google,
    /// For its calls after the first, which wait longer for room in the quotas, so that what was read is not read again.
    pub(super) google_again: Google,
    /// How many calendars the account has.
    siblings: i64,
}

/// What a pass did.
pub(super) struct Report {
    /// `full` or `incremental`.
    pub(super) kind: &'static str,
    /// Items that Google gave.
    pub(super) items: usize,
    /// The channel has told nothing for too long.
    pub(super) dead_channel: bool,
}

/// What a pass learnt of the live channel.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Silence {
    /// It found changes that the channel should have told of, and has not.
    pub(super) unannounced: bool,
    /// That has now been so for so long that the channel is taken for dead.
    pub(super) dead: bool,
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

/// Says once when the first series of a calendar cannot be mirrored in full; which they are the status tells.
pub(super) fn tell_limited(pass: &Pass, now: i64) {
    if now > 0 && pass.calendar.mirror.limited_series == 0 {
        tracing::warn!(calendar = %pass.calendar.id, series = now, "some series cannot be mirrored in full");
    }
}

/// Pages that a pass follows at most; more is a loop.
pub(super) const PAGES_MAX: usize = 10_000;
/// The first wait after a failure; it doubles up to [`BACKOFF_MAX`].
const BACKOFF: Duration = Duration::from_secs(5);
const BACKOFF_MAX: Duration = Duration::from_mins(15);
/// While Google is down nobody is slowed down by asking, and mirrors should be fresh soon after it is back.
const OUTAGE_BACKOFF_MAX: Duration = Duration::from_mins(1);
/// The longest wait between two looks at a calendar that is lost: somebody may share it again.
const LOST_BACKOFF_MAX: Duration = Duration::from_hours(6);
/// So many passes in a row that found what no push announced, and so long after the first, say that the channel is dead.
const SILENT_PASSES: i64 = 2;
const SILENCE: TimeDelta = TimeDelta::minutes(1);
/// How much waits vary, so that calendars that failed together do not come back together.
const JITTER_PERCENT: u32 = 25;
/// When to look again after a push that led to nothing.
const SECOND_LOOKS: [TimeDelta; 2] = [TimeDelta::seconds(2), TimeDelta::seconds(15)];

impl Pass {
    pub(super) const fn account(&self) -> AccountKey {
        AccountKey { business: self.calendar.business, account: self.calendar.account }
    }

    /// Whether a channel is live that tells of changes.
    pub(super) fn watched(&self, now: DateTime<Utc>) -> bool {
        self.calendar.mirror.watched_until.is_some_and(|until| until > now)
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

/// How urgent a pass is, by what woke it.
fn urgency(lease: &Lease, calendar: &Calendar) -> Urgency {
    if lease.asked {
        Urgency::Caller
    } else if calendar.mirror.sync_token.is_none() {
        Urgency::Background
    } else if calendar.mirror.pushed {
        // By Google, or by "sync now".
        Urgency::Push
    } else {
        Urgency::Poll
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
        let load = store::work::<Option<(Calendar, i64)>, store::Error, _>(move |tx| {
            Box::pin(async move {
                let siblings = tx.calendars_of_account(lease.business, lease.account).await?;
                Ok(tx.calendar(lease.business, lease.calendar).await?.map(|calendar| (calendar, siblings)))
            })
        });
        let Some((calendar, siblings)) = self.store.read(load).await? else {
            return Err(store::Error::NoBusiness.into());
        };
        let google = self.google.at(urgency(&lease, &calendar));
        // With the longest call after it, it stays within the lease.
        let google_again = google.waiting(self.lease() / 3);
        let pass = Pass { lease, window: self.window(began), calendar, began, google, google_again, siblings };
        let result = match &pass.calendar.mirror.sync_token {
            None => self.full(&pass).await,
            Some(token) => match self.incremental(&pass, token).await {
                Err(PassError::Google(google::Error::FullSyncRequired)) if sabotaged(Bug::GoneIgnored) => {
                    self.look_away(&pass, token).await
                }
                // The served rows stay until the staged ones replace them, and are told of as stale.
                Err(PassError::Google(google::Error::FullSyncRequired)) => match self.token_ended(&pass).await {
                    Ok(()) => self.full(&pass).await,
                    Err(error) => Err(error),
                },
                Err(PassError::TooMuch) => self.full(&pass).await,
                other => other,
            },
        };
        match &result {
            Ok(report) => self.tidy(&pass, report).await,
            Err(error) => self.failed(&pass, error).await,
        }
        result
    }

    async fn token_ended(&self, pass: &Pass) -> Result<(), PassError> {
        let lease = pass.lease;
        let end = store::work::<(), store::Error, _>(move |tx| Box::pin(async move { tx.token_ended(&lease).await }));
        Ok(self.store.write(Lane::Background, end).await?)
    }

    /// A deliberate bug: ends a pass as if nothing had changed.
    async fn look_away(&self, pass: &Pass, token: &str) -> Result<Report, PassError> {
        let (lease, finished) =
            (pass.lease, self.finished(pass, Heading::default(), token.to_owned(), 0, Silence::default()));
        let finish = store::work::<(), store::Error, _>(move |tx| {
            Box::pin(async move { tx.finish_pass(&lease, &finished).await })
        });
        self.store.write(Lane::Background, finish).await?;
        Ok(Report { kind: "incremental", items: 0, dead_channel: false })
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
    fn next_look(&self, pass: &Pass, items: usize, dead_channel: bool) -> DateTime<Utc> {
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
        let watched = pass.watched(now) && !dead_channel;
        let periods = self.periods(pass.siblings);
        let period = if watched { periods.watched } else { periods.unwatched };
        now + self.chance.jitter(period, JITTER_PERCENT)
    }

    /// What a pass with so many changes tells of the live channel. Ask before [`Mirrors::finished`] forgets the push.
    pub(super) fn silence(&self, pass: &Pass, changes: usize) -> Silence {
        let looks = self.empty_looks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let announced = pass.lease.pushed_at.is_some() || looks.contains_key(&pass.calendar.id);
        let unannounced = changes > 0 && !announced && pass.watched(self.clock.now());
        let mirror = &pass.calendar.mirror;
        let poll = TimeDelta::seconds(i64::from(self.config.poll_watched_s));
        let long = mirror.unannounced_at.is_some_and(|first| pass.began - first >= SILENCE.min(poll));
        Silence { unannounced, dead: unannounced && long && mirror.unannounced + 1 >= SILENT_PASSES }
    }

    /// After a pass that went well: a dead channel is given up, and decisions that waited for others are made. What fails
    /// here is done after the next pass.
    async fn tidy(&self, pass: &Pass, report: &Report) {
        let (business, calendar) = (pass.calendar.business, pass.calendar.id);
        let look = store::work::<(bool, u32), store::Error, _>(move |tx| {
            Box::pin(async move {
                Ok((tx.has_found_gone(business, calendar).await?, tx.watch_failures(business, calendar).await?))
            })
        });
        let dead = report.dead_channel;
        let tidied = async {
            let (gone, failures) = self.store.read(look).await?;
            if !gone && !dead {
                return Ok(false);
            }
            let at = self.next_watch(failures);
            let write = store::work::<bool, store::Error, _>(move |tx| {
                Box::pin(async move {
                    tx.settle_gone(business, calendar).await?;
                    Ok(dead && tx.watch_fell_silent(business, calendar, at, SILENT_PASSES).await?)
                })
            });
            self.store.write(Lane::Background, write).await
        };
        match tidied.await {
            Ok(false) => {}
            Ok(true) => {
                tracing::warn!(%calendar, "a channel told nothing of several changes, so another one is asked for");
                self.watch.notify_one();
            }
            Err(error) => tracing::warn!(%calendar, %error, "cannot tidy up after a pass"),
        }
    }

    /// The end of a pass that went well; to be committed with its rows.
    pub(super) fn finished(
        &self,
        pass: &Pass,
        heading: Heading,
        token: String,
        items: usize,
        silence: Silence,
    ) -> Finished {
        let regained = pass.calendar.mirror.lost_at.is_some()
            || heading.access_role.as_deref().is_some_and(access::may_write)
                && !access::may_write(&pass.calendar.access_role);
        Finished {
            unannounced: silence.unannounced,
            regained,
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
            due_at: self.next_look(pass, items, silence.dead),
            period: self.periods(pass.siblings).unwatched,
        }
    }

    /// After a pass that went well: how long the push took to become a busy slot, and who must know.
    pub(super) fn settled(&self, pass: &Pass) {
        if let Some(pushed_at) = pass.lease.pushed_at {
            let elapsed = (self.clock.now() - pushed_at).to_std().unwrap_or_default();
            self.metrics.push_to_busy(elapsed);
        }
        self.wake.notify_one();
        // What could not be written to the calendar before may go out now.
        self.outbox.notify_one();
        if pass.calendar.mirror.lost_at.is_some() {
            // Its channels ended with the right to see it.
            self.watch.notify_one();
        }
    }

    /// Gives the lease back for a quota's sake: nothing is wrong with the calendar.
    async fn postpone(&self, pass: &Pass, error: &google::Error) {
        let (calendar, account) = (pass.calendar.id, pass.calendar.account);
        if matches!(error, google::Error::HeldBack { .. }) {
            tracing::debug!(%calendar, %error, "a pass is postponed");
        } else {
            tracing::warn!(business = %pass.calendar.business, %account, %error, "Google refuses for a quota's sake");
        }
        let asked = error.retry_after().unwrap_or_default();
        // Never earlier than asked.
        let due_at = self.clock.now() + asked + self.chance.jitter(asked / 16, 100);
        let (lease, why) = (pass.lease, error.to_string());
        let settle = self
            .store
            .write(Lane::Background, move |tx| Box::pin(async move { tx.postpone_pass(&lease, &why, due_at).await }));
        if let Err(error) = settle.await {
            tracing::warn!(%calendar, %error, "cannot give a lease back; it runs out by itself");
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
            // Told below, and once for the whole account.
            PassError::Google(error) if error.needs_consent() => {}
            PassError::Google(error) if error.is_about_quota() => return self.postpone(pass, error).await,
            // Google's faults; those of ours come below.
            PassError::Google(_) | PassError::Endless | PassError::NoToken | PassError::ZoneMoved => {
                tracing::warn!(%calendar, %error, "cannot sync, will try again");
            }
            error => tracing::error!(%calendar, %error, "cannot sync, will try again"),
        }
        let doublings = u32::try_from(pass.calendar.mirror.failures).unwrap_or(u32::MAX).min(13);
        let outage = matches!(error, PassError::Google(google::Error::Unavailable { .. }));
        let refused = matches!(error, PassError::Google(error) if error.is_refusal());
        let lost = pass.calendar.mirror.lost_at.is_some();
        let longest = match (outage, refused && lost) {
            (true, _) => OUTAGE_BACKOFF_MAX,
            (_, true) => LOST_BACKOFF_MAX,
            _ => BACKOFF_MAX,
        };
        let backoff = (BACKOFF * 2_u32.pow(doublings)).min(longest);
        let asked = match error {
            PassError::Google(error) => error.retry_after(),
            _ => None,
        };
        let wait = self.chance.jitter(backoff, JITTER_PERCENT).max(asked.unwrap_or_default());
        let due_at = self.clock.now() + wait;
        let (lease, account, began) = (pass.lease, pass.calendar.account, pass.began);
        let failed = Failed { why: error.to_string(), due_at, refused };
        let consent = matches!(error, PassError::Google(error) if error.ends_the_grant());
        let until_lost = access::refusals_until_lost(pass.calendar.mirror.listed);
        let settle = store::work::<(bool, bool), store::Error, _>(move |tx| {
            Box::pin(async move {
                // Accounts before calendars, here as everywhere.
                let ended = consent && tx.mark_needs_reconnect(business, account, began, &failed.why).await?;
                if refused && !lost {
                    // The list tells whether the calendar is still shared, and as what.
                    tx.want_list(business, account).await?;
                }
                tx.fail_pass(&lease, &failed).await?;
                Ok((ended, refused && !lost && tx.calendar_lost(business, calendar, until_lost).await?))
            })
        });
        match self.store.write(Lane::Background, settle).await {
            Ok((ended, now_lost)) => {
                if ended {
                    tracing::warn!(%business, %account, %error, "Google ended the grant");
                }
                if now_lost {
                    tracing::warn!(%business, %calendar, "a calendar is lost: Google does not show it any more");
                }
            }
            Err(error) => tracing::warn!(%calendar, %error, "cannot give a lease back; it runs out by itself"),
        }
        self.wake.notify_one();
        if refused {
            self.lists.notify_one();
        }
    }
}
