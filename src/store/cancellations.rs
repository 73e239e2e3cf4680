//! The brake on mass cancellation: bookings whose events are gone in numbers wait for the owner's word. When that is so
//! is pure ([`brake`]); this counts, and carries the answer out.

use std::{collections::BTreeMap, str::FromStr};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Result, Sql, Tx,
    bookings::{Booking, CalendarSync},
    execute, fetch, micros, parse,
};
use crate::domain::{BookingId, BusinessId, CalendarId, booking::State, brake, reconcile::Seen};

/// Cancellations by the owner that are so close together count as one: a calendar that is emptied event by event is
/// seen by many passes.
const BURST: TimeDelta = TimeDelta::minutes(1);

const T: &str = "booking";
/// Of a calendar's bookings that are not over: who is asked about, was found gone, is still read, stands, and ended
/// lately. No booking lasts longer than a week, which bounds the search.
const TALLY: Sql = Sql::same(
    "SELECT CAST(COALESCE(SUM(CASE WHEN state = 'confirmed' AND gone = 'asked' THEN 1 ELSE 0 END), 0) AS BIGINT),
            CAST(COALESCE(SUM(CASE WHEN state = 'confirmed' AND gone = 'found' THEN 1 ELSE 0 END), 0) AS BIGINT),
            CAST(COALESCE(SUM(CASE WHEN state = 'confirmed' AND gone = 'doubted' AND calendar_sync <> 'failed'
                                   THEN 1 ELSE 0 END), 0) AS BIGINT),
            CAST(COALESCE(SUM(CASE WHEN state = 'confirmed' AND written_version IS NOT NULL
                                        AND (gone IS NULL OR gone <> 'kept') THEN 1 ELSE 0 END), 0) AS BIGINT),
            CAST(COALESCE(SUM(CASE WHEN state = 'cancelled' AND state_by = 'owner' AND gone IS NULL AND state_at > $4
                                   THEN 1 ELSE 0 END), 0) AS BIGINT)
       FROM booking
      WHERE business_id = $1 AND calendar_id = $2 AND end_at > $3 AND start_at > $3 - 604800000000",
);
/// Before bookings, as passes do.
const LOCK: Sql = Sql {
    sqlite: "SELECT 1 FROM calendar WHERE business_id = $1 AND id = $2",
    postgres: "SELECT 1::bigint FROM calendar WHERE business_id = $1 AND id = $2 FOR UPDATE",
};
const GONE: Sql = Sql::same(
    "SELECT id FROM booking
      WHERE business_id = $1 AND calendar_id = $2 AND gone = $3 AND state = 'confirmed' AND end_at > $4
      ORDER BY id LIMIT $5",
);
const DOUBT: Sql = Sql::same("UPDATE booking SET gone = 'doubted' WHERE business_id = $1 AND id = $2 AND gone IS NULL");
const QUESTIONS: Sql = Sql::same(
    "SELECT calendar_id, CAST(COUNT(*) AS BIGINT) FROM booking
      WHERE business_id = $1 AND gone = 'asked' AND state = 'confirmed' AND end_at > $2 AND calendar_id IS NOT NULL
      GROUP BY calendar_id",
);
const ASKED: Sql = Sql::same(
    "SELECT CAST(COUNT(*) AS BIGINT) FROM booking WHERE gone = 'asked' AND state = 'confirmed' AND end_at > $1",
);
pub(super) const STATEMENTS: &[(&str, Sql)] =
    &[("TALLY", TALLY), ("LOCK", LOCK), ("GONE", GONE), ("DOUBT", DOUBT), ("QUESTIONS", QUESTIONS), ("ASKED", ASKED)];

/// What is known of an event that is gone, or seems so, while its booking stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// It is missing together with many others, and is being read by its id.
    Doubted,
    /// Google says that it is gone; others are still being read.
    Found,
    /// The owner is asked whether the booking ends with it.
    Asked,
    /// The owner keeps the booking without an event.
    Kept,
}

impl Gone {
    /// The word for it in the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Doubted => "doubted",
            Self::Found => "found",
            Self::Asked => "asked",
            Self::Kept => "kept",
        }
    }
}

impl FromStr for Gone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Doubted, Self::Found, Self::Asked, Self::Kept]
            .into_iter()
            .find(|gone| gone.as_str() == text)
            .ok_or_else(|| format!("`{text}` is not known"))
    }
}

/// What the owner wants of bookings whose events are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// They end with their events.
    Cancel,
    /// They stand, without an event.
    Keep,
}

/// How the bookings of a calendar stand.
#[derive(Debug, Clone, Copy)]
struct Tally {
    asked: usize,
    found: usize,
    doubted: usize,
    upcoming: usize,
    lately: usize,
}

impl Tally {
    const fn holds(&self, ending: usize) -> bool {
        brake::holds(self.asked > 0, ending, self.lately, self.upcoming)
    }
}

impl Tx {
    async fn tally(&mut self, business: BusinessId, calendar: CalendarId) -> Result<Tally> {
        let now = self.now();
        let (business, calendar) = (business.to_string(), calendar.to_string());
        let row: (i64, i64, i64, i64, i64) =
            fetch!(fetch_one, self, TALLY, &business, &calendar, micros(now), micros(now - BURST))?;
        let count = |count: i64| usize::try_from(count).unwrap_or_default();
        Ok(Tally {
            asked: count(row.0),
            found: count(row.1),
            doubted: count(row.2),
            upcoming: count(row.3),
            lately: count(row.4),
        })
    }

    /// Keeps a booking that this transaction has locked from ending with its event, if the event is one of many: it waits
    /// for what the others turn out to be, or for the owner. `false` when the booking may end.
    pub(super) async fn hold_back(&mut self, booking: &mut Booking) -> Result<bool> {
        let Some(link) = &mut booking.link else { return Ok(false) };
        let (business, calendar) = (booking.business, link.calendar);
        if link.gone == Some(Gone::Doubted) {
            (link.gone, link.recheck) = (Some(Gone::Found), false);
            self.update_booking(booking).await?;
            return Ok(true);
        }
        let tally = self.tally(business, calendar).await?;
        if !tally.holds(1) {
            return Ok(false);
        }
        link.gone = Some(Gone::Asked);
        self.update_booking(booking).await?;
        if tally.asked == 0 {
            warn(business, calendar, 1);
        }
        Ok(true)
    }

    /// Judges together what one list says of slotd's own events: those of `deleted` that would end too many bookings are
    /// held back, and the owner is asked. Returns what it took care of; the others are followed one by one.
    ///
    /// A booking that changed after `since` may be newer than the list: its event is read by its id first.
    pub async fn judge_deletions(
        &mut self,
        business: BusinessId,
        calendar: CalendarId,
        deleted: &[(BookingId, String)],
        since: DateTime<Utc>,
    ) -> Result<Vec<BookingId>> {
        let (mut ending, policy) = (Vec::new(), self.calendar_changes(business).await?);
        for (id, event_id) in deleted {
            let Some(booking) = self.lock_booking(business, *id).await? else { continue };
            let linked =
                booking.link.as_ref().is_some_and(|link| link.event_id == *event_id && link.calendar == calendar);
            if linked && self.would_cancel(&booking, &Seen::Deleted, policy) {
                ending.push(booking);
            }
        }
        let tally = self.tally(business, calendar).await?;
        if !tally.holds(ending.len()) {
            return Ok(Vec::new());
        }
        let (mut taken, mut asked) = (Vec::with_capacity(ending.len()), 0);
        for mut booking in ending {
            taken.push(booking.id);
            if booking.updated_at >= since {
                self.doubt_event(business, booking.id).await?;
            } else if let Some(link) = &mut booking.link {
                link.gone = Some(Gone::Asked);
                self.update_booking(&booking).await?;
                asked += 1;
            }
        }
        if asked > 0 && tally.asked == 0 {
            warn(business, calendar, asked);
        }
        Ok(taken)
    }

    /// In a full pass: the events of `absent` were not listed. They are read by their ids; when they are many, no booking
    /// ends before it is known how many of them are gone.
    pub async fn doubt_absent(
        &mut self,
        business: BusinessId,
        calendar: CalendarId,
        absent: &[BookingId],
    ) -> Result<()> {
        let together = self.tally(business, calendar).await?.holds(absent.len());
        for booking in absent {
            if together {
                self.doubt_event(business, *booking).await?;
            } else {
                self.recheck_event(business, *booking).await?;
            }
        }
        Ok(())
    }

    async fn doubt_event(&mut self, business: BusinessId, booking: BookingId) -> Result<()> {
        execute!(self, DOUBT, business.to_string(), booking.to_string())?;
        self.recheck_event(business, booking).await
    }

    /// Decides about events that are known to be gone, once none like them is being read any more, or enough are known.
    /// Harmless to repeat.
    pub async fn settle_gone(&mut self, business: BusinessId, calendar: CalendarId) -> Result<()> {
        let _: Option<(i64,)> = fetch!(fetch_optional, self, LOCK, business.to_string(), calendar.to_string())?;
        let tally = self.tally(business, calendar).await?;
        let ask = tally.holds(tally.found);
        if tally.found == 0 || !ask && tally.doubted > 0 {
            return Ok(());
        }
        let mut asked = 0;
        for id in self.gone(business, calendar, Gone::Found, usize::MAX).await? {
            let Some(mut booking) = self.lock_gone(business, id, Gone::Found).await? else { continue };
            if let Some(link) = &mut booking.link {
                link.gone = ask.then_some(Gone::Asked);
            }
            if ask {
                self.update_booking(&booking).await?;
                asked += 1;
            } else {
                self.cancel_with_owner(&mut booking).await?;
            }
        }
        if asked > 0 && tally.asked == 0 {
            warn(business, calendar, asked);
        }
        Ok(())
    }

    /// Carries the owner's answer out for up to `limit` bookings. Returns for how many.
    pub async fn answer_gone(
        &mut self,
        business: BusinessId,
        calendar: CalendarId,
        answer: Answer,
        limit: usize,
    ) -> Result<usize> {
        let mut answered = 0;
        for id in self.gone(business, calendar, Gone::Asked, limit).await? {
            let Some(mut booking) = self.lock_gone(business, id, Gone::Asked).await? else { continue };
            answered += 1;
            match answer {
                Answer::Cancel => self.cancel_with_owner(&mut booking).await?,
                Answer::Keep => {
                    if let Some(link) = &mut booking.link {
                        link.gone = Some(Gone::Kept);
                    }
                    booking.calendar_sync = CalendarSync::None;
                    booking.updated_at = self.now();
                    self.update_booking(&booking).await?;
                }
            }
        }
        Ok(answered)
    }

    /// Whether events are known to be gone and nothing was decided yet.
    pub async fn has_found_gone(&mut self, business: BusinessId, calendar: CalendarId) -> Result<bool> {
        Ok(!self.gone(business, calendar, Gone::Found, 1).await?.is_empty())
    }

    async fn gone(
        &mut self,
        business: BusinessId,
        calendar: CalendarId,
        gone: Gone,
        limit: usize,
    ) -> Result<Vec<BookingId>> {
        let (now, limit) = (micros(self.now()), i64::try_from(limit).unwrap_or(i64::MAX));
        let (business, calendar) = (business.to_string(), calendar.to_string());
        let rows: Vec<(String,)> = fetch!(fetch_all, self, GONE, &business, &calendar, gone.as_str(), now, limit)?;
        rows.into_iter().map(|(id,)| parse(T, "id", &id)).collect()
    }

    /// Locks a booking, if it still stands and its event is gone in this way.
    async fn lock_gone(&mut self, business: BusinessId, id: BookingId, gone: Gone) -> Result<Option<Booking>> {
        let is = |booking: &Booking| {
            matches!(booking.state, State::Confirmed { .. })
                && booking.link.as_ref().is_some_and(|link| link.gone == Some(gone))
        };
        Ok(self.lock_booking(business, id).await?.filter(is))
    }

    /// Of each calendar with an open question, how many bookings it is about.
    pub async fn cancellation_questions(&mut self, business: BusinessId) -> Result<BTreeMap<CalendarId, i64>> {
        let now = micros(self.now());
        let rows: Vec<(String, i64)> = fetch!(fetch_all, self, QUESTIONS, business.to_string(), now)?;
        rows.into_iter().map(|(id, count)| Ok((parse(T, "calendar_id", &id)?, count))).collect()
    }

    /// Bookings of all businesses that wait for an owner's answer.
    pub async fn asked_bookings(&mut self) -> Result<i64> {
        let now = micros(self.now());
        let (count,): (i64,) = fetch!(fetch_one, self, ASKED, now)?;
        Ok(count)
    }
}

fn warn(business: BusinessId, calendar: CalendarId, bookings: usize) {
    tracing::warn!(
        %business, %calendar, bookings,
        "many events of bookings are gone at once; the bookings stand until the owner answers"
    );
}
