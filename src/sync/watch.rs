//! Watch channels: asked for, renewed with overlap, and stopped.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::Mirrors;
use crate::{
    crypto::{random_token, sha256},
    domain::{BusinessId, CalendarId, ChannelId},
    google::{self, AccountKey, NewChannel, Urgency},
    store::{
        self, Lane,
        calendars::Calendar,
        channels::{Channel, Unwanted},
    },
};

/// How often it is looked whether a channel is due that nobody woke this for.
const NAP: Duration = Duration::from_mins(1);
/// Channels handled in one sweep.
const SWEEP_MAX: usize = 50;
/// How long before its end a channel is renewed, as a share of its life: both live for the overlap.
const OVERLAP_SHARE: i32 = 8;
/// When to ask again after Google refused; it doubles up to [`RETRY_MAX`] until a push comes.
const RETRY: Duration = Duration::from_mins(5);
const RETRY_MAX: Duration = Duration::from_hours(24);
/// How long Google may take to confirm a channel. One that is not confirmed by then is nobody's.
const CONFIRMED_WITHIN: TimeDelta = TimeDelta::minutes(2);
/// When to ask again whether a calendar can be watched after all.
const UNWATCHABLE_RETRY: TimeDelta = TimeDelta::days(7);

impl Mirrors {
    /// Opens channels for calendars that need one as soon as somebody wakes it, until `stop` is cancelled. Renewals come
    /// by the schedule, with [`Mirrors::renew_watches`].
    pub async fn keep_watches(self, stop: CancellationToken) {
        if self.push_address.is_none() {
            tracing::info!("no push address is set, so calendars are polled");
        }
        while !stop.is_cancelled() {
            let woken = self.watch.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            if let Err(error) = self.renew_watches().await {
                tracing::warn!(%error, "cannot look after watch channels");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = woken => {}
                // For those that were held back.
                () = tokio::time::sleep(NAP) => {}
            }
        }
    }

    /// Opens a channel for each calendar that has none, or whose channel ends soon, and ends those that nobody wants.
    pub async fn renew_watches(&self) -> store::Result<()> {
        let Some(address) = &self.push_address else { return Ok(()) };
        while self.sweep_watches(address).await? == SWEEP_MAX {}
        self.end_unwanted().await
    }

    /// When to ask for another channel, after so many that failed or fell silent: at once for the first time.
    pub(super) fn next_watch(&self, failures: u32) -> DateTime<Utc> {
        let now = self.clock.now();
        match failures.checked_sub(1) {
            None => now,
            Some(doublings) => now + self.retry(doublings),
        }
    }

    fn retry(&self, doublings: u32) -> Duration {
        self.chance.jitter(RETRY.saturating_mul(2_u32.saturating_pow(doublings.min(10))).min(RETRY_MAX), 25)
    }

    async fn sweep_watches(&self, address: &Url) -> store::Result<usize> {
        let due = store::work::<Vec<(BusinessId, CalendarId)>, store::Error, _>(|tx| {
            Box::pin(async move { tx.watches_due(SWEEP_MAX).await })
        });
        let due = self.store.read(due).await?;
        let count = due.len();
        for (business, id) in due {
            let read = store::work::<Option<Calendar>, store::Error, _>(move |tx| {
                Box::pin(async move { tx.calendar(business, id).await })
            });
            if let Some(calendar) = self.store.read(read).await? {
                self.watch(&calendar, address).await?;
            }
        }
        Ok(count)
    }

    /// Opens a new channel for a calendar and ends the others.
    async fn watch(&self, calendar: &Calendar, address: &Url) -> store::Result<()> {
        let now = self.clock.now();
        let (business, id) = (calendar.business, calendar.id);
        let account = AccountKey { business, account: calendar.account };
        let token = random_token(&*self.chance);
        let ttl = TimeDelta::seconds(i64::from(self.config.channel_ttl_s));
        let channel = Channel {
            business,
            id: ChannelId::new(self.chance.uuid(now)),
            calendar: id,
            token_hash: sha256(token.as_bytes()).to_vec(),
            google_resource_id: None,
            stopping: false,
            expires_at: now + ttl,
        };
        // Committed before Google is asked: the first push may come before the answer.
        let (row, retry_at) = (channel.clone(), now + self.chance.jitter(RETRY, 25));
        let prepare = store::work::<bool, store::Error, _>(move |tx| {
            Box::pin(async move {
                if !tx.claim_watch(business, id, retry_at).await? {
                    return Ok(false);
                }
                tx.insert_channel(&row).await?;
                Ok(true)
            })
        });
        if !self.store.write(Lane::Background, prepare).await? {
            return Ok(());
        }

        let wish = NewChannel {
            id: channel.id,
            token: token.clone().into(),
            address: address.clone(),
            ttl_s: self.config.channel_ttl_s,
        };
        // Nobody waits for it, and the next calendar may have room.
        let google = self.google.at(Urgency::Poll).waiting(Duration::ZERO);
        match google.watch_events(account, &calendar.google_id, &wish).await {
            Ok(granted) => {
                let expires_at = granted.expires_at.unwrap_or(channel.expires_at);
                self.granted(channel, granted.resource_id, expires_at).await
            }
            Err(error) => self.refused(channel, account, &error, now).await,
        }
    }

    async fn granted(&self, channel: Channel, resource: String, expires_at: DateTime<Utc>) -> store::Result<()> {
        let now = self.clock.now();
        let renew_at = expires_at - (expires_at - now).max(TimeDelta::zero()) / OVERLAP_SHARE;
        let save = store::work::<(), store::Error, _>(move |tx| {
            Box::pin(async move {
                tx.channel_granted(&channel, &resource, expires_at).await?;
                tx.schedule_watch(channel.business, channel.calendar, renew_at, true).await?;
                // What changed between the last pass and the first push would wait for the next poll.
                tx.look_at_calendar(channel.business, channel.calendar).await
            })
        });
        self.store.write(Lane::Background, save).await?;
        self.wake.notify_one();
        Ok(())
    }

    async fn refused(
        &self,
        channel: Channel,
        account: AccountKey,
        error: &google::Error,
        now: DateTime<Utc>,
    ) -> store::Result<()> {
        let (business, calendar) = (channel.business, channel.calendar);
        let failures = store::work::<u32, store::Error, _>(move |tx| {
            Box::pin(async move { tx.watch_failures(business, calendar).await })
        });
        let asked = error.retry_after().unwrap_or_default();
        let held_back = matches!(error, google::Error::HeldBack { .. });
        let wait = if held_back {
            asked + self.chance.jitter(asked / 16, 100)
        } else {
            self.retry(self.store.read(failures).await?).max(asked)
        };
        let (watchable, consent) = (!matches!(error, google::Error::PushNotSupported), error.needs_consent());
        let (opened, ends, why) = (error.maybe_applied(), error.ends_the_grant(), error.to_string());
        let save = store::work::<bool, store::Error, _>(move |tx| {
            Box::pin(async move {
                let ended = ends && tx.mark_needs_reconnect(business, account.account, now, &why).await?;
                if opened {
                    // Google may push to it from now on; it is stopped as soon as its name is known.
                    tx.give_channel_up(business, channel.id).await?;
                } else {
                    tx.delete_channel(business, channel.id).await?;
                }
                if held_back {
                    // Nothing is wrong with the calendar: it has its turn later.
                    tx.schedule_watch(business, calendar, now + wait, true).await?;
                } else if watchable {
                    tx.watch_failed(business, calendar, now + wait).await?;
                } else {
                    tx.schedule_watch(business, calendar, now + UNWATCHABLE_RETRY, false).await?;
                }
                Ok(ended)
            })
        });
        match (self.store.write(Lane::Background, save).await?, consent, watchable) {
            (true, ..) => tracing::warn!(%business, account = %account.account, %error, "Google ended the grant"),
            (_, true, _) => {}
            _ if held_back => tracing::debug!(%calendar, %error, "a channel is asked for later"),
            (_, _, true) => tracing::warn!(%calendar, %error, "cannot watch a calendar, it is polled meanwhile"),
            (_, _, false) => tracing::info!(%calendar, "Google does not push for this calendar, so it is polled"),
        }
        Ok(())
    }

    /// Ends channels that were replaced, were never confirmed, or belong to calendars that concern nobody any more. One that
    /// Google no longer knows has ended already; what cannot be stopped now is tried again by the schedule, and falls silent
    /// by itself at its end.
    async fn end_unwanted(&self) -> store::Result<()> {
        let forget = store::work::<u64, store::Error, _>(|tx| Box::pin(tx.forget_ended_channels()));
        self.store.write(Lane::Background, forget).await?;
        let (asked_before, mut after) = (self.clock.now() - CONFIRMED_WITHIN, None);
        loop {
            let read = store::work::<Vec<Unwanted>, store::Error, _>(move |tx| {
                Box::pin(async move { tx.unwanted_channels(asked_before, after, SWEEP_MAX).await })
            });
            let unwanted = self.store.read(read).await?;
            let Some(last) = unwanted.last().map(|channel| (channel.business, channel.id)) else { return Ok(()) };
            for channel in unwanted {
                self.end(channel).await?;
            }
            after = Some(last);
        }
    }

    async fn end(&self, channel: Unwanted) -> store::Result<()> {
        let (began, business, account) = (self.clock.now(), channel.business, channel.account);
        let key = AccountKey { business, account };
        match self.google.at(Urgency::Poll).stop_channel(key, channel.id, &channel.google_resource_id).await {
            Ok(()) | Err(google::Error::NotFound) => {
                let delete = store::work::<(), store::Error, _>(move |tx| {
                    Box::pin(async move { tx.delete_channel(business, channel.id).await })
                });
                self.store.write(Lane::Background, delete).await
            }
            Err(error) if error.ends_the_grant() => {
                let why = error.to_string();
                let mark = store::work::<bool, store::Error, _>(move |tx| {
                    Box::pin(async move { tx.mark_needs_reconnect(business, account, began, &why).await })
                });
                if self.store.write(Lane::Background, mark).await? {
                    tracing::warn!(%business, %account, %error, "Google ended the grant");
                }
                Ok(())
            }
            Err(error) => {
                tracing::info!(calendar = %channel.calendar, %error, "cannot stop a channel yet");
                Ok(())
            }
        }
    }
}
