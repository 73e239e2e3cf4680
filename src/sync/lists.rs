//! The lists of the connected accounts: how calendars are called, what slotd may do with them, and which are gone.
//!
//! Google pushes nothing of this and its incremental lists leave most of it out, so each account's list is read as a whole
//! once a day, one account after the other; and at once when Google does not show a calendar any more.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Mirrors;
use crate::{
    domain::{AccountId, BusinessId, access},
    google::{self, AccountKey, CalendarEntry, Urgency},
    store::{self, Lane, calendar_lists::Listed, calendars::Calendar},
};

/// Lists that are looked for at once.
const BATCH: usize = 50;
/// Accounts that are planned at once.
const PLANNED: usize = 500;
/// The first wait after a list could not be read; it doubles up to [`BACKOFF_MAX`].
const BACKOFF: Duration = Duration::from_mins(1);
const BACKOFF_MAX: Duration = Duration::from_hours(1);
/// How much waits vary.
const JITTER_PERCENT: u32 = 25;
/// The longest sleep between two looks at what is due: another node may have asked for a list.
const NAP_MAX: Duration = Duration::from_secs(15);
/// The shortest, against a busy loop.
const NAP_MIN: Duration = Duration::from_millis(20);

/// What a list says of one mirrored calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
enum News {
    /// It is there.
    Listed {
        listed: Listed,
        /// A pass is worth its while: the zone differs, or a calendar that could not be read may be readable again.
        look: bool,
        /// Bookings can be written to it again.
        writable_again: bool,
    },
    /// It is not.
    Gone,
}

/// What `entries`, a whole list, says of `calendar`.
fn news(calendar: &Calendar, entries: &[CalendarEntry]) -> News {
    let Some(entry) = entries.iter().find(|entry| entry.id == calendar.google_id) else { return News::Gone };
    let role = entry.access_role.as_deref().unwrap_or(&calendar.access_role);
    let zone = entry.time_zone.as_deref().and_then(|zone| zone.parse().ok()).unwrap_or(calendar.time_zone);
    let back = calendar.mirror.lost_at.is_some() && !calendar.mirror.listed;
    News::Listed {
        look: zone != calendar.time_zone || back,
        writable_again: access::may_write(role) && !access::may_write(&calendar.access_role),
        listed: Listed {
            summary: entry.title.clone().unwrap_or_default(),
            access_role: role.to_owned(),
            hidden: entry.hidden,
        },
    }
}

impl Mirrors {
    /// Reads lists that are due until `stop` is cancelled.
    pub async fn keep_lists(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let woken = self.lists.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            let nap = match self.read_lists(&stop).await {
                Ok(nap) => nap.clamp(NAP_MIN, NAP_MAX),
                Err(error) => {
                    tracing::warn!(%error, "cannot look after the lists of calendars");
                    NAP_MAX
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = woken => {}
                () = tokio::time::sleep(nap) => {}
            }
        }
    }

    /// Has the list of every connected account read within `sync.list_spread_s`. Returns of how many.
    pub async fn plan_lists(&self) -> store::Result<usize> {
        let (mut after, mut planned) = (None, 0);
        loop {
            let read = store::work::<Vec<(BusinessId, AccountId)>, store::Error, _>(move |tx| {
                Box::pin(async move { tx.accounts_without_list(after, PLANNED).await })
            });
            let accounts = self.store.read(read).await?;
            let Some(last) = accounts.last().copied() else { break };
            let spread = Duration::from_secs(self.config.list_spread_s.into());
            let now = self.clock.now();
            let plan: Vec<_> = accounts.into_iter().map(|account| (account, now + self.within(spread))).collect();
            planned += plan.len();
            let write = store::work::<(), store::Error, _>(move |tx| {
                Box::pin(async move {
                    for ((business, account), at) in plan {
                        tx.plan_list(business, account, at).await?;
                    }
                    Ok(())
                })
            });
            self.store.write(Lane::Background, write).await?;
            after = Some(last);
        }
        self.lists.notify_one();
        Ok(planned)
    }

    /// Some time up to `longest`.
    fn within(&self, longest: Duration) -> Duration {
        // Half of it, more or less by all of that.
        self.chance.jitter(longest / 2, 100)
    }

    /// Reads what is due, one list after the other. Returns how long nothing more is.
    async fn read_lists(&self, stop: &CancellationToken) -> store::Result<Duration> {
        let due = store::work::<Vec<(BusinessId, AccountId, u32)>, store::Error, _>(|tx| {
            Box::pin(async move { tx.lists_due(BATCH).await })
        });
        for (business, account, failures) in self.store.read(due).await? {
            if stop.is_cancelled() {
                break;
            }
            self.read_list(AccountKey { business, account }, failures).await?;
        }
        let next = store::work::<_, store::Error, _>(|tx| Box::pin(async move { tx.next_list_at().await }));
        let next = self.store.read(next).await?;
        Ok(next.map_or(NAP_MAX, |next| (next - self.clock.now()).to_std().unwrap_or_default()))
    }

    async fn read_list(&self, key: AccountKey, failures: u32) -> store::Result<()> {
        let began = self.clock.now();
        let backoff = BACKOFF.saturating_mul(2_u32.saturating_pow(failures.min(10))).min(BACKOFF_MAX);
        let again_at = began + self.chance.jitter(backoff, JITTER_PERCENT);
        let claim = store::work::<bool, store::Error, _>(move |tx| {
            Box::pin(async move { tx.claim_list(key.business, key.account, again_at).await })
        });
        if !self.store.write(Lane::Background, claim).await? {
            return Ok(());
        }
        let entries = match self.google.at(Urgency::Poll).calendar_list(key).await {
            Ok(entries) => entries,
            Err(error) => return self.list_failed(key, &error, began).await,
        };
        let apply = store::work::<bool, store::Error, _>(move |tx| {
            Box::pin(async move {
                // Accounts before calendars, here as everywhere.
                tx.list_read(key.business, key.account, again_at).await?;
                let mut look = false;
                for calendar in tx.calendars(key.business).await? {
                    if calendar.account == key.account {
                        look |= apply(tx, &calendar, news(&calendar, &entries)).await?;
                    }
                }
                Ok(look)
            })
        });
        if self.store.write(Lane::Background, apply).await? {
            self.wake.notify_one();
            self.outbox.notify_one();
        }
        Ok(())
    }

    async fn list_failed(
        &self,
        key: AccountKey,
        error: &google::Error,
        began: chrono::DateTime<chrono::Utc>,
    ) -> store::Result<()> {
        if matches!(error, google::Error::HeldBack { .. }) {
            tracing::debug!(business = %key.business, account = %key.account, %error, "a list of calendars is read later");
            return Ok(());
        }
        if !error.needs_consent() {
            tracing::warn!(business = %key.business, account = %key.account, %error, "cannot read a list of calendars");
            return Ok(());
        }
        if !error.ends_the_grant() {
            return Ok(());
        }
        let why = error.to_string();
        let mark = store::work::<bool, store::Error, _>(move |tx| {
            Box::pin(async move { tx.mark_needs_reconnect(key.business, key.account, began, &why).await })
        });
        if self.store.write(Lane::Background, mark).await? {
            tracing::warn!(business = %key.business, account = %key.account, %error, "Google ended the grant");
        }
        Ok(())
    }
}

/// Keeps what a list says of a calendar. Returns whether somebody has to be woken.
async fn apply(tx: &mut store::Tx, calendar: &Calendar, news: News) -> store::Result<bool> {
    let (business, id) = (calendar.business, calendar.id);
    match news {
        News::Gone => {
            if tx.calendar_unlisted(business, id).await? {
                tracing::info!(%business, calendar = %id, "the account's list of calendars lacks a mirrored one");
            }
            if tx.calendar_lost(business, id, access::refusals_until_lost(false)).await? {
                tracing::warn!(%business, calendar = %id, "a calendar is lost: Google does not show it any more");
            }
            Ok(false)
        }
        News::Listed { listed, look, writable_again } => {
            tx.calendar_listed(business, id, &listed).await?;
            if look {
                tx.look_at_calendar(business, id).await?;
            }
            if writable_again {
                tx.retry_deliveries(business).await?;
            }
            Ok(look || writable_again)
        }
    }
}
