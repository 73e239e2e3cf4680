//! How often calendars are looked at: as often as is wished, or as seldom as Google's quotas need. Pure.

use std::time::Duration;

/// However many calendars there are: each is looked at once a day, unless that is wished less often.
const LONGEST: Duration = Duration::from_hours(24);

/// How often a calendar is looked at while Google pushes for it, and while it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Periods {
    pub(super) watched: Duration,
    pub(super) unwatched: Duration,
}

/// How many calendars there are to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Load {
    pub(super) watched: u32,
    pub(super) unwatched: u32,
}

impl Load {
    /// Looks a minute.
    pub(super) fn looks_per_minute(self, periods: Periods) -> f64 {
        let rate = |calendars: u32, period: Duration| 60.0 * f64::from(calendars) / period.as_secs_f64().max(1e-3);
        rate(self.watched, periods.watched) + rate(self.unwatched, periods.unwatched)
    }
}

/// How many times longer than `wished` the periods have to be, so that `load` takes at most so many looks a minute. At
/// least 1: nobody looks more often than is wished.
pub(super) fn stretch(wished: Periods, load: Load, looks_per_minute: f64) -> f64 {
    let needed = load.looks_per_minute(wished);
    // Not divided by nothing; the periods have a limit anyway.
    (needed / looks_per_minute.max(1e-6)).max(1.0)
}

/// The periods that many times longer, up to a day.
pub(super) fn stretched(wished: Periods, stretch: f64) -> Periods {
    let longer = |period: Duration| {
        let longer = Duration::try_from_secs_f64(period.as_secs_f64() * stretch).unwrap_or(Duration::MAX);
        longer.min(LONGEST).max(period)
    };
    Periods { watched: longer(wished.watched), unwatched: longer(wished.unwatched) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn periods() -> impl Strategy<Value = Periods> {
        (1_u64..=86_400, 1_u64..=86_400).prop_map(|(watched, unwatched)| Periods {
            watched: Duration::from_secs(watched),
            unwatched: Duration::from_secs(unwatched),
        })
    }

    fn load() -> impl Strategy<Value = Load> {
        (0_u32..200_000, 0_u32..200_000).prop_map(|(watched, unwatched)| Load { watched, unwatched })
    }

    proptest! {
        /// All looks together fit into the quota, unless even one a day of each calendar does not.
        #[test]
        fn the_looks_fit_into_the_quota(wished in periods(), load in load(), allowed in 0.01_f64..20_000.0) {
            let real = stretched(wished, stretch(wished, load, allowed));
            let at_its_limit = |real: Duration, wished: Duration| real == LONGEST.max(wished);
            let limited = at_its_limit(real.watched, wished.watched) || at_its_limit(real.unwatched, wished.unwatched);
            prop_assert!(limited || load.looks_per_minute(real) <= allowed * 1.000_001);
        }

        /// Never more often than is wished, never less than once a day, and as often as is wished when there is room.
        #[test]
        fn nobody_looks_more_often_than_is_wished(wished in periods(), load in load(), allowed in 0.0_f64..20_000.0) {
            let real = stretched(wished, stretch(wished, load, allowed));
            prop_assert!(real.watched >= wished.watched && real.unwatched >= wished.unwatched);
            prop_assert!(real.watched <= LONGEST && real.unwatched <= LONGEST);
            if load.looks_per_minute(wished) <= allowed {
                prop_assert_eq!(real, wished);
            }
        }

        /// More calendars or less quota never lead to more looks at each.
        #[test]
        fn more_calendars_or_less_quota_mean_longer_periods(
            wished in periods(), load in load(), more in load(), allowed in 0.01_f64..20_000.0, less in 0.0_f64..1.0,
        ) {
            let before = stretched(wished, stretch(wished, load, allowed));
            let larger = Load { watched: load.watched + more.watched, unwatched: load.unwatched + more.unwatched };
            let after = stretched(wished, stretch(wished, larger, allowed * less));
            prop_assert!(after.watched >= before.watched && after.unwatched >= before.unwatched);
        }
    }
}
