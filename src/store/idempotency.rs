//! Answers that are given again when a request is repeated.

use chrono::{DateTime, Utc};

use super::{Error, Result, Sql, Tx, execute, fetch, micros};
use crate::{crypto::Cell, domain::BusinessId};

/// The answer that a key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// SHA-256 of the parsed request.
    pub request_hash: Vec<u8>,
    /// The HTTP status that was answered.
    pub status: u16,
    /// The body that was answered, byte for byte.
    pub body: Vec<u8>,
}

const T: &str = "idempotency";
const INSERT: Sql = Sql::same(
    "INSERT INTO idempotency (business_id, key, request_hash, status, body, created_at)
     VALUES ($1, $2, $3, $4, $5, $6)",
);
const SELECT: Sql = Sql::same("SELECT request_hash, status, body FROM idempotency WHERE business_id = $1 AND key = $2");
const PURGE: Sql = Sql::same("DELETE FROM idempotency WHERE created_at < $1");
pub(super) const STATEMENTS: &[(&str, Sql)] = &[("INSERT", INSERT), ("SELECT", SELECT), ("PURGE", PURGE)];

const fn cell(business: BusinessId, key: &str) -> Cell<'_> {
    Cell { business, table: T, column: "body", row: key }
}

impl Tx {
    /// What was answered to the request with this key.
    pub async fn remembered(&mut self, business: BusinessId, key: &str) -> Result<Option<Remembered>> {
        let row: Option<(Vec<u8>, i64, Vec<u8>)> = fetch!(fetch_optional, self, SELECT, business.to_string(), key)?;
        let Some((request_hash, status, body)) = row else { return Ok(None) };
        let keys = self.keys(business).await?;
        let body = keys.data.open(&cell(business, key), &body)?.to_vec();
        let status = u16::try_from(status).map_err(|error| Error::Corrupt {
            table: T,
            column: "status",
            why: error.to_string(),
        })?;
        Ok(Some(Remembered { request_hash, status, body }))
    }

    /// Keeps an answer, together with whatever else this transaction does.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] when another request with the same key came first.
    pub async fn remember(&mut self, business: BusinessId, key: &str, answer: &Remembered) -> Result<()> {
        let keys = self.keys(business).await?;
        let body = keys.data.seal(&cell(business, key), &answer.body, &**self.chance());
        let now = micros(self.now());
        execute!(self, INSERT, business.to_string(), key, &answer.request_hash, i64::from(answer.status), &body, now)?;
        Ok(())
    }

    /// Forgets answers older than `before`. Returns how many.
    pub async fn forget_answers(&mut self, before: DateTime<Utc>) -> Result<u64> {
        execute!(self, PURGE, micros(before))
    }
}
