//! Where notices of a business go. URL and secret are sealed.

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};

use super::{Error, Result, Sql, Tx, execute, fetch, instant, micros, parse};
use crate::{
    crypto::Cell,
    domain::{BusinessId, id::EndpointId, notice::Kind},
};

/// Why an endpoint gets nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disabled {
    /// Its owner said so.
    Owner,
    /// It answered 410 Gone.
    Gone,
    /// It failed for days.
    Failing,
}

impl Disabled {
    /// The word for it, in the table and in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Gone => "gone",
            Self::Failing => "failing",
        }
    }
}

impl std::str::FromStr for Disabled {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Owner, Self::Gone, Self::Failing];
        all.into_iter().find(|why| why.as_str() == text).ok_or_else(|| format!("`{text}` is no reason"))
    }
}

/// Where notices go.
#[derive(Clone)]
pub struct Endpoint {
    /// The tenant.
    pub business: BusinessId,
    /// Its id.
    pub id: EndpointId,
    /// Where it listens. It may hold a token, so it is logged nowhere.
    pub url: String,
    /// What notices are signed with, as Standard Webhooks writes it: `whsec_…`.
    pub secret: SecretString,
    /// What it is for, in the words of whoever made it.
    pub description: String,
    /// What it is told; everything when empty.
    pub events: Vec<Kind>,
    /// Names, phone numbers and notes are sent too.
    pub personal_data: bool,
    /// Why it gets nothing, if so.
    pub disabled: Option<Disabled>,
    /// The first of its failures in a row.
    pub failing_since: Option<DateTime<Utc>>,
    /// It asked to be left alone until then.
    pub paused_until: Option<DateTime<Utc>>,
    /// When it last took a notice.
    pub last_ok_at: Option<DateTime<Utc>>,
    /// What came of the last failure.
    pub last_error: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("id", &self.id).field("disabled", &self.disabled).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Whether it is told about `kind`. A ping goes to whoever is pinged.
    #[must_use]
    pub fn wants(&self, kind: Kind) -> bool {
        self.events.is_empty() || self.events.contains(&kind)
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    business_id: String,
    id: String,
    url: Vec<u8>,
    secret: Vec<u8>,
    description: String,
    events: String,
    personal_data: i64,
    enabled: i64,
    disabled_why: Option<String>,
    failing_since: Option<i64>,
    paused_until: i64,
    last_ok_at: Option<i64>,
    last_error: Option<String>,
    created_at: i64,
}

const T: &str = "webhook_endpoint";
const INSERT: Sql = Sql::same(
    "INSERT INTO webhook_endpoint (business_id, id, url, secret, description, events, personal_data, enabled,
                                   disabled_why, disabled_told, paused_until, created_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1, 0, $10)",
);
/// What a person changed begins anew.
const UPDATE: Sql = Sql::same(
    "UPDATE webhook_endpoint
        SET url = $3, secret = $4, description = $5, events = $6, personal_data = $7, enabled = $8, disabled_why = $9,
            disabled_told = 1, failing_since = NULL, paused_until = 0, last_error = NULL
      WHERE business_id = $1 AND id = $2",
);
const LIST: Sql = Sql::same(
    "SELECT business_id, id, url, secret, description, events, personal_data, enabled, disabled_why, failing_since,
            paused_until, last_ok_at, last_error, created_at
       FROM webhook_endpoint WHERE business_id = $1 ORDER BY id",
);
const SELECT: Sql = Sql::same(
    "SELECT business_id, id, url, secret, description, events, personal_data, enabled, disabled_why, failing_since,
            paused_until, last_ok_at, last_error, created_at
       FROM webhook_endpoint WHERE business_id = $1 AND id = $2",
);
const DELETE: Sql = Sql::same("DELETE FROM webhook_endpoint WHERE business_id = $1 AND id = $2");
const DELETE_NOTICES: Sql = Sql::same("DELETE FROM notice WHERE business_id = $1 AND endpoint_id = $2");
const OK: Sql = Sql::same(
    "UPDATE webhook_endpoint SET last_ok_at = $3, failing_since = NULL, paused_until = 0, last_error = NULL
      WHERE business_id = $1 AND id = $2",
);
const FAILED: Sql = Sql::same(
    "UPDATE webhook_endpoint
        SET failing_since = COALESCE(failing_since, $3), last_error = $4,
            paused_until = CASE WHEN paused_until > $5 THEN paused_until ELSE $5 END
      WHERE business_id = $1 AND id = $2",
);
const DISABLE: Sql = Sql::same(
    "UPDATE webhook_endpoint SET enabled = 0, disabled_why = $3, disabled_told = 0
      WHERE business_id = $1 AND id = $2 AND enabled = 1",
);
const DISABLED: Sql = Sql::same("SELECT COUNT(*) FROM webhook_endpoint WHERE enabled = 0 AND disabled_why <> 'owner'");
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("INSERT", INSERT),
    ("UPDATE", UPDATE),
    ("LIST", LIST),
    ("SELECT", SELECT),
    ("DELETE", DELETE),
    ("DELETE_NOTICES", DELETE_NOTICES),
    ("OK", OK),
    ("FAILED", FAILED),
    ("DISABLE", DISABLE),
    ("DISABLED", DISABLED),
];

fn cell<'a>(business: BusinessId, column: &'static str, row: &'a str) -> Cell<'a> {
    Cell { business, table: T, column, row }
}

fn words(events: &[Kind]) -> String {
    events.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(" ")
}

impl Tx {
    async fn read_endpoint(&mut self, row: Row) -> Result<Endpoint> {
        let business = parse(T, "business_id", &row.business_id)?;
        let keys = self.keys(business).await?;
        let text = |column, sealed: &[u8]| -> Result<String> {
            let plain = keys.data.open(&cell(business, column, &row.id), sealed)?;
            String::from_utf8(plain.to_vec()).map_err(|error| Error::Corrupt {
                table: T,
                column,
                why: error.to_string(),
            })
        };
        let at = |column, at: Option<i64>| at.map(|at| instant(T, column, at)).transpose();
        Ok(Endpoint {
            business,
            id: parse(T, "id", &row.id)?,
            url: text("url", &row.url)?,
            secret: text("secret", &row.secret)?.into(),
            // Kinds that another version knows are not sent by this one.
            events: row.events.split_whitespace().filter_map(|word| word.parse().ok()).collect(),
            personal_data: row.personal_data != 0,
            disabled: match (row.enabled, row.disabled_why) {
                (0, Some(why)) => Some(parse(T, "disabled_why", &why)?),
                (0, None) => Some(Disabled::Owner),
                _ => None,
            },
            description: row.description,
            failing_since: at("failing_since", row.failing_since)?,
            paused_until: at("paused_until", (row.paused_until > 0).then_some(row.paused_until))?,
            last_ok_at: at("last_ok_at", row.last_ok_at)?,
            last_error: row.last_error,
            created_at: instant(T, "created_at", row.created_at)?,
        })
    }

    /// Adds an endpoint.
    pub async fn insert_endpoint(&mut self, endpoint: &Endpoint) -> Result<()> {
        let (url, secret) = self.seal_endpoint(endpoint).await?;
        execute!(
            self,
            INSERT,
            endpoint.business.to_string(),
            endpoint.id.to_string(),
            &url,
            &secret,
            &endpoint.description,
            words(&endpoint.events),
            i64::from(endpoint.personal_data),
            i64::from(endpoint.disabled.is_none()),
            endpoint.disabled.map(Disabled::as_str),
            micros(endpoint.created_at),
        )?;
        Ok(())
    }

    /// Saves what a person changed of an endpoint; what is known of failures is forgotten.
    pub async fn update_endpoint(&mut self, endpoint: &Endpoint) -> Result<()> {
        let (url, secret) = self.seal_endpoint(endpoint).await?;
        execute!(
            self,
            UPDATE,
            endpoint.business.to_string(),
            endpoint.id.to_string(),
            &url,
            &secret,
            &endpoint.description,
            words(&endpoint.events),
            i64::from(endpoint.personal_data),
            i64::from(endpoint.disabled.is_none()),
            endpoint.disabled.map(Disabled::as_str),
        )?;
        Ok(())
    }

    async fn seal_endpoint(&mut self, endpoint: &Endpoint) -> Result<(Vec<u8>, Vec<u8>)> {
        let keys = self.keys(endpoint.business).await?;
        let (id, chance) = (endpoint.id.to_string(), self.chance().clone());
        let seal =
            |column, text: &str| keys.data.seal(&cell(endpoint.business, column, &id), text.as_bytes(), &*chance);
        Ok((seal("url", &endpoint.url), seal("secret", endpoint.secret.expose_secret())))
    }

    /// Every endpoint of a business, oldest first.
    pub async fn endpoints(&mut self, business: BusinessId) -> Result<Vec<Endpoint>> {
        let rows: Vec<Row> = fetch!(fetch_all, self, LIST, business.to_string())?;
        let mut endpoints = Vec::with_capacity(rows.len());
        for row in rows {
            endpoints.push(self.read_endpoint(row).await?);
        }
        Ok(endpoints)
    }

    /// The endpoint with this id.
    pub async fn endpoint(&mut self, business: BusinessId, id: EndpointId) -> Result<Option<Endpoint>> {
        let row: Option<Row> = fetch!(fetch_optional, self, SELECT, business.to_string(), id.to_string())?;
        match row {
            Some(row) => self.read_endpoint(row).await.map(Some),
            None => Ok(None),
        }
    }

    /// Removes an endpoint, and what it was still to be told. `false` when there was none.
    pub async fn delete_endpoint(&mut self, business: BusinessId, id: EndpointId) -> Result<bool> {
        let (business, id) = (business.to_string(), id.to_string());
        execute!(self, DELETE_NOTICES, &business, &id)?;
        Ok(execute!(self, DELETE, &business, &id)? > 0)
    }

    /// Notes that an endpoint took a notice.
    pub async fn endpoint_took(&mut self, business: BusinessId, id: EndpointId) -> Result<()> {
        let now = micros(self.now());
        execute!(self, OK, business.to_string(), id.to_string(), now)?;
        Ok(())
    }

    /// Notes that an endpoint failed, and until when it asked to be left alone. Returns since when it fails.
    pub async fn endpoint_failed(
        &mut self,
        business: BusinessId,
        id: EndpointId,
        why: &str,
        pause_until: Option<DateTime<Utc>>,
    ) -> Result<Option<DateTime<Utc>>> {
        let now = micros(self.now());
        let pause = pause_until.map_or(0, micros);
        execute!(self, FAILED, business.to_string(), id.to_string(), now, why, pause)?;
        Ok(self.endpoint(business, id).await?.and_then(|endpoint| endpoint.failing_since))
    }

    /// Gives an endpoint up, and all that waits for it. The operator is told. `false` when it was disabled already.
    pub async fn disable_endpoint(&mut self, business: BusinessId, id: EndpointId, why: Disabled) -> Result<bool> {
        let disabled = execute!(self, DISABLE, business.to_string(), id.to_string(), why.as_str())? > 0;
        if disabled {
            self.give_endpoint_up(business, id).await?;
        }
        Ok(disabled)
    }

    /// How many endpoints slotd has disabled, of all businesses.
    pub async fn disabled_endpoints(&mut self) -> Result<i64> {
        let (count,): (i64,) = fetch!(fetch_one, self, DISABLED)?;
        Ok(count)
    }
}
