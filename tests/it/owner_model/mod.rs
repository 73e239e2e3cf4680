//! An owner edits calendars at random while everything between slotd and Google fails at random. Whenever it stops, the
//! mirror is exactly what the stand-in for Google knows.
//!
//! Every run has a fresh seed, which a failure prints; `SLOTD_OWNER_MODEL_SEED` runs that one again.

mod dice;
mod editing;
mod judge;
mod resources;
mod run;
#[cfg(feature = "sabotage")]
mod sabotage;
mod seen;
mod weather;

use slotd::domain::{
    Chance, Clock,
    clock::{SystemChance, SystemClock},
};
use tokio::task::JoinSet;

use crate::harness::Db;
use run::{Plan, run};
use seen::Seen;

/// Seeds of runs that failed once, with what was wrong then. They are run first.
const REGRESSIONS: &str = include_str!("regressions.txt");
/// Fresh seeds for each engine, edits of each, and how many run at once.
const SEEDS: usize = 5;
const EDITS: usize = 1_000;
const AT_ONCE: usize = 5;
/// What has to happen in a set of runs; a few thousand edits meet each of them many times.
const WANTED: &[&str] = &[
    "410 at the first page",
    "410 at a later page",
    "a lost push",
    "a push that comes twice",
    "a stale read",
    "reset after",
    "an empty page",
    "an exception is listed before its master",
    "an exception is listed on an earlier page than its master",
    "a series is split, its head first",
    "a series is split, its rest first",
    "changed instances fall away with their series",
    "a series is changed there and back",
    "the zone of a calendar changes",
    "a time that a clock change leaves out",
    "a time that a clock change repeats",
    "an instance moves out of the window",
    "an instance moves before its series",
    "an instance moves across days",
    "an instance is cancelled",
    "an instance is restored",
    "a series becomes one event",
    "an event becomes a series",
    "a deleted event is revived",
    "the owner declines",
    "the daemon is restarted",
    "the daemon crashes",
    "the horizon is moved",
];

#[expect(clippy::disallowed_methods, reason = "how much is run is up to whoever runs it")]
fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

fn fresh_seed() -> u64 {
    SystemChance.uuid(SystemClock.now()).as_u64_pair().1
}

#[derive(Debug, Clone, Copy)]
enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    async fn open(self) -> Db {
        match self {
            Self::Sqlite => Db::sqlite().await,
            Self::Postgres => Db::postgres().await,
        }
    }
}

/// Does one run in a runtime of its own, which ends with it.
fn run_alone(plan: Plan, engine: Engine) -> Seen {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async { Box::pin(run(plan, engine.open().await)).await })
}

/// Runs every seed, a few at once.
async fn run_all(seeds: Vec<u64>, edits: usize, engine: Engine) -> Seen {
    let (mut runs, mut seen) = (JoinSet::new(), Seen::default());
    for seed in seeds {
        if runs.len() == AT_ONCE {
            join(&mut runs, &mut seen).await;
        }
        runs.spawn_blocking(move || run_alone(Plan::random(seed, edits), engine));
    }
    while !runs.is_empty() {
        join(&mut runs, &mut seen).await;
    }
    seen
}

async fn join(runs: &mut JoinSet<Seen>, seen: &mut Seen) {
    match runs.join_next().await.unwrap() {
        Ok(one) => seen.add(&one),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

async fn check(engine: Engine) {
    let edits = setting("SLOTD_OWNER_MODEL_EDITS").unwrap_or(EDITS);
    if let Some(seed) = setting("SLOTD_OWNER_MODEL_SEED") {
        run_all(vec![seed], edits, engine).await;
        return;
    }
    let old = REGRESSIONS.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok());
    let count = setting("SLOTD_OWNER_MODEL_SEEDS").unwrap_or(SEEDS);
    run_all(old.collect(), edits.min(300), engine).await;
    // In a row, which the weather counts on.
    let first = fresh_seed() >> 1;
    let seeds = (first..).take(count).collect();
    let seen = run_all(seeds, edits, engine).await;
    eprintln!("{seen:#?}");
    if count * edits >= SEEDS * EDITS {
        assert_eq!(seen.missing(WANTED), Vec::<&str>::new(), "never happened in {count} runs of {edits} edits");
    }
}

mod the_mirror_is_what_google_knows_whatever_the_owner_does_and_whatever_fails {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn sqlite() {
        check(Engine::Sqlite).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn postgres() {
        check(Engine::Postgres).await;
    }
}
