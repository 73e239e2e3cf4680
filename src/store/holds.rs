//! Holds: slots reserved for a caller for a short time. A hold is a booking in state `held`, and keeps its id when it is
//! confirmed.

use chrono::{DateTime, Utc};

use super::{
    Result, Sql, Tx,
    bookings::Booking,
    claims::{Source, Step},
    fetch, micros, parse,
};
use crate::domain::{BookingId, BusinessId};

const T: &str = "booking";
const OF_CALL: Sql =
    Sql::same("SELECT id FROM booking WHERE business_id = $1 AND call_id = $2 AND state = 'held' ORDER BY id LIMIT $3");
const RAN_OUT: Sql =
    Sql::same("SELECT business_id, id FROM booking WHERE state = 'held' AND state_at <= $1 ORDER BY state_at LIMIT $2");
const OVER: Sql = Sql::same(
    "SELECT business_id, id FROM booking WHERE state = 'confirmed' AND end_at <= $1 ORDER BY end_at LIMIT $2",
);
/// A claim counts until then; for good when absent.
const CLAIM_UNTIL: Sql = Sql::same(
    "UPDATE claim SET expires_at = $3 WHERE business_id = $1 AND booking_id = $2 AND active = 1 RETURNING resource_id",
);
pub(super) const STATEMENTS: &[(&str, Sql)] =
    &[("OF_CALL", OF_CALL), ("RAN_OUT", RAN_OUT), ("OVER", OVER), ("CLAIM_UNTIL", CLAIM_UNTIL)];

/// Most holds of one call that are looked at. A call has a few.
const OF_CALL_MAX: i64 = 100;

impl Tx {
    /// The holds of a call that were not ended yet, run out or not, in the order of their ids.
    pub async fn holds_of_call(&mut self, business: BusinessId, call_id: &str) -> Result<Vec<BookingId>> {
        let rows: Vec<(String,)> = fetch!(fetch_all, self, OF_CALL, business.to_string(), call_id, OF_CALL_MAX)?;
        rows.iter().map(|(id,)| parse(T, "id", id)).collect()
    }

    /// Up to `limit` holds that ran out by now and are not marked so.
    pub async fn holds_that_ran_out(&mut self, limit: usize) -> Result<Vec<(BusinessId, BookingId)>> {
        self.due(RAN_OUT, limit).await
    }

    /// Up to `limit` confirmed bookings whose time is over.
    pub async fn bookings_that_are_over(&mut self, limit: usize) -> Result<Vec<(BusinessId, BookingId)>> {
        self.due(OVER, limit).await
    }

    async fn due(&mut self, sql: Sql, limit: usize) -> Result<Vec<(BusinessId, BookingId)>> {
        let (now, limit) = (micros(self.now()), i64::try_from(limit).unwrap_or(i64::MAX));
        let rows: Vec<(String, String)> = fetch!(fetch_all, self, sql, now, limit)?;
        let pair = |(business, id): (String, String)| Ok((parse(T, "business_id", &business)?, parse(T, "id", &id)?));
        rows.into_iter().map(pair).collect()
    }

    /// Lets the claims of a hold or booking that this transaction has locked count until `until`, or for good.
    pub async fn claim_until(&mut self, booking: &Booking, until: Option<DateTime<Utc>>) -> Result<()> {
        self.lock_claimed(booking.business, &[booking.id]).await?;
        let (business, id) = (booking.business.to_string(), booking.id.to_string());
        let rows: Vec<(String,)> = fetch!(fetch_all, self, CLAIM_UNTIL, business, id, until.map(micros))?;
        self.claims_changed(booking.business, &rows)
    }

    /// Ends a hold that this transaction has locked, by the state it is to have: its claims no longer count.
    pub async fn end_hold(&mut self, booking: &mut Booking, step: Step, source: Source) -> Result<()> {
        booking.updated_at = self.now();
        self.lock_claimed(booking.business, &[booking.id]).await?;
        self.end_claims(booking).await?;
        self.update_booking(booking).await?;
        self.record_step(booking, step, source).await
    }
}
