//! A caller finds their own bookings, and nobody else's.

use hyper::Method;
use serde_json::{Value, json};
use slotd::{auth::NewKey, booking::TRIES_ABOUT_ONE, store::api_keys::Scope};
use tokio::task::JoinSet;

use crate::{
    harness::{Db, on_both_engines},
    stage::{Answer, Client, Stage, at, id, text, wish},
};

/// A number that no booking has.
const NOBODY: &str = "0151 99999999";
const ADA: &str = "0151 12345678";

async fn receptionist(stage: &Stage) -> Client {
    let new = NewKey {
        business: Some(stage.business.parse().unwrap()),
        scope: Scope::Receptionist,
        label: "test".to_owned(),
        expires_at: None,
    };
    let (_, key) = stage.node().daemon.keys.create(new).await.unwrap();
    stage.api.with_bearer(key.reveal())
}

async fn search(client: &Client, stage: &Stage, body: &Value) -> Answer {
    client.post(&stage.at("/bookings/search"), body).await
}

async fn metrics(stage: &Stage) -> String {
    let page = format!("http://{}/metrics", stage.node().daemon.metrics);
    String::from_utf8(stage.api.get(&page).await.bytes.to_vec()).unwrap()
}

fn ids(answer: &Answer) -> Vec<String> {
    answer.ok()["bookings"].as_array().unwrap().iter().map(id).collect()
}

on_both_engines! {
    async fn a_caller_is_found_by_number_and_a_second_fact(db: Db) {
        let stage = Stage::open(db).await;
        let first = id(&stage.book(at(2, 10, 0)).await);
        let mut wanted = wish(at(3, 10, 0));
        wanted["reference"] = json!("R-7");
        wanted["call_id"] = json!("call-7");
        wanted["notes"] = json!("Left side");
        wanted["customer"]["email"] = json!("ada@example.com");
        let second = id(&stage.api.post(&stage.at("/bookings"), &wanted).await.ok());
        let mut other = wish(at(3, 12, 0));
        other["customer"]["name"] = json!("Charles Babbage");
        stage.api.post(&stage.at("/bookings"), &other).await.ok();
        let desk = receptionist(&stage).await;

        for (body, found) in [
            (json!({ "phone": "+49 151 12345678", "last_name": "LÖVELACE" }), &[&first, &second][..]),
            (json!({ "phone": "+49 151 12345678", "last_name": "Byron" }), &[]),
            (json!({ "phone": ADA, "last_name": " Ada Lovelace " }), &[&first, &second]),
            (json!({ "phone": ADA, "last_name": "Ada" }), &[]),
            (json!({ "phone": ADA, "start": text(at(3, 10, 15)) }), &[&second]),
            (json!({ "phone": ADA, "start": text(at(3, 10, 16)) }), &[]),
            (json!({ "phone": ADA, "start": text(at(2, 9, 45)), "last_name": "Lovelace" }), &[&first]),
            (json!({ "phone": ADA, "start": text(at(2, 10, 0)), "last_name": "Babbage" }), &[]),
            (json!({ "reference": "R-7", "last_name": "Lovelace" }), &[&second]),
            (json!({ "reference": "R-8", "last_name": "Lovelace" }), &[]),
            (json!({ "call_id": "call-7" }), &[&second]),
            (json!({ "call_id": "call-8" }), &[]),
        ] {
            let answer = search(&desk, &stage, &body).await;
            assert_eq!(ids(&answer).iter().collect::<Vec<_>>(), found, "{body}");
        }

        // What a receptionist needs, and nothing that tells about a person.
        let told = search(&desk, &stage, &json!({ "reference": "R-7", "last_name": "Lovelace" })).await.ok();
        let mut fields: Vec<&String> = told["bookings"][0].as_object().unwrap().keys().collect();
        fields.sort();
        assert_eq!(fields, ["end", "id", "resource", "resources", "service", "spoken", "start", "status"]);
        let owner = search(&stage.api, &stage, &json!({ "reference": "R-7", "last_name": "Lovelace" })).await.ok();
        assert_eq!(owner["bookings"][0]["customer"]["phone"], "+4915112345678");

        // What was called off is no longer the caller's business, and is the owner's.
        stage.api.post(&stage.at(&format!("/bookings/{second}/cancel")), &json!({})).await.ok();
        let by_name = json!({ "phone": ADA, "last_name": "Lovelace" });
        assert_eq!(ids(&search(&desk, &stage, &by_name).await), std::slice::from_ref(&first));
        assert_eq!(ids(&search(&stage.api, &stage, &by_name).await), [first, second.clone()]);
        let listed = stage.api.get(&stage.at("/bookings?reference=R-7")).await.ok();
        assert_eq!((listed["bookings"].as_array().unwrap().len(), &listed["bookings"][0]["id"]), (1, &json!(second)));
        assert_eq!(stage.api.get(&stage.at("/bookings?reference=R-8")).await.ok()["bookings"], json!([]));
    }

    async fn an_unknown_number_and_a_wrong_fact_are_answered_alike_until_both_are_closed(db: Db) {
        let mut stage = Stage::open(db).await;
        stage.book(at(2, 10, 0)).await;
        let desk = receptionist(&stage).await;
        for attempt in 0..TRIES_ABOUT_ONE {
            let wrong = search(&desk, &stage, &json!({ "phone": ADA, "last_name": "Babbage" })).await;
            let unknown = search(&desk, &stage, &json!({ "phone": NOBODY, "last_name": "Babbage" })).await;
            assert_eq!((wrong.status, unknown.status), (200, 200), "{attempt}");
            assert_eq!((&wrong.bytes[..], &unknown.bytes[..]), (&b"{\"bookings\":[]}"[..], &wrong.bytes[..]));
        }
        let tries = "SELECT COUNT(*) FROM search_try WHERE subject LIKE '%15112345678%' OR subject LIKE '%Babbage%'";
        assert_eq!(stage.raw.count(tries).await, 0, "nothing tells who was sought");
        // Also with the right fact, also on another node.
        let right = json!({ "phone": ADA, "last_name": "Lovelace" });
        let elsewhere = stage.add_node().await;
        for (client, body) in [
            (&desk, &right),
            (&elsewhere, &right),
            (&desk, &json!({ "phone": NOBODY, "last_name": "Lovelace" })),
        ] {
            let closed = search(client, &stage, body).await;
            assert_eq!(closed.problem().0, 429);
            assert_eq!((closed.problem().1.as_str(), &closed.json()["reason"]), ("too-many-requests", &json!("tries")));
            let wait: i64 = closed.header("retry-after").parse().unwrap();
            assert!((3_500..=3_601).contains(&wait), "{wait}");
        }
        // A reference leads to the same booking, and has tries of its own; a call id is the receptionist's.
        assert_eq!(search(&desk, &stage, &json!({ "reference": "R-1", "last_name": "Lovelace" })).await.status, 200);
        assert_eq!(search(&desk, &stage, &json!({ "call_id": "call-1" })).await.status, 200);

        // An hour later.
        stage.raw.execute("UPDATE search_try SET since = since - 3600000000").await.unwrap();
        assert_eq!(ids(&search(&desk, &stage, &right).await).len(), 1);
        let about = "SELECT COUNT(*) FROM search_try WHERE subject LIKE 'about %' AND tries > 0";
        let before = stage.raw.count(about).await;
        search(&desk, &stage, &json!({ "phone": ADA, "last_name": "Babbage" })).await.ok();
        assert_eq!(stage.raw.count(about).await, before + 1);
        search(&desk, &stage, &right).await.ok();
        assert_eq!(stage.raw.count(about).await, before, "a search that found something forgives those before it");
    }

    async fn wrong_tries_are_limited_for_a_key_and_in_all(db: Db) {
        let stage = Stage::open(db).await;
        stage.book(at(2, 10, 0)).await;
        let (one, other) = (receptionist(&stage).await, receptionist(&stage).await);
        let wrong = json!({ "phone": NOBODY, "last_name": "Babbage" });
        let right = json!({ "phone": ADA, "last_name": "Lovelace" });
        search(&one, &stage, &wrong).await.ok();
        assert_eq!(stage.raw.execute("UPDATE search_try SET tries = 50 WHERE subject LIKE 'key %'").await.unwrap(), 1);
        assert_eq!(search(&one, &stage, &right).await.status, 429);
        assert_eq!(search(&other, &stage, &right).await.status, 200);
        assert_eq!(stage.raw.execute("UPDATE search_try SET tries = 100 WHERE subject = 'all'").await.unwrap(), 1);
        assert_eq!(search(&other, &stage, &right).await.status, 429);
        let metrics = metrics(&stage).await;
        assert!(metrics.contains("slotd_booking_searches_total{outcome=\"limited\"} 2"), "{metrics}");
    }

    async fn tries_at_once_are_counted_one_by_one(db: Db) {
        let stage = Stage::open(db).await;
        stage.book(at(2, 10, 0)).await;
        let mut requests = JoinSet::new();
        for _ in 0..20 {
            let (api, path) = (stage.api.clone(), stage.at("/bookings/search"));
            let body = json!({ "phone": ADA, "last_name": "Babbage" });
            requests.spawn(async move { api.json(Method::POST, &path, &[], &body).await.status });
        }
        let answers = requests.join_all().await;
        let open = answers.iter().filter(|status| **status == 200).count();
        assert_eq!(open, usize::try_from(TRIES_ABOUT_ONE).unwrap(), "{answers:?}");
        assert_eq!(answers.iter().filter(|status| **status == 429).count(), 20 - open, "{answers:?}");
    }
}
