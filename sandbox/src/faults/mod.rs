//! Faults that a test switches on.
//!
//! A fault names the calls it strikes (method, calendar, user, page, …), lets some of them pass, strikes some, and says
//! what then happens. The first fault in the list that strikes decides.

mod effect;
mod fault;
mod google;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

pub use effect::Effect;
pub(crate) use effect::{PUSH, REFRESH};
pub(crate) use fault::Target;
pub use fault::{Fault, Shape};
pub use google::GoogleError;

/// Most faults that are remembered after they have ended, for their counts.
const COUNTS_MAX: usize = 10_000;

/// The faults of a running stand-in.
#[derive(Debug, Default)]
pub struct Faults {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    armed: Vec<Armed>,
    outage: Option<Outage>,
    token_epochs: HashMap<String, u64>,
    unwatchable: HashSet<String>,
    struck_by_id: BTreeMap<u64, u64>,
    struck_by_name: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct Armed {
    id: u64,
    fault: Fault,
    weather: bool,
    dice: Option<StdRng>,
}

/// A fault in the list, with the number to remove it by.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listed {
    /// The number that [`Faults::add`] gave it.
    pub id: u64,
    /// How often it has struck.
    pub struck: u64,
    /// Whether it is part of the weather.
    pub weather: bool,
    /// What is left of it.
    #[serde(flatten)]
    pub fault: Fault,
}

/// Faults that come and go together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weather {
    /// Gives each fault that has none a seed of its own.
    pub seed: u64,
    /// The faults, usually with rates.
    pub faults: Vec<Fault>,
}

/// How Google as a whole is out of reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outage {
    /// Everything is answered with 503 and a page.
    #[default]
    Html,
    /// Every connection is closed without an answer.
    Reset,
    /// Nothing is ever answered.
    Hang,
}

/// Why a fault cannot be switched on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RefusedFault(String);

impl Faults {
    /// Switches a fault on. Returns a number to remove it by.
    ///
    /// # Panics
    ///
    /// When the fault makes no sense, such as a push that is asked to be an empty page: it would never strike, and a
    /// test that counts on it would prove nothing.
    #[track_caller]
    pub fn add(&self, fault: Fault) -> u64 {
        match self.try_add(fault) {
            Ok(id) => id,
            Err(refused) => panic!("a fault that makes no sense: {refused}"),
        }
    }

    /// Switches a fault on. Returns a number to remove it by.
    ///
    /// # Errors
    ///
    /// When the fault could never strike, or a value in it is out of range; the text begins with the field.
    pub fn try_add(&self, fault: Fault) -> Result<u64, RefusedFault> {
        fault.check().map_err(RefusedFault)?;
        Ok(self.lock().arm(fault, false))
    }

    /// Switches a fault off. Returns whether it was still on.
    pub fn remove(&self, id: u64) -> bool {
        let mut inner = self.lock();
        let before = inner.armed.len();
        inner.armed.retain(|armed| armed.id != id);
        inner.armed.len() < before
    }

    /// Switches everything off, also the weather and an outage, and lets all calendars be watched again. Sync tokens that
    /// have expired stay so, and counts go on.
    pub fn clear(&self) {
        let mut inner = self.lock();
        inner.armed.clear();
        inner.outage = None;
        inner.unwatchable.clear();
    }

    /// The faults that still strike.
    #[must_use]
    pub fn list(&self) -> Vec<Listed> {
        let inner = self.lock();
        let listed = |armed: &Armed| Listed {
            id: armed.id,
            struck: inner.struck_by_id.get(&armed.id).copied().unwrap_or(0),
            weather: armed.weather,
            fault: armed.fault.clone(),
        };
        inner.armed.iter().map(listed).collect()
    }

    /// How often a fault has struck, also when it has ended since.
    #[must_use]
    pub fn struck(&self, id: u64) -> u64 {
        self.lock().struck_by_id.get(&id).copied().unwrap_or(0)
    }

    /// How often each effect has struck since the start, by name: `reset_after`, or `rateLimitExceeded` for one of
    /// Google's errors.
    #[must_use]
    pub fn strikes(&self) -> BTreeMap<String, u64> {
        self.lock().struck_by_name.clone()
    }

    /// Switches a list of faults on, in place of the weather so far.
    ///
    /// # Errors
    ///
    /// When one of the faults makes no sense; the weather stays as it was.
    pub fn set_weather(&self, weather: Weather) -> Result<(), RefusedFault> {
        for (index, fault) in weather.faults.iter().enumerate() {
            fault.check().map_err(|why| RefusedFault(format!("faults[{index}].{why}")))?;
        }
        let mut inner = self.lock();
        inner.armed.retain(|armed| !armed.weather);
        for (fault, offset) in weather.faults.into_iter().zip(0_u64..) {
            let seed = fault.seed.unwrap_or(weather.seed.wrapping_add(offset));
            inner.arm(Fault { seed: Some(seed), ..fault }, true);
        }
        Ok(())
    }

    /// Ends the weather. Other faults stay.
    pub fn end_weather(&self) {
        self.lock().armed.retain(|armed| !armed.weather);
    }

    /// Answers everything with 503, or ends any outage.
    pub fn set_down(&self, down: bool) {
        self.set_outage(down.then_some(Outage::Html));
    }

    /// Puts all of Google out of reach, or back.
    pub fn set_outage(&self, outage: Option<Outage>) {
        self.lock().outage = outage;
    }

    /// Whether Google as a whole is out of reach.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.lock().outage.is_some()
    }

    /// What an outage does to each call.
    pub(crate) fn outage(&self) -> Option<Effect> {
        let mut inner = self.lock();
        let effect = match inner.outage? {
            Outage::Html => Effect::Html { status: 503 },
            Outage::Reset => Effect::ResetBefore,
            Outage::Hang => Effect::HangBefore,
        };
        *inner.struck_by_name.entry("down".to_owned()).or_default() += 1;
        Some(effect)
    }

    /// Makes every sync token handed out so far for a calendar's events end in 410 `fullSyncRequired`.
    pub fn expire_sync_tokens(&self, calendar: &str) {
        *self.lock().token_epochs.entry(calendar.to_owned()).or_default() += 1;
    }

    pub(crate) fn token_epoch(&self, calendar: &str) -> u64 {
        self.lock().token_epochs.get(calendar).copied().unwrap_or(0)
    }

    /// Makes a calendar one that cannot be watched, or back. Channels that are open live on.
    pub fn set_watchable(&self, calendar: &str, watchable: bool) {
        let mut inner = self.lock();
        if watchable {
            inner.unwatchable.remove(calendar);
        } else {
            inner.unwatchable.insert(calendar.to_owned());
        }
    }

    pub(crate) fn is_unwatchable(&self, calendar: &str) -> bool {
        self.lock().unwatchable.contains(calendar)
    }

    /// Refuses to refresh a user's tokens with `error`, until cleared: `invalid_grant` with 400, or a 5xx.
    pub fn refuse_refresh(&self, email: &str, status: u16, error: &str) -> u64 {
        self.add(Fault {
            user: Some(email.to_owned()),
            times: None,
            ..Fault::once(REFRESH, Effect::RefuseOauth { status, error: error.to_owned() })
        })
    }

    /// The effect on this call, if it is struck; uses up one of the fault's times.
    pub(crate) fn strike(&self, target: Target) -> Option<Effect> {
        let mut inner = self.lock();
        let struck = inner.armed.iter_mut().find_map(|armed| armed.strike(target))?;
        let (id, effect) = struck;
        inner.armed.retain(|armed| armed.fault.times != Some(0));
        inner.count(id, &effect);
        Some(effect)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn arm(&mut self, mut fault: Fault, weather: bool) -> u64 {
        self.next += 1;
        let dice = fault.rate.map(|_| StdRng::seed_from_u64(*fault.seed.get_or_insert_with(rand::random)));
        self.armed.push(Armed { id: self.next, fault, weather, dice });
        self.next
    }

    fn count(&mut self, id: u64, effect: &Effect) {
        *self.struck_by_id.entry(id).or_default() += 1;
        *self.struck_by_name.entry(effect.name()).or_default() += 1;
        if self.struck_by_id.len() > COUNTS_MAX {
            self.struck_by_id.pop_first();
        }
    }
}

impl Armed {
    fn strike(&mut self, target: Target) -> Option<(u64, Effect)> {
        if !self.fault.matches(target) {
            return None;
        }
        if self.fault.skip > 0 {
            self.fault.skip -= 1;
            return None;
        }
        if let (Some(rate), Some(dice)) = (self.fault.rate, &mut self.dice)
            && dice.random_range(0.0..100.0) >= rate
        {
            return None;
        }
        if let Some(times) = &mut self.fault.times {
            *times = times.saturating_sub(1);
        }
        Some((self.id, self.fault.effect.clone()))
    }
}
