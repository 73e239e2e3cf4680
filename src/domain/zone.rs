//! Local wall-clock time and UTC.
//!
//! A clock that is set forward skips local times (a gap), one that is set back shows some twice (a fold). Every function
//! here says what it does with them, and none fails.

use chrono::{DateTime, MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};

use super::{
    interval::Interval,
    sabotage::{Bug, sabotaged},
};

/// The instant at which a clock in `zone` shows `local`.
///
/// In a fold it is the first of the two. In a gap the offset before the gap counts, so that the result is later on the
/// clock by the length of the gap: RFC 5545 section 3.3.5.
#[must_use]
pub fn local_to_utc(local: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
    match zone.from_local_datetime(&local) {
        MappedLocalTime::Ambiguous(_, at) if sabotaged(Bug::FoldLater) => at.to_utc(),
        MappedLocalTime::Single(at) | MappedLocalTime::Ambiguous(at, _) => at.to_utc(),
        MappedLocalTime::None => {
            let before = GapInfo::new(&local, &zone).and_then(|gap| gap.begin);
            before.and_then(|(_, offset)| local.checked_sub_offset(offset.fix())).unwrap_or(local).and_utc()
        }
    }
}

/// The first instant at which a clock in `zone` shows `local` or later: in a fold the first of the two, in a gap the end
/// of the gap. This is where a day or an opening begins.
#[must_use]
pub fn edge_to_utc(local: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
    match zone.from_local_datetime(&local) {
        MappedLocalTime::None => match GapInfo::new(&local, &zone).and_then(|gap| gap.end) {
            Some(end) => end.to_utc(),
            None => local_to_utc(local, zone),
        },
        MappedLocalTime::Single(_) | MappedLocalTime::Ambiguous(_, _) => local_to_utc(local, zone),
    }
}

/// Every instant at which a clock in `zone` shows `local`: none in a gap, two in a fold, in order.
pub fn instants_showing(local: NaiveDateTime, zone: Tz) -> impl Iterator<Item = DateTime<Utc>> {
    let (first, second) = match zone.from_local_datetime(&local) {
        MappedLocalTime::Single(at) => (Some(at), None),
        MappedLocalTime::Ambiguous(first, second) => (Some(first), Some(second)),
        MappedLocalTime::None => (None, None),
    };
    first.into_iter().chain(second).map(|at| at.to_utc())
}

/// What a clock in `zone` shows at `at`.
#[must_use]
pub fn utc_to_local(at: DateTime<Utc>, zone: Tz) -> NaiveDateTime {
    let utc = at.naive_utc();
    // Only at the very ends of the calendar is there no local time.
    utc.checked_add_offset(zone.offset_from_utc_datetime(&utc).fix()).unwrap_or(utc)
}

/// The first instant of `date` in `zone`, which is not midnight where a gap swallows it.
#[must_use]
pub fn day_start(date: NaiveDate, zone: Tz) -> DateTime<Utc> {
    edge_to_utc(date.and_time(NaiveTime::MIN), zone)
}

/// The whole of `date` in `zone`: 23 or 25 hours when clocks change. `None` for a day that the zone left out, as Samoa
/// did with 30 December 2011.
#[must_use]
pub fn day_interval(date: NaiveDate, zone: Tz) -> Option<Interval> {
    Interval::new(day_start(date, zone), day_start(date.succ_opt()?, zone))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    fn local(text: &str) -> NaiveDateTime {
        text.parse().unwrap()
    }

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_time_in_a_gap_moves_forward_by_the_gap() {
        assert_eq!(local_to_utc(local("2026-03-29T02:30:00"), Tz::Europe__Berlin), utc("2026-03-29T01:30:00Z"));
        assert_eq!(edge_to_utc(local("2026-03-29T02:30:00"), Tz::Europe__Berlin), utc("2026-03-29T01:00:00Z"));
        assert_eq!(instants_showing(local("2026-03-29T02:30:00"), Tz::Europe__Berlin).count(), 0);
    }

    #[test]
    fn a_time_in_a_fold_is_the_first_of_two() {
        assert_eq!(local_to_utc(local("2026-11-01T01:30:00"), Tz::America__New_York), utc("2026-11-01T05:30:00Z"));
        let both: Vec<_> = instants_showing(local("2026-11-01T01:30:00"), Tz::America__New_York).collect();
        assert_eq!(both, [utc("2026-11-01T05:30:00Z"), utc("2026-11-01T06:30:00Z")]);
    }

    #[test]
    fn days_have_the_hours_that_the_zone_gives_them() {
        let hours = |day: &str, zone| day_interval(day.parse().unwrap(), zone).map(|it| it.duration().num_minutes());
        assert_eq!(hours("2026-03-29", Tz::Europe__Berlin), Some(23 * 60));
        assert_eq!(hours("2026-10-25", Tz::Europe__Berlin), Some(25 * 60));
        assert_eq!(hours("2026-04-05", Tz::Australia__Lord_Howe), Some(24 * 60 + 30));
        assert_eq!(hours("2018-11-04", Tz::America__Sao_Paulo), Some(23 * 60), "the day begins at one o'clock");
        assert_eq!(hours("2011-12-30", Tz::Pacific__Apia), None, "Samoa left the day out");
    }

    #[test]
    fn a_day_whose_midnight_is_skipped_begins_after_the_gap() {
        let begins = day_start("2018-11-04".parse().unwrap(), Tz::America__Sao_Paulo);
        assert_eq!(begins, utc("2018-11-04T03:00:00Z"));
    }

    proptest! {
        #[test]
        fn converting_never_fails_and_comes_back_outside_gaps(
            zone in 0..chrono_tz::TZ_VARIANTS.len(),
            seconds in -62_000_000_000_i64..253_000_000_000,
        ) {
            let zone = chrono_tz::TZ_VARIANTS[zone];
            let local = DateTime::from_timestamp(seconds, 0).unwrap().naive_utc();
            let at = local_to_utc(local, zone);
            if instants_showing(local, zone).next().is_some() {
                prop_assert_eq!(utc_to_local(at, zone), local);
            } else {
                prop_assert!(utc_to_local(at, zone) > local);
                prop_assert!(edge_to_utc(local, zone) <= at);
            }
        }

        #[test]
        fn days_follow_each_other_without_a_seam(zone in 0..chrono_tz::TZ_VARIANTS.len(), day in 0_i64..40_000) {
            let zone = chrono_tz::TZ_VARIANTS[zone];
            let date = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap() + TimeDelta::days(day);
            if let (Some(today), Some(tomorrow)) = (day_interval(date, zone), day_interval(date.succ_opt().unwrap(), zone)) {
                prop_assert_eq!(today.end(), tomorrow.start());
            }
        }
    }
}
