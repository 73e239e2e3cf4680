//! Google's quotas, simulated, and the rates that callers reach.
//!
//! Rates are measured always, and nothing is refused until limits are set. Refused calls use up no quota, but count
//! towards the rates that are reported: they show how a client behaves that is told to slow down.

mod meter;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use chrono_tz::America::Los_Angeles;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::faults::GoogleError;
use crate::refusal::Refusal;
use meter::Meter;

/// Most users and calendars that are told apart; idle ones make place for new ones.
const TOLD_APART_MAX: usize = 10_000;

/// What may be used; nothing is limited that is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Calls in the name of one user in any window; refused with 403 `userRateLimitExceeded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_per_minute: Option<u32>,
    /// Calls of all users in any window; refused with `rateLimitExceeded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project_per_minute: Option<u32>,
    /// Calls of all users in a day, which begins at midnight in California; refused with 403 `dailyLimitExceeded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project_per_day: Option<u64>,
    /// Writes to one calendar in any `burst_ms`; refused with `rateLimitExceeded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calendar_burst: Option<u32>,
    /// Milliseconds of a burst of writes.
    pub burst_ms: u32,
    /// Milliseconds of the window that slides along, a minute unless a test is in a hurry.
    pub window_ms: u32,
    /// The status of `rateLimitExceeded`: 403 or 429, which mean the same.
    pub status: u16,
    /// Whether refusals have a `Retry-After` header, which Google does not promise.
    pub retry_after: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            user_per_minute: None,
            project_per_minute: None,
            project_per_day: None,
            calendar_burst: None,
            burst_ms: 1000,
            window_ms: 60_000,
            status: 403,
            retry_after: false,
        }
    }
}

impl Limits {
    /// What Google gives a new project since May 2026. How many writes one calendar takes at once is not documented.
    #[must_use]
    pub fn of_google() -> Self {
        Self {
            user_per_minute: Some(600),
            project_per_minute: Some(10_000),
            project_per_day: Some(1_000_000),
            ..Self::default()
        }
    }

    fn check(&self) -> Result<(), String> {
        let numbers = [
            ("user_per_minute", self.user_per_minute.map(u64::from)),
            ("project_per_minute", self.project_per_minute.map(u64::from)),
            ("project_per_day", self.project_per_day),
            ("calendar_burst", self.calendar_burst.map(u64::from)),
            ("burst_ms", Some(u64::from(self.burst_ms))),
            ("window_ms", Some(u64::from(self.window_ms))),
        ];
        if let Some((name, _)) = numbers.iter().find(|(_, number)| *number == Some(0)) {
            return Err(format!("{name}: give at least 1, or leave it out"));
        }
        if !GoogleError::RateLimitExceeded.statuses().contains(&self.status) {
            return Err(format!("status: give 403 or 429, not {}", self.status));
        }
        Ok(())
    }
}

/// Why limits cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RefusedLimits(String);

/// How much was used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Calls of all users since the start, refused ones included.
    pub calls: u64,
    /// Calls of the day that were let through.
    pub today: u64,
    /// The most calls in any minute.
    pub peak_per_minute: usize,
    /// How often each quota refused a call, by reason.
    pub refused: BTreeMap<String, u64>,
    /// By user, or by who is charged instead.
    pub users: BTreeMap<String, Used>,
    /// Writes by calendar.
    pub calendar_writes: BTreeMap<String, Used>,
}

/// How much one user used, or was written to one calendar.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Used {
    /// Calls since the start, refused ones included.
    pub calls: u64,
    /// The most calls in any minute.
    pub peak_per_minute: usize,
    /// Calls that were refused.
    pub refused: u64,
}

/// A call, as quotas see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Charge<'a> {
    /// Whose quota it uses.
    pub(crate) user: &'a str,
    /// The calendar that it writes to.
    pub(crate) writes_to: Option<&'a str>,
}

/// The quotas of a running stand-in.
#[derive(Debug, Default)]
pub struct Quotas {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    limits: Option<Limits>,
    /// What was let through under the limits.
    admitted: Admitted,
    all: Option<Gauge>,
    users: HashMap<String, Gauge>,
    calendars: HashMap<String, Gauge>,
    refused: BTreeMap<String, u64>,
}

#[derive(Debug, Default)]
struct Admitted {
    project: Option<Meter>,
    users: HashMap<String, Meter>,
    calendars: HashMap<String, Meter>,
    day: Option<(NaiveDate, u64)>,
}

/// Everything that was tried.
#[derive(Debug)]
struct Gauge {
    meter: Meter,
    calls: u64,
    refused: u64,
}

impl Default for Gauge {
    fn default() -> Self {
        Self { meter: Meter::new(TimeDelta::minutes(1)), calls: 0, refused: 0 }
    }
}

impl Gauge {
    fn count(&mut self, now: DateTime<Utc>, refused: bool) {
        self.meter.count(now);
        self.calls += 1;
        self.refused += u64::from(refused);
    }

    fn used(&self) -> Used {
        Used { calls: self.calls, peak_per_minute: self.meter.peak(), refused: self.refused }
    }
}

impl Quotas {
    /// Refuses from now on what goes beyond the limits. Earlier calls do not count.
    ///
    /// # Errors
    ///
    /// When a limit makes no sense; the text begins with the field.
    pub fn set(&self, limits: Limits) -> Result<(), RefusedLimits> {
        limits.check().map_err(RefusedLimits)?;
        let mut inner = self.lock();
        inner.limits = Some(limits);
        inner.admitted = Admitted::default();
        Ok(())
    }

    /// Refuses nothing any more.
    pub fn lift(&self) {
        self.lock().limits = None;
    }

    /// The limits that are set.
    #[must_use]
    pub fn limits(&self) -> Option<Limits> {
        self.lock().limits.clone()
    }

    /// How much was used since the start, or since it was last forgotten.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let inner = self.lock();
        let by_name =
            |gauges: &HashMap<String, Gauge>| gauges.iter().map(|(name, gauge)| (name.clone(), gauge.used())).collect();
        let all = inner.all.as_ref().map(Gauge::used).unwrap_or_default();
        let day = inner.admitted.day.filter(|(day, _)| *day == day_of(clock::now()));
        Usage {
            calls: all.calls,
            today: day.map_or(0, |(_, calls)| calls),
            peak_per_minute: all.peak_per_minute,
            refused: inner.refused.clone(),
            users: by_name(&inner.users),
            calendar_writes: by_name(&inner.calendars),
        }
    }

    /// Forgets how much was used, so that the next measurement begins at nothing. Limits stay used up.
    pub fn forget_usage(&self) {
        let mut inner = self.lock();
        inner.all = None;
        inner.users.clear();
        inner.calendars.clear();
        inner.refused.clear();
    }

    /// Takes a call into account. Returns the refusal when a limit has been reached.
    pub(crate) fn charge(&self, charge: Charge) -> Option<Refusal> {
        let now = clock::now();
        let mut inner = self.lock();
        let refusal = inner.admit(charge, now);
        if let Some(refusal) = &refusal {
            *inner.refused.entry(refusal.reason.to_string()).or_default() += 1;
        }
        let refused = refusal.is_some();
        inner.all.get_or_insert_default().count(now, refused);
        told_apart(&mut inner.users, charge.user, now).count(now, refused);
        if let Some(calendar) = charge.writes_to {
            told_apart(&mut inner.calendars, calendar, now).count(now, refused);
        }
        refusal
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn admit(&mut self, charge: Charge, now: DateTime<Utc>) -> Option<Refusal> {
        let today = day_of(now);
        let Admitted { project, users, calendars, day } = &mut self.admitted;
        let day = day.get_or_insert((today, 0));
        if day.0 != today {
            *day = (today, 0);
        }
        let Some(limits) = self.limits.clone() else {
            day.1 += 1;
            return None;
        };
        let window = TimeDelta::milliseconds(i64::from(limits.window_ms));
        let burst = TimeDelta::milliseconds(i64::from(limits.burst_ms));
        let project = project.get_or_insert_with(|| Meter::new(window));
        let user = users.entry(charge.user.to_owned()).or_insert_with(|| Meter::new(window));
        let calendar =
            charge.writes_to.map(|calendar| calendars.entry(calendar.to_owned()).or_insert_with(|| Meter::new(burst)));

        let refuse = |error: GoogleError, wait: TimeDelta| {
            let mut refusal = error.refusal("calendar");
            if error == GoogleError::RateLimitExceeded {
                refusal.status = limits.status;
            }
            let seconds = u64::try_from((wait.num_milliseconds() + 999) / 1000).unwrap_or(0);
            refusal.retry_after_s = limits.retry_after.then_some(seconds.max(1));
            Some(refusal)
        };
        if let Some(wait) = limits.user_per_minute.and_then(|most| user.wait(now, most)) {
            return refuse(GoogleError::UserRateLimitExceeded, wait);
        }
        if let Some(wait) = limits.project_per_minute.and_then(|most| project.wait(now, most)) {
            return refuse(GoogleError::RateLimitExceeded, wait);
        }
        if limits.project_per_day.is_some_and(|most| day.1 >= most) {
            return refuse(GoogleError::DailyLimitExceeded, rest_of_day(now));
        }
        let mut calendar = calendar;
        if let (Some(most), Some(calendar)) = (limits.calendar_burst, &mut calendar)
            && let Some(wait) = calendar.wait(now, most)
        {
            return refuse(GoogleError::RateLimitExceeded, wait);
        }
        day.1 += 1;
        project.count(now);
        user.count(now);
        if let Some(calendar) = calendar {
            calendar.count(now);
        }
        for meters in [users, calendars] {
            if meters.len() > TOLD_APART_MAX {
                meters.retain(|_, meter| !meter.is_idle(now));
            }
        }
        None
    }
}

fn told_apart<'a>(gauges: &'a mut HashMap<String, Gauge>, name: &str, now: DateTime<Utc>) -> &'a mut Gauge {
    if gauges.len() >= TOLD_APART_MAX && !gauges.contains_key(name) {
        gauges.retain(|_, gauge| !gauge.meter.is_idle(now));
    }
    gauges.entry(name.to_owned()).or_default()
}

/// The day of a moment as Google's quotas count days.
fn day_of(now: DateTime<Utc>) -> NaiveDate {
    now.with_timezone(&Los_Angeles).date_naive()
}

fn rest_of_day(now: DateTime<Utc>) -> TimeDelta {
    let midnight = day_of(now).succ_opt().map(|day| day.and_time(NaiveTime::MIN));
    let midnight = midnight.and_then(|midnight| midnight.and_local_timezone(Los_Angeles).earliest());
    midnight.map_or(TimeDelta::hours(24), |midnight| midnight.with_timezone(&Utc) - now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn the_day_of_a_quota_ends_at_midnight_in_california() {
        assert_eq!(rest_of_day(at("2026-11-26T07:59:30Z")), TimeDelta::seconds(30));
        assert_eq!(rest_of_day(at("2026-11-26T08:00:00Z")), TimeDelta::hours(24));
        // The day on which summer time ends has 25 hours.
        assert_eq!(rest_of_day(at("2026-11-01T07:00:00Z")), TimeDelta::hours(25));
    }

    #[test]
    fn a_new_day_begins_with_a_whole_quota() {
        let mut inner =
            Inner { limits: Some(Limits { project_per_day: Some(2), ..Limits::default() }), ..Inner::default() };
        let charge = Charge { user: "anna", writes_to: None };
        let mut reason = |now: &str| inner.admit(charge, at(now)).map(|refusal| refusal.reason.to_string());
        assert_eq!(reason("2026-11-26T07:00:00Z"), None);
        assert_eq!(reason("2026-11-26T07:00:01Z"), None);
        assert_eq!(reason("2026-11-26T07:59:59Z").as_deref(), Some("dailyLimitExceeded"));
        assert_eq!(reason("2026-11-26T08:00:00Z"), None);
    }
}
