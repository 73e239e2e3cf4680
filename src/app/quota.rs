//! Shares with other nodes, and with the next start, what this node used of Google's quotas and which pauses it was told
//! of; plans how often calendars are polled; and shows all that on the metrics page.

use std::time::Duration;

use chrono::NaiveDate;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    domain::SharedClock,
    google::{AccountKey, Pacer, Pause},
    store::{self, Lane, Store, quota::AccountPause},
    sync::Mirrors,
    telemetry::Metrics,
};

/// How often figures are exchanged, if no pause has to be told at once. A crash forgets the calls of this time at most.
const PERIOD: Duration = Duration::from_secs(5);
/// How often the polls are planned anew, for which all calendars are counted.
const PLAN_EVERY: Duration = Duration::from_secs(30);

/// What stands between the quotas' keeper in memory and the database.
pub(super) struct Quota {
    pub(super) store: Store,
    pub(super) pacer: Pacer,
    pub(super) mirrors: Mirrors,
    pub(super) metrics: Metrics,
    pub(super) clock: SharedClock,
}

impl Quota {
    /// Exchanges figures until `stop` is cancelled, and once more then, when nobody waits for a turn any more.
    pub(super) async fn keep(self, stop: CancellationToken) {
        let mut plan_at = Instant::now();
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => self.pacer.stop_waiting(),
                () = self.pacer.news() => {}
                () = tokio::time::sleep(PERIOD) => {}
            }
            self.exchange().await;
            if plan_at <= Instant::now() {
                plan_at = Instant::now() + PLAN_EVERY;
                if let Err(error) = self.mirrors.plan_polls().await {
                    tracing::warn!(%error, "cannot plan how often calendars are polled");
                }
            }
        }
    }

    /// Tells what is new here, and learns what is new elsewhere.
    pub(super) async fn exchange(&self) {
        if let Err(error) = self.try_exchange().await {
            tracing::warn!(%error, "cannot exchange figures about Google's quotas");
        }
    }

    async fn try_exchange(&self) -> store::Result<()> {
        let (calls, pauses) = self.pacer.take_news();
        if let Err(error) = self.tell(calls.clone(), pauses.clone()).await {
            self.pacer.untake_news(&calls, pauses);
            return Err(error);
        }
        let today = self.pacer.today();
        let read = store::work::<(i64, Vec<AccountPause>), store::Error, _>(move |tx| {
            Box::pin(async move { Ok((tx.google_calls(today).await?, tx.paused_accounts().await?)) })
        });
        let (told, rows) = self.store.read(read).await?;
        let known: Vec<Pause> = rows.into_iter().map(pause).collect();
        self.pacer.learn(today, u64::try_from(told).unwrap_or_default(), &known);
        self.show(&known);
        Ok(())
    }

    async fn tell(&self, calls: Vec<(NaiveDate, u64)>, pauses: Vec<Pause>) -> store::Result<()> {
        if calls.is_empty() && pauses.is_empty() {
            return Ok(());
        }
        let write = store::work::<(), store::Error, _>(move |tx| {
            Box::pin(async move {
                for (day, calls) in calls {
                    tx.add_google_calls(day, i64::try_from(calls).unwrap_or(i64::MAX)).await?;
                }
                for Pause { account: AccountKey { business, account }, until, writes_until, reason } in pauses {
                    let pause = AccountPause { business, account, until, writes_until, reason: Some(reason) };
                    tx.pause_account(&pause).await?;
                }
                Ok(())
            })
        });
        self.store.write(Lane::Background, write).await
    }

    fn show(&self, paused: &[Pause]) {
        let (left, now) = (self.pacer.left(), self.clock.now());
        self.metrics.google_quota_left("project", left.project);
        self.metrics.google_quota_left("account", left.account_least);
        self.metrics.google_quota_left("day", left.day);
        self.metrics.google_today(left.today);
        let all = paused.iter().filter(|pause| pause.until > now).count();
        self.metrics.google_paused(all, paused.len() - all);
    }
}

fn pause(kept: AccountPause) -> Pause {
    let AccountPause { business, account, until, writes_until, reason } = kept;
    Pause { account: AccountKey { business, account }, until, writes_until, reason: reason.unwrap_or_default() }
}
