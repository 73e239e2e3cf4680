//! Time and chance, passed in and never global.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use rand::{Rng, SeedableRng, rngs::StdRng};
use uuid::Uuid;

/// Tells the current instant.
///
/// A test owns its clock and moves it by hand. Measuring how long something took is different and uses
/// `tokio::time::Instant`.
pub trait Clock: Send + Sync + 'static {
    /// The current instant, UTC, whole microseconds (what the store keeps).
    fn now(&self) -> DateTime<Utc>;
}

/// A clock shared by the whole process.
pub type SharedClock = Arc<dyn Clock>;

/// The wall clock of the machine.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        #[expect(clippy::disallowed_methods, reason = "the one real clock")]
        Utc::now().trunc_subsecs(6)
    }
}

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub struct TestClock(Mutex<DateTime<Utc>>);

impl TestClock {
    /// A clock that stands at `start`.
    #[must_use]
    pub fn at(start: DateTime<Utc>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(start.trunc_subsecs(6))))
    }

    /// Moves the clock by `by`, which may be negative: machines' clocks are.
    pub fn advance(&self, by: TimeDelta) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}

impl Clock for TestClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives random bits: for ids, keys, nonces and jitter.
pub trait Chance: Send + Sync + 'static {
    /// Fills `bytes` with bits that nobody can guess.
    fn fill(&self, bytes: &mut [u8]);

    /// A new UUIDv7: its first 48 bits are `now` in milliseconds, so that keys made later sort later.
    fn uuid(&self, now: DateTime<Utc>) -> Uuid {
        let mut random = [0; 10];
        self.fill(&mut random);
        let millis = u64::try_from(now.timestamp_millis()).unwrap_or_default();
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    /// `base` plus or minus up to `percent` of it, evenly spread.
    fn jitter(&self, base: std::time::Duration, percent: u32) -> std::time::Duration {
        let mut random = [0; 4];
        self.fill(&mut random);
        let unit = f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX);
        let spread = f64::from(percent.min(100)) / 100.0;
        base.mul_f64(1.0 - spread + 2.0 * spread * unit)
    }
}

/// Chance shared by the whole process.
pub type SharedChance = Arc<dyn Chance>;

/// The random source of the operating system, stretched by a cryptographic generator.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemChance;

impl Chance for SystemChance {
    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}

/// Chance that a seed decides, for tests that must repeat.
#[derive(Debug)]
pub struct SeededChance(Mutex<StdRng>);

impl SeededChance {
    /// The stream of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self(Mutex::new(StdRng::seed_from_u64(seed))))
    }
}

impl Chance for SeededChance {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn later_ids_sort_later() {
        let chance = SeededChance::new(1);
        let start = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let ids: Vec<Uuid> = (0..50).map(|n| chance.uuid(start + TimeDelta::milliseconds(n))).collect();
        assert!(ids.is_sorted());
        assert!(ids.iter().all(|id| id.get_version_num() == 7));
    }

    #[test]
    fn jitter_stays_within_its_percentage() {
        let chance = SeededChance::new(2);
        for _ in 0..1_000 {
            let spread = chance.jitter(Duration::from_secs(100), 25);
            assert!(spread >= Duration::from_secs(75) && spread <= Duration::from_secs(125), "{spread:?}");
        }
    }
}
