//! Reading a mirror through, page by page, to compare it with Google.

use std::collections::BTreeMap;

use super::{
    Error, Result, Sql, Tx,
    bulk::SQLITE_ROWS,
    engine::EngineTx,
    events::{BusySlot, Generation},
    fetch, instant, json, micros,
};
use crate::domain::{Event, Interval};

/// A mirrored event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// What decides when somebody is busy.
    pub event: Event,
    /// Google's etag.
    pub etag: Option<String>,
}

const T: &str = "busy_slot";
const SINGLES: Sql = Sql::same(
    "SELECT facts, etag FROM event
      WHERE business_id = $1 AND calendar_id = $2 AND generation = $3 AND event_id > $4 AND recurs = 0
      ORDER BY event_id LIMIT $5",
);
const RECURRING: Sql = Sql::same(
    "SELECT facts, etag FROM event
      WHERE business_id = $1 AND calendar_id = $2 AND generation = $3 AND series_id > $4 AND recurs = 1
      ORDER BY series_id, event_id LIMIT $5",
);
const SERIES: Sql = Sql::same(
    "SELECT facts, etag FROM event
      WHERE business_id = $1 AND calendar_id = $2 AND generation = $3 AND series_id = $4 AND recurs = 1
      ORDER BY event_id",
);
const SLOTTED: Sql = Sql::same(
    "SELECT DISTINCT series_id FROM busy_slot
      WHERE business_id = $1 AND calendar_id = $2 AND generation = $3 AND series_id > $4
      ORDER BY series_id LIMIT $5",
);
const OVERLAPPING: Sql = Sql::same(
    "SELECT b.start_at, b.end_at, b.event_id, b.series_id
       FROM calendar c
       JOIN busy_slot b ON b.business_id = c.business_id AND b.calendar_id = c.id
      WHERE c.business_id = $1 AND c.id = $2 AND b.generation = $3
        AND b.start_at < $5 AND b.start_at >= $4 - c.longest_us AND b.end_at > $4
      ORDER BY b.start_at",
);
const SLOTS_POSTGRES: &str = "SELECT start_at, end_at, event_id, series_id FROM busy_slot
      WHERE business_id = $1 AND calendar_id = $2 AND generation = $3 AND series_id = ANY($4::text[])";
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("SINGLES", SINGLES),
    ("RECURRING", RECURRING),
    ("SERIES", SERIES),
    ("SLOTTED", SLOTTED),
    ("OVERLAPPING", OVERLAPPING),
];

type SlotRow = (i64, i64, String, String);

fn stored(rows: Vec<(String, Option<String>)>) -> Result<Vec<StoredEvent>> {
    rows.into_iter().map(|(facts, etag)| Ok(StoredEvent { event: json("event", "facts", &facts)?, etag })).collect()
}

fn slot((start, end, event_id, series_id): SlotRow) -> Result<BusySlot> {
    let interval = Interval::new(instant(T, "start_at", start)?, instant(T, "end_at", end)?);
    let why = || "it ends before it starts".to_owned();
    let interval = interval.ok_or_else(|| Error::Corrupt { table: T, column: "end_at", why: why() })?;
    Ok(BusySlot { interval, event_id, series_id })
}

impl Tx {
    /// Events that happen once, after the one with the id `after`, with their etags.
    pub async fn stored_singles(&mut self, of: Generation, after: &str, limit: usize) -> Result<Vec<StoredEvent>> {
        let (business, calendar) = (of.business.to_string(), of.calendar.to_string());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        stored(fetch!(fetch_all, self, SINGLES, &business, &calendar, of.number, after, limit)?)
    }

    /// Masters and exceptions of the series after `after`, with their etags: about `limit` rows, each series whole. Also
    /// whether more may follow.
    pub async fn stored_series(
        &mut self,
        of: Generation,
        after: &str,
        limit: usize,
    ) -> Result<(Vec<StoredEvent>, bool)> {
        let (business, calendar) = (of.business.to_string(), of.calendar.to_string());
        let bound = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut rows = stored(fetch!(fetch_all, self, RECURRING, &business, &calendar, of.number, after, bound)?)?;
        let more = rows.len() == limit;
        if more && let Some(last) = rows.last().map(|row| row.event.series_id().to_owned()) {
            // The limit may have cut the last series short.
            rows.retain(|row| row.event.series_id() != last);
            rows.extend(stored(fetch!(fetch_all, self, SERIES, &business, &calendar, of.number, &last)?)?);
        }
        Ok((rows, more))
    }

    /// The busy slots of so many series, by series.
    pub async fn slots_of(&mut self, of: Generation, series: &[String]) -> Result<BTreeMap<String, Vec<BusySlot>>> {
        let (business, calendar) = (of.business.to_string(), of.calendar.to_string());
        let mut rows: Vec<SlotRow> = Vec::new();
        match &mut self.engine {
            EngineTx::Sqlite(tx) => {
                for chunk in series.chunks(SQLITE_ROWS) {
                    let marks = vec!["?"; chunk.len()].join(", ");
                    let text = format!(
                        "SELECT start_at, end_at, event_id, series_id FROM busy_slot
                          WHERE business_id = ? AND calendar_id = ? AND generation = ? AND series_id IN ({marks})"
                    );
                    let mut query =
                        sqlx::query_as(sqlx::AssertSqlSafe(text)).bind(&business).bind(&calendar).bind(of.number);
                    for id in chunk {
                        query = query.bind(id);
                    }
                    rows.extend(query.fetch_all(&mut **tx).await?);
                }
            }
            EngineTx::Postgres(tx) => {
                let query = sqlx::query_as(SLOTS_POSTGRES).bind(&business).bind(&calendar).bind(of.number).bind(series);
                rows = query.fetch_all(&mut **tx).await?;
            }
        }
        let mut slots: BTreeMap<String, Vec<BusySlot>> = BTreeMap::new();
        for slot in rows.into_iter().map(slot) {
            let slot = slot?;
            slots.entry(slot.series_id.clone()).or_default().push(slot);
        }
        Ok(slots)
    }

    /// Ids of the series after `after` that have busy slots.
    pub async fn slotted_series(&mut self, of: Generation, after: &str, limit: usize) -> Result<Vec<String>> {
        let (business, calendar) = (of.business.to_string(), of.calendar.to_string());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows: Vec<(String,)> = fetch!(fetch_all, self, SLOTTED, &business, &calendar, of.number, after, limit)?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    /// The busy slots of one calendar that meet `window`, whatever it is for.
    pub async fn slots_meeting(&mut self, of: Generation, window: Interval) -> Result<Vec<BusySlot>> {
        let (business, calendar) = (of.business.to_string(), of.calendar.to_string());
        let (from, to) = (micros(window.start()), micros(window.end()));
        let rows: Vec<SlotRow> = fetch!(fetch_all, self, OVERLAPPING, &business, &calendar, of.number, from, to)?;
        rows.into_iter().map(slot).collect()
    }
}
