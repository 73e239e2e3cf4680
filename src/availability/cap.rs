//! The daily cap of a service: so many bookings a day, and no more.
//!
//! A day is one of the business's, from the first instant that its clock shows midnight or later to that of the next date;
//! a booking counts on the day on which it begins. Days are whole stretches of time, also where a clock that is set back at
//! midnight shows the evening before once more: so each instant is of one day only.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::domain::{
    Interval,
    zone::{day_interval, utc_to_local},
};

/// The day of `at` in `zone`. `None` only at the very ends of the calendar.
#[must_use]
pub fn day_of(at: DateTime<Utc>, zone: Tz) -> Option<Interval> {
    let date = utc_to_local(at, zone).date();
    // Where midnight is shown twice, the evening before is shown again after the next day has begun.
    let days = [Some(date), date.succ_opt(), date.pred_opt()];
    days.into_iter().flatten().filter_map(|date| day_interval(date, zone)).find(|day| day.contains(at))
}

/// All days in `zone` that `range` touches, as one interval.
#[must_use]
pub fn whole_days(range: Interval, zone: Tz) -> Interval {
    let last = range.end() - TimeDelta::microseconds(1);
    let days = day_of(range.start(), zone).zip(day_of(last, zone));
    days.and_then(|(first, last)| Interval::new(first.start(), last.end())).unwrap_or(range)
}

/// The days in `zone` on which at least `cap` of the bookings that begin at `starts` begin: sorted and separate.
#[must_use]
pub fn capped_days(starts: &[DateTime<Utc>], cap: u32, zone: Tz) -> Vec<Interval> {
    let mut days: BTreeMap<Interval, u32> = BTreeMap::new();
    for day in starts.iter().filter_map(|start| day_of(*start, zone)) {
        *days.entry(day).or_default() += 1;
    }
    days.into_iter().filter(|(_, bookings)| *bookings >= cap).map(|(day, _)| day).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_day_is_full_when_as_many_begin_on_it_as_the_cap_allows() {
        let zone = Tz::Europe__Berlin;
        // 23:30 and 0:30 in Berlin are of two days, though of one in UTC.
        let starts = [at("2026-11-23T22:30:00Z"), at("2026-11-23T23:30:00Z"), at("2026-11-24T09:00:00Z")];
        let tuesday = Interval::new(at("2026-11-23T23:00:00Z"), at("2026-11-24T23:00:00Z")).unwrap();
        assert_eq!(capped_days(&starts, 2, zone), [tuesday]);
        assert_eq!(capped_days(&starts, 1, zone).len(), 2);
        assert_eq!(capped_days(&starts, 3, zone), []);
    }

    #[test]
    fn a_day_has_as_many_hours_as_the_clock_gives_it() {
        let hours = |at, zone| day_of(at, zone).unwrap().duration().num_hours();
        assert_eq!(hours(at("2026-03-29T10:00:00Z"), Tz::Europe__Berlin), 23);
        assert_eq!(hours(at("2026-10-25T10:00:00Z"), Tz::Europe__Berlin), 25);
    }

    #[test]
    fn an_evening_that_is_shown_again_after_midnight_is_of_the_new_day() {
        // At 0:01 on 7 November 2010 the clocks of St. John's went back to 23:01: that is 2:31 UTC.
        let (zone, midnight) = (Tz::America__St_Johns, at("2010-11-07T02:30:00Z"));
        assert_eq!(day_of(midnight - TimeDelta::seconds(1), zone).unwrap().end(), midnight);
        for later in ["2010-11-07T02:30:30Z", "2010-11-07T02:45:00Z", "2010-11-07T03:31:00Z"] {
            assert_eq!(day_of(at(later), zone).unwrap().start(), midnight, "{later}");
        }
    }

    proptest! {
        #[test]
        fn days_leave_no_time_out_and_none_meets_another(seconds in 0_i64..4_000_000_000, zone in 0..chrono_tz::TZ_VARIANTS.len()) {
            let (zone, at) = (chrono_tz::TZ_VARIANTS[zone], DateTime::from_timestamp(seconds, 0).unwrap());
            let day = day_of(at, zone).unwrap();
            prop_assert!(day.contains(at));
            prop_assert_eq!(day_of(day.start(), zone), Some(day));
            prop_assert_eq!(day_of(day.end() - TimeDelta::microseconds(1), zone), Some(day));
            prop_assert_eq!(day_of(day.end(), zone).unwrap().start(), day.end());
            prop_assert_eq!(whole_days(Interval::new(at, day.end()).unwrap_or(day), zone), day);
        }
    }
}
