//! `events.list` and `events.instances`.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use axum::response::Response;
use chrono_tz::Tz;
use serde_json::{Map, Value, json};

use super::Call;
use super::asked::{Asked, FREE, Last, Order, PagePoint, RESULTS_DEFAULT, RESULTS_MAX};
use super::disorder::{NextPage, disturbed, is_shuffled, shuffled};
use super::events::{Viewer, view};
use super::lag::seen;
use crate::faults::Effect;
use crate::model::{Calendar, Record, Role, Window, digest, expand, instances_of, millis};
use crate::refusal::Refusal;

pub(super) fn list(call: &Call) -> Result<Response, Refusal> {
    let model = call.state.model();
    let (calendar, role) = model.calendar(call.user(), call.calendar())?;
    let asked = Asked::read(call)?;
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
    let shuffled_pass = is_shuffled(&asked);
    let selected = select(&asked, calendar, upto);
    let zone = calendar.zone;
    let replaced = if asked.single { calendar.replaced() } else { HashSet::new() };
    // Expanding and rendering need no lock: stored events never change.
    drop(model);

    let (records, last) = match asked.order {
        Order::Revision if shuffled_pass => paged(&asked, selected, |record| shuffled(upto, record)),
        Order::Revision => cut(selected, asked.results_max, |record| Last::Revision(record.revision)),
        Order::Start | Order::Updated => {
            let records = if asked.single { expand(&selected, asked.window, zone, &replaced) } else { selected };
            sorted(&asked, records, zone)
        }
    };
    let next = last.map(|last| NextPage { number: call.page + 1, last });
    let (records, next) = disturbed(&asked, upto, records, next, |record| match asked.order {
        Order::Revision if shuffled_pass => shuffled(upto, record),
        Order::Revision => Last::Revision(record.revision),
        Order::Start | Order::Updated => sort_key(&asked, record, zone),
    });
    let view = view(call, viewer, asked.show_deleted)?;
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
fn sorted(asked: &Asked, records: Vec<Arc<Record>>, zone: Tz) -> (Vec<Arc<Record>>, Option<Last>) {
    paged(asked, records, |record| sort_key(asked, record, zone))
}

fn sort_key(asked: &Asked, record: &Record, zone: Tz) -> Last {
    let at = match record.times {
        Some(times) if asked.order == Order::Start => times.start.instant(zone),
        _ => record.updated,
    };
    Last::Sorted(at.timestamp_micros(), record.id.clone())
}

/// The asked page of all records in the order of `key`.
fn paged(
    asked: &Asked,
    mut records: Vec<Arc<Record>>,
    key: impl Fn(&Arc<Record>) -> Last,
) -> (Vec<Arc<Record>>, Option<Last>) {
    records.sort_by_cached_key(&key);
    if let Some(page) = &asked.page {
        let shown = records.partition_point(|record| key(record) <= page.last);
        records.drain(..shown);
    }
    cut(records, asked.results_max, key)
}

/// The stored events of the answer. In revision order it stops one past the end of the page.
fn select(asked: &Asked, calendar: &Calendar, upto: u64) -> Vec<Arc<Record>> {
    let since = asked.since.as_ref().map_or(0, |since| since.revision);
    let (top, limit) = match (&asked.page, asked.order) {
        (Some(PagePoint { last: Last::Revision(last), .. }), Order::Revision) => {
            (last.saturating_sub(1), asked.results_max + 1)
        }
        (_, Order::Revision) if !is_shuffled(asked) => (upto, asked.results_max + 1),
        // Sorted passes see the present state; what changes meanwhile is above `upto` and comes again.
        _ => (calendar.revision, usize::MAX),
    };
    let mut selected = Vec::new();
    let _: ControlFlow<()> = calendar.changes(since + 1..=top).try_for_each(|record| {
        // An expansion is cut to the window later.
        let timely = asked.single && !record.cancelled || asked.in_window(record, calendar);
        if timely && asked.wants(record, calendar) {
            selected.push(Arc::clone(record));
        }
        if selected.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    selected
}

/// Shortens to one page; `Some` last entry when there is more.
fn cut(
    mut records: Vec<Arc<Record>>,
    most: usize,
    key: impl Fn(&Arc<Record>) -> Last,
) -> (Vec<Arc<Record>>, Option<Last>) {
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
    let binding = digest(&["instances", call.user(), call.calendar(), call.event(), &query.shape(FREE)]);
    let page: Option<Last> = call.open_page(&binding)?;

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
        Last::Sorted(original, record.id.clone())
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
    let view = view(call, viewer, true)?;
    answer.insert("items".to_owned(), records.iter().map(|record| record.show(view)).collect());
    if let Some(last) = last {
        answer.insert("nextPageToken".to_owned(), json!(call.seal_page(&binding, call.page + 1, &last)));
    }
    call.answer(Value::Object(answer))
}
