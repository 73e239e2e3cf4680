//! How long Google is left alone after it said "too much". Pure but for chance.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::Chance;

/// The first wait, and the longest to which it doubles.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steps {
    first: Duration,
    longest: Duration,
}

/// After too many calls in a minute.
pub(super) const MINUTE_QUOTA: Steps = Steps { first: Duration::from_secs(2), longest: Duration::from_secs(64) };
/// After a limit that comes back in hours.
pub(super) const HOURS: Steps = Steps { first: Duration::from_hours(1), longest: Duration::from_hours(12) };
/// After the limit of a day.
pub(super) const DAY_QUOTA: Steps = Steps { first: Duration::from_mins(5), longest: Duration::from_hours(1) };

/// A pause by Google's word: `Retry-After` when it says so, else truncated exponential backoff.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Brake {
    /// When it was set, and until when.
    set: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// Refusals in a row.
    strikes: u32,
}

impl Brake {
    /// Google refused a call that began at `began`. Returns the end of the pause.
    pub(super) fn hit(
        &mut self,
        began: DateTime<Utc>,
        now: DateTime<Utc>,
        asked: Option<Duration>,
        steps: Steps,
        chance: &dyn Chance,
    ) -> DateTime<Utc> {
        // Calls that were under way together and refused together are one refusal.
        let again = self.set.is_some_and(|(set_at, _)| began <= set_at);
        let mut until = self.set.map_or(now, |(_, until)| until.max(now));
        if !again {
            let longest = steps.first.saturating_mul(2_u32.saturating_pow(self.strikes)).min(steps.longest);
            // Half of it is jitter: nodes and accounts that were refused together do not come back together.
            let wait = longest / 2 + chance.jitter(longest / 4, 100);
            until = until.max(now + delta(wait));
            self.strikes = self.strikes.saturating_add(1);
        }
        if let Some(asked) = asked {
            // Never earlier than asked, and not all at the same instant.
            until = until.max(now + delta(asked + chance.jitter(asked / 20, 100)));
        }
        let set_at = if again { self.set.map_or(now, |(set_at, _)| set_at) } else { now };
        self.set = Some((set_at, until));
        until
    }

    /// Somebody else was told to wait until then.
    pub(super) fn learn(&mut self, now: DateTime<Utc>, until: DateTime<Utc>) {
        if until > self.until().max(now) {
            self.set = Some((now, until));
        }
    }

    /// A call that began at `began` succeeded. After the pause that means that it is over.
    pub(super) fn ease(&mut self, began: DateTime<Utc>) {
        if self.set.is_some_and(|(_, until)| began >= until) {
            *self = Self::default();
        }
    }

    /// Until when; long ago when there is no pause.
    pub(super) fn until(&self) -> DateTime<Utc> {
        self.set.map_or(DateTime::UNIX_EPOCH, |(_, until)| until)
    }

    /// How much longer.
    pub(super) fn left(&self, now: DateTime<Utc>) -> Option<TimeDelta> {
        Some(self.until() - now).filter(|left| *left > TimeDelta::zero())
    }
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::SeededChance;

    const START: DateTime<Utc> = DateTime::from_timestamp(1_803_891_600, 0).unwrap();

    #[test]
    fn the_pause_doubles_up_to_its_limit_and_varies() {
        let (mut brake, chance, mut now) = (Brake::default(), SeededChance::new(7), START);
        for strike in 0..12 {
            let longest = TimeDelta::seconds(2 << strike.min(5));
            let wait = brake.hit(now, now, None, MINUTE_QUOTA, &*chance) - now;
            assert!(wait >= longest / 2 && wait <= longest, "{strike}: {wait} of {longest}");
            now += wait + TimeDelta::seconds(1);
        }
        let waits: std::collections::BTreeSet<_> =
            (0..20).map(|_| Brake::default().hit(START, START, None, MINUTE_QUOTA, &*chance)).collect();
        assert!(waits.len() > 10, "{waits:?}");
    }

    #[test]
    fn what_google_asks_for_is_kept_and_hardly_exceeded() {
        let chance = SeededChance::new(7);
        for asked in [1, 9, 3_600] {
            let asked = TimeDelta::seconds(asked);
            let mut brake = Brake::default();
            let wait = brake.hit(START, START, asked.to_std().ok(), MINUTE_QUOTA, &*chance) - START;
            assert!(wait >= asked && wait <= (asked * 11 / 10).max(TimeDelta::seconds(2)), "{asked}: {wait}");
            assert_eq!(brake.left(START + wait), None);
        }
    }

    #[test]
    fn calls_that_are_refused_together_are_one_refusal() {
        let (mut brake, chance) = (Brake::default(), SeededChance::new(7));
        let until = brake.hit(START, START + TimeDelta::milliseconds(20), None, MINUTE_QUOTA, &*chance);
        for late in 21..40 {
            let now = START + TimeDelta::milliseconds(late);
            assert_eq!(brake.hit(START, now, None, MINUTE_QUOTA, &*chance), until);
        }
        assert_eq!(brake.strikes, 1);
    }

    #[test]
    fn only_a_call_from_after_the_pause_ends_the_row_of_refusals() {
        let (mut brake, chance) = (Brake::default(), SeededChance::new(7));
        let until = brake.hit(START, START, None, MINUTE_QUOTA, &*chance);
        brake.ease(START);
        assert_eq!((brake.until(), brake.strikes), (until, 1), "its answer was on the way already");
        brake.ease(until);
        assert_eq!(brake, Brake::default());
    }
}
