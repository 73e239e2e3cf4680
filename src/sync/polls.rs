//! How often this node looks at calendars at present.

use std::{sync::PoisonError, time::Duration};

use super::{
    Mirrors,
    period::{Load, Periods, stretch, stretched},
};
use crate::store;

impl Mirrors {
    /// Plans the polls anew: by how many calendars there are, and by what Google's quotas leave for them.
    ///
    /// # Errors
    ///
    /// When the database fails; the last plan holds then.
    pub async fn plan_polls(&self) -> store::Result<()> {
        let Some(pacer) = self.google.pacer() else { return Ok(()) };
        let count =
            store::work::<(i64, i64), store::Error, _>(|tx| Box::pin(async move { tx.polled_calendars().await }));
        let (watched, unwatched) = self.store.read(count).await?;
        let number = |count: i64| u32::try_from(count).unwrap_or(u32::MAX);
        let load = Load { watched: number(watched), unwatched: number(unwatched) };
        let (_, allowed) = pacer.polls_per_minute();
        let stretch = stretch(self.wished(), load, allowed);
        *self.stretch.lock().unwrap_or_else(PoisonError::into_inner) = stretch;
        let real = stretched(self.wished(), stretch);
        self.metrics.poll_periods(real.watched, real.unwatched);
        Ok(())
    }

    /// How often the calendars of an account with so many of them are looked at.
    pub(super) fn periods(&self, siblings: i64) -> Periods {
        let mut longest = *self.stretch.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pacer) = self.google.pacer() {
            // As if none were watched: what is kept as the period must hold when a channel dies.
            let load = Load { watched: 0, unwatched: u32::try_from(siblings).unwrap_or(u32::MAX) };
            let (allowed, _) = pacer.polls_per_minute();
            longest = longest.max(stretch(self.wished(), load, allowed));
        }
        stretched(self.wished(), longest)
    }

    fn wished(&self) -> Periods {
        Periods {
            watched: Duration::from_secs(self.config.poll_watched_s.into()),
            unwatched: Duration::from_secs(self.config.poll_unwatched_s.into()),
        }
    }
}
