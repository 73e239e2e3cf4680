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
    store::{self, Lane, calendars::Calendar, channels::Channel},
};

/// How often it is looked whether a channel is due that nobody woke this for.
const NAP: Duration = Duration::from_mins(1);
/// Channels handled in one sweep.
const SWEEP_MAX: usize = 50;
/// How long before its end a channel is renewed, as a share of its life: both live for the overlap.
const OVERLAP_SHARE: i32 = 8;
/// When to ask again after Google refused.
const RETRY: Duration = Duration::from_mins(5);
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

    /// Opens a channel for each calendar that has none, or whose channel ends soon.
    pub async fn renew_watches(&self) -> store::Result<()> {
        match &self.push_address {
            Some(address) => {
                while self.sweep_watches(address).await? == SWEEP_MAX {}
                Ok(())
            }
            None => Ok(()),
        }
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
        // Committed before Google is asked: the first push may come before the answer. The next try is set here as well,
        // so that a node that dies in between leaves no calendar unwatched.
        let (row, retry_at) = (channel.clone(), now + self.chance.jitter(RETRY, 25));
        let prepare = store::work::<(), store::Error, _>(move |tx| {
            Box::pin(async move {
                tx.insert_channel(&row).await?;
                tx.schedule_watch(business, id, retry_at, true).await
            })
        });
        self.store.write(Lane::Background, prepare).await?;

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
                self.granted(channel, granted.resource_id, expires_at).await?;
                self.stop_old(account, business, id).await
            }
            Err(error) => self.refused(channel, &error, now).await,
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

    async fn refused(&self, channel: Channel, error: &google::Error, now: DateTime<Utc>) -> store::Result<()> {
        let watchable = !matches!(error, google::Error::PushNotSupported);
        let held_back = matches!(error, google::Error::HeldBack { .. });
        if held_back {
            tracing::debug!(calendar = %channel.calendar, %error, "a channel is asked for later");
        } else if watchable {
            tracing::warn!(calendar = %channel.calendar, %error, "cannot watch a calendar, it is polled meanwhile");
        } else {
            tracing::info!(calendar = %channel.calendar, "Google does not push for this calendar, so it is polled");
        }
        let asked = error.retry_after().unwrap_or_default();
        let at = if held_back {
            now + asked + self.chance.jitter(asked / 16, 100)
        } else if watchable {
            now + self.chance.jitter(RETRY, 25).max(asked)
        } else {
            now + UNWATCHABLE_RETRY
        };
        let save = store::work::<(), store::Error, _>(move |tx| {
            Box::pin(async move {
                tx.delete_channel(channel.business, channel.id).await?;
                tx.schedule_watch(channel.business, channel.calendar, at, watchable).await
            })
        });
        self.store.write(Lane::Background, save).await
    }

    /// Ends the channels that a newer one replaced. One that Google no longer knows has ended already.
    async fn stop_old(&self, account: AccountKey, business: BusinessId, calendar: CalendarId) -> store::Result<()> {
        let read = store::work::<Vec<Channel>, store::Error, _>(move |tx| {
            Box::pin(async move { tx.channels(business, calendar).await })
        });
        let now = self.clock.now();
        for channel in self.store.read(read).await?.into_iter().filter(|channel| channel.stopping) {
            let ended = match &channel.google_resource_id {
                // Google never granted it, or its answer was lost: it ends by itself.
                None => channel.expires_at <= now,
                Some(resource) => match self.google.at(Urgency::Poll).stop_channel(account, channel.id, resource).await
                {
                    Ok(()) | Err(google::Error::NotFound) => true,
                    Err(_) => channel.expires_at <= now,
                },
            };
            if ended {
                let delete = store::work::<(), store::Error, _>(move |tx| {
                    Box::pin(async move { tx.delete_channel(business, channel.id).await })
                });
                self.store.write(Lane::Background, delete).await?;
            }
        }
        Ok(())
    }
}
