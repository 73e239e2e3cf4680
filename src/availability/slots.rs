//! Which starts can be offered.

use std::collections::HashMap;

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;

use super::{Agenda, Besides, Rules, agenda::free_starts, timetable::Opening};
use crate::domain::{
    Interval, ResourceId,
    zone::{instants_showing, utc_to_local},
};

/// A time that can be booked with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// From when to when, without buffers.
    pub interval: Interval,
    /// With whom; the lead, where several are needed.
    pub resource: ResourceId,
    /// What else is taken then.
    pub besides: Besides,
}

/// The slots that start within `range`: at most `limit`, sorted by start, then by [`Agenda::rank`]: first whom a booking of
/// that time gets that names nobody.
///
/// Starts lie on the wall clock, `slot_step` apart from when an opening begins; local times that do not exist are not
/// offered, and both of a repeated one are. The soonest are given, or, when `diverse`, the soonest of each morning,
/// afternoon and evening of each day before a second of any, one resource for each start.
#[must_use]
pub fn slots(
    agendas: &[Agenda<'_>],
    rules: &Rules,
    range: Interval,
    now: DateTime<Utc>,
    limit: usize,
    diverse: bool,
) -> Vec<Slot> {
    let mut found = Vec::new();
    for agenda in agendas {
        let already = found.len();
        of_one(agenda, rules, range, now, if diverse { usize::MAX } else { limit }, &mut found);
        debug_assert!(found[already..].is_sorted());
    }
    let agendas_by_id: HashMap<ResourceId, &Agenda<'_>> =
        agendas.iter().map(|agenda| (agenda.resource, agenda)).collect();
    found.sort_by_cached_key(|slot| {
        let start = slot.interval.start();
        (start, agendas_by_id.get(&slot.resource).map(|agenda| agenda.rank(start)))
    });
    if diverse {
        found = spread(found, agendas.first().map_or(Tz::UTC, |agenda| agenda.zone), limit);
    }
    found.truncate(limit);
    found
}

/// Adds up to `limit` slots of one resource, sorted.
fn of_one(
    agenda: &Agenda<'_>,
    rules: &Rules,
    range: Interval,
    now: DateTime<Utc>,
    limit: usize,
    found: &mut Vec<Slot>,
) {
    let Some(reach) = range.widen(TimeDelta::zero(), rules.duration) else { return };
    let openings: Vec<Opening> = agenda.hours.openings_near(reach, agenda.zone).collect();
    let Some(free) = free_starts(agenda, rules, &openings, range, now) else { return };
    let mut free = free.into_iter().peekable();

    let enough = found.len().saturating_add(limit);
    let mut starts = Vec::new();
    for opening in openings {
        starts.clear();
        grid(opening, agenda.zone, rules.slot_step.max(TimeDelta::minutes(1)), range, &mut starts);
        for start in &starts {
            while free.next_if(|(_, last)| last < start).is_some() {}
            let Some((first, _)) = free.peek() else { return };
            if first <= start
                && !agenda.is_capped(*start)
                && let Some(interval) = Interval::new(*start, *start + rules.duration)
            {
                found.push(Slot { interval, resource: agenda.resource, besides: Besides::default() });
                if found.len() >= enough {
                    return;
                }
            }
        }
    }
}

/// All starts of one resource within `range` that are accepted, whether on its grid or not: sorted, separate, both ends
/// included. `None` when nothing is known of it.
pub(super) fn free_starts_of(
    agenda: &Agenda<'_>,
    rules: &Rules,
    range: Interval,
    now: DateTime<Utc>,
) -> Option<Vec<(DateTime<Utc>, DateTime<Utc>)>> {
    let reach = range.widen(TimeDelta::zero(), rules.duration)?;
    let openings: Vec<Opening> = agenda.hours.openings_near(reach, agenda.zone).collect();
    free_starts(agenda, rules, &openings, range, now)
}

/// The starts of one opening that lie in `range`, in order.
fn grid(opening: Opening, zone: Tz, step: TimeDelta, range: Interval, starts: &mut Vec<DateTime<Utc>>) {
    let Some(within) = opening.interval.clip(range) else { return };
    let steps_to = |from: DateTime<Utc>, to: DateTime<Utc>| {
        // Rounded up.
        let (wait, step) = ((to - from).num_seconds(), step.num_seconds());
        i32::try_from((wait + step - 1).div_euclid(step).max(0)).unwrap_or(i32::MAX)
    };
    // As long by the clock as it really is: no change falls into it, and the grid can be counted in UTC.
    if opening.closes - opening.opens == opening.interval.duration() {
        let from = opening.interval.start();
        let mut next = step.checked_mul(steps_to(from, within.start())).and_then(|wait| from.checked_add_signed(wait));
        while let Some(start) = next.filter(|start| *start < within.end()) {
            starts.extend(within.contains(start).then_some(start));
            next = start.checked_add_signed(step);
        }
    } else {
        let mut next = Some(opening.opens);
        while let Some(local) = next.filter(|local| *local < opening.closes) {
            starts.extend(instants_showing(local, zone).filter(|start| within.contains(*start)));
            next = local.checked_add_signed(step);
        }
        starts.sort_unstable();
    }
}

/// Up to `limit` of the sorted `slots`, taken in turn from each part of each day, one for each start, sorted.
pub(super) fn spread(slots: Vec<Slot>, zone: Tz, limit: usize) -> Vec<Slot> {
    let mut turns: HashMap<(i32, u32), usize> = HashMap::new();
    let mut ranked: Vec<(usize, Slot)> = Vec::with_capacity(slots.len());
    for slot in slots {
        if ranked.last().is_some_and(|(_, last)| last.interval.start() == slot.interval.start()) {
            continue;
        }
        let local = utc_to_local(slot.interval.start(), zone);
        // Before noon, before five, later.
        let part = u32::from(local.hour() >= 12) + u32::from(local.hour() >= 17);
        let turn = turns.entry((local.num_days_from_ce(), part)).or_default();
        ranked.push((*turn, slot));
        *turn += 1;
    }
    ranked.sort_by_key(|(turn, slot)| (*turn, slot.interval.start()));
    ranked.truncate(limit);
    let mut chosen: Vec<Slot> = ranked.into_iter().map(|(_, slot)| slot).collect();
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::availability::{Timetable, WeeklyHours};

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn between(start: &str, end: &str) -> Interval {
        Interval::new(at(start), at(end)).unwrap()
    }

    fn hours(json: &str) -> WeeklyHours {
        serde_json::from_str(json).unwrap()
    }

    fn agenda(hours: &WeeklyHours, zone: Tz) -> Agenda<'_> {
        let resource = ResourceId::new(Uuid::from_u128(1));
        Agenda {
            resource,
            zone,
            hours: Timetable::from(hours),
            capacity: 1,
            busy: &[],
            claims: &[],
            coverage: None,
            withheld: None,
            capped: &[],
            load: &[],
        }
    }

    fn starts(agenda: Agenda<'_>, rules: &Rules, range: Interval) -> Vec<String> {
        let now = range.start() - TimeDelta::days(1);
        let shown = |slot: &Slot| slot.interval.start().format("%H:%M").to_string();
        slots(&[agenda], rules, range, now, 100, false).iter().map(shown).collect()
    }

    fn every(minutes: i64) -> Rules {
        Rules { slot_step: TimeDelta::minutes(minutes), ..Rules::lasting(TimeDelta::minutes(minutes)) }
    }

    #[test]
    fn the_grid_starts_with_each_opening() {
        let hours = hours(r#"{"mon":[["09:10","10:20"],["13:00","13:35"]]}"#);
        let range = between("2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z");
        assert_eq!(starts(agenda(&hours, Tz::UTC), &every(30), range), ["09:10", "09:40", "13:00"]);
    }

    #[test]
    fn the_repeated_hour_gives_two_slots_for_each_time() {
        let hours = hours(r#"{"sun":[["00:30","02:30"]]}"#);
        let range = between("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z");
        let given = starts(agenda(&hours, Tz::America__New_York), &every(30), range);
        // 0:30, 1:00, 1:30, again 1:00 and 1:30, then 2:00.
        assert_eq!(given, ["04:30", "05:00", "05:30", "06:00", "06:30", "07:00"]);
    }

    #[test]
    fn the_skipped_hour_gives_none() {
        let hours = hours(r#"{"sun":[["01:00","04:00"]]}"#);
        let range = between("2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z");
        // 1:00 and 1:40, not 2:20, then 3:00: 0:00, 0:40 and 1:00 UTC.
        assert_eq!(starts(agenda(&hours, Tz::Europe__Berlin), &every(40), range), ["00:00", "00:40", "01:00"]);
    }

    #[test]
    fn diverse_slots_spread_over_days_and_parts_of_days() {
        let hours = hours(r#"{"mon":[["09:00","20:00"]],"tue":[["09:00","12:00"]]}"#);
        let range = between("2026-11-23T00:00:00Z", "2026-11-25T00:00:00Z");
        let other = ResourceId::new(Uuid::from_u128(2));
        let agendas = [agenda(&hours, Tz::UTC), Agenda { resource: other, ..agenda(&hours, Tz::UTC) }];
        let given = slots(&agendas, &every(30), range, at("2026-11-22T00:00:00Z"), 4, true);
        let shown: Vec<String> =
            given.iter().map(|slot| slot.interval.start().format("%d %H:%M").to_string()).collect();
        assert_eq!(shown, ["23 09:00", "23 12:00", "23 17:00", "24 09:00"]);
    }

    #[test]
    fn the_limit_takes_the_soonest_and_both_resources() {
        let hours = WeeklyHours::always();
        let other = ResourceId::new(Uuid::from_u128(2));
        let agendas = [agenda(&hours, Tz::UTC), Agenda { resource: other, ..agenda(&hours, Tz::UTC) }];
        let range = between("2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z");
        let given = slots(&agendas, &every(30), range, at("2026-11-22T00:00:00Z"), 3, false);
        let resources: Vec<ResourceId> = given.iter().map(|slot| slot.resource).collect();
        assert_eq!(resources, [agendas[0].resource, other, agendas[0].resource]);
    }
}
