//! The mirror's rows: events as Google gave them, and the busy slots that they expand to.

use std::collections::{BTreeMap, HashSet};

use super::{
    Result, Sql, Tx,
    bulk::{SQLITE_ROWS, values},
    engine::EngineTx,
    execute, fetch, json, micros, to_json,
};
use crate::{
    crypto::Cell,
    domain::{BusinessId, CalendarId, Event, EventKind, Interval},
};

/// Names one state of one calendar's mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation {
    /// The tenant.
    pub business: BusinessId,
    /// The calendar.
    pub calendar: CalendarId,
    /// Which of its states.
    pub number: i64,
}

/// An event to be mirrored.
#[derive(Debug, Clone)]
pub struct MirroredEvent {
    /// What decides when somebody is busy.
    pub event: Event,
    /// Google's etag, by which an unchanged event is recognized.
    pub etag: Option<String>,
    /// Its title, for the owner's eyes; sealed in the table.
    pub title: Option<String>,
}

/// A busy interval and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusySlot {
    /// When somebody is busy.
    pub interval: Interval,
    /// The single event, master or exception that says so.
    pub event_id: String,
    /// The series that it belongs to, or the event itself.
    pub series_id: String,
}

const T: &str = "event";
/// Slots of a series that are removed one by one. Of more than these all are, and written anew.
const SINGLY_MAX: usize = 32;
const INTO_EVENT: &str =
    "INSERT INTO event (business_id, calendar_id, generation, event_id, series_id, recurs, etag, facts, title)";
const EVENT_CHANGED: &str = "ON CONFLICT (business_id, calendar_id, generation, event_id) DO UPDATE
        SET series_id = excluded.series_id, recurs = excluded.recurs, etag = excluded.etag, facts = excluded.facts,
            title = excluded.title
      WHERE event.etag IS NULL OR excluded.etag IS NULL OR event.etag <> excluded.etag";
const PUT_EVENTS_POSTGRES: &str =
    "INSERT INTO event (business_id, calendar_id, generation, event_id, series_id, recurs, etag, facts, title)
     SELECT $1, $2, $3, * FROM UNNEST($4::text[], $5::text[], $6::bigint[], $7::text[], $8::text[], $9::bytea[])
     ON CONFLICT (business_id, calendar_id, generation, event_id) DO UPDATE
        SET series_id = excluded.series_id, recurs = excluded.recurs, etag = excluded.etag, facts = excluded.facts,
            title = excluded.title
      WHERE event.etag IS NULL OR excluded.etag IS NULL OR event.etag <> excluded.etag";
const INTO_BUSY: &str =
    "INSERT INTO busy_slot (business_id, calendar_id, generation, start_at, end_at, event_id, series_id)";
const PUT_BUSY_POSTGRES: &str =
    "INSERT INTO busy_slot (business_id, calendar_id, generation, start_at, end_at, event_id, series_id)
     SELECT $1, $2, $3, * FROM UNNEST($4::bigint[], $5::bigint[], $6::text[], $7::text[]) ON CONFLICT DO NOTHING";

const SELECT: Sql = Sql::same(
    "SELECT facts, etag FROM event WHERE business_id = $1 AND calendar_id = $2 AND generation = $3 AND event_id = $4",
);
const SERIES: Sql = Sql::same(
    "SELECT facts FROM event
      WHERE business_id = $1 AND calendar_id = $2 AND generation = $3 AND series_id = $4 AND recurs = 1
      ORDER BY event_id",
);
const RECURRING: Sql = Sql::same(
    "SELECT facts FROM event
      WHERE business_id = $1 AND calendar_id = $2 AND generation = $3 AND series_id > $4 AND recurs = 1
      ORDER BY series_id, event_id LIMIT $5",
);
const SINGLES: Sql = Sql::same(
    "SELECT facts FROM event
      WHERE business_id = $1 AND calendar_id = $2 AND generation = $3 AND event_id > $4 AND recurs = 0
      ORDER BY event_id LIMIT $5",
);
const DELETE: Sql =
    Sql::same("DELETE FROM event WHERE business_id = $1 AND calendar_id = $2 AND generation = $3 AND event_id = $4");
const DELETE_SERIES: Sql = Sql::same(
    "DELETE FROM event
      WHERE business_id = $1 AND calendar_id = $2 AND generation = $3 AND series_id = $4 AND recurs = 1",
);
const FREE_SERIES: Sql = Sql::same(
    "DELETE FROM busy_slot WHERE business_id = $1 AND calendar_id = $2 AND generation = $3 AND series_id = $4",
);
const SLOTS: Sql = Sql::same(
    "SELECT start_at, end_at, event_id FROM busy_slot
      WHERE business_id = $1 AND calendar_id = $2 AND generation = $3 AND series_id = $4",
);
const FREE_SLOT: Sql = Sql::same(
    "DELETE FROM busy_slot
      WHERE business_id = $1 AND calendar_id = $2 AND generation = $3 AND start_at = $4 AND end_at = $5
        AND event_id = $6",
);
const PURGE_EVENTS: Sql = Sql::same(
    "DELETE FROM event WHERE (business_id, calendar_id, generation, event_id) IN (
        SELECT business_id, calendar_id, generation, event_id FROM event
         WHERE business_id = $1 AND calendar_id = $2 AND generation < $3
           AND generation <> (SELECT generation FROM calendar c WHERE c.business_id = $1 AND c.id = $2) LIMIT $4)",
);
const PURGE_BUSY: Sql = Sql::same(
    "DELETE FROM busy_slot WHERE (business_id, calendar_id, generation, start_at, end_at, event_id) IN (
        SELECT business_id, calendar_id, generation, start_at, end_at, event_id FROM busy_slot
         WHERE business_id = $1 AND calendar_id = $2 AND generation < $3
           AND generation <> (SELECT generation FROM calendar c WHERE c.business_id = $1 AND c.id = $2) LIMIT $4)",
);
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("SELECT", SELECT),
    ("SERIES", SERIES),
    ("RECURRING", RECURRING),
    ("SINGLES", SINGLES),
    ("DELETE", DELETE),
    ("DELETE_SERIES", DELETE_SERIES),
    ("FREE_SERIES", FREE_SERIES),
    ("SLOTS", SLOTS),
    ("FREE_SLOT", FREE_SLOT),
    ("PURGE_EVENTS", PURGE_EVENTS),
    ("PURGE_BUSY", PURGE_BUSY),
];

/// The columns of an event that are bound.
struct EventRow {
    event_id: String,
    series_id: String,
    recurs: i64,
    etag: Option<String>,
    facts: String,
    title: Option<Vec<u8>>,
}

fn read(facts: &str) -> Result<Event> {
    json(T, "facts", facts)
}

impl Tx {
    /// Adds or replaces events. One whose etag has not changed is left as it is.
    pub async fn put_events(&mut self, of: Generation, events: &[MirroredEvent]) -> Result<()> {
        let keys = self.keys(of.business).await?;
        let chance = self.chance().clone();
        let calendar = of.calendar.to_string();
        // Google may name one event twice. PostgreSQL refuses to change a row twice in one statement, and the last counts.
        let mut rows = BTreeMap::new();
        for MirroredEvent { event, etag, title } in events {
            let place = format!("{calendar}/{}", event.id);
            let cell = Cell { business: of.business, table: T, column: "title", row: &place };
            let row = EventRow {
                event_id: event.id.clone(),
                series_id: event.series_id().to_owned(),
                recurs: i64::from(event.kind != EventKind::Single),
                etag: etag.clone(),
                facts: to_json(T, "facts", event)?,
                title: title.as_ref().map(|title| keys.data.seal(&cell, title.as_bytes(), &*chance)),
            };
            rows.insert(event.id.as_str(), row);
        }
        let rows: Vec<EventRow> = rows.into_values().collect();
        let business = of.business.to_string();
        match &mut self.engine {
            EngineTx::Sqlite(tx) => {
                for chunk in rows.chunks(SQLITE_ROWS) {
                    let text = values(INTO_EVENT, 9, chunk.len(), EVENT_CHANGED);
                    let mut query = sqlx::query(sqlx::AssertSqlSafe(text));
                    for row in chunk {
                        query = query
                            .bind(&business)
                            .bind(&calendar)
                            .bind(of.number)
                            .bind(&row.event_id)
                            .bind(&row.series_id)
                            .bind(row.recurs)
                            .bind(&row.etag)
                            .bind(&row.facts)
                            .bind(&row.title);
                    }
                    query.execute(&mut **tx).await?;
                }
            }
            EngineTx::Postgres(tx) => {
                let count = rows.len();
                let mut columns = (
                    Vec::with_capacity(count),
                    Vec::with_capacity(count),
                    Vec::with_capacity(count),
                    Vec::with_capacity(count),
                    Vec::with_capacity(count),
                    Vec::with_capacity(count),
                );
                for row in rows {
                    columns.0.push(row.event_id);
                    columns.1.push(row.series_id);
                    columns.2.push(row.recurs);
                    columns.3.push(row.etag);
                    columns.4.push(row.facts);
                    columns.5.push(row.title);
                }
                sqlx::query(PUT_EVENTS_POSTGRES)
                    .bind(&business)
                    .bind(&calendar)
                    .bind(of.number)
                    .bind(columns.0)
                    .bind(columns.1)
                    .bind(columns.2)
                    .bind(columns.3)
                    .bind(columns.4)
                    .bind(columns.5)
                    .execute(&mut **tx)
                    .await?;
            }
        }
        Ok(())
    }

    /// Adds busy slots. One that is there already is left as it is.
    pub async fn put_busy(&mut self, of: Generation, slots: &[BusySlot]) -> Result<()> {
        let (business, calendar) = (of.business.to_string(), of.calendar.to_string());
        match &mut self.engine {
            EngineTx::Sqlite(tx) => {
                for chunk in slots.chunks(SQLITE_ROWS) {
                    let text = values(INTO_BUSY, 7, chunk.len(), "ON CONFLICT DO NOTHING");
                    let mut query = sqlx::query(sqlx::AssertSqlSafe(text));
                    for slot in chunk {
                        query = query
                            .bind(&business)
                            .bind(&calendar)
                            .bind(of.number)
                            .bind(micros(slot.interval.start()))
                            .bind(micros(slot.interval.end()))
                            .bind(&slot.event_id)
                            .bind(&slot.series_id);
                    }
                    query.execute(&mut **tx).await?;
                }
            }
            EngineTx::Postgres(tx) => {
                let column = |time: fn(&BusySlot) -> i64| slots.iter().map(time).collect::<Vec<_>>();
                let starts = column(|slot| micros(slot.interval.start()));
                let ends = column(|slot| micros(slot.interval.end()));
                let events: Vec<&str> = slots.iter().map(|slot| slot.event_id.as_str()).collect();
                let series: Vec<&str> = slots.iter().map(|slot| slot.series_id.as_str()).collect();
                sqlx::query(PUT_BUSY_POSTGRES)
                    .bind(&business)
                    .bind(&calendar)
                    .bind(of.number)
                    .bind(starts)
                    .bind(ends)
                    .bind(events)
                    .bind(series)
                    .execute(&mut **tx)
                    .await?;
            }
        }
        Ok(())
    }

    /// A mirrored event and its etag.
    pub async fn event(&mut self, of: Generation, event_id: &str) -> Result<Option<(Event, Option<String>)>> {
        let row: Option<(String, Option<String>)> = fetch!(
            fetch_optional,
            self,
            SELECT,
            of.business.to_string(),
            of.calendar.to_string(),
            of.number,
            event_id
        )?;
        row.map(|(facts, etag)| Ok((read(&facts)?, etag))).transpose()
    }

    /// The master of a series, when it is known, and its exceptions.
    pub async fn series(&mut self, of: Generation, series_id: &str) -> Result<Vec<Event>> {
        let (business, calendar) = (of.business.to_string(), of.calendar.to_string());
        let rows: Vec<(String,)> = fetch!(fetch_all, self, SERIES, &business, &calendar, of.number, series_id)?;
        rows.iter().map(|(facts,)| read(facts)).collect()
    }

    /// Masters and exceptions of the series after `after`, by series, each series whole: about `limit` rows. Also whether
    /// more may follow.
    pub async fn whole_series(&mut self, of: Generation, after: &str, limit: usize) -> Result<(Vec<Event>, bool)> {
        let (business, calendar) = (of.business.to_string(), of.calendar.to_string());
        let bound = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows: Vec<(String,)> = fetch!(fetch_all, self, RECURRING, &business, &calendar, of.number, after, bound)?;
        let mut events = rows.iter().map(|(facts,)| read(facts)).collect::<Result<Vec<Event>>>()?;
        let more = events.len() == limit;
        if more && let Some(last) = events.last().map(|event| event.series_id().to_owned()) {
            // The limit may have cut the last series short.
            events.retain(|event| event.series_id() != last);
            events.extend(self.series(of, &last).await?);
        }
        Ok((events, more))
    }

    /// Events that happen once, after the one with the id `after`.
    pub async fn single_events(&mut self, of: Generation, after: &str, limit: usize) -> Result<Vec<Event>> {
        let (business, calendar) = (of.business.to_string(), of.calendar.to_string());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows: Vec<(String,)> = fetch!(fetch_all, self, SINGLES, &business, &calendar, of.number, after, limit)?;
        rows.iter().map(|(facts,)| read(facts)).collect()
    }

    /// Removes an event that Google deleted. Its busy slots are removed with [`Tx::free_series`].
    pub async fn delete_event(&mut self, of: Generation, event_id: &str) -> Result<()> {
        execute!(self, DELETE, of.business.to_string(), of.calendar.to_string(), of.number, event_id)?;
        Ok(())
    }

    /// Removes a master that Google deleted and all its exceptions, for which no tombstones come.
    pub async fn delete_series(&mut self, of: Generation, series_id: &str) -> Result<()> {
        execute!(self, DELETE_SERIES, of.business.to_string(), of.calendar.to_string(), of.number, series_id)?;
        Ok(())
    }

    /// Removes the busy slots of a series, or of a single event. Returns how many there were.
    pub async fn free_series(&mut self, of: Generation, series_id: &str) -> Result<u64> {
        let freed =
            execute!(self, FREE_SERIES, of.business.to_string(), of.calendar.to_string(), of.number, series_id)?;
        if freed > 0 {
            self.changed(of.business, super::changes::Part::Calendar(of.calendar));
        }
        Ok(freed)
    }

    /// Makes `slots` all that a series, or a single event, has. Only what differs is written.
    pub async fn replace_slots(&mut self, of: Generation, series_id: &str, slots: &[BusySlot]) -> Result<()> {
        let (business, calendar) = (of.business.to_string(), of.calendar.to_string());
        let had: Vec<(i64, i64, String)> = fetch!(fetch_all, self, SLOTS, &business, &calendar, of.number, series_id)?;
        let key = |slot: &BusySlot| (micros(slot.interval.start()), micros(slot.interval.end()), slot.event_id.clone());
        let wanted: HashSet<(i64, i64, String)> = slots.iter().map(key).collect();
        let gone: Vec<&(i64, i64, String)> = had.iter().filter(|slot| !wanted.contains(*slot)).collect();
        if gone.len() > SINGLY_MAX {
            self.changed(of.business, super::changes::Part::Calendar(of.calendar));
            self.free_series(of, series_id).await?;
            return self.put_busy(of, slots).await;
        }
        if !gone.is_empty() || wanted.len() != had.len() {
            self.changed(of.business, super::changes::Part::Calendar(of.calendar));
        }
        for (start, end, event_id) in gone {
            execute!(self, FREE_SLOT, &business, &calendar, of.number, start, end, event_id)?;
        }
        let had: HashSet<(i64, i64, String)> = had.into_iter().collect();
        let added: Vec<BusySlot> = slots.iter().filter(|slot| !had.contains(&key(slot))).cloned().collect();
        if added.is_empty() { Ok(()) } else { self.put_busy(of, &added).await }
    }

    /// Removes up to `limit` rows of each kind that belong to generations before `keep` and are not served; a later one is
    /// being staged. Returns how many were removed.
    pub async fn purge_generations(&mut self, keep: Generation, limit: usize) -> Result<u64> {
        let (business, calendar) = (keep.business.to_string(), keep.calendar.to_string());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let events = execute!(self, PURGE_EVENTS, &business, &calendar, keep.number, limit)?;
        let slots = execute!(self, PURGE_BUSY, &business, &calendar, keep.number, limit)?;
        let limited = execute!(self, super::limited::PURGE, &business, &calendar, keep.number)?;
        Ok(events + slots + limited)
    }
}
