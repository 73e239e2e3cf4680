//! How far a copy is from the original: busy time and events, compared without regard to where they come from.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::interval::{Interval, merge};

/// Busy time that only one side has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drift {
    /// Busy in the original and free in the copy: somebody could book there.
    pub missing: TimeDelta,
    /// Free in the original and busy in the copy: nobody can book there.
    pub surplus: TimeDelta,
}

/// A stretch in seconds, rounded up, so that no drift is too short to be told.
#[must_use]
pub fn whole_seconds(time: TimeDelta) -> i64 {
    time.num_seconds() + i64::from(time.subsec_nanos() > 0)
}

/// How two sets of busy intervals differ within `window`, told by what is only in one of them and by `both`: what is in
/// both, of which only the parts that meet the others matter. Time that is busy twice counts once.
#[must_use]
pub fn busy_drift(original_only: &[Interval], copy_only: &[Interval], both: &[Interval], window: Interval) -> Drift {
    let within = |intervals: &[Interval]| intervals.iter().filter_map(|one| one.clip(window)).collect::<Vec<_>>();
    let (original_only, copy_only, both) = (within(original_only), within(copy_only), within(both));
    let total = |mine: &[Interval], theirs: &[Interval]| {
        let theirs = merge([theirs, &both].concat());
        subtract(&merge(mine.to_vec()), &theirs).into_iter().map(Interval::duration).sum()
    };
    Drift { missing: total(&original_only, &copy_only), surplus: total(&copy_only, &original_only) }
}

/// What is in `from` and not in `what`. Both are merged.
fn subtract(from: &[Interval], what: &[Interval]) -> Vec<Interval> {
    let mut left = Vec::new();
    let mut place = 0;
    for whole in from {
        // What ends before this one begins ends before all that follow.
        place += what[place..].iter().take_while(|one| one.end() <= whole.start()).count();
        let mut start = whole.start();
        for one in what[place..].iter().take_while(|one| one.start() < whole.end()) {
            left.extend(Interval::new(start, one.start()));
            start = one.end();
        }
        left.extend(Interval::new(start, whole.end()));
    }
    left
}

/// What the two sides say of one thing; `None` for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair<V> {
    /// The original's word.
    pub original: Option<V>,
    /// The copy's.
    pub copy: Option<V>,
}

/// Compares a copy that is read item by item with an original that was read before.
#[derive(Debug)]
pub struct Comparison<K, V> {
    original: BTreeMap<K, V>,
    differing: BTreeMap<K, Pair<V>>,
}

impl<K: Ord, V: PartialEq> Comparison<K, V> {
    /// Begins with the whole original.
    #[must_use]
    pub const fn with(original: BTreeMap<K, V>) -> Self {
        Self { original, differing: BTreeMap::new() }
    }

    /// Takes an item of the copy; each is to be taken once. Tells whether the original has just the same.
    pub fn meet(&mut self, key: K, copy: V) -> bool {
        match self.original.remove(&key) {
            Some(original) if original == copy => true,
            original => {
                self.differing.insert(key, Pair { original, copy: Some(copy) });
                false
            }
        }
    }

    /// Whether the copy has an item, so far, that the original lacks.
    #[must_use]
    pub fn is_surplus(&self, key: &K) -> bool {
        self.differing.get(key).is_some_and(|pair| pair.original.is_none())
    }

    /// Leaves an item of the copy out after all: that the copy has it is no difference.
    pub fn excuse(&mut self, key: &K) {
        self.differing.remove(key);
    }

    /// Everything that is not the same on both sides, once the whole copy was taken.
    #[must_use]
    pub fn finish(mut self) -> BTreeMap<K, Pair<V>> {
        let missing = |(key, original)| (key, Pair { original: Some(original), copy: None });
        self.differing.extend(self.original.into_iter().map(missing));
        self.differing
    }
}

/// The differences of `now` that were the same `before`: what changed in between, on either side, is on its way.
#[must_use]
pub fn lasting<K: Ord + Clone, V: PartialEq + Clone>(before: &BTreeMap<K, V>, now: &BTreeMap<K, V>) -> BTreeMap<K, V> {
    let same = now.iter().filter(|(key, value)| before.get(key) == Some(value));
    same.map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn between(start: i64, end: i64) -> Interval {
        let at = |minute: i64| DateTime::from_timestamp(minute * 60, 0).unwrap();
        Interval::new(at(start), at(end)).unwrap()
    }

    fn minutes(drift: Drift) -> (i64, i64) {
        (drift.missing.num_minutes(), drift.surplus.num_minutes())
    }

    #[test]
    fn time_that_another_event_covers_is_no_drift() {
        let window = between(0, 1_000);
        let lost = [between(10, 40)];
        assert_eq!(minutes(busy_drift(&lost, &[], &[], window)), (30, 0));
        assert_eq!(minutes(busy_drift(&lost, &[], &[between(0, 50)], window)), (0, 0));
        assert_eq!(minutes(busy_drift(&lost, &[], &[between(20, 25), between(35, 60)], window)), (20, 0));
        assert_eq!(minutes(busy_drift(&lost, &[between(20, 50)], &[], window)), (10, 10));
        assert_eq!(minutes(busy_drift(&[between(10, 40), between(10, 40)], &[], &[], window)), (30, 0));
    }

    #[test]
    fn only_what_is_in_the_window_counts() {
        assert_eq!(minutes(busy_drift(&[between(0, 40)], &[between(90, 200)], &[], between(30, 100))), (10, 10));
    }

    fn slots() -> impl Strategy<Value = Vec<(i64, i64)>> {
        vec((0_i64..120, 1_i64..30).prop_map(|(start, length)| (start, start + length)), 0..12)
    }

    /// Whether each minute of the window is busy, minute by minute.
    fn marks(slots: &[(i64, i64)], window: (i64, i64)) -> Vec<bool> {
        (window.0..window.1).map(|minute| slots.iter().any(|(start, end)| (*start..*end).contains(&minute))).collect()
    }

    proptest! {
        #[test]
        fn drift_is_what_counting_minutes_gives(google in slots(), mirror in slots(), shared in slots()) {
            let window = (10, 130);
            let (mut google, mut mirror) = (google, mirror);
            google.extend(&shared);
            mirror.extend(&shared);
            let only = |a: &[(i64, i64)], b: &[(i64, i64)]| {
                a.iter().filter(|one| !b.contains(one)).map(|(s, e)| between(*s, *e)).collect::<Vec<_>>()
            };
            let both: Vec<Interval> =
                google.iter().filter(|one| mirror.contains(one)).map(|(s, e)| between(*s, *e)).collect();
            let found = busy_drift(&only(&google, &mirror), &only(&mirror, &google), &both, between(window.0, window.1));
            let (theirs, ours) = (marks(&google, window), marks(&mirror, window));
            let count = |a: &[bool], b: &[bool]| i64::try_from(a.iter().zip(b).filter(|(a, b)| **a && !**b).count()).unwrap();
            prop_assert_eq!(minutes(found), (count(&theirs, &ours), count(&ours, &theirs)));
        }

        #[test]
        fn a_comparison_finds_each_difference_and_no_other(
            google in proptest::collection::btree_map(0_u8..40, 0_u8..3, 0..30),
            mirror in proptest::collection::btree_map(0_u8..40, 0_u8..3, 0..30),
        ) {
            let mut comparison = Comparison::with(google.clone());
            for (key, value) in &mirror {
                prop_assert_eq!(comparison.meet(*key, *value), google.get(key) == Some(value));
            }
            let found = comparison.finish();
            for key in 0..40 {
                let (original, copy) = (google.get(&key).copied(), mirror.get(&key).copied());
                let expected = (original != copy).then_some(Pair { original, copy });
                prop_assert_eq!(found.get(&key).copied(), expected);
            }
        }

        #[test]
        fn only_what_both_looks_say_alike_lasts(
            before in proptest::collection::btree_map(0_u8..20, 0_u8..3, 0..20),
            now in proptest::collection::btree_map(0_u8..20, 0_u8..3, 0..20),
        ) {
            let last = lasting(&before, &now);
            for key in 0..20 {
                prop_assert_eq!(last.contains_key(&key), now.contains_key(&key) && before.get(&key) == now.get(&key));
            }
        }
    }
}
