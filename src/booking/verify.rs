//! A quick look at Google before an answer that matters, under a deadline.

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, timeout_at};

use super::{
    BookingError, Desk,
    office::{Office, Wish},
};
use crate::{
    domain::{BusinessId, CalendarId, ResourceId},
    store::{self, Lane, accounts::AccountStatus, calendars::Calendar},
};

/// How often the store is looked at while waiting: another node may run the pass.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(25);

/// What a second look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// Every calendar that matters was read lately enough.
    pub(super) is_current: bool,
}

impl Desk {
    /// Sees to it that the calendars behind `wish` were read within `age`: wakes their normal pass and waits for it
    /// under the deadline. Holds no lock and no transaction meanwhile.
    pub(super) async fn look_again(
        &self,
        business: BusinessId,
        wish: &Wish,
        age: TimeDelta,
    ) -> Result<Look, BookingError> {
        let asked_at = self.clock.now();
        let since = asked_at - age;
        let mut behind = self.behind(business, wish, since).await?;
        if behind.is_empty() {
            return Ok(Look { is_current: true });
        }
        // A calendar whose grant is dead, or whose account Google asked to leave alone, will not do better for being asked
        // again.
        let hopeful: Vec<CalendarId> = behind
            .iter()
            .filter(|calendar| calendar.mirror.account_status == AccountStatus::Connected)
            .filter(|calendar| calendar.mirror.paused_until <= asked_at)
            .map(|calendar| calendar.id)
            .collect();
        if hopeful.len() < behind.len() {
            return Ok(Look { is_current: false });
        }
        let wake = store::work::<(), BookingError, _>(move |tx| {
            Box::pin(async move {
                for id in hopeful {
                    tx.ask_for_look(business, id).await?;
                }
                Ok(())
            })
        });
        self.store.write(Lane::Caller, wake).await?;
        let failures: i64 = behind.iter().map(|calendar| calendar.mirror.failures).sum();
        let deadline = Instant::now() + self.limits.verify_deadline;
        self.mirrors.notify_one();
        while Instant::now() < deadline {
            let ended = self.passes.notified();
            let _ = timeout_at(deadline.min(Instant::now() + LOOK_EVERY), ended).await;
            behind = self.behind(business, wish, since).await?;
            if behind.is_empty() {
                return Ok(Look { is_current: true });
            }
            if behind.iter().map(|calendar| calendar.mirror.failures).sum::<i64>() > failures {
                break;
            }
        }
        Ok(Look { is_current: false })
    }

    /// The calendars behind `wish` that were not read since `since`.
    async fn behind(
        &self,
        business: BusinessId,
        wish: &Wish,
        since: DateTime<Utc>,
    ) -> Result<Vec<Calendar>, BookingError> {
        let wish = wish.clone();
        let read = store::work::<Vec<Calendar>, BookingError, _>(move |tx| {
            Box::pin(async move {
                let office = Office::read(tx, business).await?;
                let candidates: Vec<ResourceId> = office.order(&wish)?.candidates;
                let old = |calendar: &&Calendar| calendar.mirror.as_of.is_none_or(|as_of| as_of < since);
                Ok(office.blocking(&candidates).filter(old).cloned().collect())
            })
        });
        self.store.read(read).await
    }
}
