//! Who or what is booked.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::{Error, Result, Sql, Tx, execute, fetch, instant, json, micros, parse, to_json};
use crate::{
    availability::WeeklyHours,
    domain::{BookingId, BusinessId, ResourceId},
};

/// A person, chair or room that bookings occupy.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// The tenant.
    pub business: BusinessId,
    /// Its id.
    pub id: ResourceId,
    /// As receptionists and customers call it.
    pub name: String,
    /// Where it is, when not where the business is.
    pub time_zone: Option<Tz>,
    /// When it can be booked, when not whenever the business is open.
    pub hours: Option<WeeklyHours>,
    /// How many bookings it takes at once; at least 1.
    pub capacity: u32,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl Resource {
    /// The one of `resources` with this id or, whatever its case, this name.
    #[must_use]
    pub fn find<'a>(resources: &'a [Self], text: &str) -> Option<&'a Self> {
        let (id, name) = (text.parse().ok(), text.trim().to_lowercase());
        resources.iter().find(|known| Some(known.id) == id || known.name.to_lowercase() == name)
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    business_id: String,
    id: String,
    name: String,
    time_zone: Option<String>,
    hours: Option<String>,
    capacity: i64,
    created_at: i64,
}

const T: &str = "resource";
const INSERT: Sql = Sql::same(
    "INSERT INTO resource (business_id, id, name, time_zone, hours, capacity, created_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7)",
);
const LIST: Sql = Sql::same(
    "SELECT business_id, id, name, time_zone, hours, capacity, created_at
       FROM resource WHERE business_id = $1 ORDER BY id",
);
const UPDATE: Sql = Sql::same(
    "UPDATE resource SET name = $3, time_zone = $4, hours = $5, capacity = $6 WHERE business_id = $1 AND id = $2",
);
/// Serializes the bookings of a resource. Locks are taken one by one in the order of ids, so two transactions that need
/// the same two never wait for each other. Rows that only refer to a resource, such as what a call was offered, need not
/// wait: else whoever writes them, with its call locked, and a booking that has the resource and wants the call would.
pub const LOCK: Sql = Sql {
    // The transaction already holds the only write lock.
    sqlite: "SELECT capacity FROM resource WHERE business_id = $1 AND id = $2",
    postgres: "SELECT capacity FROM resource WHERE business_id = $1 AND id = $2 FOR NO KEY UPDATE",
};
/// The same for several at once: rows are locked in the order in which they are given out. Their ids, with commas.
const LOCK_SEVERAL: Sql = Sql {
    sqlite: "SELECT capacity FROM resource WHERE business_id = $1 AND instr($2, id) > 0 ORDER BY id",
    postgres: "SELECT capacity FROM resource WHERE business_id = $1 AND id = ANY(string_to_array($2, ','))
                ORDER BY id FOR NO KEY UPDATE",
};
pub(super) const STATEMENTS: &[(&str, Sql)] =
    &[("INSERT", INSERT), ("LIST", LIST), ("UPDATE", UPDATE), ("LOCK", LOCK), ("LOCK_SEVERAL", LOCK_SEVERAL)];

impl TryFrom<Row> for Resource {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            business: parse(T, "business_id", &row.business_id)?,
            id: parse(T, "id", &row.id)?,
            name: row.name,
            time_zone: row.time_zone.map(|zone| parse(T, "time_zone", &zone)).transpose()?,
            hours: row.hours.map(|hours| json(T, "hours", &hours)).transpose()?,
            capacity: u32::try_from(row.capacity).map_err(|error| Error::Corrupt {
                table: T,
                column: "capacity",
                why: error.to_string(),
            })?,
            created_at: instant(T, "created_at", row.created_at)?,
        })
    }
}

fn columns(resource: &Resource) -> Result<(Option<&'static str>, Option<String>)> {
    let hours = resource.hours.as_ref().map(|hours| to_json(T, "hours", hours)).transpose()?;
    Ok((resource.time_zone.map(Tz::name), hours))
}

impl Tx {
    /// Adds a resource.
    pub async fn insert_resource(&mut self, resource: &Resource) -> Result<()> {
        let (zone, hours) = columns(resource)?;
        execute!(
            self,
            INSERT,
            resource.business.to_string(),
            resource.id.to_string(),
            &resource.name,
            zone,
            hours.as_deref(),
            i64::from(resource.capacity),
            micros(resource.created_at),
        )?;
        Ok(())
    }

    /// Every resource of a business, oldest first.
    pub async fn resources(&mut self, business: BusinessId) -> Result<Vec<Resource>> {
        let rows: Vec<Row> = fetch!(fetch_all, self, LIST, business.to_string())?;
        rows.into_iter().map(Resource::try_from).collect()
    }

    /// Saves what may change of a resource.
    pub async fn update_resource(&mut self, resource: &Resource) -> Result<()> {
        self.changed(resource.business, super::changes::Part::All);
        let (zone, hours) = columns(resource)?;
        execute!(
            self,
            UPDATE,
            resource.business.to_string(),
            resource.id.to_string(),
            &resource.name,
            zone,
            hours.as_deref(),
            i64::from(resource.capacity),
        )?;
        Ok(())
    }

    /// Holds every resource that these bookings claim, which this transaction has locked already. Whoever ends or moves the
    /// claims of a hold has them: a booking that checks one of its resources ends the claims of all holds that ran out.
    pub async fn lock_claimed(&mut self, business: BusinessId, bookings: &[BookingId]) -> Result<Vec<ResourceId>> {
        let mut resources = Vec::new();
        for booking in bookings {
            resources.extend(self.claimed_resources(business, *booking).await?);
        }
        self.lock_resources(business, &resources).await?;
        Ok(resources)
    }

    /// Holds `resources` for this transaction, so that what is read of their claims stays true until it ends. Unknown
    /// ones are passed over.
    pub async fn lock_resources(&mut self, business: BusinessId, resources: &[ResourceId]) -> Result<()> {
        let mut resources = resources.to_vec();
        resources.sort_unstable();
        resources.dedup();
        if let [id] = resources[..] {
            let _: Option<(i64,)> = fetch!(fetch_optional, self, LOCK, business.to_string(), id.to_string())?;
        } else if !resources.is_empty() {
            let ids = resources.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            let _: Vec<(i64,)> = fetch!(fetch_all, self, LOCK_SEVERAL, business.to_string(), ids)?;
        }
        Ok(())
    }
}
