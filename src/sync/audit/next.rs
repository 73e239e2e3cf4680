//! What follows an audit, and how many a run asks for. Pure.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::store::audits::{AuditLease, AuditNext, AuditOutcome};

/// In so much time each calendar is to be audited once.
const WEEK: Duration = Duration::from_hours(7 * 24);
/// Most audits that one run asks for.
const RUN_MAX: i64 = 200;
/// When to look whether the full sync that is to heal has ended.
const SOON: TimeDelta = TimeDelta::seconds(1);
/// When to ask again after a failure, while a healing is to be confirmed.
const FAILED_WAIT: TimeDelta = TimeDelta::minutes(5);
/// Drift that comes back is healed after this, then after four times as long, up to the maximum.
const BACKOFF: TimeDelta = TimeDelta::hours(1);
const BACKOFF_MAX: TimeDelta = TimeDelta::days(7);

/// What is done about the result of an audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Nothing,
    /// The mirror is synced anew, now.
    Heal,
    /// Healing has not helped, or not for long: it waits.
    HealLater,
}

/// How many of `calendars` a run takes when the next one comes after `period`, so that a week is enough for all.
pub(super) fn share(calendars: i64, period: Duration) -> i64 {
    let part = calendars.saturating_mul(i64::try_from(period.as_secs()).unwrap_or(i64::MAX));
    let week = i64::try_from(WEEK.as_secs()).unwrap_or(i64::MAX);
    // Rounded up.
    (part.saturating_add(week - 1) / week).clamp(i64::from(calendars > 0), RUN_MAX)
}

fn backoff(drifts: i64) -> TimeDelta {
    let quadruplings = u32::try_from(drifts - 1).unwrap_or_default().min(10);
    (BACKOFF * 4_i32.pow(quadruplings)).min(BACKOFF_MAX)
}

/// What follows an audit under `lease` that began at `started` and ended `now`.
pub(super) fn after(
    lease: &AuditLease,
    outcome: AuditOutcome,
    started: DateTime<Utc>,
    now: DateTime<Utc>,
) -> (Step, AuditNext) {
    let same = AuditNext { due_at: None, drifts: lease.drifts, heal_after: lease.heal_after, healing: lease.healing };
    match (outcome, lease.healing) {
        // That the healing helped does not yet say that the drift stays away.
        (AuditOutcome::Equal, Some(_)) => (Step::Nothing, AuditNext { healing: None, ..same }),
        (AuditOutcome::Equal, None) => (Step::Nothing, AuditNext { drifts: 0, heal_after: None, ..same }),
        (AuditOutcome::Failed, Some(_)) => (Step::Nothing, AuditNext { due_at: Some(now + FAILED_WAIT), ..same }),
        (AuditOutcome::Failed, None) => (Step::Nothing, same),
        (AuditOutcome::Drift, None) if lease.heal_after.is_none_or(|at| at <= now) => {
            let drifts = lease.drifts + 1;
            let heal_after = Some(now + backoff(drifts));
            (Step::Heal, AuditNext { due_at: Some(now + SOON), drifts, heal_after, healing: Some(started) })
        }
        (AuditOutcome::Drift, healing) => {
            let drifts = lease.drifts + 1;
            let fresh = now + backoff(drifts);
            // After a full sync that did not help, the wait begins now.
            let heal_after = if healing.is_some() { fresh } else { lease.heal_after.unwrap_or(fresh) };
            let due_at = Some(heal_after);
            (Step::HealLater, AuditNext { due_at, drifts, heal_after: Some(heal_after), healing: None })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{BusinessId, CalendarId};

    const START: DateTime<Utc> = DateTime::from_timestamp(1_803_891_600, 0).unwrap();

    fn lease(next: AuditNext) -> AuditLease {
        let uuid = uuid::Uuid::from_u128(1);
        let (business, calendar) = (BusinessId::new(uuid), CalendarId::new(uuid));
        let AuditNext { drifts, heal_after, healing, .. } = next;
        AuditLease { business, calendar, fence: 1, drifts, heal_after, healing }
    }

    const NONE: AuditNext = AuditNext { due_at: None, drifts: 0, heal_after: None, healing: None };

    #[test]
    fn drift_is_healed_at_once_and_audited_again() {
        let (step, next) = after(&lease(NONE), AuditOutcome::Drift, START, START);
        assert_eq!((step, next.due_at, next.healing), (Step::Heal, Some(START + SOON), Some(START)));
        let (step, next) = after(&lease(next), AuditOutcome::Equal, START, START);
        assert_eq!((step, next.due_at, next.healing, next.drifts), (Step::Nothing, None, None, 1));
        let (_, next) = after(&lease(next), AuditOutcome::Equal, START, START);
        assert_eq!(next, NONE);
    }

    #[test]
    fn drift_that_a_full_sync_does_not_cure_waits_longer_each_time() {
        let (mut now, mut next, mut waits) = (START, NONE, Vec::new());
        for _ in 0..6 {
            let (step, healing) = after(&lease(next), AuditOutcome::Drift, now, now);
            assert_eq!(step, Step::Heal);
            let (step, later) = after(&lease(healing), AuditOutcome::Drift, now, now);
            assert_eq!(step, Step::HealLater);
            waits.push((later.due_at.unwrap() - now).num_hours());
            now = later.due_at.unwrap();
            next = later;
        }
        assert_eq!(waits, [4, 64, 168, 168, 168, 168]);
    }

    #[test]
    fn drift_that_comes_back_soon_is_not_healed_again_before_its_time() {
        let (_, healing) = after(&lease(NONE), AuditOutcome::Drift, START, START);
        let (_, healed) = after(&lease(healing), AuditOutcome::Equal, START, START);
        let soon = START + TimeDelta::minutes(10);
        let (step, next) = after(&lease(healed), AuditOutcome::Drift, soon, soon);
        assert_eq!((step, next.due_at, next.drifts), (Step::HealLater, Some(START + BACKOFF), 2));
        let later = START + BACKOFF;
        let (step, _) = after(&lease(next), AuditOutcome::Drift, later, later);
        assert_eq!(step, Step::Heal);
    }

    #[test]
    fn a_failure_heals_nothing_and_forgets_nothing() {
        let known = AuditNext { drifts: 3, heal_after: Some(START), ..NONE };
        assert_eq!(after(&lease(known), AuditOutcome::Failed, START, START), (Step::Nothing, known));
        let healing = AuditNext { healing: Some(START), ..known };
        let (step, next) = after(&lease(healing), AuditOutcome::Failed, START, START);
        assert_eq!((step, next), (Step::Nothing, AuditNext { due_at: Some(START + FAILED_WAIT), ..healing }));
    }

    proptest! {
        #[test]
        fn a_week_of_runs_is_enough_for_all(calendars in 0_i64..30_000, minutes in 1_u64..1_500) {
            let period = Duration::from_secs(minutes * 60);
            let runs = i64::try_from(WEEK.as_secs() / period.as_secs()).unwrap() + 1;
            let each = share(calendars, period);
            prop_assert!(each == RUN_MAX || each * runs >= calendars);
            prop_assert!(each <= RUN_MAX && each >= i64::from(calendars > 0) && each <= calendars.max(0));
        }
    }
}
