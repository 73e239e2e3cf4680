//! Counts calls in a window that slides along with time.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

/// The calls of the last `span`, and the most that there ever were at once.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    span: TimeDelta,
    calls: VecDeque<DateTime<Utc>>,
    peak: usize,
}

impl Meter {
    pub(super) fn new(span: TimeDelta) -> Self {
        Self { span, calls: VecDeque::new(), peak: 0 }
    }

    /// How long one more call has to wait, so that no window holds more than `most`; `None` when it may go now.
    pub(super) fn wait(&mut self, now: DateTime<Utc>, most: u32) -> Option<TimeDelta> {
        self.forget(now);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        // The call that has to leave the window first.
        let first = *self.calls.get(self.calls.len().checked_sub(most)?)?;
        Some(first + self.span - now)
    }

    pub(super) fn count(&mut self, now: DateTime<Utc>) {
        self.forget(now);
        self.calls.push_back(now);
        self.peak = self.peak.max(self.calls.len());
    }

    pub(super) fn peak(&self) -> usize {
        self.peak
    }

    pub(super) fn is_idle(&mut self, now: DateTime<Utc>) -> bool {
        self.forget(now);
        self.calls.is_empty()
    }

    fn forget(&mut self, now: DateTime<Utc>) {
        while self.calls.front().is_some_and(|call| *call + self.span <= now) {
            self.calls.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_window_ever_holds_more_than_the_limit_and_nothing_is_refused_below_it(
            pauses in prop::collection::vec(0_i64..40, 1..200),
            most in 1_u32..8,
            span in 1_i64..100,
        ) {
            let span = TimeDelta::milliseconds(span);
            let mut meter = Meter::new(span);
            let mut now = DateTime::UNIX_EPOCH;
            let mut admitted: Vec<DateTime<Utc>> = Vec::new();
            for pause in pauses {
                now += TimeDelta::milliseconds(pause);
                let in_window = |at: DateTime<Utc>| admitted.iter().filter(|call| **call + span > at).count();
                match meter.wait(now, most) {
                    None => {
                        prop_assert!(in_window(now) < most as usize);
                        meter.count(now);
                        admitted.push(now);
                    }
                    Some(wait) => {
                        prop_assert!(in_window(now) == most as usize);
                        prop_assert!(wait > TimeDelta::zero());
                        prop_assert!(in_window(now + wait) < most as usize);
                        prop_assert!(in_window(now + wait - TimeDelta::milliseconds(1)) == most as usize);
                    }
                }
            }
            prop_assert!(meter.peak() <= most as usize);
        }
    }
}
