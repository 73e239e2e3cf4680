//! What bookings occupy, and the steps that led there.

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Error, Result, Sql, Tx, bookings::Booking, changes::Part, execute, fetch, instant, micros, notices::Announcement,
    parse,
};
use crate::{
    availability::WeekLoad,
    domain::{
        BookingId, BusinessId, Interval, ResourceId,
        booking::State,
        notice::Kind,
        sabotage::{Bug, sabotaged},
    },
};

/// What a booking occupies of one resource: its time and its buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Of which resource.
    pub resource: ResourceId,
    /// By which booking.
    pub booking: BookingId,
    /// When.
    pub interval: Interval,
}

/// What happened to a booking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It was made.
    Created,
    /// The slot was reserved for a caller.
    Held,
    /// The hold lasts longer.
    Extended,
    /// The hold became a booking.
    Confirmed,
    /// Its time or resource changed.
    Rescheduled,
    /// Its details changed.
    Edited,
    /// It was called off.
    Cancelled,
    /// Its time is over.
    Completed,
    /// The hold ran out.
    Expired,
    /// The hold was given back.
    Released,
    /// It meets another claim, because the owner put it there.
    Conflict,
    /// Google did not let slotd invite the customer to the event, or tell them of a change.
    NotInvited,
}

impl Step {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Held => "held",
            Self::Extended => "extended",
            Self::Confirmed => "confirmed",
            Self::Rescheduled => "rescheduled",
            Self::Edited => "edited",
            Self::Cancelled => "cancelled",
            Self::Completed => "completed",
            Self::Expired => "expired",
            Self::Released => "released",
            Self::Conflict => "conflict",
            Self::NotInvited => "not_invited",
        }
    }
}

/// Who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Through the API.
    Receptionist,
    /// In Google.
    Owner,
    /// By the clock.
    Slotd,
}

impl Source {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Receptionist => "receptionist",
            Self::Owner => "owner",
            Self::Slotd => "slotd",
        }
    }
}

/// What the business's own programs are told of a step. Nothing of holds, and of an owner's move onto another booking
/// both the move and the conflict.
const fn announced(what: Step, source: Source) -> Option<Kind> {
    match (what, source) {
        (Step::Created | Step::Confirmed, _) => Some(Kind::Created),
        (Step::Rescheduled, Source::Owner) => Some(Kind::MovedByOwner),
        (Step::Rescheduled, _) => Some(Kind::Rescheduled),
        (Step::Edited, _) => Some(Kind::Edited),
        (Step::Cancelled, Source::Owner) => Some(Kind::CancelledByOwner),
        (Step::Cancelled, _) => Some(Kind::Cancelled),
        (Step::Completed, _) => Some(Kind::Completed),
        (Step::Conflict, _) => Some(Kind::Conflict),
        (Step::Held | Step::Extended | Step::Expired | Step::Released | Step::NotInvited, _) => None,
    }
}

/// One step of a booking's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryStep {
    /// When.
    pub at: DateTime<Utc>,
    /// What happened, in a word.
    pub what: String,
    /// Who did it: `receptionist`, `owner` or `slotd`.
    pub source: String,
    /// The state after it.
    pub state: String,
    /// The time after it.
    pub interval: Interval,
}

const T: &str = "claim";
/// A claim is never longer than this (the tables check it), so an overlapping one begins no earlier.
const LONGEST_US: i64 = 7 * 24 * 3600 * 1_000_000;
/// The same.
pub(super) const LONGEST: TimeDelta = TimeDelta::microseconds(LONGEST_US);

/// With the constraint behind it: on PostgreSQL `DO NOTHING` instead of a deadlock or an error, which costs seconds under
/// contention; on SQLite the trigger aborts the statement.
const INSERT: Sql = Sql::same(
    "INSERT INTO claim (business_id, resource_id, booking_id, start_at, end_at, active, exclusive, forced, expires_at)
     VALUES ($1, $2, $3, $4, $5, 1, $6, $7, $8) ON CONFLICT DO NOTHING",
);
const DELETE: Sql = Sql::same("DELETE FROM claim WHERE business_id = $1 AND booking_id = $2 RETURNING resource_id");
const END: Sql =
    Sql::same("UPDATE claim SET active = 0 WHERE business_id = $1 AND booking_id = $2 RETURNING resource_id");
const OF_BOOKING: Sql =
    Sql::same("SELECT resource_id FROM claim WHERE business_id = $1 AND booking_id = $2 ORDER BY resource_id");
/// The active claims of a resource that meet a window. Also what the check under the lock reads.
pub const OVERLAPPING: Sql = Sql::same(
    "SELECT resource_id, booking_id, start_at, end_at FROM claim
      WHERE business_id = $1 AND resource_id = $2 AND active = 1
        AND start_at < $4 AND start_at > $3 - 604800000000 AND end_at > $3
        AND (expires_at IS NULL OR expires_at > $5)
      ORDER BY start_at",
);
const OVERLAPPING_ANY: Sql = Sql::same(
    "SELECT resource_id, booking_id, start_at, end_at FROM claim
      WHERE business_id = $1 AND active = 1
        AND start_at < $3 AND start_at > $2 - 604800000000 AND end_at > $2
        AND (expires_at IS NULL OR expires_at > $4)
      ORDER BY start_at",
);
/// Holds that ran out lose their claim before anybody checks against it.
const EXPIRE: Sql = Sql::same(
    "UPDATE claim SET active = 0
      WHERE business_id = $1 AND resource_id = $2 AND active = 1 AND expires_at IS NOT NULL AND expires_at <= $3",
);
const HISTORY: Sql = Sql::same(
    "INSERT INTO booking_history (business_id, booking_id, step, at, what, source, state, start_at, end_at)
     VALUES ($1, $2, (SELECT COALESCE(MAX(step), 0) + 1 FROM booking_history h
                       WHERE h.business_id = $1 AND h.booking_id = $2), $3, $4, $5, $6, $7, $8)",
);
const STEPS: Sql = Sql::same(
    "SELECT at, what, source, state, start_at, end_at FROM booking_history
      WHERE business_id = $1 AND booking_id = $2 ORDER BY step",
);
/// How much of a week each resource is occupied, and by how many holds and bookings.
const LOAD: Sql = Sql {
    sqlite: "SELECT resource_id, SUM(MIN(end_at, $3) - MAX(start_at, $2)), COUNT(*) FROM claim
              WHERE business_id = $1 AND active = 1 AND start_at < $3 AND start_at > $2 - 604800000000 AND end_at > $2
                AND (expires_at IS NULL OR expires_at > $4)
              GROUP BY resource_id",
    postgres: "SELECT resource_id, CAST(SUM(LEAST(end_at, $3) - GREATEST(start_at, $2)) AS BIGINT), COUNT(*) FROM claim
                WHERE business_id = $1 AND active = 1 AND start_at < $3 AND start_at > $2 - 604800000000 AND end_at > $2
                  AND (expires_at IS NULL OR expires_at > $4)
                GROUP BY resource_id",
};
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("INSERT", INSERT),
    ("DELETE", DELETE),
    ("END", END),
    ("OF_BOOKING", OF_BOOKING),
    ("OVERLAPPING", OVERLAPPING),
    ("OVERLAPPING_ANY", OVERLAPPING_ANY),
    ("EXPIRE", EXPIRE),
    ("LOAD", LOAD),
    ("HISTORY", HISTORY),
    ("STEPS", STEPS),
];

fn interval(table: &'static str, start: i64, end: i64) -> Result<Interval> {
    let empty = || Error::Corrupt { table, column: "end_at", why: "it ends before it starts".into() };
    Interval::new(instant(table, "start_at", start)?, instant(table, "end_at", end)?).ok_or_else(empty)
}

/// What a booking at `interval` would claim. `None` when no claim may be that long.
pub(super) fn claimed(booking: &Booking, interval: Interval) -> Option<Interval> {
    let bare = sabotaged(Bug::BufferUnclaimed).then_some(interval);
    let claim =
        bare.or_else(|| crate::domain::booking::claim(interval, booking.buffer_before, booking.buffer_after))?;
    (claim.duration().num_microseconds()? <= LONGEST_US).then_some(claim)
}

impl Tx {
    /// Claims `resource` for a booking, buffers included.
    ///
    /// # Errors
    ///
    /// [`Error::Overlap`] when an exclusive claim that is not forced would meet another.
    pub async fn insert_claim(
        &mut self,
        booking: &Booking,
        resource: ResourceId,
        exclusive: bool,
        forced: bool,
    ) -> Result<()> {
        let claim = claimed(booking, booking.interval).ok_or_else(|| Error::Corrupt {
            table: T,
            column: "end_at",
            why: "a claim may not last longer than a week".into(),
        })?;
        let expires = match booking.state {
            State::Held { until } => Some(micros(until)),
            _ => None,
        };
        let inserted = execute!(
            self,
            INSERT,
            booking.business.to_string(),
            resource.to_string(),
            booking.id.to_string(),
            micros(claim.start()),
            micros(claim.end()),
            i64::from(exclusive),
            i64::from(forced),
            expires,
        )?;
        if inserted == 0 {
            return Err(Error::Overlap);
        }
        self.changed(booking.business, Part::Resource(resource));
        Ok(())
    }

    /// Removes the claims of a booking, to make new ones.
    pub async fn delete_claims(&mut self, booking: &Booking) -> Result<()> {
        self.change_claims(booking, DELETE).await
    }

    /// Ends the claims of a booking that is over, and keeps what they were.
    pub async fn end_claims(&mut self, booking: &Booking) -> Result<()> {
        if sabotaged(Bug::CancelKeepsClaim) && matches!(booking.state, State::Cancelled { .. }) {
            return Ok(());
        }
        self.change_claims(booking, END).await
    }

    /// Runs a statement that gives the resources whose claims it changed.
    async fn change_claims(&mut self, booking: &Booking, sql: Sql) -> Result<()> {
        let rows: Vec<(String,)> = fetch!(fetch_all, self, sql, booking.business.to_string(), booking.id.to_string())?;
        self.claims_changed(booking.business, &rows)
    }

    pub(super) fn claims_changed(&mut self, business: BusinessId, resources: &[(String,)]) -> Result<()> {
        for (id,) in resources {
            self.changed(business, Part::Resource(parse(T, "resource_id", id)?));
        }
        Ok(())
    }

    /// The resources that a booking claims or claimed.
    pub async fn claimed_resources(&mut self, business: BusinessId, booking: BookingId) -> Result<Vec<ResourceId>> {
        let rows: Vec<(String,)> = fetch!(fetch_all, self, OF_BOOKING, business.to_string(), booking.to_string())?;
        rows.iter().map(|(id,)| parse(T, "resource_id", id)).collect()
    }

    /// The claims that meet `window` at `now`, of one resource or of all, in the order of their starts.
    pub async fn claims(
        &mut self,
        business: BusinessId,
        resource: Option<ResourceId>,
        window: Interval,
        now: DateTime<Utc>,
    ) -> Result<Vec<Claim>> {
        let now = match () {
            () if sabotaged(Bug::ExpiredHoldsCount) => DateTime::UNIX_EPOCH,
            () if sabotaged(Bug::HoldsUncounted) => now + chrono::TimeDelta::days(30),
            () => now,
        };
        let beyond = i64::from(sabotaged(Bug::NeighboursOverlap));
        let (from, to) = (micros(window.start()) - beyond, micros(window.end()) + beyond);
        let (business, now) = (business.to_string(), micros(now));
        let rows: Vec<(String, String, i64, i64)> = match resource {
            Some(id) => fetch!(fetch_all, self, OVERLAPPING, &business, id.to_string(), from, to, now)?,
            None => fetch!(fetch_all, self, OVERLAPPING_ANY, &business, from, to, now)?,
        };
        rows.into_iter()
            .map(|(resource, booking, start, end)| {
                Ok(Claim {
                    resource: parse(T, "resource_id", &resource)?,
                    booking: parse(T, "booking_id", &booking)?,
                    interval: interval(T, start, end)?,
                })
            })
            .collect()
    }

    /// What each resource of a business has to do in `week`; those without anything are left out.
    pub async fn week_load(
        &mut self,
        business: BusinessId,
        week: Interval,
        now: DateTime<Utc>,
    ) -> Result<Vec<(ResourceId, WeekLoad)>> {
        let (from, to) = (micros(week.start()), micros(week.end()));
        let rows: Vec<(String, i64, i64)> = fetch!(fetch_all, self, LOAD, business.to_string(), from, to, micros(now))?;
        let load = |(resource, occupied, bookings): (String, i64, i64)| {
            let bookings = u32::try_from(bookings).unwrap_or(u32::MAX);
            let load = WeekLoad { week, occupied: TimeDelta::microseconds(occupied), bookings };
            Ok((parse(T, "resource_id", &resource)?, load))
        };
        rows.into_iter().map(load).collect()
    }

    /// Ends the claims of holds that ran out at or before `now`.
    pub async fn expire_claims(
        &mut self,
        business: BusinessId,
        resource: ResourceId,
        now: DateTime<Utc>,
    ) -> Result<u64> {
        if sabotaged(Bug::ExpiredHoldsCount) {
            return Ok(0);
        }
        execute!(self, EXPIRE, business.to_string(), resource.to_string(), micros(now))
    }

    /// Adds a step to a booking's history, as the booking is now, and announces it to the business's own programs.
    pub async fn record_step(&mut self, booking: &Booking, what: Step, source: Source) -> Result<()> {
        if sabotaged(Bug::StepMissing) && what == Step::Rescheduled {
            return Ok(());
        }
        let now = micros(self.now());
        execute!(
            self,
            HISTORY,
            booking.business.to_string(),
            booking.id.to_string(),
            now,
            what.as_str(),
            source.as_str(),
            booking.state.as_str(),
            micros(booking.interval.start()),
            micros(booking.interval.end()),
        )?;
        match announced(what, source).filter(|_| !matches!(booking.state, State::Held { .. })) {
            Some(kind) => self.announce(booking.business, Announcement::booking(kind, source, booking)).await,
            None => Ok(()),
        }
    }

    /// The history of a booking, oldest first.
    pub async fn history(&mut self, business: BusinessId, booking: BookingId) -> Result<Vec<HistoryStep>> {
        let rows: Vec<(i64, String, String, String, i64, i64)> =
            fetch!(fetch_all, self, STEPS, business.to_string(), booking.to_string())?;
        rows.into_iter()
            .map(|(at, what, source, state, start, end)| {
                Ok(HistoryStep {
                    at: instant("booking_history", "at", at)?,
                    what,
                    source,
                    state,
                    interval: interval("booking_history", start, end)?,
                })
            })
            .collect()
    }
}
