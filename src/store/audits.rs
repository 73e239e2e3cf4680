//! Audits of mirrors: which are to be made when, and what they found.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::{Error, Result, Sql, Tx, execute, fetch, instant, leases::Lease, micros, parse};
use crate::domain::{BusinessId, CalendarId};

/// How an audit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditOutcome {
    /// The mirror is what Google shows.
    Equal,
    /// It is not.
    Drift,
    /// Nobody knows: Google or the database did not answer.
    Failed,
}

impl AuditOutcome {
    /// The word in the table, in answers and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Drift => "drift",
            Self::Failed => "failed",
        }
    }
}

impl std::str::FromStr for AuditOutcome {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Equal, Self::Drift, Self::Failed];
        all.into_iter().find(|outcome| outcome.as_str() == text).ok_or_else(|| format!("`{text}` is no outcome"))
    }
}

/// One finished audit of one calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// The tenant.
    pub business: BusinessId,
    /// The calendar.
    pub calendar: CalendarId,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: DateTime<Utc>,
    /// How it ended.
    pub outcome: AuditOutcome,
    /// Time that is busy at Google and free here: the dangerous kind.
    pub missing: TimeDelta,
    /// Time that is free at Google and busy here.
    pub surplus: TimeDelta,
    /// Events that are missing here, too many, or not the same.
    pub events_differing: i64,
    /// Events that Google listed.
    pub events_compared: i64,
    /// When a later audit found that its drift is gone.
    pub healed_at: Option<DateTime<Utc>>,
    /// Why it failed, in words without personal data.
    pub why: Option<String>,
}

/// The right to audit one calendar for a while, and what is known from earlier audits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditLease {
    /// The tenant.
    pub business: BusinessId,
    /// The calendar.
    pub calendar: CalendarId,
    /// Which lease of it this is.
    pub fence: i64,
    /// Audits that found drift since the last one that found none.
    pub drifts: i64,
    /// Drift that came back is not healed before then.
    pub heal_after: Option<DateTime<Utc>>,
    /// The start of the audit whose drift is being healed.
    pub healing: Option<DateTime<Utc>>,
}

/// What is to come of a calendar's audits after one has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditNext {
    /// When the next one is to begin, if one is asked for already.
    pub due_at: Option<DateTime<Utc>>,
    /// As [`AuditLease::drifts`].
    pub drifts: i64,
    /// As [`AuditLease::heal_after`].
    pub heal_after: Option<DateTime<Utc>>,
    /// As [`AuditLease::healing`].
    pub healing: Option<DateTime<Utc>>,
}

/// How the audits of all calendars stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AuditFigures {
    /// The start of the oldest last audit with a result; of a calendar that has none, when it came.
    pub oldest: Option<DateTime<Utc>>,
    /// Calendars whose latest result is drift.
    pub drifting: i64,
}

#[derive(sqlx::FromRow)]
struct Row {
    business_id: String,
    calendar_id: String,
    started_at: i64,
    finished_at: i64,
    outcome: String,
    missing_us: i64,
    surplus_us: i64,
    events_differing: i64,
    events_compared: i64,
    healed_at: Option<i64>,
    why: Option<String>,
}

type ClaimRow = (String, String, i64, i64, Option<i64>, Option<i64>);

const T: &str = "audit";
const P: &str = "audit_plan";
/// Asked for while one runs, it is another one.
const ORDER: Sql = Sql::same(
    "INSERT INTO audit_plan (business_id, calendar_id, due_at, lease_until, fence, drifts)
     VALUES ($1, $2, $3, 0, 0, 0)
     ON CONFLICT (business_id, calendar_id) DO UPDATE
        SET due_at = CASE WHEN audit_plan.due_at < excluded.due_at AND audit_plan.lease_until = 0
                          THEN audit_plan.due_at ELSE excluded.due_at END",
);
const AUDITABLE: Sql = Sql::same(
    "SELECT COUNT(*) FROM calendar c JOIN account a ON a.business_id = c.business_id AND a.id = c.account_id
      WHERE a.status = 'connected' AND c.as_of IS NOT NULL AND c.lost_at IS NULL",
);
/// Those whose last audit is oldest; one that failed is tried again sooner.
const OLDEST: Sql = Sql::same(
    "SELECT c.business_id, c.id
       FROM calendar c
       JOIN account a ON a.business_id = c.business_id AND a.id = c.account_id
       LEFT JOIN audit_plan p ON p.business_id = c.business_id AND p.calendar_id = c.id
      WHERE a.status = 'connected' AND c.as_of IS NOT NULL AND c.lost_at IS NULL AND p.due_at IS NULL
        AND (p.tried_at IS NULL OR p.tried_at <= $1
             OR (p.tried_at <= $2 AND (p.audited_at IS NULL OR p.audited_at < p.tried_at)))
      ORDER BY COALESCE(p.tried_at, 0), c.business_id, c.id LIMIT $3",
);
const CLAIM: Sql = Sql {
    sqlite: "UPDATE audit_plan SET lease_until = $2, fence = fence + 1
              WHERE (business_id, calendar_id) IN (
                    SELECT p.business_id, p.calendar_id FROM audit_plan p
                      JOIN calendar c ON c.business_id = p.business_id AND c.id = p.calendar_id
                      JOIN account a ON a.business_id = c.business_id AND a.id = c.account_id
                     WHERE p.due_at <= $3 AND p.lease_until <= $1 AND a.status = 'connected' AND c.as_of IS NOT NULL AND c.lost_at IS NULL
                     ORDER BY p.due_at LIMIT 1)
          RETURNING business_id, calendar_id, fence, drifts, heal_after, healing",
    postgres: "UPDATE audit_plan SET lease_until = $2, fence = fence + 1
                WHERE (business_id, calendar_id) IN (
                      SELECT p.business_id, p.calendar_id FROM audit_plan p
                        JOIN calendar c ON c.business_id = p.business_id AND c.id = p.calendar_id
                        JOIN account a ON a.business_id = c.business_id AND a.id = c.account_id
                       WHERE p.due_at <= $3 AND p.lease_until <= $1 AND a.status = 'connected' AND c.as_of IS NOT NULL AND c.lost_at IS NULL
                       ORDER BY p.due_at LIMIT 1 FOR UPDATE OF p SKIP LOCKED)
            RETURNING business_id, calendar_id, fence, drifts, heal_after, healing",
};
const KEEP: Sql =
    Sql::same("UPDATE audit_plan SET lease_until = $4 WHERE business_id = $1 AND calendar_id = $2 AND fence = $3");
const POSTPONE: Sql = Sql::same(
    "UPDATE audit_plan SET lease_until = 0, due_at = $4 WHERE business_id = $1 AND calendar_id = $2 AND fence = $3",
);
/// One that was asked for while this one ran stays asked for.
const SETTLE: Sql = Sql::same(
    "UPDATE audit_plan
        SET lease_until = 0, tried_at = $4, audited_at = CASE WHEN $5 = 1 THEN $4 ELSE audited_at END,
            due_at = CASE WHEN due_at > $4 THEN due_at ELSE $6 END, drifts = $7, heal_after = $8, healing = $9
      WHERE business_id = $1 AND calendar_id = $2 AND fence = $3",
);
const INSERT: Sql = Sql::same(
    "INSERT INTO audit (business_id, calendar_id, started_at, finished_at, outcome, missing_us, surplus_us,
                        events_differing, events_compared, healed_at, why)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, NULL, $10)",
);
/// An earlier one's drift is the same drift, and gone with it.
const HEALED: Sql = Sql::same(
    "UPDATE audit SET healed_at = $3
      WHERE business_id = $1 AND calendar_id = $2 AND outcome = 'drift' AND healed_at IS NULL",
);
const LATEST: Sql = Sql::same(
    "SELECT x.business_id, x.calendar_id, x.started_at, x.finished_at, x.outcome, x.missing_us, x.surplus_us,
            x.events_differing, x.events_compared, x.healed_at, x.why
       FROM audit x
      WHERE x.business_id = $1 AND (
            x.started_at = (SELECT MAX(y.started_at) FROM audit y
                             WHERE y.business_id = x.business_id AND y.calendar_id = x.calendar_id)
         OR x.started_at = (SELECT MAX(y.started_at) FROM audit y
                             WHERE y.business_id = x.business_id AND y.calendar_id = x.calendar_id
                               AND y.outcome = 'drift'))
      ORDER BY x.calendar_id, x.started_at DESC",
);
const FORGET: Sql = Sql::same("DELETE FROM audit WHERE started_at < $1");
const FIGURES: Sql = Sql::same(
    "SELECT MIN(COALESCE(p.audited_at, c.created_at)),
            COUNT(CASE WHEN (SELECT x.outcome FROM audit x
                              WHERE x.business_id = c.business_id AND x.calendar_id = c.id
                                AND x.started_at = p.audited_at) = 'drift' THEN 1 END)
       FROM calendar c
       JOIN account a ON a.business_id = c.business_id AND a.id = c.account_id
       LEFT JOIN audit_plan p ON p.business_id = c.business_id AND p.calendar_id = c.id
      WHERE a.status = 'connected' AND c.as_of IS NOT NULL AND c.lost_at IS NULL",
);
/// What is served goes on being served, as stale; the next pass is a full one.
const BEGIN_ANEW: Sql = Sql::same(
    "UPDATE calendar SET sync_token = NULL, dirty = dirty + 1, due_at = $4, lease_until = 0
      WHERE business_id = $1 AND id = $2 AND fence = $3",
);
pub(super) const END_AUDITS: Sql = Sql::same("UPDATE audit_plan SET lease_until = 0 WHERE lease_until > 0");
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("ORDER", ORDER),
    ("AUDITABLE", AUDITABLE),
    ("OLDEST", OLDEST),
    ("CLAIM", CLAIM),
    ("KEEP", KEEP),
    ("POSTPONE", POSTPONE),
    ("SETTLE", SETTLE),
    ("INSERT", INSERT),
    ("HEALED", HEALED),
    ("LATEST", LATEST),
    ("FORGET", FORGET),
    ("FIGURES", FIGURES),
    ("BEGIN_ANEW", BEGIN_ANEW),
    ("END_AUDITS", END_AUDITS),
];

fn held(rows: u64) -> Result<()> {
    if rows == 0 { Err(Error::LeaseLost) } else { Ok(()) }
}

impl TryFrom<Row> for Audit {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            business: parse(T, "business_id", &row.business_id)?,
            calendar: parse(T, "calendar_id", &row.calendar_id)?,
            started_at: instant(T, "started_at", row.started_at)?,
            finished_at: instant(T, "finished_at", row.finished_at)?,
            outcome: parse(T, "outcome", &row.outcome)?,
            missing: TimeDelta::microseconds(row.missing_us),
            surplus: TimeDelta::microseconds(row.surplus_us),
            events_differing: row.events_differing,
            events_compared: row.events_compared,
            healed_at: row.healed_at.map(|at| instant(T, "healed_at", at)).transpose()?,
            why: row.why,
        })
    }
}

impl Tx {
    /// Asks for an audit of a calendar at `at`, or earlier when one is asked for earlier already.
    pub async fn order_audit(&mut self, business: BusinessId, calendar: CalendarId, at: DateTime<Utc>) -> Result<()> {
        execute!(self, ORDER, business.to_string(), calendar.to_string(), micros(at))?;
        Ok(())
    }

    /// How many calendars can be audited: mirrored ones of connected accounts.
    pub async fn auditable(&mut self) -> Result<i64> {
        let (count,): (i64,) = fetch!(fetch_one, self, AUDITABLE)?;
        Ok(count)
    }

    /// Up to `limit` calendars whose last audit began before `before`, the longest ago first; after one that failed,
    /// before `failed_before`. Those for which an audit is asked already are not among them.
    pub async fn audits_to_order(
        &mut self,
        before: DateTime<Utc>,
        failed_before: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<(BusinessId, CalendarId)>> {
        let rows: Vec<(String, String)> =
            fetch!(fetch_all, self, OLDEST, micros(before), micros(failed_before), limit)?;
        rows.iter()
            .map(|(business, calendar)| {
                Ok((parse("calendar", "business_id", business)?, parse("calendar", "id", calendar)?))
            })
            .collect()
    }

    /// Takes the calendar whose audit is due longest, for `lease`.
    pub async fn claim_audit(&mut self, lease: Duration) -> Result<Option<AuditLease>> {
        let now = self.lease_time().await?;
        let (until, due) = (micros(now + lease), micros(self.now()));
        let row: Option<ClaimRow> = fetch!(fetch_optional, self, CLAIM, micros(now), until, due)?;
        row.map(|(business, calendar, fence, drifts, heal_after, healing)| {
            Ok(AuditLease {
                business: parse(P, "business_id", &business)?,
                calendar: parse(P, "calendar_id", &calendar)?,
                fence,
                drifts,
                heal_after: heal_after.map(|at| instant(P, "heal_after", at)).transpose()?,
                healing: healing.map(|at| instant(P, "healing", at)).transpose()?,
            })
        })
        .transpose()
    }

    /// Extends the lease of an audit.
    ///
    /// # Errors
    ///
    /// [`Error::LeaseLost`] when another node has it now.
    pub async fn keep_audit(&mut self, lease: &AuditLease, length: Duration) -> Result<()> {
        let until = micros(self.lease_time().await? + length);
        held(execute!(self, KEEP, lease.business.to_string(), lease.calendar.to_string(), lease.fence, until)?)
    }

    /// Gives an audit back that could not begin yet.
    ///
    /// # Errors
    ///
    /// [`Error::LeaseLost`].
    pub async fn postpone_audit(&mut self, lease: &AuditLease, to: DateTime<Utc>) -> Result<()> {
        held(execute!(self, POSTPONE, lease.business.to_string(), lease.calendar.to_string(), lease.fence, micros(to))?)
    }

    /// Keeps what an audit found, gives its lease back and says what comes next.
    ///
    /// # Errors
    ///
    /// [`Error::LeaseLost`].
    pub async fn finish_audit(&mut self, lease: &AuditLease, audit: &Audit, next: &AuditNext) -> Result<()> {
        let (business, calendar) = (lease.business.to_string(), lease.calendar.to_string());
        held(execute!(
            self,
            SETTLE,
            &business,
            &calendar,
            lease.fence,
            micros(audit.started_at),
            i64::from(audit.outcome != AuditOutcome::Failed),
            next.due_at.map(micros),
            next.drifts,
            next.heal_after.map(micros),
            next.healing.map(micros),
        )?)?;
        execute!(
            self,
            INSERT,
            &business,
            &calendar,
            micros(audit.started_at),
            micros(audit.finished_at),
            audit.outcome.as_str(),
            audit.missing.num_microseconds().unwrap_or(i64::MAX),
            audit.surplus.num_microseconds().unwrap_or(i64::MAX),
            audit.events_differing,
            audit.events_compared,
            audit.why.as_deref(),
        )?;
        if audit.outcome == AuditOutcome::Equal {
            execute!(self, HEALED, &business, &calendar, micros(audit.finished_at))?;
        }
        Ok(())
    }

    /// The latest audit of each calendar of a business, each followed by the latest that found drift, unless they are one.
    pub async fn latest_audits(&mut self, business: BusinessId) -> Result<Vec<Audit>> {
        let rows: Vec<Row> = fetch!(fetch_all, self, LATEST, business.to_string())?;
        rows.into_iter().map(Audit::try_from).collect()
    }

    /// Forgets audits that began before `before`. Returns how many.
    pub async fn forget_audits(&mut self, before: DateTime<Utc>) -> Result<u64> {
        execute!(self, FORGET, micros(before))
    }

    /// How the audits of all calendars that can be audited stand.
    pub async fn audit_figures(&mut self) -> Result<AuditFigures> {
        let (oldest, drifting): (Option<i64>, i64) = fetch!(fetch_one, self, FIGURES)?;
        Ok(AuditFigures { oldest: oldest.map(|at| instant(P, "audited_at", at)).transpose()?, drifting })
    }

    /// Lets the next pass over a calendar be a full one, due now, and gives the lease back. What is served stays until it is
    /// replaced, and is stale meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::LeaseLost`].
    pub async fn begin_anew(&mut self, lease: &Lease) -> Result<()> {
        let now = micros(self.now());
        held(execute!(self, BEGIN_ANEW, lease.business.to_string(), lease.calendar.to_string(), lease.fence, now)?)
    }
}
