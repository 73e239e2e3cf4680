//! Keeps calls within Google's quotas: per minute of an account and of the project, and per day of the project.
//!
//! Each call says how urgent it is. Buckets keep a part back from the less urgent, so that a booking's write finds room
//! while a first sync uses up everything else. What would have to wait for longer than its patience is refused here,
//! without asking Google, and is told when to come again; each is told another time, so that they come one by one.

mod brake;
mod bucket;
mod day;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::{brake::Brake, bucket::Bucket, day::Day};
use super::{AccountKey, Error};
use crate::domain::{SharedChance, SharedClock};

/// How urgent a call is. The earlier go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// Somebody waits: a caller, an owner, a booking's event.
    Caller,
    /// Google said that something changed.
    Push,
    /// A regular look, or what makes such looks rarer.
    Poll,
    /// First syncs and audits.
    Background,
}

impl Urgency {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Caller, Self::Push, Self::Poll, Self::Background];

    /// A word for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Push => "push",
            Self::Poll => "poll",
            Self::Background => "background",
        }
    }

    /// What it leaves of a bucket to the more urgent.
    const fn leaves_percent(self) -> u32 {
        match self {
            Self::Caller => 0,
            Self::Push => 20,
            Self::Poll => 40,
            Self::Background => 50,
        }
    }

    /// How much of a day's calls may be gone before it has to wait for the next day.
    const fn day_percent(self) -> u64 {
        match self {
            Self::Caller => 100,
            Self::Push => 95,
            Self::Poll => 85,
            Self::Background => 75,
        }
    }
}

/// Polls are planned for this part of the quotas; the rest is for what nobody can plan.
const POLL_PERCENT: u32 = 40;

/// Why a call was held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Held {
    /// The account's calls of a minute are used up.
    Account,
    /// The project's calls of a minute are used up.
    Project,
    /// The project's calls of the day are used up.
    Day,
    /// Google asked to wait.
    Pause,
    /// Google asked to write nothing for a while.
    WritePause,
}

impl Held {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Account, Self::Project, Self::Day, Self::Pause, Self::WritePause];

    /// A word for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Project => "project",
            Self::Day => "day",
            Self::Pause => "pause",
            Self::WritePause => "write_pause",
        }
    }

    /// For people.
    #[must_use]
    pub(super) const fn explained(self) -> &'static str {
        match self {
            Self::Account => "the account's quota per minute is used up",
            Self::Project => "the project's quota per minute is used up",
            Self::Day => "the project's quota of the day is used up",
            Self::Pause => "Google asked to wait",
            Self::WritePause => "Google asked to write nothing for a while",
        }
    }
}

/// How many calls this node may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// In the name of one account, in any 60 seconds.
    pub account_per_minute: u32,
    /// Altogether, in any 60 seconds.
    pub project_per_minute: u32,
    /// Of all nodes together, on a day of Google's.
    pub per_day: u64,
}

/// A pause that Google asked for, to be kept for other nodes and the next start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Whom it is about.
    pub account: AccountKey,
    /// Nothing is asked before; may lie in the past.
    pub until: DateTime<Utc>,
    /// No event is written before; may lie in the past.
    pub writes_until: DateTime<Utc>,
    /// Google's word for why.
    pub reason: String,
}

/// What there is left, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Calls that the project can make now.
    pub project: i64,
    /// Calls that the busiest account can make now.
    pub account_least: i64,
    /// Calls that are left of the day.
    pub day: i64,
    /// Calls of the day so far, of all nodes.
    pub today: u64,
}

/// Is told of each call that was held back. Must not block.
pub type HeldObserver = Arc<dyn Fn(Urgency, Held) + Send + Sync>;

/// Longest time ahead for which calls that are held back are given turns of their own.
const TURNS_AHEAD: TimeDelta = TimeDelta::minutes(2);
/// When the day's calls are used up, it is looked this often whether that is still so.
const DAY_LOOK: TimeDelta = TimeDelta::minutes(30);
/// From so many accounts on, those that have nothing to remember are dropped whenever one more comes.
const ACCOUNTS_BEFORE_SWEEP: usize = 1_024;

/// Lets calls through in their turn. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Pacer(Arc<Inner>);

struct Inner {
    clock: SharedClock,
    chance: SharedChance,
    rates: Rates,
    observer: HeldObserver,
    state: Mutex<State>,
    news: Notify,
    stop: CancellationToken,
}

struct State {
    accounts: HashMap<AccountKey, Account>,
    project: Bucket,
    project_brake: Brake,
    day: Day,
    /// Not kept yet.
    pauses: HashMap<AccountKey, Pause>,
}

struct Account {
    bucket: Bucket,
    all: Brake,
    writes: Brake,
    /// The last turn that was told to calls of each urgency.
    told: [DateTime<Utc>; 4],
}

/// What a call wants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask {
    pub(super) account: AccountKey,
    pub(super) urgency: Urgency,
    /// What Google counts it for.
    pub(super) calls: u32,
    /// It makes, changes or deletes an event.
    pub(super) writes: bool,
    /// How long it may wait for its turn.
    pub(super) patience: Duration,
}

impl std::fmt::Debug for Pacer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pacer").field("rates", &self.0.rates).finish_non_exhaustive()
    }
}

impl Pacer {
    /// A pacer with full buckets on a day without calls.
    #[must_use]
    pub fn new(rates: Rates, clock: SharedClock, chance: SharedChance, observer: HeldObserver) -> Self {
        let now = clock.now();
        let state = State {
            accounts: HashMap::new(),
            project: Bucket::new(rates.project_per_minute, now),
            project_brake: Brake::default(),
            day: Day::new(now),
            pauses: HashMap::new(),
        };
        Self(Arc::new(Inner {
            clock,
            chance,
            rates,
            observer,
            state: Mutex::new(state),
            news: Notify::new(),
            stop: CancellationToken::new(),
        }))
    }

    /// Waits for the call's turn, or refuses it when that is too far away. Returns when it began.
    pub(super) async fn admit(&self, ask: Ask) -> Result<DateTime<Utc>, Error> {
        let (mut patience, start) = (ask.patience, tokio::time::Instant::now());
        loop {
            let now = self.0.clock.now();
            let (held, wait) = match self.state().try_take(&ask, &self.0.rates, now) {
                Ok(()) => return Ok(now),
                Err(refused) => refused,
            };
            let wait_std = wait.to_std().unwrap_or_default();
            if wait_std > patience || self.0.stop.is_cancelled() {
                let retry_after = self.state().turn(&ask, &self.0.rates, held, wait, now);
                (self.0.observer)(ask.urgency, held);
                return Err(Error::HeldBack { held, retry_after });
            }
            tokio::select! {
                () = tokio::time::sleep(wait_std.max(Duration::from_millis(1))) => {}
                () = self.0.stop.cancelled() => {}
            }
            patience = ask.patience.saturating_sub(start.elapsed());
        }
    }

    /// From now on nobody waits for a turn, because the process is to end.
    pub fn stop_waiting(&self) {
        self.0.stop.cancel();
    }

    /// A call that began at `began` succeeded.
    pub(super) fn eased(&self, ask: &Ask, began: DateTime<Utc>) {
        let mut state = self.state();
        state.project_brake.ease(began);
        if let Some(account) = state.accounts.get_mut(&ask.account) {
            account.all.ease(began);
            if ask.writes {
                account.writes.ease(began);
            }
        }
    }

    /// A call that began at `began` failed. A refusal for a quota's sake stops others too, and says when to come again.
    pub(super) fn refused(&self, ask: &Ask, began: DateTime<Utc>, error: Error) -> Error {
        let Inner { clock, chance, rates, .. } = &*self.0;
        let now = clock.now();
        match error {
            Error::RateLimited { retry_after, project } => {
                let mut state = self.state();
                let brake =
                    if project { &mut state.project_brake } else { &mut state.account(ask.account, rates, now).all };
                let until = brake.hit(began, now, retry_after, brake::MINUTE_QUOTA, &**chance);
                let wait = state.turn(ask, rates, Held::Pause, until - now, now);
                if !project {
                    self.keep(&mut state, ask.account, "rateLimitExceeded");
                }
                Error::RateLimited { retry_after: Some(wait), project }
            }
            Error::QuotaExhausted { reason, retry_after } => {
                let mut state = self.state();
                // Too many events were made: reads go on, unless it was one that was refused. The limits of a day and of
                // longer terms are the project's.
                let abuse = reason == "quotaExceeded";
                let (brake, steps) = match (abuse, ask.writes) {
                    (true, true) => (&mut state.account(ask.account, rates, now).writes, brake::HOURS),
                    (true, false) => (&mut state.account(ask.account, rates, now).all, brake::DAY_QUOTA),
                    (false, _) => (&mut state.project_brake, brake::DAY_QUOTA),
                };
                let until = brake.hit(began, now, retry_after, steps, &**chance);
                let wait = state.turn(ask, rates, Held::Pause, until - now, now);
                if abuse {
                    self.keep(&mut state, ask.account, &reason);
                }
                Error::QuotaExhausted { reason, retry_after: Some(wait) }
            }
            error => error,
        }
    }

    /// Remembers that the pauses of an account are to be told to other nodes.
    fn keep(&self, state: &mut State, key: AccountKey, reason: &str) {
        let account = state.account(key, &self.0.rates, self.0.clock.now());
        let (until, writes_until) = (account.all.until(), account.writes.until());
        state.pauses.insert(key, Pause { account: key, until, writes_until, reason: reason.to_owned() });
        self.0.news.notify_one();
    }

    /// How much longer Google is left alone altogether, by its own word.
    #[must_use]
    pub fn project_pause(&self) -> Option<Duration> {
        let left = self.state().project_brake.left(self.0.clock.now());
        left.and_then(|left| left.to_std().ok())
    }

    /// How many looks a minute at calendars may be planned: those of one account, and all together, as far as the calls
    /// of the day go.
    #[must_use]
    pub fn polls_per_minute(&self) -> (f64, f64) {
        let (now, rates) = (self.0.clock.now(), self.0.rates);
        let mut state = self.state();
        state.day.turn(now);
        let planned = |calls: f64| calls * f64::from(POLL_PERCENT) / 100.0;
        let minutes = state.day.rest(now).as_seconds_f64() / 60.0;
        let day = rates.per_day * Urgency::Poll.day_percent() / 100;
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 calls")]
        let day = day.saturating_sub(state.day.used()) as f64 / minutes;
        let (account, project) = (f64::from(rates.account_per_minute), f64::from(rates.project_per_minute));
        (planned(account), planned(project).min(planned(day)))
    }

    /// Waits until there is a pause to be kept.
    pub async fn news(&self) {
        self.0.news.notified().await;
    }

    /// Calls that no other node knows of yet, by day, and pauses likewise. They count as told from now on.
    #[must_use]
    pub fn take_news(&self) -> (Vec<(NaiveDate, u64)>, Vec<Pause>) {
        let mut state = self.state();
        state.day.turn(self.0.clock.now());
        let day = &mut state.day;
        let mut calls: Vec<(NaiveDate, u64)> = day.left_over.take().into_iter().collect();
        if day.untold > 0 {
            calls.push((day.date, day.untold));
            day.told += std::mem::take(&mut day.untold);
        }
        (calls, state.pauses.drain().map(|(_, pause)| pause).collect())
    }

    /// Takes news back that could not be kept.
    pub fn untake_news(&self, calls: &[(NaiveDate, u64)], pauses: Vec<Pause>) {
        let mut state = self.state();
        for (date, count) in calls {
            if *date == state.day.date {
                state.day.told = state.day.told.saturating_sub(*count);
                state.day.untold += count;
            } else {
                let older = state.day.left_over.map_or(0, |(_, older)| older);
                state.day.left_over = Some((*date, older + count));
            }
        }
        for pause in pauses {
            state.pauses.entry(pause.account).or_insert(pause);
        }
    }

    /// The day of Google's that it is.
    #[must_use]
    pub fn today(&self) -> NaiveDate {
        day::date(self.0.clock.now())
    }

    /// What all nodes told about a day, and which accounts are paused.
    pub fn learn(&self, date: NaiveDate, told: u64, pauses: &[Pause]) {
        let (now, rates) = (self.0.clock.now(), self.0.rates);
        let mut state = self.state();
        state.day.turn(now);
        if state.day.date == date {
            state.day.told = told;
        }
        for pause in pauses {
            let account = state.account(pause.account, &rates, now);
            account.all.learn(now, pause.until);
            account.writes.learn(now, pause.writes_until);
        }
    }

    /// What there is left.
    #[must_use]
    pub fn left(&self) -> Left {
        let (now, rates) = (self.0.clock.now(), self.0.rates);
        let mut state = self.state();
        state.day.turn(now);
        let today = state.day.used();
        let full = Bucket::new(rates.account_per_minute, now).left(now);
        Left {
            project: state.project.left(now),
            account_least: state.accounts.values_mut().map(|it| it.bucket.left(now)).min().unwrap_or(full),
            day: i64::try_from(rates.per_day.saturating_sub(today)).unwrap_or(i64::MAX),
            today,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn account(&mut self, key: AccountKey, rates: &Rates, now: DateTime<Utc>) -> &mut Account {
        if self.accounts.len() >= ACCOUNTS_BEFORE_SWEEP && !self.accounts.contains_key(&key) {
            self.accounts.retain(|_, account| {
                let paused = account.all.left(now).is_some() || account.writes.left(now).is_some();
                paused || !account.bucket.is_full(now)
            });
        }
        self.accounts.entry(key).or_insert_with(|| Account {
            bucket: Bucket::new(rates.account_per_minute, now),
            all: Brake::default(),
            writes: Brake::default(),
            told: [DateTime::UNIX_EPOCH; 4],
        })
    }

    /// Takes the call out of all buckets, or says why not and how long it has to wait.
    fn try_take(&mut self, ask: &Ask, rates: &Rates, now: DateTime<Utc>) -> Result<(), (Held, TimeDelta)> {
        self.day.turn(now);
        if let Some(left) = self.project_brake.left(now) {
            return Err((Held::Pause, left));
        }
        let account = self.account(ask.account, rates, now);
        if let Some(left) = account.all.left(now) {
            return Err((Held::Pause, left));
        }
        if let Some(left) = account.writes.left(now).filter(|_| ask.writes) {
            return Err((Held::WritePause, left));
        }
        let reserve = ask.urgency.leaves_percent();
        let wait = account.bucket.wait(ask.calls, reserve, now);
        if !wait.is_zero() {
            return Err((Held::Account, wait));
        }
        let wait = self.project.wait(ask.calls, reserve, now);
        if !wait.is_zero() {
            return Err((Held::Project, wait));
        }
        let allowed = rates.per_day / 100 * ask.urgency.day_percent();
        if self.day.used() + u64::from(ask.calls) > allowed {
            return Err((Held::Day, self.day.rest(now).min(DAY_LOOK)));
        }
        self.project.take(ask.calls);
        self.account(ask.account, rates, now).bucket.take(ask.calls);
        self.day.untold += u64::from(ask.calls);
        Ok(())
    }

    /// When a call that has to wait for `wait` is to come again: after those that were told to come before it.
    fn turn(&mut self, ask: &Ask, rates: &Rates, held: Held, wait: TimeDelta, now: DateTime<Utc>) -> Duration {
        let project_interval = self.project.interval();
        let account = self.account(ask.account, rates, now);
        let interval = if held == Held::Project { project_interval } else { account.bucket.interval() };
        let earliest = now + wait;
        let told = &mut account.told[ask.urgency as usize];
        // What was told for a later time than this pause or shortage lasts does not count.
        let turn = if *told >= earliest && *told < earliest + TURNS_AHEAD { *told + interval } else { earliest };
        *told = turn;
        (turn - now).to_std().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
