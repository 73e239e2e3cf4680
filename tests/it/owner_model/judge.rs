//! Compares the mirror with the stand-in's own model, row by row and minute by minute.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use slotd::{
    domain::{Event, EventKind, EventStatus, EventTime},
    store::Sql,
};

use super::{editing::Editing, seen::Seen};
use crate::stage::{Intervals, Owner, Stage};

const STANDING: &str =
    "SELECT google_id, covered_from, covered_to, COALESCE(as_of, 0), failures, lease_until, dirty - seen,
       time_zone, COALESCE(last_error, '')
  FROM calendar ORDER BY google_id";
const BUSY: &str = "SELECT c.google_id, b.start_at, b.end_at, b.event_id FROM busy_slot b
  JOIN calendar c ON c.business_id = b.business_id AND c.id = b.calendar_id AND c.generation = b.generation";
const EVENTS: &str = "SELECT c.google_id, e.facts FROM event e
  JOIN calendar c ON c.business_id = e.business_id AND c.id = e.calendar_id AND c.generation = e.generation";
/// Google refuses longer questions about busy time.
const ASKED_DAYS: TimeDelta = TimeDelta::days(60);

/// How the mirror of a calendar stands.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) google_id: String,
    pub(super) covered_from: Option<i64>,
    pub(super) covered_to: Option<i64>,
    pub(super) as_of: i64,
    pub(super) failures: i64,
    pub(super) lease_until: i64,
    pub(super) unseen: i64,
    pub(super) time_zone: String,
    pub(super) last_error: String,
}

type StandingRow = (String, Option<i64>, Option<i64>, i64, i64, i64, i64, String, String);

pub(super) async fn standings(stage: &Stage) -> Vec<Standing> {
    let rows: Vec<StandingRow> = stage.raw.rows(Sql::same(STANDING)).await;
    rows.into_iter()
        .map(|(google_id, covered_from, covered_to, as_of, failures, lease_until, unseen, time_zone, last_error)| {
            Standing {
                google_id,
                covered_from,
                covered_to,
                as_of,
                failures,
                lease_until,
                unseen,
                time_zone,
                last_error,
            }
        })
        .collect()
}

fn instant(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap()
}

fn shown(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Everything that differs, in words; empty when nothing does.
pub(super) async fn differences(stage: &Stage, editing: &Editing, seen: &mut Seen, page_size: usize) -> Vec<String> {
    let mut found = Vec::new();
    let busy: Vec<(String, i64, i64, String)> = stage.raw.rows(Sql::same(BUSY)).await;
    let events: Vec<(String, String)> = stage.raw.rows(Sql::same(EVENTS)).await;
    for standing in standings(stage).await {
        let calendar = standing.google_id.as_str();
        let (Some(from), Some(to)) = (standing.covered_from, standing.covered_to) else {
            found.push(format!("{calendar} covers nothing: {}", standing.last_error));
            continue;
        };
        let window = (instant(from), instant(to));
        let slots: Vec<(DateTime<Utc>, DateTime<Utc>, &str)> = busy
            .iter()
            .filter(|(id, ..)| id == calendar)
            .map(|(_, start, end, event)| (instant(*start), instant(*end), event.as_str()))
            .collect();
        let listed = list(&stage.google, calendar).await;
        note_order(&listed, seen, page_size);
        compare_busy(stage, editing, calendar, window, &slots, &listed, &mut found).await;

        let ours: BTreeSet<String> = events
            .iter()
            .filter(|(id, _)| id == calendar)
            .map(|(_, facts)| told(&serde_json::from_str(facts).unwrap()))
            .collect();
        let theirs: BTreeSet<String> = listed.iter().map(told_by_google).collect();
        for (whose, rows, others) in [("only in the mirror", &ours, &theirs), ("only at Google", &theirs, &ours)] {
            for row in rows.difference(others).take(5) {
                found.push(format!("{calendar}, {whose}: {row}"));
                found.extend(editing.history(calendar, row.split(' ').next().unwrap()));
            }
        }
        if standing.time_zone != zone_at_google(&stage.google, calendar).await {
            found.push(format!("{calendar} is thought to be in {}", standing.time_zone));
        }
    }
    found
}

async fn compare_busy(
    stage: &Stage,
    editing: &Editing,
    calendar: &str,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    slots: &[(DateTime<Utc>, DateTime<Utc>, &str)],
    listed: &[Value],
    found: &mut Vec<String>,
) {
    let clipped = slots.iter().map(|(start, end, _)| ((*start).max(from), (*end).min(to)));
    let ours = merged(clipped.filter(|(start, end)| start < end).collect());
    let theirs = busy_at_google(&stage.google, calendar, from, to).await;
    let mut shown_events = BTreeSet::new();
    for (whose, list, others) in [("busy only in the mirror", &ours, &theirs), ("busy only at Google", &theirs, &ours)]
    {
        for (start, end) in minus(list, others).iter().take(3) {
            let meets = |(a, b, _): &&(DateTime<Utc>, DateTime<Utc>, &str)| a < end && b > start;
            let causes: BTreeSet<&str> = slots.iter().filter(meets).map(|(_, _, event)| *event).collect();
            let theirs = instances_at_google(&stage.google, calendar, *start, *end).await;
            found.push(format!(
                "{calendar}, {whose}: {}–{}; by the mirror {causes:?}, by Google {theirs:?}",
                shown(*start),
                shown(*end)
            ));
            let causes: Vec<String> = causes
                .iter()
                .map(|id| (*id).to_owned())
                .chain(theirs)
                .filter(|id| shown_events.len() < 6 && shown_events.insert(id.clone()))
                .collect();
            for id in causes {
                let series = id.split('_').next().unwrap_or_default();
                found.extend(listed.iter().filter(|event| event["id"] == series).map(|event| format!("  now {event}")));
                found.extend(editing.history(calendar, &id));
            }
        }
    }
}

/// Joins what overlaps or touches, as Google does.
fn merged(mut list: Intervals) -> Intervals {
    list.sort_unstable();
    let mut merged: Intervals = Vec::new();
    for (start, end) in list {
        match merged.last_mut() {
            Some(before) if start <= before.1 => before.1 = before.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged
}

/// What lies in `list` and not in `others`, both merged.
fn minus(list: &Intervals, others: &Intervals) -> Intervals {
    let mut left = Vec::new();
    for (start, end) in list {
        let mut from = *start;
        for (other_start, other_end) in others.iter().filter(|other| other.0 < *end && other.1 > *start) {
            if *other_start > from {
                left.push((from, *other_start));
            }
            from = from.max(*other_end);
        }
        if from < *end {
            left.push((from, *end));
        }
    }
    left
}

async fn busy_at_google(google: &Owner, calendar: &str, from: DateTime<Utc>, to: DateTime<Utc>) -> Intervals {
    let (mut found, mut start) = (Vec::new(), from);
    while start < to {
        let end = (start + ASKED_DAYS).min(to);
        let question = json!({ "timeMin": shown(start), "timeMax": shown(end), "items": [{ "id": calendar }] });
        let answer = google.editor().post("/freeBusy", &question).await.ok();
        let time = |value: &Value| value.as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
        let busy = answer["calendars"][calendar]["busy"].as_array().unwrap();
        found.extend(busy.iter().map(|one| (time(&one["start"]), time(&one["end"]))));
        start = end;
    }
    merged(found)
}

/// Every live event and every hole, series as one.
async fn list(google: &Owner, calendar: &str) -> Vec<Value> {
    let (mut found, mut page) = (Vec::new(), String::new());
    loop {
        let answer = google.editor().get(&format!("/calendars/{calendar}/events?maxResults=2500{page}")).await.ok();
        found.extend(answer["items"].as_array().unwrap().iter().cloned());
        match answer["nextPageToken"].as_str() {
            Some(token) => page = format!("&pageToken={token}"),
            None => return found,
        }
    }
}

async fn zone_at_google(google: &Owner, calendar: &str) -> String {
    let answer = google.editor().get(&format!("/calendars/{calendar}")).await.ok();
    answer["timeZone"].as_str().unwrap().to_owned()
}

async fn instances_at_google(google: &Owner, calendar: &str, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<String> {
    let query = format!("singleEvents=true&timeMin={}&timeMax={}", shown(from), shown(to));
    let answer = google.editor().get(&format!("/calendars/{calendar}/events?{query}")).await.json();
    let items = answer["items"].as_array().cloned().unwrap_or_default();
    items.iter().map(|item| item["id"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Whether slotd's own passes meet an exception before its master, on one page or on another.
fn note_order(listed: &[Value], seen: &mut Seen, page_size: usize) {
    let places: BTreeMap<&str, usize> =
        listed.iter().enumerate().filter_map(|(place, event)| Some((event["id"].as_str()?, place))).collect();
    for (place, event) in listed.iter().enumerate() {
        if let Some(master) = event["recurringEventId"].as_str().and_then(|id| places.get(id)).filter(|at| **at > place)
        {
            seen.note("an exception is listed before its master");
            if *master / page_size > place / page_size {
                seen.note("an exception is listed on an earlier page than its master");
            }
        }
    }
}

fn told(event: &Event) -> String {
    let time = |time: &EventTime| match time {
        EventTime::Date(date) => date.to_string(),
        EventTime::At { at, zone } => format!("{}[{}]", shown(*at), zone.map_or("", chrono_tz::Tz::name)),
    };
    let kind = match &event.kind {
        EventKind::Single => "once".to_owned(),
        EventKind::Master { recurrence } => recurrence.join(" "),
        EventKind::Exception { master, original } => format!("instead of {master} at {}", time(original)),
    };
    let status = match event.status {
        EventStatus::Confirmed => "confirmed",
        EventStatus::Tentative => "tentative",
        EventStatus::Cancelled => "cancelled",
    };
    let times = event.times.as_ref().map(|(start, end)| format!("{}–{}", time(start), time(end)));
    let times = times.unwrap_or_default();
    format!("{} {kind} {status} {times} free: {} declined: {}", event.id, event.transparent, event.declined)
}

fn told_by_google(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let time = |time: &Value| {
        if let Some(date) = time["date"].as_str() {
            return date.to_owned();
        }
        let at: DateTime<Utc> = time["dateTime"].as_str().unwrap().parse().unwrap();
        format!("{}[{}]", shown(at), text(&time["timeZone"]))
    };
    let kind = match (event["recurringEventId"].as_str(), event["recurrence"].as_array()) {
        (Some(master), _) => format!("instead of {master} at {}", time(&event["originalStartTime"])),
        (None, Some(lines)) => lines.iter().map(&text).collect::<Vec<_>>().join(" "),
        (None, None) => "once".to_owned(),
    };
    let status = text(&event["status"]);
    let times = if event["start"].is_object() {
        format!("{}–{}", time(&event["start"]), time(&event["end"]))
    } else {
        String::new()
    };
    let free = event["transparency"] == "transparent";
    let no = |attendee: &Value| attendee["self"] == true && attendee["responseStatus"] == "declined";
    let declined = event["attendees"].as_array().is_some_and(|all| all.iter().any(no));
    format!("{} {kind} {status} {times} free: {free} declined: {declined}", text(&event["id"]))
}
