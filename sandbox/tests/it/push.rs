use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{HeaderMap, Method, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};
use slotd_sandbox::{Effect, Fault, NewCalendar, Role};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::harness::{ANNA, DEADLINE, Google, timed};

/// Receives notifications and answers with the given statuses, 204 when they run out.
pub(crate) struct Receiver {
    pub(crate) address: String,
    pub(crate) got: Arc<Mutex<Vec<HeaderMap>>>,
    _server: JoinSet<()>,
}

impl Receiver {
    pub(crate) async fn start(statuses: &[u16]) -> Self {
        let got: Arc<Mutex<Vec<HeaderMap>>> = Arc::default();
        let answers = Arc::new(Mutex::new(VecDeque::from(statuses.to_vec())));
        let kept = Arc::clone(&got);
        let router = axum::Router::new().route(
            "/push",
            post(move |headers: HeaderMap, body: bytes::Bytes| async move {
                assert!(body.is_empty());
                kept.lock().unwrap().push(headers);
                let status = answers.lock().unwrap().pop_front().unwrap_or(204);
                StatusCode::from_u16(status).unwrap()
            }),
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/push", listener.local_addr().unwrap());
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, got, _server: server }
    }

    /// Waits until there are so many notifications.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<HeaderMap> {
        let until = Instant::now() + DEADLINE;
        loop {
            let got = self.got.lock().unwrap().clone();
            if got.len() >= count {
                return got;
            }
            assert!(Instant::now() < until, "only {} of {count} notifications came", got.len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.got.lock().unwrap().iter().map(|headers| text(headers, "x-goog-message-number").parse().unwrap()).collect()
    }

    pub(crate) fn channel(&self, id: &str) -> Value {
        json!({ "id": id, "type": "web_hook", "address": self.address, "token": "s3cret", "params": { "ttl": "3600" } })
    }
}

pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_channel_says_sync_then_tells_of_every_write_with_all_headers() {
    let google = Google::start().await;
    let receiver = Receiver::start(&[]).await;
    let opened = google.post("calendars/primary/events/watch", receiver.channel("c-1")).await.ok();
    assert_eq!(
        (&opened["kind"], &opened["id"], &opened["token"]),
        (&json!("api#channel"), &json!("c-1"), &json!("s3cret"))
    );
    let expiration: i64 = opened["expiration"].as_str().unwrap().parse().unwrap();
    google.insert(timed("Cut", 4, 9)).await;
    google.insert(timed("Cut", 4, 10)).await;
    let got = receiver.wait_for(3).await;
    for (place, headers) in got.iter().enumerate() {
        assert_eq!(text(headers, "x-goog-message-number"), (place + 1).to_string());
        assert_eq!(text(headers, "x-goog-resource-state"), if place == 0 { "sync" } else { "exists" });
        assert_eq!(text(headers, "x-goog-channel-id"), "c-1");
        assert_eq!(text(headers, "x-goog-channel-token"), "s3cret");
        assert_eq!(text(headers, "x-goog-resource-id"), opened["resourceId"]);
        assert_eq!(text(headers, "x-goog-resource-uri"), opened["resourceUri"]);
        let until = chrono::DateTime::parse_from_rfc2822(text(headers, "x-goog-channel-expiration")).unwrap();
        assert_eq!(until.timestamp(), expiration / 1000);
        assert_eq!(text(headers, "content-length"), "0");
        assert!(text(headers, "user-agent").starts_with("APIs-Google"));
    }
}

#[tokio::test]
async fn a_stopped_channel_is_silent_and_only_its_opener_stops_it() {
    let google = Google::start().await;
    let receiver = Receiver::start(&[]).await;
    let stopped = google.post("calendars/primary/events/watch", receiver.channel("one")).await.ok();
    google.post("calendars/primary/events/watch", receiver.channel("two")).await.ok();
    receiver.wait_for(2).await;
    let wrong = google.post("channels/stop", json!({ "id": "one", "resourceId": "other" })).await;
    assert_eq!(wrong.refusal(), (404, "notFound".into()));
    let stop = google.post("channels/stop", json!({ "id": "one", "resourceId": stopped["resourceId"] })).await;
    assert_eq!((stop.status, stop.bytes.len()), (204, 0));
    google.insert(timed("Cut", 4, 9)).await;
    google.insert(timed("Cut", 4, 10)).await;
    let got = receiver.wait_for(4).await;
    let late: Vec<_> = got[2..].iter().map(|headers| text(headers, "x-goog-channel-id")).collect();
    assert_eq!(late, ["two", "two"]);
}

#[tokio::test]
async fn a_list_of_calendars_can_be_watched_and_lost_access_ends_a_calendars_channels() {
    let google = Google::start().await;
    google.sandbox.add_user("ben@salon.example", "Ben");
    let chair = NewCalendar { summary: "Chair".to_owned(), time_zone: "UTC".to_owned(), ..Default::default() };
    let chair = google.sandbox.add_calendar("ben@salon.example", chair).unwrap();
    assert!(google.sandbox.share(&chair, ANNA, Role::Writer));
    let receiver = Receiver::start(&[]).await;
    let list = google.post("users/me/calendarList/watch", receiver.channel("list")).await.ok();
    assert!(list["resourceUri"].as_str().unwrap().ends_with("/calendar/v3/users/me/calendarList?alt=json"));
    google.post(&format!("calendars/{chair}/events/watch"), receiver.channel("chair")).await.ok();
    receiver.wait_for(2).await;

    google.insert(timed("no list changes", 4, 9)).await;
    assert!(google.sandbox.set_title(&chair, "Stool"));
    assert!(google.sandbox.unshare(&chair, ANNA));
    let ben = [("authorization", format!("Bearer {}", google.sandbox.bearer_token("ben@salon.example")))];
    let ben = ben.each_ref().map(|(name, value)| (*name, value.as_str()));
    let path = format!("/calendar/v3/calendars/{chair}/events");
    google.try_send(Method::POST, &path, &ben, &timed("unseen", 4, 9).to_string()).await.unwrap().ok();
    assert!(google.sandbox.share(&chair, ANNA, Role::Reader));
    let got = receiver.wait_for(4).await;
    let late: Vec<_> = got[2..].iter().map(|headers| text(headers, "x-goog-channel-id")).collect();
    assert_eq!(late, ["list", "list"]);
    let stop = json!({ "id": "list", "resourceId": list["resourceId"] });
    assert_eq!(google.post("channels/stop", stop).await.status, 204);
}

#[tokio::test]
async fn only_server_errors_are_repeated() {
    let google = Google::start().await;
    let watch = async |receiver: &Receiver, id: &str| {
        google.post("calendars/primary/events/watch", receiver.channel(id)).await.ok();
        receiver.wait_for(1).await;
    };
    let refusing = [404, 400, 429, 501, 301];
    let mut final_ones = Vec::new();
    for status in refusing {
        let receiver = Receiver::start(&[status]).await;
        watch(&receiver, &format!("final-{status}")).await;
        final_ones.push(receiver);
    }
    let failing = Receiver::start(&[500, 502, 503, 504]).await;
    watch(&failing, "repeated").await;
    failing.wait_for(5).await;
    // The repetitions took several times as long as a first repetition of the others would have.
    assert_eq!(failing.numbers(), [1, 1, 1, 1, 1]);
    for (receiver, status) in final_ones.iter().zip(refusing) {
        assert_eq!(receiver.numbers(), [1], "{status}");
    }
}

#[tokio::test]
async fn pushes_can_be_lost_or_doubled_and_the_numbers_show_it() {
    let google = Google::start().await;
    let receiver = Receiver::start(&[]).await;
    google.post("calendars/primary/events/watch", receiver.channel("c")).await.ok();
    receiver.wait_for(1).await;
    google.sandbox.faults().add(Fault { calendar: Some(ANNA.to_owned()), ..Fault::once("push", Effect::Drop) });
    google.insert(timed("lost", 4, 9)).await;
    google.insert(timed("told", 4, 10)).await;
    receiver.wait_for(2).await;
    assert_eq!(receiver.numbers(), [1, 3]);
    google.sandbox.faults().add(Fault::once("push", Effect::Twice));
    google.insert(timed("doubled", 4, 11)).await;
    receiver.wait_for(4).await;
    assert_eq!(receiver.numbers(), [1, 3, 4, 4]);
}

#[tokio::test]
async fn channels_that_google_would_not_open_are_refused() {
    let google = Google::start().await;
    let holidays = NewCalendar {
        id: Some("en.german#holiday@group.v.calendar.google.com".to_owned()),
        summary: "Holidays".to_owned(),
        time_zone: "UTC".to_owned(),
        ..Default::default()
    };
    google.sandbox.add_calendar(ANNA, holidays).unwrap();
    let receiver = Receiver::start(&[]).await;
    let watch = "calendars/primary/events/watch";
    google.post(watch, receiver.channel("taken")).await.ok();
    let with = |field: &str, value: Value| {
        let mut channel = receiver.channel("fresh");
        channel[field] = value;
        channel
    };
    let holiday_path = "calendars/en.german%23holiday%40group.v.calendar.google.com/events/watch";
    let table = [
        (holiday_path, receiver.channel("fresh"), "pushNotSupportedForRequestedResource"),
        (watch, receiver.channel("taken"), "channelIdNotUnique"),
        (watch, with("id", json!("not allowed!")), "invalid"),
        (watch, with("address", json!("ftp://example.com/")), "push.webhookUrlNotHttps"),
        (watch, with("token", json!("x".repeat(257))), "invalid"),
        (watch, with("expiration", json!("1000")), "invalid"),
        (watch, with("type", json!("carrier_pigeon")), "invalid"),
    ];
    for (path, channel, reason) in table {
        assert_eq!(google.post(path, channel.clone()).await.refusal(), (400, reason.into()), "{channel}");
    }
}

#[tokio::test]
async fn an_expired_channel_says_nothing_more() {
    let google = Google::start().await;
    let receiver = Receiver::start(&[]).await;
    let mut short = receiver.channel("short");
    short["params"]["ttl"] = json!("1");
    google.post("calendars/primary/events/watch", short).await.ok();
    google.post("calendars/primary/events/watch", receiver.channel("long")).await.ok();
    receiver.wait_for(2).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    google.insert(timed("Cut", 4, 9)).await;
    google.insert(timed("Cut", 4, 10)).await;
    let got = receiver.wait_for(4).await;
    assert!(got[2..].iter().all(|headers| text(headers, "x-goog-channel-id") == "long"));
}
