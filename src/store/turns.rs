//! Which calendars have their turn: a few at a time of each account, the accounts one after the other.
//!
//! An account with hundreds of due calendars would otherwise be first in the queue for as long as it takes to read them
//! all. What a caller waits for comes before everything. Accounts that Google asked to slow down are passed over.

use std::{collections::BTreeSet, time::Duration};

use chrono::{DateTime, Utc};

use super::{
    Result, Sql, Tx, execute, fetch, instant,
    leases::{ClaimRow, Lease, held},
    micros,
};
use crate::domain::{AccountId, BusinessId, CalendarId};

/// How many turns are given out at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turns {
    /// At most so many.
    pub limit: usize,
    /// At most so many of one account at a time, those under way included. What a caller waits for is not counted. Nodes
    /// that claim at the same moment may exceed it together.
    pub per_account: usize,
    /// Only what a caller waits for.
    pub asked_only: bool,
}

impl Turns {
    /// Up to `limit`, of however few accounts.
    #[must_use]
    pub const fn up_to(limit: usize) -> Self {
        Self { limit, per_account: usize::MAX, asked_only: false }
    }
}

/// The due calendars of connected accounts in the order of their turns. A calendar's turn is its place among those of its
/// account, after those that are being worked on; of equal turns the account goes first that waited longest. All that is
/// read is due or leased: SQLite would rather read everything in the order of the accounts, and is told not to.
macro_rules! queue {
    (sqlite) => {
        queue!("d.row, ", "c.rowid AS row, ", " INDEXED BY calendar_due", " INDEXED BY calendar_leased")
    };
    (postgres) => {
        queue!("", "", "", "")
    };
    ($row:literal, $rowid:literal, $due:literal, $leased:literal) => {
        concat!("SELECT ", $row, "d.business_id, d.id, d.due_at, d.urgency, d.pass_at,
                d.passes + ROW_NUMBER() OVER (PARTITION BY d.business_id, d.account_id ORDER BY d.urgency, d.due_at, d.id)
                    AS turn
           FROM (SELECT ", $rowid, "c.business_id, c.id, c.account_id, c.due_at, a.pass_at, COALESCE(h.passes, 0) AS passes,
                        CASE WHEN c.asked_at IS NOT NULL THEN 0 WHEN c.pushed_at IS NOT NULL THEN 1 ELSE 2 END AS urgency
                   FROM calendar c", $due, "
                   JOIN account a ON a.business_id = c.business_id AND a.id = c.account_id
                   LEFT JOIN (SELECT business_id, account_id, COUNT(*) AS passes FROM calendar", $leased, "
                               WHERE lease_until > 0 AND lease_until > $1 GROUP BY business_id, account_id) h
                     ON h.business_id = c.business_id AND h.account_id = c.account_id
                  WHERE c.due_at <= $3 AND c.lease_until <= $1 AND a.status = 'connected' AND a.paused_until <= $3
                    AND (c.asked_at IS NOT NULL OR $5 = 0)) d")
    };
}
const CLAIM: Sql = Sql {
    sqlite: concat!(
        "UPDATE calendar SET lease_until = $2, fence = fence + 1, leased_dirty = dirty
          WHERE rowid IN (SELECT q.row FROM (",
        queue!(sqlite),
        ") q WHERE q.urgency = 0 OR q.turn <= $6
                 ORDER BY CASE q.urgency WHEN 0 THEN 0 ELSE 1 END, q.turn, q.pass_at, q.due_at LIMIT $4)
      RETURNING business_id, id, account_id, fence, dirty, pushed_at, asked_at"
    ),
    // SKIP LOCKED: two nodes never claim the same row and never wait for each other.
    postgres: concat!(
        "UPDATE calendar SET lease_until = $2, fence = fence + 1, leased_dirty = dirty
          WHERE (business_id, id) IN (
                SELECT c.business_id, c.id FROM calendar c
                  JOIN (",
        queue!(postgres),
        ") q ON q.business_id = c.business_id AND q.id = c.id
                 WHERE c.due_at <= $3 AND c.lease_until <= $1 AND (q.urgency = 0 OR q.turn <= $6)
                 ORDER BY CASE q.urgency WHEN 0 THEN 0 ELSE 1 END, q.turn, q.pass_at, q.due_at LIMIT $4
                   FOR UPDATE OF c SKIP LOCKED)
      RETURNING business_id, id, account_id, fence, dirty, pushed_at, asked_at"
    ),
};
/// Who holds the account's row may want a calendar that this claim has just taken, so it is not waited for.
const HAD_ITS_TURN: Sql = Sql {
    sqlite: "UPDATE account SET pass_at = $3 WHERE business_id = $1 AND id = $2",
    postgres: "UPDATE account SET pass_at = $3
                WHERE (business_id, id) IN (SELECT business_id, id FROM account WHERE business_id = $1 AND id = $2
                                               FOR NO KEY UPDATE SKIP LOCKED)",
};
const NEXT_DUE: Sql = Sql::same(
    "SELECT c.due_at FROM calendar c JOIN account a ON a.business_id = c.business_id AND a.id = c.account_id
      WHERE a.status = 'connected' AND a.paused_until <= $2 AND c.lease_until <= $1 ORDER BY c.due_at LIMIT 1",
);
const NEXT_PAUSE_END: Sql =
    Sql::same("SELECT MIN(paused_until) FROM account WHERE paused_until > 0 AND paused_until > $1");
/// Not looked at, for a quota's sake. That is no failure of the calendar's; a caller who asked has given up by then.
const POSTPONE: Sql = Sql::same(
    "UPDATE calendar SET last_error = $4, due_at = $5, asked_at = NULL, lease_until = 0
      WHERE business_id = $1 AND id = $2 AND fence = $3",
);
/// A caller waits for a look, now. One under way may have read Google before.
const ASK: Sql = Sql::same(
    "UPDATE calendar SET dirty = dirty + 1, asked_at = COALESCE(asked_at, $3),
            due_at = CASE WHEN due_at > $3 THEN $3 ELSE due_at END
      WHERE business_id = $1 AND id = $2",
);
const SIBLINGS: Sql =
    Sql::same("SELECT CAST(COUNT(*) AS BIGINT) FROM calendar WHERE business_id = $1 AND account_id = $2");
/// How many calendars are polled: with a live channel, and without.
const POLLED: Sql = Sql::same(
    "SELECT CAST(COUNT(w.calendar_id) AS BIGINT), CAST(COUNT(*) - COUNT(w.calendar_id) AS BIGINT)
       FROM calendar c
       JOIN account a ON a.business_id = c.business_id AND a.id = c.account_id
       LEFT JOIN (SELECT business_id, calendar_id FROM channel WHERE state = 'live' AND expires_at > $1
                   GROUP BY business_id, calendar_id) w
         ON w.business_id = c.business_id AND w.calendar_id = c.id
      WHERE a.status = 'connected'",
);
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("CLAIM", CLAIM),
    ("HAD_ITS_TURN", HAD_ITS_TURN),
    ("NEXT_DUE", NEXT_DUE),
    ("NEXT_PAUSE_END", NEXT_PAUSE_END),
    ("POSTPONE", POSTPONE),
    ("ASK", ASK),
    ("SIBLINGS", SIBLINGS),
    ("POLLED", POLLED),
];

/// A number of rows for `LIMIT`.
pub(super) fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

impl Tx {
    /// Takes calendars that are due and have their turn, each for `lease`.
    pub async fn claim_calendars(&mut self, lease: Duration, turns: Turns) -> Result<Vec<Lease>> {
        let now = self.lease_time().await?;
        let (until, due) = (micros(now + lease), micros(self.now()));
        let (limit, per_account) = (rows(turns.limit), rows(turns.per_account));
        let asked_only = i64::from(turns.asked_only);
        let claimed: Vec<ClaimRow> =
            fetch!(fetch_all, self, CLAIM, micros(now), until, due, limit, asked_only, per_account)?;
        let leases: Vec<Lease> = claimed.into_iter().map(Lease::try_from).collect::<Result<_>>()?;
        // In one order, so that two nodes never wait for each other.
        let accounts: BTreeSet<_> = leases.iter().map(|lease| (lease.business, lease.account)).collect();
        for (business, account) in accounts {
            execute!(self, HAD_ITS_TURN, business.to_string(), account.to_string(), due)?;
        }
        Ok(leases)
    }

    /// When the next calendar is due that nobody works on and whose account may be asked, or the next account may be asked
    /// again.
    pub async fn next_pass_at(&mut self) -> Result<Option<DateTime<Utc>>> {
        let (now, leases) = (micros(self.now()), micros(self.lease_time().await?));
        let due: Option<(i64,)> = fetch!(fetch_optional, self, NEXT_DUE, leases, now)?;
        let (pause_end,): (Option<i64>,) = fetch!(fetch_one, self, NEXT_PAUSE_END, now)?;
        let next = [due.map(|(at,)| at), pause_end].into_iter().flatten().min();
        next.map(|at| instant("calendar", "due_at", at)).transpose()
    }

    /// Gives a lease back without a look at Google, for a quota's sake. The pass is owed as before.
    pub async fn postpone_pass(&mut self, lease: &Lease, why: &str, due_at: DateTime<Utc>) -> Result<()> {
        let (business, id) = (lease.business.to_string(), lease.calendar.to_string());
        held(execute!(self, POSTPONE, business, id, lease.fence, why, micros(due_at))?)
    }

    /// Asks for a pass over a calendar that a caller on the phone waits for: it goes before all others.
    pub async fn ask_for_look(&mut self, business: BusinessId, id: CalendarId) -> Result<()> {
        let now = micros(self.now());
        execute!(self, ASK, business.to_string(), id.to_string(), now)?;
        Ok(())
    }

    /// How many calendars an account has.
    pub async fn calendars_of_account(&mut self, business: BusinessId, account: AccountId) -> Result<i64> {
        let (count,): (i64,) = fetch!(fetch_one, self, SIBLINGS, business.to_string(), account.to_string())?;
        Ok(count)
    }

    /// How many calendars of connected accounts have a live channel, and how many have none.
    pub async fn polled_calendars(&mut self) -> Result<(i64, i64)> {
        let now = micros(self.now());
        fetch!(fetch_one, self, POLLED, now)
    }
}
