//! Who does it when nobody is named: whoever has least to do in that week.
//!
//! A week is one of the business's, Monday to Sunday by its clock. What counts is what holds and bookings occupy, buffers
//! included; then how many they are; then the id. So the same state always gives the same answer, and those who offer a
//! time name the one whom a booking of it would get.

use chrono::{DateTime, Datelike, Days, TimeDelta, Utc};
use chrono_tz::Tz;

use super::cap::day_of;
use crate::domain::{
    Interval, ResourceId,
    zone::{day_start, utc_to_local},
};

/// What a resource has to do in one week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeekLoad {
    /// Monday's first instant to that of the next Monday.
    pub week: Interval,
    /// How much of the week is occupied; what meets counts twice.
    pub occupied: TimeDelta,
    /// By how many holds and bookings.
    pub bookings: u32,
}

/// How a resource stands in line for a time: the least goes first.
pub type Rank = (TimeDelta, u32, ResourceId);

/// Where `resource`, with what it has to do in some weeks, stands in line at `start`. Weeks that are not told are empty.
pub(super) fn rank(resource: ResourceId, loads: &[WeekLoad], start: DateTime<Utc>) -> Rank {
    let load = loads.iter().find(|load| load.week.contains(start));
    load.map_or((TimeDelta::zero(), 0, resource), |load| (load.occupied, load.bookings, resource))
}

/// The week of `at` in `zone`. `None` only at the very ends of the calendar.
#[must_use]
pub fn week_of(at: DateTime<Utc>, zone: Tz) -> Option<Interval> {
    // Of the day that `at` is of, by a clock that stands well within it.
    let day = day_of(at, zone)?;
    let date = utc_to_local(day.start() + day.duration() / 2, zone).date();
    let monday = date.checked_sub_days(Days::new(date.weekday().num_days_from_monday().into()))?;
    Interval::new(day_start(monday, zone), day_start(monday.checked_add_days(Days::new(7))?, zone))
}

/// The weeks in `zone` that `range` touches, in order.
#[must_use]
pub fn weeks_of(range: Interval, zone: Tz) -> Vec<Interval> {
    let mut weeks = Vec::new();
    let mut next = week_of(range.start(), zone);
    while let Some(week) = next.filter(|week| week.start() < range.end()) {
        weeks.push(week);
        next = week_of(week.end(), zone);
    }
    weeks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_week_begins_on_monday_by_the_clock_and_has_the_hours_that_the_clock_gives_it() {
        let week = week_of(at("2026-10-25T12:00:00Z"), Tz::Europe__Berlin).unwrap();
        assert_eq!((week.start(), week.end()), (at("2026-10-18T22:00:00Z"), at("2026-10-25T23:00:00Z")));
        assert_eq!(week.duration().num_hours(), 7 * 24 + 1);
        assert_eq!(weeks_of(Interval::new(week.start(), week.end()).unwrap(), Tz::Europe__Berlin), [week]);
    }

    #[test]
    fn the_least_busy_goes_first_then_fewest_bookings_then_the_id() {
        let week = week_of(at("2026-11-25T12:00:00Z"), Tz::UTC).unwrap();
        let [anna, ben] = [1, 2].map(|number| ResourceId::new(Uuid::from_u128(number)));
        let load = |minutes, bookings| [WeekLoad { week, occupied: TimeDelta::minutes(minutes), bookings }];
        let (start, later) = (at("2026-11-25T12:00:00Z"), at("2026-12-02T12:00:00Z"));
        assert!(rank(ben, &load(30, 9), start) < rank(anna, &load(60, 1), start));
        assert!(rank(ben, &load(60, 1), start) < rank(anna, &load(60, 2), start));
        assert!(rank(anna, &load(60, 1), start) < rank(ben, &load(60, 1), start));
        assert!(rank(anna, &load(90, 1), later) < rank(ben, &[], later), "another week is another matter");
    }

    proptest! {
        #[test]
        fn weeks_leave_no_time_out(seconds in 1_000_000_i64..4_000_000_000, zone in 0..chrono_tz::TZ_VARIANTS.len()) {
            let (zone, at) = (chrono_tz::TZ_VARIANTS[zone], DateTime::from_timestamp(seconds, 0).unwrap());
            let week = week_of(at, zone).unwrap();
            prop_assert!(week.contains(at));
            prop_assert_eq!(week_of(week.end(), zone).unwrap().start(), week.end());
            prop_assert_eq!(week_of(week.end() - TimeDelta::microseconds(1), zone), Some(week));
            let two = Interval::new(at, week.end() + TimeDelta::hours(1)).unwrap();
            prop_assert_eq!(weeks_of(two, zone).len(), 2);
        }
    }
}
