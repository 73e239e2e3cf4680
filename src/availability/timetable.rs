//! When somebody is open: by the week, and on the dates that are not like the week.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::hours::{Clock, DAYS, DayHours, WeeklyHours};
use crate::domain::{
    Interval,
    zone::{day_start, edge_to_utc, utc_to_local},
};

/// How many days ahead the next opening is looked for: past any holiday.
const NEXT_DAYS: i64 = 400;

/// Dates that are not like the week: a holiday, a short day, an evening that is open for once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DateOverride {
    /// The first date, by the clock of whom it concerns.
    pub first: NaiveDate,
    /// The last date; the same as the first for a single one.
    pub last: NaiveDate,
    /// When they are open on each of these dates, instead of what the week says.
    pub hours: DayHours,
    /// What it is, such as "Christmas".
    pub label: Option<String>,
}

impl DateOverride {
    /// Whether it speaks about `date`.
    #[must_use]
    pub fn covers(&self, date: NaiveDate) -> bool {
        self.first <= date && date <= self.last
    }

    /// Whether both speak about one date.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// When a resource is open. What its own overrides say of a date counts before those of its business, and both before the
/// week.
#[derive(Debug, Clone, Copy)]
pub struct Timetable<'a> {
    week: &'a WeeklyHours,
    own: &'a [DateOverride],
    shared: &'a [DateOverride],
}

impl<'a> From<&'a WeeklyHours> for Timetable<'a> {
    fn from(week: &'a WeeklyHours) -> Self {
        Self { week, own: &[], shared: &[] }
    }
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
        /// When it opens next, if it does within 400 days.
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

impl<'a> Timetable<'a> {
    /// The week, and the overrides of the resource and of its business: each sorted by date, no two of one list about the
    /// same date.
    #[must_use]
    pub const fn new(week: &'a WeeklyHours, own: &'a [DateOverride], shared: &'a [DateOverride]) -> Self {
        Self { week, own, shared }
    }

    /// What says something else about `date` than the week, and whether it is the resource's own.
    #[must_use]
    pub fn override_on(&self, date: NaiveDate) -> Option<(&'a DateOverride, bool)> {
        let find = |overrides: &'a [DateOverride]| {
            let begun = overrides.partition_point(|one| one.first <= date);
            begun.checked_sub(1).and_then(|last| overrides.get(last)).filter(|one| one.covers(date))
        };
        find(self.own).map(|one| (one, true)).or_else(|| find(self.shared).map(|one| (one, false)))
    }

    /// What speaks about the date that the clock shows at `at`, if not the week.
    #[must_use]
    pub fn override_at(&self, at: DateTime<Utc>, zone: Tz) -> Option<(&'a DateOverride, bool)> {
        self.override_on(utc_to_local(at, zone).date())
    }

    /// The openings that meet or touch `range`, in order. One that clock changes swallow whole is left out.
    pub(super) fn openings_near(self, range: Interval, zone: Tz) -> impl Iterator<Item = Opening> + use<'a> {
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
    fn openings(
        self,
        date: NaiveDate,
        steady: Option<DateTime<Utc>>,
        zone: Tz,
    ) -> impl Iterator<Item = Opening> + use<'a> {
        let day = self.override_on(date).map_or_else(|| self.week.day(date.weekday()), |(one, _)| one.hours.openings());
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
        let ahead = at.checked_add_signed(TimeDelta::days(NEXT_DAYS)).and_then(|end| Interval::new(at, end));
        let Some(ahead) = ahead else { return Door::Closed { opens: None } };
        let mut opens: Option<DateTime<Utc>> = None;
        for opening in self.openings_near(ahead, zone) {
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
                // Days are in order; only the next one could still hold `at`, where a clock is set back at midnight.
                if opening.interval.start() > at + TimeDelta::days(2) {
                    break;
                }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<WeeklyHours, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    fn between(start: &str, end: &str) -> Interval {
        Interval::new(start.parse().unwrap(), end.parse().unwrap()).unwrap()
    }

    fn on(first: &str, last: &str, hours: &str) -> DateOverride {
        let hours = serde_json::from_str(hours).unwrap();
        DateOverride { first: first.parse().unwrap(), last: last.parse().unwrap(), hours, label: None }
    }

    #[test]
    fn an_override_counts_before_the_week_and_the_resources_own_before_the_businesss() {
        let week = read(r#"{"thu":[["09:00","17:00"]],"fri":[["09:00","17:00"]],"mon":[["09:00","17:00"]]}"#).unwrap();
        let shared = [on("2026-12-24", "2026-12-27", "[]")];
        let own = [on("2026-12-25", "2026-12-25", r#"[["10:00","12:00"]]"#)];
        let zone = Tz::UTC;
        let open = |own, at: &str| {
            let start: DateTime<Utc> = at.parse().unwrap();
            Timetable::new(&week, own, &shared).covers(Interval::new(start, start + TimeDelta::hours(1)).unwrap(), zone)
        };
        assert!(open(&[], "2026-12-21T09:00:00Z"));
        assert!(!open(&own, "2026-12-24T10:00:00Z"), "the business is closed");
        assert!(!open(&[], "2026-12-25T10:00:00Z"), "also for those who say nothing of their own");
        assert!(open(&own, "2026-12-25T10:00:00Z"), "their own word counts");
        assert!(!open(&own, "2026-12-25T11:30:00Z"), "and nothing of the week does");
        let table = Timetable::new(&week, &own, &shared);
        let next = |at: &str| table.about(at.parse().unwrap(), zone);
        assert_eq!(next("2026-12-24T10:00:00Z"), Door::Closed { opens: "2026-12-25T10:00:00Z".parse().ok() });
        assert_eq!(next("2026-12-25T12:00:00Z"), Door::Closed { opens: "2026-12-28T09:00:00Z".parse().ok() });
        assert_eq!(table.override_on("2026-12-25".parse().unwrap()), Some((&own[0], true)));
        assert_eq!(table.override_on("2026-12-27".parse().unwrap()), Some((&shared[0], false)));
        assert_eq!(table.override_on("2026-12-28".parse().unwrap()), None);
    }

    #[test]
    fn the_next_opening_is_found_after_a_long_holiday() {
        let always = WeeklyHours::always();
        let shared = [on("2026-12-01", "2027-06-30", "[]")];
        let about = Timetable::new(&always, &[], &shared).about("2026-12-01T00:00:00Z".parse().unwrap(), Tz::UTC);
        assert_eq!(about, Door::Closed { opens: "2027-07-01T00:00:00Z".parse().ok() });
    }

    #[test]
    fn a_night_of_an_override_joins_the_next_date_at_midnight() {
        let week = read(r#"{"fri":[["00:00","02:00"]]}"#).unwrap();
        let shared = [on("2026-12-31", "2026-12-31", r#"[["20:00","24:00"]]"#)];
        let table = Timetable::new(&week, &[], &shared);
        // Thursday, 31 December 2026, 20:00 in Berlin is 19:00 UTC.
        assert!(table.covers(between("2026-12-31T19:00:00Z", "2027-01-01T01:00:00Z"), Tz::Europe__Berlin));
        assert!(!table.covers(between("2026-12-31T19:00:00Z", "2027-01-01T01:01:00Z"), Tz::Europe__Berlin));
    }

    #[test]
    fn a_night_shift_joins_at_midnight() {
        let hours = read(r#"{"mon":[["22:00","24:00"]],"tue":[["00:00","06:00"]]}"#).unwrap();
        let zone = Tz::Europe__Berlin;
        // Monday, 23 November 2026, 22:00 is 21:00 UTC.
        assert!(Timetable::from(&hours).covers(between("2026-11-23T21:00:00Z", "2026-11-24T05:00:00Z"), zone));
        assert!(!Timetable::from(&hours).covers(between("2026-11-23T20:59:00Z", "2026-11-24T05:00:00Z"), zone));
        assert!(!Timetable::from(&hours).covers(between("2026-11-24T04:00:00Z", "2026-11-24T05:01:00Z"), zone));
    }

    #[test]
    fn hours_follow_the_clock_over_a_change() {
        let hours = read(r#"{"sun":[["02:30","04:00"]]}"#).unwrap();
        let zone = Tz::Europe__Berlin;
        // 2:30 does not exist on 29 March 2026: the shop opens at 3:00, which is 1:00 UTC.
        assert!(Timetable::from(&hours).covers(between("2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"), zone));
        // 2:30 comes twice on 25 October 2026: the shop is open from the first on.
        assert!(Timetable::from(&hours).covers(between("2026-10-25T00:30:00Z", "2026-10-25T03:00:00Z"), zone));
    }

    #[test]
    fn the_opening_that_holds_an_instant_is_named() {
        let hours = read(r#"{"mon":[["09:00","12:30"],["13:00","24:00"]]}"#).unwrap();
        let zone = Tz::Europe__Berlin;
        let about = |at: &str| Timetable::from(&hours).about(at.parse().unwrap(), zone);
        let open = |opens: &str, closes: &str| Door::Open { day: "mon", opens: opens.into(), closes: closes.into() };
        // Monday, 23 November 2026, 9:00 is 8:00 UTC.
        assert_eq!(about("2026-11-23T08:00:00Z"), open("09:00", "12:30"));
        assert_eq!(about("2026-11-23T22:59:59Z"), open("13:00", "24:00"));
        assert_eq!(about("2026-11-23T11:30:00Z"), Door::Closed { opens: "2026-11-23T12:00:00Z".parse().ok() });
        assert_eq!(about("2026-11-23T23:00:00Z"), Door::Closed { opens: "2026-11-30T08:00:00Z".parse().ok() });
        assert_eq!(
            Timetable::from(&WeeklyHours::new(Default::default()).unwrap())
                .about("2026-11-23T08:00:00Z".parse().unwrap(), zone),
            Door::Closed { opens: None }
        );
    }

    #[test]
    fn always_has_no_seam() {
        let decade = between("2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z");
        assert!(Timetable::from(&WeeklyHours::always()).covers(decade, Tz::America__Sao_Paulo));
    }
}
