//! Customers whom slotd added to the events of their bookings as guests.

use chrono::{DateTime, Utc};

use super::{Error, Result, Sql, Tx, execute, fetch, micros, parse};
use crate::{
    crypto::Cell,
    domain::{BusinessId, contact::Email, guests::Known},
};

const T: &str = "event_guest";
const SELECT: Sql = Sql::same("SELECT state, emails FROM event_guest WHERE business_id = $1 AND event_id = $2");
const KEEP: Sql = Sql::same(
    "INSERT INTO event_guest (business_id, event_id, state, emails) VALUES ($1, $2, $3, $4)
     ON CONFLICT (business_id, event_id) DO UPDATE SET state = excluded.state, emails = excluded.emails",
);
const REFUSED: Sql = Sql::same("UPDATE event_guest SET refused_at = $3 WHERE business_id = $1 AND event_id = $2");
const FORGET: Sql = Sql::same("DELETE FROM event_guest WHERE business_id = $1 AND event_id = $2");
const SINCE: Sql =
    Sql::same("SELECT CAST(COUNT(*) AS BIGINT) FROM event_guest WHERE business_id = $1 AND refused_at >= $2");
pub(super) const STATEMENTS: &[(&str, Sql)] =
    &[("SELECT", SELECT), ("KEEP", KEEP), ("REFUSED", REFUSED), ("FORGET", FORGET), ("SINCE", SINCE)];

const fn cell(business: BusinessId, row: &str) -> Cell<'_> {
    Cell { business, table: T, column: "emails", row }
}

fn corrupt(error: &serde_json::Error) -> Error {
    Error::Corrupt { table: T, column: "emails", why: error.to_string() }
}

impl Tx {
    /// Whom slotd added to an event.
    pub async fn event_guest(&mut self, business: BusinessId, event_id: &str) -> Result<Option<Known>> {
        let row: Option<(String, Vec<u8>)> = fetch!(fetch_optional, self, SELECT, business.to_string(), event_id)?;
        let Some((state, sealed)) = row else { return Ok(None) };
        let keys = self.keys(business).await?;
        let plain = keys.data.open(&cell(business, event_id), &sealed)?;
        let emails: Vec<Email> = serde_json::from_slice(&plain).map_err(|error| corrupt(&error))?;
        Ok(Some(Known { state: parse(T, "state", &state)?, emails }))
    }

    /// Keeps whom slotd added to an event, or is about to. The event's id was derived before.
    pub async fn keep_event_guest(&mut self, business: BusinessId, event_id: &str, known: &Known) -> Result<()> {
        let keys = self.keys(business).await?;
        let plain = serde_json::to_vec(&known.emails).map_err(|error| corrupt(&error))?;
        let sealed = keys.data.seal(&cell(business, event_id), &plain, &**self.chance());
        execute!(self, KEEP, business.to_string(), event_id, known.state.as_str(), &sealed)?;
        Ok(())
    }

    /// Forgets the guest of an event: slotd has none there.
    pub async fn forget_event_guest(&mut self, business: BusinessId, event_id: &str) -> Result<()> {
        execute!(self, FORGET, business.to_string(), event_id)?;
        Ok(())
    }

    /// Notes that Google refused to tell the guest of an event now.
    pub async fn guest_refused(&mut self, business: BusinessId, event_id: &str) -> Result<()> {
        let now = micros(self.now());
        execute!(self, REFUSED, business.to_string(), event_id, now)?;
        Ok(())
    }

    /// Whether Google refused to tell a guest of this business at `since` or later.
    pub async fn guests_were_refused(&mut self, business: BusinessId, since: DateTime<Utc>) -> Result<bool> {
        let (count,): (i64,) = fetch!(fetch_one, self, SINCE, business.to_string(), micros(since))?;
        Ok(count > 0)
    }
}
