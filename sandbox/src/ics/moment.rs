//! Dates and times of the file, and the zones that they are in.

use std::{
    collections::{BTreeSet, HashMap},
    ops::RangeInclusive,
};

use calcard::{
    common::{PartialDateTime, timezone::Tz as GuessedZone},
    icalendar::{ICalendar, ICalendarDuration},
};
use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};

use super::{IcsError, calendar_property};

/// Years that are taken over: Google's own begin with 4 digits, and a day must be left for the zone's offset.
const YEARS: RangeInclusive<u16> = 1000..=9998;

/// A start, an end or an original start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Moment {
    /// A whole day in the calendar's zone.
    Date(NaiveDate),
    /// What the clock on the wall shows, and where the wall is.
    At { local: NaiveDateTime, zone: Tz },
}

impl Moment {
    /// The instant of a time. A time that the clock skips is shifted forward by the length of the gap; of a time that it
    /// shows twice the first is meant (RFC 5545, 3.3.5).
    pub(super) fn instant(self) -> Option<DateTime<Tz>> {
        match self {
            Self::Date(_) => None,
            Self::At { local, zone } => localize(local, zone),
        }
    }

    /// The wall-clock value, midnight for a date.
    pub(super) fn wall(self) -> NaiveDateTime {
        match self {
            Self::Date(date) => date.and_time(NaiveTime::MIN),
            Self::At { local, .. } => local,
        }
    }

    /// `{"date"}` or `{"dateTime", "timeZone"}`.
    pub(super) fn resource(self) -> Value {
        match self {
            Self::Date(date) => json!({ "date": date.format("%Y-%m-%d").to_string() }),
            Self::At { zone, .. } => {
                let at = self.instant().map(rfc3339);
                json!({ "dateTime": at, "timeZone": zone.name() })
            }
        }
    }

    /// The suffix of an instance's id: the original start in UTC, or its date.
    pub(super) fn stamp(self) -> String {
        match self {
            Self::Date(date) => date.format("%Y%m%d").to_string(),
            Self::At { local, .. } => {
                self.instant().map_or(local, |at| at.naive_utc()).format("%Y%m%dT%H%M%SZ").to_string()
            }
        }
    }

    /// The same moment in another's way of writing: an original start is compared with its series.
    pub(super) fn in_the_manner_of(self, start: Self) -> Self {
        match (self, start) {
            (Self::Date(date), Self::At { local, zone }) => Self::At { local: date.and_time(local.time()), zone },
            (Self::At { .. }, Self::Date(_)) => Self::Date(self.wall().date()),
            (Self::At { zone, .. }, Self::At { zone: wanted, .. }) if zone != wanted => match self.instant() {
                Some(at) => Self::At { local: at.with_timezone(&wanted).naive_local(), zone: wanted },
                None => self,
            },
            _ => self,
        }
    }

    /// The end of something that begins here. Days and weeks of a DURATION are days of the calendar, hours are exact.
    pub(super) fn after(self, length: &ICalendarDuration) -> Option<Self> {
        if length.neg {
            return None;
        }
        let days = u64::from(length.weeks) * 7 + u64::from(length.days);
        let exact = TimeDelta::try_seconds(
            i64::from(length.hours) * 3600 + i64::from(length.minutes) * 60 + i64::from(length.seconds),
        )?;
        match self {
            Self::Date(date) if exact.is_zero() => date.checked_add_days(Days::new(days)).map(Self::Date),
            Self::Date(_) => None,
            Self::At { local, zone } => {
                let shifted = Self::At { local: local.checked_add_days(Days::new(days))?, zone };
                if exact.is_zero() {
                    return Some(shifted);
                }
                let end = shifted.instant()?.checked_add_signed(exact)?;
                Some(Self::At { local: end.naive_local(), zone })
            }
        }
    }
}

/// RFC 3339 with whole seconds, `Z` in UTC, as Google writes it.
pub(super) fn rfc3339(at: DateTime<Tz>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

fn localize(local: NaiveDateTime, zone: Tz) -> Option<DateTime<Tz>> {
    if let Some(at) = zone.from_local_datetime(&local).earliest() {
        return Some(at);
    }
    // The gap is shorter than a day, so the offset a day earlier is the one that was in force before it.
    let before = zone.from_local_datetime(&local.checked_sub_days(Days::new(1))?).earliest()?;
    let utc = local.checked_sub_offset(before.offset().fix())?;
    Some(Utc.from_utc_datetime(&utc).with_timezone(&zone))
}

/// The zones that a file names.
pub(super) struct Zones {
    calendar: Tz,
    defined: HashMap<String, Tz>,
    unknown: BTreeSet<String>,
}

impl Zones {
    /// Collects the VTIMEZONEs. Their rules are ignored in favor of the time zone database, as Google does; what counts is
    /// the name, or X-LIC-LOCATION when the name says nothing.
    pub(super) fn new(calendars: &[ICalendar], fallback: &str) -> Result<Self, IcsError> {
        let mut unknown = BTreeSet::new();
        let fallback: Tz = fallback.parse().map_err(|_| IcsError::UnknownZone { zone: fallback.to_owned() })?;
        let named = calendars.iter().find_map(|calendar| calendar_property(calendar, "X-WR-TIMEZONE"));
        let calendar = named.map_or(fallback, |name| {
            guess(&name).unwrap_or_else(|| {
                unknown.insert(name);
                fallback
            })
        });
        let mut defined = HashMap::new();
        for (name, zone) in calendars.iter().flat_map(ICalendar::timezones).filter_map(|zone| zone.timezone()) {
            if let Some(zone) = in_database(zone) {
                defined.insert(name.to_owned(), zone);
            }
        }
        Ok(Self { calendar, defined, unknown })
    }

    pub(super) fn calendar(&self) -> Tz {
        self.calendar
    }

    pub(super) fn unknown(self) -> Vec<String> {
        self.unknown.into_iter().collect()
    }

    /// Reads a value of DTSTART, DTEND, RECURRENCE-ID, EXDATE or RDATE. `None` when there is no such day or time.
    pub(super) fn moment(&mut self, value: &PartialDateTime, tzid: Option<&str>) -> Option<Moment> {
        let date = NaiveDate::from_ymd_opt(
            i32::from(value.year.filter(|year| YEARS.contains(year))?),
            u32::from(value.month?),
            u32::from(value.day?),
        )?;
        if !value.has_time() {
            return Some(Moment::Date(date));
        }
        // A leap second counts as the second before it: no clock of ours shows it.
        let second = u32::from(value.second.unwrap_or(0)).min(59);
        let local = date.and_hms_opt(u32::from(value.hour?), u32::from(value.minute?), second)?;
        if value.has_zone() {
            let east = i64::from(value.tz_hour.unwrap_or(0)) * 3600 + i64::from(value.tz_minute.unwrap_or(0)) * 60;
            let east = TimeDelta::try_seconds(if value.tz_minus { -east } else { east })?;
            return Some(Moment::At { local: local.checked_sub_signed(east)?, zone: Tz::UTC });
        }
        Some(Moment::At { local, zone: tzid.map_or(self.calendar, |name| self.named(name)) })
    }

    fn named(&mut self, name: &str) -> Tz {
        if let Some(zone) = self.defined.get(name).copied().or_else(|| guess(name)) {
            return zone;
        }
        self.unknown.insert(name.to_owned());
        self.calendar
    }
}

/// The zone that a name means: an IANA name, one of Outlook's, or a path with an IANA name at its end, such as
/// `/citadel.org/20190101_1/Europe/Berlin`.
fn guess(name: &str) -> Option<Tz> {
    let known = name.parse().ok().and_then(in_database);
    known.or_else(|| name.match_indices('/').find_map(|(at, _)| name[at + 1..].parse().ok()))
}

/// A zone of the database; a fixed offset has one there when it is a whole number of hours.
fn in_database(zone: GuessedZone) -> Option<Tz> {
    match zone {
        GuessedZone::Tz(zone) => Some(zone),
        GuessedZone::Fixed(offset) if offset.local_minus_utc() % 3600 == 0 => zone.name()?.parse().ok(),
        GuessedZone::Fixed(_) | GuessedZone::Floating => None,
    }
}
