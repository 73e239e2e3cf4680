//! A stand-in with one owner, and a small client for it.

use std::time::Duration;

use axum::http::{HeaderMap, Method};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use slotd_sandbox::{NewCalendar, Options, Sandbox};

pub(crate) const ANNA: &str = "anna@salon.example";
/// How long anything in a test may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// An answer with its body read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    /// The body of an answer that has to be a success.
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.bytes));
        self.json()
    }

    /// Status and reason of a refusal.
    pub(crate) fn refusal(&self) -> (u16, String) {
        let body = self.json();
        let error = &body["error"];
        assert_eq!(error["code"], self.status, "{body}");
        (self.status, error["errors"][0]["reason"].as_str().unwrap_or_default().to_owned())
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A running stand-in with the salon of Anna, whose primary calendar is in Berlin.
pub(crate) struct Google {
    pub(crate) sandbox: Sandbox,
    pub(crate) token: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Google {
    pub(crate) async fn start() -> Self {
        Self::with(Options::default(), Vec::new()).await
    }

    pub(crate) async fn with(options: Options, events: Vec<Value>) -> Self {
        let sandbox = Sandbox::start(options).await.unwrap();
        sandbox.add_user(ANNA, "Anna");
        let salon = NewCalendar {
            id: None,
            summary: "Salon".to_owned(),
            time_zone: "Europe/Berlin".to_owned(),
            primary: true,
            events,
        };
        sandbox.add_calendar(ANNA, salon).unwrap();
        let token = sandbox.bearer_token(ANNA);
        let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        Self { sandbox, token, client }
    }

    /// Sends one request; `None` when there was no whole answer.
    pub(crate) async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Option<Answer> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.sandbox.root()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(body.to_owned())).unwrap();
        let response = tokio::time::timeout(DEADLINE, self.client.request(request)).await.unwrap().ok()?;
        let (parts, body) = response.into_parts();
        let bytes = tokio::time::timeout(DEADLINE, body.collect()).await.unwrap().ok()?.to_bytes();
        Some(Answer { status: parts.status.as_u16(), headers: parts.headers, bytes })
    }

    /// Calls the Calendar API as Anna.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        let token = format!("Bearer {}", self.token);
        let mut headers = headers.to_vec();
        headers.push(("authorization", &token));
        headers.push(("content-type", "application/json"));
        let body = body.map_or_else(String::new, |body| body.to_string());
        self.try_send(method, &format!("/calendar/v3/{path}"), &headers, &body).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &[], None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, &[], Some(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PATCH, path, &[], Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, &[], None).await
    }

    pub(crate) async fn insert(&self, body: Value) -> Value {
        self.post("calendars/primary/events", body).await.ok()
    }

    /// Every page of a listing: the items, and the answer that ended it.
    pub(crate) async fn list(&self, query: &str) -> (Vec<Value>, Value) {
        let mut items = Vec::new();
        let mut page = String::new();
        loop {
            let answer = self.get(&format!("calendars/primary/events?{query}{page}")).await.ok();
            items.extend(answer["items"].as_array().unwrap().iter().cloned());
            match answer["nextPageToken"].as_str() {
                Some(token) => {
                    assert!(answer.get("nextSyncToken").is_none());
                    page = format!("&pageToken={token}");
                }
                None => return (items, answer),
            }
        }
    }

    /// A sync token for everything so far.
    pub(crate) async fn sync_token(&self) -> String {
        self.list("maxResults=2500").await.1["nextSyncToken"].as_str().unwrap().to_owned()
    }

    /// What has changed since a token, and the next token.
    pub(crate) async fn changes(&self, token: &str) -> (Vec<Value>, String) {
        let (items, last) = self.list(&format!("syncToken={token}")).await;
        (items, last["nextSyncToken"].as_str().unwrap().to_owned())
    }
}

/// A timed event of one hour on a day of January 2027, in Berlin.
pub(crate) fn timed(summary: &str, day: u32, hour: u32) -> Value {
    json!({
        "summary": summary,
        "start": { "dateTime": format!("2027-01-{day:02}T{hour:02}:00:00"), "timeZone": "Europe/Berlin" },
        "end": { "dateTime": format!("2027-01-{day:02}T{:02}:00:00", hour + 1), "timeZone": "Europe/Berlin" },
    })
}

/// The same, repeating.
pub(crate) fn series(id: &str, day: u32, hour: u32, rule: &str) -> Value {
    let mut event = timed(id, day, hour);
    event["id"] = json!(id);
    event["recurrence"] = json!([rule]);
    event
}

pub(crate) fn ids(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["id"].as_str().unwrap()).collect()
}

/// In alphabetical order: what order a list has means nothing.
pub(crate) fn sorted_ids(items: &[Value]) -> Vec<&str> {
    let mut ids = ids(items);
    ids.sort_unstable();
    ids
}
