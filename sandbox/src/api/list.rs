//! `events.list` and `events.instances`.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Call;
use super::events::view;
use crate::model::{Calendar, Record, Role, Window, digest, expand, instances_of, millis};
use crate::refusal::Refusal;

/// Parameters that neither a page nor a sync token depends on.
const FREE: &[&str] = &["alt", "fields", "key", "maxResults", "pageToken", "prettyPrint", "quotaUser", "userIp"];
/// Parameters that a sync token does not depend on: the token itself, and what cannot be given along with it.
const FREE_OF_SYNC: &[&str] = &["syncToken", "timeMin", "timeMax", "updatedMin"];
/// Parameters that cannot be given along with a sync token.
const NOT_WITH_SYNC: &[&str] =
    &["iCalUID", "privateExtendedProperty", "q", "sharedExtendedProperty", "timeMin", "timeMax", "updatedMin"];

const RESULTS_DEFAULT: usize = 250;
const RESULTS_MAX: usize = 2500;

/// Where a sync token's pass ended.
#[derive(Debug, Serialize, Deserialize)]
struct SyncPoint {
    revision: u64,
    epoch: u64,
}

/// Where a page ended, and the revision at which its pass began.
#[derive(Debug, Serialize, Deserialize)]
struct PagePoint {
    upto: u64,
    epoch: u64,
    last: Last,
}

/// The last entry of a page, by the order of its pass.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Last {
    Revision(u64),
    Sorted(i64, String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Revision,
    Start,
    Updated,
}

struct Asked<'a> {
    call: &'a Call,
    single: bool,
    show_deleted: bool,
    order: Order,
    named_order: bool,
    window: Window,
    updated_min: Option<chrono::DateTime<chrono::Utc>>,
    results_max: usize,
    since: Option<SyncPoint>,
    page: Option<PagePoint>,
}

impl<'a> Asked<'a> {
    fn read(call: &'a Call, sync_binding: &str, page_binding: &str) -> Result<Self, Refusal> {
        let query = &call.query;
        let single = query.flag("singleEvents")?.unwrap_or(false);
        let named_order = query.has("orderBy");
        let order = match query.get("orderBy") {
            None if single => Order::Start,
            None => Order::Revision,
            Some("updated") => Order::Updated,
            Some("startTime") if single => Order::Start,
            Some("startTime") => {
                return Err(Refusal::bad_request("The requested ordering is not available for the particular query."));
            }
            Some(_) => return Err(Refusal::parameter("orderBy", "Invalid value for orderBy.")),
        };
        let window = Window { from: query.time("timeMin")?, to: query.time("timeMax")? };
        if let (Some(from), Some(to)) = (window.from, window.to)
            && from >= to
        {
            return Err(Refusal::time_range_empty());
        }
        let since = match query.get("syncToken") {
            Some(token) => {
                if named_order {
                    return Err(Refusal::bad_request("Sync token cannot be used with non-default ordering."));
                }
                if NOT_WITH_SYNC.iter().any(|name| query.has(name)) || query.flag("showDeleted")? == Some(false) {
                    return Err(Refusal::bad_request("Sync token cannot be used with other request restrictions."));
                }
                let point = call.state.sealer.open(sync_binding, token);
                Some(point.ok_or_else(Refusal::invalid_sync_token)?)
            }
            None => None,
        };
        let page = match query.get("pageToken") {
            Some(token) => {
                let point = call.state.sealer.open(page_binding, token);
                Some(point.ok_or_else(Refusal::invalid_page_token)?)
            }
            None => None,
        };
        Ok(Self {
            call,
            single,
            show_deleted: query.flag("showDeleted")?.unwrap_or(false),
            order,
            named_order,
            window,
            updated_min: query.time("updatedMin")?,
            results_max: query.count("maxResults", RESULTS_MAX)?.unwrap_or(RESULTS_DEFAULT),
            since,
            page,
        })
    }

    /// Whether a stored event belongs to the answer, its place in time aside.
    fn wants(&self, record: &Record, calendar: &Calendar) -> bool {
        let query = &self.call.query;
        if record.cancelled && self.since.is_none() && !self.show_deleted {
            // Holes in live series are listed even so, unless series are expanded.
            let hole = record.exception.is_some() && calendar.has_live_master(record);
            if self.updated_min.is_none() && (self.single || !hole) {
                return false;
            }
        }
        if self.updated_min.is_some_and(|least| record.updated < least) {
            return false;
        }
        let has = |kind: &str, pair: &str| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            record.body.get("extendedProperties").is_some_and(|all| all[kind][key] == value)
        };
        let mut kinds = query.all("eventTypes").peekable();
        // A tombstone without details may have been of any type.
        let kind_fits =
            kinds.peek().is_none() || record.cancelled || kinds.any(|kind| kind == record.text("eventType"));
        kind_fits
            && query.get("iCalUID").is_none_or(|uid| record.text("iCalUID") == uid)
            && query.all("privateExtendedProperty").all(|pair| has("private", pair))
            && query.all("sharedExtendedProperty").all(|pair| has("shared", pair))
            && query.get("q").is_none_or(|words| mentions(record, words))
    }

    /// Whether the event, or any instance of the series, lies in the window.
    fn in_window(&self, record: &Arc<Record>, calendar: &Calendar) -> bool {
        if self.window.from.is_none() && self.window.to.is_none() {
            return true;
        }
        if let (true, Some(exception)) = (record.cancelled, &record.exception) {
            let at = exception.original.instant(calendar.zone);
            return self.window.meets(at, at + chrono::TimeDelta::seconds(1));
        }
        match &record.series {
            Some(_) => !instances_of(record, &[], self.window, calendar.zone).is_empty(),
            None => record.overlaps(self.window, calendar.zone),
        }
    }
}

fn mentions(record: &Record, words: &str) -> bool {
    let text = ["summary", "description", "location"].map(|field| record.text(field).to_lowercase()).join("\n");
    words.to_lowercase().split_whitespace().all(|word| text.contains(word))
}

pub(super) fn list(call: &Call) -> Result<Response, Refusal> {
    let free_of_sync: Vec<&str> = FREE.iter().chain(FREE_OF_SYNC).copied().collect();
    let calendar_id = crate::model::resolve(call.user(), call.calendar()).to_owned();
    let sync_binding = digest(&["sync", call.user(), &calendar_id, &call.query.shape(&free_of_sync)]);
    let page_binding = digest(&["page", call.user(), &calendar_id, &call.query.shape(FREE)]);

    let model = call.state.model();
    let (calendar, role) = model.calendar(call.user(), call.calendar())?;
    let asked = Asked::read(call, &sync_binding, &page_binding)?;
    let epoch = call.state.faults.token_epoch(&calendar.id);
    let begun_in = asked.page.as_ref().map(|page| page.epoch).or(asked.since.as_ref().map(|since| since.epoch));
    if asked.since.is_some() && begun_in != Some(epoch) {
        return Err(Refusal::full_sync_required());
    }
    let upto = asked.page.as_ref().map_or(calendar.revision, |page| page.upto);
    let mut answer = head(calendar, role);
    let selected = select(&asked, calendar, upto);
    let zone = calendar.zone;
    let replaced: HashSet<String> = if asked.single {
        calendar.all().filter(|record| record.exception.is_some()).map(|record| record.id.clone()).collect()
    } else {
        HashSet::new()
    };
    // Expanding and rendering need no lock: stored events never change.
    drop(model);

    let (records, last) = match asked.order {
        Order::Revision => cut(selected, asked.results_max, |record| Last::Revision(record.revision)),
        order => {
            let mut records = if asked.single { expand(&selected, asked.window, zone, &replaced) } else { selected };
            let key = |record: &Arc<Record>| {
                let at = match order {
                    Order::Updated => record.updated,
                    _ => record.times.map_or(record.updated, |times| times.start.instant(zone)),
                };
                Last::Sorted(at.timestamp_micros(), record.id.clone())
            };
            records.sort_by_cached_key(key);
            if let Some(page) = &asked.page {
                records.retain(|record| key(record) > page.last);
            }
            records.truncate(asked.results_max + 1);
            cut(records, asked.results_max, key)
        }
    };
    let view = view(call, role, asked.show_deleted)?;
    if let Some(zone) = view.zone {
        answer.insert("timeZone".to_owned(), json!(zone.name()));
    }
    answer.insert("items".to_owned(), records.iter().map(|record| record.show(view)).collect());
    if let Some(last) = last {
        let token = call.state.sealer.seal(&page_binding, &PagePoint { upto, epoch, last });
        answer.insert("nextPageToken".to_owned(), json!(token));
    } else if !asked.named_order {
        let token = call.state.sealer.seal(&sync_binding, &SyncPoint { revision: upto, epoch });
        answer.insert("nextSyncToken".to_owned(), json!(token));
    }
    call.answer(Value::Object(answer))
}

/// The stored events of the answer. In revision order it stops one past the end of the page.
fn select(asked: &Asked, calendar: &Calendar, upto: u64) -> Vec<Arc<Record>> {
    let since = asked.since.as_ref().map_or(0, |since| since.revision);
    let (top, limit) = match (&asked.page, asked.order) {
        (Some(PagePoint { last: Last::Revision(last), .. }), Order::Revision) => {
            (last.saturating_sub(1), asked.results_max + 1)
        }
        (_, Order::Revision) => (upto, asked.results_max + 1),
        // Sorted passes see the present state; what changes meanwhile is above `upto` and comes again.
        _ => (calendar.revision, usize::MAX),
    };
    let mut selected = Vec::new();
    let _: ControlFlow<()> = calendar.changes(since + 1..=top).try_for_each(|record| {
        // An expansion is cut to the window later; a deleted event has no times any more.
        let timely = asked.single && asked.order != Order::Revision || asked.in_window(record, calendar);
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
    let page: Option<Last> = match query.get("pageToken") {
        Some(token) => Some(call.state.sealer.open(&binding, token).ok_or_else(Refusal::invalid_page_token)?),
        None => None,
    };

    let model = call.state.model();
    let (calendar, role) = model.calendar(call.user(), call.calendar())?;
    let master = calendar.stored(call.event()).cloned().ok_or_else(Refusal::not_found)?;
    let exceptions: Vec<_> = calendar
        .all()
        .filter(|record| record.exception.as_ref().is_some_and(|exception| exception.master == master.id))
        .cloned()
        .collect();
    let zone = calendar.zone;
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
            let start = record.body.get("originalStartTime").map(|time| (&time["dateTime"], &time["date"]));
            start.is_some_and(|(date_time, date)| date_time == original || date == original)
        });
    }
    records.sort_by_cached_key(key);
    if let Some(last) = &page {
        records.retain(|record| key(record) > *last);
    }
    let (records, last) = cut(records, most, key);
    let view = view(call, role, true)?;
    answer.insert("items".to_owned(), records.iter().map(|record| record.show(view)).collect());
    if let Some(last) = last {
        answer.insert("nextPageToken".to_owned(), json!(call.state.sealer.seal(&binding, &last)));
    }
    call.answer(Value::Object(answer))
}
