//! Bookings, from their hold to their end.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{Error, Result, Sql, Tx, cancellations::Gone, execute, fetch, instant, micros, parse};
use crate::{
    crypto::Cell,
    domain::{
        BookingId, BusinessId, CalendarId, Interval, ResourceId, ServiceId,
        booking::{Party, State},
        contact::{Email, Language},
    },
};

/// Whose visit it is. Sealed in the table.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// As they gave it.
    pub name: String,
    /// E.164.
    pub phone: String,
    /// Where confirmations may go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
    /// In which language to speak to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// What the receptionist noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
}

impl std::fmt::Debug for Customer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Customer(..)")
    }
}

/// Whether Google's calendar shows the booking as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CalendarSync {
    /// There is no calendar to write to.
    None,
    /// It goes out as soon as Google takes it.
    Pending,
    /// Google has it.
    Synced,
    /// Google refused it for good; a person must look.
    Failed,
}

impl CalendarSync {
    /// The word for it, in the table and in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pending => "pending",
            Self::Synced => "synced",
            Self::Failed => "failed",
        }
    }
}

/// What Google holds, or is being told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// The booking's version that it shows.
    pub version: i64,
    /// Its time.
    pub interval: Interval,
}

/// Where a booking's event is, or is to be, written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLink {
    /// The target calendar.
    pub calendar: CalendarId,
    /// The id that slotd derived.
    pub event_id: String,
    /// Rises whenever slotd itself removes the event or moves it to another calendar.
    pub generation: i64,
    /// A write that was begun and not settled.
    pub sent: Option<Content>,
    /// What Google is known to hold.
    pub written: Option<Content>,
    /// Its etag after that write.
    pub etag: Option<String>,
    /// The event is to be read again before anything is decided.
    pub recheck: bool,
    /// The event is gone, or seems so, and nothing was decided about the booking yet; or the owner keeps it all the same.
    pub gone: Option<Gone>,
}

impl EventLink {
    /// Whether no write was ever begun, so that an event with this id cannot be slotd's.
    #[must_use]
    pub const fn is_unsent(&self) -> bool {
        self.sent.is_none() && self.written.is_none() && self.gone.is_none()
    }

    /// Whether Google is told nothing, for there is no event and slotd makes none again.
    #[must_use]
    pub const fn is_silent(&self) -> bool {
        matches!(self.gone, Some(Gone::Found | Gone::Asked | Gone::Kept))
    }
}

/// A hold or booking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booking {
    /// The tenant.
    pub business: BusinessId,
    /// Its id, from the hold on.
    pub id: BookingId,
    /// Where it stands.
    pub state: State,
    /// The lead resource; the event is written to its target calendar.
    pub resource: ResourceId,
    /// What was booked, when not a bare time.
    pub service: Option<ServiceId>,
    /// When.
    pub interval: Interval,
    /// What its claim adds before.
    pub buffer_before: TimeDelta,
    /// What its claim adds after.
    pub buffer_after: TimeDelta,
    /// For whom; a hold may not know yet.
    pub customer: Option<Customer>,
    /// The receptionist's own reference.
    pub reference: Option<String>,
    /// In which call it was made.
    pub call_id: Option<String>,
    /// Rises with each change that Google must be told.
    pub version: i64,
    /// Its event, when there is a calendar to write to.
    pub link: Option<EventLink>,
    /// Whether Google shows it as it is.
    pub calendar_sync: CalendarSync,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct Row {
    business_id: String,
    id: String,
    state: String,
    state_at: i64,
    state_by: Option<String>,
    resource_id: String,
    service_id: Option<String>,
    start_at: i64,
    end_at: i64,
    before_us: i64,
    after_us: i64,
    customer: Option<Vec<u8>>,
    reference: Option<String>,
    call_id: Option<String>,
    version: i64,
    calendar_id: Option<String>,
    event_id: Option<String>,
    event_generation: i64,
    calendar_sync: String,
    sent_version: Option<i64>,
    sent_start_at: Option<i64>,
    sent_end_at: Option<i64>,
    written_version: Option<i64>,
    written_start_at: Option<i64>,
    written_end_at: Option<i64>,
    written_etag: Option<String>,
    recheck: i64,
    gone: Option<String>,
    created_at: i64,
    updated_at: i64,
}

const T: &str = "booking";
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT business_id, id, state, state_at, state_by, resource_id, service_id, start_at, end_at, before_us,
                    after_us, customer, reference, call_id, version, calendar_id, event_id, event_generation,
                    calendar_sync, sent_version, sent_start_at, sent_end_at, written_version, written_start_at,
                    written_end_at, written_etag, recheck, gone, created_at, updated_at
               FROM booking WHERE ",
            $rest
        )
    };
}
const INSERT: Sql = Sql::same(
    "INSERT INTO booking (business_id, id, state, state_at, state_by, resource_id, service_id, start_at, end_at,
                          before_us, after_us, customer, phone_index, reference, call_id, version, calendar_id,
                          event_id, event_generation, calendar_sync, recheck, created_at, updated_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, 0, $21, $22)",
);
const UPDATE: Sql = Sql::same(
    "UPDATE booking
        SET state = $3, state_at = $4, state_by = $5, resource_id = $6, service_id = $7, start_at = $8, end_at = $9,
            before_us = $10, after_us = $11, customer = $12, phone_index = $13, reference = $14, version = $15,
            calendar_id = $16, event_id = $17, event_generation = $18, calendar_sync = $19, sent_version = $20,
            sent_start_at = $21, sent_end_at = $22, written_version = $23, written_start_at = $24,
            written_end_at = $25, written_etag = $26, recheck = $27, updated_at = $28, gone = $29
      WHERE business_id = $1 AND id = $2",
);
const SELECT: Sql = Sql::same(select!("business_id = $1 AND id = $2"));
const LOCK: Sql = Sql {
    sqlite: select!("business_id = $1 AND id = $2"),
    postgres: select!("business_id = $1 AND id = $2 FOR UPDATE"),
};
const LIST: Sql = Sql::same(select!(
    "business_id = $1
        AND (start_at, id) > ($2, $3)
        AND (CAST($4 AS BIGINT) IS NULL OR start_at < $4)
        AND (CAST($5 AS TEXT) IS NULL OR state = $5)
        AND (CAST($6 AS TEXT) IS NULL OR call_id = $6)
        AND (CAST($7 AS TEXT) IS NULL OR reference = $7)
      ORDER BY start_at, id LIMIT $8"
));
const OF_EVENT: Sql = Sql::same("SELECT booking_id FROM booking_event WHERE business_id = $1 AND event_id = $2");
const TEXTS: Sql = Sql::same("SELECT written_texts FROM booking WHERE business_id = $1 AND id = $2");
const TEXTS_WRITTEN: Sql = Sql::same("UPDATE booking SET written_texts = $3 WHERE business_id = $1 AND id = $2");
const ADD_EVENT: Sql = Sql::same(
    "INSERT INTO booking_event (business_id, event_id, booking_id, calendar_id) VALUES ($1, $2, $3, $4)
     ON CONFLICT DO NOTHING",
);
const DERIVED: Sql =
    Sql::same("SELECT CAST(COUNT(*) AS BIGINT) FROM booking_event WHERE business_id = $1 AND booking_id = $2");
const LINKED: Sql = Sql::same(
    "SELECT id, event_id FROM booking
      WHERE business_id = $1 AND calendar_id = $2 AND state = 'confirmed' AND written_version IS NOT NULL
        AND gone IS NULL AND end_at > $3
      ORDER BY id",
);
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("INSERT", INSERT),
    ("UPDATE", UPDATE),
    ("SELECT", SELECT),
    ("LOCK", LOCK),
    ("LIST", LIST),
    ("OF_EVENT", OF_EVENT),
    ("TEXTS", TEXTS),
    ("TEXTS_WRITTEN", TEXTS_WRITTEN),
    ("ADD_EVENT", ADD_EVENT),
    ("DERIVED", DERIVED),
    ("LINKED", LINKED),
];

/// Which bookings to list, in the order of their starts.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only those that start at this instant or later.
    pub from: Option<DateTime<Utc>>,
    /// Only those that start before this instant.
    pub to: Option<DateTime<Utc>>,
    /// Only those in this state.
    pub state: Option<String>,
    /// Only those of this call.
    pub call_id: Option<String>,
    /// Only those with this reference of the receptionist's own.
    pub reference: Option<String>,
    /// Only those after this one.
    pub after: Option<(DateTime<Utc>, BookingId)>,
}

fn corrupt(column: &'static str, why: impl Into<String>) -> Error {
    Error::Corrupt { table: T, column, why: why.into() }
}

fn interval(column: &'static str, start: i64, end: i64) -> Result<Interval> {
    Interval::new(instant(T, column, start)?, instant(T, column, end)?).ok_or_else(|| corrupt(column, "empty interval"))
}

fn content(version: Option<i64>, start: Option<i64>, end: Option<i64>) -> Result<Option<Content>> {
    let (Some(version), Some(start), Some(end)) = (version, start, end) else { return Ok(None) };
    Ok(Some(Content { version, interval: interval("written_start_at", start, end)? }))
}

/// The state as three columns: its name, its instant, and who.
fn state_columns(state: State) -> (&'static str, i64, Option<&'static str>) {
    let at = match state {
        State::Held { until } => until,
        State::Confirmed { at }
        | State::Completed { at }
        | State::Cancelled { at, .. }
        | State::Expired { at }
        | State::Released { at } => at,
    };
    let by = match state {
        State::Cancelled { by: Party::Customer, .. } => Some("customer"),
        State::Cancelled { by: Party::Owner, .. } => Some("owner"),
        _ => None,
    };
    (state.as_str(), micros(at), by)
}

fn state(name: &str, at: DateTime<Utc>, by: Option<&str>) -> Result<State> {
    Ok(match (name, by) {
        ("held", _) => State::Held { until: at },
        ("confirmed", _) => State::Confirmed { at },
        ("completed", _) => State::Completed { at },
        ("cancelled", Some("customer")) => State::Cancelled { at, by: Party::Customer },
        ("cancelled", Some("owner")) => State::Cancelled { at, by: Party::Owner },
        ("expired", _) => State::Expired { at },
        ("released", _) => State::Released { at },
        (other, _) => return Err(corrupt("state", format!("`{other}`"))),
    })
}

const fn cell(business: BusinessId, row: &str) -> Cell<'_> {
    Cell { business, table: T, column: "customer", row }
}

impl Tx {
    async fn read_booking(&mut self, row: Row) -> Result<Booking> {
        let business = parse(T, "business_id", &row.business_id)?;
        let customer = match &row.customer {
            None => None,
            Some(sealed) => {
                let keys = self.keys(business).await?;
                let plain = keys.data.open(&cell(business, &row.id), sealed)?;
                Some(serde_json::from_slice(&plain).map_err(|error| corrupt("customer", error.to_string()))?)
            }
        };
        let link = match (row.calendar_id, row.event_id) {
            (Some(calendar), Some(event_id)) => Some(EventLink {
                calendar: parse(T, "calendar_id", &calendar)?,
                event_id,
                generation: row.event_generation,
                sent: content(row.sent_version, row.sent_start_at, row.sent_end_at)?,
                written: content(row.written_version, row.written_start_at, row.written_end_at)?,
                etag: row.written_etag,
                recheck: row.recheck == 1,
                gone: row.gone.map(|gone| parse(T, "gone", &gone)).transpose()?,
            }),
            _ => None,
        };
        Ok(Booking {
            business,
            id: parse(T, "id", &row.id)?,
            state: state(&row.state, instant(T, "state_at", row.state_at)?, row.state_by.as_deref())?,
            resource: parse(T, "resource_id", &row.resource_id)?,
            service: row.service_id.map(|id| parse(T, "service_id", &id)).transpose()?,
            interval: interval("start_at", row.start_at, row.end_at)?,
            buffer_before: TimeDelta::microseconds(row.before_us),
            buffer_after: TimeDelta::microseconds(row.after_us),
            customer,
            reference: row.reference,
            call_id: row.call_id,
            version: row.version,
            link,
            calendar_sync: match row.calendar_sync.as_str() {
                "none" => CalendarSync::None,
                "pending" => CalendarSync::Pending,
                "synced" => CalendarSync::Synced,
                "failed" => CalendarSync::Failed,
                other => return Err(corrupt("calendar_sync", format!("`{other}`"))),
            },
            created_at: instant(T, "created_at", row.created_at)?,
            updated_at: instant(T, "updated_at", row.updated_at)?,
        })
    }

    /// The customer, sealed, and the index by which the phone number is found.
    async fn seal_customer(&mut self, booking: &Booking) -> Result<(Option<Vec<u8>>, Option<Vec<u8>>)> {
        let Some(customer) = &booking.customer else { return Ok((None, None)) };
        let keys = self.keys(booking.business).await?;
        let plain = serde_json::to_vec(customer).map_err(|error| corrupt("customer", error.to_string()))?;
        let id = booking.id.to_string();
        let sealed = keys.data.seal(&cell(booking.business, &id), &plain, &**self.chance());
        Ok((Some(sealed), Some(keys.index.index(&customer.phone).to_vec())))
    }

    /// Adds a booking. Its claims are added with [`Tx::insert_claim`], its event id with [`Tx::own_event`].
    pub async fn insert_booking(&mut self, booking: &Booking) -> Result<()> {
        let (customer, phone_index) = self.seal_customer(booking).await?;
        let (state, state_at, state_by) = state_columns(booking.state);
        execute!(
            self,
            INSERT,
            booking.business.to_string(),
            booking.id.to_string(),
            state,
            state_at,
            state_by,
            booking.resource.to_string(),
            booking.service.map(|id| id.to_string()),
            micros(booking.interval.start()),
            micros(booking.interval.end()),
            booking.buffer_before.num_microseconds().unwrap_or_default(),
            booking.buffer_after.num_microseconds().unwrap_or_default(),
            &customer,
            &phone_index,
            booking.reference.as_deref(),
            booking.call_id.as_deref(),
            booking.version,
            booking.link.as_ref().map(|link| link.calendar.to_string()),
            booking.link.as_ref().map(|link| link.event_id.as_str()),
            booking.link.as_ref().map_or(0, |link| link.generation),
            booking.calendar_sync.as_str(),
            micros(booking.created_at),
            micros(booking.updated_at),
        )?;
        Ok(())
    }

    /// Saves a booking that this transaction has locked.
    pub async fn update_booking(&mut self, booking: &Booking) -> Result<()> {
        let (customer, phone_index) = self.seal_customer(booking).await?;
        let (state, state_at, state_by) = state_columns(booking.state);
        let link = booking.link.as_ref();
        let (sent, written) = (link.and_then(|link| link.sent), link.and_then(|link| link.written));
        execute!(
            self,
            UPDATE,
            booking.business.to_string(),
            booking.id.to_string(),
            state,
            state_at,
            state_by,
            booking.resource.to_string(),
            booking.service.map(|id| id.to_string()),
            micros(booking.interval.start()),
            micros(booking.interval.end()),
            booking.buffer_before.num_microseconds().unwrap_or_default(),
            booking.buffer_after.num_microseconds().unwrap_or_default(),
            &customer,
            &phone_index,
            booking.reference.as_deref(),
            booking.version,
            link.map(|link| link.calendar.to_string()),
            link.map(|link| link.event_id.as_str()),
            link.map_or(0, |link| link.generation),
            booking.calendar_sync.as_str(),
            sent.map(|sent| sent.version),
            sent.map(|sent| micros(sent.interval.start())),
            sent.map(|sent| micros(sent.interval.end())),
            written.map(|written| written.version),
            written.map(|written| micros(written.interval.start())),
            written.map(|written| micros(written.interval.end())),
            link.and_then(|link| link.etag.as_deref()),
            i64::from(link.is_some_and(|link| link.recheck)),
            micros(booking.updated_at),
            link.and_then(|link| link.gone).map(Gone::as_str),
        )?;
        Ok(())
    }

    /// The booking with this id.
    pub async fn booking(&mut self, business: BusinessId, id: BookingId) -> Result<Option<Booking>> {
        let row: Option<Row> = fetch!(fetch_optional, self, SELECT, business.to_string(), id.to_string())?;
        match row {
            Some(row) => self.read_booking(row).await.map(Some),
            None => Ok(None),
        }
    }

    /// The booking with this id, which nobody else can change until this transaction ends.
    pub async fn lock_booking(&mut self, business: BusinessId, id: BookingId) -> Result<Option<Booking>> {
        let row: Option<Row> = fetch!(fetch_optional, self, LOCK, business.to_string(), id.to_string())?;
        match row {
            Some(row) => self.read_booking(row).await.map(Some),
            None => Ok(None),
        }
    }

    /// Up to `limit` bookings in the order of their starts.
    pub async fn bookings(&mut self, business: BusinessId, filter: &Filter, limit: usize) -> Result<Vec<Booking>> {
        let (after, after_id) = match (filter.after, filter.from) {
            (Some((start, id)), _) => (micros(start), id.to_string()),
            // No id is smaller than the empty text.
            (None, from) => (from.map_or(i64::MIN, micros), String::new()),
        };
        let rows: Vec<Row> = fetch!(
            fetch_all,
            self,
            LIST,
            business.to_string(),
            after,
            &after_id,
            filter.to.map(micros),
            filter.state.as_deref(),
            filter.call_id.as_deref(),
            filter.reference.as_deref(),
            i64::try_from(limit).unwrap_or(i64::MAX),
        )?;
        let mut bookings = Vec::with_capacity(rows.len());
        for row in rows {
            bookings.push(self.read_booking(row).await?);
        }
        Ok(bookings)
    }

    /// Notes that slotd derived this event id, so that the event never counts as the owner's.
    pub async fn own_event(&mut self, booking: &Booking) -> Result<()> {
        let Some(link) = &booking.link else { return Ok(()) };
        execute!(
            self,
            ADD_EVENT,
            booking.business.to_string(),
            &link.event_id,
            booking.id.to_string(),
            link.calendar.to_string()
        )?;
        Ok(())
    }

    /// The fingerprint of the title and description that slotd wrote last, by which it tells its own changes of them from
    /// the owner's.
    pub async fn written_texts(&mut self, business: BusinessId, id: BookingId) -> Result<Option<Vec<u8>>> {
        let row: Option<(Option<Vec<u8>>,)> =
            fetch!(fetch_optional, self, TEXTS, business.to_string(), id.to_string())?;
        Ok(row.and_then(|(texts,)| texts))
    }

    /// Notes the title and description of an event as slotd wrote them.
    pub async fn texts_written(&mut self, business: BusinessId, id: BookingId, fingerprint: &[u8]) -> Result<()> {
        execute!(self, TEXTS_WRITTEN, business.to_string(), id.to_string(), fingerprint)?;
        Ok(())
    }

    /// The booking for which slotd derived this event id.
    pub async fn booking_of_event(&mut self, business: BusinessId, event_id: &str) -> Result<Option<BookingId>> {
        let row: Option<(String,)> = fetch!(fetch_optional, self, OF_EVENT, business.to_string(), event_id)?;
        row.map(|(id,)| parse("booking_event", "booking_id", &id)).transpose()
    }

    /// How many event ids slotd derived for a booking so far: the generation of the next one.
    pub async fn event_ids_derived(&mut self, business: BusinessId, booking: BookingId) -> Result<i64> {
        let (count,): (i64,) = fetch!(fetch_one, self, DERIVED, business.to_string(), booking.to_string())?;
        Ok(count)
    }

    /// The upcoming bookings that Google is known to hold in this calendar, with their event ids.
    pub async fn written_bookings(
        &mut self,
        business: BusinessId,
        calendar: CalendarId,
    ) -> Result<Vec<(BookingId, String)>> {
        let now = micros(self.now());
        let rows: Vec<(String, String)> =
            fetch!(fetch_all, self, LINKED, business.to_string(), calendar.to_string(), now)?;
        rows.into_iter().map(|(id, event)| Ok((parse(T, "id", &id)?, event))).collect()
    }
}
