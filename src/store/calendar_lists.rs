//! What the lists of the accounts say of the mirrored calendars, and when they are read.

use chrono::{DateTime, Utc};

use super::{Result, Sql, Tx, calendars, execute, fetch, instant, micros, parse};
use crate::domain::{AccountId, BusinessId, CalendarId};

/// What an account's list says of a calendar that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its title.
    pub summary: String,
    /// Google's word for what the account may do with it.
    pub access_role: String,
    /// Whether the owner hides it.
    pub hidden: bool,
}

const T: &str = "account";
const DUE: Sql = Sql::same(
    "SELECT business_id, id, list_failures FROM account
      WHERE status = 'connected' AND list_due_at IS NOT NULL AND list_due_at <= $1 ORDER BY list_due_at LIMIT $2",
);
const NEXT: Sql = Sql::same("SELECT MIN(list_due_at) FROM account WHERE status = 'connected'");
/// Puts it off, so that no other node reads the same list, and so that it is read again if this node dies.
const CLAIM: Sql = Sql::same(
    "UPDATE account SET list_due_at = $4, list_failures = list_failures + 1
      WHERE business_id = $1 AND id = $2 AND status = 'connected' AND list_due_at <= $3",
);
/// Unless somebody asked for it again meanwhile.
const READ: Sql = Sql::same(
    "UPDATE account SET list_failures = 0, list_due_at = CASE WHEN list_due_at = $3 THEN NULL ELSE list_due_at END
      WHERE business_id = $1 AND id = $2",
);
const IDLE: Sql = Sql::same(
    "SELECT business_id, id FROM account
      WHERE status = 'connected' AND list_due_at IS NULL AND (business_id, id) > ($1, $2) ORDER BY business_id, id LIMIT $3",
);
const PLAN: Sql =
    Sql::same("UPDATE account SET list_due_at = $3 WHERE business_id = $1 AND id = $2 AND list_due_at IS NULL");
const WANT: Sql = Sql::same(
    "UPDATE account SET list_due_at = $3
      WHERE business_id = $1 AND id = $2 AND (list_due_at IS NULL OR list_due_at > $3)",
);
const LISTED: Sql = Sql::same(
    "UPDATE calendar SET listed = 1, hidden = $3, summary = $4, access_role = $5 WHERE business_id = $1 AND id = $2",
);
/// Returns a row only when this is news.
const UNLISTED: Sql =
    Sql::same("UPDATE calendar SET listed = 0, hidden = 0 WHERE business_id = $1 AND id = $2 AND listed = 1");
const LOST: Sql = Sql::same(
    "UPDATE calendar SET lost_at = $3 WHERE business_id = $1 AND id = $2 AND lost_at IS NULL AND refusals >= $4",
);
const LOST_CALENDARS: Sql = Sql::same(
    "SELECT CAST(COUNT(*) AS BIGINT) FROM calendar c
       JOIN account a ON a.business_id = c.business_id AND a.id = c.account_id
      WHERE c.lost_at IS NOT NULL AND a.status = 'connected'",
);
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("DUE", DUE),
    ("NEXT", NEXT),
    ("CLAIM", CLAIM),
    ("READ", READ),
    ("IDLE", IDLE),
    ("PLAN", PLAN),
    ("WANT", WANT),
    ("LISTED", LISTED),
    ("UNLISTED", UNLISTED),
    ("LOST", LOST),
    ("LOST_CALENDARS", LOST_CALENDARS),
];

impl Tx {
    /// Up to `limit` accounts whose lists are to be read now, and how often in a row that failed.
    pub async fn lists_due(&mut self, limit: usize) -> Result<Vec<(BusinessId, AccountId, u32)>> {
        let (now, limit) = (micros(self.now()), i64::try_from(limit).unwrap_or(i64::MAX));
        let rows: Vec<(String, String, i64)> = fetch!(fetch_all, self, DUE, now, limit)?;
        rows.into_iter()
            .map(|(business, id, failures)| {
                let failures = u32::try_from(failures).unwrap_or_default();
                Ok((parse(T, "business_id", &business)?, parse(T, "id", &id)?, failures))
            })
            .collect()
    }

    /// When the next list is to be read.
    pub async fn next_list_at(&mut self) -> Result<Option<DateTime<Utc>>> {
        let (at,): (Option<i64>,) = fetch!(fetch_one, self, NEXT)?;
        at.map(|at| instant(T, "list_due_at", at)).transpose()
    }

    /// Takes the reading of a list on. Should it come to nothing, the list is due again at `again_at`. `false` when another
    /// node was first.
    pub async fn claim_list(
        &mut self,
        business: BusinessId,
        account: AccountId,
        again_at: DateTime<Utc>,
    ) -> Result<bool> {
        let now = micros(self.now());
        Ok(execute!(self, CLAIM, business.to_string(), account.to_string(), now, micros(again_at))? > 0)
    }

    /// Ends what [`Tx::claim_list`] began, with the same instant.
    pub async fn list_read(&mut self, business: BusinessId, account: AccountId, again_at: DateTime<Utc>) -> Result<()> {
        execute!(self, READ, business.to_string(), account.to_string(), micros(again_at))?;
        Ok(())
    }

    /// Up to `limit` connected accounts after `after` whose lists are not to be read at present.
    pub async fn accounts_without_list(
        &mut self,
        after: Option<(BusinessId, AccountId)>,
        limit: usize,
    ) -> Result<Vec<(BusinessId, AccountId)>> {
        // No id is smaller than the empty text.
        let (business, id) = after.map_or_else(Default::default, |(b, id)| (b.to_string(), id.to_string()));
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows: Vec<(String, String)> = fetch!(fetch_all, self, IDLE, &business, &id, limit)?;
        rows.into_iter().map(|(b, id)| Ok((parse(T, "business_id", &b)?, parse(T, "id", &id)?))).collect()
    }

    /// Has the list of an account read at `at`, unless it is to be read anyway.
    pub async fn plan_list(&mut self, business: BusinessId, account: AccountId, at: DateTime<Utc>) -> Result<()> {
        execute!(self, PLAN, business.to_string(), account.to_string(), micros(at))?;
        Ok(())
    }

    /// Has the list of an account read now.
    pub async fn want_list(&mut self, business: BusinessId, account: AccountId) -> Result<()> {
        let now = micros(self.now());
        execute!(self, WANT, business.to_string(), account.to_string(), now)?;
        Ok(())
    }

    /// The account's list names this calendar.
    pub async fn calendar_listed(&mut self, business: BusinessId, id: CalendarId, listed: &Listed) -> Result<()> {
        let (keys, chance) = (self.keys(business).await?, self.chance().clone());
        let row = id.to_string();
        let summary = keys.data.seal(&calendars::cell(business, &row), listed.summary.as_bytes(), &*chance);
        let hidden = i64::from(listed.hidden);
        execute!(self, LISTED, business.to_string(), &row, hidden, &summary, &listed.access_role)?;
        Ok(())
    }

    /// The account's list lacks this calendar. `false` when that was known.
    pub async fn calendar_unlisted(&mut self, business: BusinessId, id: CalendarId) -> Result<bool> {
        Ok(execute!(self, UNLISTED, business.to_string(), id.to_string())? > 0)
    }

    /// Notes that a calendar is lost, if passes were refused as often as `refusals` in a row. `false` when that was known.
    pub async fn calendar_lost(&mut self, business: BusinessId, id: CalendarId, refusals: i64) -> Result<bool> {
        let now = micros(self.now());
        let news = execute!(self, LOST, business.to_string(), id.to_string(), now, refusals)? > 0;
        if news {
            self.give_channels_up(business, id).await?;
        }
        Ok(news)
    }

    /// Lost calendars of connected accounts, of all businesses.
    pub async fn lost_calendars(&mut self) -> Result<i64> {
        let (count,): (i64,) = fetch!(fetch_one, self, LOST_CALENDARS)?;
        Ok(count)
    }
}
