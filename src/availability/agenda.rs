//! What decides about one resource, and the judge over it.

use std::{cmp::Reverse, collections::BinaryHeap};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::{
    Reason, Timetable,
    fair::{Rank, WeekLoad, rank},
    timetable::Opening,
};
use crate::domain::{Interval, ResourceId, booking, interval::merge};

/// How a service is booked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How long it takes; positive. Nothing is ever free for zero or less.
    pub duration: TimeDelta,
    /// Kept free before each booking, not negative.
    pub buffer_before: TimeDelta,
    /// Kept free after each booking, not negative.
    pub buffer_after: TimeDelta,
    /// Slots are offered this far apart, counted from each opening. At least a minute counts.
    pub slot_step: TimeDelta,
    /// A booking starts no sooner than this after it is asked for.
    pub minimum_notice: TimeDelta,
    /// A booking starts no later than this after it is asked for.
    pub horizon: TimeDelta,
    /// So many begin on one day of the business, whoever does them; at least 1. Without an end when absent.
    pub daily_cap: Option<u32>,
}

impl Rules {
    /// Offered every 15 minutes.
    pub const SLOT_STEP: TimeDelta = TimeDelta::minutes(15);
    /// Bookable a year ahead.
    pub const HORIZON: TimeDelta = TimeDelta::days(365);

    /// The rules for a bare duration, when no service is named: no buffers, no notice, a year ahead.
    #[must_use]
    pub const fn lasting(duration: TimeDelta) -> Self {
        Self {
            duration,
            buffer_before: TimeDelta::zero(),
            buffer_after: TimeDelta::zero(),
            slot_step: Self::SLOT_STEP,
            minimum_notice: TimeDelta::zero(),
            horizon: Self::HORIZON,
            daily_cap: None,
        }
    }

    /// What a booking that starts at `start` occupies, without and with buffers.
    fn occupied(&self, start: DateTime<Utc>) -> Option<(Interval, Interval)> {
        let bare = Interval::new(start, start.checked_add_signed(self.duration)?)?;
        Some((bare, booking::claim(bare, self.buffer_before, self.buffer_after)?))
    }
}

/// Everything that decides when one resource is free.
#[derive(Debug, Clone, Copy)]
pub struct Agenda<'a> {
    /// Whose agenda it is.
    pub resource: ResourceId,
    /// The zone of the opening hours.
    pub zone: Tz,
    /// When it is open.
    pub hours: Timetable<'a>,
    /// How many bookings it takes at once. Mirrored busy time blocks all of it.
    pub capacity: u32,
    /// Busy time of its calendars: sorted and merged.
    pub busy: &'a [Interval],
    /// Claims of its holds and bookings, buffers included: sorted by start. They may overlap.
    pub claims: &'a [Interval],
    /// For which time the mirror holds facts. `None` when no calendar blocks: then everything is known.
    pub coverage: Option<Interval>,
    /// Why nothing that depends on its calendars and claims counts as known: [`Reason::Stale`] or
    /// [`Reason::OutsideCoverage`].
    pub withheld: Option<Reason>,
    /// The days on which the asked service has reached its cap: sorted and separate.
    pub capped: &'a [Interval],
    /// What it has to do in the weeks of the asked time. Told where several could do it.
    pub load: &'a [WeekLoad],
}

impl Agenda<'_> {
    /// How it stands in line among those who could do something at `start`: the least goes first.
    #[must_use]
    pub fn rank(&self, start: DateTime<Utc>) -> Rank {
        rank(self.resource, self.load, start)
    }

    /// Whether the asked service has reached its cap on the day of `start`.
    pub(super) fn is_capped(&self, start: DateTime<Utc>) -> bool {
        first_ending_after(self.capped, start).is_some_and(|day| day.contains(start))
    }
}

/// Whether a booking could start at `start`, asked at `now`.
///
/// # Errors
///
/// The first reason against it. What is known to be taken is said even outside the coverage; [`Reason::OutsideCoverage`]
/// means that nothing known speaks against it and not all is known. When all is withheld, only what needs no calendar is
/// said: the past, the rules and the hours.
pub fn check(agenda: &Agenda<'_>, rules: &Rules, start: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), Reason> {
    within_notice_and_horizon(rules, start, now)?;
    let (bare, claim) = rules.occupied(start).ok_or(Reason::Closed)?;
    if !agenda.hours.covers(bare, agenda.zone) {
        return Err(Reason::Closed);
    }
    if agenda.is_capped(start) {
        return Err(Reason::Cap);
    }
    if let Some(reason) = agenda.withheld {
        return Err(reason);
    }
    let full = full_times(agenda.claims, agenda.capacity, claim);
    free(agenda, &full, bare, claim)
}

/// All starts within `range` that [`check`] accepts, the cap aside: sorted, separate, both ends included. `openings` are those near the
/// range and the duration after it.
pub(super) fn free_starts(
    agenda: &Agenda<'_>,
    rules: &Rules,
    openings: &[Opening],
    range: Interval,
    now: DateTime<Utc>,
) -> Option<Vec<(DateTime<Utc>, DateTime<Utc>)>> {
    if agenda.withheld.is_some() {
        return None;
    }
    let Rules { duration, buffer_before, buffer_after, minimum_notice, horizon, .. } = *rules;
    let tail = duration.checked_add(&buffer_after)?;
    rules.occupied(range.start())?;
    let mut earliest = range.start().max(now.checked_add_signed(minimum_notice.max(TimeDelta::zero()))?);
    // The end of the range is no start any more.
    let mut latest = (range.end() - TimeDelta::nanoseconds(1)).min(now.checked_add_signed(horizon)?);
    if let Some(coverage) = agenda.coverage {
        earliest = earliest.max(coverage.start().checked_add_signed(buffer_before)?);
        latest = latest.min(coverage.end().checked_sub_signed(tail)?);
    }
    if latest < earliest {
        return None;
    }

    let reach = range.widen(buffer_before, tail)?;
    let mut taken = full_times(agenda.claims, agenda.capacity, reach);
    let begun = agenda.busy.partition_point(|busy| busy.start() < reach.end());
    let over = agenda.busy.partition_point(|busy| busy.end() <= reach.start());
    taken.extend_from_slice(agenda.busy.get(over..begun).unwrap_or_default());
    let taken = merge(taken);

    let mut free = Vec::with_capacity(openings.len() + taken.len());
    let mut passed = 0;
    for open in merge(openings.iter().map(|opening| opening.interval).collect()) {
        let (mut from, to) = (open.start().max(earliest), (open.end() - duration).min(latest));
        while from <= to {
            // What has ended when the buffer before a start begins cannot matter to any later start.
            while taken.get(passed).is_some_and(|taken| taken.end() + buffer_before <= from) {
                passed += 1;
            }
            let Some(next) = taken.get(passed) else {
                free.push((from, to));
                break;
            };
            let last = (next.start() - tail).min(to);
            if from <= last {
                free.push((from, last));
            }
            from = next.end() + buffer_before;
        }
    }
    Some(free)
}

fn within_notice_and_horizon(rules: &Rules, start: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), Reason> {
    let ahead = start - now;
    if ahead < TimeDelta::zero() {
        Err(Reason::Past)
    } else if ahead < rules.minimum_notice {
        Err(Reason::Notice)
    } else if ahead > rules.horizon {
        Err(Reason::Horizon)
    } else {
        Ok(())
    }
}

fn free(agenda: &Agenda<'_>, full: &[Interval], bare: Interval, claim: Interval) -> Result<(), Reason> {
    let hits = |taken: &[Interval], wanted: Interval| {
        first_ending_after(taken, wanted.start()).is_some_and(|next| next.overlaps(wanted))
    };
    if hits(agenda.busy, claim) || hits(full, claim) {
        let bare_hit = hits(agenda.busy, bare) || hits(full, bare);
        return Err(if bare_hit { Reason::Busy } else { Reason::Buffer });
    }
    match agenda.coverage {
        Some(coverage) if !coverage.covers(claim) => Err(Reason::OutsideCoverage),
        Some(_) | None => Ok(()),
    }
}

/// The first of sorted, separate `intervals` that has not ended by `at`.
fn first_ending_after(intervals: &[Interval], at: DateTime<Utc>) -> Option<Interval> {
    intervals.get(intervals.partition_point(|interval| interval.end() <= at)).copied()
}

/// When within `range` at least `capacity` of `claims` (sorted by start) meet: sorted and merged.
fn full_times(claims: &[Interval], capacity: u32, range: Interval) -> Vec<Interval> {
    let Some(others) = (capacity as usize).checked_sub(1) else { return vec![range] };
    let begun = &claims[..claims.partition_point(|claim| claim.start() < range.end())];
    let mut full = Vec::new();
    // The latest ends so far, as many as there are places: the earliest of them is when a place becomes free.
    let mut ends = BinaryHeap::new();
    for claim in begun.iter().filter_map(|claim| claim.clip(range)) {
        if others == 0 {
            full.push(claim);
            continue;
        }
        ends.push(Reverse(claim.end()));
        if ends.len() > others + 1 {
            ends.pop();
        }
        if ends.len() > others
            && let Some(Reverse(earliest)) = ends.peek()
            && let Some(taken) = Interval::new(claim.start(), *earliest)
        {
            full.push(taken);
        }
    }
    merge(full)
}
