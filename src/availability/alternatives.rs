//! What to offer when the asked time is taken.

use chrono::{DateTime, Days, TimeDelta, Utc};
use serde::Serialize;

use super::{Agenda, Besides, Rules, Slot, check, slots};
use crate::domain::{
    Interval, ResourceId,
    zone::{instants_showing, utc_to_local},
};

/// How far ahead of the asked time to look: callers who hear "in a month" hang up.
pub(super) const DAYS_AHEAD: u64 = 14;

/// How an alternative differs from what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The same time, with somebody else.
    AnotherResource,
    /// Later, and as soon as possible.
    Soonest,
    /// The same time of day, on another day.
    AnotherDay,
}

/// What could be booked instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alternative {
    /// When and with whom.
    pub slot: Slot,
    /// How it differs from what was asked.
    pub kind: Kind,
}

/// Up to `limit` other times near `asked`, the best first, each start offered once.
///
/// In turn: the same time with another resource, the soonest after it, the same time on another day, and again the
/// next soonest. `asked_resource` is preferred where several are free; else the first by [`Agenda::rank`].
#[must_use]
pub fn alternatives(
    agendas: &[Agenda<'_>],
    rules: &Rules,
    asked: DateTime<Utc>,
    asked_resource: Option<ResourceId>,
    now: DateTime<Utc>,
    limit: usize,
) -> Vec<Alternative> {
    let other = same_time_elsewhere(agendas, rules, asked, asked_resource, now);
    let another_day = same_time_another_day(agendas, rules, asked, asked_resource, now);
    let soonest = soonest(agendas, rules, asked, asked_resource, now, limit);
    in_turn(other, soonest, another_day, limit)
}

/// Up to `limit` offers, each start once: `other`, and then in turn one of `soonest` and one of `another_day`.
pub(super) fn in_turn(
    other: Option<Slot>,
    soonest: Vec<Slot>,
    another_day: Vec<Slot>,
    limit: usize,
) -> Vec<Alternative> {
    let (mut soonest, mut another_day) = (soonest.into_iter(), another_day.into_iter());
    let mut offered: Vec<Alternative> = Vec::with_capacity(limit);
    let mut offer = |kind: Kind, slot: Option<Slot>| {
        if let Some(slot) = slot
            && offered.len() < limit
            && offered.iter().all(|earlier| earlier.slot.interval.start() != slot.interval.start())
        {
            offered.push(Alternative { slot, kind });
        }
    };
    offer(Kind::AnotherResource, other);
    // Each round takes one of both, and there are enough rounds for either to fill the list alone.
    for _ in 0..limit {
        offer(Kind::Soonest, soonest.next());
        offer(Kind::AnotherDay, another_day.next());
    }
    offer(Kind::Soonest, soonest.next());
    offered
}

fn same_time_elsewhere(
    agendas: &[Agenda<'_>],
    rules: &Rules,
    asked: DateTime<Utc>,
    asked_resource: Option<ResourceId>,
    now: DateTime<Utc>,
) -> Option<Slot> {
    let others = agendas.iter().filter(|agenda| Some(agenda.resource) != asked_resource);
    free_at(others, rules, asked, None, now)
}

fn same_time_another_day(
    agendas: &[Agenda<'_>],
    rules: &Rules,
    asked: DateTime<Utc>,
    preferred: Option<ResourceId>,
    now: DateTime<Utc>,
) -> Vec<Slot> {
    let Some(zone) = agendas.first().map(|agenda| agenda.zone) else { return Vec::new() };
    let local = utc_to_local(asked, zone);
    (1..=DAYS_AHEAD)
        .filter_map(|days| local.checked_add_days(Days::new(days)))
        .filter_map(|local| {
            instants_showing(local, zone).find_map(|start| free_at(agendas, rules, start, preferred, now))
        })
        .collect()
}

/// The next `limit` distinct starts after `asked`, or after the notice when that is later. One more is taken, because
/// the first may be the asked time with another resource.
fn soonest(
    agendas: &[Agenda<'_>],
    rules: &Rules,
    asked: DateTime<Utc>,
    preferred: Option<ResourceId>,
    now: DateTime<Utc>,
    limit: usize,
) -> Vec<Slot> {
    let notice = now.checked_add_signed(rules.minimum_notice).unwrap_or(now);
    let mut from = asked.max(now).max(notice);
    let Some(end) = from.checked_add_days(Days::new(DAYS_AHEAD)) else { return Vec::new() };
    let enough = limit.saturating_add(1).saturating_mul(agendas.len());
    let mut found: Vec<Slot> = Vec::new();
    // Mostly the first day has enough.
    while let Some(day) = Interval::new(from, end.min(from + TimeDelta::days(1))) {
        let mut of_day = slots(agendas, rules, day, now, enough, false);
        // Stable: the preferred one first, and else the order in line.
        of_day.sort_by_key(|slot| (slot.interval.start(), Some(slot.resource) != preferred));
        found.extend(of_day);
        found.dedup_by_key(|slot| slot.interval.start());
        if found.len() > limit {
            break;
        }
        from = day.end();
    }
    found.retain(|slot| slot.interval.start() != asked);
    found
}

fn free_at<'a>(
    agendas: impl IntoIterator<Item = &'a Agenda<'a>>,
    rules: &Rules,
    start: DateTime<Utc>,
    preferred: Option<ResourceId>,
    now: DateTime<Utc>,
) -> Option<Slot> {
    let able = agendas.into_iter().filter(|agenda| check(agenda, rules, start, now).is_ok());
    let free = able.min_by_key(|agenda| (Some(agenda.resource) != preferred, agenda.rank(start)))?;
    let interval = Interval::new(start, start.checked_add_signed(rules.duration)?)?;
    Some(Slot { interval, resource: free.resource, besides: Besides::default() })
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;
    use uuid::Uuid;

    use super::*;
    use crate::availability::{Timetable, WeeklyHours};

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn resource(number: u128) -> ResourceId {
        ResourceId::new(Uuid::from_u128(number))
    }

    #[test]
    fn each_kind_of_alternative_has_its_turn() {
        let hours: WeeklyHours =
            serde_json::from_str(r#"{"mon":[["09:00","17:00"]],"tue":[["09:00","17:00"]]}"#).unwrap();
        let asked = at("2026-11-23T10:00:00Z");
        let busy = [Interval::new(asked, asked + TimeDelta::hours(1)).unwrap()];
        let anna = Agenda {
            resource: resource(1),
            zone: Tz::UTC,
            hours: Timetable::from(&hours),
            capacity: 1,
            busy: &busy,
            claims: &[],
            coverage: None,
            withheld: None,
            capped: &[],
            load: &[],
        };
        let ben = Agenda { resource: resource(2), busy: &[], ..anna };
        let rules = Rules::lasting(TimeDelta::minutes(30));
        let now = at("2026-11-23T08:00:00Z");

        let offered = alternatives(&[ben, anna], &rules, asked, Some(anna.resource), now, 4);
        let shown: Vec<_> =
            offered.iter().map(|one| (one.slot.interval.start(), one.slot.resource, one.kind)).collect();
        assert_eq!(
            shown,
            [
                (asked, ben.resource, Kind::AnotherResource),
                (at("2026-11-23T10:15:00Z"), ben.resource, Kind::Soonest),
                (at("2026-11-24T10:00:00Z"), anna.resource, Kind::AnotherDay),
                (at("2026-11-23T10:30:00Z"), ben.resource, Kind::Soonest),
            ]
        );
    }

    #[test]
    fn alternatives_are_free_and_distinct() {
        let hours = WeeklyHours::always();
        let asked = at("2026-11-23T10:00:00Z");
        let claims = [Interval::new(asked, asked + TimeDelta::days(2)).unwrap()];
        let agenda = Agenda {
            resource: resource(1),
            zone: Tz::Europe__Berlin,
            hours: Timetable::from(&hours),
            capacity: 1,
            busy: &[],
            claims: &claims,
            coverage: None,
            withheld: None,
            capped: &[],
            load: &[],
        };
        let rules = Rules::lasting(TimeDelta::minutes(30));
        let offered = alternatives(&[agenda], &rules, asked, None, asked, 6);
        assert_eq!(offered.len(), 6);
        let offered: Vec<Slot> = offered.iter().map(|one| one.slot).collect();
        for (index, slot) in offered.iter().enumerate() {
            assert_eq!(check(&agenda, &rules, slot.interval.start(), asked), Ok(()));
            assert!(offered[..index].iter().all(|earlier| earlier.interval.start() != slot.interval.start()));
        }
    }
}
