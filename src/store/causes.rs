//! What stands behind busy time, for whoever asks why: events with their titles, and bookings.

use super::{Error, Result, Sql, Tx, events::Generation, fetch, instant, json, micros, parse};
use crate::{
    crypto::Cell,
    domain::{BookingId, BusinessId, CalendarId, Event, Interval, ResourceId},
};

/// A mirrored event and its title, for the owner's eyes.
#[derive(Debug, Clone)]
pub struct TitledEvent {
    /// What decides when somebody is busy.
    pub event: Event,
    /// Its title, when it has one.
    pub title: Option<String>,
}

/// A busy slot and the event behind it.
#[derive(Debug, Clone)]
pub struct BusyCause {
    /// In which calendar.
    pub calendar: CalendarId,
    /// When somebody is busy.
    pub interval: Interval,
    /// Google's id of the event.
    pub event_id: String,
    /// The event. None when the mirror holds only the slot.
    pub event: Option<TitledEvent>,
}

const T: &str = "event";
/// As `OVERLAPPING_ONE` of the busy slots, which availability reads, with the events behind them.
const BUSY: Sql = Sql::same(
    "SELECT b.calendar_id, b.start_at, b.end_at, b.event_id, e.facts, e.title
       FROM calendar c
       JOIN busy_slot b ON b.business_id = c.business_id AND b.calendar_id = c.id AND b.generation = c.generation
       LEFT JOIN event e ON e.business_id = b.business_id AND e.calendar_id = b.calendar_id
                        AND e.generation = b.generation AND e.event_id = b.event_id
      WHERE c.business_id = $1 AND c.resource_id = $4 AND c.blocks = 1
        AND b.start_at < $3 AND b.start_at >= $2 - c.longest_us AND b.end_at > $2
      ORDER BY b.start_at, b.event_id LIMIT $5",
);
/// Events that do not block have no busy slots, and no times of their own in the table. The facts are JSON as serde writes
/// it, and few events are like this.
const FREE: Sql = Sql::same(
    r#"SELECT facts, title FROM event
      WHERE business_id = $1 AND calendar_id = $2 AND generation = $3
        AND (facts LIKE '%"transparent":true%' OR facts LIKE '%"declined":true%' OR facts LIKE '%"status":"Cancelled"%')
      ORDER BY event_id LIMIT $4"#,
);
const ONE: Sql = Sql::same(
    "SELECT facts, title FROM event WHERE business_id = $1 AND calendar_id = $2 AND generation = $3 AND event_id = $4",
);
/// Of any state; a booking lasts no longer than its claim may.
const BOOKINGS: Sql = Sql::same(
    "SELECT id FROM booking
      WHERE business_id = $1 AND resource_id = $2 AND start_at < $4 AND start_at > $3 - 604800000000 AND end_at > $3
      ORDER BY start_at, id LIMIT $5",
);
pub(super) const STATEMENTS: &[(&str, Sql)] = &[("BUSY", BUSY), ("FREE", FREE), ("ONE", ONE), ("BOOKINGS", BOOKINGS)];

type BusyRow = (String, i64, i64, String, Option<String>, Option<Vec<u8>>);

fn bound(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

impl Tx {
    async fn titled(
        &mut self,
        business: BusinessId,
        calendar: CalendarId,
        facts: &str,
        title: Option<Vec<u8>>,
    ) -> Result<TitledEvent> {
        let event: Event = json(T, "facts", facts)?;
        let title = match title {
            None => None,
            Some(sealed) => {
                let keys = self.keys(business).await?;
                let place = format!("{calendar}/{}", event.id);
                let cell = Cell { business, table: T, column: "title", row: &place };
                Some(String::from_utf8_lossy(&keys.data.open(&cell, &sealed)?).into_owned())
            }
        };
        Ok(TitledEvent { event, title })
    }

    /// Up to `limit` busy slots of a resource that meet `window`, in the order of their starts, with their events.
    pub async fn busy_causes(
        &mut self,
        business: BusinessId,
        resource: ResourceId,
        window: Interval,
        limit: usize,
    ) -> Result<Vec<BusyCause>> {
        let (from, to) = (micros(window.start()), micros(window.end()));
        let (id, resource) = (business.to_string(), resource.to_string());
        let rows: Vec<BusyRow> = fetch!(fetch_all, self, BUSY, &id, from, to, &resource, bound(limit))?;
        let mut causes = Vec::with_capacity(rows.len());
        for (calendar, start, end, event_id, facts, title) in rows {
            let calendar = parse("busy_slot", "calendar_id", &calendar)?;
            let interval =
                Interval::new(instant("busy_slot", "start_at", start)?, instant("busy_slot", "end_at", end)?);
            let interval = interval.ok_or_else(|| Error::Corrupt {
                table: "busy_slot",
                column: "end_at",
                why: "it ends before it starts".to_owned(),
            })?;
            let event = match facts {
                Some(facts) => Some(self.titled(business, calendar, &facts, title).await?),
                None => None,
            };
            causes.push(BusyCause { calendar, interval, event_id, event });
        }
        Ok(causes)
    }

    /// Up to `limit` events of one state of a calendar that make nobody busy, in the order of their ids.
    pub async fn free_events(&mut self, of: Generation, limit: usize) -> Result<Vec<TitledEvent>> {
        let (business, calendar) = (of.business.to_string(), of.calendar.to_string());
        let rows: Vec<(String, Option<Vec<u8>>)> =
            fetch!(fetch_all, self, FREE, &business, &calendar, of.number, bound(limit))?;
        let mut events = Vec::with_capacity(rows.len());
        for (facts, title) in rows {
            events.push(self.titled(of.business, of.calendar, &facts, title).await?);
        }
        events.retain(|titled| !titled.event.blocks());
        Ok(events)
    }

    /// A mirrored event and its title.
    pub async fn titled_event(&mut self, of: Generation, event_id: &str) -> Result<Option<TitledEvent>> {
        let (business, calendar) = (of.business.to_string(), of.calendar.to_string());
        let row: Option<(String, Option<Vec<u8>>)> =
            fetch!(fetch_optional, self, ONE, &business, &calendar, of.number, event_id)?;
        match row {
            Some((facts, title)) => self.titled(of.business, of.calendar, &facts, title).await.map(Some),
            None => Ok(None),
        }
    }

    /// Up to `limit` bookings of a resource, in any state, whose time meets `window`.
    pub async fn bookings_meeting(
        &mut self,
        business: BusinessId,
        resource: ResourceId,
        window: Interval,
        limit: usize,
    ) -> Result<Vec<BookingId>> {
        let (from, to) = (micros(window.start()), micros(window.end()));
        let (business, resource) = (business.to_string(), resource.to_string());
        let rows: Vec<(String,)> = fetch!(fetch_all, self, BOOKINGS, &business, &resource, from, to, bound(limit))?;
        rows.iter().map(|(id,)| parse("booking", "id", id)).collect()
    }
}
