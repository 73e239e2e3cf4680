//! Two nodes, callers, an owner and a Google that fails, in one thread, with time and chance by a seed: the same seed, the
//! same run. docs/simulation.md tells what is simulated and what is not.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod agreement;
mod asking;
mod callers;
#[expect(dead_code, reason = "made for other tests, too")]
#[path = "../it/owner_model/dice.rs"]
mod dice;
mod gate;
#[expect(dead_code, unused_imports, unused_macros, reason = "made for other tests, too")]
#[path = "../it/harness/mod.rs"]
mod harness;
mod oracle;
mod owner;
mod rest;
#[cfg(feature = "sabotage")]
mod sabotage;
#[path = "../it/owner_model/seen.rs"]
mod seen;
mod template;
mod world;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use seen::Seen;
use slotd::crypto::sha256;
use world::World;

/// Seeds that failed once, with what was wrong then. They are run first.
const REGRESSIONS: &str = include_str!("regressions.txt");
/// Fresh seeds of one `make test`.
const SEEDS: u64 = 2_000;
/// Every so many a seed is run twice.
const REPLAY_EVERY: u64 = 100;
/// What has to happen in a whole set of runs.
const WANTED: &[&str] = &[
    "a booking is made",
    "a hold is taken",
    "a hold is extended",
    "a hold is booked",
    "a hold runs out",
    "a hold is given back",
    "a booking follows the owner",
    "a caller moves a booking",
    "a booking is edited",
    "a booking ends with its event",
    "a caller cancels a booking",
    "a booking is over",
    "a conflict is recorded",
    "a booking gets another event id",
    "a caller is told: busy",
    "a caller is told: buffer",
    "an answer is given again",
    "a key comes again with another request",
    "a call asks for what another call holds",
    "a caller hangs up before the answer",
    "time stands at the instant at which a hold ends",
    "clocks change",
    "a node crashes between commit and answer",
    "a node crashes before a transaction",
    "a node crashes before Google is asked",
    "a node crashes before it hears Google's answer",
    "a node is started again",
    "a node wakes after its lease has passed on",
    "Google fails",
    "Google asks to slow down",
    "a question is lost",
    "an answer is lost",
    "the answer to an insert is lost",
    "the answer to a change is lost",
    "the answer to a removal is lost",
    "a full list leaves an event out",
    "an id is known to Google already",
    "a stranger takes an id of slotd's",
    "412: the event changed meanwhile",
    "410: the token has ended",
    "410: the event was deleted before",
    "404: there is no such event",
    "the owner adds an event",
    "the owner moves a booking's event",
    "the owner resizes a booking's event",
    "the owner deletes a booking's event",
    "the owner restores a booking's event",
    "the owner makes a booking's event transparent",
    "the owner makes a series of a booking's event",
    "the owner edits the texts of a booking's event",
    "the owner empties the trash",
    "a booking and its event differ",
    "a conflict is open",
    "a booking is kept without its event",
    "a booking is kept at its time",
    "a run comes to rest",
];

#[expect(clippy::disallowed_methods, reason = "how much is run is up to whoever runs it")]
fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// What came of a seed.
struct Run {
    wrong: Option<String>,
    trace: String,
    seen: Seen,
}

/// Runs one seed in a runtime of its own, which ends with it.
fn run(seed: u64) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut world = Box::pin(World::open(seed)).await;
        let wrong = Box::pin(world.run()).await.err();
        Run { wrong, trace: std::mem::take(&mut world.trace), seen: std::mem::take(&mut world.seen) }
    })
}

/// What to say of a run that found something.
fn report(seed: u64, run: &Run) -> String {
    let lines: Vec<&str> = run.trace.lines().collect();
    let shown = setting("SLOTD_SIMULATION_TRACE").unwrap_or(60);
    let tail = lines[lines.len().saturating_sub(shown)..].join("\n");
    let wrong = run.wrong.as_deref().unwrap_or_default();
    format!("{tail}\nseed {seed}: violated: {wrong}\nSLOTD_SIMULATION_SEED={seed} runs it again")
}

/// Runs many seeds on all cores. Returns what happened, and the first that found something.
fn run_all(seeds: &[u64]) -> (Seen, Option<String>) {
    let next = AtomicU64::new(0);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let parts = thread::scope(|scope| {
        let work = || {
            let (mut seen, mut failed) = (Seen::default(), None);
            while failed.is_none() {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some(next_seed) = usize::try_from(place).ok().and_then(|place| seeds.get(place)) else { break };
                let run = run(*next_seed);
                seen.add(&run.seen);
                if run.wrong.is_some() {
                    failed = Some(report(*next_seed, &run));
                    // The others stop, too.
                    next.store(u64::MAX / 2, Ordering::Relaxed);
                }
            }
            (seen, failed)
        };
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
    });
    let (mut seen, mut failed) = (Seen::default(), None);
    for (one, wrong) in parts {
        seen.add(&one);
        failed = failed.or(wrong);
    }
    (seen, failed)
}

/// The first of the fresh seeds: another one after each change of the code, and the same for everybody who has this code.
fn first_seed() -> u64 {
    setting("SLOTD_SIMULATION_BASE").unwrap_or_else(|| {
        let mut code = Vec::new();
        for folder in ["src", "sandbox/src", "tests/simulation"] {
            read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut code);
        }
        let hash = sha256(&code);
        u64::from_be_bytes(hash.first_chunk().copied().unwrap()) >> 1
    })
}

/// Reads all files below a folder, in the order of their names.
fn read_all(folder: &Path, into: &mut Vec<u8>) {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() { read_all(&path, into) } else { into.extend(fs::read(&path).unwrap()) }
    }
}

fn old_seeds() -> Vec<u64> {
    REGRESSIONS.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
}

#[test]
fn whatever_fails_no_booking_is_lost_doubled_or_left_behind() {
    if let Some(seed) = setting("SLOTD_SIMULATION_SEED") {
        let run = run(seed);
        assert!(run.wrong.is_none(), "{}", report(seed, &run));
        return;
    }
    let count = setting("SLOTD_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let first = first_seed();
    let seeds: Vec<u64> = old_seeds().into_iter().chain((first..).take(usize::try_from(count).unwrap())).collect();
    let (seen, failed) = run_all(&seeds);
    assert!(failed.is_none(), "{}", failed.unwrap_or_default());
    eprintln!("{count} fresh seeds from {first}\n{seen:#?}");
    if count >= SEEDS {
        assert_eq!(seen.missing(WANTED), Vec::<&str>::new(), "never happened in {count} seeds");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let first = first_seed();
    let count = setting("SLOTD_SIMULATION_SEEDS").unwrap_or(SEEDS) / REPLAY_EVERY;
    let (mut steps, mut traces) = (0, std::collections::BTreeSet::new());
    for seed in (first..).take(usize::try_from(count).unwrap()) {
        let (one, other) = (run(seed).trace, run(seed).trace);
        let differs = one.lines().zip(other.lines()).position(|(one, other)| one != other);
        assert!(one == other, "seed {seed} differs from itself at line {differs:?}");
        steps += one.lines().count();
        traces.insert(one);
    }
    assert_eq!(traces.len(), usize::try_from(count).unwrap(), "different seeds are different runs");
    eprintln!("{count} seeds from {first} replayed, {steps} lines, no difference");
}
