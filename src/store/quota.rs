//! What must be known of Google's quotas on every node and after a restart: pauses of accounts, and the calls of a day.

use chrono::{DateTime, NaiveDate, Utc};

use super::{Result, Sql, Tx, execute, fetch, instant, micros, parse};
use crate::domain::{AccountId, BusinessId};

/// How long Google is left alone about an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountPause {
    /// The tenant.
    pub business: BusinessId,
    /// The account.
    pub account: AccountId,
    /// Nothing is asked before; may lie in the past.
    pub until: DateTime<Utc>,
    /// No event is written before; may lie in the past.
    pub writes_until: DateTime<Utc>,
    /// Google's word for why.
    pub reason: Option<String>,
}

const T: &str = "account";
/// The longer pause wins: two nodes may have been refused.
const PAUSE: Sql = Sql::same(
    "UPDATE account SET paused_until = CASE WHEN paused_until < $3 THEN $3 ELSE paused_until END,
            writes_paused_until = CASE WHEN writes_paused_until < $4 THEN $4 ELSE writes_paused_until END,
            pause_reason = $5
      WHERE business_id = $1 AND id = $2",
);
const PAUSED: Sql = Sql::same(
    "SELECT business_id, id, paused_until, writes_paused_until, pause_reason FROM account
      WHERE paused_until > 0 AND paused_until > $1
      UNION
     SELECT business_id, id, paused_until, writes_paused_until, pause_reason FROM account
      WHERE writes_paused_until > 0 AND writes_paused_until > $1",
);
const PAUSED_OF: Sql = Sql::same(
    "SELECT business_id, id, paused_until, writes_paused_until, pause_reason FROM account
      WHERE business_id = $1 AND (paused_until > $2 OR writes_paused_until > $2)",
);
const ADD_CALLS: Sql = Sql::same(
    "INSERT INTO google_usage (day, calls) VALUES ($1, $2)
     ON CONFLICT (day) DO UPDATE SET calls = google_usage.calls + excluded.calls",
);
const CALLS: Sql = Sql::same("SELECT calls FROM google_usage WHERE day = $1");
const FORGET_CALLS: Sql = Sql::same("DELETE FROM google_usage WHERE day < $1");
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("PAUSE", PAUSE),
    ("PAUSED", PAUSED),
    ("PAUSED_OF", PAUSED_OF),
    ("ADD_CALLS", ADD_CALLS),
    ("CALLS", CALLS),
    ("FORGET_CALLS", FORGET_CALLS),
];

type Row = (String, String, i64, i64, Option<String>);

impl TryFrom<Row> for AccountPause {
    type Error = super::Error;

    fn try_from((business, account, until, writes, reason): Row) -> Result<Self> {
        Ok(Self {
            business: parse(T, "business_id", &business)?,
            account: parse(T, "id", &account)?,
            until: instant(T, "paused_until", until)?,
            writes_until: instant(T, "writes_paused_until", writes)?,
            reason,
        })
    }
}

impl Tx {
    /// Notes that Google is to be left alone about an account.
    pub async fn pause_account(&mut self, pause: &AccountPause) -> Result<()> {
        let (business, account) = (pause.business.to_string(), pause.account.to_string());
        let (until, writes) = (micros(pause.until), micros(pause.writes_until));
        execute!(self, PAUSE, business, account, until, writes, pause.reason.as_deref())?;
        Ok(())
    }

    /// The accounts that Google is left alone about now, in whatever way.
    pub async fn paused_accounts(&mut self) -> Result<Vec<AccountPause>> {
        let now = micros(self.now());
        let rows: Vec<Row> = fetch!(fetch_all, self, PAUSED, now)?;
        rows.into_iter().map(AccountPause::try_from).collect()
    }

    /// Those of one business.
    pub async fn paused_accounts_of(&mut self, business: BusinessId) -> Result<Vec<AccountPause>> {
        let now = micros(self.now());
        let rows: Vec<Row> = fetch!(fetch_all, self, PAUSED_OF, business.to_string(), now)?;
        rows.into_iter().map(AccountPause::try_from).collect()
    }

    /// Adds calls to those of a day of Google's.
    pub async fn add_google_calls(&mut self, day: NaiveDate, calls: i64) -> Result<()> {
        execute!(self, ADD_CALLS, day.to_string(), calls)?;
        Ok(())
    }

    /// How many calls all nodes made on a day of Google's, as far as they said.
    pub async fn google_calls(&mut self, day: NaiveDate) -> Result<i64> {
        let row: Option<(i64,)> = fetch!(fetch_optional, self, CALLS, day.to_string())?;
        Ok(row.map_or(0, |(calls,)| calls))
    }

    /// Forgets the calls of the days before `day`.
    pub async fn forget_google_calls(&mut self, day: NaiveDate) -> Result<u64> {
        execute!(self, FORGET_CALLS, day.to_string())
    }
}
