//! A mirrored calendar as answers tell it, and what its owner should do about it.

use serde::Serialize;

use super::{audits::AuditBody, wire::local};
use crate::{
    domain::{AccountId, CalendarId, ResourceId, access},
    store::{calendars::Calendar, limited::LimitedSeries},
};

/// Series of one calendar that the status names.
const LIMITED_SHOWN_MAX: usize = 5;

/// A mirrored calendar as answers tell it.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug, Serialize)]
pub(super) struct CalendarBody {
    id: CalendarId,
    account: AccountId,
    /// Google's id.
    google_id: String,
    summary: String,
    time_zone: &'static str,
    /// Google's word for what the account may do with it.
    access_role: String,
    /// Whether the account's list of calendars names it.
    listed: bool,
    /// Whether the owner hides it there.
    hidden: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<ResourceId>,
    blocks: bool,
    target: bool,
    /// `waiting` for its first sync, `syncing` it, `mirrored`, `failing`, or `lost` when Google does not show it any more.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost_since: Option<String>,
    /// What to do about it; absent when all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    what_to_do: Option<&'static str>,
    /// Bookings whose events are gone, and about which the owner is asked.
    #[serde(skip_serializing_if = "is_zero")]
    asked_bookings: i64,
    /// Items read by the first sync so far, or by the last pass.
    synced_events: i64,
    as_of: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    watched_until: Option<String>,
    /// Items that could only be read in part; they count as busy where their times can be told.
    odd_events: i64,
    /// Series that are not mirrored in full, when there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    limited_series: Option<LimitedBody>,
    next_sync_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    /// What its last audit found; only in the status.
    #[serde(skip_serializing_if = "Option::is_none")]
    audit: Option<AuditBody>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
const fn is_zero(count: &i64) -> bool {
    *count == 0
}

/// What the owner should do about a calendar with so many bookings to be asked about, the most urgent first.
fn advice(calendar: &Calendar, asked_bookings: i64) -> Option<&'static str> {
    let mirror = &calendar.mirror;
    if asked_bookings > 0 {
        return Some(
            "Many events of bookings were deleted at once, and the bookings stand. Say whether they end: POST \
             /api/v1/settings/{business_id}/calendar/{calendar_id}/cancellations with cancel or keep.",
        );
    }
    if mirror.lost_at.is_some() {
        return Some(
            "Google does not show this calendar any more. Share it with the account again, or mirror another one; what was \
             known stays busy meanwhile.",
        );
    }
    if calendar.target && !access::may_write(&calendar.access_role) {
        return Some(
            "Bookings cannot be written to this calendar. Let the account change its events, or choose another target.",
        );
    }
    if !mirror.listed {
        return Some(
            "The account's list of calendars lacks this one, though it can still be read. Add it there again, or mirror \
             another one.",
        );
    }
    None
}

/// Series of a calendar that are not mirrored in full.
#[derive(Debug, Default, Serialize)]
struct LimitedBody {
    count: i64,
    /// Some of them, when the status was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<LimitedEventBody>,
}

#[derive(Debug, Serialize)]
struct LimitedEventBody {
    event_id: String,
    /// `odd`: some of its rules cannot be read. `truncated`: it repeats more often than slotd follows.
    why: String,
}

impl LimitedBody {
    fn new(calendar: &Calendar, series: &[LimitedSeries]) -> Option<Self> {
        let id = calendar.id.to_string();
        let events = series.iter().filter(|(calendar, ..)| *calendar == id).take(LIMITED_SHOWN_MAX);
        let events = events.map(|(_, id, why)| LimitedEventBody { event_id: id.clone(), why: why.clone() }).collect();
        let count = calendar.mirror.limited_series;
        (count > 0).then_some(Self { count, events })
    }
}

impl CalendarBody {
    /// With what its last audit found.
    pub(super) fn audited(self, audit: Option<AuditBody>) -> Self {
        Self { audit, ..self }
    }

    /// What its owner should do about it.
    pub(super) const fn advice(&self) -> Option<&'static str> {
        self.what_to_do
    }

    /// Of several calendars, the advice for the greatest comes first.
    pub(super) fn urgency(&self) -> (bool, bool, bool, bool) {
        (self.what_to_do.is_some(), self.asked_bookings > 0, self.lost_since.is_some(), self.target)
    }

    pub(super) fn new(calendar: Calendar, asked_bookings: i64, series: &[LimitedSeries]) -> Self {
        let limited_series = LimitedBody::new(&calendar, series);
        let what_to_do = advice(&calendar, asked_bookings);
        let (zone, mirror) = (calendar.time_zone, calendar.mirror);
        Self {
            id: calendar.id,
            account: calendar.account,
            google_id: calendar.google_id,
            summary: calendar.summary,
            time_zone: zone.name(),
            access_role: calendar.access_role,
            listed: mirror.listed,
            hidden: mirror.hidden,
            lost_since: mirror.lost_at.map(|at| local(at, zone)),
            what_to_do,
            asked_bookings,
            resource: calendar.resource,
            blocks: calendar.blocks,
            target: calendar.target,
            state: match (mirror.as_of, mirror.failures, mirror.synced_events) {
                _ if mirror.lost_at.is_some() => "lost",
                (_, 1.., _) => "failing",
                (Some(_), _, _) => "mirrored",
                (None, _, 0) => "waiting",
                (None, _, _) => "syncing",
            },
            synced_events: mirror.synced_events,
            as_of: mirror.as_of.map(|at| local(at, zone)),
            watched_until: mirror.watched_until.map(|at| local(at, zone)),
            odd_events: mirror.odd_events,
            limited_series,
            next_sync_at: local(mirror.due_at, zone),
            last_error: mirror.last_error,
            audit: None,
        }
    }
}
