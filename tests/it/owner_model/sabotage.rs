//! Deliberate bugs, each in a process of its own: somebody must see them. The same runs without a bug pass.

use std::{
    collections::BTreeSet,
    fmt::Write,
    process::{Command, Output},
    time::Duration,
};

use slotd::domain::sabotage::{Bug, VARIABLE};
use slotd_sandbox::Effect;
use tokio::time::Instant;

use super::{
    run::{Plan, Restarts, run},
    setting,
    weather::Kind,
};
use crate::{
    harness::Db,
    stage::{Stage, at, event},
};

/// Runs in which a bug has to be seen. The first few are enough for nearly all.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=8;
const EDITS: usize = 120;
/// By when a change must be known without a poll: a second look comes after two seconds.
const KNOWN_BY: Duration = Duration::from_secs(8);
const CHILD: &str = "owner_model::sabotage::child::";
/// What a failed run says.
const VERDICTS: [&str; 2] = ["the mirror is not what Google knows", "no rest within"];

/// Runs one test of this program in a process of its own.
fn child(test: &str, seed: u64, bug: Option<Bug>) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--include-ignored", "--nocapture"]);
    command.env("SLOTD_OWNER_MODEL_SEED", seed.to_string()).env_remove(VARIABLE).env("RUST_BACKTRACE", "0");
    if let Some(bug) = bug {
        command.env(VARIABLE, format!("{bug:?}"));
    }
    command.output().unwrap()
}

/// Every bug is seen by one of the seeds, and none of the seeds used finds anything without one.
fn each_is_seen(test: &str, verdicts: &[&str], bugs: &[Bug]) {
    let (mut used, mut report) = (BTreeSet::new(), String::new());
    for bug in bugs {
        let caught = SEEDS.into_iter().find(|seed| {
            used.insert(*seed);
            let output = child(test, *seed, Some(*bug));
            let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
            assert!(
                output.status.success() || verdicts.iter().any(|verdict| said.contains(verdict)),
                "{bug:?} with seed {seed} ended otherwise: {said}"
            );
            !output.status.success()
        });
        writeln!(report, "{bug:?}: {caught:?}").unwrap();
        assert!(caught.is_some(), "{bug:?} went unseen in every run of {SEEDS:?}\n{report}");
    }
    eprintln!("seen, and by which seed:\n{report}");
    for seed in used {
        let output = child(test, seed, None);
        assert!(
            output.status.success(),
            "seed {seed} fails without a bug: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Those that belong to a calm sky: the edits alone bring them to light.
const CALM: [Bug; 11] = [
    Bug::ExceptionsDropped,
    Bug::HolesIgnored,
    Bug::OlderVersionWins,
    Bug::TombstonesIgnored,
    Bug::ZoneIgnored,
    Bug::ExceptionsKept,
    Bug::TransparentBusy,
    Bug::DeclinedBusy,
    Bug::DaysInUtc,
    Bug::UntilExclusive,
    Bug::ExdateIgnored,
];

#[test]
fn wrong_rules_and_lost_changes_are_seen() {
    each_is_seen(&format!("{CHILD}calm"), &VERDICTS, &CALM);
}

#[test]
fn the_wrong_side_of_a_fold_is_seen() {
    each_is_seen(&format!("{CHILD}calm"), &VERDICTS, &[Bug::FoldLater]);
}

#[test]
fn a_forgotten_page_is_seen() {
    each_is_seen(&format!("{CHILD}slow"), &VERDICTS, &[Bug::LastPageForgotten]);
}

#[test]
fn an_ignored_410_is_seen() {
    each_is_seen(&format!("{CHILD}ending"), &VERDICTS, &[Bug::GoneIgnored]);
}

#[test]
fn a_token_that_is_kept_before_its_rows_is_seen() {
    each_is_seen(&format!("{CHILD}crashing"), &VERDICTS, &[Bug::TokenBeforeRows]);
}

#[test]
fn a_horizon_that_forgets_series_is_seen() {
    each_is_seen(&format!("{CHILD}further"), &VERDICTS, &[Bug::HorizonForgetsSeries]);
}

#[test]
fn a_swallowed_push_is_seen() {
    each_is_seen(&format!("{CHILD}pushes_during_a_pass"), &VERDICTS, &[Bug::PushSwallowed]);
}

#[test]
fn a_second_look_that_is_not_taken_is_seen() {
    each_is_seen(&format!("{CHILD}stale_after_a_push"), &VERDICTS, &[Bug::SecondLookLost]);
}

#[test]
fn rows_that_are_served_too_early_are_seen() {
    let test = "daemon::trouble::a_page_that_fails_leaves_everything_as_it_was::sqlite";
    each_is_seen(test, &["assertion `left == right` failed"], &[Bug::ServedTooEarly]);
}

#[test]
fn no_bug_is_left_out() {
    let apart = [
        Bug::FoldLater,
        Bug::LastPageForgotten,
        Bug::GoneIgnored,
        Bug::TokenBeforeRows,
        Bug::HorizonForgetsSeries,
        Bug::PushSwallowed,
        Bug::SecondLookLost,
        Bug::ServedTooEarly,
    ];
    assert_eq!(CALM.len() + apart.len(), Bug::OF_MIRRORS.len());
    assert!(Bug::OF_MIRRORS.iter().all(|bug| CALM.contains(bug) || apart.contains(bug)));
}

/// What the other processes run.
mod child {
    use super::*;

    async fn edits(sky: (&'static [Kind], usize), restarts: Restarts, further: bool) {
        let seed = setting("SLOTD_OWNER_MODEL_SEED").unwrap_or(1);
        let plan = Plan { seed, edits: EDITS, stops: 1, restarts, sky: Some(sky), further };
        Box::pin(run(plan, Db::sqlite().await)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "run with a bug by the tests above"]
    async fn calm() {
        Box::pin(edits((&[], 0), Restarts::Never, false)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "run with a bug by the tests above"]
    async fn slow() {
        Box::pin(edits((&[Kind::Slow], 30), Restarts::Never, false)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "run with a bug by the tests above"]
    async fn ending() {
        Box::pin(edits((&[Kind::TokensExpire], 10), Restarts::Never, false)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "run with a bug by the tests above"]
    async fn crashing() {
        Box::pin(edits((&[], 0), Restarts::Crashes, false)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "run with a bug by the tests above"]
    async fn further() {
        Box::pin(edits((&[], 0), Restarts::Never, true)).await;
    }

    /// Nobody polls for hours.
    async fn pushed_only() -> Stage {
        Stage::with(Db::sqlite().await, Vec::new(), |config| config.sync.poll_watched_s = 14_400).await
    }

    async fn known_soon(stage: &Stage) {
        let deadline = Instant::now() + KNOWN_BY;
        loop {
            let (from, to) = (at(0, 0, 0), at(40, 0, 0));
            if stage.busy(from, to).await == stage.google.busy(from, to).await {
                return;
            }
            assert!(Instant::now() < deadline, "after {KNOWN_BY:?} the mirror is not what Google knows");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "run with a bug by the tests above"]
    async fn pushes_during_a_pass() {
        let stage = pushed_only().await;
        for day in 1..6 {
            // Google answers as it is now, and takes its time: what comes meanwhile is not in the answer.
            let slow = stage.google.strike("calendar.events.list", Effect::Trickle { ms: 500 });
            stage.google.insert(&event("One", at(day, 9, 0), 30)).await;
            crate::stage::eventually("a pass asks", async || stage.google.has_struck(slow).then_some(())).await;
            stage.google.insert(&event("Two", at(day, 12, 0), 30)).await;
            known_soon(&stage).await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "run with a bug by the tests above"]
    async fn stale_after_a_push() {
        let stage = pushed_only().await;
        stage.google.strike("calendar.events.list", Effect::Stale);
        stage.google.insert(&event("One", at(1, 9, 0), 30)).await;
        known_soon(&stage).await;
    }
}
