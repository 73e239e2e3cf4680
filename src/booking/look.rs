//! A quick look at Google before an answer that matters, under a deadline.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, timeout_at};

use super::{BookingError, Desk, freshness::Terms};
use crate::{
    domain::{BusinessId, CalendarId},
    store::{
        self, Lane,
        accounts::AccountStatus,
        calendars::{Calendar, Mirror},
    },
};

/// How often the store is looked at while waiting, apart from when a pass of this node ends.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Likewise when another node may run the pass.
const LOOK_EVERY_SHARED: Duration = Duration::from_millis(25);
/// So many callers may wait on one node before each of them looks less often, so that they do not crowd out others.
const CROWD: u32 = 4;
/// A wish that no pass has answered for so long is uttered again: it may be lost.
const WISH_LASTS: TimeDelta = TimeDelta::seconds(60);

/// Looks at Google that callers of one node wait for, so that those who come together cause one pass. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Wishes {
    wished: Arc<Mutex<HashMap<CalendarId, Wished>>>,
    /// How many callers wait.
    waiting: Arc<AtomicU32>,
}

/// A wish for a look that is not known to be over.
#[derive(Debug, Clone, Copy)]
struct Wished {
    /// A pass that answers it begins at this instant or later.
    at: DateTime<Utc>,
    /// It waits for its turn to be written, and `at` is going to be later.
    unwritten: bool,
    /// Failed passes in a row when it was wished.
    failures: i64,
}

impl Wished {
    /// Whether its pass has come to an end, well or not.
    fn is_over(&self, mirror: &Mirror) -> bool {
        let answered = mirror.as_of.is_some_and(|as_of| as_of >= self.at);
        !self.unwritten && (answered || mirror.failures > self.failures)
    }
}

impl Wishes {
    fn lock(&self) -> MutexGuard<'_, HashMap<CalendarId, Wished>> {
        self.wished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this caller has to utter the wish. Else somebody's wish is under way that leads to a pass which begins at
    /// `since` or later, or to any pass.
    fn is_first(
        &self,
        calendar: CalendarId,
        mirror: &Mirror,
        since: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> bool {
        let mut wished = self.lock();
        let serves = |wish: &Wished| {
            let late_enough = wish.unwritten || since.is_none_or(|since| wish.at >= since);
            now - wish.at < WISH_LASTS && late_enough && !wish.is_over(mirror)
        };
        let first = !wished.get(&calendar).is_some_and(serves);
        if first {
            wished.insert(calendar, Wished { at: now, unwritten: true, failures: mirror.failures });
        }
        first
    }

    /// The wish is being written: whoever came until now is served by it.
    fn uttered(&self, calendar: CalendarId, at: DateTime<Utc>) {
        if let Some(wish) = self.lock().get_mut(&calendar) {
            (wish.at, wish.unwritten) = (at, false);
        }
    }

    /// Somebody who waits sees the calendar like this: a wish that it answers is over.
    fn seen(&self, calendar: CalendarId, mirror: &Mirror) {
        let mut wished = self.lock();
        if wished.get(&calendar).is_some_and(|wish| wish.is_over(mirror)) {
            wished.remove(&calendar);
        }
    }

    /// The wish could not be written.
    fn forget(&self, calendar: CalendarId) {
        self.lock().remove(&calendar);
    }

    /// Counts a caller in until the guard is dropped.
    fn wait(&self) -> Waiting {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(Arc::clone(&self.waiting))
    }
}

/// A caller who waits.
struct Waiting(Arc<AtomicU32>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
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
        // A calendar whose grant is dead, that Google does not show, whose account it asked to leave alone, or that is read
        // anew from its beginning, will not do better for being asked again.
        let now = self.clock.now();
        let is_hopeful = |calendar: &Calendar| {
            let mirror = &calendar.mirror;
            mirror.account_status == AccountStatus::Connected
                && mirror.refusals == 0
                && mirror.paused_until <= now
                && !(mirror.as_of.is_some() && mirror.sync_token.is_none())
        };
        let hopeful: Vec<Calendar> = behind.into_iter().filter(is_hopeful).collect();
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
        let _counted = self.wishes.wait();
        let is_first = |calendar: &&Calendar| self.wishes.is_first(calendar.id, &calendar.mirror, terms.since, now);
        let first: Vec<CalendarId> = waiting.iter().filter(is_first).map(|calendar| calendar.id).collect();
        if !first.is_empty() {
            self.utter(business, first).await?;
        }
        let shared = self.store.engine_name() != "sqlite";
        loop {
            // Taken before looking, so that a pass which ends in between is not missed.
            let ended = self.passes.notified();
            self.still_waiting(business, &mut waiting, terms).await?;
            if waiting.is_empty() {
                return Ok(());
            }
            let crowds = 1 + self.wishes.waiting.load(Ordering::Relaxed) / CROWD;
            let nap = if shared { LOOK_EVERY_SHARED * crowds } else { LOOK_EVERY };
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
            self.wishes.seen(calendar.id, &calendar.mirror);
            let failed = calendar.mirror.failures > before.mirror.failures
                || calendar.mirror.account_status != AccountStatus::Connected;
            !failed && terms.wants_look(calendar, now)
        });
        Ok(())
    }

    /// Makes calendars due now.
    async fn utter(&self, business: BusinessId, calendars: Vec<CalendarId>) -> Result<(), BookingError> {
        let (wishes, clock, uttered) = (self.wishes.clone(), Arc::clone(&self.clock), calendars.clone());
        let wake = store::work::<(), BookingError, _>(move |tx| {
            Box::pin(async move {
                for id in uttered {
                    // Before it is written: a pass that sees it begins later.
                    wishes.uttered(id, clock.now());
                    tx.ask_for_look(business, id).await?;
                }
                Ok(())
            })
        });
        let written = self.store.write(Lane::Caller, wake).await;
        if written.is_err() {
            for id in calendars {
                self.wishes.forget(id);
            }
        }
        self.mirrors.notify_one();
        written
    }
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
        let mut mirror = Mirror::unread(AccountStatus::Connected);
        let is_first =
            |mirror: &Mirror, since: Option<i64>, now| wishes.is_first(calendar, mirror, since.map(at), at(now));
        assert!(is_first(&mirror, Some(0), 0));
        assert!(!is_first(&mirror, Some(1), 1), "it waits to be written, and will be later than this caller");
        wishes.uttered(calendar, at(2));
        assert!(!is_first(&mirror, Some(-1_000), 3), "a pass from now on is good enough");
        assert!(!is_first(&mirror, None, 3), "any pass is");
        assert!(is_first(&mirror, Some(3), 3), "that pass may have begun before this caller came");
        assert!(!is_first(&mirror, Some(4), 4));
        wishes.uttered(calendar, at(5));
        mirror.as_of = Some(at(2));
        assert!(!is_first(&mirror, None, 6), "the pass before the wish does not answer it");
        mirror.as_of = Some(at(5));
        assert!(is_first(&mirror, None, 7), "it is answered");
        wishes.uttered(calendar, at(8));
        mirror.failures = 1;
        assert!(is_first(&mirror, None, 9), "it has failed");
        wishes.uttered(calendar, at(9));
        wishes.seen(calendar, &mirror);
        assert!(!is_first(&mirror, None, 9), "not yet this time");
        mirror.failures = 2;
        wishes.seen(calendar, &mirror);
        mirror.failures = 0;
        assert!(is_first(&mirror, None, 10), "somebody saw it fail");
        wishes.uttered(calendar, at(10));
        assert!(!is_first(&mirror, None, 11));
        assert!(is_first(&mirror, None, 61_000), "a wish that nobody answers does not last");
    }
}
