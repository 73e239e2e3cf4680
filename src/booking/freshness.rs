//! How far the mirror can be believed.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    domain::Interval,
    store::{accounts::AccountStatus, calendars::Calendar},
};

/// How far an answer can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Freshness {
    /// Google tells slotd of changes, or was asked lately.
    Fresh,
    /// Changes of the last while may be missing.
    Stale,
    /// A calendar was never read in full.
    Unknown,
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
            let mirror = &calendar.mirror;
            let (Some(as_of), Some(coverage)) = (mirror.as_of, mirror.coverage) else {
                return Self { as_of: None, freshness: Freshness::Unknown, coverage: Some(nothing()) };
            };
            let watched = mirror.watched_until.is_some_and(|until| until > now);
            let current = mirror.account_status == AccountStatus::Connected
                && mirror.failures == 0
                && mirror.sync_token.is_some()
                && !mirror.waits_for_quota(now)
                && (watched || now - as_of <= mirror.period.map_or(fresh_for, |period| period * 2));
            if !current {
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
