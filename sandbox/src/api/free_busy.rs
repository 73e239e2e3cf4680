//! `freebusy.query`: merged busy time.

use std::collections::HashSet;
use std::sync::Arc;

use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde_json::{Map, Value, json};

use super::Call;
use crate::model::{Calendar, Record, Window, expand, parse_zone, rfc3339};
use crate::refusal::Refusal;

/// Longest range; Google does not say its own, which is about this.
const RANGE_MAX: TimeDelta = TimeDelta::days(92);
const CALENDARS_MAX: usize = 50;

pub(super) fn query(call: &Call) -> Result<Response, Refusal> {
    let body = call.json()?;
    let (from, to) = (time(&body, "timeMin")?, time(&body, "timeMax")?);
    if from >= to {
        return Err(Refusal::time_range_empty());
    }
    if to - from > RANGE_MAX {
        let message = "The requested time range is too long.";
        return Err(Refusal::new(400, "calendar", "timeRangeTooLong", message));
    }
    let zone = body.get("timeZone").and_then(Value::as_str).map_or(Ok(Tz::UTC), parse_zone)?;
    let most = body
        .get("calendarExpansionMax")
        .and_then(Value::as_u64)
        .map_or(CALENDARS_MAX, |most| usize::try_from(most).unwrap_or(CALENDARS_MAX).min(CALENDARS_MAX));
    let asked: Vec<&str> = match body.get("items").and_then(Value::as_array) {
        Some(items) => items.iter().filter_map(|item| item["id"].as_str()).collect(),
        None => Vec::new(),
    };

    let mut calendars = Map::new();
    for (place, id) in asked.into_iter().enumerate() {
        let found = call.state.model().calendar(call.user(), id).ok().map(|(calendar, _)| Snapshot::of(calendar));
        let entry = match found {
            _ if place >= most => failed("tooManyCalendarsRequested"),
            Some(snapshot) => json!({ "busy": snapshot.busy(from, to, zone) }),
            None => failed("notFound"),
        };
        calendars.insert(id.to_owned(), entry);
    }
    call.answer(json!({
        "kind": "calendar#freeBusy",
        "timeMin": rfc3339(from, zone),
        "timeMax": rfc3339(to, zone),
        "calendars": calendars,
        "groups": {},
    }))
}

fn failed(reason: &str) -> Value {
    json!({ "errors": [{ "domain": "global", "reason": reason }], "busy": [] })
}

fn time(body: &Map<String, Value>, field: &str) -> Result<DateTime<Utc>, Refusal> {
    let text = body
        .get(field)
        .and_then(Value::as_str)
        .ok_or_else(|| Refusal::required(format!("Missing {field} parameter.")))?;
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| Refusal::bad_request("Bad Request"))?;
    Ok(time.with_timezone(&Utc))
}

/// A calendar's live events at one moment.
struct Snapshot {
    records: Vec<Arc<Record>>,
    replaced: HashSet<String>,
    zone: Tz,
}

impl Snapshot {
    fn of(calendar: &Calendar) -> Self {
        Self {
            records: calendar.all().filter(|record| record.busy).cloned().collect(),
            replaced: calendar.replaced(),
            zone: calendar.zone,
        }
    }

    /// Merged busy blocks, clipped to the range.
    fn busy(&self, from: DateTime<Utc>, to: DateTime<Utc>, display: Tz) -> Value {
        let window = Window { from: Some(from), to: Some(to) };
        let instances = expand(&self.records, window, self.zone, &self.replaced);
        let mut blocks: Vec<(DateTime<Utc>, DateTime<Utc>)> = instances
            .iter()
            .filter_map(|record| record.times)
            .map(|times| (times.start.instant(self.zone).max(from), times.end.instant(self.zone).min(to)))
            .filter(|(start, end)| start < end)
            .collect();
        blocks.sort();
        let mut merged: Vec<(DateTime<Utc>, DateTime<Utc>)> = Vec::new();
        for (start, end) in blocks {
            match merged.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        merged
            .iter()
            .map(|(start, end)| json!({ "start": rfc3339(*start, display), "end": rfc3339(*end, display) }))
            .collect()
    }
}
