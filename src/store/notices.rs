//! What the business's own programs are owed: one row for each message and endpoint, written with its cause.
//!
//! Unlike a delivery to Google (`outbox.rs`), which says that something changed and is made from the present state, a
//! notice is a message of its own: it says what was true when it was written, none is left out, and those about one
//! booking reach an endpoint in their order. One that was given up no longer holds up those behind it.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};

use super::{
    Error, Result, Sql, Tx, bookings::Booking, claims::Source, endpoints::Endpoint, execute, fetch, instant, micros,
    parse, turns::rows,
};
use crate::{
    crypto::Cell,
    domain::{AccountId, BookingId, BusinessId, CalendarId, Interval, id::DeliveryId, id::EndpointId, notice::Kind},
};

/// The version of the messages' form. Fields may be added to it; nothing is renamed or taken away.
const FORM: i64 = 1;

/// Something that the business's own programs should know.
#[derive(Debug, Clone, Copy)]
pub struct Announcement<'a> {
    /// What it is about.
    pub kind: Kind,
    /// Who did it.
    pub source: Source,
    /// The booking as it is now, locked by this transaction.
    pub booking: Option<&'a Booking>,
    /// Its time before.
    pub previous: Option<Interval>,
    /// The booking that it meets.
    pub meets: Option<BookingId>,
    /// The calendar, if it is about one.
    pub calendar: Option<CalendarId>,
    /// The account, if it is about one.
    pub account: Option<AccountId>,
    /// Why, in words without personal data.
    pub why: Option<&'a str>,
}

impl<'a> Announcement<'a> {
    /// About a booking.
    #[must_use]
    pub const fn booking(kind: Kind, source: Source, booking: &'a Booking) -> Self {
        Self { booking: Some(booking), ..Self::new(kind, source) }
    }

    /// About a whole business.
    #[must_use]
    pub const fn new(kind: Kind, source: Source) -> Self {
        Self { kind, source, booking: None, previous: None, meets: None, calendar: None, account: None, why: None }
    }

    /// What it is about: its notices reach an endpoint in their order.
    fn subject(&self) -> String {
        match (self.booking, self.calendar, self.account) {
            (Some(booking), _, _) => booking.id.to_string(),
            (None, Some(calendar), _) => calendar.to_string(),
            (None, None, Some(account)) => account.to_string(),
            (None, None, None) => String::new(),
        }
    }

    /// What endpoints are sent, in the zone of the booking or business.
    fn message(&self, business: BusinessId, zone: Tz, at: DateTime<Utc>, personal: bool) -> Value {
        let local = |at: DateTime<Utc>| at.with_timezone(&zone).to_rfc3339_opts(SecondsFormat::AutoSi, false);
        let time = |time: Interval| json!({ "start": local(time.start()), "end": local(time.end()) });
        let mut data = json!({ "business_id": business, "source": self.source.as_str(), "time_zone": zone.name() });
        if let Some(booking) = self.booking {
            data["booking"] = json!({
                "id": booking.id,
                "status": booking.state.as_str(),
                "start": local(booking.interval.start()),
                "end": local(booking.interval.end()),
                "resource": booking.resource,
                "service": booking.service,
                "call_id": booking.call_id,
                "calendar_sync": booking.calendar_sync,
                "version": booking.version,
            });
            if personal {
                data["booking"]["customer"] = json!(booking.customer);
                data["booking"]["reference"] = json!(booking.reference);
            }
        }
        let others = [
            ("previous", self.previous.map(time)),
            ("meets", self.meets.map(|id| json!(id))),
            ("calendar_id", self.calendar.map(|id| json!(id))),
            ("account_id", self.account.map(|id| json!(id))),
            ("why", self.why.map(|why| json!(why))),
        ];
        for (name, value) in others {
            if let Some(value) = value {
                data[name] = value;
            }
        }
        json!({ "type": self.kind.as_str(), "form": FORM, "timestamp": local(at), "data": data })
    }
}

/// A notice that this node has taken on.
#[derive(Clone, PartialEq, Eq)]
pub struct Notice {
    /// The tenant.
    pub business: BusinessId,
    /// Its id, which stays the same for every try.
    pub id: DeliveryId,
    /// To whom.
    pub endpoint: EndpointId,
    /// The word for what it is about.
    pub kind: String,
    /// What is sent, JSON.
    pub payload: String,
    /// Under which lease.
    pub fence: i64,
    /// Tries so far, this one included.
    pub attempts: i64,
}

impl std::fmt::Debug for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut notice = f.debug_struct("Notice");
        notice.field("id", &self.id).field("kind", &self.kind).field("attempts", &self.attempts).finish_non_exhaustive()
    }
}

type ClaimRow = (String, String, String, String, Vec<u8>, i64, i64);

const T: &str = "notice";
const INSERT: Sql = Sql::same(
    "INSERT INTO notice (business_id, id, endpoint_id, kind, subject, seq, payload, due_at, lease_until, fence, attempts,
                         dead, told, created_at)
     VALUES ($1, $2, $3, $4, $5,
             (SELECT COALESCE(MAX(n.seq), 0) + 1 FROM notice n
               WHERE n.business_id = $1 AND n.endpoint_id = $3 AND n.subject = $5),
             $6, $7, 0, 0, 0, 0, 0, $7)",
);
/// Those whose turn it is: the first about each booking that an endpoint was not told, at most so many of one endpoint at a
/// time, and the endpoints one after the other.
macro_rules! queue {
    () => {
        "SELECT d.business_id, d.id, d.due_at,
                d.held + ROW_NUMBER() OVER (PARTITION BY d.business_id, d.endpoint_id ORDER BY d.due_at, d.seq) AS turn
           FROM (SELECT n.business_id, n.id, n.endpoint_id, n.due_at, n.seq, COALESCE(h.held, 0) AS held
                   FROM notice n
                   LEFT JOIN webhook_endpoint e ON e.business_id = n.business_id AND e.id = n.endpoint_id
                   LEFT JOIN (SELECT business_id, endpoint_id, COUNT(*) AS held FROM notice
                               WHERE lease_until > 0 AND lease_until > $1 GROUP BY business_id, endpoint_id) h
                     ON h.business_id = n.business_id AND h.endpoint_id = n.endpoint_id
                  WHERE n.dead = 0 AND n.due_at <= $3 AND n.lease_until <= $1 AND COALESCE(e.paused_until, 0) <= $3
                    AND NOT EXISTS (SELECT 1 FROM notice b
                                     WHERE b.business_id = n.business_id AND b.endpoint_id = n.endpoint_id
                                       AND b.subject = n.subject AND b.dead = 0
                                       AND (b.seq < n.seq OR (b.seq = n.seq AND b.id < n.id)))) d"
    };
}
/// The attempt is counted before it is made, so a notice that kills the process still runs out of attempts.
const CLAIM: Sql = Sql {
    sqlite: concat!(
        "UPDATE notice SET lease_until = $2, fence = fence + 1, attempts = attempts + 1
          WHERE (business_id, id) IN (SELECT q.business_id, q.id FROM (",
        queue!(),
        ") q WHERE q.turn <= $5 ORDER BY q.turn, q.due_at LIMIT $4)
      RETURNING business_id, id, endpoint_id, kind, payload, fence, attempts"
    ),
    postgres: concat!(
        "UPDATE notice SET lease_until = $2, fence = fence + 1, attempts = attempts + 1
          WHERE (business_id, id) IN (
                SELECT n.business_id, n.id FROM notice n
                  JOIN (",
        queue!(),
        ") q ON q.business_id = n.business_id AND q.id = n.id
                 WHERE n.dead = 0 AND n.due_at <= $3 AND n.lease_until <= $1 AND q.turn <= $5
                 ORDER BY q.turn, q.due_at LIMIT $4 FOR UPDATE OF n SKIP LOCKED)
      RETURNING business_id, id, endpoint_id, kind, payload, fence, attempts"
    ),
};
const HELD: Sql = Sql {
    sqlite: "SELECT fence FROM notice WHERE business_id = $1 AND id = $2 AND lease_until > 0",
    postgres: "SELECT fence FROM notice WHERE business_id = $1 AND id = $2 AND lease_until > 0 FOR UPDATE",
};
const DONE: Sql = Sql::same("DELETE FROM notice WHERE business_id = $1 AND id = $2 AND fence = $3");
const AGAIN: Sql = Sql::same(
    "UPDATE notice SET due_at = $4, lease_until = 0, last_error = $5 WHERE business_id = $1 AND id = $2 AND fence = $3",
);
const DEAD: Sql = Sql::same(
    "UPDATE notice SET dead = 1, told = 0, lease_until = 0, last_error = $4
      WHERE business_id = $1 AND id = $2 AND fence = $3",
);
/// What is in flight is settled by whoever has it.
const GIVE_UP: Sql = Sql::same(
    "UPDATE notice SET dead = 1, told = 0, last_error = 'the endpoint is disabled'
      WHERE business_id = $1 AND endpoint_id = $2 AND dead = 0 AND lease_until <= $3",
);
const NEXT_DUE: Sql = Sql::same(
    "SELECT MIN(CASE WHEN COALESCE(e.paused_until, 0) > n.due_at THEN e.paused_until ELSE n.due_at END)
       FROM notice n LEFT JOIN webhook_endpoint e ON e.business_id = n.business_id AND e.id = n.endpoint_id
      WHERE n.dead = 0 AND n.lease_until <= $1
        AND NOT EXISTS (SELECT 1 FROM notice b
                         WHERE b.business_id = n.business_id AND b.endpoint_id = n.endpoint_id
                           AND b.subject = n.subject AND b.dead = 0
                           AND (b.seq < n.seq OR (b.seq = n.seq AND b.id < n.id)))",
);
const DEPTH: Sql = Sql::same(
    "SELECT CAST(COUNT(*) AS BIGINT), CAST(COALESCE(SUM(dead), 0) AS BIGINT),
            MIN(CASE WHEN dead = 0 THEN created_at END)
       FROM notice",
);
pub(super) const END_NOTICES: Sql = Sql::same("UPDATE notice SET lease_until = 0 WHERE lease_until > 0");
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("INSERT", INSERT),
    ("CLAIM", CLAIM),
    ("HELD", HELD),
    ("DONE", DONE),
    ("AGAIN", AGAIN),
    ("DEAD", DEAD),
    ("GIVE_UP", GIVE_UP),
    ("NEXT_DUE", NEXT_DUE),
    ("DEPTH", DEPTH),
    ("END_NOTICES", END_NOTICES),
];

fn cell(business: BusinessId, row: &str) -> Cell<'_> {
    Cell { business, table: T, column: "payload", row }
}

impl Tx {
    /// Owes a notice to each endpoint of the business that wants to know, from the commit of this transaction on.
    ///
    /// Steps of a booking's history announce themselves ([`Tx::record_step`]).
    pub async fn announce(&mut self, business: BusinessId, announcement: Announcement<'_>) -> Result<()> {
        let endpoints = self.endpoints(business).await?;
        let wanting: Vec<Endpoint> = endpoints
            .into_iter()
            .filter(|endpoint| endpoint.disabled.is_none() && endpoint.wants(announcement.kind))
            .collect();
        if wanting.is_empty() {
            return Ok(());
        }
        let zone = self.zone_of_notice(business, announcement.booking).await?;
        for endpoint in wanting {
            self.owe_notice(&endpoint, &announcement, zone).await?;
        }
        Ok(())
    }

    /// Owes a test to one endpoint. Returns the id of its delivery.
    pub async fn ping_endpoint(&mut self, endpoint: &Endpoint) -> Result<DeliveryId> {
        let zone = self.zone_of_notice(endpoint.business, None).await?;
        self.owe_notice(endpoint, &Announcement::new(Kind::Ping, Source::Slotd), zone).await
    }

    async fn zone_of_notice(&mut self, business: BusinessId, booking: Option<&Booking>) -> Result<Tz> {
        let general = self.business(business).await?.ok_or(Error::NoBusiness)?.time_zone;
        let Some(booking) = booking else { return Ok(general) };
        let resources = self.resources(business).await?;
        let own = resources.iter().find(|known| known.id == booking.resource).and_then(|known| known.time_zone);
        Ok(own.unwrap_or(general))
    }

    async fn owe_notice(&mut self, to: &Endpoint, what: &Announcement<'_>, zone: Tz) -> Result<DeliveryId> {
        let (business, now) = (to.business, self.now());
        let id = DeliveryId::new(self.chance().uuid(now));
        let row = id.to_string();
        let message = what.message(business, zone, now, to.personal_data).to_string();
        let sealed = self.keys(business).await?.data.seal(&cell(business, &row), message.as_bytes(), &**self.chance());
        let (to, kind, subject) = (to.id.to_string(), what.kind.as_str(), what.subject());
        execute!(self, INSERT, business.to_string(), row, to, kind, subject, &sealed, micros(now))?;
        self.announces = true;
        Ok(id)
    }

    /// Takes up to `limit` due notices, each for `lease`, at most `per_endpoint` of one endpoint at a time, those in flight
    /// included. Deliver after committing, never before.
    pub async fn claim_notices(&mut self, lease: Duration, limit: usize, per_endpoint: usize) -> Result<Vec<Notice>> {
        let now = self.lease_time().await?;
        let (until, due) = (micros(now + lease), micros(self.now()));
        let claimed: Vec<ClaimRow> =
            fetch!(fetch_all, self, CLAIM, micros(now), until, due, rows(limit), rows(per_endpoint))?;
        let mut notices = Vec::with_capacity(claimed.len());
        for (business, id, endpoint, kind, payload, fence, attempts) in claimed {
            let business = parse(T, "business_id", &business)?;
            let plain = self.keys(business).await?.data.open(&cell(business, &id), &payload)?;
            notices.push(Notice {
                business,
                id: parse(T, "id", &id)?,
                endpoint: parse(T, "endpoint_id", &endpoint)?,
                kind,
                payload: String::from_utf8_lossy(&plain).into_owned(),
                fence,
                attempts,
            });
        }
        Ok(notices)
    }

    /// Whether this node still has the notice, which nobody else can take until this transaction ends.
    pub async fn holds_notice(&mut self, notice: &Notice) -> Result<bool> {
        let row: Option<(i64,)> =
            fetch!(fetch_optional, self, HELD, notice.business.to_string(), notice.id.to_string())?;
        Ok(row.is_some_and(|(fence,)| fence == notice.fence))
    }

    /// Ends a notice: its endpoint has it, or is gone.
    pub async fn noticed(&mut self, notice: &Notice) -> Result<()> {
        execute!(self, DONE, notice.business.to_string(), notice.id.to_string(), notice.fence)?;
        Ok(())
    }

    /// Puts a notice back, to be tried again at `due_at`.
    pub async fn notice_later(&mut self, notice: &Notice, due_at: DateTime<Utc>, why: &str) -> Result<()> {
        let (business, id) = (notice.business.to_string(), notice.id.to_string());
        execute!(self, AGAIN, business, id, notice.fence, micros(due_at), why)?;
        Ok(())
    }

    /// Gives a notice up. It stays visible until a person asks for it again.
    pub async fn give_notice_up(&mut self, notice: &Notice, why: &str) -> Result<()> {
        execute!(self, DEAD, notice.business.to_string(), notice.id.to_string(), notice.fence, why)?;
        self.announces = true;
        Ok(())
    }

    /// Gives up all that an endpoint was to be told and that is not in flight.
    pub(super) async fn give_endpoint_up(&mut self, business: BusinessId, endpoint: EndpointId) -> Result<()> {
        let now = micros(self.lease_time().await?);
        execute!(self, GIVE_UP, business.to_string(), endpoint.to_string(), now)?;
        Ok(())
    }

    /// When the next notice is due whose turn it is and that nobody works on.
    pub async fn next_notice_at(&mut self) -> Result<Option<DateTime<Utc>>> {
        let leases = micros(self.lease_time().await?);
        let (due,): (Option<i64>,) = fetch!(fetch_one, self, NEXT_DUE, leases)?;
        due.map(|at| instant(T, "due_at", at)).transpose()
    }

    /// How many notices wait, of all businesses.
    pub async fn notice_depth(&mut self) -> Result<super::outbox::Depth> {
        let (all, dead, oldest): (i64, i64, Option<i64>) = fetch!(fetch_one, self, DEPTH)?;
        let oldest = oldest.map(|at| instant(T, "created_at", at)).transpose()?;
        Ok(super::outbox::Depth { waiting: all - dead, dead, oldest })
    }
}
