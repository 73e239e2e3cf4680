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
}

const T: &str = "call";
const TOUCH: Sql = Sql::same(
    "INSERT INTO call (business_id, call_id, calendar_event_id, started_at, seen_at) VALUES ($1, $2, $3, $4, $4)
     ON CONFLICT (business_id, call_id) DO UPDATE
        SET seen_at = excluded.seen_at,
            calendar_event_id = COALESCE(excluded.calendar_event_id, call.calendar_event_id)",
);
const SELECT: Sql = Sql::same(
    "SELECT call_id, calendar_event_id, started_at, seen_at FROM call WHERE business_id = $1 AND call_id = $2",
);
pub(super) const STATEMENTS: &[(&str, Sql)] = &[("TOUCH", TOUCH), ("SELECT", SELECT)];

impl Tx {
    /// Notes that a call goes on, and which event its latest booking has.
    pub async fn touch_call(&mut self, business: BusinessId, call_id: &str, event_id: Option<&str>) -> Result<()> {
        let now = micros(self.now());
        execute!(self, TOUCH, business.to_string(), call_id, event_id, now)?;
        Ok(())
    }

    /// What is known of a call.
    pub async fn call(&mut self, business: BusinessId, call_id: &str) -> Result<Option<Call>> {
        let row: Option<(String, Option<String>, i64, i64)> =
            fetch!(fetch_optional, self, SELECT, business.to_string(), call_id)?;
        row.map(|(call_id, calendar_event_id, started, seen)| {
            Ok(Call {
                call_id,
                calendar_event_id,
                started_at: instant(T, "started_at", started)?,
                seen_at: instant(T, "seen_at", seen)?,
            })
        })
        .transpose()
    }
}
