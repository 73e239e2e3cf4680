//! The instances of a recurring event.
//!
//! Rules are expanded in wall-clock time and made into instants afterwards: expanding them in a zone would lose the
//! occurrences that fall into a gap of that zone, and with them shift every `COUNT`.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Months, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use chrono_tz::Tz;
use rrule::{RRule, RRuleSet, Unvalidated};

use super::times::{When, localize, parse_zone};

/// Most instances that one series yields; a rule that would give more (such as every second) ends there.
const INSTANCES_MAX: usize = 20_000;

/// A recurring event's rules, ready to be expanded.
#[derive(Debug)]
pub(crate) struct Series {
    first: When,
    rules: Vec<RRuleSet>,
    /// Rules whose `UNTIL` lies before the start. When there are no others, there is not even the first instance.
    over: usize,
    extra: Vec<DateTime<Utc>>,
    excluding_rules: Vec<RRuleSet>,
    excluded: HashSet<DateTime<Utc>>,
    excluded_days: HashSet<NaiveDate>,
    expanded: Mutex<Option<Expanded>>,
}

#[derive(Clone, Debug)]
struct Expanded {
    until: DateTime<Utc>,
    starts: Arc<[DateTime<Utc>]>,
}

impl Series {
    /// Reads `recurrence` lines. The error says in words what cannot be read.
    pub(crate) fn parse(lines: &[&str], first: When) -> Result<Self, String> {
        let mut series = Self {
            first,
            rules: Vec::new(),
            over: 0,
            extra: Vec::new(),
            excluding_rules: Vec::new(),
            excluded: HashSet::new(),
            excluded_days: HashSet::new(),
            expanded: Mutex::new(None),
        };
        for line in lines {
            series.read(line).map_err(|why| format!("Invalid recurrence rule: {why}."))?;
        }
        Ok(series)
    }

    fn read(&mut self, line: &str) -> Result<(), String> {
        let (head, value) = line.split_once(':').ok_or("a line without a colon")?;
        let mut head = head.split(';');
        let name = head.next().unwrap_or_default().to_ascii_uppercase();
        let mut zone = self.zone();
        for parameter in head {
            if let Some((key, name)) = parameter.split_once('=')
                && key.eq_ignore_ascii_case("TZID")
            {
                zone = parse_zone(name).map_err(|_| format!("unknown zone {name}"))?;
            }
        }
        match name.as_str() {
            "RRULE" => match self.rule(value)? {
                Some(rule) => self.rules.push(rule),
                None => self.over += 1,
            },
            "EXRULE" => self.excluding_rules.extend(self.rule(value)?),
            "RDATE" => {
                for text in value.split(',') {
                    let start = text.split('/').next().unwrap_or(text);
                    self.extra.push(self.instant_of(parse_point(start, zone)?));
                }
            }
            "EXDATE" => {
                for text in value.split(',') {
                    match (parse_point(text, zone)?, self.first) {
                        (Point::Day(day), When::At { .. }) => {
                            self.excluded_days.insert(day);
                        }
                        (point, _) => {
                            self.excluded.insert(self.instant_of(point));
                        }
                    }
                }
            }
            other => return Err(format!("{other} is not allowed")),
        }
        Ok(())
    }

    /// A rule in wall-clock time, `None` when it ends before the series starts.
    fn rule(&self, value: &str) -> Result<Option<RRuleSet>, String> {
        let (until, parts): (Vec<&str>, Vec<&str>) = value
            .split(';')
            .filter(|part| !part.is_empty())
            .partition(|part| part.to_ascii_uppercase().starts_with("UNTIL="));
        let start = self.wall_start();
        let mut rule: RRule<Unvalidated> = parts.join(";").parse().map_err(|error| format!("{error}"))?;
        if let Some(text) = until.first() {
            let until = match parse_point(&text["UNTIL=".len()..], self.zone())? {
                // A day as the end of a timed series includes all of that day.
                Point::Day(day) => day.and_time(NaiveTime::from_hms_opt(23, 59, 59).unwrap_or_default()),
                Point::At(at) => at.with_timezone(&self.zone()).naive_local(),
            };
            if until < start {
                return Ok(None);
            }
            rule = rule.until(until.and_utc().with_timezone(&rrule::Tz::UTC));
        }
        let set = rule.build(start.and_utc().with_timezone(&rrule::Tz::UTC)).map_err(|error| format!("{error}"))?;
        Ok(Some(set.limit()))
    }

    /// Days repeat in a zone without offsets, so that an instant of the expansion is the midnight of its day.
    fn zone(&self) -> Tz {
        match self.first {
            When::Day(_) => Tz::UTC,
            When::At { zone, .. } => zone,
        }
    }

    fn wall_start(&self) -> NaiveDateTime {
        match self.first {
            When::Day(day) => day.and_time(NaiveTime::MIN),
            When::At { at, zone } => at.with_timezone(&zone).naive_local(),
        }
    }

    fn instant_of(&self, point: Point) -> DateTime<Utc> {
        match (point, self.first) {
            (Point::Day(day), When::Day(_)) => day.and_time(NaiveTime::MIN).and_utc(),
            // A day added to a timed series takes its time of day.
            (Point::Day(day), When::At { zone, .. }) => localize(day.and_time(self.wall_start().time()), zone),
            (Point::At(at), When::Day(_)) => at.date_naive().and_time(NaiveTime::MIN).and_utc(),
            (Point::At(at), When::At { .. }) => at,
        }
    }

    /// The starts of all instances up to and including `until`, in order, exceptions not considered.
    pub(crate) fn starts_until(&self, until: DateTime<Utc>) -> Arc<[DateTime<Utc>]> {
        let mut cache = self.expanded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = cache.as_ref().filter(|known| known.until >= until) {
            return Arc::clone(&known.starts);
        }
        // Asked for a week, the next question is for the week after.
        let until = until.checked_add_months(Months::new(12)).unwrap_or(until);
        let starts: Arc<[DateTime<Utc>]> = self.expand(until).into();
        *cache = Some(Expanded { until, starts: Arc::clone(&starts) });
        starts
    }

    /// Whether an instance starts exactly at `start`.
    pub(crate) fn has(&self, start: When) -> bool {
        let at = match (start, self.first) {
            (When::Day(day), When::Day(_)) => day.and_time(NaiveTime::MIN).and_utc(),
            (When::At { at, .. }, When::At { .. }) => at,
            _ => return false,
        };
        self.starts_until(at).binary_search(&at).is_ok()
    }

    /// The instance that starts at an instant of the expansion.
    pub(crate) fn when(&self, start: DateTime<Utc>) -> When {
        match self.first {
            When::Day(_) => When::Day(start.date_naive()),
            When::At { zone, .. } => When::At { at: start, zone },
        }
    }

    fn expand(&self, until: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let zone = self.zone();
        let mut walls: BTreeSet<NaiveDateTime> =
            self.rules.iter().flat_map(|rule| self.occurrences(rule, until)).collect();
        if self.over == 0 || !self.rules.is_empty() {
            // The first instance is one even where the rule does not hit it (RFC 5545 §3.8.5.3).
            walls.insert(self.wall_start());
        }
        // What an EXRULE gives is taken away, whether a rule or an RDATE added it (RFC 2445 §4.8.5.2).
        let taken: BTreeSet<NaiveDateTime> =
            self.excluding_rules.iter().flat_map(|rule| self.occurrences(rule, until)).collect();
        walls.retain(|wall| !taken.contains(wall));
        let mut starts: BTreeSet<DateTime<Utc>> = walls.into_iter().map(|wall| self.instant(wall)).collect();
        starts.extend(self.extra.iter().filter(|at| !taken.contains(&at.with_timezone(&zone).naive_local())));
        let excluded = |at: &DateTime<Utc>| {
            self.excluded.contains(at) || self.excluded_days.contains(&at.with_timezone(&zone).date_naive())
        };
        starts.into_iter().filter(|at| *at <= until && !excluded(at)).take(INSTANCES_MAX).collect()
    }

    /// The wall-clock times that a rule gives up to about `until`.
    fn occurrences(&self, rule: &RRuleSet, until: DateTime<Utc>) -> impl Iterator<Item = NaiveDateTime> {
        let last = until.with_timezone(&self.zone()).naive_local();
        rule.into_iter().take(INSTANCES_MAX).map(|wall| wall.naive_utc()).take_while(move |wall| *wall <= last)
    }

    /// The first instance is known as an instant: of a time that the clock shows twice it may be the second.
    fn instant(&self, wall: NaiveDateTime) -> DateTime<Utc> {
        match self.first {
            When::At { at, .. } if wall == self.wall_start() => at,
            When::Day(_) | When::At { .. } => localize(wall, self.zone()),
        }
    }
}

enum Point {
    Day(NaiveDate),
    At(DateTime<Utc>),
}

/// An RFC 5545 date or date-time; without `Z` it is in `zone`.
fn parse_point(text: &str, zone: Tz) -> Result<Point, String> {
    let text = text.trim();
    if let Ok(at) = NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%SZ") {
        return Ok(Point::At(at.and_utc()));
    }
    if let Ok(wall) = NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%S") {
        return Ok(Point::At(localize(wall, zone)));
    }
    NaiveDate::parse_from_str(text, "%Y%m%d").map(Point::Day).map_err(|_| format!("{text} is not a date"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(first: &str, zone: &str, lines: &[&str], until: &str) -> Vec<String> {
        let zone: Tz = zone.parse().unwrap();
        let first = match first.parse::<NaiveDate>() {
            Ok(day) => When::Day(day),
            Err(_) => When::At { at: localize(first.parse().unwrap(), zone), zone },
        };
        let series = Series::parse(lines, first).unwrap();
        let until: DateTime<Utc> = until.parse().unwrap();
        series.starts_until(until).iter().filter(|at| **at <= until).map(|at| series.when(*at).suffix()).collect()
    }

    #[test]
    fn the_wall_clock_is_kept_over_daylight_saving_and_gaps_lose_nothing() {
        let found =
            starts("2027-03-27T02:30:00", "Europe/Berlin", &["RRULE:FREQ=DAILY;COUNT=3"], "2028-01-01T00:00:00Z");
        assert_eq!(found, ["20270327T013000Z", "20270328T013000Z", "20270329T003000Z"]);
    }

    #[test]
    fn dates_are_added_and_left_out_in_any_notation() {
        let lines = [
            "RRULE:FREQ=WEEKLY;BYDAY=MO;UNTIL=20270201T080000Z",
            "EXDATE;TZID=Europe/Berlin:20270111T090000,20270118T090000",
            "EXDATE:20270125T080000Z",
            "RDATE;VALUE=DATE:20270106",
        ];
        let found = starts("2027-01-04T09:00:00", "Europe/Berlin", &lines, "2028-01-01T00:00:00Z");
        assert_eq!(found, ["20270104T080000Z", "20270106T080000Z", "20270201T080000Z"]);
    }

    #[test]
    fn days_repeat_as_days() {
        let lines = ["RRULE:FREQ=MONTHLY;BYMONTHDAY=31;COUNT=2", "EXRULE:FREQ=YEARLY;BYMONTH=3;BYMONTHDAY=31"];
        assert_eq!(starts("2027-01-31", "UTC", &lines, "2028-01-01T00:00:00Z"), ["20270131"]);
    }

    #[test]
    fn a_rule_that_ends_before_the_start_has_no_instance() {
        let lines = ["RRULE:FREQ=DAILY;UNTIL=20261231T000000Z"];
        assert!(starts("2027-01-01T09:00:00", "UTC", &lines, "2028-01-01T00:00:00Z").is_empty());
    }

    #[test]
    fn endless_and_impossible_rules_are_bounded() {
        let every_second = starts("2027-01-01T00:00:00", "UTC", &["RRULE:FREQ=SECONDLY"], "2037-01-01T00:00:00Z");
        assert_eq!(every_second.len(), INSTANCES_MAX);
        let never = ["RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"];
        assert_eq!(starts("2027-01-01T00:00:00", "UTC", &never, "2037-01-01T00:00:00Z").len(), 1);
    }

    #[test]
    fn lines_that_cannot_be_read_are_refused() {
        for line in [
            "RRULE:FREQ=OFTEN",
            "DTSTART:20270101",
            "RRULE",
            "EXDATE:yesterday",
            "RDATE;TZID=Mars/Base:20270101T000000",
        ] {
            assert!(Series::parse(&[line], When::Day("2027-01-01".parse().unwrap())).is_err(), "{line}");
        }
    }
}
