//! What calls were offered, and who has taken it.

use chrono::{DateTime, Utc};

use super::{Error, Result, Sql, Tx, changes::Part, execute, fetch, instant, micros, parse};
use crate::domain::{BookingId, BusinessId, Interval, ResourceId, ServiceId};

/// Most slots that are remembered of one call; the latest are.
pub const OFFERS_OF_CALL_MAX: usize = 50;

/// A slot that a call was told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offer {
    /// When.
    pub interval: Interval,
    /// With whom.
    pub resource: ResourceId,
    /// Of what; absent for a bare time.
    pub service: Option<ServiceId>,
}

/// An offer and when it was made last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered {
    /// The slot.
    pub offer: Offer,
    /// When it was told last.
    pub at: DateTime<Utc>,
}

/// A claim, and on whose behalf it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taker {
    /// Of which resource.
    pub resource: ResourceId,
    /// By which hold or booking.
    pub booking: BookingId,
    /// When, buffers included.
    pub interval: Interval,
    /// In which call; absent when it was made in none.
    pub call_id: Option<String>,
    /// The owner put it there.
    pub forced: bool,
    /// Of a hold: from then on it no longer counts.
    pub expires_at: Option<DateTime<Utc>>,
}

/// The resource, the booking, from when to when, the call, whether the owner put it there, until when it counts.
type TakerRow = (String, String, i64, i64, Option<String>, i64, Option<i64>);

const T: &str = "call_offer";
const REMEMBER: Sql = Sql::same(
    "INSERT INTO call_offer (business_id, call_id, resource_id, start_at, end_at, service_id, offered_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7)
     ON CONFLICT (business_id, call_id, resource_id, start_at, end_at) DO UPDATE
        SET service_id = excluded.service_id, offered_at = excluded.offered_at",
);
const KEEP_LATEST: Sql = Sql::same(
    "DELETE FROM call_offer
      WHERE business_id = $1 AND call_id = $2
        AND (resource_id, start_at, end_at) NOT IN
            (SELECT resource_id, start_at, end_at FROM call_offer
              WHERE business_id = $1 AND call_id = $2
              ORDER BY offered_at DESC, start_at, resource_id, end_at LIMIT $3)",
);
const OF_CALL: Sql = Sql::same(
    "SELECT resource_id, start_at, end_at, service_id, offered_at FROM call_offer
      WHERE business_id = $1 AND call_id = $2 AND offered_at > $3 ORDER BY start_at, resource_id, end_at",
);
const FORGET_CALL: Sql = Sql::same("DELETE FROM call_offer WHERE business_id = $1 AND call_id = $2");
const FORGET: Sql = Sql::same("DELETE FROM call_offer WHERE offered_at < $1");
/// The bound of a week is that of claims.
const TAKERS: Sql = Sql::same(
    "SELECT c.resource_id, c.booking_id, c.start_at, c.end_at, b.call_id, c.forced, c.expires_at
       FROM claim c JOIN booking b ON b.business_id = c.business_id AND b.id = c.booking_id
      WHERE c.business_id = $1 AND c.active = 1
        AND c.start_at < $3 AND c.start_at > $2 - 604800000000 AND c.end_at > $2
        AND (c.expires_at IS NULL OR c.expires_at > $4)
      ORDER BY c.start_at",
);
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("REMEMBER", REMEMBER),
    ("KEEP_LATEST", KEEP_LATEST),
    ("OF_CALL", OF_CALL),
    ("FORGET_CALL", FORGET_CALL),
    ("FORGET", FORGET),
    ("TAKERS", TAKERS),
];

fn interval(table: &'static str, start: i64, end: i64) -> Result<Interval> {
    let empty = || Error::Corrupt { table, column: "end_at", why: "it ends before it starts".into() };
    Interval::new(instant(table, "start_at", start)?, instant(table, "end_at", end)?).ok_or_else(empty)
}

impl Tx {
    /// Remembers what a call was told of, and only the latest [`OFFERS_OF_CALL_MAX`] of all that it was.
    pub async fn remember_offers(&mut self, business: BusinessId, call_id: &str, offers: &[Offer]) -> Result<()> {
        let (of, now) = (business.to_string(), micros(self.now()));
        for offer in offers.iter().take(OFFERS_OF_CALL_MAX) {
            execute!(
                self,
                REMEMBER,
                &of,
                call_id,
                offer.resource.to_string(),
                micros(offer.interval.start()),
                micros(offer.interval.end()),
                offer.service.map(|id| id.to_string()),
                now,
            )?;
        }
        execute!(self, KEEP_LATEST, &of, call_id, i64::try_from(OFFERS_OF_CALL_MAX).unwrap_or(i64::MAX))?;
        self.changed(business, Part::Calls);
        Ok(())
    }

    /// What a call was told of after `since`, in the order of the starts.
    pub async fn offers_of_call(
        &mut self,
        business: BusinessId,
        call_id: &str,
        since: DateTime<Utc>,
    ) -> Result<Vec<Remembered>> {
        let rows: Vec<(String, i64, i64, Option<String>, i64)> =
            fetch!(fetch_all, self, OF_CALL, business.to_string(), call_id, micros(since))?;
        rows.into_iter()
            .map(|(resource, start, end, service, at)| {
                let offer = Offer {
                    interval: interval(T, start, end)?,
                    resource: parse(T, "resource_id", &resource)?,
                    service: service.map(|id| parse(T, "service_id", &id)).transpose()?,
                };
                Ok(Remembered { offer, at: instant(T, "offered_at", at)? })
            })
            .collect()
    }

    /// Forgets what a call was told of: it is over.
    pub(super) async fn forget_offers_of_call(&mut self, business: BusinessId, call_id: &str) -> Result<()> {
        execute!(self, FORGET_CALL, business.to_string(), call_id)?;
        self.changed(business, Part::Calls);
        Ok(())
    }

    /// Forgets what calls were told of before `at`.
    pub async fn forget_offers(&mut self, at: DateTime<Utc>) -> Result<u64> {
        execute!(self, FORGET, micros(at))
    }

    /// Who has taken any of `window` at `now`, of all resources, in the order of the starts.
    pub async fn takers(&mut self, business: BusinessId, window: Interval, now: DateTime<Utc>) -> Result<Vec<Taker>> {
        let (from, to) = (micros(window.start()), micros(window.end()));
        let rows: Vec<TakerRow> = fetch!(fetch_all, self, TAKERS, business.to_string(), from, to, micros(now))?;
        rows.into_iter()
            .map(|(resource, booking, start, end, call_id, forced, expires)| {
                Ok(Taker {
                    resource: parse("claim", "resource_id", &resource)?,
                    booking: parse("claim", "booking_id", &booking)?,
                    interval: interval("claim", start, end)?,
                    call_id,
                    forced: forced != 0,
                    expires_at: expires.map(|at| instant("claim", "expires_at", at)).transpose()?,
                })
            })
            .collect()
    }
}
