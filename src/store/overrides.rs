//! Dates on which somebody is not open as in other weeks.

use chrono::{DateTime, NaiveDate, Utc};

use super::{Error, Result, Sql, Tx, execute, fetch, instant, json, micros, parse, to_json};
use crate::{
    availability::DateOverride,
    domain::{BusinessId, OverrideId, ResourceId},
};

/// A holiday, a short day, an evening that is open for once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The tenant.
    pub business: BusinessId,
    /// Its id.
    pub id: OverrideId,
    /// Whom it concerns; everybody of the business when absent.
    pub resource: Option<ResourceId>,
    /// Which dates, and what they are like.
    pub dates: DateOverride,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct Row {
    business_id: String,
    id: String,
    resource_id: Option<String>,
    first_on: String,
    last_on: String,
    hours: String,
    label: Option<String>,
    created_at: i64,
}

const T: &str = "hours_override";
const INSERT: Sql = Sql::same(
    "INSERT INTO hours_override (business_id, id, resource_id, first_on, last_on, hours, label, created_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
);
const UPDATE: Sql = Sql::same(
    "UPDATE hours_override SET resource_id = $3, first_on = $4, last_on = $5, hours = $6, label = $7
      WHERE business_id = $1 AND id = $2",
);
const DELETE: Sql = Sql::same("DELETE FROM hours_override WHERE business_id = $1 AND id = $2");
const LIST: Sql = Sql::same(
    "SELECT business_id, id, resource_id, first_on, last_on, hours, label, created_at
       FROM hours_override WHERE business_id = $1 AND last_on >= $2 ORDER BY first_on, id",
);
/// Serializes changes of the overrides of a business, so that no two of them are about one date.
const LOCK: Sql = Sql {
    sqlite: "SELECT id FROM business WHERE id = $1",
    postgres: "SELECT id FROM business WHERE id = $1 FOR NO KEY UPDATE",
};
pub(super) const STATEMENTS: &[(&str, Sql)] =
    &[("INSERT", INSERT), ("UPDATE", UPDATE), ("DELETE", DELETE), ("LIST", LIST), ("LOCK", LOCK)];

impl TryFrom<Row> for Override {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            business: parse(T, "business_id", &row.business_id)?,
            id: parse(T, "id", &row.id)?,
            resource: row.resource_id.map(|id| parse(T, "resource_id", &id)).transpose()?,
            dates: DateOverride {
                first: parse(T, "first_on", &row.first_on)?,
                last: parse(T, "last_on", &row.last_on)?,
                hours: json(T, "hours", &row.hours)?,
                label: row.label,
            },
            created_at: instant(T, "created_at", row.created_at)?,
        })
    }
}

impl Tx {
    /// Adds an override.
    pub async fn insert_override(&mut self, new: &Override) -> Result<()> {
        execute!(
            self,
            INSERT,
            new.business.to_string(),
            new.id.to_string(),
            new.resource.map(|id| id.to_string()),
            new.dates.first.to_string(),
            new.dates.last.to_string(),
            to_json(T, "hours", &new.dates.hours)?,
            new.dates.label.as_deref(),
            micros(new.created_at),
        )?;
        Ok(())
    }

    /// Saves all of an override but when it was made. Returns whether there is such a one.
    pub async fn update_override(&mut self, changed: &Override) -> Result<bool> {
        let rows = execute!(
            self,
            UPDATE,
            changed.business.to_string(),
            changed.id.to_string(),
            changed.resource.map(|id| id.to_string()),
            changed.dates.first.to_string(),
            changed.dates.last.to_string(),
            to_json(T, "hours", &changed.dates.hours)?,
            changed.dates.label.as_deref(),
        )?;
        Ok(rows > 0)
    }

    /// Removes an override, if it is there.
    pub async fn delete_override(&mut self, business: BusinessId, id: OverrideId) -> Result<()> {
        execute!(self, DELETE, business.to_string(), id.to_string())?;
        Ok(())
    }

    /// The overrides of a business, and of its resources, that end on `since` or later: by their first date.
    pub async fn overrides(&mut self, business: BusinessId, since: NaiveDate) -> Result<Vec<Override>> {
        let rows: Vec<Row> = fetch!(fetch_all, self, LIST, business.to_string(), since.to_string())?;
        rows.into_iter().map(Override::try_from).collect()
    }

    /// Keeps others from changing the overrides of a business until this transaction ends.
    pub async fn lock_overrides(&mut self, business: BusinessId) -> Result<()> {
        let _: Option<(String,)> = fetch!(fetch_optional, self, LOCK, business.to_string())?;
        Ok(())
    }
}
