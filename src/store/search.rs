//! Bookings found by whom they are for, and wrong tries to find them.

use chrono::{DateTime, Utc};

use super::{Error, Result, Sql, Tx, bookings::Booking, execute, fetch, instant, micros, parse};
use crate::{
    crypto::Cell,
    domain::{BookingId, BusinessId, tries::Tries},
};

/// By what bookings are looked for.
#[derive(Clone, PartialEq, Eq)]
pub enum Sought {
    /// The customer's number, E.164.
    Phone(String),
    /// The receptionist's own reference.
    Reference(String),
    /// The call in which they were made.
    Call(String),
}

// People's data never shows in `Debug`.
impl std::fmt::Debug for Sought {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Phone(_) => "Phone(..)",
            Self::Reference(_) => "Reference(..)",
            Self::Call(_) => "Call(..)",
        })
    }
}

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Confirmed ones that are not over yet.
    Upcoming,
    /// Also those that are over or were called off.
    All,
}

const T: &str = "search_try";
/// Most bookings that are looked at for one search: the latest.
const FOUND_MAX: i64 = 50;
/// So many bookings are opened for each search at least, whether or not there are any: how long it takes tells nobody
/// whether a number is known.
const OPENED_MIN: usize = 8;

macro_rules! find {
    ($column:literal) => {
        concat!(
            "SELECT id FROM booking WHERE business_id = $1 AND ",
            $column,
            " = $2
                AND ((state = 'confirmed' AND end_at > $3)
                     OR (CAST($4 AS BIGINT) = 1 AND state IN ('confirmed', 'completed', 'cancelled')))
              ORDER BY start_at DESC, id DESC LIMIT $5"
        )
    };
}
const BY_PHONE: Sql = Sql::same(find!("phone_index"));
const BY_REFERENCE: Sql = Sql::same(find!("reference"));
const BY_CALL: Sql = Sql::same(find!("call_id"));
/// Also locks the row on PostgreSQL, so that tries at once are counted one after the other.
const TAKE: Sql = Sql::same(
    "INSERT INTO search_try (business_id, subject, tries, since) VALUES ($1, $2, 0, $3)
     ON CONFLICT (business_id, subject) DO UPDATE SET tries = search_try.tries
     RETURNING tries, since",
);
const COUNT: Sql = Sql::same("UPDATE search_try SET tries = $3, since = $4 WHERE business_id = $1 AND subject = $2");
const FORGET: Sql = Sql::same("DELETE FROM search_try WHERE business_id = $1 AND subject = $2");
const PURGE: Sql = Sql::same("DELETE FROM search_try WHERE since < $1");
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("BY_PHONE", BY_PHONE),
    ("BY_REFERENCE", BY_REFERENCE),
    ("BY_CALL", BY_CALL),
    ("TAKE", TAKE),
    ("COUNT", COUNT),
    ("FORGET", FORGET),
    ("PURGE", PURGE),
];

impl Tx {
    /// The bookings that are sought, in the order of their starts. Finding nothing is about as much work as finding a few.
    pub async fn sought_bookings(
        &mut self,
        business: BusinessId,
        sought: &Sought,
        which: Which,
    ) -> Result<Vec<Booking>> {
        let (now, all) = (micros(self.now()), i64::from(which == Which::All));
        let tenant = business.to_string();
        let rows: Vec<(String,)> = match sought {
            Sought::Phone(number) => {
                let index = self.keys(business).await?.index.index(number).to_vec();
                fetch!(fetch_all, self, BY_PHONE, &tenant, &index, now, all, FOUND_MAX)?
            }
            Sought::Reference(text) => fetch!(fetch_all, self, BY_REFERENCE, &tenant, text, now, all, FOUND_MAX)?,
            Sought::Call(text) => fetch!(fetch_all, self, BY_CALL, &tenant, text, now, all, FOUND_MAX)?,
        };
        let mut found = Vec::with_capacity(rows.len());
        for (id,) in &rows {
            let id: BookingId = parse("booking", "id", id)?;
            found.extend(self.booking(business, id).await?);
        }
        found.reverse();
        self.open_nothing(business, OPENED_MIN.saturating_sub(found.len())).await?;
        Ok(found)
    }

    /// Reads and opens what is not there, so many times.
    async fn open_nothing(&mut self, business: BusinessId, times: usize) -> Result<()> {
        let keys = self.keys(business).await?;
        let cell = Cell { business, table: T, column: "nothing", row: "nobody" };
        let sealed = keys.data.seal(&cell, &[0; 160], &**self.chance());
        for _ in 0..times {
            let nobody = self.booking(business, BookingId::new(uuid::Uuid::nil())).await?;
            let opened = keys.data.open(&cell, &sealed)?;
            if nobody.is_some() || opened.len() != 160 {
                return Err(Error::Corrupt { table: T, column: "nothing", why: "there is something".to_owned() });
            }
        }
        Ok(())
    }

    /// The text under which tries to find this are counted; it does not tell what was sought.
    pub async fn subject_of_tries(&mut self, business: BusinessId, sought: &Sought) -> Result<String> {
        let text = match sought {
            Sought::Phone(number) => format!("search phone\0{number}"),
            Sought::Reference(text) => format!("search reference\0{text}"),
            Sought::Call(text) => format!("search call\0{text}"),
        };
        let index = self.keys(business).await?.index.index(&text);
        Ok(format!("about {}", data_encoding::HEXLOWER.encode(&index)))
    }

    /// The tries that were counted under `subject`. Nobody else counts there until this transaction ends.
    pub async fn lock_tries(&mut self, business: BusinessId, subject: &str) -> Result<Tries> {
        let now = micros(self.now());
        let (count, since): (i64, i64) = fetch!(fetch_one, self, TAKE, business.to_string(), subject, now)?;
        Ok(Tries { count, since: instant(T, "since", since)? })
    }

    /// Keeps the tries under `subject`.
    pub async fn keep_tries(&mut self, business: BusinessId, subject: &str, tries: Tries) -> Result<()> {
        execute!(self, COUNT, business.to_string(), subject, tries.count, micros(tries.since))?;
        Ok(())
    }

    /// Forgets the tries under `subject`.
    pub async fn forgive_tries(&mut self, business: BusinessId, subject: &str) -> Result<()> {
        execute!(self, FORGET, business.to_string(), subject)?;
        Ok(())
    }

    /// Forgets tries that were begun before `before`. Returns how many rows went.
    pub async fn forget_tries(&mut self, before: DateTime<Utc>) -> Result<u64> {
        execute!(self, PURGE, micros(before))
    }
}
