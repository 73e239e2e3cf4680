//! `events.list` and `events.instances`.

use std::collections::HashSet;
use std::sync::Arc;

use axum::response::Response;
use chrono_tz::Tz;
use serde_json::{Map, Value, json};

use super::Call;
use super::asked::{Asked, FREE, Order, RESULTS_DEFAULT, RESULTS_MAX, first_place};
use super::disorder::{NextPage, disturbed, shuffled};
use super::events::{Viewer, view};
use super::lag::seen;
use crate::faults::Effect;
use crate::model::{Calendar, Place, Record, Role, Window, digest, expand, instances_of, millis, place};
use crate::refusal::Refusal;

pub(super) fn list(call: &Call) -> Result<Response, Refusal> {
    let model = call.state.model();
    let (calendar, role) = model.calendar(call.user(), call.calendar())?;
    let asked = Asked::read(call, role)?;
    let calendar = &*seen(call, calendar, asked.least_revision());
    let epoch = call.state.faults.token_epoch(&calendar.id);
    if asked.has_expired(epoch) {
        return Err(Refusal::full_sync_required());
    }
    let upto = match (&asked.page, &asked.since) {
        (Some(page), _) => page.upto,
        (None, Some(since)) if call.effect == Some(Effect::Stale) => since.revision,
        (None, _) => calendar.revision,
    };
    let viewer = Viewer::new(calendar, role);
    let mut answer = head(calendar, role);
    let shuffled_pass = asked.is_shuffled();
    let selected = select(&asked, calendar, upto);
    let (zone, seed) = (calendar.zone, calendar.seed());
    let replaced = if asked.single { calendar.replaced() } else { HashSet::new() };
    // Expanding and rendering need no lock: stored events never change.
    drop(model);

    let (records, last) = match asked.order {
        Order::Any if shuffled_pass => paged(&asked, selected, |record| shuffled(upto, record)),
        Order::Any => cut(selected, asked.results_max, |record| place(seed, record)),
        Order::Start | Order::Updated => {
            let records = if asked.single { expand(&selected, asked.window, zone, &replaced) } else { selected };
            sorted(&asked, records, zone)
        }
    };
    let next = last.map(|last| NextPage { number: call.page + 1, last });
    let start = asked.page.as_ref().map(|page| page.last.clone());
    let (records, next) = disturbed(call, first_place(), start, records, next, |record| match asked.order {
        Order::Any if shuffled_pass => shuffled(upto, record),
        Order::Any => place(seed, record),
        Order::Start | Order::Updated => sort_key(&asked, record, zone),
    });
    let view = view(call, viewer, asked.show_deleted || call.state.options.full_tombstones)?;
    if let Some(zone) = view.zone {
        answer.insert("timeZone".to_owned(), json!(zone.name()));
    }
    answer.insert("items".to_owned(), records.iter().map(|record| record.show(view)).collect());
    if let Some((name, token)) = asked.token(upto, epoch, next) {
        answer.insert(name.to_owned(), json!(token));
    }
    call.answer(Value::Object(answer))
}

/// One page in the order of time or of the last write.
fn sorted(asked: &Asked, records: Vec<Arc<Record>>, zone: Tz) -> (Vec<Arc<Record>>, Option<Place>) {
    paged(asked, records, |record| sort_key(asked, record, zone))
}

fn sort_key(asked: &Asked, record: &Record, zone: Tz) -> Place {
    let at = match record.times {
        Some(times) if asked.order == Order::Start => times.start.instant(zone),
        _ => record.updated,
    };
    (at.timestamp_micros(), record.id.clone())
}

/// The asked page of all records in the order of `key`.
fn paged(
    asked: &Asked,
    mut records: Vec<Arc<Record>>,
    key: impl Fn(&Arc<Record>) -> Place,
) -> (Vec<Arc<Record>>, Option<Place>) {
    records.sort_by_cached_key(&key);
    if let Some(page) = &asked.page {
        let shown = records.partition_point(|record| key(record) <= page.last);
        records.drain(..shown);
    }
    cut(records, asked.results_max, key)
}

/// The stored events of the answer. In Google's own order they are those of one page, and one more if there is more.
fn select(asked: &Asked, calendar: &Calendar, upto: u64) -> Vec<Arc<Record>> {
    let wanted = |record: &&Arc<Record>| {
        // An expansion is cut to the window later.
        let timely = asked.single && !record.cancelled || asked.in_window(record, calendar);
        timely && asked.wants(record, calendar)
    };
    let since = asked.since.as_ref().map_or(0, |since| since.revision);
    let start = asked.page_start();
    match asked.order {
        // Sorted later, and cut then.
        Order::Any if asked.is_shuffled() => calendar.changes(since + 1..=upto).filter(wanted).cloned().collect(),
        Order::Any if since == 0 => {
            let listed = calendar.listed_after(&start);
            let known = listed.filter(|record| record.revision <= upto);
            known.filter(wanted).take(asked.results_max + 1).cloned().collect()
        }
        Order::Any => {
            let place = |record: &Arc<Record>| place(calendar.seed(), record);
            let mut changed: Vec<_> = calendar.changes(since + 1..=upto).filter(wanted).cloned().collect();
            changed.sort_by_cached_key(place);
            changed.into_iter().filter(|record| place(record) > start).take(asked.results_max + 1).collect()
        }
        // Sorted passes see the present state; what changes meanwhile is above `upto` and comes again.
        Order::Start | Order::Updated => {
            calendar.changes(since + 1..=calendar.revision).filter(wanted).cloned().collect()
        }
    }
}

/// Shortens to one page; `Some` last entry when there is more.
fn cut(
    mut records: Vec<Arc<Record>>,
    most: usize,
    key: impl Fn(&Arc<Record>) -> Place,
) -> (Vec<Arc<Record>>, Option<Place>) {
    let more = records.len() > most;
    records.truncate(most);
    let last = records.last().filter(|_| more).map(key);
    (records, last)
}

fn head(calendar: &Calendar, role: Role) -> Map<String, Value> {
    let head = json!({
        "kind": "calendar#events",
        "etag": calendar.etag(),
        "summary": calendar.summary,
        "description": "",
        "updated": millis(calendar.updated),
        "timeZone": calendar.zone.name(),
        "accessRole": role.name(),
        "defaultReminders": [],
    });
    head.as_object().cloned().unwrap_or_default()
}

pub(super) fn instances(call: &Call) -> Result<Response, Refusal> {
    let query = &call.query;
    let window = Window { from: query.time("timeMin")?, to: query.time("timeMax")? };
    let most = query.count("maxResults", RESULTS_MAX)?.unwrap_or(RESULTS_DEFAULT);
    let show_deleted = query.flag("showDeleted")?.unwrap_or(false);
    let binding = digest(&["instances", call.user(), call.calendar(), call.event(), &query.shape(FREE, &[])]);
    let page: Option<Place> = call.open_page(&binding)?;

    let model = call.state.model();
    let (calendar, role) = model.calendar(call.user(), call.calendar())?;
    let calendar = &*seen(call, calendar, 0);
    let master = calendar.stored(call.event()).cloned().ok_or_else(Refusal::not_found)?;
    let exceptions = calendar.exceptions_of(&master.id);
    let zone = calendar.zone;
    let viewer = Viewer::new(calendar, role);
    let mut answer = head(calendar, role);
    drop(model);

    let key = |record: &Arc<Record>| {
        let original =
            record.exception.as_ref().map_or(0, |exception| exception.original.instant(zone).timestamp_micros());
        (original, record.id.clone())
    };
    let mut records = instances_of(&master, &exceptions, window, zone);
    records.retain(|record| show_deleted || !record.cancelled);
    if let Some(original) = query.get("originalStart") {
        records.retain(|record| {
            let start = record.body().remove("originalStartTime").unwrap_or_default();
            start["dateTime"] == original || start["date"] == original
        });
    }
    records.sort_by_cached_key(key);
    if let Some(last) = &page {
        records.retain(|record| key(record) > *last);
    }
    let (records, last) = cut(records, most, key);
    let next = last.map(|last| NextPage { number: call.page + 1, last });
    let (records, next) = disturbed(call, first_place(), page, records, next, key);
    let view = view(call, viewer, true)?;
    answer.insert("items".to_owned(), records.iter().map(|record| record.show(view)).collect());
    if let Some(NextPage { number, last }) = next {
        answer.insert("nextPageToken".to_owned(), json!(call.seal_page(&binding, number, &last)));
    }
    call.answer(Value::Object(answer))
}
