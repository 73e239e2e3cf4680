//! Where everybody stops, and the stand-in for Google behind it.
//!
//! Who works with the store stops before each transaction and after each commit, and who asks Google stops before the
//! question and before the answer. The simulation lets them go on one by one, and says what becomes of a question.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hyper::{Request, Response, header};
use serde_json::{Value, json};
use slotd::{
    google::{AccessToken, AccountKey, InProcess, TokenError, TokenSource},
    store::{Moment, Turnstile},
};
use slotd_sandbox::{NewCalendar, Options, Sandbox};
use tokio::sync::oneshot;

/// The one account of Google. Its owner edits with it, too.
pub(crate) const OWNER: &str = "aurora@example.com";
/// Google's ids of the calendars of both chairs.
pub(crate) const CALENDARS: [&str; 2] = ["chair1@group.calendar.google.com", "chair2@group.calendar.google.com"];
const ROOT: &str = "http://google.test/calendar/v3";
/// The private property by which slotd's events name their booking.
pub(crate) const PROPERTY: &str = "slotd";
/// Ids that slotd derives are so long; Google's and the owner's are shorter.
const DERIVED_LENGTH: usize = 32;

/// A question to Google, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) verb: String,
    /// Which of [`CALENDARS`].
    pub(crate) chair: Option<usize>,
    pub(crate) event: Option<String>,
    pub(crate) conditional: bool,
    /// Of a list: whether it asks for everything.
    pub(crate) full_list: Option<bool>,
}

/// Where somebody has stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Point {
    Store(Moment),
    /// A question is about to reach Google.
    Asks(Ask),
    /// Google has done what it was asked, and its answer is on the way. `None`: it will never arrive.
    Answers(Ask, u16),
}

/// What becomes of whoever has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Go,
    /// The question, or the answer, is lost.
    Lose,
    /// Google refuses with a status, and does nothing.
    Refuse(u16),
    /// Of a full list, one of slotd's own events is left out.
    Forget,
}

/// Whoever has stopped, until they are let go.
pub(crate) struct Parked {
    pub(crate) point: Point,
    pub(crate) go: oneshot::Sender<Fate>,
}

#[derive(Default)]
pub(crate) struct Gate(Mutex<Option<Parked>>);

impl Gate {
    async fn stop(&self, point: Point) -> Fate {
        let (go, gone) = oneshot::channel();
        let before = self.0.lock().unwrap().replace(Parked { point, go });
        assert!(before.is_none(), "two at once: {:?}", before.map(|parked| parked.point));
        gone.await.unwrap_or(Fate::Go)
    }

    /// Who has just stopped.
    pub(crate) fn take(&self) -> Option<Parked> {
        self.0.lock().unwrap().take()
    }
}

impl Turnstile for Gate {
    fn pass(&self, moment: Moment) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.stop(Point::Store(moment)).await;
        })
    }
}

/// Gives everybody the token that the stand-in takes.
pub(crate) struct Bearer(pub(crate) AccessToken);

impl TokenSource for Bearer {
    fn access_token<'a>(
        &'a self,
        _: AccountKey,
        _: Option<&'a AccessToken>,
    ) -> BoxFuture<'a, Result<AccessToken, TokenError>> {
        Box::pin(async { Ok(self.0.clone()) })
    }
}

/// Google, as the owner and slotd meet it.
pub(crate) struct Google {
    sandbox: Sandbox,
    token: String,
    watch: Mutex<Watch>,
}

/// What is noted of the calls.
#[derive(Default)]
struct Watch {
    /// Events whose time the owner changed and that slotd has not seen since.
    unseen: BTreeSet<String>,
    /// What slotd did to such events.
    overwritten: Vec<String>,
    /// Events that a full list left out, so that slotd may never have heard of them again.
    forgotten: BTreeSet<String>,
    /// Writes that were carried out.
    writes: usize,
}

impl Google {
    pub(crate) fn new(order_seed: u64) -> Self {
        let sandbox = Sandbox::without_port(Options { order_seed, strict: false, ..Options::default() }).unwrap();
        sandbox.add_user(OWNER, "Aurora");
        for id in CALENDARS {
            let calendar = NewCalendar {
                id: Some(id.to_owned()),
                summary: "A chair".to_owned(),
                time_zone: "Europe/Berlin".to_owned(),
                ..NewCalendar::default()
            };
            sandbox.add_calendar(OWNER, calendar).unwrap();
        }
        Self { token: sandbox.bearer_token(OWNER), sandbox, watch: Mutex::default() }
    }

    pub(crate) fn bearer(&self) -> AccessToken {
        AccessToken::new(self.token.clone())
    }

    pub(crate) const fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// The owner does something. Returns the status and the body.
    pub(crate) async fn owner(&self, verb: &str, chair: usize, rest: &str, body: &Value) -> (u16, Value) {
        let request = Request::builder()
            .method(verb)
            .uri(format!("{ROOT}/calendars/{}/events{rest}", CALENDARS[chair]))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, "application/json")
            .body(if body.is_null() { String::new() } else { body.to_string() })
            .unwrap();
        let response = self.sandbox.answer(request).await.unwrap();
        let (status, body) = (response.status().as_u16(), response.into_body());
        if verb != "GET" && (200..300).contains(&status) {
            self.watch.lock().unwrap().writes += 1;
        }
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// The owner has just changed the time of an event.
    pub(crate) fn owner_moved(&self, event: &str) {
        self.watch.lock().unwrap().unseen.insert(event.to_owned());
    }

    /// What slotd overwrote unseen.
    pub(crate) fn overwritten(&self) -> Option<String> {
        self.watch.lock().unwrap().overwritten.pop()
    }

    /// Whether a full list left this event out at some time.
    pub(crate) fn was_forgotten(&self, event: &str) -> bool {
        self.watch.lock().unwrap().forgotten.contains(event)
    }

    pub(crate) fn writes(&self) -> usize {
        self.watch.lock().unwrap().writes
    }

    /// Every event of a calendar by its id, deleted ones included.
    pub(crate) async fn events(&self, chair: usize) -> Vec<Value> {
        let (status, list) = self.owner("GET", chair, "?maxResults=2500&showDeleted=true", &Value::Null).await;
        assert_eq!(status, 200, "{list}");
        list["items"].as_array().unwrap().clone()
    }

    fn note(&self, ask: &Ask, status: u16, body: &[u8]) {
        let mut watch = self.watch.lock().unwrap();
        let done = (200..300).contains(&status);
        if done && ask.verb != "GET" {
            watch.writes += 1;
        }
        let Some(event) = &ask.event else {
            if ask.verb == "GET" && done {
                let list: Value = serde_json::from_slice(body).unwrap_or_default();
                for item in list["items"].as_array().into_iter().flatten() {
                    watch.unseen.remove(item["id"].as_str().unwrap_or_default());
                }
            }
            return;
        };
        match ask.verb.as_str() {
            "PATCH" | "PUT" if done && watch.unseen.contains(event) => {
                watch
                    .overwritten
                    .push(format!("{} of {event} over an edit of the owner's that was not seen", ask.verb));
            }
            "GET" => {
                watch.unseen.remove(event);
            }
            _ => {}
        }
    }
}

/// slotd's way to Google.
pub(crate) struct Wire {
    pub(crate) gate: Arc<Gate>,
    pub(crate) google: Arc<Google>,
}

fn ask(request: &Request<String>) -> Ask {
    let path = request.uri().path().strip_prefix("/calendar/v3/").unwrap_or_default();
    let mut parts = path.split('/').skip(1);
    let calendar = parts.next().map(|id| id.replace("%40", "@"));
    let event = parts.nth(1).map(str::to_owned);
    let query = request.uri().query().unwrap_or_default();
    let lists = request.method() == hyper::Method::GET && path.ends_with("/events");
    Ask {
        verb: request.method().to_string(),
        chair: calendar.and_then(|id| CALENDARS.iter().position(|known| *known == id)),
        event,
        conditional: request.headers().contains_key(header::IF_MATCH),
        full_list: lists.then(|| !query.contains("syncToken=")),
    }
}

fn refusal(status: u16) -> Response<Bytes> {
    let (domain, reason) = match status {
        403 | 429 => ("usageLimits", "rateLimitExceeded"),
        _ => ("global", "backendError"),
    };
    let body = json!({ "error": {
        "code": status, "message": reason, "errors": [{ "domain": domain, "reason": reason, "message": reason }],
    } });
    let response = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
    response.body(Bytes::from(body.to_string())).unwrap()
}

/// Leaves the first of slotd's own events out of a list.
fn forget(body: &Bytes, google: &Google) -> Bytes {
    let mut list: Value = serde_json::from_slice(body).unwrap_or_default();
    if let Some(items) = list["items"].as_array_mut()
        && let Some(place) = items.iter().position(|item| is_derived(item["id"].as_str().unwrap_or_default()))
    {
        let item = items.remove(place);
        google.watch.lock().unwrap().forgotten.insert(item["id"].as_str().unwrap_or_default().to_owned());
    }
    Bytes::from(list.to_string())
}

/// Whether slotd made up this id.
pub(crate) fn is_derived(id: &str) -> bool {
    id.len() == DERIVED_LENGTH
}

impl InProcess for Wire {
    fn answer(&self, mut request: Request<String>) -> BoxFuture<'_, Option<Response<Bytes>>> {
        Box::pin(async move {
            let ask = ask(&request);
            let fate = self.gate.stop(Point::Asks(ask.clone())).await;
            match fate {
                Fate::Lose => return None,
                Fate::Refuse(status) => return Some(refusal(status)),
                Fate::Go | Fate::Forget => {}
            }
            request.headers_mut().remove(header::ACCEPT_ENCODING);
            let mut response = self.google.sandbox.answer(request).await?;
            self.google.note(&ask, response.status().as_u16(), response.body());
            if fate == Fate::Forget {
                response = response.map(|body| forget(&body, &self.google));
            }
            match self.gate.stop(Point::Answers(ask, response.status().as_u16())).await {
                Fate::Lose => None,
                _ => Some(response),
            }
        })
    }
}
