//! A token bucket: some calls at once, the rest evenly. Pure.

use chrono::{DateTime, TimeDelta, Utc};

/// What one call fills in a bucket. Levels are whole numbers: a bucket that gives `n` calls a minute gains `n` for each
/// microsecond.
const CALL: i64 = 60_000_000;
/// The longest time that is counted at once; a bucket is full long before.
const REFILL_MAX: TimeDelta = TimeDelta::minutes(10);
/// The share of a minute's calls that may be made at once.
const BURST_SHARE: i64 = 5;
/// The dearest call must fit into the smallest bucket.
const BURST_MIN: i64 = 4;

/// Calls that may be made now, refilled evenly. In no 60 seconds does it give more than it was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bucket {
    capacity: i64,
    per_minute: i64,
    level: i64,
    at: DateTime<Utc>,
}

impl Bucket {
    /// A full bucket that gives at most `per_minute` calls in any 60 seconds: a fifth of them at once.
    pub(super) fn new(per_minute: u32, now: DateTime<Utc>) -> Self {
        let per_minute = i64::from(per_minute);
        let burst = (per_minute / BURST_SHARE).max(BURST_MIN);
        let capacity = burst * CALL;
        Self { capacity, per_minute: (per_minute - burst).max(1), level: capacity, at: now }
    }

    /// How long until `calls` can be taken that leave `reserve_percent` of the bucket to others. Zero: now.
    pub(super) fn wait(&mut self, calls: u32, reserve_percent: u32, now: DateTime<Utc>) -> TimeDelta {
        self.refill(now);
        let calls = i64::from(calls) * CALL;
        // What is never there would be waited for in vain.
        let reserve = (self.capacity / 100 * i64::from(reserve_percent)).min(self.capacity - calls).max(0);
        let missing = (reserve + calls - self.level).max(0);
        // Rounded up: after the wait it is there.
        TimeDelta::microseconds((missing + self.per_minute - 1) / self.per_minute)
    }

    /// Takes `calls`, which have to be there.
    pub(super) fn take(&mut self, calls: u32) {
        self.level -= i64::from(calls) * CALL;
    }

    /// Calls that could be made now by who needs to leave nothing.
    pub(super) fn left(&mut self, now: DateTime<Utc>) -> i64 {
        self.refill(now);
        self.level.max(0) / CALL
    }

    /// The time in which one call comes back.
    pub(super) fn interval(&self) -> TimeDelta {
        TimeDelta::microseconds(CALL / self.per_minute)
    }

    pub(super) fn is_full(&mut self, now: DateTime<Utc>) -> bool {
        self.refill(now);
        self.level == self.capacity
    }

    fn refill(&mut self, now: DateTime<Utc>) {
        // A clock that was set back gives nothing, and costs nothing.
        let elapsed = (now - self.at).clamp(TimeDelta::zero(), REFILL_MAX);
        let gained = elapsed.num_microseconds().unwrap_or_default() * self.per_minute;
        self.level = (self.level + gained).min(self.capacity);
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: DateTime<Utc> = DateTime::from_timestamp(1_803_891_600, 0).unwrap();

    proptest! {
        /// Whoever asks whenever they like: no 60 seconds see more calls than the bucket was made for.
        #[test]
        fn no_minute_sees_more_calls_than_allowed(
            per_minute in 10_u32..2_000,
            steps in proptest::collection::vec((0_i64..2_000_000, 1_u32..4, 0_u32..80), 1..400),
        ) {
            let (mut bucket, mut now) = (Bucket::new(per_minute, START), START);
            let mut made: Vec<(DateTime<Utc>, u32)> = Vec::new();
            for (pause_us, calls, reserve) in steps {
                now += TimeDelta::microseconds(pause_us);
                // As many as there are: the worst that callers can do.
                while bucket.wait(calls, reserve, now).is_zero() {
                    bucket.take(calls);
                    made.push((now, calls));
                }
            }
            let mut from = 0;
            for (to, (at, _)) in made.iter().enumerate() {
                while *at - made[from].0 >= TimeDelta::minutes(1) {
                    from += 1;
                }
                let within: u32 = made[from..=to].iter().map(|(_, calls)| calls).sum();
                prop_assert!(within <= per_minute, "{within} of {per_minute}");
            }
        }

        /// What was told to wait is there after that time, if nobody else came.
        #[test]
        fn after_the_wait_the_call_is_there(
            per_minute in 10_u32..2_000, drained in 0_u32..600, calls in 1_u32..4, reserve in 0_u32..80,
        ) {
            let mut bucket = Bucket::new(per_minute, START);
            for _ in 0..drained {
                if bucket.wait(1, 0, START).is_zero() {
                    bucket.take(1);
                }
            }
            let wait = bucket.wait(calls, reserve, START);
            if !wait.is_zero() {
                prop_assert!(!bucket.wait(calls, reserve, START + wait - TimeDelta::microseconds(1)).is_zero());
            }
            prop_assert_eq!(bucket.wait(calls, reserve, START + wait), TimeDelta::zero());
        }

        /// What is kept back from one is there for another.
        #[test]
        fn a_reserve_is_left_to_those_who_need_not_keep_it(per_minute in 20_u32..2_000, reserve in 1_u32..80) {
            let mut bucket = Bucket::new(per_minute, START);
            while bucket.wait(1, reserve, START).is_zero() {
                bucket.take(1);
            }
            let burst = i64::from(per_minute / 5).max(BURST_MIN);
            prop_assert!(bucket.left(START) >= burst * i64::from(reserve) / 100, "{} of {burst}", bucket.left(START));
        }
    }

    #[test]
    fn a_clock_that_is_set_back_stops_nobody_for_long() {
        let mut bucket = Bucket::new(60, START);
        while bucket.wait(1, 0, START).is_zero() {
            bucket.take(1);
        }
        let earlier = START - TimeDelta::hours(1);
        let wait = bucket.wait(1, 0, earlier);
        assert!(wait > TimeDelta::zero() && wait <= bucket.interval(), "{wait}");
        assert!(bucket.wait(1, 0, earlier + wait).is_zero());
    }
}
