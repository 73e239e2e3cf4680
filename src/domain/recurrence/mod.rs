//! The recurrence of a series: its RRULE, RDATE, EXDATE and EXRULE lines, read leniently and worked out within limits.
//!
//! Rules are stepped through in *floating* time, what the wall clock of the series' zone shows, and only the results
//! become instants. So a weekly 9:00 stays at 9:00 over a clock change, and COUNT counts what the clock shows, also where
//! a shown time does not exist. `docs/decisions/0002-recurrence.md` tells each choice.

mod lines;
mod rule;

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;

pub(super) use self::lines::Stamp;
use self::{
    lines::{Added, read_lines},
    rule::{Budget, Rule},
};
use super::{
    interval::Interval,
    sabotage::{Bug, sabotaged},
    zone::{day_start, local_to_utc, utc_to_local},
};

/// How far one series may be worked out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Occurrences given for one series in the window.
    pub occurrences_max: usize,
    /// Days and times of day examined for one series; a million take about 20 ms.
    pub steps_max: u32,
}

impl Default for Limits {
    /// An hourly event for two years, and the count of a daily one for a thousand.
    fn default() -> Self {
        Self { occurrences_max: 20_000, steps_max: 400_000 }
    }
}

/// How a series starts and in which zone it repeats.
#[derive(Debug, Clone, Copy)]
pub(super) struct First {
    /// The first start.
    pub(super) start: DateTime<Utc>,
    /// What the wall clock shows then; midnight for an all-day series.
    pub(super) local: NaiveDateTime,
    /// Days instead of times.
    pub(super) all_day: bool,
    /// The zone of the series; the calendar's for an all-day one.
    pub(super) zone: Tz,
    /// From start to end: exact for times (RFC 5545 section 3.8.5.3), whole days for days.
    pub(super) length: TimeDelta,
}

/// A member of a recurrence set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Member {
    interval: Interval,
    /// The day on which it starts in the zone of the series.
    date: NaiveDate,
}

/// A recurrence set, as far as it was read and worked out.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// Sorted, one for each start.
    pub(super) intervals: Vec<Interval>,
    /// A limit was reached: there may be more.
    pub(super) truncated: bool,
    /// From when on members may be missing because of a limit.
    pub(super) cut: Option<DateTime<Utc>>,
    /// Days and times that were examined.
    pub(super) steps: u32,
    /// Why some of the lines could not be read.
    pub(super) odd: Option<String>,
}

impl First {
    /// The member that starts when the clock shows `local`. `None` where that holds no instant.
    fn member(&self, local: NaiveDateTime, length: TimeDelta) -> Option<Member> {
        let interval = if self.all_day {
            let ends = local.checked_add_signed(length)?;
            Interval::new(day_start(local.date(), self.zone), day_start(ends.date(), self.zone))?
        } else {
            // The first start is known; of a repeated time it may be the second.
            let start = if local == self.local { self.start } else { local_to_utc(local, self.zone) };
            Interval::new(start, start.checked_add_signed(length)?)?
        };
        Some(Member { interval, date: local.date() })
    }

    /// The member that an RDATE adds. Of a time that the clock shows twice an instant is the one it names, and a local time
    /// the first (RFC 5545 section 3.3.5), also where the series itself begins at the second.
    fn added(&self, stamp: Stamp, length: TimeDelta) -> Option<Member> {
        if self.all_day {
            return self.member(self.local(stamp), length);
        }
        let start = match stamp {
            Stamp::Utc(at) => at,
            Stamp::Date(_) | Stamp::Local(_) => local_to_utc(self.local(stamp), self.zone),
        };
        let interval = Interval::new(start, start.checked_add_signed(length)?)?;
        Some(Member { interval, date: self.local(stamp).date() })
    }

    /// What the clock shows at `stamp`. A date stands for the series' own time of day on it, and in an all-day series
    /// only the date of a time counts.
    fn local(&self, stamp: Stamp) -> NaiveDateTime {
        let local = match stamp {
            Stamp::Date(date) => date.and_time(self.local.time()),
            Stamp::Local(local) => local,
            Stamp::Utc(at) if self.all_day => at.naive_utc(),
            Stamp::Utc(at) => utc_to_local(at, self.zone),
        };
        if self.all_day { local.date().and_time(NaiveTime::MIN) } else { local }
    }

    /// The last local time that `UNTIL=stamp` allows. RFC 5545 wants a date exactly when DTSTART is one; a date beside
    /// times means the whole of that day, since the bound is inclusive.
    fn until(&self, stamp: Stamp) -> NaiveDateTime {
        let until = match stamp {
            Stamp::Date(date) if !self.all_day => date.and_time(NaiveTime::MIN) + TimeDelta::seconds(86_399),
            Stamp::Date(_) | Stamp::Local(_) | Stamp::Utc(_) => self.local(stamp),
        };
        if sabotaged(Bug::UntilExclusive) { until - TimeDelta::seconds(1) } else { until }
    }
}

/// The members of the set that meet `window`, without those that start at one of `replaced`.
pub(super) fn members(
    recurrence: &[String],
    first: &First,
    replaced: &[Stamp],
    window: Interval,
    limits: &Limits,
) -> Members {
    let lines = read_lines(recurrence, first.zone);
    let mut odd = lines.odd;
    let mut read = |texts: &[&str]| -> Vec<Rule> {
        let until = |text: &str| Stamp::read(text, None).map(|stamp| first.until(stamp));
        let rules = texts.iter().map(|text| Rule::read(text, first.local, until));
        rules.filter_map(|rule| rule.map_err(|problem| odd = odd.take().or(Some(problem))).ok()).collect()
    };
    let (rules, except) = (read(&lines.rules), read(&lines.except_rules));

    let mut budget = Budget::new(limits.steps_max, limits.occurrences_max);
    // What the clock shows may go back by the length of a fold between two instants, and a skipped time lies later by
    // the length of its gap: Samoa left out a whole day.
    let slack = TimeDelta::hours(27);
    let earliest = window.start().checked_sub_signed(first.length + slack).unwrap_or(DateTime::<Utc>::MIN_UTC);
    let latest = window.end().checked_add_signed(slack).unwrap_or(DateTime::<Utc>::MAX_UTC);
    let (from, to) = (utc_to_local(earliest, first.zone), utc_to_local(latest, first.zone));

    let mut starts = Vec::new();
    // DTSTART is the first instance whether or not the rules give it, unless they all end before it.
    if rules.is_empty() || rules.iter().any(|rule| rule.until().is_none_or(|until| first.local <= until)) {
        starts.push(first.local);
    }
    for rule in &rules {
        rule.starts(from, to, &mut budget, &mut starts);
    }
    let mut steps = limits.steps_max - budget.steps;
    let mut excepted = HashSet::new();
    if !except.is_empty() {
        let mut found = Vec::new();
        // The budget of what is taken away stands apart: running out of it errs on the side of busy.
        let mut budget_of_exceptions = Budget::new(limits.steps_max, limits.occurrences_max);
        for rule in &except {
            rule.starts(from, to, &mut budget_of_exceptions, &mut found);
        }
        steps = steps.saturating_add(limits.steps_max - budget_of_exceptions.steps);
        budget.exhausted |= budget_of_exceptions.exhausted;
        excepted.extend(found);
    }
    // An EXRULE takes away what rules give and what an RDATE adds (RFC 2445 section 4.8.5.2).
    starts.retain(|start| !excepted.contains(start));

    let mut members: Vec<Member> = starts.into_iter().filter_map(|start| first.member(start, first.length)).collect();
    let added = lines.added.iter().map(|added| match *added {
        Added::Start(stamp) => (stamp, first.length),
        Added::Period(stamp, length) => (stamp, length),
    });
    let added = added.filter(|(stamp, _)| !excepted.contains(&first.local(*stamp)));
    members.extend(added.filter_map(|(stamp, length)| first.added(stamp, length)));
    let removed = lines.removed.iter().filter(|_| !sabotaged(Bug::ExdateIgnored));
    let holes = Holes::new(first, removed.chain(replaced));
    members.retain(|member| member.interval.overlaps(window) && !holes.contains(member));
    members.sort_unstable();
    // Of several with one start, the longest stays: an RDATE may repeat what a rule gives.
    members.reverse();
    members.dedup_by_key(|member| member.interval.start());
    members.reverse();
    let mut cut = budget.cut.map(|cut| local_to_utc(cut, first.zone));
    if members.len() > limits.occurrences_max {
        let left_out = members.split_off(limits.occurrences_max);
        budget.exhausted = true;
        let missing_from = left_out[0].interval.start();
        cut = Some(cut.map_or(missing_from, |cut| cut.min(missing_from)));
    }
    let intervals = members.into_iter().map(|member| member.interval).collect();
    Members { intervals, truncated: budget.exhausted, cut, steps, odd }
}

/// What EXDATE and exceptions take out: starts, or all that starts on a day.
struct Holes {
    instants: HashSet<DateTime<Utc>>,
    dates: HashSet<NaiveDate>,
}

impl Holes {
    fn new<'a>(first: &First, removed: impl Iterator<Item = &'a Stamp>) -> Self {
        let mut holes = Self { instants: HashSet::new(), dates: HashSet::new() };
        for stamp in removed {
            match *stamp {
                Stamp::Utc(at) if !first.all_day => _ = holes.instants.insert(at),
                Stamp::Local(local) if !first.all_day => _ = holes.instants.insert(local_to_utc(local, first.zone)),
                Stamp::Date(_) | Stamp::Utc(_) | Stamp::Local(_) => _ = holes.dates.insert(first.local(*stamp).date()),
            }
        }
        holes
    }

    fn contains(&self, member: &Member) -> bool {
        self.instants.contains(&member.interval.start()) || self.dates.contains(&member.date)
    }
}
