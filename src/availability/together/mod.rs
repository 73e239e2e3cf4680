//! Services that need several resources at once, such as a hairdresser and a basin.
//!
//! The resources stand in groups, of which one each is taken; that of the first group leads, and slots lie on its
//! opening hours. No resource is in two groups, so whether one group has somebody free does not depend on who is taken of
//! another: a combination can be had exactly when each group has somebody whom [`check`] accepts.

use chrono::{DateTime, Days, TimeDelta, Utc};
use chrono_tz::Tz;

use super::{
    Agenda, Reason, Rules, Slot,
    alternatives::{Alternative, DAYS_AHEAD, in_turn},
    check, slots,
    slots::{free_starts_of, spread},
};
use crate::domain::{
    Interval, ResourceId,
    zone::{instants_showing, utc_to_local},
};

/// Most groups of one service.
pub const GROUPS_MAX: usize = 5;

/// What is taken besides the lead: one of each further group, in their order. Nothing where one resource is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Besides([Option<ResourceId>; GROUPS_MAX - 1]);

impl Besides {
    /// Each of them.
    pub fn resources(&self) -> impl Iterator<Item = ResourceId> {
        self.0.iter().copied().flatten()
    }

    /// Whether the lead alone is taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.resources().next().is_none()
    }
}

/// More than there can be are passed over.
impl FromIterator<ResourceId> for Besides {
    fn from_iter<I: IntoIterator<Item = ResourceId>>(resources: I) -> Self {
        let mut besides = Self::default();
        for (place, resource) in besides.0.iter_mut().zip(resources) {
            *place = Some(resource);
        }
        besides
    }
}

/// What the groups say, put together: what each of them gives, or why the whole cannot be had.
///
/// One that says no is enough for a no, whatever is not known of the others. Of several reasons the one is told that is
/// furthest from a yes, and of equal ones that of the first group.
///
/// # Errors
///
/// That reason.
pub fn combine<T>(groups: impl IntoIterator<Item = Result<T, Reason>>) -> Result<Vec<T>, Reason> {
    let distance = |reason: Reason| match reason {
        Reason::OutsideCoverage | Reason::Stale => 0,
        Reason::Buffer => 1,
        Reason::Busy => 2,
        Reason::Closed => 3,
        // They are of the service itself, and so of every group.
        Reason::Cap | Reason::Horizon | Reason::Notice | Reason::Past => 4,
    };
    let (mut given, mut against) = (Vec::new(), None::<Reason>);
    for group in groups {
        match group {
            Ok(one) => given.push(one),
            Err(reason) if against.is_none_or(|known| distance(reason) > distance(known)) => against = Some(reason),
            Err(_) => {}
        }
    }
    against.map_or(Ok(given), Err)
}

/// One of each group that can be had at `start`, of each the first by [`Agenda::rank`]. `None` when a group has nobody.
#[must_use]
pub fn free_together(
    groups: &[Vec<Agenda<'_>>],
    rules: &Rules,
    start: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Option<Vec<ResourceId>> {
    free_preferring(None, groups, rules, start, now)
}

/// The same, and the `preferred` one before others.
fn free_preferring(
    preferred: Option<ResourceId>,
    groups: &[Vec<Agenda<'_>>],
    rules: &Rules,
    start: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Option<Vec<ResourceId>> {
    let free = |group: &Vec<Agenda<'_>>| {
        let able = group.iter().filter(|agenda| check(agenda, rules, start, now).is_ok());
        let first = able.min_by_key(|agenda| (Some(agenda.resource) != preferred, agenda.rank(start)))?;
        Some(first.resource)
    };
    groups.iter().map(free).collect()
}

/// The times that start within `range` and have somebody of each group: like [`slots`] of the first group, without those
/// at which another group has nobody.
#[must_use]
pub fn slots_together(
    groups: &[Vec<Agenda<'_>>],
    rules: &Rules,
    range: Interval,
    now: DateTime<Utc>,
    limit: usize,
    diverse: bool,
) -> Vec<Slot> {
    let Some((leads, besides)) = groups.split_first() else { return Vec::new() };
    let mut found: Vec<Slot> = Vec::new();
    let mut from = range.start();
    // Mostly the first days have enough.
    while let Some(day) = Interval::new(from, range.end().min(from + TimeDelta::days(1))) {
        let free: Vec<Vec<Starts>> = besides
            .iter()
            .map(|group| group.iter().filter_map(|agenda| free_starts_of(agenda, rules, day, now)).collect())
            .collect();
        let has_all = |slot: &Slot| {
            let start = slot.interval.start();
            free.iter().all(|group| group.iter().any(|starts| holds(starts, start)))
        };
        if free.iter().all(|group| !group.is_empty()) {
            found.extend(slots(leads, rules, day, now, usize::MAX, false).into_iter().filter(has_all));
        }
        if !diverse && found.len() >= limit {
            break;
        }
        from = day.end();
    }
    if diverse {
        found = spread(found, leads.first().map_or(Tz::UTC, |agenda| agenda.zone), limit);
    }
    found.truncate(limit);
    let offer = |slot: Slot| {
        let besides = free_together(besides, rules, slot.interval.start(), now)?.into_iter().collect();
        Some(Slot { besides, ..slot })
    };
    found.into_iter().filter_map(offer).collect()
}

/// Starts that can be had, as [`free_starts_of`] gives them.
type Starts = Vec<(DateTime<Utc>, DateTime<Utc>)>;

fn holds(starts: &Starts, start: DateTime<Utc>) -> bool {
    let next = starts.get(starts.partition_point(|(_, last)| *last < start));
    next.is_some_and(|(first, _)| *first <= start)
}

/// Up to `limit` other times near `asked`, as [`alternatives`](super::alternatives) of a single resource. `asked_resource`
/// may be of any group, and is preferred there.
#[must_use]
pub fn alternatives_together(
    groups: &[Vec<Agenda<'_>>],
    rules: &Rules,
    asked: DateTime<Utc>,
    asked_resource: Option<ResourceId>,
    now: DateTime<Utc>,
    limit: usize,
) -> Vec<Alternative> {
    let is_asked = |agenda: &Agenda<'_>| Some(agenda.resource) == asked_resource;
    // Only the group of the asked resource does without it.
    let mut elsewhere: Vec<Vec<Agenda<'_>>> = groups.to_vec();
    for group in &mut elsewhere {
        group.retain(|agenda| !is_asked(agenda));
    }

    let other = offer_at(&elsewhere, rules, asked, None, now);
    let another_day = same_time_another_day(groups, rules, asked, asked_resource, now);
    let soonest = soonest(groups, rules, asked, asked_resource, now, limit);
    in_turn(other, soonest, another_day, limit)
}

fn same_time_another_day(
    groups: &[Vec<Agenda<'_>>],
    rules: &Rules,
    asked: DateTime<Utc>,
    preferred: Option<ResourceId>,
    now: DateTime<Utc>,
) -> Vec<Slot> {
    let Some(zone) = groups.first().and_then(|leads| leads.first()).map(|agenda| agenda.zone) else {
        return Vec::new();
    };
    let local = utc_to_local(asked, zone);
    (1..=DAYS_AHEAD)
        .filter_map(|days| local.checked_add_days(Days::new(days)))
        .filter_map(|local| {
            instants_showing(local, zone).find_map(|start| offer_at(groups, rules, start, preferred, now))
        })
        .collect()
}

/// The next distinct starts after `asked`, or after the notice when that is later.
fn soonest(
    groups: &[Vec<Agenda<'_>>],
    rules: &Rules,
    asked: DateTime<Utc>,
    preferred: Option<ResourceId>,
    now: DateTime<Utc>,
    limit: usize,
) -> Vec<Slot> {
    let notice = now.checked_add_signed(rules.minimum_notice).unwrap_or(now);
    let from = asked.max(now).max(notice);
    let Some(range) = from.checked_add_days(Days::new(DAYS_AHEAD)).and_then(|end| Interval::new(from, end)) else {
        return Vec::new();
    };
    // A start may come once for each lead, and one of them is the asked time.
    let enough = limit.saturating_add(1).saturating_mul(groups.first().map_or(0, Vec::len));
    let mut found = slots_together(groups, rules, range, now, enough, false);
    // Stable: the preferred one first, and else the order in line.
    found.sort_by_key(|slot| (slot.interval.start(), Some(slot.resource) != preferred));
    found.dedup_by_key(|slot| slot.interval.start());
    found.retain(|slot| slot.interval.start() != asked);
    let besides = groups.get(1..).unwrap_or_default();
    let offer = |slot: Slot| {
        let besides = free_preferring(preferred, besides, rules, slot.interval.start(), now)?.into_iter().collect();
        Some(Slot { besides, ..slot })
    };
    found.into_iter().filter_map(offer).collect()
}

fn offer_at(
    groups: &[Vec<Agenda<'_>>],
    rules: &Rules,
    start: DateTime<Utc>,
    preferred: Option<ResourceId>,
    now: DateTime<Utc>,
) -> Option<Slot> {
    let mut free = free_preferring(preferred, groups, rules, start, now)?.into_iter();
    let interval = Interval::new(start, start.checked_add_signed(rules.duration)?)?;
    Some(Slot { interval, resource: free.next()?, besides: free.collect() })
}

#[cfg(test)]
mod tests;
