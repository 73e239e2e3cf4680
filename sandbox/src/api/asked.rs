//! What a caller of `events.list` asks for: the query read, checked, and applied to one event at a time.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Call;
use super::disorder::NextPage;
use crate::faults::Effect;
use crate::model::{Calendar, Record, Window, digest, instances_of, resolve};
use crate::refusal::Refusal;

/// Parameters that neither a page nor a sync token depends on.
pub(super) const FREE: &[&str] =
    &["alt", "fields", "key", "maxResults", "pageToken", "prettyPrint", "quotaUser", "userIp"];
/// Parameters that a sync token does not depend on: the token itself, and what cannot be given along with it.
const FREE_OF_SYNC: &[&str] = &["syncToken", "timeMin", "timeMax", "updatedMin"];
/// Parameters that cannot be given along with a sync token.
const NOT_WITH_SYNC: &[&str] =
    &["iCalUID", "privateExtendedProperty", "q", "sharedExtendedProperty", "timeMin", "timeMax", "updatedMin"];

/// Parameters that depend on what is in an event.
const LOOK_INSIDE: &[&str] = &["eventTypes", "iCalUID", "privateExtendedProperty", "q", "sharedExtendedProperty"];

pub(super) const RESULTS_DEFAULT: usize = 250;
pub(super) const RESULTS_MAX: usize = 2500;

/// Where a sync token's pass ended.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SyncPoint {
    pub(super) revision: u64,
    pub(super) epoch: u64,
}

/// Where a page ended, and the revision at which its pass began.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PagePoint {
    pub(super) upto: u64,
    pub(super) last: Last,
}

/// The last entry of a page, by the order of its pass.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Last {
    Revision(u64),
    Sorted(i64, String),
}

/// In what order events are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Revision,
    Start,
    Updated,
}

/// A query for a list of events.
pub(super) struct Asked<'a> {
    call: &'a Call,
    /// What the caller's tokens are bound to.
    sync_binding: String,
    page_binding: String,
    pub(super) single: bool,
    pub(super) show_deleted: bool,
    pub(super) order: Order,
    pub(super) window: Window,
    updated_min: Option<DateTime<Utc>>,
    looks_inside: bool,
    pub(super) results_max: usize,
    pub(super) since: Option<SyncPoint>,
    pub(super) page: Option<PagePoint>,
}

impl<'a> Asked<'a> {
    pub(super) fn read(call: &'a Call) -> Result<Self, Refusal> {
        let query = &call.query;
        let calendar = resolve(call.user(), call.calendar());
        let free_of_sync: Vec<&str> = FREE.iter().chain(FREE_OF_SYNC).copied().collect();
        let sync_binding = digest(&["sync", call.user(), calendar, &query.shape(&free_of_sync)]);
        let page_binding = digest(&["page", call.user(), calendar, &query.shape(FREE)]);
        let single = query.flag("singleEvents")?.unwrap_or(false);
        let named_order = query.has("orderBy");
        let order = match query.get("orderBy") {
            None | Some("startTime") if single => Order::Start,
            None => Order::Revision,
            Some("updated") => Order::Updated,
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
                let point = call.state.sealer.open(&sync_binding, token);
                Some(point.ok_or_else(Refusal::invalid_sync_token)?)
            }
            None => None,
        };
        let page = call.open_page(&page_binding)?;
        Ok(Self {
            call,
            sync_binding,
            page_binding,
            single,
            show_deleted: query.flag("showDeleted")?.unwrap_or(false),
            order,
            window,
            updated_min: query.time("updatedMin")?,
            looks_inside: LOOK_INSIDE.iter().any(|name| query.has(name)) || (single && query.has("showDeleted")),
            results_max: query.count("maxResults", RESULTS_MAX)?.unwrap_or(RESULTS_DEFAULT),
            since,
            page,
        })
    }

    /// Whether the sync token of the query has been ended since it was made.
    pub(super) fn has_expired(&self, epoch: u64) -> bool {
        self.since.as_ref().is_some_and(|since| since.epoch != epoch)
    }

    /// The revision that the caller is known to have seen, or to have begun a pass at.
    pub(super) fn least_revision(&self) -> u64 {
        let since = self.since.as_ref().map_or(0, |since| since.revision);
        self.page.as_ref().map_or(since, |page| page.upto)
    }

    /// The fault that has struck the call.
    pub(super) fn effect(&self) -> Option<&Effect> {
        self.call.effect.as_ref()
    }

    /// The number of the asked page, from 1.
    pub(super) fn page_number(&self) -> u32 {
        self.call.page
    }

    pub(super) fn has_named_order(&self) -> bool {
        self.call.query.has("orderBy")
    }

    /// The token with which an answer ends: for the next page, else for the next sync.
    pub(super) fn token(&self, upto: u64, epoch: u64, next: Option<NextPage>) -> Option<(&'static str, String)> {
        let sealer = &self.call.state.sealer;
        match next {
            Some(NextPage { number, last }) => {
                let token = self.call.seal_page(&self.page_binding, number, &PagePoint { upto, last });
                Some(("nextPageToken", token))
            }
            None if self.has_named_order() => None,
            None => Some(("nextSyncToken", sealer.seal(&self.sync_binding, &SyncPoint { revision: upto, epoch }))),
        }
    }

    /// Whether a stored event belongs to the answer, its place in time aside.
    pub(super) fn wants(&self, record: &Record, calendar: &Calendar) -> bool {
        if record.cancelled && self.since.is_none() && self.updated_min.is_none() {
            // Holes in live series are listed even so, unless series are expanded.
            let hole = record.exception.is_some() && calendar.has_live_master(record);
            let shown = if self.single { self.show_deleted } else { self.show_deleted || hole };
            if !shown {
                return false;
            }
        }
        if self.updated_min.is_some_and(|least| record.updated < least) {
            return false;
        }
        // Few queries look into events, and those that do not need not read them.
        !self.looks_inside || self.fits(record)
    }

    fn fits(&self, record: &Record) -> bool {
        let query = &self.call.query;
        let body = record.body();
        let text = |field: &str| body.get(field).and_then(Value::as_str).unwrap_or_default();
        let has = |kind: &str, pair: &str| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            body.get("extendedProperties").is_some_and(|all| all[kind][key] == value)
        };
        let mentions = |words: &str| {
            let text = ["summary", "description", "location"].map(|field| text(field).to_lowercase()).join("\n");
            words.to_lowercase().split_whitespace().all(|word| text.contains(word))
        };
        let mut kinds = query.all("eventTypes").peekable();
        // A tombstone without details may have been of any type.
        let kind_fits = kinds.peek().is_none() || record.cancelled || kinds.any(|kind| kind == text("eventType"));
        // A deleted series is none of the instances that are asked for.
        let deleted_series = self.single && self.since.is_none() && record.cancelled && body.contains_key("recurrence");
        kind_fits
            && !deleted_series
            && query.get("iCalUID").is_none_or(|uid| text("iCalUID") == uid)
            && query.all("privateExtendedProperty").all(|pair| has("private", pair))
            && query.all("sharedExtendedProperty").all(|pair| has("shared", pair))
            && query.get("q").is_none_or(mentions)
    }

    /// Whether the event, or any instance of the series, lies in the window.
    pub(super) fn in_window(&self, record: &Arc<Record>, calendar: &Calendar) -> bool {
        if self.window.from.is_none() && self.window.to.is_none() {
            return true;
        }
        if let (true, Some(exception)) = (record.cancelled, &record.exception) {
            let at = exception.original.instant(calendar.zone);
            return self.window.meets(at, at + TimeDelta::seconds(1));
        }
        match &record.series {
            Some(_) => !instances_of(record, &[], self.window, calendar.zone).is_empty(),
            None => record.overlaps(self.window, calendar.zone),
        }
    }
}
