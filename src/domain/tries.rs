//! How often somebody may be wrong. Pure.
//!
//! Tries are counted from the first one on; an hour later they are forgotten, all at once.

use chrono::{DateTime, TimeDelta, Utc};

/// How long wrong tries count.
pub const WINDOW: TimeDelta = TimeDelta::hours(1);

/// By how much the instants of tries at once may be out of order: each is when its transaction began, and one that began
/// earlier may have waited for a later one.
const OUT_OF_ORDER: TimeDelta = TimeDelta::minutes(1);

/// Wrong tries so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries {
    /// How many.
    pub count: i64,
    /// When the first of them was.
    pub since: DateTime<Utc>,
}

impl Tries {
    /// Those that count at `now`.
    #[must_use]
    pub fn at(self, now: DateTime<Utc>) -> Self {
        // A clock that was set back must not lock anybody out for much longer than the window.
        let (over, ahead) = (now - self.since >= WINDOW, self.since - now > OUT_OF_ORDER);
        if over || ahead { Self { count: 0, since: now } } else { self }
    }

    /// One more.
    #[must_use]
    pub fn wrong(self, now: DateTime<Utc>) -> Self {
        let Self { count, since } = self.at(now);
        Self { count: count.saturating_add(1), since }
    }

    /// How long nobody may try again, when there were `most` already.
    #[must_use]
    pub fn wait(self, most: i64, now: DateTime<Utc>) -> Option<TimeDelta> {
        let Self { count, since } = self.at(now);
        (count >= most).then(|| since + WINDOW - now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: DateTime<Utc> = DateTime::from_timestamp(1_803_891_600, 0).unwrap();

    #[test]
    fn after_so_many_wrong_tries_the_rest_of_the_hour_is_closed() {
        let mut tries = Tries { count: 0, since: START };
        for minute in 0..5 {
            let now = START + TimeDelta::minutes(minute);
            assert_eq!(tries.wait(5, now), None, "{minute}");
            tries = tries.wrong(now);
        }
        assert_eq!(tries.wait(5, START + TimeDelta::minutes(10)), Some(TimeDelta::minutes(50)));
        assert_eq!(tries.wait(5, START + WINDOW), None);
    }

    #[test]
    fn a_try_that_began_earlier_and_waited_forgives_nothing() {
        let tries = Tries { count: 4, since: START };
        let earlier = START - TimeDelta::seconds(3);
        assert_eq!(tries.wrong(earlier), Tries { count: 5, since: START });
        assert!(tries.wrong(earlier).wait(5, earlier).is_some());
        let set_back = START - TimeDelta::hours(3);
        assert_eq!(tries.wrong(set_back), Tries { count: 1, since: set_back });
    }

    proptest! {
        #[test]
        fn never_more_than_the_limit_in_a_window_and_never_closed_for_longer(
            gaps in proptest::collection::vec(0_i64..5_000, 1..80), most in 1_i64..8,
        ) {
            let (mut now, mut tries, mut tried) = (START, Tries { count: 0, since: START }, Vec::new());
            for gap in gaps {
                now += TimeDelta::seconds(gap);
                if let Some(wait) = tries.wait(most, now) {
                    prop_assert!(wait > TimeDelta::zero() && wait <= WINDOW);
                    prop_assert_eq!(tries.wait(most, now + wait), None);
                } else {
                    tries = tries.wrong(now);
                    tried.push(now);
                }
            }
            for first in &tried {
                // Two windows that touch may both be used up.
                let within = tried.iter().filter(|at| **at >= *first && **at < *first + WINDOW).count();
                prop_assert!(i64::try_from(within).unwrap() <= 2 * most);
            }
        }
    }
}
