//! The database: SQLite embedded by default, PostgreSQL when many nodes share it.
//!
//! One file for each table or small family of tables, as inherent methods on [`Tx`]. One SQL text serves both engines;
//! a pair of texts stands only where they really differ. Work runs through [`Store::write`] and [`Store::read`], which
//! give each transaction a task of its own: a client that hangs up cannot cut one in half.

mod engine;
mod gate;
mod sql;

pub mod accounts;
pub mod api_keys;
pub mod audits;
pub mod bookings;
pub mod bulk;
pub mod businesses;
pub mod busy;
pub mod calendar_lists;
pub mod calendars;
pub mod calls;
pub mod cancellations;
pub mod causes;
pub mod changes;
pub mod channels;
pub mod claims;
pub mod conflicts;
pub mod deliveries;
pub mod elsewhere;
pub mod endpoints;
pub mod events;
pub mod follow;
pub mod guests;
pub mod holds;
pub mod idempotency;
pub mod leases;
pub mod limited;
mod log;
pub mod notices;
pub mod oauth_states;
pub mod offers;
pub mod operator;
pub mod outbox;
pub mod overrides;
pub mod quota;
pub mod resources;
pub mod search;
pub mod services;
pub mod survey;
mod together;
pub mod turns;
mod turnstile;

use chrono::{DateTime, Utc};

pub use engine::{Options, Schema, Store, Tx, work};
pub use gate::Lane;
pub use sql::Sql;
pub(crate) use sql::{execute, fetch};
pub use turnstile::{Moment, Turnstile};

use crate::crypto;

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The driver or the server said no.
    #[error("database: {0}")]
    Driver(#[source] sqlx::Error),
    /// The database does not answer, or ended the connection. What was under way may have been committed.
    #[error("the database cannot be reached: {0}")]
    Unreachable(#[source] sqlx::Error),
    /// The constraint behind the lock stopped two claims from meeting.
    #[error("two claims of one resource would overlap")]
    Overlap,
    /// Two transactions stood in each other's way, or one waited too long; nothing was changed, and trying again helps.
    #[error("the database was too busy with others")]
    Contended,
    /// A row with this key is there already.
    #[error("a row with this key exists")]
    Exists,
    /// A row holds what this version cannot have written.
    #[error("table {table}, column {column}: a stored value cannot be read: {why}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// What is wrong with it; never the value.
        why: String,
    },
    /// A sealed column does not open with the keys at hand.
    #[error("a sealed value cannot be opened: {0}")]
    Sealed(#[from] crypto::CryptoError),
    /// The lease that this work was done under has passed to somebody else; nothing was changed.
    #[error("the lease was lost")]
    LeaseLost,
    /// There is no such business.
    #[error("there is no such business")]
    NoBusiness,
    /// The database cannot be opened.
    #[error("cannot open the database: {0}")]
    Open(String),
    /// The transaction that this work shared with that of others could not be committed. Nothing was changed.
    #[error("the transaction could not be committed: {0}")]
    NotCommitted(std::sync::Arc<sqlx::Error>),
    /// The task of a transaction died. It was rolled back.
    #[error("a transaction died")]
    Died,
}

/// PostgreSQL's codes for a serialization failure, a deadlock, a lock that was not had in time, and a statement that took
/// too long.
const CONTENDED: [&str; 4] = ["40001", "40P01", "55P03", "57014"];

/// PostgreSQL's codes for a server that ends, has crashed, or is not up yet.
const GONE: [&str; 3] = ["57P01", "57P02", "57P03"];

/// Whether an error is about the way to the database, and not about what was asked of it.
fn is_unreachable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => true,
        // Class 08: connection exceptions.
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| GONE.contains(&code.as_ref()) || code.starts_with("08") && code.len() == 5)
        }
        _ => false,
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let kind = error.as_database_error().map(sqlx::error::DatabaseError::kind);
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        if code.is_some_and(|code| CONTENDED.contains(&code.as_ref())) {
            return Self::Contended;
        }
        if matches!(error, sqlx::Error::PoolTimedOut) {
            // Everybody wants a connection: whoever comes again in a moment finds one.
            return Self::Contended;
        }
        if is_unreachable(&error) {
            return Self::Unreachable(error);
        }
        match kind {
            Some(sqlx::error::ErrorKind::ExclusionViolation) => Self::Overlap,
            Some(sqlx::error::ErrorKind::UniqueViolation) => Self::Exists,
            _ if error.as_database_error().is_some_and(|e| e.message() == "claim_no_overlap") => Self::Overlap,
            _ => Self::Driver(error),
        }
    }
}

/// What store functions give.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// As the tables keep instants: microseconds since 1970, UTC.
#[must_use]
pub fn micros(at: DateTime<Utc>) -> i64 {
    at.timestamp_micros()
}

/// An instant as the tables keep it.
pub(crate) fn instant(table: &'static str, column: &'static str, micros: i64) -> Result<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros).ok_or_else(|| Error::Corrupt {
        table,
        column,
        why: format!("{micros} µs is no instant"),
    })
}

/// Reads a text column as whatever parses from it.
pub(crate) fn parse<T>(table: &'static str, column: &'static str, text: &str) -> Result<T>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| Error::Corrupt { table, column, why: error.to_string() })
}

/// Reads a JSON column.
pub(crate) fn json<T: serde::de::DeserializeOwned>(table: &'static str, column: &'static str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| Error::Corrupt { table, column, why: error.to_string() })
}

/// Writes a JSON column.
pub(crate) fn to_json<T: serde::Serialize>(table: &'static str, column: &'static str, value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::Corrupt { table, column, why: error.to_string() })
}

/// Every fixed statement of the store, by file, for the test that prepares them on both engines.
pub const STATEMENTS: &[&[(&str, Sql)]] = &[
    accounts::STATEMENTS,
    api_keys::STATEMENTS,
    audits::STATEMENTS,
    bookings::STATEMENTS,
    businesses::STATEMENTS,
    busy::STATEMENTS,
    calendar_lists::STATEMENTS,
    calendars::STATEMENTS,
    calls::STATEMENTS,
    cancellations::STATEMENTS,
    causes::STATEMENTS,
    changes::STATEMENTS,
    channels::STATEMENTS,
    claims::STATEMENTS,
    conflicts::STATEMENTS,
    deliveries::STATEMENTS,
    endpoints::STATEMENTS,
    engine::STATEMENTS,
    events::STATEMENTS,
    follow::STATEMENTS,
    guests::STATEMENTS,
    holds::STATEMENTS,
    idempotency::STATEMENTS,
    leases::STATEMENTS,
    limited::STATEMENTS,
    notices::STATEMENTS,
    oauth_states::STATEMENTS,
    offers::STATEMENTS,
    operator::STATEMENTS,
    outbox::STATEMENTS,
    overrides::STATEMENTS,
    quota::STATEMENTS,
    resources::STATEMENTS,
    search::STATEMENTS,
    services::STATEMENTS,
    survey::STATEMENTS,
    turns::STATEMENTS,
];
