//! A running call hears what becomes of the slots that it was offered or holds.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use slotd::domain::{Clock, clock::SystemClock};
use tokio::time::Instant;

use crate::{
    harness::{Db, on_both_engines},
    stage::{Ending, Event, Events, Stage, at, event, eventually, id, text, times, url_time, wish},
};

/// Within this an event has to come that somebody caused. Mostly it takes a few milliseconds; the machine may be busy with
/// other tests. A stream that was not woken would look after 15 seconds.
const AT_ONCE: Duration = Duration::from_secs(10);
/// Within this, at least once in several times, when it comes by notification and not by the look at the table.
const BY_NOTIFICATION: Duration = Duration::from_millis(500);
/// Long enough for an event that must not come.
const A_WHILE: Duration = Duration::from_millis(400);

fn path(stage: &Stage, call: &str) -> String {
    stage.at(&format!("/calls/{call}/events"))
}

/// Opens the stream of a call and reads the greeting.
async fn listen(stage: &Stage, call: &str) -> (Events, Event) {
    let mut events = stage.api.events(&path(stage, call), None).await;
    assert_eq!(events.status, 200);
    let hello = events.expect("hello").await;
    (events, hello)
}

async fn slots(stage: &Stage, from: DateTime<Utc>, to: DateTime<Utc>, call: &str) -> Vec<Value> {
    let query = format!("from={}&to={}&service=Haircut&call_id={call}", url_time(from), url_time(to));
    stage.api.get(&stage.at(&format!("/slots?{query}"))).await.ok()["slots"].as_array().unwrap().clone()
}

async fn hold(stage: &Stage, start: DateTime<Utc>, call: &str, ttl_s: u32) -> Value {
    let body = json!({ "start": text(start), "service": "Haircut", "call_id": call, "ttl_s": ttl_s });
    stage.api.post(&stage.at("/holds"), &body).await.ok()
}

/// Waits until it is remembered what a call was offered, which happens beside the answers.
async fn remembered(stage: &Stage, offers: i64) {
    eventually("the offers are remembered", async || {
        (stage.raw.count("SELECT COUNT(*) FROM call_offer").await >= offers).then_some(())
    })
    .await;
}

fn start(event: &Event) -> DateTime<Utc> {
    event.data["slot"]["start"].as_str().unwrap_or_else(|| panic!("no slot in {event:?}")).parse().unwrap()
}

on_both_engines! {
    async fn a_call_hears_at_once_that_another_call_took_what_it_was_offered(db: Db) {
        let stage = Stage::open(db).await;
        let offered = slots(&stage, at(2, 9, 0), at(2, 11, 0), "call-1").await;
        assert_eq!(offered.len(), 4);
        remembered(&stage, 4).await;
        let (mut events, hello) = listen(&stage, "call-1").await;
        assert_eq!(events.headers["content-type"], "text/event-stream");
        assert_eq!((&hello.data["resumed"], hello.retry), (&json!(false), Some(1_000)));
        let offers = hello.data["offers"].as_array().unwrap();
        assert_eq!(offers.len(), 4, "{hello:?}");
        assert!(offers.iter().all(|offer| offer["status"] == "free"), "{hello:?}");
        assert_eq!(offers[0]["slot"]["spoken"], offered[0]["spoken"]);

        let taken_at = Instant::now();
        let held = hold(&stage, at(2, 9, 30), "call-2", 60).await;
        let taken = events.expect("taken").await;
        assert!(taken_at.elapsed() < AT_ONCE, "{:?}", taken_at.elapsed());
        assert_eq!(start(&taken), at(2, 9, 30));
        assert_eq!((&taken.data["by"], &taken.data["reason"]), (&json!("other_call"), &json!("busy")));
        assert_eq!(taken.data["slot"]["resource"], json!(stage.resource));
        assert!(taken.data["hold_id"].is_null());
        let next = taken.data["next_free"].as_array().unwrap();
        assert!(!next.is_empty() && next.iter().all(|slot| slot["spoken"].is_string() && slot["kind"].is_string()), "{taken:?}");
        assert!(next.iter().all(|slot| slot["start"] != taken.data["slot"]["start"]), "{taken:?}");
        let said = taken.data.to_string();
        assert!(!said.contains("call-2") && !said.contains(&id(&held)), "nothing of the other call is told: {said}");

        // The hold becomes a booking: for this call nothing is different.
        let customer = json!({ "name": "Ada Lovelace", "phone": "0151 12345678" });
        let body = json!({ "hold_id": id(&held), "call_id": "call-2", "customer": customer });
        let booked = stage.api.post(&stage.at("/bookings"), &body).await.ok();
        stage.synced(&booked).await;
        events.expect_silence(A_WHILE).await;
        stage.api.post(&stage.at(&format!("/bookings/{}/cancel", id(&booked))), &json!({})).await.ok();
        let free = events.expect("free_again").await;
        assert_eq!(start(&free), at(2, 9, 30));

        // A booking without a call.
        let booked = stage.book(at(2, 10, 0)).await;
        let taken = events.expect("taken").await;
        assert_eq!((start(&taken), &taken.data["by"]), (at(2, 10, 0), &json!("booking")));
        // What the call takes itself is no news, but for what it takes away from the other slots it was offered.
        let mine = hold(&stage, at(2, 9, 0), "call-1", 60).await;
        events.expect_silence(A_WHILE).await;
        stage.api.delete(&stage.at(&format!("/holds/{}", id(&mine)))).await.ok();
        let released = events.expect("hold_released").await;
        assert_eq!(released.data["hold_id"], mine["id"]);
        stage.synced(&booked).await;
    }

    async fn an_event_of_the_owners_is_told_of_an_offer_and_of_a_hold(db: Db) {
        let stage = Stage::open(db).await;
        let held = hold(&stage, at(2, 10, 0), "call-1", 120).await;
        let (mut events, hello) = listen(&stage, "call-1").await;
        let holds = hello.data["holds"].as_array().unwrap();
        assert_eq!((holds.len(), &holds[0]["hold_id"]), (1, &held["id"]), "{hello:?}");
        assert_eq!(holds[0]["expires_at"], held["expires_at"]);

        let made = stage.google.insert(&event("Dentist", at(2, 10, 15), 60)).await;
        let taken = events.expect("taken").await;
        assert_eq!((&taken.data["by"], &taken.data["hold_id"]), (&json!("owner"), &held["id"]));
        assert_eq!(start(&taken), at(2, 10, 0));
        assert!(!taken.data.to_string().contains("Dentist"));
        let next = taken.data["next_free"].as_array().unwrap();
        assert!(!next.is_empty(), "{taken:?}");
        // What is offered instead is watched over, too.
        remembered(&stage, 1 + i64::try_from(next.len()).unwrap()).await;

        stage.google.patch(made["id"].as_str().unwrap(), &times(at(5, 10, 15), 60)).await;
        let free = events.expect("free_again").await;
        assert_eq!((start(&free), &free.data["hold_id"]), (at(2, 10, 0), &held["id"]));
    }

    async fn a_hold_is_told_of_before_it_ends_and_at_the_instant_when_it_does(db: Db) {
        let stage = Stage::open(db).await;
        slots(&stage, at(2, 9, 0), at(2, 10, 0), "call-1").await;
        remembered(&stage, 2).await;
        let (mut waiting, _) = listen(&stage, "call-1").await;
        let held = hold(&stage, at(2, 9, 0), "call-2", 5).await;
        waiting.expect("taken").await;
        let (mut holding, hello) = listen(&stage, "call-2").await;
        assert_eq!(hello.data["holds"].as_array().unwrap().len(), 1);
        let until: DateTime<Utc> = held["expires_at"].as_str().unwrap().parse().unwrap();

        // One hears that it ran out, and the other that it is free, though nothing was written.
        let expired = holding.expect("hold_expired").await;
        let late = SystemClock.now() - until;
        assert_eq!(expired.data["hold_id"], held["id"]);
        assert!(late >= TimeDelta::zero() && late.to_std().unwrap() < AT_ONCE, "{late}");
        assert_eq!(start(&waiting.expect("free_again").await), at(2, 9, 0));

        // With time left for a warning; and extended, it is warned of again.
        let held = hold(&stage, at(2, 9, 30), "call-2", 21).await;
        let warned = holding.expect("hold_expiring").await;
        assert_eq!((&warned.data["hold_id"], &warned.data["expires_at"]), (&held["id"], &held["expires_at"]));
        let left = warned.data["expires_in_s"].as_i64().unwrap();
        assert!((17..=20).contains(&left), "{left}");
    }

    async fn who_was_cut_off_hears_what_is_different_since(db: Db) {
        let stage = Stage::open(db).await;
        slots(&stage, at(2, 9, 0), at(2, 11, 0), "call-1").await;
        remembered(&stage, 4).await;
        let (mut events, _) = listen(&stage, "call-1").await;
        hold(&stage, at(2, 9, 0), "call-2", 900).await;
        events.expect("taken").await;
        let last = events.last_id.clone().unwrap();
        drop(events);

        hold(&stage, at(2, 9, 30), "call-2", 900).await;
        stage.api.delete(&stage.at("/holds?call_id=call-3")).await.ok();
        let mut events = stage.api.events(&path(&stage, "call-1"), Some(&last)).await;
        let hello = events.expect("hello").await;
        assert_eq!(hello.data["resumed"], true);
        assert_eq!(start(&events.expect("taken").await), at(2, 9, 30), "and nothing of what was told before");
        events.expect_silence(A_WHILE).await;
        // Once more, and nothing is new. Cut off after the greeting, it is told again.
        let last = events.last_id.clone().unwrap();
        for (last, taken) in [(last, 0), (hello.id, 1)] {
            let mut again = stage.api.events(&path(&stage, "call-1"), Some(&last)).await;
            again.expect("hello").await;
            for _ in 0..taken {
                assert_eq!(start(&again.expect("taken").await), at(2, 9, 30));
            }
            again.expect_silence(A_WHILE).await;
        }
    }

    async fn a_stream_ends_when_the_caller_hangs_up_and_does_not_begin_again(db: Db) {
        let stage = Stage::open(db).await;
        let held = hold(&stage, at(2, 9, 0), "call-1", 60).await;
        let (mut events, _) = listen(&stage, "call-1").await;
        stage.api.delete(&stage.at("/holds?call_id=call-1")).await.ok();
        let released = events.expect("hold_released").await;
        assert_eq!(released.data["hold_id"], held["id"]);
        let ended = events.expect("ended").await;
        assert_eq!((&ended.data["reason"], &ended.data["reconnect"]), (&json!("hung_up"), &json!(false)));
        assert_eq!(events.next().await, None);
        let again = stage.api.events(&path(&stage, "call-1"), Some(&ended.id)).await;
        assert_eq!(again.status, 204, "a client that comes back by itself is told to stop");
        assert_eq!(stage.raw.count("SELECT COUNT(*) FROM call_offer").await, 0);

        // The same call asks again: it goes on.
        hold(&stage, at(2, 9, 0), "call-1", 60).await;
        let mut again = stage.api.events(&path(&stage, "call-1"), Some(&ended.id)).await;
        assert_eq!(again.expect("hello").await.data["holds"].as_array().unwrap().len(), 1);
    }

    async fn a_stream_ends_when_offers_and_holds_have_aged_out(db: Db) {
        let stage = Stage::with(db, Vec::new(), |config| config.calls.offers_kept_s = 2).await;
        let (mut silent, _) = listen(&stage, "never-heard-of").await;
        hold(&stage, at(2, 9, 0), "call-1", 5).await;
        let (mut events, hello) = listen(&stage, "call-1").await;
        assert_eq!(hello.data["offers"].as_array().unwrap().len(), 1);
        let ended = silent.expect("ended").await;
        assert_eq!(ended.data["reason"], "aged_out");
        // The offer is old by now, and the hold still counts.
        events.expect("hold_expired").await;
        assert_eq!(events.expect("ended").await.data["reason"], "aged_out");
        assert_eq!(events.next().await, None);
    }

    async fn only_so_many_streams_are_open_at_once(db: Db) {
        let stage = Stage::with(db, Vec::new(), |config| config.calls.streams_per_business = 2).await;
        let (first, _) = listen(&stage, "call-1").await;
        let (_second, _) = listen(&stage, "call-2").await;
        let refused = stage.api.get(&path(&stage, "call-3")).await;
        assert_eq!(refused.problem().0, 429);
        assert_eq!(refused.json()["reason"], "streams_of_business");
        assert!(!refused.header("retry-after").is_empty());
        drop(first);
        eventually("the room of a client that left is given back", async || {
            (stage.api.events(&path(&stage, "call-3"), None).await.status == 200).then_some(())
        })
        .await;
    }

    async fn bad_requests_for_a_stream_are_refused_and_name_the_field(db: Db) {
        let stage = Stage::open(db).await;
        let odd = |query: &str| stage.at(&format!("/calls/call-1/events{query}"));
        for (path, problem) in [
            (odd("?language=fr"), (400, "invalid", "language")),
            (odd("?since=1"), (400, "invalid", "since")),
            (stage.at(&format!("/calls/{}/events", "x".repeat(129))), (400, "invalid", "call_id")),
            (format!("/businesses/{}/calls/call-1/events", "0".repeat(8)), (400, "invalid", "business_id")),
        ] {
            let refused = stage.api.get(&path).await.problem();
            assert_eq!((refused.0, &*refused.1, &*refused.2), problem, "{path}");
        }
        let nobodys = format!("/businesses/{}/calls/call-1/events", "01a209c5-f865-71c2-8029-1404fbb68749");
        assert_eq!(stage.api.get(&nobodys).await.problem().0, 404);
        assert_eq!(stage.api.with_bearer("").get(&odd("")).await.problem().0, 401);
        let last = [("last-event-id", "17")];
        let refused = stage.api.send(hyper::Method::GET, &odd(""), &last, "".into()).await.problem();
        assert_eq!((refused.0, &*refused.2), (400, "Last-Event-ID"));
    }

    async fn times_are_said_in_the_language_of_the_business_or_of_the_request(db: Db) {
        let stage = Stage::open(db).await;
        let business = stage.api.patch(&stage.at(""), &json!({ "language": "de-CH" })).await.ok();
        assert_eq!(business["language"], "de");
        let query = format!("start={}&service=Haircut", url_time(at(2, 9, 30)));
        stage.book_and_write(at(2, 9, 30)).await;
        let spoken = async |language: &str| {
            let path = stage.at(&format!("/availability?{query}{language}"));
            stage.api.get(&path).await.ok()["alternatives"][0]["spoken"].as_str().unwrap().to_owned()
        };
        assert!(spoken("").await.contains(", um zehn Uhr"), "{}", spoken("").await);
        assert!(spoken("&language=en").await.contains(" at ten o'clock in the morning"));
        let refused = stage.api.post(&stage.at("/bookings?language=en"), &wish(at(2, 9, 30))).await;
        assert_eq!(refused.status, 409);
        let alternative = &refused.json()["alternatives"][0];
        assert!(alternative["spoken"].as_str().unwrap().contains("o'clock"), "{alternative}");
        assert_eq!(alternative["kind"], "soonest");
        let booked = stage.api.post(&stage.at("/bookings?language=en"), &wish(at(2, 11, 0))).await.ok();
        assert!(booked["spoken"].as_str().unwrap().ends_with("eleven o'clock in the morning"), "{booked}");
        let shown = stage.booking(&id(&booked)).await;
        assert!(shown["spoken"].as_str().unwrap().ends_with("um elf Uhr"), "{shown}");
        let unknown = stage.api.patch(&stage.at(""), &json!({ "language": "tlh" })).await.problem();
        assert_eq!((unknown.0, &*unknown.2), (400, "/language"));
        let unknown = stage.api.get(&stage.at(&format!("/availability?{query}&language=tlh"))).await.problem();
        assert_eq!((unknown.0, &*unknown.2), (400, "language"));

        let mut events = stage.api.events(&stage.at("/calls/c/events"), None).await;
        events.expect("hello").await;
        hold(&stage, at(2, 14, 30), "c", 30).await;
        stage.google.insert(&event("Dentist", at(2, 14, 30), 30)).await;
        let taken = events.expect("taken").await;
        assert!(taken.data["slot"]["spoken"].as_str().unwrap().ends_with("um vierzehn Uhr dreißig"), "{taken:?}");
        stage.synced(&booked).await;
    }

    async fn the_zone_is_said_where_there_are_several(db: Db) {
        let stage = Stage::open(db).await;
        let free = async |resource: &str| {
            let query = format!("from={}&to={}&service=Haircut&limit=1{resource}", url_time(at(2, 9, 0)), url_time(at(2, 10, 0)));
            stage.api.get(&stage.at(&format!("/slots?{query}"))).await.ok()["slots"][0]["spoken"].as_str().unwrap().to_owned()
        };
        assert!(!free("").await.contains("time"), "{}", free("").await);
        let zoe = json!({ "name": "Zoe", "time_zone": "America/New_York" });
        stage.api.post(&stage.at("/resources"), &zoe).await.ok();
        assert!(free("").await.ends_with("nine o'clock in the morning, Berlin time"), "{}", free("").await);
        assert!(free("&resource=Zoe").await.ends_with(", New York time"), "{}", free("&resource=Zoe").await);
        assert!(!free("&resource=Mia").await.contains("time"), "hers is the business's");
    }
}

/// The stop tells each stream so, and does not wait for the clients.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_the_streams_in_order_and_the_next_server_goes_on() {
    let mut stage = Stage::open(Db::sqlite().await).await;
    slots(&stage, at(2, 9, 0), at(2, 10, 0), "call-1").await;
    remembered(&stage, 2).await;
    let (mut events, _) = listen(&stage, "call-1").await;
    let began = Instant::now();
    stage.restart(Ending::Order, |_| {}).await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let ended = events.expect("ended").await;
    assert_eq!((&ended.data["reason"], &ended.data["reconnect"]), (&json!("stopping"), &json!(true)));
    assert_eq!(events.next().await, None);

    hold(&stage, at(2, 9, 0), "call-2", 60).await;
    let mut events = stage.api.events(&path(&stage, "call-1"), Some(&ended.id)).await;
    assert_eq!(events.expect("hello").await.data["resumed"], true);
    assert_eq!(start(&events.expect("taken").await), at(2, 9, 0));
}

/// The question on one node, the stream on another, and whoever takes the slot on the first again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_on_one_node_hears_what_happens_on_another() {
    let mut stage = Stage::open(Db::postgres().await).await;
    let other = stage.add_node().await;
    slots(&stage, at(2, 9, 0), at(2, 12, 0), "call-1").await;
    remembered(&stage, 6).await;
    let mut events = other.events(&path(&stage, "call-1"), None).await;
    assert_eq!(events.expect("hello").await.data["offers"].as_array().unwrap().len(), 6);
    let mut quickest = AT_ONCE;
    for (place, minutes) in (0..5).map(|place| (place, place * 30)) {
        let began = Instant::now();
        hold(&stage, at(2, 9, 0) + TimeDelta::minutes(minutes), &format!("call-{}", place + 2), 900).await;
        let taken = events.expect("taken").await;
        assert_eq!(start(&taken), at(2, 9, 0) + TimeDelta::minutes(minutes));
        quickest = quickest.min(began.elapsed());
    }
    assert!(quickest < BY_NOTIFICATION, "{quickest:?}");
    // Google pushes to the first node.
    stage.google.insert(&event("Dentist", at(2, 11, 30), 30)).await;
    let taken = events.expect("taken").await;
    assert_eq!((start(&taken), &taken.data["by"]), (at(2, 11, 30), &json!("owner")));
    // Cut off from one node, the client goes on at the other.
    let last = events.last_id.clone().unwrap();
    stage.api.delete(&stage.at("/holds?call_id=call-2")).await.ok();
    let mut events = stage.api.events(&path(&stage, "call-1"), Some(&last)).await;
    assert_eq!(events.expect("hello").await.data["resumed"], true);
    assert_eq!(start(&events.expect("free_again").await), at(2, 9, 0));
}
