//! The power goes while callers book.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use chrono::TimeDelta;
use futures_util::future::join_all;
use hyper::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    client::{Answer, Client},
    installation::{Daemon, Installation},
    power::{Death, kills, need_strace},
    salon::{Salon, google_events, span, text, tomorrow},
    wait_for,
};
use crate::harness::{Home, on_both_engines};

/// Of every run.
const ROUNDS: i64 = 20;
/// How long callers come, when the daemon does not die before.
const CALLS_MAX: Duration = Duration::from_secs(2);
const MOMENTS_MS: std::ops::Range<u64> = 5..150;
const CALLERS: i64 = 4;
/// More than can be made before the daemon is killed.
const TRIES: i64 = 200;
/// Starts of one round, a quarter of an hour apart, for bookings of half an hour.
const STARTS: i64 = 40;

/// A request to book, under a key that is also its reference.
struct Try {
    key: String,
    body: Value,
    answer: Option<Answer>,
}

async fn book(salon: &Salon, api: &Client, key: &str, body: &Value) -> Option<Answer> {
    api.send(Method::POST, &format!("{}/bookings", salon.path), &[("idempotency-key", key)], Some(body)).await
}

/// Books until the daemon does not answer any more, or it is late.
async fn call(salon: &Salon, api: &Client, round: i64, caller: i64) -> Vec<Try> {
    let (mut tries, late) = (Vec::new(), Instant::now() + CALLS_MAX);
    for n in (0..TRIES).take_while(|_| Instant::now() < late) {
        let place = rand::random_range(0..STARTS);
        let start = tomorrow() + TimeDelta::days(round) + TimeDelta::minutes(15 * place);
        let key = format!("{round}-{caller}-{n}");
        let body = json!({
            "start": text(start), "duration_min": 30, "reference": key,
            "customer": { "name": "Ada Lovelace", "phone": "+4930123456" },
        });
        let answer = book(salon, api, &key, &body).await;
        let gone = answer.is_none();
        tries.push(Try { key, body, answer });
        if gone {
            break;
        }
    }
    tries
}

/// Brings the death about, unless a system call does: then callers come until it has.
async fn die(mut daemon: Daemon, death: &Death) -> Daemon {
    if let Death::After(moment) = death {
        tokio::time::sleep(*moment).await;
        daemon.end();
    }
    daemon
}

/// What was acknowledged is stored, and what is stored was asked for.
async fn check_stored(salon: &Salon, api: &Client, round: i64, tries: &[Try]) {
    let from = tomorrow() + TimeDelta::days(round);
    let path = format!("{}/bookings?limit=200&from={}&to={}", salon.path, text(from), text(from + TimeDelta::days(1)));
    let stored = api.get(&path).await;
    let stored: HashSet<&str> =
        stored["bookings"].as_array().unwrap().iter().map(|one| one["reference"].as_str().unwrap()).collect();
    let is_told = |one: &&Try| one.answer.as_ref().is_some_and(|answer| answer.status == 201);
    let told: HashSet<&str> = tries.iter().filter(is_told).map(|one| one.key.as_str()).collect();
    let asked: HashSet<&str> = tries.iter().map(|one| one.key.as_str()).collect();
    assert!(told.is_subset(&stored) && stored.is_subset(&asked), "told {told:?} stored {stored:?} asked {asked:?}");
}

/// Asks again, after the restart, for all that was asked before it.
async fn ask_again(salon: &Salon, api: &Client, tries: &mut [Try]) {
    for one in tries {
        let again = book(salon, api, &one.key, &one.body).await.unwrap();
        match &one.answer {
            Some(first) if first.status == 201 => {
                assert_eq!((again.status, &again.body), (201, &first.body), "{}", one.key);
                assert_eq!(again.header("idempotency-replayed"), "true");
            }
            Some(first) => {
                assert_eq!((first.status, again.status), (409, 409), "{:?} {:?}", first.body, again.body);
            }
            // Stored or not, the caller learns it now.
            None => {
                assert!(matches!(again.status, 201 | 409), "{:?}", again.body);
                one.answer = Some(again);
            }
        }
    }
}

on_both_engines! {
    async fn what_was_acknowledged_outlives_kill_9_and_nothing_else_is_stored_twice_or_over_it(home: Home) {
        need_strace();
        let installation = Installation::new(home).await;
        let mut daemon = installation.start().await;
        let salon = Salon::open(&installation, &daemon, Vec::new()).await;
        salon.connect(&daemon).await;
        wait_for("the first sync", || async { salon.is_mirrored(&daemon.api).await.then_some(()) }).await;

        let mut all = Vec::new();
        let (mut in_hand, mut at_a_call) = (0, 0);
        for round in 0..kills(ROUNDS) {
            let death = Death::of_round(round, &installation.home, MOMENTS_MS);
            if matches!(death, Death::Before { .. }) {
                daemon.kill();
                let Some(dying) = installation.start_to_die(&death).await else {
                    at_a_call += 1;
                    daemon = installation.start().await;
                    continue;
                };
                daemon = dying;
            }
            let api = daemon.api.clone();
            let callers = join_all((0..CALLERS).map(|caller| call(&salon, &api, round, caller)));
            let (tries, mut dead) = tokio::join!(callers, die(daemon, &death));
            at_a_call += i32::from(matches!(death, Death::Before { .. }) && dead.is_dead());
            dead.kill();
            let mut tries: Vec<Try> = tries.into_iter().flatten().collect();
            in_hand += tries.iter().filter(|one| one.answer.is_none()).count();
            daemon = installation.start().await;
            check_stored(&salon, &daemon.api, round, &tries).await;
            ask_again(&salon, &daemon.api, &mut tries).await;
            all.extend(tries);
        }
        assert!(in_hand > 0, "the daemon was never killed with a request in hand");
        assert!(at_a_call > 0, "the daemon never died at a system call");

        let stored = salon.bookings(&daemon.api).await;
        let told = all.iter().filter(|one| one.answer.as_ref().is_some_and(|answer| answer.status == 201));
        let told: HashMap<String, Value> = told.map(|one| (one.key.clone(), one.answer.as_ref().unwrap().json())).collect();
        assert_eq!(stored.len(), told.len(), "everybody was told of every booking, once");
        for booking in &stored {
            let told = &told[booking["reference"].as_str().unwrap()];
            assert_eq!((&booking["id"], span(booking)), (&told["id"], span(told)));
        }
        // They come in the order of their starts.
        assert!(stored.windows(2).all(|pair| span(&pair[0]).1 <= span(&pair[1]).0), "two bookings overlap");

        // And Google shows each of them, once.
        wait_for("everything is written", || async {
            let stored = salon.bookings(&daemon.api).await;
            stored.iter().all(|booking| booking["calendar_sync"] == "synced").then_some(())
        })
        .await;
        let events = google_events(&installation.google_client()).await;
        let shown: HashSet<_> = events.iter().map(|event| (event["id"].as_str().unwrap(), span(event))).collect();
        let owed: HashSet<_> = stored.iter().map(|booking| (booking["event_id"].as_str().unwrap(), span(booking))).collect();
        assert_eq!(shown, owed);
        daemon.kill();
    }
}
