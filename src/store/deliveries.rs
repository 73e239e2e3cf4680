//! All that is owed to the outside, for people: what waits, what was given up, and asking for it again.

use chrono::{DateTime, Utc};

use super::{Error, Result, Sql, Tx, bookings::CalendarSync, execute, fetch, instant, micros, parse};
use crate::domain::{
    BookingId, BusinessId,
    id::{DeliveryId, EndpointId},
};

/// One delivery, to Google or to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwedDelivery {
    /// The tenant.
    pub business: BusinessId,
    /// Its id.
    pub id: DeliveryId,
    /// What is owed, in a word.
    pub kind: String,
    /// The booking that it is about, if it is about one.
    pub booking: Option<BookingId>,
    /// The endpoint, if it goes to one.
    pub endpoint: Option<EndpointId>,
    /// Given up, and waits for a person.
    pub dead: bool,
    /// Tries so far.
    pub attempts: i64,
    /// What came of the last one.
    pub last_error: Option<String>,
    /// When it is tried next.
    pub due_at: DateTime<Utc>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
}

/// What came of asking for a delivery again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retried {
    /// It is due now.
    Due,
    /// There is none with this id.
    Unknown,
    /// It was not given up.
    Alive,
    /// Its endpoint gets nothing.
    Disabled,
}

#[derive(sqlx::FromRow)]
struct Row {
    business_id: String,
    id: String,
    kind: String,
    subject: String,
    endpoint_id: Option<String>,
    dead: i64,
    attempts: i64,
    last_error: Option<String>,
    due_at: i64,
    created_at: i64,
}

const T: &str = "outbox";
/// Of one business, or of all when its id is empty.
const LIST: Sql = Sql::same(
    "SELECT business_id, id, kind, subject, endpoint_id, dead, attempts, last_error, due_at, created_at
       FROM (SELECT business_id, id, kind, subject, NULL AS endpoint_id, dead, attempts, last_error, due_at, created_at
               FROM outbox WHERE dead = $2
             UNION ALL
             SELECT business_id, id, kind, subject, endpoint_id, dead, attempts, last_error, due_at, created_at
               FROM notice WHERE dead = $2) d
      WHERE ($1 = '' OR business_id = $1) AND id > $3 ORDER BY id LIMIT $4",
);
const SELECT: Sql = Sql::same(
    "SELECT business_id, id, kind, subject, NULL AS endpoint_id, dead, attempts, last_error, due_at, created_at
       FROM outbox WHERE business_id = $1 AND id = $2
     UNION ALL
     SELECT business_id, id, kind, subject, endpoint_id, dead, attempts, last_error, due_at, created_at
       FROM notice WHERE business_id = $1 AND id = $2",
);
const RETRY_EVENT: Sql = Sql::same(
    "UPDATE outbox SET due_at = $3, attempts = 0, dead = 0, told = 0 WHERE business_id = $1 AND id = $2 AND dead = 1",
);
const RETRY_NOTICE: Sql = Sql::same(
    "UPDATE notice SET due_at = $3, attempts = 0, dead = 0, told = 0 WHERE business_id = $1 AND id = $2 AND dead = 1",
);
/// In id order, like all who lock several.
const FAILED: Sql = Sql::same(
    "SELECT subject FROM outbox WHERE business_id = $1 AND kind = 'google.event' AND dead = 1 ORDER BY subject",
);
const PENDING: Sql = Sql::same(
    "UPDATE booking SET calendar_sync = 'pending' WHERE business_id = $1 AND id = $2 AND calendar_sync = 'failed'",
);
const DEAD_OF: Sql = Sql::same(
    "SELECT CAST((SELECT COUNT(*) FROM outbox WHERE business_id = $1 AND dead = 1) AS BIGINT),
            CAST((SELECT COUNT(*) FROM notice WHERE business_id = $1 AND dead = 1) AS BIGINT)",
);
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("LIST", LIST),
    ("SELECT", SELECT),
    ("RETRY_EVENT", RETRY_EVENT),
    ("RETRY_NOTICE", RETRY_NOTICE),
    ("FAILED", FAILED),
    ("PENDING", PENDING),
    ("DEAD_OF", DEAD_OF),
];

impl TryFrom<Row> for OwedDelivery {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let about_booking = row.kind == "google.event" || row.kind.starts_with("booking.");
        Ok(Self {
            business: parse(T, "business_id", &row.business_id)?,
            id: parse(T, "id", &row.id)?,
            booking: about_booking.then(|| parse(T, "subject", &row.subject)).transpose()?,
            kind: row.kind,
            endpoint: row.endpoint_id.map(|id| parse(T, "endpoint_id", &id)).transpose()?,
            dead: row.dead != 0,
            attempts: row.attempts,
            last_error: row.last_error,
            due_at: instant(T, "due_at", row.due_at)?,
            created_at: instant(T, "created_at", row.created_at)?,
        })
    }
}

impl Tx {
    /// Up to `limit` deliveries that wait, or that were given up, of one business or of all, oldest first, after `after`.
    pub async fn deliveries(
        &mut self,
        business: Option<BusinessId>,
        dead: bool,
        after: Option<DeliveryId>,
        limit: u32,
    ) -> Result<Vec<OwedDelivery>> {
        let business = business.map(|id| id.to_string()).unwrap_or_default();
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let rows: Vec<Row> = fetch!(fetch_all, self, LIST, business, i64::from(dead), after, i64::from(limit))?;
        rows.into_iter().map(OwedDelivery::try_from).collect()
    }

    /// Makes a delivery that was given up due now. Its booking is `pending` again.
    pub async fn retry_delivery(&mut self, business: BusinessId, id: DeliveryId) -> Result<Retried> {
        let row: Option<Row> = fetch!(fetch_optional, self, SELECT, business.to_string(), id.to_string())?;
        let Some(row) = row else { return Ok(Retried::Unknown) };
        let delivery = OwedDelivery::try_from(row)?;
        if !delivery.dead {
            return Ok(Retried::Alive);
        }
        let (key, row, now) = (business.to_string(), id.to_string(), micros(self.now()));
        let again = if let Some(endpoint) = delivery.endpoint {
            match self.endpoint(business, endpoint).await? {
                Some(endpoint) if endpoint.disabled.is_none() => {}
                _ => return Ok(Retried::Disabled),
            }
            self.announces = true;
            execute!(self, RETRY_NOTICE, key, row, now)?
        } else {
            if let Some(booking) = delivery.booking {
                self.owe_failed_event(business, booking).await?;
            }
            execute!(self, RETRY_EVENT, key, row, now)?
        };
        Ok(if again > 0 { Retried::Due } else { Retried::Alive })
    }

    /// Makes up to `limit` deliveries that were given up due now, of one business or of all, after `after`. Returns what came
    /// of each, and the last one if there may be more.
    pub async fn retry_dead(
        &mut self,
        business: Option<BusinessId>,
        after: Option<DeliveryId>,
        limit: u32,
    ) -> Result<(Vec<Retried>, Option<DeliveryId>)> {
        let dead = self.deliveries(business, true, after, limit).await?;
        let last = dead.last().map(|last| last.id);
        // In the order of their bookings, like all who lock several.
        let mut dead: Vec<_> =
            dead.into_iter().map(|delivery| (delivery.booking, delivery.business, delivery.id)).collect();
        dead.sort_unstable();
        let mut outcomes = Vec::with_capacity(dead.len());
        for (_, business, id) in dead {
            outcomes.push(self.retry_delivery(business, id).await?);
        }
        Ok((outcomes, last))
    }

    /// The bookings of a business whose events were given up are `pending` again, for their deliveries are about to be asked
    /// for again.
    pub(super) async fn owe_failed_events(&mut self, business: BusinessId) -> Result<()> {
        let failed: Vec<(String,)> = fetch!(fetch_all, self, FAILED, business.to_string())?;
        for (booking,) in failed {
            let booking = parse(T, "subject", &booking)?;
            self.owe_failed_event(business, booking).await?;
        }
        Ok(())
    }

    /// Bookings are locked before deliveries, here as everywhere.
    async fn owe_failed_event(&mut self, business: BusinessId, booking: BookingId) -> Result<()> {
        let locked = self.lock_booking(business, booking).await?;
        if locked.is_some_and(|booking| booking.calendar_sync == CalendarSync::Failed) {
            execute!(self, PENDING, business.to_string(), booking.to_string())?;
        }
        Ok(())
    }

    /// How many deliveries of a business were given up: to Google, and to its endpoints.
    pub async fn dead_deliveries(&mut self, business: BusinessId) -> Result<(i64, i64)> {
        fetch!(fetch_one, self, DEAD_OF, business.to_string())
    }
}
