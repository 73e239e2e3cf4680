//! The calls of a day, which all nodes share. Pure.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use chrono_tz::{America::Los_Angeles, Tz};

use crate::domain::zone::local_to_utc;

/// Where Google's days begin: the quotas of a day come back at midnight Pacific time.
const ZONE: Tz = Los_Angeles;

/// Calls made on one day of Google's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Day {
    pub(super) date: NaiveDate,
    /// Made by this node since it last told the others.
    pub(super) untold: u64,
    /// Made by all nodes, as far as they told.
    pub(super) told: u64,
    /// Of the day before, not told yet.
    pub(super) left_over: Option<(NaiveDate, u64)>,
}

/// The day of Google's that an instant belongs to.
pub(super) fn date(now: DateTime<Utc>) -> NaiveDate {
    now.with_timezone(&ZONE).date_naive()
}

impl Day {
    pub(super) fn new(now: DateTime<Utc>) -> Self {
        Self { date: date(now), untold: 0, told: 0, left_over: None }
    }

    /// Begins a new day when it has come.
    pub(super) fn turn(&mut self, now: DateTime<Utc>) {
        let today = date(now);
        // A clock that was set back a little must not give the day's calls anew.
        if today > self.date {
            let left_over = Some((self.date, self.untold)).filter(|(_, calls)| *calls > 0);
            *self = Self { left_over: left_over.or(self.left_over), ..Self::new(now) };
        }
    }

    pub(super) const fn used(&self) -> u64 {
        self.told + self.untold
    }

    /// Until the next day.
    pub(super) fn rest(&self, now: DateTime<Utc>) -> TimeDelta {
        let midnight = local_to_utc((self.date + Days::new(1)).and_time(NaiveTime::MIN), ZONE);
        (midnight - now).max(TimeDelta::seconds(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_day_ends_at_midnight_pacific_time_also_when_clocks_change() {
        for (now, date, rest_s) in [
            ("2027-03-01T07:59:59Z", "2027-02-28", 1),
            ("2027-03-01T08:00:00Z", "2027-03-01", 86_400),
            ("2027-03-14T08:00:00Z", "2027-03-14", 23 * 3_600),
            ("2027-11-07T07:00:00Z", "2027-11-07", 25 * 3_600),
        ] {
            let day = Day::new(at(now));
            assert_eq!((day.date.to_string().as_str(), day.rest(at(now)).num_seconds()), (date, rest_s), "{now}");
        }
    }

    #[test]
    fn what_was_not_told_yet_belongs_to_its_own_day() {
        let mut day = Day::new(at("2027-03-01T07:00:00Z"));
        (day.told, day.untold) = (500, 20);
        assert_eq!(day.used(), 520);
        day.turn(at("2027-03-01T09:00:00Z"));
        assert_eq!((day.used(), day.left_over), (0, Some(("2027-02-28".parse().unwrap(), 20))));
        day.untold = 3;
        day.turn(at("2027-03-01T07:00:00Z"));
        assert_eq!(day.used(), 3, "a clock that is set back begins no day");
    }
}
