//! Figures that are read from the database for the metrics page.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{
    domain::SharedClock,
    store::{self, Store, conflicts::Kind},
    telemetry::Metrics,
};

/// How often they are read. A scrape is rarely closer to the last.
const PERIOD: Duration = Duration::from_secs(15);

/// Keeps the gauges near the truth until `stop` is cancelled.
pub(super) async fn keep(store: Store, metrics: Metrics, clock: SharedClock, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let read = store::work::<_, store::Error, _>(|tx| {
            Box::pin(async move {
                Ok((
                    tx.outbox_depth().await?,
                    tx.oldest_look().await?,
                    tx.lost_calendars().await?,
                    tx.asked_bookings().await?,
                    tx.audit_figures().await?,
                    tx.limited_series_everywhere().await?,
                    tx.open_conflicts_everywhere().await?,
                    (tx.notice_depth().await?, tx.dead_operator_notices().await?, tx.disabled_endpoints().await?),
                ))
            })
        });
        match store.read(read).await {
            Ok((depth, oldest_look, lost, asked, audits, limited, conflicts, (notices, operator, disabled))) => {
                let count = |rows: i64| u64::try_from(rows).unwrap_or_default();
                let age = |since: Option<chrono::DateTime<chrono::Utc>>| {
                    since.and_then(|since| (clock.now() - since).to_std().ok()).unwrap_or_default()
                };
                metrics.outbox_depth(u64::try_from(depth.waiting).unwrap_or_default());
                metrics.outbox_oldest_age(age(depth.oldest));
                metrics.dead_deliveries(count(depth.dead), count(notices.dead), count(operator));
                metrics.notices(count(notices.waiting), age(notices.oldest), count(disabled));
                metrics.limited_series(u64::try_from(limited).unwrap_or_default());
                metrics.freshness_age(age(oldest_look));
                metrics.lost_calendars(u64::try_from(lost).unwrap_or_default());
                for kind in Kind::all() {
                    let open = conflicts.iter().find(|(known, _)| *known == kind).map_or(0, |(_, count)| *count);
                    metrics.open_conflicts(kind.as_str(), u64::try_from(open).unwrap_or_default());
                }
                metrics.asked_bookings(u64::try_from(asked).unwrap_or_default());
                metrics.audits(age(audits.oldest), u64::try_from(audits.drifting).unwrap_or_default());
            }
            Err(error) => tracing::warn!(%error, "cannot read figures for the metrics page"),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}
