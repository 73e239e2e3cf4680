//! The power goes while bookings are written to Google, which has troubles of its own.

use std::{collections::BTreeSet, time::Duration};

use chrono::TimeDelta;
use hyper::Method;
use serde_json::{Value, json};
use slotd_sandbox::{Effect, Fault};

use super::{
    client::Client,
    installation::{Daemon, Installation},
    power::{Death, kills, need_strace},
    salon::{Salon, google_events, span, text, tomorrow},
    wait_for,
};
use crate::harness::{Home, Raw, on_both_engines};

const ROUNDS: i64 = 6;
const PER_ROUND: i64 = 5;

/// Books some, moves one and cancels one of an earlier round and one of this.
async fn work(salon: &Salon, api: &Client, round: i64, booked: &mut Vec<String>) {
    for n in 0..PER_ROUND {
        let start = tomorrow() + TimeDelta::days(round * PER_ROUND + n) + TimeDelta::hours(10);
        let body = json!({
            "start": text(start), "duration_min": 45, "customer": { "name": "Ada Lovelace", "phone": "+4930123456" },
        });
        let made = api.post(&format!("{}/bookings", salon.path), &body).await;
        booked.push(made["id"].as_str().unwrap().to_owned());
    }
    let count = booked.len();
    for back in [2, 7] {
        let Some(place) = count.checked_sub(back) else { continue };
        let id = &booked[place];
        let day = i64::try_from(place).unwrap();
        let later = tomorrow() + TimeDelta::days(day) + TimeDelta::hours(14);
        api.call(Method::PATCH, &format!("{}/bookings/{id}", salon.path), Some(&json!({ "start": text(later) }))).await;
    }
    for back in [1, 8] {
        let Some(place) = count.checked_sub(back) else { continue };
        api.call(Method::POST, &format!("{}/bookings/{}/cancel", salon.path, booked[place]), None).await;
    }
}

/// A trouble for each kind of write; the daemon is killed while it waits for some of them.
fn trouble(installation: &Installation) {
    let effects =
        [Effect::Delay { ms: 150 }, Effect::HangAfter, Effect::HangBefore, Effect::ResetAfter, Effect::Truncate];
    for method in ["calendar.events.insert", "calendar.events.patch", "calendar.events.delete"] {
        let effect = effects[rand::random_range(0..effects.len())].clone();
        let fault = Fault { skip: rand::random_range(0..2), ..Fault::once(method, effect) };
        installation.google.faults().add(fault);
    }
}

/// Waits until nothing is owed to Google any more.
async fn settle(raw: &Raw) {
    let owed = || async { (raw.count("SELECT COUNT(*) FROM outbox").await == 0).then_some(()) };
    wait_for("nothing is owed to Google", owed).await;
}

/// The live events and their times.
fn live(events: &[Value]) -> BTreeSet<(String, String)> {
    let live = events.iter().filter(|event| event["status"] != "cancelled");
    live.map(|event| (event["id"].as_str().unwrap().to_owned(), format!("{:?}", span(event)))).collect()
}

on_both_engines! {
    async fn a_change_that_went_through_without_an_answer_is_known_to_be_written(home: Home) {
        let installation = Installation::new(home).await;
        let daemon = installation.start().await;
        let salon = Salon::open(&installation, &daemon, Vec::new()).await;
        salon.connect(&daemon).await;
        let raw = installation.home.raw(1).await;
        wait_for("the first sync", || async { salon.is_mirrored(&daemon.api).await.then_some(()) }).await;
        let book = |n: i64| json!({
            "start": text(tomorrow() + TimeDelta::hours(n)), "duration_min": 45,
            "customer": { "name": "Ada Lovelace", "phone": "+4930123456" },
        });
        let changes = [
            json!({ "start": text(tomorrow() + TimeDelta::hours(30)) }),
            json!({ "customer": { "name": "Grace Hopper" } }),
        ];
        for (n, change) in (0..).zip(changes) {
            let made = daemon.api.post(&format!("{}/bookings", salon.path), &book(n)).await;
            settle(&raw).await;
            installation.google.faults().add(Fault::once("calendar.events.patch", Effect::ResetAfter));
            let path = format!("{}/bookings/{}", salon.path, made["id"].as_str().unwrap());
            daemon.api.call(Method::PATCH, &path, Some(&change)).await;
            settle(&raw).await;
            let booking = daemon.api.get(&path).await;
            assert_eq!(booking["calendar_sync"], "synced", "{booking}");
            let events = google_events(&installation.google_client()).await;
            let event = events.iter().find(|event| event["id"] == booking["event_id"]).unwrap();
            assert_eq!(span(event), span(&booking));
            let title = event["summary"].as_str().unwrap();
            assert!(title.ends_with(booking["customer"]["name"].as_str().unwrap()), "{title}");
        }
        daemon.kill();
    }

    async fn each_booking_has_one_event_however_often_the_daemon_is_killed_while_writing(home: Home) {
        need_strace();
        let installation = Installation::new(home).await;
        let mut daemon: Daemon = installation.start().await;
        let salon = Salon::open(&installation, &daemon, Vec::new()).await;
        salon.connect(&daemon).await;
        wait_for("the first sync", || async { salon.is_mirrored(&daemon.api).await.then_some(()) }).await;

        let mut booked = Vec::new();
        for round in 0..kills(ROUNDS) {
            trouble(&installation);
            work(&salon, &daemon.api, round, &mut booked).await;
            let death = Death::of_round(round, &installation.home, 0..400);
            if let Death::After(moment) = death {
                tokio::time::sleep(moment).await;
            } else {
                // What was booked is written by one that dies at it, and its death is waited for only so long.
                daemon.kill();
                let Some(mut dying) = installation.start_to_die(&death).await else {
                    daemon = installation.start().await;
                    continue;
                };
                for _ in 0..10 {
                    if dying.is_dead() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                daemon = dying;
            }
            daemon.kill();
            daemon = installation.start().await;
        }
        installation.google.faults().clear();
        settle(&installation.home.raw(1).await).await;

        let bookings = salon.bookings(&daemon.api).await;
        assert_eq!(bookings.len(), booked.len());
        let (kept, cancelled): (Vec<&Value>, Vec<&Value>) =
            bookings.iter().partition(|booking| booking["status"] == "confirmed");
        assert!(cancelled.len() >= 6, "the owner did not cancel, and we did");
        let owed: BTreeSet<_> = kept
            .iter()
            .map(|booking| (booking["event_id"].as_str().unwrap().to_owned(), format!("{:?}", span(booking))))
            .collect();
        let events = google_events(&installation.google_client()).await;
        assert_eq!(live(&events), owed);
        assert!(kept.iter().all(|booking| booking["calendar_sync"] == "synced"), "{kept:#?}");
        // The stand-in refuses an id that it has seen, so an id of each booking and no other means: inserted once.
        let ids: BTreeSet<_> = bookings.iter().map(|booking| booking["event_id"].as_str().unwrap()).collect();
        assert!(events.iter().all(|event| ids.contains(event["id"].as_str().unwrap())), "{events:#?}");
        daemon.kill();
    }
}
