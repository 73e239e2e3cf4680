//! A busy owner, and pushes that get lost, come twice or come late.

use chrono::{DateTime, Utc};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use slotd_sandbox::{Effect, Fault};

use crate::{
    harness::{Db, on_both_engines},
    stage::{OWNER, Stage, at, event, id, times},
};

const EDITS: usize = 60;

on_both_engines! {
    async fn after_any_edits_the_busy_time_is_what_google_itself_tells(db: Db) {
        // Lost pushes are made up for by polling.
        let stage = Stage::with(db, Vec::new(), |config| config.sync.poll_watched_s = 2).await;
        let seed: u64 = rand::random();
        eprintln!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let mut known: Vec<String> = Vec::new();
        for edit in 0..EDITS {
            disturb(&stage, &mut random);
            edit_once(&stage, &mut random, &mut known).await;
            if edit % 20 == 19 {
                stage.same_as_google(at(0, 0, 0), at(60, 0, 0)).await;
            }
        }
        stage.google.faults().clear();
        stage.same_as_google(at(0, 0, 0), at(60, 0, 0)).await;
    }
}

/// Lets something happen to one of the next pushes.
fn disturb(stage: &Stage, random: &mut StdRng) {
    let effect = match random.random_range(0..5) {
        0 => Effect::Drop,
        1 => Effect::Twice,
        2 => Effect::Delay { ms: random.random_range(1..300) },
        _ => return,
    };
    stage.google.faults().add(Fault { skip: random.random_range(0..3), ..Fault::once("push", effect) });
}

fn somewhen(random: &mut StdRng) -> DateTime<Utc> {
    at(random.random_range(1..50), random.random_range(6..20), 15 * random.random_range(0..4))
}

/// One change of the owner's: a new event or series, or a change of a known one or of an instance.
pub(super) async fn edit_once(stage: &Stage, random: &mut StdRng, known: &mut Vec<String>) {
    let minutes = 15 * random.random_range(1..9);
    let choice = if known.is_empty() { 0 } else { random.random_range(0..10) };
    match choice {
        0..=2 => {
            let made = stage.google.insert(&event("Visit", somewhen(random), minutes)).await;
            known.push(id(&made));
        }
        3 | 4 => {
            let rules = [
                "RRULE:FREQ=DAILY;COUNT=9",
                "RRULE:FREQ=WEEKLY;BYDAY=MO,WE,FR;COUNT=12",
                "RRULE:FREQ=WEEKLY;INTERVAL=2",
            ];
            let mut series = event("Habit", somewhen(random), minutes);
            series["recurrence"] = json!([rules[random.random_range(0..rules.len())]]);
            known.push(id(&stage.google.insert(&series).await));
        }
        5 => {
            let gone = known.swap_remove(random.random_range(0..known.len()));
            stage.google.delete(&gone).await;
        }
        6 => {
            let one = &known[random.random_range(0..known.len())];
            stage.google.patch(one, &times(somewhen(random), minutes)).await;
        }
        7 => {
            let one = &known[random.random_range(0..known.len())];
            stage.google.patch(one, &any_answer(random)).await;
        }
        _ => change_instance(stage, random, known, minutes).await,
    }
}

async fn change_instance(stage: &Stage, random: &mut StdRng, known: &[String], minutes: i64) {
    let one = &known[random.random_range(0..known.len())];
    let whole = stage.google.get(one).await;
    if whole["recurrence"].is_null() {
        return;
    }
    let instances = stage.google.instances(one).await;
    let live: Vec<&Value> = instances.iter().filter(|one| one["status"] != "cancelled").take(8).collect();
    let Some(instance) = live.get(random.random_range(0..8)) else { return };
    if random.random_bool(0.5) {
        stage.google.delete(&id(instance)).await;
    } else {
        stage.google.patch(&id(instance), &times(somewhen(random), minutes)).await;
    }
}

fn any_answer(random: &mut StdRng) -> Value {
    match random.random_range(0..5) {
        0 => json!({ "transparency": "transparent" }),
        1 => json!({ "transparency": "opaque" }),
        2 => json!({ "attendees": [{ "email": OWNER, "responseStatus": "declined" }] }),
        3 => json!({ "attendees": [{ "email": OWNER, "responseStatus": "accepted" }] }),
        _ => json!({ "summary": "Another title" }),
    }
}
