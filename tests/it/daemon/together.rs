//! Services that need several resources at once.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};
use slotd::domain::{Clock, clock::SystemClock};

use crate::{
    harness::{Db, on_both_engines},
    stage::{Stage, at, eventually, id, text, times, url_time},
};

const ACTIVE: &str = "SELECT COUNT(*) FROM claim WHERE active = 1";

/// Mia, who has the owner's calendar, and others without one. A colouring needs a person and a basin.
struct Salon {
    stage: Stage,
    mia: String,
    ben: String,
    basins: [String; 2],
}

impl Salon {
    async fn open(db: Db) -> Self {
        let stage = Stage::open(db).await;
        let mut ids = Vec::new();
        for name in ["Ben", "Basin 1", "Basin 2"] {
            ids.push(id(&stage.api.post(&stage.at("/resources"), &json!({ "name": name })).await.ok()));
        }
        let color = json!({
            "name": "Color", "duration_min": 60, "slot_step_min": 60,
            "needs": [["Mia", "Ben"], ["Basin 1", "Basin 2"]],
        });
        stage.api.post(&stage.at("/services"), &color).await.ok();
        let mia = stage.resource.clone();
        let [ben, one, two] = ids.try_into().unwrap();
        Self { stage, mia, ben, basins: [one, two] }
    }

    fn wish(start: DateTime<Utc>, resource: Option<&str>) -> Value {
        let customer = json!({ "name": "Ada Lovelace", "phone": "0151 12345678" });
        let mut wish = json!({ "start": text(start), "service": "Color", "customer": customer });
        if let Some(resource) = resource {
            wish["resource"] = json!(resource);
        }
        wish
    }

    async fn book(&self, start: DateTime<Utc>, resource: Option<&str>) -> Value {
        self.stage.api.post(&self.stage.at("/bookings"), &Self::wish(start, resource)).await.ok()
    }

    /// Waits until Google knows of what has an event at all.
    async fn settled(&self) {
        eventually("nothing is owed", async || {
            (self.stage.raw.count("SELECT COUNT(*) FROM outbox").await == 0).then_some(())
        })
        .await;
    }

    async fn free(&self, start: DateTime<Utc>, more: &str) -> Value {
        let query = format!("start={}&service=Color{more}", url_time(start));
        self.stage.api.get(&self.stage.at(&format!("/availability?{query}"))).await.ok()
    }

    /// Whether a resource alone is free for the hour at `start`.
    async fn is_free(&self, resource: &str, start: DateTime<Utc>) -> bool {
        let query = format!("start={}&duration_min=60&resource={resource}", url_time(start));
        self.stage.api.get(&self.stage.at(&format!("/availability?{query}"))).await.ok()["available"] == true
    }

    async fn slots(&self, from: DateTime<Utc>, to: DateTime<Utc>, more: &str) -> Vec<Value> {
        let query = format!("from={}&to={}&service=Color{more}", url_time(from), url_time(to));
        let answer = self.stage.api.get(&self.stage.at(&format!("/slots?{query}"))).await.ok();
        answer["slots"].as_array().unwrap().clone()
    }

    async fn change(&self, booking: &Value, change: Value) -> Value {
        self.stage.api.patch(&self.stage.at(&format!("/bookings/{}", id(booking))), &change).await.ok()
    }

    /// What a booking takes, or took.
    async fn claims(&self, booking: &Value) -> Vec<String> {
        let known = self.stage.booking(&id(booking)).await;
        known["resources"].as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
    }
}

on_both_engines! {
    async fn one_of_each_group_is_taken_and_all_are_busy(db: Db) {
        let salon = Salon::open(db).await;
        let (stage, [one, two]) = (&salon.stage, &salon.basins);
        let ten = at(2, 10, 0);
        let free = salon.free(ten, "").await;
        assert_eq!((&free["available"], &free["resources"]), (&json!(true), &json!([salon.mia, one])), "{free}");
        let slots = salon.slots(ten, at(2, 11, 0), "").await;
        let told: Vec<_> = slots.iter().map(|slot| (slot["resource"].clone(), slot["resources"].clone())).collect();
        assert_eq!(told, [(json!(salon.mia), json!([salon.mia, one])), (json!(salon.ben), json!([salon.ben, one]))]);

        let first = salon.book(ten, None).await;
        assert_eq!((&first["resource"], &first["resources"]), (&json!(salon.mia), &json!([salon.mia, one])));
        assert!(!salon.is_free(&salon.mia, ten).await && !salon.is_free(one, ten).await);
        assert!(salon.is_free(&salon.ben, ten).await && salon.is_free(two, ten).await);
        // A basin is named, and the person is whoever can.
        let second = salon.book(ten, Some("Basin 2")).await;
        assert_eq!(second["resources"], json!([salon.ben, two]));

        let taken = stage.api.post(&stage.at("/bookings"), &Salon::wish(ten, None)).await;
        assert_eq!((taken.status, &taken.json()["reason"]), (409, &json!("busy")));
        let alternatives = taken.json()["alternatives"].as_array().unwrap().clone();
        assert_eq!((alternatives.len(), &alternatives[0]["start"]), (3, &json!(text(at(2, 11, 0)))));
        assert!(alternatives.iter().all(|slot| slot["resources"].as_array().unwrap().len() == 2), "{taken:?}");
        assert_eq!(salon.free(ten, "").await["available"], false);
        assert!(salon.slots(ten, at(2, 11, 0), "").await.is_empty());

        // One event, on the calendar of the one who leads; it makes nobody busy twice, and the basin not by itself.
        stage.synced(&first).await;
        assert_eq!(stage.google.of_booking(&id(&first)).await.len(), 1);
        assert!(second["event_id"].is_null(), "Ben has no calendar");
        stage.idle().await;
        assert_eq!(stage.busy(at(2, 0, 0), at(3, 0, 0)).await, [(ten, at(2, 11, 0))]);
        assert_eq!(stage.raw.count("SELECT COUNT(*) FROM busy_slot").await, 0);
        assert_eq!(stage.raw.count(ACTIVE).await, 4);

        stage.api.post(&stage.at(&format!("/bookings/{}/cancel", id(&first))), &json!({})).await.ok();
        assert!(salon.is_free(&salon.mia, ten).await && salon.is_free(one, ten).await, "all at once");
        assert_eq!(stage.raw.count(ACTIVE).await, 2);
        assert_eq!(salon.claims(&first).await, [salon.mia.clone(), one.clone()], "what it took is still told");
        salon.settled().await;
    }

    async fn a_single_booking_of_either_side_takes_the_combination(db: Db) {
        let salon = Salon::open(db).await;
        let stage = &salon.stage;
        let ten = at(2, 10, 0);
        for basin in ["Basin 1", "Basin 2"] {
            assert_eq!(salon.free(ten, "").await["available"], true);
            let mut wish = Salon::wish(ten + TimeDelta::minutes(30), Some(basin));
            (wish["service"], wish["duration_min"]) = (Value::Null, json!(15));
            stage.api.post(&stage.at("/bookings"), &wish).await.ok();
        }
        let no = salon.free(ten, "").await;
        assert_eq!((&no["available"], &no["reason"], &no["resources"]), (&json!(false), &json!("busy"), &json!([])));
        assert_eq!(no["alternatives"][0]["start"], text(at(2, 11, 0)));
        // Somebody who is named and taken: the same time with another one comes first.
        salon.book(at(3, 10, 0), Some("Mia")).await;
        let no = salon.free(at(3, 10, 0), "&resource=Mia").await;
        let other = &no["alternatives"][0];
        assert_eq!((&other["start"], &other["resource"]), (&json!(text(at(3, 10, 0))), &json!(salon.ben)), "{no}");
        salon.settled().await;
    }

    async fn a_hold_keeps_all_and_gives_all_back(db: Db) {
        let salon = Salon::open(db).await;
        let (stage, [one, two]) = (&salon.stage, &salon.basins);
        let ten = at(2, 10, 0);
        let wanted = |start: DateTime<Utc>, ttl: u32| {
            json!({ "start": text(start), "service": "Color", "call_id": "call-1", "ttl_s": ttl })
        };
        let held = stage.api.post(&stage.at("/holds"), &wanted(ten, 120)).await.ok();
        assert_eq!(held["resources"], json!([salon.mia, one]));
        assert!(!salon.is_free(&salon.mia, ten).await && !salon.is_free(one, ten).await);
        assert_eq!(salon.free(ten, "&call_id=call-1&resource=Mia").await["available"], true, "not to its own call");
        let again = stage.api.post(&stage.at("/holds"), &wanted(ten, 300)).await;
        assert_eq!((again.status, &again.json()["id"]), (200, &held["id"]), "it is extended");
        assert_eq!(again.json()["resources"], held["resources"]);

        // Swapped for another basin, and another time: the person stays.
        let path = stage.at(&format!("/holds/{}", id(&held)));
        let swapped = stage.api.patch(&path, &json!({ "resource": "Basin 2", "start": text(at(2, 12, 0)) })).await.ok();
        assert_eq!(swapped["resources"], json!([salon.mia, two]));
        assert!(salon.is_free(&salon.mia, ten).await && salon.is_free(one, ten).await);
        assert!(!salon.is_free(two, at(2, 12, 0)).await && salon.is_free(one, at(2, 12, 0)).await);

        // Something else of it is named than what is held.
        let mut body = json!({ "hold_id": id(&held), "customer": { "name": "Ada", "phone": "0151 12345678" } });
        body["resource"] = json!("Basin 1");
        let differs = stage.api.post(&stage.at("/bookings"), &body).await;
        assert_eq!(differs.problem(), (400, "invalid".to_owned(), "/resource".to_owned()));
        body["resource"] = json!("Basin 2");
        let booked = stage.api.post(&stage.at("/bookings"), &body).await.ok();
        assert_eq!((&booked["id"], &booked["resources"]), (&held["id"], &json!([salon.mia, two])));
        assert_eq!(stage.raw.count("SELECT COUNT(*) FROM claim WHERE active = 1 AND expires_at IS NULL").await, 2);

        // A call that books what it holds needs not name the hold; one that books over it gives all of it back.
        let with_ben = |start: DateTime<Utc>| {
            let mut wanted = wanted(start, 120);
            wanted["resource"] = json!("Ben");
            wanted
        };
        let near = stage.api.post(&stage.at("/holds"), &with_ben(at(3, 10, 0))).await.ok();
        let far = stage.api.post(&stage.at("/holds"), &with_ben(at(3, 12, 0))).await.ok();
        let mut wish = Salon::wish(at(3, 10, 0), None);
        wish["call_id"] = json!("call-1");
        assert_eq!(stage.api.post(&stage.at("/bookings"), &wish).await.ok()["id"], near["id"]);
        (wish["start"], wish["resource"]) = (json!(text(at(3, 11, 30))), json!("Ben"));
        let over = stage.api.post(&stage.at("/bookings"), &wish).await.ok();
        assert_ne!(over["id"], far["id"]);
        assert_eq!(stage.booking(&id(&far)).await["status"], "released");
        assert_eq!(stage.raw.count(ACTIVE).await, 6);

        stage.api.post(&stage.at("/holds"), &wanted(at(4, 10, 0), 120)).await.ok();
        assert_eq!(stage.api.delete(&stage.at("/holds?call_id=call-1")).await.status, 204);
        assert_eq!(stage.raw.count(ACTIVE).await, 6);
        salon.settled().await;
    }

    async fn a_hold_that_ran_out_frees_all_at_that_instant(db: Db) {
        let salon = Salon::open(db).await;
        let stage = &salon.stage;
        let ten = at(2, 10, 0);
        let wanted = json!({ "start": text(ten), "service": "Color", "call_id": "call-1", "ttl_s": 5, "resource": "Basin 2" });
        let held = stage.api.post(&stage.at("/holds"), &wanted).await.ok();
        let expires: DateTime<Utc> = held["expires_at"].as_str().unwrap().parse().unwrap();
        for resource in [&salon.mia, &salon.basins[1]] {
            eventually("it is free again", async || {
                let free = salon.is_free(resource, ten).await;
                assert!(!free || SystemClock.now() >= expires, "free before its end");
                free.then_some(())
            })
            .await;
        }
        // Booked after its end: the same are taken again, as a booking of its own.
        let body = json!({ "hold_id": id(&held), "customer": { "name": "Ada", "phone": "0151 12345678" } });
        let booked = stage.api.post(&stage.at("/bookings"), &body).await.ok();
        assert_ne!(booked["id"], held["id"]);
        assert_eq!(booked["resources"], held["resources"]);
        assert_eq!(stage.booking(&id(&held)).await["status"], "expired");
        assert_eq!(stage.raw.count(ACTIVE).await, 2);
        salon.settled().await;
    }

    async fn a_booking_that_moves_keeps_its_lead_and_takes_what_is_free_besides(db: Db) {
        let salon = Salon::open(db).await;
        let (stage, [one, two]) = (&salon.stage, &salon.basins);
        let booked = salon.book(at(2, 10, 0), None).await;
        assert_eq!(salon.claims(&booked).await, [salon.mia.clone(), one.clone()]);
        stage.synced(&booked).await;
        // At eleven basin 1 is taken, and Ben, who has less to do.
        let other = salon.book(at(2, 11, 0), Some("Basin 1")).await;
        assert_eq!(salon.claims(&other).await, [salon.ben.clone(), one.clone()]);
        let moved = salon.change(&booked, json!({ "start": text(at(2, 11, 0)) })).await;
        assert_eq!(moved["resources"], json!([salon.mia, two]));
        assert!(salon.is_free(&salon.mia, at(2, 10, 0)).await && salon.is_free(one, at(2, 10, 0)).await);
        // It has no reason to change the basin once more.
        let moved = salon.change(&booked, json!({ "start": text(at(2, 11, 30)) })).await;
        assert_eq!(moved["resources"], json!([salon.mia, two]));
        let moved = salon.change(&booked, json!({ "resource": "Basin 1", "start": text(at(2, 14, 0)) })).await;
        assert_eq!(moved["resources"], json!([salon.mia, one]), "a basin that is named changes, the lead stays");
        let moved = salon.change(&booked, json!({ "resource": "Ben" })).await;
        assert_eq!((&moved["resource"], &moved["resources"]), (&json!(salon.ben), &json!([salon.ben, one])));
        assert!(salon.is_free(&salon.mia, at(2, 14, 0)).await);
        eventually("the event has left Mia's calendar", async || {
            stage.google.of_booking(&id(&booked)).await.is_empty().then_some(())
        })
        .await;
        // Nobody but Mia leads it there, and she is busy: nothing changes.
        let mia = salon.book(at(2, 16, 0), Some("Mia")).await;
        let path = stage.at(&format!("/bookings/{}", id(&booked)));
        let refused = stage.api.patch(&path, &json!({ "start": text(at(2, 16, 0)), "resource": "Mia" })).await;
        assert_eq!((refused.status, &refused.json()["reason"]), (409, &json!("busy")));
        assert_eq!(salon.claims(&booked).await, [salon.ben.clone(), one.clone()]);
        // To a service that needs one, and back.
        let moved = salon.change(&booked, json!({ "service": "Haircut" })).await;
        assert_eq!(moved["resources"], json!([salon.ben]));
        let moved = salon.change(&booked, json!({ "service": "Color" })).await;
        assert_eq!((&moved["resource"], moved["resources"].as_array().unwrap().len()), (&json!(salon.ben), 2));
        assert_eq!(stage.raw.count(ACTIVE).await, 6);
        stage.synced(&mia).await;
        salon.settled().await;
    }

    async fn what_the_owner_does_to_the_event_goes_for_all(db: Db) {
        let salon = Salon::open(db).await;
        let (stage, [one, _]) = (&salon.stage, &salon.basins);
        let booked = salon.book(at(2, 10, 0), None).await;
        let event = stage.synced(&booked).await["event_id"].as_str().unwrap().to_owned();
        stage.google.patch(&event, &times(at(2, 14, 0), 90)).await;
        stage.booking_becomes(&id(&booked), "it moves", |booking| booking["start"] == text(at(2, 14, 0))).await;
        for resource in [&salon.mia, one] {
            assert!(salon.is_free(resource, at(2, 10, 0)).await, "{resource} is free where it was");
            assert!(!salon.is_free(resource, at(2, 15, 0)).await, "{resource} is busy for all of the new length");
        }
        assert_eq!(salon.claims(&booked).await, [salon.mia.clone(), one.clone()]);

        // Onto another booking of the basin alone: both stay, only the claim on the basin is forced.
        let other = salon.book(at(2, 17, 0), Some("Basin 1")).await;
        assert_eq!(salon.claims(&other).await, [salon.ben.clone(), one.clone()]);
        stage.google.patch(&event, &times(at(2, 17, 0), 60)).await;
        let moved = stage
            .booking_becomes(&id(&booked), "it moves again", |booking| booking["start"] == text(at(2, 17, 0)))
            .await;
        let last = moved["history"].as_array().unwrap().last().unwrap().clone();
        assert_eq!((&last["what"], &last["source"]), (&json!("conflict"), &json!("owner")));
        assert_eq!(stage.raw.count("SELECT COUNT(*) FROM claim WHERE active = 1 AND forced = 1").await, 1);
        assert!(salon.is_free(&salon.mia, at(2, 14, 0)).await && salon.is_free(one, at(2, 14, 0)).await);
        assert!(!salon.is_free(&salon.mia, at(2, 17, 0)).await && !salon.is_free(one, at(2, 17, 0)).await);

        stage.google.delete(&event).await;
        stage.booking_becomes(&id(&booked), "it goes", |booking| booking["status"] == "cancelled").await;
        assert!(salon.is_free(&salon.mia, at(2, 17, 0)).await, "the other booking is Ben's");
        assert!(!salon.is_free(one, at(2, 17, 0)).await);
        assert_eq!(stage.raw.count(ACTIVE).await, 2);
        salon.settled().await;
    }

    async fn hours_and_zone_of_each_are_kept(db: Db) {
        let salon = Salon::open(db).await;
        let stage = &salon.stage;
        let day = |opens: &str, closes: &str| {
            let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
            Value::Object(days.iter().map(|day| ((*day).to_owned(), json!([[opens, closes]]))).collect())
        };
        // By the clock of Kathmandu, ten to twelve in Berlin.
        let there = |hour| at(3, hour, 0).with_timezone(&Tz::Asia__Kathmandu).format("%H:%M").to_string();
        for (name, zone, hours) in [
            ("Theatre", "Europe/Berlin", day("09:30", "11:30")),
            ("Studio", "Asia/Kathmandu", day(&there(10), &there(12))),
        ] {
            let room = json!({ "name": name, "time_zone": zone, "hours": hours });
            stage.api.post(&stage.at("/resources"), &room).await.ok();
        }
        let class = json!({
            "name": "Class", "duration_min": 60, "slot_step_min": 30, "needs": [["Ben", "Mia"], ["Theatre"], ["Studio"]],
        });
        stage.api.post(&stage.at("/services"), &class).await.ok();
        let query = format!("from={}&to={}&service=Class&resource=Ben", url_time(at(3, 0, 0)), url_time(at(4, 0, 0)));
        let slots = stage.api.get(&stage.at(&format!("/slots?{query}"))).await.ok();
        let starts: Vec<&str> = slots["slots"].as_array().unwrap().iter().map(|slot| slot["start"].as_str().unwrap()).collect();
        // On the grid of the one who leads, within what all are open.
        assert_eq!(starts, [text(at(3, 10, 0)), text(at(3, 10, 30))]);
        for (hour, minute) in [(9, 0), (9, 30), (11, 0)] {
            let query = format!("start={}&service=Class", url_time(at(3, hour, minute)));
            let closed = stage.api.get(&stage.at(&format!("/availability?{query}"))).await.ok();
            assert_eq!((&closed["available"], &closed["reason"]), (&json!(false), &json!("closed")));
        }
        let customer = json!({ "name": "Ada", "phone": "0151 12345678" });
        let body = |start: DateTime<Utc>| json!({ "start": text(start), "service": "Class", "customer": customer });
        assert_eq!(stage.api.post(&stage.at("/bookings"), &body(at(3, 11, 0))).await.json()["reason"], "closed");
        let booked = stage.api.post(&stage.at("/bookings"), &body(at(3, 10, 30))).await.ok();
        assert_eq!(booked["resources"].as_array().unwrap().len(), 3);
        salon.settled().await;
    }

    async fn the_owner_is_told_which_of_them_is_in_the_way(db: Db) {
        let salon = Salon::open(db).await;
        let stage = &salon.stage;
        for basin in ["Basin 1", "Basin 2"] {
            let mut wish = Salon::wish(at(2, 10, 0), Some(basin));
            (wish["service"], wish["duration_min"]) = (Value::Null, json!(15));
            stage.api.post(&stage.at("/bookings"), &wish).await.ok();
        }
        let path = format!("/availability/explain?at={}&service=Color", url_time(at(2, 10, 0)));
        let explained = stage.api.get(&stage.at(&path)).await.ok();
        assert_eq!(explained["start"], json!({ "available": false, "reason": "busy" }));
        let resources = explained["resources"].as_array().unwrap();
        let told: Vec<_> = resources.iter().map(|one| (one["group"].clone(), one["start"]["available"].clone())).collect();
        let (yes, no) = (json!(true), json!(false));
        assert_eq!(told, [(json!(0), yes.clone()), (json!(0), yes), (json!(1), no.clone()), (json!(1), no)]);
        let causes = resources[2]["causes"].as_array().unwrap();
        assert!(causes.iter().any(|cause| cause["type"] == "booking" && cause["blocks"] == true), "{explained:#}");
        let path = format!("/availability/explain?at={}&service=Color&resource=Basin%201", url_time(at(2, 12, 0)));
        let explained = stage.api.get(&stage.at(&path)).await.ok();
        assert_eq!(explained["start"], json!({ "available": true }));
        assert_eq!(explained["resources"].as_array().unwrap().len(), 3, "the other basin is no matter");
    }

    async fn what_is_wrong_with_what_a_service_needs_is_named_and_nothing_is_kept(db: Db) {
        let salon = Salon::open(db).await;
        let stage = &salon.stage;
        let rows = "SELECT (SELECT COUNT(*) FROM service) + (SELECT COUNT(*) FROM service_need)
            + (SELECT COUNT(*) FROM service_resource) + (SELECT COUNT(*) FROM booking) + (SELECT COUNT(*) FROM claim)";
        let before = stage.raw.count(rows).await;
        let known = stage.api.get(&stage.at("/services")).await.ok();
        let color = known["services"].as_array().unwrap().iter().find(|one| one["name"] == "Color").unwrap().clone();
        assert_eq!(color["needs"], json!([[salon.mia, salon.ben], salon.basins]));
        assert_eq!(color["resources"], json!([]));
        let put = stage.at(&format!("/services/{}", id(&color)));
        let many: Vec<String> = (0..21).map(|_| "Mia".to_owned()).collect();
        for (needs, field) in [
            (json!([["Mia"], ["Nobody"]]), "/needs/1/0"),
            (json!([["Mia", "01890000-0000-7000-8000-000000000000"], ["Ben"]]), "/needs/0/1"),
            (json!([["Mia"], ["Ben", "mia"]]), "/needs/1/1"),
            (json!([["Mia"], []]), "/needs/1"),
            (json!([[], ["Mia"]]), "/needs/0"),
            (json!([["Mia"]]), "/needs"),
            (json!([["Mia"], ["Ben"], ["Basin 1"], ["Basin 2"], ["Mia"], ["Ben"]]), "/needs"),
            (json!([["Ben"], many]), "/needs/1"),
            (json!(["Mia", "Ben"]), "/needs/0"),
            (json!("Mia"), "/needs"),
            (json!([[7], ["Ben"]]), "/needs/0/0"),
        ] {
            let body = json!({ "name": "Perm", "duration_min": 30, "needs": needs });
            for answer in [stage.api.post(&stage.at("/services"), &body).await, put_json(stage, &put, &body).await] {
                let named = answer.problem();
                assert_eq!(named, (400, "invalid".to_owned(), field.to_owned()), "{body}: {}", answer.json());
            }
        }
        let both = json!({ "name": "Perm", "duration_min": 30, "resources": ["Mia"], "needs": [["Mia"], ["Ben"]] });
        assert_eq!(stage.api.post(&stage.at("/services"), &both).await.problem().2, "/resources");

        // Somebody whom the service does not need.
        stage.api.post(&stage.at("/resources"), &json!({ "name": "Chair" })).await.ok();
        let wrong = stage.api.post(&stage.at("/bookings"), &Salon::wish(at(2, 10, 0), Some("Chair"))).await;
        assert_eq!(wrong.problem(), (400, "invalid".to_owned(), "/resource".to_owned()));
        let hold = json!({ "start": text(at(2, 10, 0)), "service": "Color", "call_id": "c", "resource": "Chair" });
        assert_eq!(stage.api.post(&stage.at("/holds"), &hold).await.problem().2, "/resource");
        for path in [
            format!("/availability?start={}&service=Color&resource=Chair", url_time(at(2, 10, 0))),
            format!("/slots?from={}&to={}&service=Color&resource=Chair", url_time(at(2, 10, 0)), url_time(at(3, 10, 0))),
            format!("/availability/explain?at={}&service=Color&resource=Chair", url_time(at(2, 10, 0))),
        ] {
            assert_eq!(stage.api.get(&stage.at(&path)).await.problem().2, "resource", "{path}");
        }
        assert_eq!(stage.raw.count(rows).await, before);
        assert_eq!(stage.api.get(&stage.at("/services")).await.ok(), known);

        // What it needs can be replaced; what is booked stays as it is.
        let booked = salon.book(at(2, 10, 0), None).await;
        let body = json!({ "name": "Color", "duration_min": 60, "needs": [["Basin 1"], ["Chair"], ["Mia", "mia"]] });
        let changed = put_json(stage, &put, &body).await.ok();
        assert_eq!(changed["needs"].as_array().unwrap().len(), 3);
        assert_eq!(changed["needs"][2], json!([salon.mia]));
        assert_eq!(salon.claims(&booked).await.len(), 2);
        let led = salon.book(at(3, 10, 0), None).await;
        assert_eq!(led["resource"], json!(salon.basins[0]), "the first group leads");
        let one = put_json(stage, &put, &json!({ "name": "Color", "duration_min": 60 })).await.ok();
        assert_eq!(one["needs"], json!([]));
        assert_eq!(salon.book(at(4, 10, 0), None).await["resources"].as_array().unwrap().len(), 1);
        salon.settled().await;
    }
}

async fn put_json(stage: &Stage, path: &str, body: &Value) -> crate::stage::Answer {
    stage.api.json(hyper::Method::PUT, path, &[], body).await
}
