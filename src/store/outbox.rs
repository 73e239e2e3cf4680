//! Deliveries owed to the outside, in the transaction of what caused them.
//!
//! A row says *what* is owed about *whom*, not how: the worker reads the present state when it delivers. So asking twice
//! is one row with a higher revision, and a delivery that was overtaken by a change goes out once, as it is then.

use std::{collections::BTreeSet, time::Duration};

use chrono::{DateTime, Utc};

use super::{Error, Result, Sql, Tx, execute, fetch, instant, micros, parse, turns::rows};
use crate::domain::{
    BookingId, BusinessId, CalendarId,
    id::DeliveryId,
    sabotage::{Bug, sabotaged},
};

/// What is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owed {
    /// Google is to show this booking's event as the booking is.
    Event(BookingId),
    /// An event that slotd wrote is to be removed, because its booking is written elsewhere now.
    Removal {
        /// Where it is.
        calendar: CalendarId,
        /// Its id there.
        event_id: String,
    },
}

impl Owed {
    /// The word for metrics and the table.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Event(_) => "google.event",
            Self::Removal { .. } => "google.removal",
        }
    }

    fn subject(&self) -> String {
        match self {
            Self::Event(booking) => booking.to_string(),
            Self::Removal { calendar, event_id } => format!("{calendar}/{event_id}"),
        }
    }

    fn read(kind: &str, subject: &str) -> Result<Self> {
        let odd = || Error::Corrupt { table: T, column: "subject", why: "it does not fit its kind".into() };
        match (kind, subject.split_once('/')) {
            ("google.event", None) => Ok(Self::Event(parse(T, "subject", subject)?)),
            ("google.removal", Some((calendar, event_id))) => {
                Ok(Self::Removal { calendar: parse(T, "subject", calendar)?, event_id: event_id.to_owned() })
            }
            _ => Err(odd()),
        }
    }
}

/// A delivery that this node has taken on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The tenant.
    pub business: BusinessId,
    /// Its id.
    pub id: DeliveryId,
    /// What is owed.
    pub owed: Owed,
    /// Which asking this answers.
    pub revision: i64,
    /// Under which lease.
    pub fence: i64,
    /// Tries so far, this one included.
    pub attempts: i64,
}

/// How many deliveries wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// To be sent.
    pub waiting: i64,
    /// Given up.
    pub dead: i64,
    /// When the longest waiting one was asked for.
    pub oldest: Option<DateTime<Utc>>,
}

/// Business, id, kind, subject, revision, fence, attempts, account.
type ClaimRow = (String, String, String, String, i64, i64, i64, Option<String>);

pub(super) const T: &str = "outbox";
/// The account is that of the calendar, which is named or is the booking's.
const ASK: Sql = Sql::same(
    "INSERT INTO outbox (business_id, id, kind, subject, revision, due_at, lease_until, fence, attempts, dead,
                         created_at, account_id)
     VALUES ($1, $2, $5, $3, 1, $4, 0, 0, 0, 0, $4,
             (SELECT c.account_id FROM calendar c
               WHERE c.business_id = $1
                 AND c.id = COALESCE($6, (SELECT b.calendar_id FROM booking b WHERE b.business_id = $1 AND b.id = $3))))
     ON CONFLICT (business_id, kind, subject) DO UPDATE
        SET revision = outbox.revision + 1, due_at = excluded.due_at, attempts = 0, dead = 0, told = 0,
            account_id = excluded.account_id",
);
/// The due deliveries in the order of their turns, like the calendars of `turns.rs`.
macro_rules! queue {
    (sqlite) => {
        queue!("d.row, ", "o.rowid AS row, ", " INDEXED BY outbox_due", " INDEXED BY outbox_leased")
    };
    (postgres) => {
        queue!("", "", "", "")
    };
    ($row:literal, $rowid:literal, $due:literal, $leased:literal) => {
        concat!("SELECT ", $row, "d.business_id, d.id, d.due_at, d.delivery_at,
                d.held + ROW_NUMBER() OVER (PARTITION BY d.business_id, d.account_id ORDER BY d.due_at, d.id) AS turn
           FROM (SELECT ", $rowid, "o.business_id, o.id, o.account_id, o.due_at, COALESCE(a.delivery_at, 0) AS delivery_at,
                        COALESCE(h.held, 0) AS held
                   FROM outbox o", $due, "
                   LEFT JOIN account a ON a.business_id = o.business_id AND a.id = o.account_id
                   LEFT JOIN (SELECT business_id, account_id, COUNT(*) AS held FROM outbox", $leased, "
                               WHERE lease_until > 0 AND lease_until > $1 GROUP BY business_id, account_id) h
                     ON h.business_id = o.business_id AND h.account_id = o.account_id
                  WHERE o.dead = 0 AND o.due_at <= $3 AND o.lease_until <= $1 AND COALESCE(a.paused_until, 0) <= $3) d")
    };
}
/// The attempt is counted before it is made, so a delivery that kills the process still runs out of attempts.
const CLAIM: Sql = Sql {
    sqlite: concat!(
        "UPDATE outbox SET lease_until = $2, fence = fence + 1, attempts = attempts + 1
          WHERE rowid IN (SELECT q.row FROM (",
        queue!(sqlite),
        ") q WHERE q.turn <= $5 ORDER BY q.turn, q.delivery_at, q.due_at LIMIT $4)
      RETURNING business_id, id, kind, subject, revision, fence, attempts, account_id"
    ),
    postgres: concat!(
        "UPDATE outbox SET lease_until = $2, fence = fence + 1, attempts = attempts + 1
          WHERE (business_id, id) IN (
                SELECT o.business_id, o.id FROM outbox o
                  JOIN (",
        queue!(postgres),
        ") q ON q.business_id = o.business_id AND q.id = o.id
                 WHERE o.dead = 0 AND o.due_at <= $3 AND o.lease_until <= $1 AND q.turn <= $5
                 ORDER BY q.turn, q.delivery_at, q.due_at LIMIT $4 FOR UPDATE OF o SKIP LOCKED)
      RETURNING business_id, id, kind, subject, revision, fence, attempts, account_id"
    ),
};
/// Who holds the account's row may want a delivery that this claim has just taken, so it is not waited for.
const HAD_ITS_TURN: Sql = Sql {
    sqlite: "UPDATE account SET delivery_at = $3 WHERE business_id = $1 AND id = $2",
    postgres: "UPDATE account SET delivery_at = $3
                WHERE (business_id, id) IN (SELECT business_id, id FROM account WHERE business_id = $1 AND id = $2
                                               FOR NO KEY UPDATE SKIP LOCKED)",
};
const HELD: Sql = Sql {
    sqlite: "SELECT fence FROM outbox WHERE business_id = $1 AND id = $2",
    postgres: "SELECT fence FROM outbox WHERE business_id = $1 AND id = $2 FOR UPDATE",
};
const DONE: Sql = Sql::same("DELETE FROM outbox WHERE business_id = $1 AND id = $2 AND fence = $3 AND revision = $4");
const AGAIN: Sql = Sql::same(
    "UPDATE outbox SET due_at = $4, lease_until = 0, last_error = $5 WHERE business_id = $1 AND id = $2 AND fence = $3",
);
/// Google was not asked, for a quota's sake, so it was no attempt.
const POSTPONE: Sql = Sql::same(
    "UPDATE outbox SET due_at = $4, lease_until = 0, last_error = $5, attempts = attempts - 1
      WHERE business_id = $1 AND id = $2 AND fence = $3",
);
const DEAD: Sql = Sql::same(
    "UPDATE outbox SET dead = 1, lease_until = 0, last_error = $5
      WHERE business_id = $1 AND id = $2 AND fence = $3 AND revision = $4",
);
const RETRY: Sql = Sql {
    sqlite: "UPDATE outbox SET due_at = $2, attempts = 0, dead = 0, told = 0 WHERE business_id = $1 AND lease_until <= $3",
    // What somebody holds is being asked for or settled just now, and whoever holds it may want another row.
    postgres: "UPDATE outbox SET due_at = $2, attempts = 0, dead = 0, told = 0
                WHERE (business_id, id) IN (SELECT business_id, id FROM outbox
                                             WHERE business_id = $1 AND lease_until <= $3 FOR UPDATE SKIP LOCKED)",
};
const NEXT_DUE: Sql = Sql::same(
    "SELECT o.due_at FROM outbox o LEFT JOIN account a ON a.business_id = o.business_id AND a.id = o.account_id
      WHERE o.dead = 0 AND o.lease_until <= $1 AND COALESCE(a.paused_until, 0) <= $2 ORDER BY o.due_at LIMIT 1",
);
const NEXT_PAUSE_END: Sql =
    Sql::same("SELECT MIN(paused_until) FROM account WHERE paused_until > 0 AND paused_until > $1");
const DEPTH: Sql = Sql::same(
    "SELECT CAST(COUNT(*) AS BIGINT), CAST(COALESCE(SUM(dead), 0) AS BIGINT),
            MIN(CASE WHEN dead = 0 THEN created_at END)
       FROM outbox",
);
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("ASK", ASK),
    ("CLAIM", CLAIM),
    ("HAD_ITS_TURN", HAD_ITS_TURN),
    ("HELD", HELD),
    ("DONE", DONE),
    ("AGAIN", AGAIN),
    ("POSTPONE", POSTPONE),
    ("DEAD", DEAD),
    ("RETRY", RETRY),
    ("NEXT_DUE", NEXT_DUE),
    ("NEXT_PAUSE_END", NEXT_PAUSE_END),
    ("DEPTH", DEPTH),
];

impl Tx {
    /// Owes Google the present state of a booking's event, from the commit of this transaction on.
    pub async fn owe_event(&mut self, business: BusinessId, booking: BookingId) -> Result<()> {
        self.owe(business, &Owed::Event(booking)).await
    }

    /// Owes Google the removal of an event that slotd wrote, from the commit of this transaction on.
    pub async fn owe_removal(&mut self, business: BusinessId, calendar: CalendarId, event_id: &str) -> Result<()> {
        self.owe(business, &Owed::Removal { calendar, event_id: event_id.to_owned() }).await
    }

    async fn owe(&mut self, business: BusinessId, owed: &Owed) -> Result<()> {
        let now = self.now();
        let id = DeliveryId::new(self.chance().uuid(now));
        let calendar = match owed {
            Owed::Event(_) => None,
            Owed::Removal { calendar, .. } => Some(calendar.to_string()),
        };
        let (business, id) = (business.to_string(), id.to_string());
        execute!(self, ASK, business, id, owed.subject(), micros(now), owed.kind(), calendar)?;
        Ok(())
    }

    /// Takes up to `limit` due deliveries, each for `lease`: the accounts one after the other, and at most `per_account` of
    /// one at a time, those in flight included. Deliver after committing, never before. One that is not settled in time
    /// falls back to the queue.
    pub async fn claim_deliveries(
        &mut self,
        lease: Duration,
        limit: usize,
        per_account: usize,
    ) -> Result<Vec<Delivery>> {
        let now = self.lease_time().await?;
        let lease = if sabotaged(Bug::LeaseEndsAtOnce) { Duration::ZERO } else { lease };
        let (until, due) = (micros(now + lease), micros(self.now()));
        let claimed: Vec<ClaimRow> =
            fetch!(fetch_all, self, CLAIM, micros(now), until, due, rows(limit), rows(per_account))?;
        let mut accounts = BTreeSet::new();
        let mut deliveries = Vec::with_capacity(claimed.len());
        for (business, id, kind, subject, revision, fence, attempts, account) in claimed {
            deliveries.push(Delivery {
                business: parse(T, "business_id", &business)?,
                id: parse(T, "id", &id)?,
                owed: Owed::read(&kind, &subject)?,
                revision,
                fence,
                attempts,
            });
            accounts.extend(account.map(|account| (business, account)));
        }
        for (business, account) in accounts {
            execute!(self, HAD_ITS_TURN, business, account, due)?;
        }
        Ok(deliveries)
    }

    /// Whether this node still has the delivery, which nobody else can take until this transaction ends.
    pub async fn holds_delivery(&mut self, delivery: &Delivery) -> Result<bool> {
        let row: Option<(i64,)> =
            fetch!(fetch_optional, self, HELD, delivery.business.to_string(), delivery.id.to_string())?;
        Ok(row.is_some_and(|(fence,)| fence == delivery.fence) || sabotaged(Bug::FenceUnchecked))
    }

    /// Ends a delivery, unless it was asked for again meanwhile: then it is due at once.
    pub async fn delivered(&mut self, delivery: &Delivery) -> Result<()> {
        let (business, id) = (delivery.business.to_string(), delivery.id.to_string());
        let done = execute!(self, DONE, &business, &id, delivery.fence, delivery.revision)?;
        if done == 0 {
            let now = micros(self.now());
            execute!(self, AGAIN, &business, &id, delivery.fence, now, None::<&str>)?;
        }
        Ok(())
    }

    /// Puts a delivery back, to be tried again at `due_at`.
    pub async fn deliver_later(&mut self, delivery: &Delivery, due_at: DateTime<Utc>, why: &str) -> Result<()> {
        let (business, id) = (delivery.business.to_string(), delivery.id.to_string());
        execute!(self, AGAIN, &business, &id, delivery.fence, micros(due_at), Some(why))?;
        Ok(())
    }

    /// Puts a delivery back that was not tried, for a quota's sake.
    pub async fn postpone_delivery(&mut self, delivery: &Delivery, due_at: DateTime<Utc>, why: &str) -> Result<()> {
        let (business, id) = (delivery.business.to_string(), delivery.id.to_string());
        execute!(self, POSTPONE, business, id, delivery.fence, micros(due_at), why)?;
        Ok(())
    }

    /// Gives a delivery up, unless it was asked for again meanwhile: then it is due at once. It stays visible until a
    /// person or a new change asks for it again.
    pub async fn give_up(&mut self, delivery: &Delivery, why: &str) -> Result<()> {
        let (business, id) = (delivery.business.to_string(), delivery.id.to_string());
        let dead = execute!(self, DEAD, &business, &id, delivery.fence, delivery.revision, why)?;
        if dead == 0 {
            let now = self.now();
            self.deliver_later(delivery, now, why).await?;
        }
        Ok(())
    }

    /// Makes every delivery of a business due, also those that were given up, for its grant was renewed.
    pub async fn retry_deliveries(&mut self, business: BusinessId) -> Result<()> {
        self.owe_failed_events(business).await?;
        let (due, now) = (micros(self.now()), micros(self.lease_time().await?));
        execute!(self, RETRY, business.to_string(), due, now)?;
        Ok(())
    }

    /// When the next delivery is due that nobody works on and whose account may be asked, or the next account may be asked
    /// again.
    pub async fn next_delivery_at(&mut self) -> Result<Option<DateTime<Utc>>> {
        let (now, leases) = (micros(self.now()), micros(self.lease_time().await?));
        let due: Option<(i64,)> = fetch!(fetch_optional, self, NEXT_DUE, leases, now)?;
        let (pause_end,): (Option<i64>,) = fetch!(fetch_one, self, NEXT_PAUSE_END, now)?;
        let next = [due.map(|(at,)| at), pause_end].into_iter().flatten().min();
        next.map(|at| instant(T, "due_at", at)).transpose()
    }

    /// How many deliveries wait, of all businesses.
    pub async fn outbox_depth(&mut self) -> Result<Depth> {
        let (all, dead, oldest): (i64, i64, Option<i64>) = fetch!(fetch_one, self, DEPTH)?;
        let oldest = oldest.map(|at| instant(T, "created_at", at)).transpose()?;
        Ok(Depth { waiting: all - dead, dead, oldest })
    }
}
