//! The tenants and their keys.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::{Error, Result, Sql, Tx, execute, fetch, instant, json, micros, parse, to_json};
use crate::{
    availability::{Language, Policy, WeeklyHours},
    crypto::BusinessKeys,
    domain::{BusinessId, reconcile},
};

/// A tenant: one shop, practice or salon.
#[derive(Debug, Clone, PartialEq)]
pub struct Business {
    /// Its id.
    pub id: BusinessId,
    /// As its customers know it.
    pub name: String,
    /// Where its clocks are.
    pub time_zone: Tz,
    /// ISO 3166-1 alpha-2: how phone numbers without a country code are read.
    pub region: String,
    /// When it is open, unless a resource has hours of its own.
    pub hours: WeeklyHours,
    /// Template of the calendar event's title.
    pub event_title: String,
    /// Template of the calendar event's description.
    pub event_body: String,
    /// Whether customers with an e-mail address are invited to their booking's event.
    pub invite_customers: bool,
    /// What it wants done with a mirror that is behind.
    pub freshness: Policy,
    /// In which times are said, unless a request wants another.
    pub language: Language,
    /// What it wants when its owner moves or deletes a booking's event.
    pub calendar_changes: reconcile::Policy,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    name: String,
    time_zone: String,
    region: String,
    hours: String,
    event_title: String,
    event_body: String,
    invite_customers: i64,
    when_stale: String,
    when_unknown: String,
    language: String,
    calendar_changes: String,
    created_at: i64,
}

const T: &str = "business";
const INSERT: Sql = Sql::same(
    "INSERT INTO business (id, name, time_zone, region, hours, event_title, event_body, wrapped_keys, created_at,
                           when_stale, when_unknown, invite_customers, calendar_changes, language)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
);
const SELECT: Sql = Sql::same(
    "SELECT id, name, time_zone, region, hours, event_title, event_body, invite_customers, when_stale, when_unknown,
            calendar_changes, language,
            created_at
       FROM business WHERE id = $1",
);
const LIST: Sql = Sql::same(
    "SELECT id, name, time_zone, region, hours, event_title, event_body, invite_customers, when_stale, when_unknown,
            calendar_changes, language,
            created_at
       FROM business WHERE id > $1 ORDER BY id LIMIT $2",
);
const UPDATE: Sql = Sql::same(
    "UPDATE business SET name = $2, time_zone = $3, region = $4, hours = $5, event_title = $6, event_body = $7,
            when_stale = $8, when_unknown = $9, invite_customers = $10, calendar_changes = $11, language = $12
      WHERE id = $1",
);
const KEYS: Sql = Sql::same("SELECT wrapped_keys FROM business WHERE id = $1");
const CALENDAR_CHANGES: Sql = Sql::same("SELECT calendar_changes FROM business WHERE id = $1");
const LATEST: Sql = Sql::same("SELECT id FROM business ORDER BY id DESC LIMIT 1");
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("INSERT", INSERT),
    ("SELECT", SELECT),
    ("LIST", LIST),
    ("UPDATE", UPDATE),
    ("KEYS", KEYS),
    ("CALENDAR_CHANGES", CALENDAR_CHANGES),
    ("LATEST", LATEST),
];

impl TryFrom<Row> for Business {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: parse(T, "id", &row.id)?,
            name: row.name,
            time_zone: parse(T, "time_zone", &row.time_zone)?,
            region: row.region,
            hours: json(T, "hours", &row.hours)?,
            event_title: row.event_title,
            event_body: row.event_body,
            invite_customers: row.invite_customers == 1,
            freshness: Policy {
                stale: parse(T, "when_stale", &row.when_stale)?,
                unknown: parse(T, "when_unknown", &row.when_unknown)?,
            },
            language: parse(T, "language", &row.language)?,
            calendar_changes: parse(T, "calendar_changes", &row.calendar_changes)?,
            created_at: instant(T, "created_at", row.created_at)?,
        })
    }
}

/// Reads and unwraps the keys of a business.
pub(super) async fn load_keys(tx: &mut Tx, business: BusinessId) -> Result<BusinessKeys> {
    let row: Option<(Vec<u8>,)> = fetch!(fetch_optional, tx, KEYS, business.to_string())?;
    let (wrapped,) = row.ok_or(Error::NoBusiness)?;
    Ok(BusinessKeys::unwrap(&wrapped, tx.store().master(), business)?)
}

/// Whether the master keys at hand open what is stored, told by the latest business.
pub(super) async fn check_master(tx: &mut Tx) -> Result<()> {
    let row: Option<(String,)> = fetch!(fetch_optional, tx, LATEST)?;
    let Some((latest,)) = row else { return Ok(()) };
    match load_keys(tx, parse(T, "id", &latest)?).await {
        Err(Error::Sealed(error)) => {
            Err(Error::Open(format!("the encryption keys are not those of its data: {error}")))
        }
        checked => checked.map(drop),
    }
}

impl Tx {
    /// Adds a business, with fresh keys of its own.
    pub async fn insert_business(&mut self, business: &Business) -> Result<()> {
        let keys = BusinessKeys::generate(&**self.chance());
        let wrapped = keys.wrap(self.store().master(), business.id, &**self.chance());
        execute!(
            self,
            INSERT,
            business.id.to_string(),
            &business.name,
            business.time_zone.name(),
            &business.region,
            to_json(T, "hours", &business.hours)?,
            &business.event_title,
            &business.event_body,
            &wrapped,
            micros(business.created_at),
            business.freshness.stale.as_str(),
            business.freshness.unknown.as_str(),
            i64::from(business.invite_customers),
            business.calendar_changes.as_str(),
            business.language.tag(),
        )?;
        // An earlier try may have left the keys that were rolled back with it. What they sealed, nobody could open.
        self.store().forget_keys(business.id);
        Ok(())
    }

    /// The business with this id.
    pub async fn business(&mut self, id: BusinessId) -> Result<Option<Business>> {
        let row: Option<Row> = fetch!(fetch_optional, self, SELECT, id.to_string())?;
        row.map(Business::try_from).transpose()
    }

    /// What a business wants when its owner moves or deletes a booking's event.
    pub async fn calendar_changes(&mut self, id: BusinessId) -> Result<reconcile::Policy> {
        let row: Option<(String,)> = fetch!(fetch_optional, self, CALENDAR_CHANGES, id.to_string())?;
        row.map_or(Ok(reconcile::Policy::default()), |(policy,)| parse(T, "calendar_changes", &policy))
    }

    /// Up to `limit` businesses in the order of their ids, after `after`.
    pub async fn businesses(&mut self, after: Option<BusinessId>, limit: u32) -> Result<Vec<Business>> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let rows: Vec<Row> = fetch!(fetch_all, self, LIST, &after, i64::from(limit))?;
        rows.into_iter().map(Business::try_from).collect()
    }

    /// Saves what may change of a business.
    pub async fn update_business(&mut self, business: &Business) -> Result<()> {
        execute!(
            self,
            UPDATE,
            business.id.to_string(),
            &business.name,
            business.time_zone.name(),
            &business.region,
            to_json(T, "hours", &business.hours)?,
            &business.event_title,
            &business.event_body,
            business.freshness.stale.as_str(),
            business.freshness.unknown.as_str(),
            i64::from(business.invite_customers),
            business.calendar_changes.as_str(),
            business.language.tag(),
        )?;
        self.changed(business.id, super::changes::Part::All);
        Ok(())
    }
}
