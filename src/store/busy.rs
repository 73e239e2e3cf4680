//! Reading the mirror: when are resources busy?

use super::{Error, Result, Sql, Tx, fetch, instant, micros, parse};
use crate::domain::{BusinessId, CalendarId, Interval, ResourceId};

/// A stretch during which a resource is busy by one of its calendars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceBusy {
    /// Whose.
    pub resource: ResourceId,
    /// When.
    pub interval: Interval,
}

const T: &str = "busy_slot";
/// `longest_us` bounds how far back a slot that reaches into the window can begin.
const OVERLAPPING: Sql = Sql::same(
    "SELECT c.resource_id, b.start_at, b.end_at
       FROM calendar c
       JOIN busy_slot b ON b.business_id = c.business_id AND b.calendar_id = c.id AND b.generation = c.generation
      WHERE c.business_id = $1 AND c.blocks = 1 AND c.resource_id IS NOT NULL
        AND b.start_at < $3 AND b.start_at >= $2 - c.longest_us AND b.end_at > $2
      ORDER BY b.start_at",
);
const OVERLAPPING_ONE: Sql = Sql::same(
    "SELECT c.resource_id, b.start_at, b.end_at
       FROM calendar c
       JOIN busy_slot b ON b.business_id = c.business_id AND b.calendar_id = c.id AND b.generation = c.generation
      WHERE c.business_id = $1 AND c.resource_id = $4 AND c.blocks = 1
        AND b.start_at < $3 AND b.start_at >= $2 - c.longest_us AND b.end_at > $2
      ORDER BY b.start_at",
);
/// From the generation that is served, and from the one that a full sync under way stages: it is named after the fence.
const DROP_EVENT: Sql = Sql::same(
    "DELETE FROM busy_slot
      WHERE business_id = $1 AND calendar_id = $2 AND series_id = $3 AND event_id = $3
        AND generation IN ((SELECT generation FROM calendar c WHERE c.business_id = $1 AND c.id = $2),
                           (SELECT fence FROM calendar c WHERE c.business_id = $1 AND c.id = $2))",
);
pub(super) const STATEMENTS: &[(&str, Sql)] =
    &[("OVERLAPPING", OVERLAPPING), ("OVERLAPPING_ONE", OVERLAPPING_ONE), ("DROP_EVENT", DROP_EVENT)];

impl Tx {
    /// The busy slots that meet `window`, of one resource or of all, in the order of their starts. They may overlap.
    pub async fn busy(
        &mut self,
        business: BusinessId,
        resource: Option<ResourceId>,
        window: Interval,
    ) -> Result<Vec<ResourceBusy>> {
        let (business, from, to) = (business.to_string(), micros(window.start()), micros(window.end()));
        let rows: Vec<(String, i64, i64)> = match resource {
            Some(id) => fetch!(fetch_all, self, OVERLAPPING_ONE, &business, from, to, id.to_string())?,
            None => fetch!(fetch_all, self, OVERLAPPING, &business, from, to)?,
        };
        rows.into_iter()
            .map(|(resource, start, end)| {
                let interval = Interval::new(instant(T, "start_at", start)?, instant(T, "end_at", end)?);
                let why = || "it ends before it starts".to_owned();
                Ok(ResourceBusy {
                    resource: parse("calendar", "resource_id", &resource)?,
                    interval: interval.ok_or_else(|| Error::Corrupt { table: T, column: "end_at", why: why() })?,
                })
            })
            .collect()
    }

    /// Removes the busy slot that an event of slotd's own had while it differed from its booking.
    pub async fn drop_own_busy(&mut self, business: BusinessId, calendar: CalendarId, event_id: &str) -> Result<()> {
        let dropped = super::execute!(self, DROP_EVENT, business.to_string(), calendar.to_string(), event_id)?;
        if dropped > 0 {
            self.changed(business, super::changes::Part::Calendar(calendar));
        }
        Ok(())
    }
}
