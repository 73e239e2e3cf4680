//! Chance that repeats: the same seed throws the same dice.

use rand::{Rng, SeedableRng, rngs::StdRng};

pub(super) struct Dice(StdRng);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// Dice of their own for one concern, so that what it throws does not shift what others get.
    pub(super) fn apart(&mut self) -> Self {
        Self::new(self.0.next_u64())
    }

    /// One of 0, 1, …, `count` − 1.
    pub(super) fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.0.next_u64() % u64::try_from(count.max(1)).unwrap()).unwrap()
    }

    /// Both ends included.
    pub(super) fn between(&mut self, least: i64, most: i64) -> i64 {
        least + i64::try_from(self.below(usize::try_from(most - least + 1).unwrap())).unwrap()
    }

    pub(super) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// One of several, each as often as its weight says.
    pub(super) fn weighted<T: Copy>(&mut self, from: &[(usize, T)]) -> T {
        let mut left = self.below(from.iter().map(|(weight, _)| weight).sum());
        for (weight, one) in from {
            match left.checked_sub(*weight) {
                Some(rest) => left = rest,
                None => return *one,
            }
        }
        unreachable!("the weights add up")
    }
}
