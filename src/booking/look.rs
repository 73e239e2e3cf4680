//! A quick look at Google before an answer that matters, under a deadline.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, timeout_at};

use super::{BookingError, Desk, freshness::Terms};
use crate::{
    domain::{BusinessId, CalendarId, SharedClock},
    store::{self, Lane, accounts::AccountStatus, calendars::Calendar},
};

/// How often the store is looked at while waiting, apart from when a pass of this node ends.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Likewise when another node may run the pass.
const LOOK_EVERY_SHARED: Duration = Duration::from_millis(25);
/// A wish that no pass has answered for so long is uttered again: the pass may have been lost with its node.
const WISH_LASTS: TimeDelta = TimeDelta::seconds(1);

/// Who wished for a look at which calendar, so that callers who come together cause one pass. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Wishes(Arc<Mutex<HashMap<CalendarId, Wished>>>);

/// A wish for a look that is not known to be over.
#[derive(Debug, Clone, Copy)]
struct Wished {
    /// A pass that answers it begins at this instant or later.
    at: DateTime<Utc>,
    /// It waits for its turn to be written, and `at` is going to be later.
    waits: bool,
}

impl Wishes {
    fn lock(&self) -> MutexGuard<'_, HashMap<CalendarId, Wished>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this caller has to utter the wish. Else somebody's wish is under way that leads to a pass which begins at
    /// `since` or later, or to any pass.
    fn is_first(&self, calendar: CalendarId, since: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
        let mut wishes = self.lock();
        let serves = |wished: &Wished| {
            let lasts = now - wished.at < WISH_LASTS;
            lasts && (wished.waits || since.is_none_or(|since| wished.at >= since))
        };
        let first = !wishes.get(&calendar).is_some_and(serves);
        if first {
            wishes.insert(calendar, Wished { at: now, waits: true });
        }
        first
    }

    /// The wish is written in this transaction: whoever came until now is served by it.
    fn uttered(&self, calendar: CalendarId, at: DateTime<Utc>) {
        self.lock().insert(calendar, Wished { at, waits: false });
    }

    /// The pass is over, well or not.
    fn over(&self, calendar: CalendarId, began: DateTime<Utc>) {
        let mut wishes = self.lock();
        if wishes.get(&calendar).is_some_and(|wished| !wished.waits && wished.at <= began) {
            wishes.remove(&calendar);
        }
    }
}

impl Desk {
    /// When whoever asks now has to have an answer.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.limits.verify_deadline
    }

    /// Wakes the normal pass of each calendar in `behind` and waits for them, until `deadline` at the latest. Holds no
    /// lock and no transaction meanwhile. What came of it is in the tables.
    pub(super) async fn look(
        &self,
        business: BusinessId,
        behind: Vec<Calendar>,
        terms: &Terms,
        deadline: Instant,
    ) -> Result<(), BookingError> {
        // A calendar whose grant is dead will not do better for being asked again.
        let hopeful: Vec<Calendar> =
            behind.into_iter().filter(|calendar| calendar.mirror.account_status == AccountStatus::Connected).collect();
        if hopeful.is_empty() {
            return Ok(());
        }
        let looked = self.look_at(business, hopeful, terms, deadline);
        timeout_at(deadline, looked).await.unwrap_or(Ok(()))
    }

    async fn look_at(
        &self,
        business: BusinessId,
        mut waiting: Vec<Calendar>,
        terms: &Terms,
        deadline: Instant,
    ) -> Result<(), BookingError> {
        let now = self.clock.now();
        let first: Vec<CalendarId> = waiting
            .iter()
            .map(|calendar| calendar.id)
            .filter(|id| self.wishes.is_first(*id, terms.since, now))
            .collect();
        if !first.is_empty() {
            utter(&self.store, self.wishes.clone(), Arc::clone(&self.clock), business, first).await?;
            self.mirrors.notify_one();
        }
        let nap = if self.store.engine_name() == "sqlite" { LOOK_EVERY } else { LOOK_EVERY_SHARED };
        loop {
            // Taken before looking, so that a pass which ends in between is not missed.
            let ended = self.passes.notified();
            self.still_waiting(business, &mut waiting, terms).await?;
            if waiting.is_empty() {
                return Ok(());
            }
            let _ = timeout_at(deadline.min(Instant::now() + nap), ended).await;
        }
    }

    /// Keeps of `waiting` those whose pass is still awaited.
    async fn still_waiting(
        &self,
        business: BusinessId,
        waiting: &mut Vec<Calendar>,
        terms: &Terms,
    ) -> Result<(), BookingError> {
        let read = store::work::<Vec<Calendar>, BookingError, _>(move |tx| {
            Box::pin(async move { Ok(tx.calendars(business).await?) })
        });
        let (known, now) = (self.store.read(read).await?, self.clock.now());
        waiting.retain(|before| {
            let Some(calendar) = known.iter().find(|calendar| calendar.id == before.id) else { return false };
            let failed = calendar.mirror.failures > before.mirror.failures
                || calendar.mirror.account_status != AccountStatus::Connected;
            let waits = !failed && terms.wants_look(calendar, now);
            if !waits {
                let began = if failed { now } else { calendar.mirror.as_of.unwrap_or(now) };
                self.wishes.over(calendar.id, began);
            }
            waits
        });
        Ok(())
    }
}

/// Makes calendars due now.
async fn utter(
    store: &store::Store,
    wishes: Wishes,
    clock: SharedClock,
    business: BusinessId,
    calendars: Vec<CalendarId>,
) -> Result<(), BookingError> {
    let wake = store::work::<(), BookingError, _>(move |tx| {
        Box::pin(async move {
            for id in calendars {
                // Before it is written: a pass that sees it begins later.
                wishes.uttered(id, clock.now());
                tx.look_at_calendar(business, id).await?;
            }
            Ok(())
        })
    });
    store.write(Lane::Caller, wake).await
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn at(ms: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_800_000_000_000 + ms).unwrap()
    }

    #[test]
    fn callers_who_come_together_utter_one_wish() {
        let (wishes, calendar) = (Wishes::default(), CalendarId::new(Uuid::from_u128(1)));
        let must_ask_now = |ms| wishes.is_first(calendar, Some(at(ms)), at(ms));
        assert!(must_ask_now(0));
        assert!(!must_ask_now(1), "it waits to be written, and will be later than this caller");
        wishes.uttered(calendar, at(2));
        assert!(!wishes.is_first(calendar, Some(at(-1_000)), at(3)), "a pass from now on is good enough");
        assert!(!wishes.is_first(calendar, None, at(3)), "any pass is");
        assert!(must_ask_now(3), "that pass may have begun before this caller came");
        assert!(!must_ask_now(4));
        wishes.uttered(calendar, at(5));
        wishes.over(calendar, at(2));
        assert!(!wishes.is_first(calendar, None, at(6)), "the pass before the wish does not answer it");
        wishes.over(calendar, at(5));
        assert!(wishes.is_first(calendar, None, at(6)));
        assert!(wishes.is_first(calendar, None, at(1_500)), "a wish that nobody answers does not last");
    }
}
