//! Which node works on which calendar: leases with a fence, judged by [`Tx::lease_time`].
//!
//! The fence rises with each lease. Whatever a pass writes is written under its fence, so a node that slept through the
//! end of its lease changes nothing when it wakes.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Error, Result, Sql, Tx, execute, fetch, instant, micros, parse};
use crate::domain::{
    BusinessId, CalendarId, Interval,
    sabotage::{Bug, sabotaged},
};

/// The right to sync one calendar for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The tenant.
    pub business: BusinessId,
    /// The calendar.
    pub calendar: CalendarId,
    /// Which lease of it this is. Also names the generation that a full sync stages.
    pub fence: i64,
    /// How many pushes were known when it began.
    pub seen: i64,
    /// The oldest push that it answers.
    pub pushed_at: Option<DateTime<Utc>>,
}

/// What a finished pass changes about its calendar.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Where the next pass begins.
    pub sync_token: String,
    /// The generation to serve from now on.
    pub generation: i64,
    /// What is known now.
    pub coverage: Interval,
    /// The longest busy slot that this pass wrote, in microseconds.
    pub longest_us: i64,
    /// Whether the longest slot is of everything served, and not of what was added.
    pub whole: bool,
    /// Whether anything that callers see has changed.
    pub changed: bool,
    /// Items that could only be read in part, in the pass.
    pub odd_events: i64,
    /// The calendar's zone by Google's word.
    pub time_zone: Option<chrono_tz::Tz>,
    /// What the account may do with it by Google's word.
    pub access_role: Option<String>,
    /// When the pass began.
    pub as_of: DateTime<Utc>,
    /// When to look again, unless a push comes first.
    pub due_at: DateTime<Utc>,
}

const T: &str = "calendar";
/// Takes due calendars of connected accounts, the longest due first.
const CLAIM: Sql = Sql {
    sqlite: "UPDATE calendar SET lease_until = $2, fence = fence + 1
              WHERE (business_id, id) IN (
                    SELECT c.business_id, c.id FROM calendar c
                      JOIN account a ON a.business_id = c.business_id AND a.id = c.account_id
                     WHERE c.due_at <= $3 AND c.lease_until <= $1 AND a.status = 'connected'
                     ORDER BY c.due_at LIMIT $4)
          RETURNING business_id, id, fence, dirty, pushed_at",
    // SKIP LOCKED: two nodes never claim the same row and never wait for each other.
    postgres: "UPDATE calendar SET lease_until = $2, fence = fence + 1
                WHERE (business_id, id) IN (
                      SELECT c.business_id, c.id FROM calendar c
                        JOIN account a ON a.business_id = c.business_id AND a.id = c.account_id
                       WHERE c.due_at <= $3 AND c.lease_until <= $1 AND a.status = 'connected'
                       ORDER BY c.due_at LIMIT $4 FOR UPDATE OF c SKIP LOCKED)
            RETURNING business_id, id, fence, dirty, pushed_at",
};
/// Takes one calendar, due or not.
const CLAIM_ONE: Sql = Sql::same(
    "UPDATE calendar SET lease_until = $4, fence = fence + 1 WHERE business_id = $1 AND id = $2 AND lease_until <= $3
     RETURNING business_id, id, fence, dirty, pushed_at",
);
/// Gives a calendar back without having looked at Google.
const RELEASE: Sql = Sql::same("UPDATE calendar SET lease_until = 0 WHERE business_id = $1 AND id = $2 AND fence = $3");
const END_CALENDARS: Sql = Sql::same("UPDATE calendar SET lease_until = 0 WHERE lease_until > 0");
const END_DELIVERIES: Sql = Sql::same("UPDATE outbox SET lease_until = 0 WHERE lease_until > 0");
const KEEP: Sql = Sql::same(
    "UPDATE calendar SET lease_until = $4, synced_events = synced_events + $5
      WHERE business_id = $1 AND id = $2 AND fence = $3",
);
const COUNT_FROM_ZERO: Sql =
    Sql::same("UPDATE calendar SET synced_events = 0 WHERE business_id = $1 AND id = $2 AND fence = $3");
const FINISH: Sql = Sql::same(
    "UPDATE calendar
        SET sync_token = $4, generation = $5, covered_from = $6, covered_to = $7,
            longest_us = CASE WHEN $8 = 1 OR longest_us < $9 THEN $9 ELSE longest_us END,
            version = version + $10, odd_events = $11, time_zone = COALESCE($12, time_zone),
            access_role = COALESCE($13, access_role), as_of = $14,
            seen = $15, pushed_at = CASE WHEN dirty > $15 THEN pushed_at ELSE NULL END,
            due_at = CASE WHEN dirty > $15 THEN due_at ELSE $16 END,
            failures = 0, last_error = NULL, lease_until = 0
      WHERE business_id = $1 AND id = $2 AND fence = $3",
);
const FAIL: Sql = Sql::same(
    "UPDATE calendar SET failures = failures + 1, last_error = $4, due_at = $5, lease_until = 0
      WHERE business_id = $1 AND id = $2 AND fence = $3",
);
const ROLLED: Sql = Sql::same(
    "UPDATE calendar SET covered_from = $4, covered_to = $5, version = version + 1,
            longest_us = CASE WHEN longest_us < $6 THEN $6 ELSE longest_us END
      WHERE business_id = $1 AND id = $2 AND fence = $3",
);
const NEXT_DUE: Sql = Sql::same(
    "SELECT c.due_at FROM calendar c JOIN account a ON a.business_id = c.business_id AND a.id = c.account_id
      WHERE a.status = 'connected' AND c.lease_until <= $1 ORDER BY c.due_at LIMIT 1",
);
/// Of the calendars that make somebody busy and whose grant is alive.
const OLDEST_LOOK: Sql = Sql::same(
    "SELECT MIN(c.as_of) FROM calendar c JOIN account a ON a.business_id = c.business_id AND a.id = c.account_id
      WHERE c.blocks = 1 AND c.resource_id IS NOT NULL AND a.status = 'connected'",
);
const WATCH_DUE: Sql = Sql::same(
    "SELECT c.business_id, c.id FROM calendar c
       JOIN account a ON a.business_id = c.business_id AND a.id = c.account_id
      WHERE c.watch_due_at <= $1 AND c.watchable = 1 AND a.status = 'connected'
      ORDER BY c.watch_due_at LIMIT $2",
);
const WATCH_AT: Sql =
    Sql::same("UPDATE calendar SET watch_due_at = $3, watchable = $4 WHERE business_id = $1 AND id = $2");
const ROLL_DUE: Sql = Sql::same(
    "SELECT business_id, id FROM calendar WHERE sync_token IS NOT NULL AND covered_to < $1 ORDER BY covered_to LIMIT $2",
);
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("CLAIM", CLAIM),
    ("CLAIM_ONE", CLAIM_ONE),
    ("RELEASE", RELEASE),
    ("END_CALENDARS", END_CALENDARS),
    ("END_DELIVERIES", END_DELIVERIES),
    ("KEEP", KEEP),
    ("COUNT_FROM_ZERO", COUNT_FROM_ZERO),
    ("FINISH", FINISH),
    ("FAIL", FAIL),
    ("ROLLED", ROLLED),
    ("NEXT_DUE", NEXT_DUE),
    ("OLDEST_LOOK", OLDEST_LOOK),
    ("WATCH_DUE", WATCH_DUE),
    ("WATCH_AT", WATCH_AT),
    ("ROLL_DUE", ROLL_DUE),
];

type ClaimRow = (String, String, i64, i64, Option<i64>);

impl TryFrom<ClaimRow> for Lease {
    type Error = Error;

    fn try_from((business, calendar, fence, seen, pushed_at): ClaimRow) -> Result<Self> {
        Ok(Self {
            business: parse(T, "business_id", &business)?,
            calendar: parse(T, "id", &calendar)?,
            fence,
            seen,
            pushed_at: pushed_at.map(|at| instant(T, "pushed_at", at)).transpose()?,
        })
    }
}

fn held(rows: u64) -> Result<()> {
    if rows == 0 { Err(Error::LeaseLost) } else { Ok(()) }
}

fn pair((business, calendar): (String, String)) -> Result<(BusinessId, CalendarId)> {
    Ok((parse(T, "business_id", &business)?, parse(T, "id", &calendar)?))
}

impl Tx {
    /// Takes up to `limit` calendars that are due, each for `lease`.
    pub async fn claim_calendars(&mut self, lease: Duration, limit: usize) -> Result<Vec<Lease>> {
        let now = self.lease_time().await?;
        let until = micros(now + lease);
        let due = micros(self.now());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows: Vec<ClaimRow> = fetch!(fetch_all, self, CLAIM, micros(now), until, due, limit)?;
        rows.into_iter().map(Lease::try_from).collect()
    }

    /// Takes one calendar for `lease`, due or not. `None` while somebody works on it.
    pub async fn claim_calendar(
        &mut self,
        business: BusinessId,
        calendar: CalendarId,
        lease: Duration,
    ) -> Result<Option<Lease>> {
        let now = self.lease_time().await?;
        let (business, calendar) = (business.to_string(), calendar.to_string());
        let until = micros(now + lease);
        let row: Option<ClaimRow> = fetch!(fetch_optional, self, CLAIM_ONE, &business, &calendar, micros(now), until)?;
        row.map(Lease::try_from).transpose()
    }

    /// Gives a calendar back without having looked at Google.
    pub async fn release_calendar(&mut self, lease: &Lease) -> Result<()> {
        held(execute!(self, RELEASE, lease.business.to_string(), lease.calendar.to_string(), lease.fence)?)
    }

    /// Ends every lease, of calendars and deliveries. Only for SQLite, at the start of the one process that works on it: what
    /// is leased then was leased by a process that died.
    pub async fn end_all_leases(&mut self) -> Result<()> {
        execute!(self, END_CALENDARS)?;
        execute!(self, END_DELIVERIES)?;
        Ok(())
    }

    /// Extends a lease and notes progress. First in each transaction of a pass.
    ///
    /// # Errors
    ///
    /// [`Error::LeaseLost`] when another node has the calendar now.
    pub async fn keep_lease(&mut self, lease: &Lease, length: Duration, more_events: usize) -> Result<()> {
        let until = micros(self.lease_time().await? + length);
        let more = i64::try_from(more_events).unwrap_or_default();
        held(execute!(self, KEEP, lease.business.to_string(), lease.calendar.to_string(), lease.fence, until, more)?)
    }

    /// A full sync begins: its progress counts from zero.
    ///
    /// # Errors
    ///
    /// [`Error::LeaseLost`].
    pub async fn count_from_zero(&mut self, lease: &Lease) -> Result<()> {
        held(execute!(self, COUNT_FROM_ZERO, lease.business.to_string(), lease.calendar.to_string(), lease.fence)?)
    }

    /// Ends a pass: its rows are served from the commit of this transaction on, and its token is kept with them.
    ///
    /// # Errors
    ///
    /// [`Error::LeaseLost`].
    pub async fn finish_pass(&mut self, lease: &Lease, finished: &Finished) -> Result<()> {
        let seen = if sabotaged(Bug::PushSwallowed) { lease.seen + 1_000_000 } else { lease.seen };
        held(execute!(
            self,
            FINISH,
            lease.business.to_string(),
            lease.calendar.to_string(),
            lease.fence,
            &finished.sync_token,
            finished.generation,
            micros(finished.coverage.start()),
            micros(finished.coverage.end()),
            i64::from(finished.whole),
            finished.longest_us,
            i64::from(finished.changed),
            finished.odd_events,
            finished.time_zone.map(chrono_tz::Tz::name),
            finished.access_role.as_deref(),
            micros(finished.as_of),
            seen,
            micros(finished.due_at),
        )?)
    }

    /// Gives a lease back after a failure, to be tried again at `due_at`. What was served goes on being served.
    pub async fn fail_pass(&mut self, lease: &Lease, why: &str, due_at: DateTime<Utc>) -> Result<()> {
        held(execute!(
            self,
            FAIL,
            lease.business.to_string(),
            lease.calendar.to_string(),
            lease.fence,
            why,
            micros(due_at)
        )?)
    }

    /// Notes that the served rows now cover more of the future.
    pub async fn coverage_rolled(&mut self, lease: &Lease, coverage: Interval, longest_us: i64) -> Result<()> {
        held(execute!(
            self,
            ROLLED,
            lease.business.to_string(),
            lease.calendar.to_string(),
            lease.fence,
            micros(coverage.start()),
            micros(coverage.end()),
            longest_us,
        )?)
    }

    /// When the next calendar is due that nobody works on.
    pub async fn next_pass_at(&mut self) -> Result<Option<DateTime<Utc>>> {
        let now = micros(self.lease_time().await?);
        let row: Option<(i64,)> = fetch!(fetch_optional, self, NEXT_DUE, now)?;
        row.map(|(at,)| instant(T, "due_at", at)).transpose()
    }

    /// The start of the oldest last pass, among the calendars that matter for answers.
    pub async fn oldest_look(&mut self) -> Result<Option<DateTime<Utc>>> {
        let (at,): (Option<i64>,) = fetch!(fetch_one, self, OLDEST_LOOK)?;
        at.map(|at| instant(T, "as_of", at)).transpose()
    }

    /// Up to `limit` calendars that need a watch channel, or a new one.
    pub async fn watches_due(&mut self, limit: usize) -> Result<Vec<(BusinessId, CalendarId)>> {
        let (now, limit) = (micros(self.now()), i64::try_from(limit).unwrap_or(i64::MAX));
        let rows: Vec<(String, String)> = fetch!(fetch_all, self, WATCH_DUE, now, limit)?;
        rows.into_iter().map(pair).collect()
    }

    /// Says when a calendar's channel is to be renewed, and whether Google can push for it at all.
    pub async fn schedule_watch(
        &mut self,
        business: BusinessId,
        calendar: CalendarId,
        at: DateTime<Utc>,
        watchable: bool,
    ) -> Result<()> {
        let watchable = i64::from(watchable);
        execute!(self, WATCH_AT, business.to_string(), calendar.to_string(), micros(at), watchable)?;
        Ok(())
    }

    /// Up to `limit` calendars whose mirror does not reach `to`.
    pub async fn short_mirrors(&mut self, to: DateTime<Utc>, limit: usize) -> Result<Vec<(BusinessId, CalendarId)>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows: Vec<(String, String)> = fetch!(fetch_all, self, ROLL_DUE, micros(to), limit)?;
        rows.into_iter().map(pair).collect()
    }
}
