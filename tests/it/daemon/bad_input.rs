//! What cannot be used is refused with the field named; nothing is stored, and it is no fault of ours.

use chrono::TimeDelta;
use hyper::Method;
use serde_json::{Value, json};
use slotd::{
    auth::NewKey,
    domain::{Clock, clock::SystemClock},
    store::{Lane, api_keys::Scope},
};

use crate::{
    harness::{Db, on_both_engines},
    stage::{Stage, at, id, text, url_time, wish},
};

/// Rows that a request may leave behind.
const ROWS: &str =
    "SELECT (SELECT COUNT(*) FROM business) + (SELECT COUNT(*) FROM resource) + (SELECT COUNT(*) FROM service)
    + (SELECT COUNT(*) FROM booking) + (SELECT COUNT(*) FROM claim) + (SELECT COUNT(*) FROM booking_history)
    + (SELECT COUNT(*) FROM booking_event) + (SELECT COUNT(*) FROM outbox) + (SELECT COUNT(*) FROM idempotency)
    + (SELECT COUNT(*) FROM event_guest) + (SELECT COUNT(*) FROM search_try)
    + (SELECT COUNT(*) FROM call) + (SELECT COUNT(*) FROM calendar) + (SELECT COUNT(*) FROM oauth_state)";

/// A booking's body with one field changed.
fn with(pointer: &str, value: Value) -> Value {
    let mut body = wish(at(2, 10, 0));
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap()[field] = value;
    body
}

fn without(field: &str) -> Value {
    let mut body = wish(at(2, 10, 0));
    body.as_object_mut().unwrap().remove(field);
    body
}

on_both_engines! {
    async fn each_wrong_parameter_is_named(db: Db) {
        let stage = Stage::open(db).await;
        let rows = stage.raw.count(ROWS).await;
        let (ten, nine) = (url_time(at(2, 10, 0)), url_time(at(2, 9, 0)));
        let far = |days: i64| url_time(at(2, 10, 0) + TimeDelta::days(days));
        let questions = [
            ("availability?start=2027-01-11T10:00:00&duration_min=30".to_owned(), "start"),
            ("availability?start=2027-01-11&duration_min=30".to_owned(), "start"),
            ("availability?start=tomorrow&duration_min=30".to_owned(), "start"),
            ("availability?duration_min=30".to_owned(), "start"),
            (format!("availability?start={ten}"), "end"),
            (format!("availability?start={ten}&end={nine}"), "end"),
            (format!("availability?start={ten}&end={ten}"), "end"),
            (format!("availability?start={ten}&end={}", far(2)), "end"),
            (format!("availability?start={ten}&duration_min=0"), "duration_min"),
            (format!("availability?start={ten}&duration_min=-30"), "duration_min"),
            (format!("availability?start={ten}&duration_min=99999999999999"), "duration_min"),
            (format!("availability?start={ten}&duration_min=half"), "duration_min"),
            (format!("availability?start={ten}&service=Massage"), "service"),
            (format!("availability?start={ten}&duration_min=30&resource=Nobody"), "resource"),
            (format!("availability?start={ten}&duration_min=30&call_id=%00"), "call_id"),
            (format!("availability?start={ten}&duration_min=30&max_staleness_s=99999999999"), "max_staleness_s"),
            (format!("availability?start={ten}&duration_min=30&max_staleness_s=-1"), "max_staleness_s"),
            (format!("availability?start={ten}&duration_min=30&max_staleness_s=soon"), "max_staleness_s"),
            (format!("slots?from={ten}&to={}&duration_min=30&max_staleness_s=99999999", far(1)), "max_staleness_s"),
            (format!("slots?from={ten}&to={}&duration_min=30&max_staleness_s=1.5", far(1)), "max_staleness_s"),
            (format!("busy?from={ten}&to={}&max_staleness_s=99999999", far(1)), "max_staleness_s"),
            (format!("busy?from={ten}&to={}&max_staleness_s=", far(1)), "max_staleness_s"),
            (format!("availability?start={ten}&duration_min=30&durationmin=30"), "durationmin"),
            (format!("slots?from={ten}&to={nine}&duration_min=30"), "to"),
            (format!("slots?from={ten}&to={}&duration_min=30", far(63)), "to"),
            (format!("slots?from={ten}&to={}", far(1)), "service"),
            (format!("slots?from={ten}&to={}&duration_min=30&limit=0", far(1)), "limit"),
            (format!("slots?from={ten}&to={}&duration_min=30&limit=100000", far(1)), "limit"),
            (format!("busy?from={ten}&to={}", far(367)), "to"),
            (format!("busy?from={ten}&to={nine}"), "to"),
            (format!("busy?from={ten}&to={}&resource=Nobody", far(1)), "resource"),
            ("bookings?status=open".to_owned(), "status"),
            ("bookings?limit=0".to_owned(), "limit"),
            ("bookings?cursor=7".to_owned(), "cursor"),
            ("bookings?call_id=%00".to_owned(), "call_id"),
            ("bookings?from=2027-01-11T10:00:00".to_owned(), "from"),
            ("bookings?to=tomorrow".to_owned(), "to"),
            (format!("bookings?from={ten}&to={nine}"), "to"),
            (format!("bookings?reference={}", "x".repeat(300)), "reference"),
            ("bookings?reference=%20".to_owned(), "reference"),
            ("bookings?reference=a%00b".to_owned(), "reference"),
            ("bookings?phone=015112345678".to_owned(), "phone"),
            ("bookings?limit=many".to_owned(), "limit"),
            ("bookings?limit=201".to_owned(), "limit"),
        ];
        for (question, field) in questions {
            let answer = stage.api.get(&stage.at(&format!("/{question}"))).await;
            assert_eq!(answer.problem(), (400, "invalid".to_owned(), field.to_owned()), "{question}: {}", answer.json());
        }
        assert_eq!(stage.raw.count(ROWS).await, rows);
    }

    async fn each_wrong_field_is_pointed_to(db: Db) {
        let stage = Stage::open(db).await;
        let booked = stage.book_and_write(at(4, 10, 0)).await;
        let rows = stage.raw.count(ROWS).await;
        let bookings = [
            (with("/start", json!("2027-01-11T10:00:00")), "/start"),
            (with("/start", json!(7)), "/start"),
            (without("start"), "/start"),
            (without("service"), "/service"),
            (without("customer"), "/customer"),
            (with("/service", json!("Massage")), "/service"),
            (with("/resource", json!("Nobody")), "/resource"),
            (with("/duration_min", json!(30)), "/duration_min"),
            (with("/call_id", json!("")), "/call_id"),
            (with("/customer/name", json!("  ")), "/customer/name"),
            (with("/customer/phone", json!("call me")), "/customer/phone"),
            (with("/customer/phone", json!("+49 12")), "/customer/phone"),
            (with("/customer/name", json!("x".repeat(201))), "/customer/name"),
            (with("/customer/name", json!("Ada\nLovelace")), "/customer/name"),
            (with("/customer/name", json!("Ada\u{7}")), "/customer/name"),
            (with("/customer/name", json!("Ada\u{202e}")), "/customer/name"),
            (with("/customer/name", json!(7)), "/customer/name"),
            (with("/customer/name", Value::Null), "/customer/name"),
            (with("/customer/phone", json!("")), "/customer/phone"),
            (with("/customer/phone", json!(15_112_345_678_i64)), "/customer/phone"),
            (with("/customer/phone", json!("1".repeat(1_000))), "/customer/phone"),
            (with("/customer", json!("Ada")), "/customer"),
            (with("/customer/email", json!("ada@localhost")), "/customer/email"),
            (with("/customer/email", json!("Ada <ada@example.com>")), "/customer/email"),
            (with("/customer/email", json!(format!("{}@example.com", "x".repeat(300)))), "/customer/email"),
            (with("/customer/email", json!("ada@example.com\nBcc: x@example.com")), "/customer/email"),
            (with("/customer/language", json!("german")), "/customer/language"),
            (with("/customer/language", json!(["de"])), "/customer/language"),
            (with("/notes", json!("a\u{2066}b")), "/notes"),
            (with("/notes", json!({ "text": "x" })), "/notes"),
            (with("/reference", json!("a\u{0}b")), "/reference"),
            (with("/call_id", json!("x".repeat(300))), "/call_id"),
            (with("/call_id", json!("a\u{0}b")), "/call_id"),
            (with("/hold_id", json!("7")), "/hold_id"),
            (with("/service", json!(7)), "/service"),
            (with("/resource", json!([])), "/resource"),
            (with("/customer/email", json!("not an address")), "/customer/email"),
            (with("/customer/mail", json!("a@example.com")), "/customer/mail"),
            (with("/notes", json!("x".repeat(3_000))), "/notes"),
            (with("/notes", json!("a\u{0}b")), "/notes"),
            (with("/reference", json!("x".repeat(300))), "/reference"),
            (with("/colour", json!("red")), "/colour"),
        ];
        for (body, field) in bookings {
            let answer = stage.api.post(&stage.at("/bookings"), &body).await;
            assert_eq!(answer.problem(), (400, "invalid".to_owned(), field.to_owned()), "{body}: {}", answer.json());
        }
        let (key, path, body) = ("k".repeat(300), stage.at("/bookings"), wish(at(2, 10, 0)));
        let long = stage.api.json(Method::POST, &path, &[("idempotency-key", &key)], &body).await;
        assert_eq!(long.problem(), (400, "invalid".to_owned(), "Idempotency-Key".to_owned()));

        let path = stage.at(&format!("/bookings/{}", id(&booked)));
        for (change, field) in [
            (json!({ "start": "2027-01-11T10:00:00" }), "/start"),
            (json!({ "customer": { "phone": "0" } }), "/customer/phone"),
            (json!({ "resource": "Nobody" }), "/resource"),
            (json!({ "service": "Massage" }), "/service"),
            (json!({ "duration_min": 0 }), "/duration_min"),
            (json!({ "duration_min": 30, "service": "Haircut" }), "/duration_min"),
            (json!({ "customer": { "name": "" } }), "/customer/name"),
            (json!({ "customer": { "email": "ada" } }), "/customer/email"),
            (json!({ "customer": { "language": "d" } }), "/customer/language"),
            (json!({ "customer": { "mail": "ada" } }), "/customer/mail"),
            (json!({ "notes": "x".repeat(3_000) }), "/notes"),
            (json!({ "reference": "x".repeat(300) }), "/reference"),
            (json!({ "call_id": "call-2" }), "/call_id"),
            (json!({ "status": "cancelled" }), "/status"),
        ] {
            assert_eq!(stage.api.patch(&path, &change).await.problem().2, field, "{change}");
        }
        assert_eq!(stage.raw.count(ROWS).await, rows);
        assert_eq!(stage.booking(&id(&booked)).await["history"].as_array().unwrap().len(), 1);
    }

    async fn each_wrong_field_of_a_hold_or_a_search_is_pointed_to(db: Db) {
        let stage = Stage::open(db).await;
        let slot = json!({ "start": text(at(5, 10, 0)), "service": "Haircut", "call_id": "c" });
        let held = stage.api.post(&stage.at("/holds"), &slot).await.ok();
        let rows = stage.raw.count(ROWS).await;
        let with_field = |field: &str, value: Value| {
            let mut body = json!({ "start": text(at(5, 12, 0)), "service": "Haircut", "call_id": "c" });
            body[field] = value;
            body
        };
        for (body, field) in [
            (with_field("start", json!("soon")), "/start"),
            (with_field("start", Value::Null), "/start"),
            (with_field("service", json!("Massage")), "/service"),
            (with_field("service", Value::Null), "/service"),
            (with_field("duration_min", json!(30)), "/duration_min"),
            (with_field("resource", json!("Nobody")), "/resource"),
            (with_field("call_id", json!("")), "/call_id"),
            (with_field("call_id", Value::Null), "/call_id"),
            (with_field("ttl_s", json!(4)), "/ttl_s"),
            (with_field("ttl_s", json!(901)), "/ttl_s"),
            (with_field("ttl_s", json!(-1)), "/ttl_s"),
            (with_field("ttl_s", json!("long")), "/ttl_s"),
            (with_field("customer", json!({})), "/customer"),
        ] {
            let answer = stage.api.post(&stage.at("/holds"), &body).await;
            assert_eq!(answer.problem(), (400, "invalid".to_owned(), field.to_owned()), "{body}: {}", answer.json());
        }
        let path = stage.at(&format!("/holds/{}", id(&held)));
        for (change, field) in [
            (json!({}), "/ttl_s"),
            (json!({ "ttl_s": 0 }), "/ttl_s"),
            (json!({ "start": "soon" }), "/start"),
            (json!({ "service": "Massage" }), "/service"),
            (json!({ "duration_min": -1 }), "/duration_min"),
            (json!({ "resource": "Nobody" }), "/resource"),
            (json!({ "call_id": "d" }), "/call_id"),
        ] {
            assert_eq!(stage.api.patch(&path, &change).await.problem().2, field, "{change}");
        }
        assert_eq!(stage.api.delete(&stage.at("/holds?call_id=%00")).await.problem().2, "call_id");
        assert_eq!(stage.api.delete(&stage.at("/holds")).await.problem().2, "call_id");
        for (body, field) in [
            (json!({}), "/phone"),
            (json!({ "phone": "0151 12345678" }), "/last_name"),
            (json!({ "reference": "R-1" }), "/last_name"),
            (json!({ "phone": "call me", "last_name": "Lovelace" }), "/phone"),
            (json!({ "phone": 7, "last_name": "Lovelace" }), "/phone"),
            (json!({ "phone": "0151 12345678", "reference": "R-1", "last_name": "Lovelace" }), "/reference"),
            (json!({ "phone": "0151 12345678", "call_id": "c", "last_name": "Lovelace" }), "/call_id"),
            (json!({ "reference": "", "last_name": "Lovelace" }), "/reference"),
            (json!({ "reference": "x".repeat(129), "last_name": "Lovelace" }), "/reference"),
            (json!({ "call_id": "" }), "/call_id"),
            (json!({ "phone": "0151 12345678", "last_name": " " }), "/last_name"),
            (json!({ "phone": "0151 12345678", "last_name": "-" }), "/last_name"),
            (json!({ "phone": "0151 12345678", "last_name": "x".repeat(201) }), "/last_name"),
            (json!({ "phone": "0151 12345678", "last_name": "a\u{0}" }), "/last_name"),
            (json!({ "phone": "0151 12345678", "start": "2027-01-11T10:00:00" }), "/start"),
            (json!({ "phone": "0151 12345678", "name": "Lovelace" }), "/name"),
            (json!({ "phone": "0151 12345678", "code": "123456" }), "/code"),
        ] {
            let answer = stage.api.post(&stage.at("/bookings/search"), &body).await;
            assert_eq!(answer.problem(), (400, "invalid".to_owned(), field.to_owned()), "{body}: {}", answer.json());
        }
        assert_eq!(stage.raw.count(ROWS).await, rows);
    }

    async fn each_wrong_field_of_a_business_is_pointed_to(db: Db) {
        let stage = Stage::open(db).await;
        let rows = stage.raw.count(ROWS).await;
        for (change, field) in [
            (json!({ "event_title": "" }), "/event_title"),
            (json!({ "event_title": "{name}\n{phone}" }), "/event_title"),
            (json!({ "event_title": "x".repeat(301) }), "/event_title"),
            (json!({ "event_title": "{customer}" }), "/event_title"),
            (json!({ "event_description": "x".repeat(2_001) }), "/event_description"),
            (json!({ "event_description": "a\u{0}" }), "/event_description"),
            (json!({ "invite_customers": "yes" }), "/invite_customers"),
        ] {
            let answer = stage.api.patch(&stage.at(""), &change).await;
            assert_eq!(answer.problem(), (400, "invalid".to_owned(), field.to_owned()), "{change}: {}", answer.json());
        }
        for (path, body, field) in [
            ("/businesses", json!({ "name": "X", "time_zone": "Berlin" }), "/time_zone"),
            ("/businesses", json!({ "name": "X", "time_zone": "Europe/Berlin", "region": "Germany" }), "/region"),
            ("/businesses", json!({ "name": "X", "time_zone": "Europe/Berlin", "event_title": "{price}" }), "/event_title"),
            ("/businesses", json!({ "name": " ", "time_zone": "Europe/Berlin" }), "/name"),
            ("/businesses", json!({ "name": "X", "time_zone": "UTC", "freshness": { "stale": "ask" } }), "/freshness/stale"),
            ("/businesses", json!({ "name": "X", "time_zone": "UTC", "freshness": { "unknown": "verify" } }), "/freshness/unknown"),
            ("/businesses", json!({ "name": "X", "time_zone": "UTC", "freshness": { "old": "answer" } }), "/freshness/old"),
            ("/businesses", json!({ "name": "X", "time_zone": "UTC", "freshness": "answer" }), "/freshness"),
            (&stage.at("/resources"), json!({ "name": "Chair", "time_zone": "CEST!" }), "/time_zone"),
            (&stage.at("/resources"), json!({ "name": "Chair", "capacity": 0 }), "/capacity"),
            (&stage.at("/services"), json!({ "name": "Cut", "duration_min": 0 }), "/duration_min"),
            (&stage.at("/services"), json!({ "name": "Cut", "duration_min": 5, "resources": ["Nobody"] }), "/resources/0"),
            (&stage.at("/calendars"), json!({ "google_id": "unknown", "resource": "Mia" }), "/google_id"),
        ] {
            let answer = stage.api.post(path, &body).await;
            assert_eq!(answer.problem(), (400, "invalid".to_owned(), field.to_owned()), "{body}: {}", answer.json());
        }
        let title = stage.api.patch(&stage.at(""), &json!({ "event_description": "{customer}" })).await;
        assert_eq!(title.problem(), (400, "invalid".to_owned(), "/event_description".to_owned()));
        for (policy, field) in [(json!({ "stale": 7 }), "/freshness/stale"), (json!({ "unknown": "verify" }), "/freshness/unknown")] {
            let refused = stage.api.patch(&stage.at(""), &json!({ "freshness": policy })).await;
            assert_eq!(refused.problem(), (400, "invalid".to_owned(), field.to_owned()), "{}", refused.json());
        }
        let kept = stage.api.get(&stage.at("")).await.ok();
        assert_eq!(kept["freshness"], json!({ "stale": "verify", "unknown": "refuse" }));
        assert_eq!(stage.raw.count(ROWS).await, rows);
    }

    async fn a_body_that_is_no_json_or_too_large_is_refused(db: Db) {
        let stage = Stage::open(db).await;
        let rows = stage.raw.count(ROWS).await;
        let (path, json) = (stage.at("/bookings"), [("content-type", "application/json")]);
        let large = format!("{{\"notes\": \"{}\"}}", "x".repeat(1 << 20));
        let bodies: [(&[u8], u16, &str); 7] = [
            (b"{\"start\": ", 400, "malformed"),
            (b"", 400, "malformed"),
            (b"{} {}", 400, "invalid"),
            (b"\xff\xfe{}", 400, "malformed"),
            (b"{\"start\": \"\xc3\x28\"}", 400, "malformed"),
            (b"[]", 400, "invalid"),
            (large.as_bytes(), 413, "too-large"),
        ];
        for (body, status, kind) in bodies {
            let answer = stage.api.send(Method::POST, &path, &json, body.to_vec().into()).await;
            let (got, slug, _) = answer.problem();
            assert_eq!((got, slug.as_str()), (status, kind), "{}", answer.json());
        }
        let plain = [("content-type", "text/plain")];
        let answer = stage.api.send(Method::POST, &path, &plain, wish(at(2, 10, 0)).to_string().into()).await;
        assert_eq!(answer.status, 415);
        let answer = stage.api.get(&stage.at("/bookings?call_id=%ff%fe")).await;
        assert!(answer.status == 200 || answer.status == 400, "{}", answer.json());
        assert_eq!(stage.api.delete(&path).await.problem().0, 405);
        assert_eq!(stage.raw.count(ROWS).await, rows);
    }

    async fn only_a_valid_key_of_the_business_opens_it(db: Db) {
        let stage = Stage::open(db).await;
        let other = stage.api.post("/businesses", &json!({ "name": "Other", "time_zone": "UTC" })).await.ok();
        let (keys, now) = (&stage.node().daemon.keys, SystemClock.now());
        let new = |business: &str, scope, expires_at| NewKey {
            business: Some(business.parse().unwrap()),
            scope,
            label: "test".to_owned(),
            expires_at,
        };
        let (_, receptionist) = keys.create(new(&stage.business, Scope::Receptionist, None)).await.unwrap();
        let (_, expired) = keys.create(new(&stage.business, Scope::Admin, Some(now - TimeDelta::seconds(1)))).await.unwrap();
        let (revoked, revoked_text) = keys.create(new(&stage.business, Scope::Admin, None)).await.unwrap();
        let (_, stranger) = keys.create(new(&id(&other), Scope::Admin, None)).await.unwrap();
        let revoke = stage.node().daemon.store.write(Lane::Caller, move |tx| {
            Box::pin(async move { tx.revoke_api_key(revoked.id).await })
        });
        assert!(revoke.await.unwrap());
        let rows = stage.raw.count(ROWS).await;

        let path = stage.at("/bookings");
        let mut changed = revoked_text.reveal().to_owned();
        changed.replace_range(changed.len() - 1.., if changed.ends_with('A') { "B" } else { "A" });
        let refused = [expired.reveal(), revoked_text.reveal(), &changed, "slotd_", "x", ""];
        let mut answers = Vec::new();
        for text in refused {
            let answer = stage.api.with_bearer(text).post(&path, &wish(at(2, 10, 0))).await;
            assert_eq!((answer.status, answer.header("www-authenticate")), (401, "Bearer"), "{text}");
            answers.push(answer.bytes);
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "nobody learns why");

        // Another business's key sees what it would see of a business that does not exist.
        let stranger = stage.api.with_bearer(stranger.reveal());
        let missing = "01890000-0000-7000-8000-000000000000";
        for rest in ["/bookings", "/busy", "/availability", "/services", ""] {
            let query = if rest == "/bookings" { "?limit=1" } else { "" };
            let real = stranger.get(&format!("/businesses/{}{rest}{query}", stage.business)).await;
            let none = stranger.get(&format!("/businesses/{missing}{rest}{query}")).await;
            assert_eq!((real.status, &real.bytes), (none.status, &none.bytes), "{rest}");
            assert!(real.status == 404 || real.status == 400, "{rest}: {}", real.json());
        }
        assert_eq!(stranger.post(&path, &wish(at(2, 10, 0))).await.status, 404);

        let receptionist = stage.api.with_bearer(receptionist.reveal());
        assert_eq!(receptionist.get(&stage.at("/services")).await.status, 200);
        for (path, body) in [
            (stage.at("/resources"), json!({ "name": "Chair" })),
            (format!("/settings/{}/calendar/sync", stage.business), json!({})),
            ("/auth/google-calendar/start".to_owned(), json!({ "business_id": stage.business })),
            ("/businesses".to_owned(), json!({ "name": "X", "time_zone": "UTC" })),
        ] {
            assert_eq!(receptionist.post(&path, &body).await.problem().1, "forbidden", "{path}");
        }
        assert_eq!(stage.api.get(&format!("/businesses/{missing}/bookings")).await.status, 404);
        assert_eq!(stage.api.get(&stage.at(&format!("/bookings/{missing}"))).await.status, 404);
        assert_eq!(stage.api.get(&stage.at("/bookings/7")).await.problem().2, "id");
        assert_eq!(stage.api.get("/businesses/7/bookings").await.problem().2, "business_id");
        assert_eq!(stage.raw.count(ROWS).await, rows);
    }

    async fn a_time_that_cannot_be_had_is_refused_with_a_reason(db: Db) {
        let stage = Stage::open(db).await;
        let rows = stage.raw.count(ROWS).await;
        for (start, reason) in [
            (SystemClock.now() - TimeDelta::hours(1), "past"),
            (at(500, 10, 0), "outside_coverage"),
            (at(5_000, 10, 0), "horizon"),
        ] {
            let answer = stage.try_book(start).await;
            let (status, kind, _) = answer.problem();
            assert_eq!((status, kind.as_str()), (409, "slot-taken"), "{}", text(start));
            let told = answer.json()["reason"].as_str().unwrap().to_owned();
            assert!(told == reason || told == "horizon", "{}: {told}", text(start));
        }
        assert_eq!(stage.raw.count(ROWS).await, rows);
    }
}
