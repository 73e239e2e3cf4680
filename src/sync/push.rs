//! Google's pushes: a hint that a calendar changed, and nothing more.

use super::Mirrors;
use crate::{
    crypto::{equal, sha256},
    domain::ChannelId,
    store::{self, Lane, channels::Channel},
};

/// Longest name of what is watched that is believed.
const RESOURCE_MAX: usize = 256;

/// What a push says about itself, from its `X-Goog-` headers. Its body is empty.
#[derive(Clone)]
pub struct Push<'a> {
    /// `X-Goog-Channel-ID`.
    pub channel: &'a str,
    /// `X-Goog-Channel-Token`: the only proof of its origin.
    pub token: &'a str,
    /// `X-Goog-Resource-State`: `sync` when a channel begins, else `exists`.
    pub state: &'a str,
    /// `X-Goog-Resource-ID`: Google's name of what is watched.
    pub resource: &'a str,
}

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushOutcome {
    /// A pass is due.
    Accepted,
    /// The first push of a channel: it works.
    Hello,
    /// Nobody knows the channel, it has ended, or the token or resource is not its.
    Unknown,
}

impl PushOutcome {
    /// The word for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Hello => "hello",
            Self::Unknown => "unknown",
        }
    }
}

impl Mirrors {
    /// Takes a push: notes that its calendar is due and wakes the scheduler. Asks Google nothing.
    ///
    /// # Errors
    ///
    /// When the database fails; Google then tries again.
    pub async fn take_push(&self, push: Push<'_>) -> store::Result<PushOutcome> {
        // Never closed.
        let _turn = self.pushes.acquire().await;
        let outcome = self.judge_push(push).await?;
        self.metrics.push_received(outcome.as_str());
        Ok(outcome)
    }

    async fn judge_push(&self, push: Push<'_>) -> store::Result<PushOutcome> {
        let Ok(id) = push.channel.parse::<ChannelId>() else { return Ok(PushOutcome::Unknown) };
        // Looked up without writing: forged pushes cost a read, and so do those about a calendar that is due already.
        let read = store::work::<Option<(Channel, bool)>, store::Error, _>(move |tx| {
            Box::pin(async move {
                let Some(channel) = tx.channel(id).await? else { return Ok(None) };
                let awake = tx.is_awake(channel.business, channel.calendar).await?;
                Ok(Some((channel, awake)))
            })
        });
        let Some((channel, awake)) = self.store.read(read).await? else { return Ok(PushOutcome::Unknown) };
        if !equal(&sha256(push.token.as_bytes()), &channel.token_hash) || !self.may_push(&channel, &push) {
            return Ok(PushOutcome::Unknown);
        }
        if channel.google_resource_id.is_none() && (1..=RESOURCE_MAX).contains(&push.resource.len()) {
            self.learn_resource(channel.clone(), push.resource.to_owned()).await?;
        }
        if push.state == "sync" {
            return Ok(PushOutcome::Hello);
        }
        if awake {
            self.wake.notify_one();
            return Ok(PushOutcome::Accepted);
        }
        let wake = store::work::<bool, store::Error, _>(move |tx| {
            Box::pin(async move { tx.wake_calendar(channel.business, channel.calendar).await })
        });
        self.store.write(Lane::Caller, wake).await?;
        self.wake.notify_one();
        Ok(PushOutcome::Accepted)
    }

    /// Google opened a channel and its answer has not come, or never will: the push tells how to stop it.
    async fn learn_resource(&self, channel: Channel, resource: String) -> store::Result<()> {
        let keep = store::work::<(), store::Error, _>(move |tx| {
            Box::pin(async move { tx.learn_resource(&channel, &resource).await })
        });
        self.store.write(Lane::Caller, keep).await?;
        self.watch.notify_one();
        Ok(())
    }

    /// Whether the channel still lives, and the push names what it watches. That is unknown until Google has answered.
    fn may_push(&self, channel: &Channel, push: &Push<'_>) -> bool {
        let watched = channel.google_resource_id.as_deref();
        channel.expires_at > self.clock.now() && watched.is_none_or(|resource| resource == push.resource)
    }
}
