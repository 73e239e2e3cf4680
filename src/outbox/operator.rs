//! Telling the operator what was given up: once, many at a time, and nothing about the telling itself.

use std::{fmt::Write, sync::Arc, time::Duration};

use secrecy::SecretString;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    domain::{SharedChance, SharedClock, notice::next_wait},
    notify::{Mailer, Message, Sender},
    store::{
        self, Lane, Store,
        operator::{Channel, News, OperatorNotice},
    },
    telemetry::Metrics,
};

/// How often is looked for news, and for notices that are due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Notices taken at once.
const AT_ONCE: usize = 4;
/// The lease is so much longer than the slowest try.
const LEASE_SPARE: Duration = Duration::from_secs(30);
/// How much waits vary.
const JITTER_PERCENT: u32 = 20;

/// The ways to the operator.
#[derive(Clone, Default)]
pub struct Support {
    /// By mail.
    pub mail: Option<Mailer>,
    /// By a signed POST.
    pub post: Option<(Sender, Url, SecretString)>,
}

impl Support {
    fn channels(&self) -> Vec<Channel> {
        let mail = self.mail.as_ref().map(|_| Channel::Mail);
        mail.into_iter().chain(self.post.as_ref().map(|_| Channel::Post)).collect()
    }
}

/// Tells the operator. Cheap to clone.
#[derive(Clone)]
pub struct Operator {
    /// The database.
    pub store: Store,
    /// The ways to the operator.
    pub support: Support,
    /// The time.
    pub clock: SharedClock,
    /// Jitter.
    pub chance: SharedChance,
    /// Where to count.
    pub metrics: Metrics,
    /// How long is waited for more.
    pub gather: Duration,
    /// The longest time for one try by POST.
    pub patience: Duration,
    /// The wait after each failed try.
    pub retry_s: Arc<[u32]>,
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operator").field("gather", &self.gather).finish_non_exhaustive()
    }
}

impl Operator {
    /// Tells until `stop` is cancelled. Without a way to the operator, what was given up stays untold until there is one.
    pub async fn run(self, stop: CancellationToken) {
        let channels = self.support.channels();
        if channels.is_empty() {
            return stop.cancelled().await;
        }
        let mut since = None;
        while !stop.is_cancelled() {
            if let Err(error) = self.look(&channels, &mut since).await {
                tracing::warn!(%error, "cannot tell the operator what was given up");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Makes a notice of what is new, once it was waited for more, and delivers what is due. `since` is when the first of
    /// the news was seen.
    async fn look(&self, channels: &[Channel], since: &mut Option<Instant>) -> store::Result<()> {
        let untold = store::work::<bool, store::Error, _>(|tx| Box::pin(async move { tx.has_untold().await }));
        if self.store.read(untold).await? {
            if since.get_or_insert_with(Instant::now).elapsed() >= self.gather {
                *since = None;
                let channels = channels.to_vec();
                let tell = store::work::<bool, store::Error, _>(move |tx| {
                    Box::pin(async move { tx.tell_operator(&channels).await })
                });
                self.store.write(Lane::Background, tell).await?;
            }
        } else {
            *since = None;
        }
        let mail = self.support.mail.as_ref().map(Mailer::deadline).unwrap_or_default();
        // They are sent one after the other.
        let lease = self.patience.max(mail) * u32::try_from(AT_ONCE).unwrap_or(1) + LEASE_SPARE;
        let claim = store::work::<Vec<OperatorNotice>, store::Error, _>(move |tx| {
            Box::pin(async move { tx.claim_operator_notices(lease, AT_ONCE).await })
        });
        // A writing transaction each second would disturb an idle database.
        let due = store::work::<bool, store::Error, _>(|tx| Box::pin(async move { tx.operator_notice_is_due().await }));
        if !self.store.read(due).await? {
            return Ok(());
        }
        for notice in self.store.write(Lane::Background, claim).await? {
            self.deliver(notice).await?;
        }
        Ok(())
    }

    async fn deliver(&self, notice: OperatorNotice) -> store::Result<()> {
        let (kind, sent) = match notice.channel {
            Channel::Mail => ("operator.mail", self.mail(&notice).await),
            Channel::Post => ("operator.post", self.post(&notice).await),
        };
        let outcome = match sent {
            Ok(()) => {
                let told = store::work::<(), store::Error, _>(move |tx| {
                    Box::pin(async move { tx.operator_told(&notice).await })
                });
                self.store.write(Lane::Background, told).await?;
                "done"
            }
            Err(why) => {
                let wait = next_wait(&self.retry_s, notice.attempts);
                let due_at = wait.map(|wait| self.clock.now() + self.chance.jitter(wait, JITTER_PERCENT));
                tracing::warn!(
                    kind,
                    attempt = notice.attempts,
                    error = why,
                    dead = due_at.is_none(),
                    "the operator was not told"
                );
                let back = store::work::<(), store::Error, _>(move |tx| {
                    Box::pin(async move { tx.operator_later(&notice, due_at, &why).await })
                });
                self.store.write(Lane::Background, back).await?;
                if due_at.is_some() { "retry" } else { "dead" }
            }
        };
        self.metrics.outbox_delivery(kind, outcome);
        Ok(())
    }

    async fn mail(&self, notice: &OperatorNotice) -> Result<(), String> {
        let mailer = self.support.mail.as_ref().ok_or("support.mail_to is not set any more")?;
        let (subject, body) = letter(&notice.news);
        mailer.send(&notice.id.to_string(), &subject, &body).await.map_err(|error| error.to_string())
    }

    async fn post(&self, notice: &OperatorNotice) -> Result<(), String> {
        let (sender, url, secret) = self.support.post.as_ref().ok_or("support.post_url is not set any more")?;
        let (id, at) = (notice.id.to_string(), self.clock.now());
        let body = json!({ "type": "operator.attention", "form": 1, "timestamp": at, "data": notice.news }).to_string();
        let message = Message { id: &id, at, body: &body };
        sender.send(url, secret, message).await.map_err(|failure| failure.to_string())
    }
}

/// The subject and the text of a mail.
fn letter(news: &News) -> (String, String) {
    let endpoints = news.disabled_endpoints.len();
    let subject = match (news.dead, endpoints) {
        (0, endpoints) => format!("slotd: {endpoints} webhook endpoints were disabled"),
        (dead, 0) => format!("slotd: {dead} deliveries were given up"),
        (dead, endpoints) => format!("slotd: {dead} deliveries were given up, {endpoints} webhook endpoints disabled"),
    };
    let mut text = String::new();
    if news.dead > 0 {
        let _ = writeln!(text, "Deliveries that were given up: {}\n", news.dead);
        for group in &news.groups {
            let why = group.last_error.as_deref().unwrap_or("no reason is known");
            let _ = writeln!(text, "  {} x {}, business {}: {why}", group.count, group.kind, group.business_id);
        }
        let _ = writeln!(
            text,
            "\nSee them with `slotd deliveries list`; when the cause is gone: `slotd deliveries retry --all`."
        );
    }
    if endpoints > 0 {
        let _ = writeln!(text, "\nWebhook endpoints that get nothing any more:\n");
        for one in &news.disabled_endpoints {
            let why = if one.why == "gone" { "it answered 410 Gone" } else { "it failed for too long" };
            let _ = writeln!(text, "  {} of business {}: {why}", one.endpoint_id, one.business_id);
        }
        let _ = writeln!(text, "\nOnce it is mended, its owner enables it again: PATCH .../webhook-endpoints/{{id}}.");
    }
    (subject, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::operator::Group;

    #[test]
    fn a_letter_says_what_where_and_what_to_do() {
        let business_id = "0192f5f4-7c1e-7000-8000-000000000001".parse().unwrap();
        let group =
            Group { business_id, kind: "google.event".to_owned(), count: 7, last_error: Some("forbidden".into()) };
        let (subject, text) = letter(&News { dead: 7, groups: vec![group], disabled_endpoints: Vec::new() });
        assert_eq!(subject, "slotd: 7 deliveries were given up");
        assert!(text.contains("7 x google.event, business 0192f5f4"), "{text}");
        assert!(text.contains("slotd deliveries retry --all"), "{text}");
        assert!(!text.contains("endpoints"), "{text}");
    }
}
