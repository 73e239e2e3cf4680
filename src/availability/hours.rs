//! Opening hours by the week.

use std::fmt;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::domain::{
    Interval,
    zone::{day_start, edge_to_utc, utc_to_local},
};

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const MINUTES_PER_DAY: u16 = 24 * 60;
/// More openings than anybody's day has.
const OPENINGS_PER_DAY_MAX: usize = 24;

/// When a resource is open, in local time, the same every week.
///
/// As JSON: `{"mon": [["09:00", "12:30"], ["13:00", "17:00"]], "sat": [["22:00", "24:00"]]}`. A day that is not named is
/// closed. A night shift is written as two openings that meet at midnight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct WeeklyHours {
    /// Monday first; each sorted, apart, and within 0..=1440 minutes.
    days: [Vec<(u16, u16)>; 7],
}

/// What is wrong with opening hours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {problem}")]
pub struct HoursError {
    /// The place, such as `mon[1]`.
    pub field: String,
    /// What is wrong there.
    pub problem: &'static str,
}

/// What opening hours say about one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Door {
    /// This opening holds it.
    Open {
        /// The day of the week on which it begins, as the hours name it.
        day: &'static str,
        /// When it begins, HH:MM.
        opens: String,
        /// When it ends, HH:MM up to 24:00.
        closes: String,
    },
    /// None does.
    Closed {
        /// When it opens next, if it does within eight days.
        opens: Option<DateTime<Utc>>,
    },
}

/// One opening on one date: from when to when on the clock, and which instants those are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    pub(super) opens: NaiveDateTime,
    pub(super) closes: NaiveDateTime,
    pub(super) interval: Interval,
}

impl WeeklyHours {
    /// Open around the clock.
    #[must_use]
    pub fn always() -> Self {
        Self { days: std::array::from_fn(|_| vec![(0, MINUTES_PER_DAY)]) }
    }

    /// Openings of each day from Monday on, as minutes after midnight, `[opens, closes)`, 1440 being the next midnight.
    ///
    /// # Errors
    ///
    /// Names the first opening that is empty, reversed, out of the day, or overlaps the one before.
    pub fn new(days: [Vec<(u16, u16)>; 7]) -> Result<Self, HoursError> {
        let mut sorted = days;
        for (openings, day) in sorted.iter_mut().zip(DAYS) {
            let wrong = |index: usize, problem| Err(HoursError { field: format!("{day}[{index}]"), problem });
            if openings.len() > OPENINGS_PER_DAY_MAX {
                return wrong(OPENINGS_PER_DAY_MAX, "more than 24 openings in one day");
            }
            if let Some(index) = openings.iter().position(|(opens, closes)| opens >= closes) {
                return wrong(index, "an opening must end after it begins; split it at midnight, 24:00");
            }
            if let Some(index) = openings.iter().position(|(_, closes)| *closes > MINUTES_PER_DAY) {
                return wrong(index, "a day ends at 24:00");
            }
            openings.sort_unstable();
            if let Some(index) = openings.windows(2).position(|pair| pair[1].0 < pair[0].1) {
                return wrong(index + 1, "openings of one day must not overlap");
            }
        }
        Ok(Self { days: sorted })
    }

    /// The openings that meet or touch `range`, in order. One that clock changes swallow whole is left out.
    pub(super) fn openings_near(&self, range: Interval, zone: Tz) -> impl Iterator<Item = Opening> {
        // One more day on each side: at midnight a clock that is set back shows the day before once more.
        let date = |at: DateTime<Utc>| utc_to_local(at, zone).date();
        let first = date(range.start()).checked_sub_days(Days::new(1)).unwrap_or(NaiveDate::MIN);
        let last = date(range.end()).checked_add_days(Days::new(1)).unwrap_or(NaiveDate::MAX);
        let mut midnight = day_start(first, zone);
        first
            .iter_days()
            .take_while(move |date| *date <= last)
            .flat_map(move |date| {
                let begins = midnight;
                midnight = date.succ_opt().map_or(begins, |next| day_start(next, zone));
                // Of a day without a clock change only the beginning is looked up.
                let steady = (midnight - begins == TimeDelta::days(1)).then_some(begins);
                self.openings(date, steady, zone)
            })
            .filter(move |opening| opening.interval.start() <= range.end() && range.start() <= opening.interval.end())
    }

    /// The openings of `date`, which begins at `steady` and has 24 hours, or has a clock change.
    fn openings(&self, date: NaiveDate, steady: Option<DateTime<Utc>>, zone: Tz) -> impl Iterator<Item = Opening> {
        let day = &self.days[date.weekday().num_days_from_monday() as usize];
        day.iter().filter_map(move |(opens, closes)| {
            let wait = |minutes: u16| TimeDelta::minutes(i64::from(minutes));
            let local = |minutes: u16| date.and_time(NaiveTime::MIN).checked_add_signed(wait(minutes));
            let (local_opens, local_closes) = (local(*opens)?, local(*closes)?);
            let (start, end) = match steady {
                Some(begins) => (begins.checked_add_signed(wait(*opens))?, begins.checked_add_signed(wait(*closes))?),
                None => (edge_to_utc(local_opens, zone), edge_to_utc(local_closes, zone)),
            };
            Some(Opening { opens: local_opens, closes: local_closes, interval: Interval::new(start, end)? })
        })
    }

    /// What the hours say about the instant `at`.
    #[must_use]
    pub fn about(&self, at: DateTime<Utc>, zone: Tz) -> Door {
        let Some(week) = Interval::new(at, at + TimeDelta::days(8)) else { return Door::Closed { opens: None } };
        let mut opens = None;
        for opening in self.openings_near(week, zone) {
            if opening.interval.contains(at) {
                let minutes =
                    |local: NaiveDateTime| local.signed_duration_since(opening.opens.date().into()).num_minutes();
                let clock = |local| u16::try_from(minutes(local)).map(|minutes| Clock(minutes).to_string());
                return Door::Open {
                    day: DAYS[opening.opens.weekday().num_days_from_monday() as usize],
                    opens: clock(opening.opens).unwrap_or_default(),
                    closes: clock(opening.closes).unwrap_or_default(),
                };
            }
            if opening.interval.start() > at {
                opens = opens.or(Some(opening.interval.start()));
            }
        }
        Door::Closed { opens }
    }

    /// Whether a clock in `zone` stands within the opening hours during all of `interval`. Openings that touch, also at
    /// midnight, are one.
    #[must_use]
    pub fn covers(&self, interval: Interval, zone: Tz) -> bool {
        let mut open_until = interval.start();
        for opening in self.openings_near(interval, zone) {
            if opening.interval.start() <= open_until {
                open_until = open_until.max(opening.interval.end());
            }
        }
        open_until >= interval.end()
    }
}

/// The hours as people write them.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    mon: Vec<(String, String)>,
    tue: Vec<(String, String)>,
    wed: Vec<(String, String)>,
    thu: Vec<(String, String)>,
    fri: Vec<(String, String)>,
    sat: Vec<(String, String)>,
    sun: Vec<(String, String)>,
}

impl TryFrom<Written> for WeeklyHours {
    type Error = HoursError;

    fn try_from(written: Written) -> Result<Self, HoursError> {
        let Written { mon, tue, wed, thu, fri, sat, sun } = written;
        let mut days = [const { Vec::new() }; 7];
        for ((texts, day), name) in [mon, tue, wed, thu, fri, sat, sun].into_iter().zip(&mut days).zip(DAYS) {
            for (index, (opens, closes)) in texts.iter().enumerate() {
                let minutes = |text: &str| {
                    minutes_of(text).ok_or_else(|| HoursError {
                        field: format!("{name}[{index}]"),
                        problem: "a time of day is written HH:MM, from 00:00 to 24:00",
                    })
                };
                day.push((minutes(opens)?, minutes(closes)?));
            }
        }
        Self::new(days)
    }
}

impl From<WeeklyHours> for Written {
    fn from(hours: WeeklyHours) -> Self {
        let [mon, tue, wed, thu, fri, sat, sun] = hours.days.map(|openings| {
            openings.into_iter().map(|(opens, closes)| (Clock(opens).to_string(), Clock(closes).to_string())).collect()
        });
        Self { mon, tue, wed, thu, fri, sat, sun }
    }
}

struct Clock(u16);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

fn minutes_of(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let digits = |part: &str| {
        (part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit())).then(|| part.parse::<u16>().ok())?
    };
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    (minutes < 60 && hours * 60 + minutes <= MINUTES_PER_DAY).then_some(hours * 60 + minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<WeeklyHours, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    fn between(start: &str, end: &str) -> Interval {
        Interval::new(start.parse().unwrap(), end.parse().unwrap()).unwrap()
    }

    #[test]
    fn hours_read_back_as_they_were_written() {
        let hours = read(r#"{"mon":[["09:00","12:30"],["13:00","17:00"]],"sat":[["22:00","24:00"]]}"#).unwrap();
        assert_eq!(read(&serde_json::to_string(&hours).unwrap()).unwrap(), hours);
    }

    #[test]
    fn each_mistake_names_its_field() {
        for (json, field) in [
            (r#"{"mon":[["09:00","12:00"],["9","17:00"]]}"#, "`mon[1]`"),
            (r#"{"tue":[["09:00","24:01"]]}"#, "`tue[0]`"),
            (r#"{"wed":[["17:00","09:00"]]}"#, "`wed[0]`"),
            (r#"{"thu":[["09:00","09:00"]]}"#, "`thu[0]`"),
            (r#"{"fri":[["09:00","12:00"],["11:59","13:00"]]}"#, "`fri[1]`"),
            (r#"{"monday":[["09:00","12:00"]]}"#, "`monday`"),
            (r#"{"sat":[["+9:00","12:00"]]}"#, "`sat[0]`"),
        ] {
            let refused = read(json).unwrap_err();
            assert!(refused.contains(field), "{json}: {refused}");
        }
    }

    #[test]
    fn a_night_shift_joins_at_midnight() {
        let hours = read(r#"{"mon":[["22:00","24:00"]],"tue":[["00:00","06:00"]]}"#).unwrap();
        let zone = Tz::Europe__Berlin;
        // Monday, 23 November 2026, 22:00 is 21:00 UTC.
        assert!(hours.covers(between("2026-11-23T21:00:00Z", "2026-11-24T05:00:00Z"), zone));
        assert!(!hours.covers(between("2026-11-23T20:59:00Z", "2026-11-24T05:00:00Z"), zone));
        assert!(!hours.covers(between("2026-11-24T04:00:00Z", "2026-11-24T05:01:00Z"), zone));
    }

    #[test]
    fn hours_follow_the_clock_over_a_change() {
        let hours = read(r#"{"sun":[["02:30","04:00"]]}"#).unwrap();
        let zone = Tz::Europe__Berlin;
        // 2:30 does not exist on 29 March 2026: the shop opens at 3:00, which is 1:00 UTC.
        assert!(hours.covers(between("2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"), zone));
        // 2:30 comes twice on 25 October 2026: the shop is open from the first on.
        assert!(hours.covers(between("2026-10-25T00:30:00Z", "2026-10-25T03:00:00Z"), zone));
    }

    #[test]
    fn the_opening_that_holds_an_instant_is_named() {
        let hours = read(r#"{"mon":[["09:00","12:30"],["13:00","24:00"]]}"#).unwrap();
        let zone = Tz::Europe__Berlin;
        let about = |at: &str| hours.about(at.parse().unwrap(), zone);
        let open = |opens: &str, closes: &str| Door::Open { day: "mon", opens: opens.into(), closes: closes.into() };
        // Monday, 23 November 2026, 9:00 is 8:00 UTC.
        assert_eq!(about("2026-11-23T08:00:00Z"), open("09:00", "12:30"));
        assert_eq!(about("2026-11-23T22:59:59Z"), open("13:00", "24:00"));
        assert_eq!(about("2026-11-23T11:30:00Z"), Door::Closed { opens: "2026-11-23T12:00:00Z".parse().ok() });
        assert_eq!(about("2026-11-23T23:00:00Z"), Door::Closed { opens: "2026-11-30T08:00:00Z".parse().ok() });
        assert_eq!(
            WeeklyHours::new(Default::default()).unwrap().about("2026-11-23T08:00:00Z".parse().unwrap(), zone),
            Door::Closed { opens: None }
        );
    }

    #[test]
    fn always_has_no_seam() {
        let decade = between("2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z");
        assert!(WeeklyHours::always().covers(decade, Tz::America__Sao_Paulo));
    }
}
