//! What is booked.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Error, Result, Sql, Tx, execute, fetch, instant, micros, parse};
use crate::{
    availability::Rules,
    domain::{BookingId, BusinessId, Interval, ResourceId, ServiceId},
};

/// A haircut, a check-up, a table for the evening.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// The tenant.
    pub business: BusinessId,
    /// Its id.
    pub id: ServiceId,
    /// As receptionists and customers call it.
    pub name: String,
    /// Its times.
    pub rules: Rules,
    /// Who may do it; empty when everybody may.
    pub resources: Vec<ResourceId>,
    /// Groups of resources of which one each is needed at once, the leading one first; empty when one resource is enough.
    pub needs: Vec<Vec<ResourceId>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct Row {
    business_id: String,
    id: String,
    name: String,
    duration_min: i64,
    buffer_before_min: i64,
    buffer_after_min: i64,
    slot_step_min: i64,
    minimum_notice_min: i64,
    horizon_days: i64,
    daily_cap: Option<i64>,
    created_at: i64,
}

const T: &str = "service";
const INSERT: Sql = Sql::same(
    "INSERT INTO service (business_id, id, name, duration_min, buffer_before_min, buffer_after_min, slot_step_min,
                          minimum_notice_min, horizon_days, daily_cap, created_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
);
const LIST: Sql = Sql::same(
    "SELECT business_id, id, name, duration_min, buffer_before_min, buffer_after_min, slot_step_min,
            minimum_notice_min, horizon_days, daily_cap, created_at
       FROM service WHERE business_id = $1 ORDER BY id",
);
const UPDATE: Sql = Sql::same(
    "UPDATE service
        SET name = $3, duration_min = $4, buffer_before_min = $5, buffer_after_min = $6, slot_step_min = $7,
            minimum_notice_min = $8, horizon_days = $9, daily_cap = $10
      WHERE business_id = $1 AND id = $2",
);
const RESOURCES: Sql = Sql::same(
    "SELECT service_id, resource_id FROM service_resource WHERE business_id = $1 ORDER BY service_id, resource_id",
);
const ADD_RESOURCE: Sql =
    Sql::same("INSERT INTO service_resource (business_id, service_id, resource_id) VALUES ($1, $2, $3)");
const CLEAR_RESOURCES: Sql = Sql::same("DELETE FROM service_resource WHERE business_id = $1 AND service_id = $2");
const NEEDS: Sql = Sql::same(
    "SELECT service_id, place, resource_id FROM service_need WHERE business_id = $1
      ORDER BY service_id, place, resource_id",
);
const ADD_NEED: Sql =
    Sql::same("INSERT INTO service_need (business_id, service_id, resource_id, place) VALUES ($1, $2, $3, $4)");
const CLEAR_NEEDS: Sql = Sql::same("DELETE FROM service_need WHERE business_id = $1 AND service_id = $2");
/// Serializes the bookings of a service with a daily cap. Taken before any resource; bookings that refer to the service are
/// not kept waiting. On SQLite the transaction already holds the only write lock.
const LOCK: Sql = Sql {
    sqlite: "SELECT daily_cap FROM service WHERE business_id = $1 AND id = $2",
    postgres: "SELECT daily_cap FROM service WHERE business_id = $1 AND id = $2 FOR NO KEY UPDATE",
};
/// What counts against a daily cap: all that was booked and not called off, and holds that have not run out.
const STARTS: Sql = Sql::same(
    "SELECT id, start_at FROM booking
      WHERE business_id = $1 AND service_id = $2 AND start_at >= $3 AND start_at < $4
        AND (state IN ('confirmed', 'completed') OR (state = 'held' AND state_at > $5))
      ORDER BY start_at, id",
);
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("INSERT", INSERT),
    ("LIST", LIST),
    ("UPDATE", UPDATE),
    ("RESOURCES", RESOURCES),
    ("ADD_RESOURCE", ADD_RESOURCE),
    ("CLEAR_RESOURCES", CLEAR_RESOURCES),
    ("NEEDS", NEEDS),
    ("ADD_NEED", ADD_NEED),
    ("CLEAR_NEEDS", CLEAR_NEEDS),
    ("LOCK", LOCK),
    ("STARTS", STARTS),
];

fn cap(stored: i64) -> Result<u32> {
    u32::try_from(stored).map_err(|error| Error::Corrupt { table: T, column: "daily_cap", why: error.to_string() })
}

impl TryFrom<Row> for Service {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            business: parse(T, "business_id", &row.business_id)?,
            id: parse(T, "id", &row.id)?,
            name: row.name,
            rules: Rules {
                duration: TimeDelta::minutes(row.duration_min),
                buffer_before: TimeDelta::minutes(row.buffer_before_min),
                buffer_after: TimeDelta::minutes(row.buffer_after_min),
                slot_step: TimeDelta::minutes(row.slot_step_min),
                minimum_notice: TimeDelta::minutes(row.minimum_notice_min),
                horizon: TimeDelta::days(row.horizon_days),
                daily_cap: row.daily_cap.map(cap).transpose()?,
            },
            resources: Vec::new(),
            needs: Vec::new(),
            created_at: instant(T, "created_at", row.created_at)?,
        })
    }
}

impl Tx {
    /// Adds a service and who may do it.
    pub async fn insert_service(&mut self, service: &Service) -> Result<()> {
        let rules = &service.rules;
        execute!(
            self,
            INSERT,
            service.business.to_string(),
            service.id.to_string(),
            &service.name,
            rules.duration.num_minutes(),
            rules.buffer_before.num_minutes(),
            rules.buffer_after.num_minutes(),
            rules.slot_step.num_minutes(),
            rules.minimum_notice.num_minutes(),
            rules.horizon.num_days(),
            rules.daily_cap.map(i64::from),
            micros(service.created_at),
        )?;
        self.add_service_resources(service).await
    }

    /// Saves what may change of a service, and who may do it.
    pub async fn update_service(&mut self, service: &Service) -> Result<()> {
        self.changed(service.business, super::changes::Part::All);
        let rules = &service.rules;
        execute!(
            self,
            UPDATE,
            service.business.to_string(),
            service.id.to_string(),
            &service.name,
            rules.duration.num_minutes(),
            rules.buffer_before.num_minutes(),
            rules.buffer_after.num_minutes(),
            rules.slot_step.num_minutes(),
            rules.minimum_notice.num_minutes(),
            rules.horizon.num_days(),
            rules.daily_cap.map(i64::from),
        )?;
        execute!(self, CLEAR_RESOURCES, service.business.to_string(), service.id.to_string())?;
        execute!(self, CLEAR_NEEDS, service.business.to_string(), service.id.to_string())?;
        self.add_service_resources(service).await
    }

    async fn add_service_resources(&mut self, service: &Service) -> Result<()> {
        for resource in &service.resources {
            execute!(self, ADD_RESOURCE, service.business.to_string(), service.id.to_string(), resource.to_string())?;
        }
        for (place, group) in (0_i64..).zip(&service.needs) {
            for resource in group {
                let (business, service) = (service.business.to_string(), service.id.to_string());
                execute!(self, ADD_NEED, business, service, resource.to_string(), place)?;
            }
        }
        Ok(())
    }

    /// Holds a service for this transaction, so that what is counted against its daily cap stays true until it ends. Returns
    /// the cap, as it is now.
    pub async fn lock_service(&mut self, business: BusinessId, id: ServiceId) -> Result<Option<u32>> {
        let row: Option<(Option<i64>,)> = fetch!(fetch_optional, self, LOCK, business.to_string(), id.to_string())?;
        row.and_then(|(stored,)| stored).map(cap).transpose()
    }

    /// When the bookings and live holds of a service begin that begin within `range`, in order.
    pub async fn starts_of_service(
        &mut self,
        business: BusinessId,
        id: ServiceId,
        range: Interval,
    ) -> Result<Vec<(BookingId, DateTime<Utc>)>> {
        let (from, to, now) = (micros(range.start()), micros(range.end()), micros(self.now()));
        let rows: Vec<(String, i64)> =
            fetch!(fetch_all, self, STARTS, business.to_string(), id.to_string(), from, to, now)?;
        let start = |(id, at): (String, i64)| Ok((parse("booking", "id", &id)?, instant("booking", "start_at", at)?));
        rows.into_iter().map(start).collect()
    }

    /// Every service of a business, oldest first.
    pub async fn services(&mut self, business: BusinessId) -> Result<Vec<Service>> {
        let rows: Vec<Row> = fetch!(fetch_all, self, LIST, business.to_string())?;
        let mut services = rows.into_iter().map(Service::try_from).collect::<Result<Vec<_>>>()?;
        let pairs: Vec<(String, String)> = fetch!(fetch_all, self, RESOURCES, business.to_string())?;
        for (service, resource) in pairs {
            let service: ServiceId = parse("service_resource", "service_id", &service)?;
            let resource = parse("service_resource", "resource_id", &resource)?;
            if let Some(service) = services.iter_mut().find(|known| known.id == service) {
                service.resources.push(resource);
            }
        }
        let needs: Vec<(String, i64, String)> = fetch!(fetch_all, self, NEEDS, business.to_string())?;
        let mut last = None;
        for (service, place, resource) in needs {
            let id: ServiceId = parse("service_need", "service_id", &service)?;
            let resource = parse("service_need", "resource_id", &resource)?;
            let Some(service) = services.iter_mut().find(|known| known.id == id) else { continue };
            if last.replace((id, place)) != Some((id, place)) {
                service.needs.push(Vec::new());
            }
            if let Some(group) = service.needs.last_mut() {
                group.push(resource);
            }
        }
        Ok(services)
    }
}
