//! Half-open stretches of time in UTC.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// `[start, end)` in UTC. Never empty and never reversed: [`Interval::new`] is the only way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Interval {
    start: DateTime<Utc>,
    end: DateTime<Utc>,
}

impl Interval {
    /// The stretch from `start` up to, not including, `end`. `None` when that holds no instant.
    #[must_use]
    pub fn new(start: DateTime<Utc>, end: DateTime<Utc>) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }

    /// The first instant.
    #[must_use]
    pub const fn start(self) -> DateTime<Utc> {
        self.start
    }

    /// The first instant that no longer belongs.
    #[must_use]
    pub const fn end(self) -> DateTime<Utc> {
        self.end
    }

    /// How long it lasts; always positive.
    #[must_use]
    pub fn duration(self) -> TimeDelta {
        self.end - self.start
    }

    /// Whether the two share an instant. Neighbours that only touch do not.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Whether every instant of `other` is in here.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Whether `at` is in here.
    #[must_use]
    pub fn contains(self, at: DateTime<Utc>) -> bool {
        self.start <= at && at < self.end
    }

    /// What both share.
    #[must_use]
    pub fn clip(self, to: Self) -> Option<Self> {
        Self::new(self.start.max(to.start), self.end.min(to.end))
    }

    /// Longer by `before` at the start and by `after` at the end. `None` when negative margins leave nothing, or the
    /// calendar ends.
    #[must_use]
    pub fn widen(self, before: TimeDelta, after: TimeDelta) -> Option<Self> {
        Self::new(self.start.checked_sub_signed(before)?, self.end.checked_add_signed(after)?)
    }
}

/// The same instants as `intervals`, as the fewest intervals: sorted, and with a gap between neighbours.
#[must_use]
pub fn merge(mut intervals: Vec<Interval>) -> Vec<Interval> {
    intervals.sort_unstable();
    let mut merged: Vec<Interval> = Vec::with_capacity(intervals.len());
    for next in intervals {
        match merged.last_mut() {
            Some(last) if next.start <= last.end => last.end = last.end.max(next.end),
            _ => merged.push(next),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(start: i64, end: i64) -> Interval {
        let at = |minute: i64| DateTime::from_timestamp(minute * 60, 0).unwrap();
        Interval::new(at(start), at(end)).unwrap()
    }

    #[test]
    fn neighbours_touch_but_do_not_overlap() {
        assert!(!between(0, 30).overlaps(between(30, 60)));
        assert!(between(0, 31).overlaps(between(30, 60)));
    }

    #[test]
    fn an_empty_or_reversed_interval_cannot_be_made() {
        let at = |minute: i64| DateTime::from_timestamp(minute * 60, 0).unwrap();
        assert_eq!(Interval::new(at(5), at(5)), None);
        assert_eq!(Interval::new(at(6), at(5)), None);
    }

    #[test]
    fn merging_joins_what_touches_and_keeps_gaps() {
        let merged = merge(vec![between(50, 60), between(0, 10), between(10, 20), between(5, 8), between(30, 40)]);
        assert_eq!(merged, [between(0, 20), between(30, 40), between(50, 60)]);
    }
}
