//! Maintenance by the clock: cron schedules, in UTC.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::{
    booking::Desk,
    config::{self, CronExpression},
    domain::{SharedClock, tries::WINDOW},
    store::{self, Lane, Store},
    sync::Mirrors,
};

/// How long answers are kept to be given again. More than the 24 hours that are promised.
const ANSWERS_KEPT: TimeDelta = TimeDelta::hours(48);
/// How long the results of audits are kept.
const AUDITS_KEPT: TimeDelta = TimeDelta::days(90);
/// How long it is kept what calls were offered: longer than any setting lets it count.
const OFFERS_KEPT: TimeDelta = TimeDelta::hours(2);
/// Holds and bookings that are marked over in one go.
const SETTLED_AT_ONCE: usize = 100;
/// The longest sleep between two looks at the clock, which may be set meanwhile.
const NAP_MAX: Duration = Duration::from_mins(1);

type Work = Arc<dyn Fn() -> BoxFuture<'static, store::Result<()>> + Send + Sync>;

/// Work that is done again and again.
pub(super) struct Job {
    name: &'static str,
    schedule: CronExpression,
    work: Work,
}

/// Every job of the daemon.
pub(super) fn all(
    config: &config::Jobs,
    store: &Store,
    mirrors: &Mirrors,
    desk: &Desk,
    clock: &SharedClock,
) -> [(&'static str, Job); 6] {
    let (renewing, extending, listing) = (mirrors.clone(), mirrors.clone(), mirrors.clone());
    let renew: Work = Arc::new(move || {
        let mirrors = renewing.clone();
        Box::pin(async move { mirrors.renew_watches().await })
    });
    let extend: Work = Arc::new(move || {
        let mirrors = extending.clone();
        Box::pin(async move {
            let moved = mirrors.extend_horizon().await?;
            tracing::info!(calendars = moved, "the horizon moved on");
            Ok(())
        })
    });
    let refresh: Work = Arc::new(move || {
        let mirrors = listing.clone();
        Box::pin(async move { mirrors.plan_lists().await.map(drop) })
    });
    let (auditing, schedule, now) = (mirrors.clone(), config.audit.clone(), Arc::clone(clock));
    let audit: Work = Arc::new(move || {
        let (mirrors, period) = (auditing.clone(), schedule.period(now.now()));
        Box::pin(async move {
            let asked = mirrors.plan_audits(period).await?;
            tracing::info!(calendars = asked, "audits are planned");
            Ok(())
        })
    });
    let (desk, meeting) = (desk.clone(), store.clone());
    let settle: Work = Arc::new(move || {
        let (desk, store) = (desk.clone(), meeting.clone());
        Box::pin(async move {
            while desk.settle_what_is_over(SETTLED_AT_ONCE).await? {}
            // What passes and deliveries could not record themselves.
            store::conflicts::settle(&store).await
        })
    });
    let (store, clock) = (store.clone(), Arc::clone(clock));
    let purge: Work = Arc::new(move || {
        let (store, now) = (store.clone(), clock.now());
        Box::pin(async move {
            let forget = store::work::<(), store::Error, _>(move |tx| {
                Box::pin(async move {
                    tx.forget_answers(now - ANSWERS_KEPT).await?;
                    tx.forget_google_calls((now - ANSWERS_KEPT).date_naive()).await?;
                    tx.forget_tries(now - WINDOW).await?;
                    tx.forget_audits(now - AUDITS_KEPT).await?;
                    tx.forget_offers(now - OFFERS_KEPT).await?;
                    tx.forget_operator_notices(now - AUDITS_KEPT).await?;
                    tx.forget_oauth_states().await.map(drop)
                })
            });
            store.write(Lane::Background, forget).await
        })
    });
    let job = |name, schedule: &CronExpression, work| (name, Job { name, schedule: schedule.clone(), work });
    [
        job("renew channels", &config.renew_channels, renew),
        job("extend horizon", &config.extend_horizon, extend),
        job("refresh calendars", &config.refresh_calendars, refresh),
        job("audit", &config.audit, audit),
        job("settle bookings", &config.settle_bookings, settle),
        job("purge", &config.purge, purge),
    ]
}

impl Job {
    /// Works at each instant of its schedule until `stop` is cancelled. What fails is done again the next time.
    pub(super) async fn run(self, clock: SharedClock, stop: CancellationToken) {
        let mut after = clock.now();
        while !stop.is_cancelled() {
            let Some(next) = self.schedule.schedule().after(&after).next() else { return stop.cancelled().await };
            while clock.now() < next {
                let left = (next - clock.now()).to_std().unwrap_or_default();
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(left.min(NAP_MAX)) => {}
                }
            }
            if let Err(error) = (self.work)().await {
                tracing::warn!(job = self.name, %error, "a job failed");
            }
            after = clock.now();
        }
    }
}
