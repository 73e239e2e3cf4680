//! Deliberate bugs of bookings, each in processes of its own: a run must find it within so many seeds.

use std::{
    process::{Command, Output},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use slotd::domain::sabotage::{Bug, VARIABLE};

use super::{REPLAY_EVERY, report, run, setting};

/// A bug has to be seen within so many.
const WITHIN: u64 = 200;
const CHILD: &str = "sabotage::child::seeds";
const VERDICT: &str = ": violated: ";

/// Runs seeds from the first in a process of its own, until one finds something.
fn child(bug: Option<Bug>, seeds: u64) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", CHILD, "--include-ignored", "--nocapture"]);
    command.env("SLOTD_SIMULATION_SEEDS", seeds.to_string()).env_remove(VARIABLE).env("RUST_BACKTRACE", "0");
    command.env_remove("SLOTD_SIMULATION_SEED");
    if let Some(bug) = bug {
        command.env(VARIABLE, format!("{bug:?}"));
    }
    command.output().unwrap()
}

/// The seed that found it, and what it said.
fn caught(bug: Bug) -> Result<(u64, String), String> {
    let output = child(Some(bug), WITHIN);
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        return Err(format!("{bug:?} went unseen in {WITHIN} seeds"));
    }
    let verdict = said.lines().find_map(|line| line.strip_prefix("seed ")?.split_once(VERDICT));
    let Some((seed, what)) = verdict else { return Err(format!("{bug:?} ended otherwise: {said}")) };
    Ok((seed.parse().unwrap(), what.to_owned()))
}

#[test]
fn each_deliberate_bug_is_seen() {
    let next = AtomicUsize::new(0);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut results = Vec::new();
        while let Some(bug) = Bug::OF_BOOKINGS.get(next.fetch_add(1, Ordering::Relaxed)) {
            results.push((*bug, caught(*bug)));
        }
        results
    };
    let results: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let mut unseen = Vec::new();
    for (bug, result) in results {
        match result {
            Ok((seed, what)) => eprintln!("{bug:?}: seed {seed}: {what}"),
            Err(why) => unseen.push(why),
        }
    }
    assert!(unseen.is_empty(), "{}", unseen.join("\n"));
    // Without a bug the same seeds find nothing; that they find nothing in all is what the runs are for.
    let output = child(None, REPLAY_EVERY);
    assert!(output.status.success(), "seeds fail without a bug: {}", String::from_utf8_lossy(&output.stderr));
}

/// What the other processes run.
mod child {
    use super::*;

    #[test]
    #[ignore = "run with a bug by the test above"]
    fn seeds() {
        for seed in 1..=setting("SLOTD_SIMULATION_SEEDS").unwrap_or(WITHIN) {
            let run = run(seed);
            assert!(run.wrong.is_none(), "{}", report(seed, &run));
        }
    }
}
