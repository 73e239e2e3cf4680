//! A business with one chair, whose owner has a Google account.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use hyper::Method;
use serde_json::{Value, json};
use slotd::domain::{Clock, clock::SystemClock};
use slotd_sandbox::NewCalendar;

use super::{
    client::Client,
    installation::{Daemon, Installation, OWNER},
};

/// Interval of busy time.
pub(crate) type Span = (DateTime<Utc>, DateTime<Utc>);

pub(crate) struct Salon {
    /// `/api/v1/businesses/{id}`
    pub(crate) path: String,
    id: String,
}

/// The next midnight, in UTC.
pub(crate) fn tomorrow() -> DateTime<Utc> {
    let day = SystemClock.now().date_naive().succ_opt().unwrap();
    day.and_hms_opt(0, 0, 0).unwrap().and_utc()
}

/// As requests tell a time.
pub(crate) fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

/// When something with `start` and `end` is.
pub(crate) fn span(value: &Value) -> Span {
    let time_of = |value: &Value| if value.is_string() { time(value) } else { time(&value["dateTime"]) };
    (time_of(&value["start"]), time_of(&value["end"]))
}

impl Salon {
    /// Opens it, around the clock; nothing is connected yet. Its owner's calendar has `events`.
    pub(crate) async fn open(installation: &Installation, daemon: &Daemon, events: Vec<Value>) -> Self {
        installation.google.add_user(OWNER, "Owner");
        let calendar = NewCalendar {
            id: None,
            summary: "Salon".to_owned(),
            time_zone: "Europe/Berlin".to_owned(),
            primary: true,
            events,
        };
        installation.google.add_calendar(OWNER, calendar).unwrap();
        let business = json!({ "name": "Salon Aurora", "time_zone": "Europe/Berlin", "region": "DE" });
        let made = daemon.api.post("/api/v1/businesses", &business).await;
        let id = made["id"].as_str().unwrap().to_owned();
        let salon = Self { path: format!("/api/v1/businesses/{id}"), id };
        daemon.api.post(&format!("{}/resources", salon.path), &json!({ "name": "Chair" })).await;
        salon
    }

    /// The business's id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Goes to Google's consent page and back. The chair gets the primary calendar, whose first sync begins.
    pub(crate) async fn connect(&self, daemon: &Daemon) {
        let (api, body) = (&daemon.api, json!({ "business_id": self.id }));
        let start = "/api/v1/auth/google-calendar/start";
        let started = api.send(Method::POST, start, &[], Some(&body)).await.unwrap();
        let consent = api.send(Method::GET, started.header("location"), &[], None).await.unwrap();
        let cookie = started.header("set-cookie").split(';').next().unwrap().to_owned();
        let done = api.send(Method::GET, consent.header("location"), &[("cookie", &cookie)], None).await.unwrap();
        assert_eq!(done.status, 200, "{:?}", done.body);
    }

    /// The state of the one calendar.
    pub(crate) async fn calendar(&self, api: &Client) -> Value {
        let status = api.get(&format!("/api/v1/settings/{}/calendar/status", self.id)).await;
        status["calendars"][0].clone()
    }

    /// Whether the first sync is done.
    pub(crate) async fn is_mirrored(&self, api: &Client) -> bool {
        self.calendar(api).await["as_of"].is_string()
    }

    /// All bookings, from all pages.
    pub(crate) async fn bookings(&self, api: &Client) -> Vec<Value> {
        let (mut bookings, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = api.get(&format!("{}/bookings?limit=200{cursor}", self.path)).await;
            bookings.extend(page["bookings"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return bookings,
            }
        }
    }

    /// What the daemon says is busy.
    pub(crate) async fn busy(&self, api: &Client, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<Span> {
        let answer = api.get(&format!("{}/busy?from={}&to={}", self.path, text(from), text(to))).await;
        answer["busy"].as_array().unwrap().iter().map(span).collect()
    }
}

/// What the stand-in's freeBusy says of the owner's calendar, asked in ranges that Google allows.
pub(crate) async fn google_busy(google: &Client, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<Span> {
    assert!(to - from <= TimeDelta::days(90));
    let question = json!({ "timeMin": text(from), "timeMax": text(to), "items": [{ "id": OWNER }] });
    let answer = google.post("/freeBusy", &question).await;
    answer["calendars"][OWNER]["busy"].as_array().unwrap().iter().map(span).collect()
}

/// All events of the owner's calendar that the stand-in ever had, deleted ones too.
pub(crate) async fn google_events(google: &Client) -> Vec<Value> {
    let (mut events, mut page) = (Vec::new(), String::new());
    loop {
        let answer = google.get(&format!("/calendars/primary/events?showDeleted=true&maxResults=2500{page}")).await;
        events.extend(answer["items"].as_array().unwrap().iter().cloned());
        match answer["nextPageToken"].as_str() {
            Some(token) => page = format!("&pageToken={token}"),
            None => return events,
        }
    }
}
