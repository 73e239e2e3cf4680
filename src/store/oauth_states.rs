//! Google consents under way: what ties the browser that left to the one that comes back.

use chrono::{DateTime, Utc};

use super::{Error, Result, Sql, Tx, execute, fetch, instant, micros, parse};
use crate::{crypto::Cell, domain::BusinessId};

/// A consent that was started and may be finished once.
#[derive(Clone, PartialEq, Eq)]
pub struct OAuthState {
    /// SHA-256 of the `state` parameter.
    pub state_hash: Vec<u8>,
    /// For whom.
    pub business: BusinessId,
    /// The PKCE code verifier (RFC 7636).
    pub verifier: String,
    /// SHA-256 of the starting browser's cookie.
    pub browser_hash: Vec<u8>,
    /// The path to go to afterwards.
    pub return_to: Option<String>,
    /// From then on it is refused.
    pub expires_at: DateTime<Utc>,
}

impl std::fmt::Debug for OAuthState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OAuthState").field("business", &self.business).finish_non_exhaustive()
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    business_id: String,
    verifier: Vec<u8>,
    browser_hash: Vec<u8>,
    return_to: Option<String>,
    expires_at: i64,
}

const T: &str = "oauth_state";
const INSERT: Sql = Sql::same(
    "INSERT INTO oauth_state (state_hash, business_id, verifier, browser_hash, return_to, expires_at)
     VALUES ($1, $2, $3, $4, $5, $6)",
);
const TAKE: Sql = Sql::same(
    "DELETE FROM oauth_state WHERE state_hash = $1
     RETURNING business_id, verifier, browser_hash, return_to, expires_at",
);
const PURGE: Sql = Sql::same("DELETE FROM oauth_state WHERE expires_at < $1");
pub(super) const STATEMENTS: &[(&str, Sql)] = &[("INSERT", INSERT), ("TAKE", TAKE), ("PURGE", PURGE)];

impl Tx {
    /// Keeps a consent until its owner comes back.
    pub async fn insert_oauth_state(&mut self, state: &OAuthState) -> Result<()> {
        let keys = self.keys(state.business).await?;
        let row = data_encoding::HEXLOWER.encode(&state.state_hash);
        let cell = Cell { business: state.business, table: T, column: "verifier", row: &row };
        let verifier = keys.data.seal(&cell, state.verifier.as_bytes(), &**self.chance());
        execute!(
            self,
            INSERT,
            &state.state_hash,
            state.business.to_string(),
            &verifier,
            &state.browser_hash,
            state.return_to.as_deref(),
            micros(state.expires_at),
        )?;
        Ok(())
    }

    /// Takes a consent out, so that it is used once. Expired ones are taken too; the caller looks at the time.
    pub async fn take_oauth_state(&mut self, state_hash: &[u8]) -> Result<Option<OAuthState>> {
        let row: Option<Row> = fetch!(fetch_optional, self, TAKE, state_hash.to_vec())?;
        let Some(row) = row else { return Ok(None) };
        let business = parse(T, "business_id", &row.business_id)?;
        let keys = self.keys(business).await?;
        let name = data_encoding::HEXLOWER.encode(state_hash);
        let cell = Cell { business, table: T, column: "verifier", row: &name };
        let verifier = String::from_utf8(keys.data.open(&cell, &row.verifier)?.to_vec())
            .map_err(|error| Error::Corrupt { table: T, column: "verifier", why: error.to_string() })?;
        Ok(Some(OAuthState {
            state_hash: state_hash.to_vec(),
            business,
            verifier,
            browser_hash: row.browser_hash,
            return_to: row.return_to,
            expires_at: instant(T, "expires_at", row.expires_at)?,
        }))
    }

    /// Forgets consents that nobody finished.
    pub async fn forget_oauth_states(&mut self) -> Result<u64> {
        let now = micros(self.now());
        execute!(self, PURGE, now)
    }
}
