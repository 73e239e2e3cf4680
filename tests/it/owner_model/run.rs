//! One run: a daemon, an owner, the weather, and the judge.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;
use slotd::domain::{Clock, clock::SystemClock};
use slotd_sandbox::NewCalendar;
use tokio::time::Instant;

use super::{
    dice::Dice,
    editing::{Diary, Editing},
    judge::{differences, standings},
    resources::Maker,
    seen::Seen,
    weather::{Kind, Weather, pause},
};
use crate::{
    harness::Db,
    stage::{Ending, OWNER, Stage, id},
};

/// Another owner with an account of his own.
const OTHER: &str = "bruno@example.com";
/// The owner's second calendar.
const SECOND: &str = "second@group.calendar.google.com";
const BACK_DAYS: u32 = 35;
const AHEAD_DAYS: u32 = 210;
/// By how much the horizon is moved in the end.
const FURTHER_DAYS: u32 = 30;
/// Small, so that lists have many pages.
const PAGE_SIZE: u32 = 9;
/// How long the mirror may take, once nothing fails any more and nobody edits.
const CALM_MAX: Duration = Duration::from_mins(1);

/// What is run.
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) edits: usize,
    /// Stops in between at which the mirror is judged.
    pub(super) stops: usize,
    pub(super) restarts: Restarts,
    /// Kinds of faults and how often one comes, in percent of the edits; else both are up to the seed.
    pub(super) sky: Option<(&'static [Kind], usize)>,
    /// Whether the horizon is moved in the end.
    pub(super) further: bool,
}

/// Whether the daemon ends on the way.
#[cfg_attr(not(feature = "sabotage"), expect(dead_code, reason = "deliberate bugs are tried without, or with many"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restarts {
    Never,
    /// At some of the stops' half times, in order or not.
    AtTimes,
    /// Again and again, without order.
    Crashes,
}

impl Plan {
    /// Anything may happen.
    pub(super) const fn random(seed: u64, edits: usize) -> Self {
        Self { seed, edits, stops: 3, restarts: Restarts::AtTimes, sky: None, further: true }
    }
}

/// Edits between two crashes.
const CRASH_EVERY: usize = 20;

/// Edits and judges. Returns what happened.
pub(super) async fn run(plan: Plan, db: Db) -> Seen {
    let (seed, mut dice) = (plan.seed, Dice::new(plan.seed));
    let mut weather = match plan.sky {
        Some((kinds, percent)) => Weather::of(kinds.to_vec(), percent, dice.apart()),
        None => Weather::random(seed, dice.apart()),
    };
    let mut stage = open(db, &mut dice).await;
    let maker = Maker::new(SystemClock.now(), BACK_DAYS.into(), AHEAD_DAYS.into());
    let diaries = vec![Diary::new(OWNER, OWNER), Diary::new(SECOND, OWNER), Diary::new(OTHER, OTHER)];
    let mut editing = Editing::new(diaries, maker, dice.apart());
    let mut happened = Seen::default();
    let stop_every = plan.edits.div_ceil(plan.stops + 1);
    for number in 1..=plan.edits {
        weather.step(&stage, &editing.diaries, &mut happened).await;
        editing.edit(&stage.google).await;
        pause(&mut dice).await;
        let ending = match plan.restarts {
            // In turn, so that runs with seeds in a row see each of them.
            Restarts::AtTimes if number % stop_every == stop_every / 2 => {
                [None, Some(Ending::Order), Some(Ending::Crash)]
                    [(usize::try_from(seed % 3).unwrap() + number / stop_every) % 3]
            }
            Restarts::AtTimes | Restarts::Never => None,
            Restarts::Crashes => (number % CRASH_EVERY == 0).then_some(Ending::Crash),
        };
        if let Some(ending) = ending {
            stage.restart(ending, |_| {}).await;
            happened.note(if ending == Ending::Crash { "the daemon crashes" } else { "the daemon is restarted" });
        }
        if number % stop_every == 0 || number == plan.edits {
            weather.clear(&stage, &mut happened);
            judge(seed, &stage, &editing, &mut happened).await;
        }
    }
    if plan.further {
        stage.restart(Ending::Order, |config| config.sync.horizon_days += FURTHER_DAYS).await;
        further(&stage).await;
        happened.note("the horizon is moved");
        judge(seed, &stage, &editing, &mut happened).await;
    }
    let refused = editing.refused;
    assert!(refused * 4 < plan.edits.max(40), "seed {seed}: Google refused {refused} of {} edits", plan.edits);
    happened.add(&editing.seen);
    happened
}

/// A business with two resources and three calendars of two accounts; on PostgreSQL at times with two daemons.
async fn open(db: Db, dice: &mut Dice) -> Stage {
    let mut stage = Stage::with(db, Vec::new(), |config| {
        config.sync.coverage_back_days = BACK_DAYS;
        config.sync.horizon_days = AHEAD_DAYS;
        config.sync.page_size = PAGE_SIZE;
        (config.sync.poll_watched_s, config.sync.poll_unwatched_s) = (2, 2);
        config.sync.lease_s = 6;
        config.google.request_timeout_s = 2;
        config.jobs.extend_horizon = "* * * * * *".parse().unwrap();
    })
    .await;
    let google = &stage.google;
    google.sandbox.add_user(OTHER, "Bruno");
    let calendar = |id: Option<&str>, zone: &str| NewCalendar {
        id: id.map(str::to_owned),
        summary: "More".to_owned(),
        time_zone: zone.to_owned(),
        primary: id.is_none(),
        ..NewCalendar::default()
    };
    google.sandbox.add_calendar(OWNER, calendar(Some(SECOND), "America/New_York")).unwrap();
    google.sandbox.add_calendar(OTHER, calendar(None, "Australia/Lord_Howe")).unwrap();
    google.let_edit(SECOND);
    google.let_edit(OTHER);
    stage.api.post(&stage.at("/resources"), &json!({ "name": "Leo" })).await.ok();
    stage.connect_as(OTHER).await;
    for (google_id, resource) in [(SECOND, "Mia"), (OTHER, "Leo")] {
        let wish = json!({ "google_id": google_id, "resource": resource });
        id(&stage.api.post(&stage.at("/calendars"), &wish).await.ok());
    }
    stage.mirrored().await;
    if stage.is_postgres() && dice.percent(50) {
        stage.add_node().await;
    }
    stage
}

/// Waits until each calendar was read after now, which is after the last edit and the last fault; then nothing may differ.
async fn judge(seed: u64, stage: &Stage, editing: &Editing, happened: &mut Seen) {
    let engine = if stage.is_postgres() { "postgres" } else { "sqlite" };
    let place = format!("seed {seed} on {engine} after {} edits", editing.number());
    settle(stage, &place).await;
    let found = differences(stage, editing, happened, usize::try_from(PAGE_SIZE).unwrap()).await;
    assert!(
        found.is_empty(),
        "{place} the mirror is not what Google knows; SLOTD_OWNER_MODEL_SEED={seed} runs it again\n{}",
        found.join("\n")
    );
}

async fn settle(stage: &Stage, place: &str) {
    let (since, deadline) = (SystemClock.now(), Instant::now() + CALM_MAX);
    loop {
        reconnect(stage).await;
        // A pass that failed waits longer and longer; that time is left out.
        stage.raw.execute("UPDATE calendar SET due_at = 0 WHERE failures > 0").await.unwrap();
        let standings = standings(stage).await;
        let calm = standings
            .iter()
            .all(|one| read_at(one.as_of) > since && one.failures == 0 && one.lease_until == 0 && one.unseen == 0);
        if calm {
            return;
        }
        assert!(Instant::now() < deadline, "{place}: no rest within {CALM_MAX:?}: {standings:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn read_at(as_of: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(as_of).unwrap()
}

/// What an owner does who is told that the connection to Google is lost.
async fn reconnect(stage: &Stage) {
    let status = stage.status().await;
    for account in status["accounts"].as_array().unwrap() {
        if account["status"] == "needs_reconnect" {
            // Tried again when it does not work at once.
            stage.try_connect(&stage.business, account["email"].as_str().unwrap()).await;
        }
    }
}

/// Waits until every mirror reaches the new horizon.
async fn further(stage: &Stage) {
    let wanted = SystemClock.now() + chrono::TimeDelta::days(i64::from(AHEAD_DAYS + FURTHER_DAYS));
    crate::stage::eventually("the horizon moves", async || {
        let reaches = |to: Option<i64>| to.is_some_and(|to| read_at(to) >= wanted);
        standings(stage).await.iter().all(|one| reaches(one.covered_to)).then_some(())
    })
    .await;
}
