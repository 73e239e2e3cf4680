//! From mirrored events to busy intervals.

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;

pub use super::recurrence::Limits;
use super::{
    event::{Event, EventKind, EventStatus, EventTime},
    interval::Interval,
    recurrence::{First, Members, Stamp, members},
    zone::{day_start, local_to_utc, utc_to_local},
};

/// One busy stretch and the event that causes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Occurrence {
    /// From when to when; not cut to the window.
    pub interval: Interval,
    /// Google's id of the master, or of the exception that took an instance's place.
    pub event_id: String,
}

/// What a series makes busy in a window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expansion {
    /// What meets the window, sorted. Stretches may overlap.
    pub busy: Vec<Occurrence>,
    /// A limit was reached: there may be more.
    pub truncated: bool,
    /// Why some of the rules could not be read; then `busy` holds what could be.
    pub odd: Option<String>,
}

/// When an event that happens once, or an exception, takes place; whether it blocks is another question.
///
/// Dates are days in the calendar's zone. `None` without times, or when they hold no instant.
#[must_use]
pub fn single_interval(event: &Event, calendar_zone: Tz) -> Option<Interval> {
    let (start, end) = event.times?;
    Interval::new(instant(start, calendar_zone), instant(end, calendar_zone))
}

/// What a series makes busy in `window`: the occurrences that its rules give and no exception replaces, and the
/// exceptions at their own times.
///
/// * A cancelled master has nothing, exceptions included: Google does not send tombstones for each of them.
/// * A cancelled exception is a hole. Any other one counts with its own times, transparency and answer, also when the
///   rules no longer give its original start: Google still shows it.
/// * An exception is matched by its original start as an instant, or by the local date where one of both is a date.
#[must_use]
pub fn expand_series(
    master: &Event,
    exceptions: &[Event],
    calendar_zone: Tz,
    window: Interval,
    limits: &Limits,
) -> Expansion {
    if master.status == EventStatus::Cancelled {
        return Expansion::default();
    }
    let mut expansion = Expansion::default();
    if master.blocks() {
        let set = match (&master.kind, First::of(master, calendar_zone)) {
            (EventKind::Master { recurrence }, Some(first)) => {
                let replaced: Vec<Stamp> =
                    exceptions.iter().filter_map(|exception| first.replaced(exception)).collect();
                members(recurrence, &first, &replaced, window, limits)
            }
            (EventKind::Master { .. } | EventKind::Single | EventKind::Exception { .. }, _) => Members::default(),
        };
        let slots = set.intervals.into_iter();
        expansion.busy.extend(slots.map(|interval| Occurrence { interval, event_id: master.id.clone() }));
        expansion.truncated = set.truncated;
        expansion.odd = set.odd;
    }
    let blocking = exceptions.iter().filter(|exception| exception.blocks());
    expansion.busy.extend(blocking.filter_map(|exception| {
        let interval = single_interval(exception, calendar_zone).filter(|interval| interval.overlaps(window))?;
        Some(Occurrence { interval, event_id: exception.id.clone() })
    }));
    expansion.busy.sort_unstable();
    expansion
}

/// Whether `master` still has an occurrence where `exception` stands in for one. When the rules cannot be worked out, it
/// counts as having one.
#[must_use]
pub fn has_place_for(master: &Event, exception: &Event, calendar_zone: Tz, limits: &Limits) -> bool {
    let (EventKind::Master { recurrence }, EventKind::Exception { original, .. }) = (&master.kind, &exception.kind)
    else {
        return true;
    };
    let Some(first) = First::of(master, calendar_zone) else { return true };
    let start = first.replaced_start(*original);
    let Some(window) = Interval::new(start, start + TimeDelta::microseconds(1)) else { return true };
    let set = members(recurrence, &first, &[], window, limits);
    set.truncated || set.odd.is_some() || set.intervals.iter().any(|interval| interval.start() == start)
}

/// Where an event that does not block meets `window`: the time that it would take if it did. `series` is all that is known
/// of its series, itself included. Also whether a limit was reached before it was clear.
#[must_use]
pub fn free_interval(
    event: &Event,
    series: &[Event],
    calendar_zone: Tz,
    window: Interval,
    limits: &Limits,
) -> (Option<Interval>, bool) {
    let meets = |interval: Option<Interval>| interval.filter(|interval| interval.overlaps(window));
    match &event.kind {
        EventKind::Master { .. } => {
            let would = Event { status: EventStatus::Confirmed, transparent: false, declined: false, ..event.clone() };
            let exceptions: Vec<Event> =
                series.iter().filter(|one| matches!(one.kind, EventKind::Exception { .. })).cloned().collect();
            let expansion = expand_series(&would, &exceptions, calendar_zone, window, limits);
            let own = expansion.busy.into_iter().find(|occurrence| occurrence.event_id == event.id);
            (own.map(|occurrence| occurrence.interval), expansion.truncated)
        }
        EventKind::Exception { original, .. } if event.status == EventStatus::Cancelled => {
            let master = series.iter().find(|one| matches!(one.kind, EventKind::Master { .. }));
            let first = master.and_then(|master| First::of(master, calendar_zone));
            let hole = first.and_then(|first| {
                let start = first.replaced_start(*original);
                let end = if first.all_day {
                    day_start(utc_to_local(start, first.zone).date() + first.length, first.zone)
                } else {
                    start + first.length
                };
                Interval::new(start, end)
            });
            (meets(hole.or_else(|| single_interval(event, calendar_zone))), false)
        }
        EventKind::Single | EventKind::Exception { .. } => (meets(single_interval(event, calendar_zone)), false),
    }
}

impl First {
    /// The start that an exception with this `originalStartTime` stands in for.
    fn replaced_start(&self, original: EventTime) -> DateTime<Utc> {
        match original {
            EventTime::At { at, .. } if self.all_day => day_start(utc_to_local(at, self.zone).date(), self.zone),
            EventTime::At { at, .. } => at,
            EventTime::Date(date) if self.all_day => day_start(date, self.zone),
            EventTime::Date(date) => local_to_utc(date.and_time(self.local.time()), self.zone),
        }
    }

    fn of(master: &Event, calendar_zone: Tz) -> Option<Self> {
        let (start, end) = master.times?;
        Some(match (start, end) {
            (EventTime::Date(first), EventTime::Date(last)) => Self {
                start: day_start(first, calendar_zone),
                local: first.and_time(NaiveTime::MIN),
                all_day: true,
                zone: calendar_zone,
                length: last - first,
            },
            (EventTime::At { .. } | EventTime::Date(_), EventTime::At { .. } | EventTime::Date(_)) => {
                let zone = match start {
                    EventTime::At { zone, .. } => zone.unwrap_or(calendar_zone),
                    EventTime::Date(_) => calendar_zone,
                };
                let (start, end) = (instant(start, calendar_zone), instant(end, calendar_zone));
                Self { start, local: utc_to_local(start, zone), all_day: false, zone, length: end - start }
            }
        })
    }
    /// The place in the series that `exception` takes, in the terms of the series.
    fn replaced(&self, exception: &Event) -> Option<Stamp> {
        let EventKind::Exception { original, .. } = &exception.kind else { return None };
        Some(match *original {
            EventTime::Date(date) => Stamp::Date(date),
            EventTime::At { at, .. } if self.all_day => Stamp::Date(utc_to_local(at, self.zone).date()),
            EventTime::At { at, .. } => Stamp::Utc(at),
        })
    }
}

fn instant(time: EventTime, calendar_zone: Tz) -> DateTime<Utc> {
    match time {
        EventTime::Date(date) => day_start(date, calendar_zone),
        EventTime::At { at, .. } => at,
    }
}

#[cfg(test)]
mod tests;
