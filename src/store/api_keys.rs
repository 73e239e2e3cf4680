//! Keys of the programs that use the API. Only hashes are kept.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Error, Result, Sql, Tx, execute, fetch, instant, micros, parse};
use crate::domain::{BusinessId, id::ApiKeyId};

/// What a key may do. Each scope includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Ask, hold, book, move and cancel.
    Receptionist,
    /// Also settings and calendars.
    Owner,
    /// Also other keys and, without a business, every business.
    Admin,
}

impl Scope {
    /// The word for it, in the table and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Receptionist => "receptionist",
            Self::Owner => "owner",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Receptionist, Self::Owner, Self::Admin]
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| format!("`{text}` is no scope: receptionist, owner or admin is expected"))
    }
}

/// An API key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// The one business it is good for; every business when absent.
    pub business: Option<BusinessId>,
    /// Its public first part, by which it is looked up.
    pub prefix: String,
    /// SHA-256 of the whole key.
    pub hash: Vec<u8>,
    /// What it may do.
    pub scope: Scope,
    /// Whose it is, in the operator's words.
    pub label: String,
    /// From then on it is refused.
    pub expires_at: Option<DateTime<Utc>>,
    /// Since then it is refused.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    business_id: Option<String>,
    prefix: String,
    hash: Vec<u8>,
    scope: String,
    label: String,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
    created_at: i64,
}

const T: &str = "api_key";
const INSERT: Sql = Sql::same(
    "INSERT INTO api_key (id, business_id, prefix, hash, scope, label, expires_at, created_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
);
const BY_PREFIX: Sql = Sql::same(
    "SELECT id, business_id, prefix, hash, scope, label, expires_at, revoked_at, created_at
       FROM api_key WHERE prefix = $1",
);
const LIST: Sql = Sql::same(
    "SELECT id, business_id, prefix, hash, scope, label, expires_at, revoked_at, created_at FROM api_key ORDER BY id",
);
const REVOKE: Sql = Sql::same("UPDATE api_key SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL");
pub(super) const STATEMENTS: &[(&str, Sql)] =
    &[("INSERT", INSERT), ("BY_PREFIX", BY_PREFIX), ("LIST", LIST), ("REVOKE", REVOKE)];

impl TryFrom<Row> for ApiKey {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: parse(T, "id", &row.id)?,
            business: row.business_id.map(|id| parse(T, "business_id", &id)).transpose()?,
            prefix: row.prefix,
            hash: row.hash,
            scope: parse(T, "scope", &row.scope)?,
            label: row.label,
            expires_at: row.expires_at.map(|at| instant(T, "expires_at", at)).transpose()?,
            revoked_at: row.revoked_at.map(|at| instant(T, "revoked_at", at)).transpose()?,
            created_at: instant(T, "created_at", row.created_at)?,
        })
    }
}

impl Tx {
    /// Adds a key.
    pub async fn insert_api_key(&mut self, key: &ApiKey) -> Result<()> {
        execute!(
            self,
            INSERT,
            key.id.to_string(),
            key.business.map(|id| id.to_string()),
            &key.prefix,
            &key.hash,
            key.scope.as_str(),
            &key.label,
            key.expires_at.map(micros),
            micros(key.created_at),
        )?;
        Ok(())
    }

    /// The key with this public first part, revoked or not.
    pub async fn api_key(&mut self, prefix: &str) -> Result<Option<ApiKey>> {
        let row: Option<Row> = fetch!(fetch_optional, self, BY_PREFIX, prefix)?;
        row.map(ApiKey::try_from).transpose()
    }

    /// Every key, oldest first.
    pub async fn api_keys(&mut self) -> Result<Vec<ApiKey>> {
        let rows: Vec<Row> = fetch!(fetch_all, self, LIST)?;
        rows.into_iter().map(ApiKey::try_from).collect()
    }

    /// Ends a key at once. `false` when there is no such key, or it had ended.
    pub async fn revoke_api_key(&mut self, id: ApiKeyId) -> Result<bool> {
        let now = micros(self.now());
        Ok(execute!(self, REVOKE, id.to_string(), now)? > 0)
    }
}
