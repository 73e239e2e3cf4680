//! A business's own programs are told what happens to its bookings, in order and signed; what they do not take is tried
//! again, given up in the end, told to the operator, and can be asked for again.

use std::time::Duration;

use serde_json::{Value, json};
use slotd::config::Config;
use slotd_sandbox::Effect;
use tokio::time::Instant;

use crate::{
    harness::{Db, on_both_engines},
    stage::{Ending, Receiver, Reply, Stage, at, eventually, id, text, times},
};

/// An endpoint's id and secret.
struct Hook {
    id: String,
    secret: String,
}

/// A stage whose endpoints may be on loopback, with short waits.
async fn stage(db: Db, settings: impl FnOnce(&mut Config)) -> Stage {
    Stage::with(db, Vec::new(), |config| {
        config.notify.allow_local = true;
        config.notify.request_timeout_s = 1;
        config.notify.retry_s = vec![0, 0, 1, 1];
        settings(config);
    })
    .await
}

async fn hook(stage: &Stage, receiver: &Receiver, more: Value) -> Hook {
    let mut body = json!({ "url": receiver.url });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = stage.api.post(&stage.at("/webhook-endpoints"), &body).await.ok();
    Hook { id: id(&made), secret: made["secret"].as_str().unwrap().to_owned() }
}

async fn known(stage: &Stage, hook: &Hook) -> Value {
    let list = stage.api.get(&stage.at("/webhook-endpoints")).await.ok();
    let all = list["webhook_endpoints"].as_array().unwrap();
    all.iter().find(|one| one["id"] == hook.id.as_str()).unwrap().clone()
}

async fn deliveries(stage: &Stage, of: &str) -> Vec<Value> {
    let found = stage.api.get(&stage.at(&format!("/deliveries?state={of}"))).await.ok();
    found["deliveries"].as_array().unwrap().clone()
}

async fn dead(stage: &Stage, count: usize) -> Vec<Value> {
    eventually(&format!("{count} deliveries are given up"), async || {
        Some(deliveries(stage, "dead").await).filter(|dead| dead.len() == count)
    })
    .await
}

async fn cancel(stage: &Stage, booking: &Value) {
    stage.api.post(&stage.at(&format!("/bookings/{}/cancel", id(booking))), &json!({})).await.ok();
}

on_both_engines! {
    async fn every_step_of_a_booking_is_told_signed_and_in_order(db: Db) {
        let stage = stage(db, |_| {}).await;
        let (plain, personal) = (Receiver::start().await, Receiver::start().await);
        let hook_plain = hook(&stage, &plain, json!({})).await;
        let hook_personal = hook(&stage, &personal, json!({ "personal_data": true })).await;
        let booked = stage.book_and_write(at(2, 10, 0)).await;
        let event = booked["event_id"].as_str().unwrap().to_owned();
        let path = stage.at(&format!("/bookings/{}", id(&booked)));
        stage.api.patch(&path, &json!({ "start": text(at(2, 11, 0)) })).await.ok();
        stage.synced(&booked).await;
        let moved_at = Instant::now();
        stage.google.patch(&event, &times(at(2, 14, 0), 30)).await;
        let got = plain.gets(3).await;
        let took = got[2].at - moved_at;
        assert!(took < Duration::from_secs(5), "{took:?}");
        stage.google.delete(&event).await;
        let got = plain.gets(4).await;
        let kinds = ["booking.created", "booking.rescheduled", "booking.moved_by_owner", "booking.cancelled_by_owner"];
        assert_eq!(plain.kinds(), kinds);
        personal.gets(4).await;
        assert_eq!(personal.kinds(), kinds);

        for one in &got {
            assert!(one.is_signed(&hook_plain.secret), "{one:?}");
            assert!(!one.is_signed(&hook_personal.secret), "each endpoint has a secret of its own");
            assert!(!one.body.contains("Ada") && !one.body.contains("12345678"), "{}", one.body);
        }
        assert!(personal.got()[0].body.contains("Ada Lovelace"), "{:?}", personal.got()[0]);
        let (moved, data) = (got[2].json(), |name: &str| got[2].json()["data"][name].clone());
        assert_eq!((&moved["form"], data("source"), data("time_zone")), (&json!(1), json!("owner"), json!("Europe/Berlin")));
        assert_eq!(data("booking")["start"], text(at(2, 14, 0)));
        assert_eq!(data("booking")["id"], booked["id"]);
        let versions: Vec<i64> =
            got.iter().map(|one| one.json()["data"]["booking"]["version"].as_i64().unwrap()).collect();
        assert!(versions.is_sorted(), "{versions:?}");
        let log = stage.node().log.text();
        for secret in [&hook_plain.secret, &hook_personal.secret, &plain.url] {
            assert!(!log.contains(secret.as_str()), "the log says {secret}");
        }
        eprintln!("from the owner's move to the notice: {took:?}");
    }

    async fn what_is_not_taken_is_tried_again_under_its_id_and_holds_its_order(db: Db) {
        let stage = stage(db, |_| {}).await;
        let receiver = Receiver::start().await;
        let hook = hook(&stage, &receiver, json!({})).await;
        receiver.answers([Reply::Status(500, ""), Reply::HangUp, Reply::Silence, Reply::Status(503, "retry-after: 2\r\n")]);
        let booked = stage.book(at(2, 10, 0)).await;
        cancel(&stage, &booked).await;
        let got = receiver.gets(6).await;
        let kinds = receiver.kinds();
        assert_eq!(kinds[..5], vec!["booking.created"; 5][..], "the cancellation waits for its turn");
        assert_eq!(kinds[5], "booking.cancelled");
        assert!(got[..5].iter().all(|one| one.id() == got[0].id() && one.is_signed(&hook.secret)));
        assert_ne!(got[5].id(), got[0].id());
        assert!(got[4].at - got[3].at >= Duration::from_secs(2), "it asked for two seconds: {:?}", got[4].at - got[3].at);
        eventually("nothing waits", async || deliveries(&stage, "waiting").await.is_empty().then_some(())).await;
        let now = known(&stage, &hook).await;
        assert!(now["failing_since"].is_null() && now["last_ok_at"].is_string(), "{now}");
    }

    async fn an_endpoint_that_does_not_answer_holds_nobody_else_up(db: Db) {
        let stage = stage(db, |config| {
            (config.notify.concurrency, config.notify.endpoint_concurrency) = (4, 2);
            config.notify.request_timeout_s = 5;
            config.notify.retry_s = vec![600];
        }).await;
        let (dead, alive) = (Receiver::start().await, Receiver::start().await);
        let (_dead, _alive) = (hook(&stage, &dead, json!({})).await, hook(&stage, &alive, json!({})).await);
        dead.always(Reply::Silence);
        alive.always(Reply::SlowBody(200));
        let began = Instant::now();
        for hour in 9..15 {
            stage.book(at(2, hour, 0)).await;
        }
        let got = alive.gets(6).await;
        let took = got[5].at - began;
        assert!(took < Duration::from_secs(15), "{took:?}");
        assert!(dead.got().len() <= 2 * 4, "at most two at a time: {}", dead.got().len());
    }

    async fn an_endpoint_that_is_gone_or_fails_for_long_is_disabled(db: Db) {
        let stage = stage(db, |config| {
            config.notify.disable_after_s = 1;
            config.notify.retry_s = vec![0, 1, 1, 1, 1, 1, 1, 1, 1];
        }).await;
        let (gone, failing) = (Receiver::start().await, Receiver::start().await);
        let (hook_gone, hook_failing) = (hook(&stage, &gone, json!({})).await, hook(&stage, &failing, json!({})).await);
        gone.always(Reply::Status(410, ""));
        failing.always(Reply::Status(302, "location: http://127.0.0.1:1/\r\n"));
        stage.book(at(2, 10, 0)).await;
        for (hook, why) in [(&hook_gone, "gone"), (&hook_failing, "failing")] {
            eventually(why, async || (known(&stage, hook).await["disabled_why"] == why).then_some(())).await;
        }
        assert_eq!(gone.got().len(), 1, "410 is the last word");
        dead(&stage, 2).await;
        let before = failing.got().len();
        stage.book(at(2, 11, 0)).await;
        let path = stage.at(&format!("/webhook-endpoints/{}", hook_failing.id));
        assert_eq!(stage.api.post(&format!("{path}/ping"), &json!({})).await.problem().0, 409);

        failing.always(Reply::Status(200, ""));
        let now = stage.api.patch(&path, &json!({ "enabled": true })).await.ok();
        assert!(now["enabled"] == true && now["disabled_why"].is_null() && now["last_error"].is_null(), "{now}");
        assert_eq!(failing.got().len(), before, "what happened meanwhile is not told");
        let all = stage.api.post(&stage.at("/deliveries/retry"), &json!({})).await.ok();
        assert_eq!((&all["retried"], &all["left"]), (&json!(1), &json!(1)), "{all}");
        failing.gets(before + 1).await;
        stage.api.post(&format!("{path}/ping"), &json!({})).await.ok();
        assert_eq!(failing.gets(before + 2).await.last().unwrap().kind(), "endpoint.ping");
        assert_eq!(stage.api.delete(&path).await.status, 204);
        assert_eq!(stage.api.delete(&path).await.status, 404);
    }

    async fn notices_that_a_crash_leaves_behind_are_sent_afterwards(db: Db) {
        let mut stage = stage(db, |config| {
            config.notify.request_timeout_s = 2;
            config.notify.lease_s = 5;
        }).await;
        let receiver = Receiver::start().await;
        let hook = hook(&stage, &receiver, json!({})).await;
        receiver.answers([Reply::Silence]);
        let booked = stage.book_and_write(at(2, 10, 0)).await;
        receiver.gets(1).await;
        stage.restart(Ending::Crash, |_| {}).await;
        let got = receiver.gets(2).await;
        assert_eq!(got[0].id(), got[1].id());
        assert_eq!(got[1].json()["data"]["booking"]["id"], booked["id"]);
        assert!(got[1].is_signed(&hook.secret));
    }

    async fn many_given_up_are_one_notice_to_the_operator_and_can_be_asked_for_again(db: Db) {
        let (mails, posts, receiver) = (Receiver::mail().await, Receiver::start().await, Receiver::start().await);
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), secret).unwrap();
        let (port, post_url) = (mails.port, posts.url.parse().unwrap());
        let stage = stage(db, |config| {
            config.notify.retry_s = vec![0];
            config.support.mail_to = Some("support@example.com".to_owned());
            config.support.mail_from = Some("slotd@example.com".to_owned());
            config.support.smtp_host = Some("127.0.0.1".to_owned());
            config.support.smtp_port = port;
            config.support.smtp_security = slotd::config::SmtpSecurity::None;
            config.support.post_url = Some(post_url);
            config.support.post_secret_file = Some(file.path().to_owned());
            config.support.gather_s = 4;
        }).await;
        let _hook = hook(&stage, &receiver, json!({})).await;
        receiver.always(Reply::Status(500, ""));
        // One try of each fails; the second one of the mail goes through, and the POST is given up.
        mails.answers([Reply::Status(451, "")]);
        posts.always(Reply::Status(500, ""));
        for hour in 9..14 {
            stage.book(at(2, hour, 0)).await;
        }
        let given_up = dead(&stage, 5).await;
        assert!(given_up.iter().all(|one| one["kind"] == "booking.created" && one["attempts"] == 2), "{given_up:?}");
        assert_eq!(given_up[0]["last_error"], "answered with status 500");
        assert_eq!(stage.status().await["deliveries"], json!({ "google_dead": 0, "webhook_dead": 5 }));
        let got = mails.gets(2).await;
        for mail in &got {
            assert!(mail.body.contains("slotd: 5 deliveries were given up"), "{}", mail.body);
            assert!(mail.body.contains(&format!("5 x booking.created, business {}", stage.business)), "{}", mail.body);
            assert!(mail.body.contains("To: support@example.com"), "{}", mail.body);
        }
        let got = posts.gets(2).await;
        assert!(got.iter().all(|one| one.is_signed(secret) && one.id() == got[0].id()));
        assert_eq!(got[0].json()["data"]["dead"], 5);
        eventually("the POST is given up", async || {
            (stage.raw.count("SELECT COUNT(*) FROM operator_notice WHERE dead = 1").await == 1).then_some(())
        })
        .await;

        // Nobody is told about that: it would never end.
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!((mails.got().len(), posts.got().len()), (2, 2));
        assert_eq!(stage.raw.count("SELECT COUNT(*) FROM operator_notice").await, 1);

        receiver.always(Reply::Status(200, ""));
        let (before, one) = (receiver.got().len(), id(&given_up[0]));
        let path = stage.at(&format!("/deliveries/{one}/retry"));
        assert_eq!(stage.api.post(&path, &json!({})).await.status, 202);
        assert_eq!(receiver.gets(before + 1).await.last().unwrap().id(), one);
        eventually("it is gone", async || (stage.api.post(&path, &json!({})).await.status == 404).then_some(())).await;
        let everywhere = stage.api.get("/deliveries?state=dead&limit=3").await.ok();
        assert_eq!(everywhere["deliveries"].as_array().unwrap().len(), 3);
        let cursor = everywhere["next_cursor"].as_str().unwrap();
        let rest = stage.api.get(&format!("/deliveries?state=dead&limit=3&cursor={cursor}")).await.ok();
        assert_eq!(rest["deliveries"].as_array().unwrap().len(), 1);
        let all = stage.api.post("/deliveries/retry", &json!({})).await.ok();
        assert_eq!((&all["retried"], &all["left"]), (&json!(4), &json!(0)));
        receiver.gets(before + 5).await;
        dead(&stage, 0).await;
    }

    async fn an_event_that_google_refuses_is_told_and_pending_again_when_asked_for_again(db: Db) {
        let stage = stage(db, |config| config.outbox.attempts_max = 1).await;
        let receiver = Receiver::start().await;
        let _hook = hook(&stage, &receiver, json!({ "events": ["booking.calendar_failed"] })).await;
        let refuse = Effect::refuse(403, "calendar", "forbidden");
        stage.google.strike_after(0, None, "calendar.events.insert", refuse);
        let booked = stage.book(at(2, 10, 0)).await;
        stage.booking_becomes(&id(&booked), "it fails", |booking| booking["calendar_sync"] == "failed").await;
        let told = receiver.gets(1).await.remove(0).json();
        assert_eq!((&told["type"], &told["data"]["booking"]["calendar_sync"]), (&json!("booking.calendar_failed"), &json!("failed")));
        assert!(told["data"]["why"].is_string(), "{told}");
        let given_up = dead(&stage, 1).await.remove(0);
        assert_eq!((&given_up["kind"], &given_up["booking_id"]), (&json!("google.event"), &booked["id"]));
        stage.google.faults().clear();
        stage.google.faults().set_down(true);
        let path = stage.at(&format!("/deliveries/{}/retry", id(&given_up)));
        assert_eq!(stage.api.post(&path, &json!({})).await.status, 202);
        assert_eq!(stage.booking(&id(&booked)).await["calendar_sync"], "pending");
        assert_eq!(stage.api.post(&path, &json!({})).await.problem().0, 409, "it is not given up any more");
        stage.google.faults().set_down(false);
        stage.synced(&booked).await;
        assert_eq!(receiver.got().len(), 1, "nothing else is told to an endpoint that wants only this");
    }

    async fn an_endpoint_that_cannot_be_used_is_refused_with_its_field_and_not_stored(db: Db) {
        let stage = Stage::open(db).await;
        let bad = [
            (json!({}), "/url"),
            (json!({ "url": "http://example.com/" }), "/url"),
            (json!({ "url": "https://127.0.0.1/" }), "/url"),
            (json!({ "url": "https://[::1]/" }), "/url"),
            (json!({ "url": "https://169.254.169.254/latest" }), "/url"),
            (json!({ "url": "https://ada:secret@example.com/" }), "/url"),
            (json!({ "url": 7 }), "/url"),
            (json!({ "url": "https://example.com/", "events": ["booking.eaten"] }), "/events/0"),
            (json!({ "url": "https://example.com/", "events": "all" }), "/events"),
            (json!({ "url": "https://example.com/", "description": "x".repeat(201) }), "/description"),
            (json!({ "url": "https://example.com/", "personal_data": "yes" }), "/personal_data"),
            (json!({ "url": "https://example.com/", "secret": "mine" }), "/secret"),
        ];
        let path = stage.at("/webhook-endpoints");
        for (body, field) in bad {
            let (status, _, named) = stage.api.post(&path, &body).await.problem();
            assert_eq!((status, named.as_str()), (400, field), "{body}");
        }
        assert_eq!(stage.raw.count("SELECT COUNT(*) FROM webhook_endpoint").await, 0);
        let made = stage.api.post(&path, &json!({ "url": "https://example.com/", "events": ["booking.created"] })).await;
        assert_eq!((made.status, made.header("cache-control")), (201, "no-store"));
        assert!(stage.api.get(&path).await.ok()["webhook_endpoints"][0].get("secret").is_none(), "shown once");
        let (one, old) = (format!("{path}/{}", id(&made.json())), made.json()["secret"].clone());
        assert_eq!(stage.api.patch(&one, &json!({ "url": "https://10.0.0.1/" })).await.problem().2, "/url");
        let renewed = stage.api.patch(&one, &json!({ "new_secret": true })).await.ok();
        assert!(renewed["secret"].is_string() && renewed["secret"] != old);
        for query in ["", "?state=eaten", "?state=dead&limit=0", "?state=dead&cursor=x"] {
            assert_eq!(stage.api.get(&stage.at(&format!("/deliveries{query}"))).await.problem().0, 400, "{query}");
        }
        let nobody = "/deliveries/0192f5f4-7c1e-7000-8000-000000000000/retry";
        assert_eq!(stage.api.post(&stage.at(nobody), &json!({})).await.problem().0, 404);
    }
}
