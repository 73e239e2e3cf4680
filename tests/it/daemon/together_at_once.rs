//! Many callers at once, for services that need several resources, for services that need one, and with moves between
//! them, over the same few resources.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use slotd::{
    domain::{Chance, Clock, clock::SystemChance, clock::SystemClock},
    store::Sql,
};
use tokio::task::JoinSet;

use crate::{
    harness::{Db, on_both_engines},
    stage::{Client, Ending, Stage, at, id, text},
};

/// Callers at once, and what each of them does.
const CALLERS: u64 = 24;
const STEPS: usize = 10;
/// Half hours that they want.
const HALF_HOURS: i64 = 6;
const PEOPLE: [&str; 3] = ["Ada", "Ben", "Cleo"];
const ROOMS: [&str; 2] = ["Room 1", "Room 2"];
/// Groups in both orders, so that whoever locks them as they stand meets somebody who comes the other way.
const SERVICES: [&str; 5] = ["Person and room", "Room and person", "Two people and a room", "Anybody", "Room"];

async fn set_up(stage: &Stage) {
    for name in PEOPLE.iter().chain(&ROOMS) {
        // No constraint of the database counts to two.
        let capacity = if *name == ROOMS[1] { 2 } else { 1 };
        stage.api.post(&stage.at("/resources"), &json!({ "name": name, "capacity": capacity })).await.ok();
    }
    let needs = [json!([PEOPLE, ROOMS]), json!([ROOMS, PEOPLE]), json!([["Cleo", "Ben"], ["Ada"], ROOMS])];
    for (name, needs) in SERVICES.iter().zip(needs) {
        let service = json!({ "name": name, "duration_min": 30, "buffer_after_min": 10, "needs": needs });
        stage.api.post(&stage.at("/services"), &service).await.ok();
    }
    for (name, resources, minutes) in
        [("Anybody", json!([&PEOPLE[..], &ROOMS[..]].concat()), 30), ("Room", json!(ROOMS), 45)]
    {
        let service = json!({ "name": name, "duration_min": minutes, "resources": resources });
        stage.api.post(&stage.at("/services"), &service).await.ok();
    }
}

/// Somebody who books, holds, moves and gives back, at random.
struct Caller {
    api: Client,
    root: String,
    dice: StdRng,
    call: String,
    bookings: Vec<String>,
    holds: Vec<String>,
}

impl Caller {
    fn start(&mut self) -> DateTime<Utc> {
        at(3, 9, 0) + TimeDelta::minutes(30 * self.dice.random_range(0..HALF_HOURS))
    }

    fn slot(&mut self) -> Value {
        let service = SERVICES[self.dice.random_range(0..SERVICES.len())];
        json!({ "start": text(self.start()), "service": service, "call_id": self.call })
    }

    fn any_of(&mut self, ids: &[String]) -> Option<String> {
        (!ids.is_empty()).then(|| ids[self.dice.random_range(0..ids.len())].clone())
    }

    /// One random step. Returns the status.
    async fn step(&mut self) -> u16 {
        let customer = json!({ "name": "Ada Lovelace", "phone": "0151 12345678" });
        let (booking, hold) = (self.any_of(&self.bookings.clone()), self.any_of(&self.holds.clone()));
        let (slot, root) = (self.slot(), self.root.clone());
        let at = |rest: &str| format!("{root}{rest}");
        let answer = match (self.dice.random_range(0..10), booking, hold) {
            (0..3, ..) => {
                let mut body = slot;
                body["customer"] = customer;
                self.api.post(&at("/bookings"), &body).await
            }
            (3 | 4, Some(booking), _) => {
                let change = json!({ "start": slot["start"] });
                return self.api.patch(&at(&format!("/bookings/{booking}")), &change).await.status;
            }
            (5, Some(booking), _) => {
                return self.api.post(&at(&format!("/bookings/{booking}/cancel")), &json!({})).await.status;
            }
            (6, _, Some(hold)) => {
                let change = json!({ "start": slot["start"], "service": slot["service"] });
                let changed = self.api.patch(&at(&format!("/holds/{hold}")), &change).await;
                // Who leads may not do the other service.
                return if changed.json()["field"] == "/resource" { 409 } else { changed.status };
            }
            (7, _, Some(hold)) => {
                self.api.post(&at("/bookings"), &json!({ "hold_id": hold, "customer": customer })).await
            }
            (8, ..) => {
                self.holds.clear();
                return self.api.delete(&at(&format!("/holds?call_id={}", self.call))).await.status;
            }
            _ => {
                let mut body = slot;
                body["ttl_s"] = json!(5);
                let answer = self.api.post(&at("/holds"), &body).await;
                if answer.status == 201 {
                    self.holds.push(id(&answer.json()));
                }
                return answer.status;
            }
        };
        if answer.status == 201 {
            self.bookings.push(id(&answer.json()));
        }
        answer.status
    }
}

/// Who is claimed when, and how many bookings they take at once.
const CLAIMS: Sql = Sql::same(
    "SELECT r.name, r.capacity, c.start_at, c.end_at FROM claim c JOIN resource r ON r.id = c.resource_id
      WHERE c.active = 1 ORDER BY r.name, c.start_at",
);
/// Bookings that stand, their service, and what they claim.
const CLAIMED: Sql = Sql::same(
    "SELECT b.id, s.name, r.name FROM booking b
       JOIN service s ON s.id = b.service_id
       JOIN claim c ON c.booking_id = b.id AND c.active = 1
       JOIN resource r ON r.id = c.resource_id
      WHERE b.state = 'confirmed' ORDER BY b.id, r.name",
);
/// Claims that outlive their booking, or do not lie where it is.
const STRAY: &str = "SELECT COUNT(*) FROM claim c JOIN booking b ON b.id = c.booking_id
      WHERE c.active = 1 AND (b.state NOT IN ('confirmed', 'held') OR c.start_at <> b.start_at - b.before_us
                              OR c.end_at <> b.end_at + b.after_us)";

/// Whether `claimed` is one of each group of what the service needs.
fn fits(service: &str, claimed: &[String]) -> bool {
    let people = claimed.iter().filter(|name| PEOPLE.contains(&name.as_str())).count();
    let rooms = claimed.iter().filter(|name| ROOMS.contains(&name.as_str())).count();
    match service {
        "Person and room" | "Room and person" => (people, rooms) == (1, 1),
        "Two people and a room" => (people, rooms) == (2, 1) && claimed.iter().any(|name| name == "Ada"),
        "Anybody" => people + rooms == 1,
        _ => (people, rooms) == (0, 1),
    }
}

on_both_engines! {
    async fn random_callers_never_meet_and_never_wait_for_each_other_in_a_circle(db: Db) {
        // On a busy machine somebody may wait long for a connection; that is not what this is about.
        let mut stage = Stage::with(db, Vec::new(), |config| config.database.acquire_timeout_s = 30).await;
        set_up(&stage).await;
        let (seed, _) = SystemChance.uuid(SystemClock.now()).as_u64_pair();
        let seed = seed ^ SystemChance.uuid(SystemClock.now()).as_u64_pair().1;
        eprintln!("seed {seed}");
        let root: Arc<str> = stage.at("").into();
        let mut callers = JoinSet::new();
        for number in 0..CALLERS {
            let mut caller = Caller {
                api: stage.api.clone(),
                root: root.to_string(),
                dice: StdRng::seed_from_u64(seed.wrapping_add(number)),
                call: format!("call-{number}"),
                bookings: Vec::new(),
                holds: Vec::new(),
            };
            callers.spawn(async move {
                let mut statuses = Vec::with_capacity(STEPS);
                for _ in 0..STEPS {
                    statuses.push(caller.step().await);
                }
                statuses
            });
        }
        let statuses = callers.join_all().await.concat();
        let odd: Vec<u16> = statuses.iter().copied().filter(|status| ![200, 201, 204, 409].contains(status)).collect();
        assert!(odd.is_empty(), "{odd:?}");
        assert!(statuses.iter().filter(|status| **status == 201).count() > 20, "{statuses:?}");
        assert!(statuses.contains(&409), "nobody was in anybody's way");

        let claims: Vec<(String, i64, i64, i64)> = stage.raw.rows(CLAIMS).await;
        for (name, capacity, start, _) in &claims {
            let at_once = claims.iter().filter(|other| other.0 == *name && other.2 <= *start && *start < other.3);
            assert!(at_once.count() <= usize::try_from(*capacity).unwrap(), "{name} is overbooked at {start}: {claims:?}");
        }
        assert_eq!(stage.raw.count(STRAY).await, 0);
        let rows: Vec<(String, String, String)> = stage.raw.rows(CLAIMED).await;
        assert!(!rows.is_empty());
        for of_one in rows.chunk_by(|one, other| one.0 == other.0) {
            let claimed: Vec<String> = of_one.iter().map(|(_, _, resource)| resource.clone()).collect();
            assert!(fits(&of_one[0].1, &claimed), "{} has {claimed:?}", of_one[0].1);
        }
        // What the engine counts is complete when the connections are closed.
        stage.restart(Ending::Order, |_| {}).await;
        if stage.is_postgres() {
            let circles = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
            assert_eq!(stage.raw.count(circles).await, 0, "bookings waited for each other in a circle");
        }
    }

    async fn callers_who_all_want_the_same_get_what_there_is_room_for_and_no_more(db: Db) {
        let stage = Stage::with(db, Vec::new(), |config| config.database.acquire_timeout_s = 30).await;
        for (name, capacity) in [("Hall", 2), ("Yard", 1), ("Kit", 4), ("Spare kit", 1)] {
            stage.api.post(&stage.at("/resources"), &json!({ "name": name, "capacity": capacity })).await.ok();
        }
        let class = json!({ "name": "Class", "duration_min": 30, "needs": [["Yard", "Hall"], ["Kit", "Spare kit"]] });
        stage.api.post(&stage.at("/services"), &class).await.ok();
        for start in [at(3, 10, 0), at(3, 11, 0)] {
            let mut callers = JoinSet::new();
            for _ in 0..30 {
                let (api, path) = (stage.api.clone(), stage.at("/bookings"));
                let customer = json!({ "name": "Ada Lovelace", "phone": "0151 12345678" });
                let body = json!({ "start": text(start), "service": "Class", "customer": customer });
                callers.spawn(async move { api.post(&path, &body).await.status });
            }
            let mut statuses = callers.join_all().await;
            statuses.sort_unstable();
            assert_eq!(statuses[..3], [201; 3], "{statuses:?}");
            assert_eq!(statuses[3..], [409; 27], "{statuses:?}");
        }
        assert_eq!(stage.raw.count("SELECT COUNT(*) FROM claim WHERE active = 1").await, 12);
    }
}
