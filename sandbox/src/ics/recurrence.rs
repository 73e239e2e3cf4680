//! RRULE, EXRULE, RDATE and EXDATE as the lines of Google's `recurrence[]`.

use calcard::icalendar::{
    ICalendarComponent, ICalendarEntry, ICalendarPeriod, ICalendarProperty, ICalendarRecurrenceRule, ICalendarValue,
};
use chrono::{NaiveDateTime, NaiveTime};
use chrono_tz::Tz;
use rrule::{RRule, Unvalidated};

use super::moment::{Moment, Zones};

/// How an event repeats.
#[derive(Debug, Clone, Default)]
pub(super) struct Recurrence {
    /// Content lines without DTSTART; empty for an event that happens once.
    pub(super) lines: Vec<String>,
    /// Instances of `RDATE;VALUE=PERIOD` with their own ends. Google's lines cannot say that, so they become exceptions.
    pub(super) periods: Vec<(Moment, Moment)>,
}

/// Dates and times that one line may list.
const LISTED_MAX: usize = 10_000;
/// The end of a day, inclusive, as UNTIL is.
const LAST_SECOND: NaiveTime = NaiveTime::from_hms_opt(23, 59, 59).expect("a time of day");

/// Reads the rules of an event that begins at `start`.
pub(super) fn read(event: &ICalendarComponent, start: Moment, zones: &mut Zones) -> Result<Recurrence, String> {
    let mut found = Recurrence::default();
    for entry in &event.entries {
        match &entry.name {
            name @ (ICalendarProperty::Rrule | ICalendarProperty::Exrule) => {
                let name = name.as_str();
                let Some(ICalendarValue::RecurrenceRule(rule)) = entry.values.first() else {
                    return Err(format!("{name} is not a rule such as FREQ=WEEKLY;BYDAY=MO"));
                };
                found.lines.push(format!("{name}:{}", rule_text(rule, start, zones)?));
            }
            ICalendarProperty::Exdate => {
                let dates = listed(entry, "EXDATE", start, zones, &mut Vec::new())?;
                push_dates("EXDATE", &dates, &mut found.lines);
            }
            ICalendarProperty::Rdate => {
                let dates = listed(entry, "RDATE", start, zones, &mut found.periods)?;
                push_dates("RDATE", &dates, &mut found.lines);
            }
            _ => {}
        }
    }
    // EXDATE alone would turn a single event into a series of one.
    if !found.lines.iter().any(|line| line.starts_with('R')) {
        found.lines.clear();
    }
    Ok(found)
}

/// The rule, checked, with an UNTIL in the form that Google demands: a date for whole days, else UTC.
fn rule_text(rule: &ICalendarRecurrenceRule, start: Moment, zones: &mut Zones) -> Result<String, String> {
    let mut endless = rule.clone();
    endless.until = None;
    let text = endless.to_string();
    // The clock of rrule's own zones plays no part here: only the parts of the rule are looked at.
    let parsed: RRule<Unvalidated> = text.parse().map_err(|error| format!("RRULE:{text}: {error}"))?;
    let wall = start.wall().and_utc().with_timezone(&rrule::Tz::UTC);
    parsed.validate(wall).map_err(|error| format!("RRULE:{text}: {error}"))?;
    let Some(until) = &rule.until else { return Ok(text) };
    let until = zones.moment(until, None).ok_or("UNTIL of the RRULE is not a date or a time")?;
    let until = match (start, until) {
        (Moment::Date(_), until) => until.wall().format("%Y%m%d").to_string(),
        (Moment::At { zone, .. }, until) => {
            // A local UNTIL, which Outlook writes, is on the clock of the series; a bare date takes in that whole day.
            let last = match until {
                Moment::At { zone: Tz::UTC, .. } => until,
                Moment::At { local, .. } => Moment::At { local, zone },
                Moment::Date(date) => Moment::At { local: date.and_time(LAST_SECOND), zone },
            };
            let instant = last.instant().ok_or("UNTIL of the RRULE is out of range")?;
            instant.naive_utc().format("%Y%m%dT%H%M%SZ").to_string()
        }
    };
    // Where calcard writes it: behind FREQ.
    let (freq, rest) = text.split_once(';').map_or((text.as_str(), None), |(freq, rest)| (freq, Some(rest)));
    Ok(rest.map_or_else(|| format!("{freq};UNTIL={until}"), |rest| format!("{freq};UNTIL={until};{rest}")))
}

/// The moments of an EXDATE or RDATE, each in the manner of the series: a bare date beside a timed series means that
/// day's instance.
fn listed(
    entry: &ICalendarEntry,
    name: &str,
    start: Moment,
    zones: &mut Zones,
    periods: &mut Vec<(Moment, Moment)>,
) -> Result<Vec<Moment>, String> {
    if entry.values.len() > LISTED_MAX {
        return Err(format!("{name} lists more than {LISTED_MAX} dates"));
    }
    let mut moments = Vec::with_capacity(entry.values.len());
    for value in &entry.values {
        let tzid = entry.tz_id();
        let moment = match value {
            ICalendarValue::PartialDateTime(value) => zones.moment(value, tzid),
            ICalendarValue::Period(ICalendarPeriod::Range { start, end }) => {
                let times = zones.moment(start, tzid).zip(zones.moment(end, tzid));
                times.and_then(|(start, end)| keep_period(periods, start, end))
            }
            ICalendarValue::Period(ICalendarPeriod::Duration { start, duration }) => {
                let start = zones.moment(start, tzid);
                let times = start.and_then(|start| Some((start, start.after(duration)?)));
                times.and_then(|(start, end)| keep_period(periods, start, end))
            }
            _ => None,
        };
        let moment = moment.ok_or_else(|| format!("{name} lists something that is not a date or a time"))?;
        moments.push(moment.in_the_manner_of(start));
    }
    Ok(moments)
}

/// A period that ends before it starts, or that is not of times, is none.
fn keep_period(periods: &mut Vec<(Moment, Moment)>, start: Moment, end: Moment) -> Option<Moment> {
    if end.instant()? < start.instant()? {
        return None;
    }
    periods.push((start, end));
    Some(start)
}

/// All of them have the zone of the series, so one line with one TZID is enough.
fn push_dates(name: &str, moments: &[Moment], lines: &mut Vec<String>) {
    if moments.is_empty() {
        return;
    }
    let values = |time: fn(NaiveDateTime) -> String| {
        moments.iter().map(|moment| time(moment.wall())).collect::<Vec<_>>().join(",")
    };
    lines.push(match moments[0] {
        Moment::Date(_) => format!("{name};VALUE=DATE:{}", values(|at| at.format("%Y%m%d").to_string())),
        Moment::At { zone: Tz::UTC, .. } => format!("{name}:{}", values(|at| at.format("%Y%m%dT%H%M%SZ").to_string())),
        Moment::At { zone, .. } => {
            format!("{name};TZID={}:{}", zone.name(), values(|at| at.format("%Y%m%dT%H%M%S").to_string()))
        }
    });
}
