//! Which node works on which calendar: leases with a fence, judged by [`Tx::lease_time`].
//!
//! The fence rises with each lease. Whatever a pass writes is written under its fence, so a node that slept through the
//! end of its lease changes nothing when it wakes.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{
    Error, Result, Sql, Tx, audits::END_AUDITS, execute, fetch, instant, micros, notices::END_NOTICES,
    operator::END_OPERATOR_NOTICES, parse,
};
use crate::domain::{
    AccountId, BusinessId, CalendarId, Interval,
    sabotage::{Bug, sabotaged},
};

/// The right to sync one calendar for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The tenant.
    pub business: BusinessId,
    /// The calendar.
    pub calendar: CalendarId,
    /// Through which account it is read.
    pub account: AccountId,
    /// Which lease of it this is. Also names the generation that a full sync stages.
    pub fence: i64,
    /// How many pushes were known when it began.
    pub seen: i64,
    /// The oldest push that it answers.
    pub pushed_at: Option<DateTime<Utc>>,
    /// Whether a caller on the phone waits for it.
    pub asked: bool,
}

/// What a finished pass changes about its calendar.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
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
    /// Whether it found changes that the live channel should have told of, and no push has.
    pub unannounced: bool,
    /// Whether Google lets slotd do more with the calendar than before, so that what it refused is tried again.
    pub regained: bool,
    /// How often it is looked at while nobody watches it.
    pub period: Duration,
}

/// How a pass failed.
#[derive(Debug, Clone)]
pub struct Failed {
    /// In words without secrets or personal data.
    pub why: String,
    /// When to try again.
    pub due_at: DateTime<Utc>,
    /// Whether Google did not let it in.
    pub refused: bool,
}

const T: &str = "calendar";
/// Takes one calendar, due or not.
const CLAIM_ONE: Sql = Sql::same(
    "UPDATE calendar SET lease_until = $4, fence = fence + 1, leased_dirty = dirty
      WHERE business_id = $1 AND id = $2 AND lease_until <= $3
     RETURNING business_id, id, account_id, fence, dirty, pushed_at, asked_at",
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
            asked_at = CASE WHEN dirty > $15 THEN asked_at ELSE NULL END,
            due_at = CASE WHEN dirty > $15 THEN due_at ELSE $16 END, period_us = $18,
            failures = 0, last_error = NULL, lease_until = 0, refusals = 0, lost_at = NULL,
            unannounced = CASE WHEN $17 = 1 AND dirty = $15 THEN unannounced + 1 ELSE unannounced END,
            unannounced_at = CASE WHEN $17 = 1 AND dirty = $15 THEN COALESCE(unannounced_at, $14) ELSE unannounced_at END
      WHERE business_id = $1 AND id = $2 AND fence = $3",
);
const FAIL: Sql = Sql::same(
    "UPDATE calendar SET failures = failures + 1, last_error = $4, due_at = $5, asked_at = NULL, lease_until = 0,
            refusals = refusals + $6
      WHERE business_id = $1 AND id = $2 AND fence = $3",
);
/// The served rows stay; the next pass begins anew.
const TOKEN_ENDED: Sql =
    Sql::same("UPDATE calendar SET sync_token = NULL WHERE business_id = $1 AND id = $2 AND fence = $3");
const ROLLED: Sql = Sql::same(
    "UPDATE calendar SET covered_from = $4, covered_to = $5, version = version + 1,
            longest_us = CASE WHEN longest_us < $6 THEN $6 ELSE longest_us END
      WHERE business_id = $1 AND id = $2 AND fence = $3",
);
/// Of the calendars that make somebody busy and whose grant is alive.
const OLDEST_LOOK: Sql = Sql::same(
    "SELECT MIN(c.as_of) FROM calendar c JOIN account a ON a.business_id = c.business_id AND a.id = c.account_id
      WHERE c.blocks = 1 AND c.resource_id IS NOT NULL AND a.status = 'connected'",
);
const WATCH_DUE: Sql = Sql::same(
    "SELECT c.business_id, c.id FROM calendar c
       JOIN account a ON a.business_id = c.business_id AND a.id = c.account_id
      WHERE c.watch_due_at <= $1 AND c.lost_at IS NULL AND a.status = 'connected'
        AND (c.blocks = 1 OR c.target = 1) AND c.resource_id IS NOT NULL
      ORDER BY c.watch_due_at LIMIT $2",
);
const WATCH_AT: Sql =
    Sql::same("UPDATE calendar SET watch_due_at = $3, watchable = $4 WHERE business_id = $1 AND id = $2");
/// Puts it off, so that nobody else asks for a channel at the same time, and that it is asked for again if this node dies.
const WATCH_CLAIM: Sql =
    Sql::same("UPDATE calendar SET watch_due_at = $4 WHERE business_id = $1 AND id = $2 AND watch_due_at <= $3");
const WATCH_FAILED: Sql = Sql::same(
    "UPDATE calendar SET watch_due_at = $3, watch_failures = watch_failures + 1 WHERE business_id = $1 AND id = $2",
);
const WATCH_FAILURES: Sql = Sql::same("SELECT watch_failures FROM calendar WHERE business_id = $1 AND id = $2");
const FALLEN_SILENT: Sql = Sql::same(
    "UPDATE calendar SET watch_due_at = $3, watch_failures = watch_failures + 1, unannounced = 0, unannounced_at = NULL
      WHERE business_id = $1 AND id = $2 AND unannounced >= $4",
);
const ROLL_DUE: Sql = Sql::same(
    "SELECT business_id, id FROM calendar WHERE as_of IS NOT NULL AND covered_to < $1 ORDER BY covered_to LIMIT $2",
);
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("CLAIM_ONE", CLAIM_ONE),
    ("RELEASE", RELEASE),
    ("END_CALENDARS", END_CALENDARS),
    ("END_DELIVERIES", END_DELIVERIES),
    ("KEEP", KEEP),
    ("COUNT_FROM_ZERO", COUNT_FROM_ZERO),
    ("FINISH", FINISH),
    ("FAIL", FAIL),
    ("TOKEN_ENDED", TOKEN_ENDED),
    ("ROLLED", ROLLED),
    ("OLDEST_LOOK", OLDEST_LOOK),
    ("WATCH_DUE", WATCH_DUE),
    ("WATCH_AT", WATCH_AT),
    ("WATCH_CLAIM", WATCH_CLAIM),
    ("WATCH_FAILED", WATCH_FAILED),
    ("WATCH_FAILURES", WATCH_FAILURES),
    ("FALLEN_SILENT", FALLEN_SILENT),
    ("ROLL_DUE", ROLL_DUE),
];

pub(super) type ClaimRow = (String, String, String, i64, i64, Option<i64>, Option<i64>);

impl TryFrom<ClaimRow> for Lease {
    type Error = Error;

    fn try_from(row: ClaimRow) -> Result<Self> {
        let (business, calendar, account, fence, seen, pushed_at, asked_at) = row;
        Ok(Self {
            business: parse(T, "business_id", &business)?,
            calendar: parse(T, "id", &calendar)?,
            account: parse(T, "account_id", &account)?,
            fence,
            seen,
            pushed_at: pushed_at.map(|at| instant(T, "pushed_at", at)).transpose()?,
            asked: asked_at.is_some(),
        })
    }
}

pub(super) fn held(rows: u64) -> Result<()> {
    if rows == 0 { Err(Error::LeaseLost) } else { Ok(()) }
}

fn pair((business, calendar): (String, String)) -> Result<(BusinessId, CalendarId)> {
    Ok((parse(T, "business_id", &business)?, parse(T, "id", &calendar)?))
}

impl Tx {
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

    /// Ends every lease, of calendars, deliveries, notices and audits. Only for SQLite, at the start of the one process that works on it: what
    /// is leased then was leased by a process that died.
    pub async fn end_all_leases(&mut self) -> Result<()> {
        execute!(self, END_CALENDARS)?;
        execute!(self, END_DELIVERIES)?;
        execute!(self, END_AUDITS)?;
        execute!(self, END_NOTICES)?;
        execute!(self, END_OPERATOR_NOTICES)?;
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
            i64::from(finished.unannounced),
            i64::try_from(finished.period.as_micros()).unwrap_or(i64::MAX),
        )?)?;
        if finished.whole {
            self.changed(lease.business, super::changes::Part::Calendar(lease.calendar));
        }
        if finished.regained {
            let now = self.now();
            self.schedule_watch(lease.business, lease.calendar, now, true).await?;
            self.retry_deliveries(lease.business).await?;
        }
        Ok(())
    }

    /// Google no longer takes the token of this calendar: what is served is stale until a full pass has replaced it.
    ///
    /// # Errors
    ///
    /// [`Error::LeaseLost`].
    pub async fn token_ended(&mut self, lease: &Lease) -> Result<()> {
        held(execute!(self, TOKEN_ENDED, lease.business.to_string(), lease.calendar.to_string(), lease.fence)?)
    }

    /// Gives a lease back after a failure. What was served goes on being served.
    pub async fn fail_pass(&mut self, lease: &Lease, failed: &Failed) -> Result<()> {
        held(execute!(
            self,
            FAIL,
            lease.business.to_string(),
            lease.calendar.to_string(),
            lease.fence,
            &failed.why,
            micros(failed.due_at),
            i64::from(failed.refused),
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

    /// Takes it on to ask for a channel that is due. Should nothing come of it, it is due again at `again_at`. `false` when
    /// somebody else was first.
    pub async fn claim_watch(
        &mut self,
        business: BusinessId,
        calendar: CalendarId,
        again_at: DateTime<Utc>,
    ) -> Result<bool> {
        let now = micros(self.now());
        Ok(execute!(self, WATCH_CLAIM, business.to_string(), calendar.to_string(), now, micros(again_at))? > 0)
    }

    /// Puts the next try to watch a calendar off, after one that failed.
    pub async fn watch_failed(&mut self, business: BusinessId, calendar: CalendarId, at: DateTime<Utc>) -> Result<()> {
        execute!(self, WATCH_FAILED, business.to_string(), calendar.to_string(), micros(at))?;
        Ok(())
    }

    /// How many channels of a calendar failed or fell silent since the last push.
    pub async fn watch_failures(&mut self, business: BusinessId, calendar: CalendarId) -> Result<u32> {
        let row: Option<(i64,)> =
            fetch!(fetch_optional, self, WATCH_FAILURES, business.to_string(), calendar.to_string())?;
        Ok(row.and_then(|(failures,)| u32::try_from(failures).ok()).unwrap_or_default())
    }

    /// Gives the channels of a calendar up that told nothing of changes in `passes` passes; a new one is asked for at `at`.
    /// `false` when a push came meanwhile.
    pub async fn watch_fell_silent(
        &mut self,
        business: BusinessId,
        calendar: CalendarId,
        at: DateTime<Utc>,
        passes: i64,
    ) -> Result<bool> {
        let silent = execute!(self, FALLEN_SILENT, business.to_string(), calendar.to_string(), micros(at), passes)? > 0;
        if silent {
            self.give_channels_up(business, calendar).await?;
        }
        Ok(silent)
    }

    /// Up to `limit` calendars whose mirror does not reach `to`.
    pub async fn short_mirrors(&mut self, to: DateTime<Utc>, limit: usize) -> Result<Vec<(BusinessId, CalendarId)>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows: Vec<(String, String)> = fetch!(fetch_all, self, ROLL_DUE, micros(to), limit)?;
        rows.into_iter().map(pair).collect()
    }
}
