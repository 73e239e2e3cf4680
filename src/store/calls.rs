//! Phone calls that the receptionist named.

use chrono::{DateTime, Utc};

use super::{Result, Sql, Tx, execute, fetch, instant, micros};
use crate::domain::BusinessId;

/// A phone call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The receptionist's name for it.
    pub call_id: String,
    /// The calendar event of the latest booking made in it.
    pub calendar_event_id: Option<String>,
    /// When slotd first heard of it.
    pub started_at: DateTime<Utc>,
    /// When slotd last heard of it.
    pub seen_at: DateTime<Utc>,
    /// Since when it is over; absent while it goes on.
    pub ended_at: Option<DateTime<Utc>>,
}

/// Its name, event, and when it began, was heard of and ended.
type Row = (String, Option<String>, i64, i64, Option<i64>);

const T: &str = "call";
const TOUCH: Sql = Sql::same(
    "INSERT INTO call (business_id, call_id, calendar_event_id, started_at, seen_at) VALUES ($1, $2, $3, $4, $4)
     ON CONFLICT (business_id, call_id) DO UPDATE
        SET seen_at = excluded.seen_at, ended_at = NULL,
            calendar_event_id = COALESCE(excluded.calendar_event_id, call.calendar_event_id)",
);
const HANG_UP: Sql = Sql::same(
    "INSERT INTO call (business_id, call_id, started_at, seen_at, ended_at) VALUES ($1, $2, $3, $3, $3)
     ON CONFLICT (business_id, call_id) DO UPDATE SET seen_at = excluded.seen_at, ended_at = excluded.ended_at",
);
const SELECT: Sql = Sql::same(
    "SELECT call_id, calendar_event_id, started_at, seen_at, ended_at FROM call WHERE business_id = $1 AND call_id = $2",
);
pub(super) const STATEMENTS: &[(&str, Sql)] = &[("TOUCH", TOUCH), ("HANG_UP", HANG_UP), ("SELECT", SELECT)];

impl Tx {
    /// Notes that a call goes on, and which event its latest booking has.
    pub async fn touch_call(&mut self, business: BusinessId, call_id: &str, event_id: Option<&str>) -> Result<()> {
        let now = micros(self.now());
        execute!(self, TOUCH, business.to_string(), call_id, event_id, now)?;
        Ok(())
    }

    /// Notes that a call is over, and forgets what it was offered.
    pub async fn hang_up(&mut self, business: BusinessId, call_id: &str) -> Result<()> {
        let now = micros(self.now());
        execute!(self, HANG_UP, business.to_string(), call_id, now)?;
        self.forget_offers_of_call(business, call_id).await
    }

    /// What is known of a call.
    pub async fn call(&mut self, business: BusinessId, call_id: &str) -> Result<Option<Call>> {
        let row: Option<Row> = fetch!(fetch_optional, self, SELECT, business.to_string(), call_id)?;
        row.map(|(call_id, calendar_event_id, started, seen, ended)| {
            Ok(Call {
                call_id,
                calendar_event_id,
                started_at: instant(T, "started_at", started)?,
                seen_at: instant(T, "seen_at", seen)?,
                ended_at: ended.map(|at| instant(T, "ended_at", at)).transpose()?,
            })
        })
        .transpose()
    }
}
