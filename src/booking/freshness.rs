//! How far the mirror can be believed, and on what terms somebody relies on it.

use chrono::{DateTime, TimeDelta, Utc};

pub use crate::availability::Freshness;
use crate::{
    availability::{Course, Facts, Policy, Purpose, decide},
    domain::Interval,
    store::{accounts::AccountStatus, calendars::Calendar},
};

/// Why a calendar's mirror is not fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// It was never read in full.
    NeverRead,
    /// Google ended the grant: only the owner can renew it.
    NeedsReconnect,
    /// The owner disconnected the account.
    Disconnected,
    /// The last look at Google failed.
    Failing,
    /// The place in Google's list of changes is lost, and everything is read again.
    ReadAgain,
    /// A push waits for room in Google's quotas.
    WaitsForQuota,
    /// Google does not push for it, and the last look is too long ago.
    Old,
}

impl Doubt {
    /// Why `calendar` is not fresh; `None` when it is. `fresh_for` is how long an unwatched calendar stays fresh.
    pub(super) fn about(calendar: &Calendar, now: DateTime<Utc>, fresh_for: TimeDelta) -> Option<Self> {
        let mirror = &calendar.mirror;
        let (Some(as_of), Some(_)) = (mirror.as_of, mirror.coverage) else { return Some(Self::NeverRead) };
        let watched = mirror.watched_until.is_some_and(|until| until > now);
        match mirror.account_status {
            AccountStatus::NeedsReconnect => Some(Self::NeedsReconnect),
            AccountStatus::Disconnected => Some(Self::Disconnected),
            AccountStatus::Connected if mirror.failures > 0 => Some(Self::Failing),
            AccountStatus::Connected if mirror.sync_token.is_none() => Some(Self::ReadAgain),
            AccountStatus::Connected if mirror.waits_for_quota(now) => Some(Self::WaitsForQuota),
            AccountStatus::Connected
                if !watched && now - as_of > mirror.period.map_or(fresh_for, |period| period * 2) =>
            {
                Some(Self::Old)
            }
            AccountStatus::Connected => None,
        }
    }

    /// The word in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NeverRead => "never_read",
            Self::NeedsReconnect => "needs_reconnect",
            Self::Disconnected => "disconnected",
            Self::Failing => "failing",
            Self::ReadAgain => "read_again",
            Self::WaitsForQuota => "waits_for_quota",
            Self::Old => "old",
        }
    }
}

/// How the mirror of some calendars stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The start of the oldest last successful pass; now when no calendar matters.
    pub as_of: Option<DateTime<Utc>>,
    /// How far it can be believed.
    pub freshness: Freshness,
    /// The time that all of them cover; `None` when no calendar matters, so that nothing is hidden.
    pub coverage: Option<Interval>,
}

impl Standing {
    /// Judges the calendars that matter for an answer. An unwatched one stays fresh for two of
    /// its own periods, and for `fresh_for` while it has none.
    pub(super) fn of<'a>(
        calendars: impl Iterator<Item = &'a Calendar>,
        now: DateTime<Utc>,
        fresh_for: TimeDelta,
    ) -> Self {
        let mut standing = Self { as_of: Some(now), freshness: Freshness::Fresh, coverage: None };
        for calendar in calendars {
            let (Some(as_of), Some(coverage)) = (calendar.mirror.as_of, calendar.mirror.coverage) else {
                return Self { as_of: None, freshness: Freshness::Unknown, coverage: Some(nothing()) };
            };
            if Doubt::about(calendar, now, fresh_for).is_some() {
                standing.freshness = Freshness::Stale;
            }
            standing.as_of = standing.as_of.map(|oldest| oldest.min(as_of));
            standing.coverage = match standing.coverage {
                None => Some(coverage),
                Some(other) => Some(other.clip(coverage).unwrap_or_else(nothing)),
            };
        }
        standing
    }
}

/// A coverage that holds no time anybody asks for.
fn nothing() -> Interval {
    let epoch = DateTime::UNIX_EPOCH;
    Interval::new(epoch, epoch + TimeDelta::microseconds(1)).expect("one microsecond is not empty")
}

/// On what terms somebody relies on the mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) purpose: Purpose,
    /// A look at Google that began earlier is too old.
    pub(super) since: Option<DateTime<Utc>>,
    /// An unwatched calendar is fresh for this long.
    pub(super) fresh_for: TimeDelta,
    /// Google was asked already for this request.
    pub(super) looked: bool,
}

impl Terms {
    /// The terms of offers that are made beside a booking: what is offered has to be known.
    pub(super) const fn of_offers(self) -> Self {
        match self.purpose {
            Purpose::Question => Self { looked: true, ..self },
            Purpose::Booking => Self { purpose: Purpose::Question, since: None, looked: true, ..self },
        }
    }

    /// What the business wants done when one resource's mirror stands like this.
    pub(super) fn course(&self, policy: Policy, standing: &Standing) -> Course {
        let older = |since: DateTime<Utc>| standing.as_of.is_none_or(|as_of| as_of < since);
        let too_old = self.since.is_some_and(older);
        decide(policy, self.purpose, Facts { freshness: standing.freshness, too_old, looked: self.looked })
    }

    /// Whether another look at `calendar` could make its mirror better than it is.
    pub(super) fn wants_look(&self, calendar: &Calendar, now: DateTime<Utc>) -> bool {
        let older = |since: DateTime<Utc>| calendar.mirror.as_of.is_none_or(|as_of| as_of < since);
        self.since.is_some_and(older) || Doubt::about(calendar, now, self.fresh_for).is_some()
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;
    use uuid::Uuid;

    use super::*;
    use crate::{
        domain::{AccountId, BusinessId, CalendarId},
        store::calendars::Mirror,
    };

    const FRESH_FOR: TimeDelta = TimeDelta::minutes(10);

    fn now() -> DateTime<Utc> {
        "2026-11-26T12:00:00Z".parse().unwrap()
    }

    /// Read `ago` minutes ago, with a token, unwatched.
    fn calendar(ago: i64) -> Calendar {
        let mut mirror = Mirror::unread(AccountStatus::Connected);
        mirror.as_of = Some(now() - TimeDelta::minutes(ago));
        mirror.coverage = Interval::new(now() - TimeDelta::days(35), now() + TimeDelta::days(400));
        mirror.sync_token = Some("token".to_owned());
        Calendar {
            business: BusinessId::new(Uuid::nil()),
            id: CalendarId::new(Uuid::nil()),
            account: AccountId::new(Uuid::nil()),
            google_id: "anna@example.com".to_owned(),
            summary: String::new(),
            time_zone: Tz::UTC,
            access_role: "owner".to_owned(),
            resource: None,
            blocks: true,
            target: false,
            mirror,
        }
    }

    fn freshness(calendars: &[Calendar]) -> Freshness {
        Standing::of(calendars.iter(), now(), FRESH_FOR).freshness
    }

    #[test]
    fn a_mirror_is_fresh_by_its_channel_or_by_its_age() {
        assert_eq!(freshness(&[]), Freshness::Fresh);
        assert_eq!(freshness(&[calendar(10)]), Freshness::Fresh);
        assert_eq!(freshness(&[calendar(11)]), Freshness::Stale);
        let mut watched = calendar(200);
        watched.mirror.watched_until = Some(now() + TimeDelta::seconds(1));
        assert_eq!(freshness(&[watched.clone()]), Freshness::Fresh);
        watched.mirror.watched_until = Some(now());
        assert_eq!(freshness(&[watched]), Freshness::Stale, "the channel has ended");
    }

    #[test]
    fn each_doubt_makes_a_mirror_stale_or_unknown() {
        let doubt = |change: fn(&mut Mirror)| {
            let mut doubted = calendar(1);
            doubted.mirror.watched_until = Some(now() + TimeDelta::days(1));
            change(&mut doubted.mirror);
            (Doubt::about(&doubted, now(), FRESH_FOR), freshness(&[calendar(1), doubted]))
        };
        assert_eq!(doubt(|_| {}), (None, Freshness::Fresh));
        assert_eq!(doubt(|mirror| mirror.failures = 1), (Some(Doubt::Failing), Freshness::Stale));
        assert_eq!(doubt(|mirror| mirror.sync_token = None), (Some(Doubt::ReadAgain), Freshness::Stale));
        let ended = doubt(|mirror| mirror.account_status = AccountStatus::NeedsReconnect);
        assert_eq!(ended, (Some(Doubt::NeedsReconnect), Freshness::Stale));
        assert_eq!(doubt(|mirror| mirror.as_of = None), (Some(Doubt::NeverRead), Freshness::Unknown));
        assert_eq!(doubt(|mirror| mirror.coverage = None), (Some(Doubt::NeverRead), Freshness::Unknown));
    }

    #[test]
    fn several_calendars_are_as_old_as_the_oldest_and_cover_what_all_cover() {
        let (one, mut other) = (calendar(1), calendar(5));
        other.mirror.coverage = Interval::new(now() - TimeDelta::days(50), now() + TimeDelta::days(100));
        let standing = Standing::of([&one, &other].into_iter(), now(), FRESH_FOR);
        assert_eq!(standing.as_of, other.mirror.as_of);
        assert_eq!(standing.coverage, Interval::new(now() - TimeDelta::days(35), now() + TimeDelta::days(100)));
    }
}
