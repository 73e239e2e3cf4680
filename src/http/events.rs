//! A running call hears what becomes of the slots that it was offered or holds (server-sent events).

use std::{
    collections::HashMap,
    convert::Infallible,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use chrono::{DateTime, Utc};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Path, Problem, Query,
    api::Api,
    availability::check_call,
    wire::{AlternativeBody, language, local},
};
use crate::{
    auth::Caller,
    availability::{Besides, Reason, Slot, is_ambiguous, spoken},
    booking::{CallEvent, CallWatch, Ending, HoldStanding, Message, News, OVER, OfferStanding, Told, Voices},
    config,
    domain::{BookingId, BusinessId, id::ApiKeyId},
    store::{api_keys::Scope, offers::Offer},
};

/// When a client that was cut off should come back.
const RETRY: Duration = Duration::from_secs(1);
/// How often a silent stream says that it lives, so that no proxy takes it for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Events that wait for a slow reader, and how long one may wait.
const WAITING_MAX: usize = 32;
const PATIENCE: Duration = Duration::from_secs(10);
/// When somebody who found no room may come back, in seconds.
const ROOM_AFTER_S: u32 = 5;

/// The open streams of this node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Streams {
    open: Arc<Mutex<Open>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    per_business: usize,
    per_key: usize,
}

#[derive(Debug, Default)]
struct Open {
    of_business: HashMap<BusinessId, usize>,
    of_key: HashMap<ApiKeyId, usize>,
}

/// Room for one stream, given back when it is dropped.
#[derive(Debug)]
struct Place {
    streams: Streams,
    business: BusinessId,
    key: ApiKeyId,
}

impl Streams {
    /// No streams yet. They end when `stop` is cancelled.
    #[must_use]
    pub fn new(config: &config::Calls, stop: CancellationToken) -> Self {
        let (per_business, per_key) = (config.streams_per_business, config.streams_per_key);
        Self { open: Arc::default(), tasks: TaskTracker::new(), stop, per_business, per_key }
    }

    /// Waits for the stop of the process, and then until each stream has told its client so.
    pub async fn run(self) {
        self.stop.cancelled().await;
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, business: BusinessId, key: ApiKeyId) -> Result<Place, Problem> {
        if self.stop.is_cancelled() {
            return Err(Problem::unavailable(1, "slotd is stopping"));
        }
        let mut open = self.lock();
        let full = |reason| Err(Problem::too_many_requests(ROOM_AFTER_S).because(reason));
        if open.of_business.get(&business).copied().unwrap_or_default() >= self.per_business {
            return full("streams_of_business");
        }
        if open.of_key.get(&key).copied().unwrap_or_default() >= self.per_key {
            return full("streams_of_key");
        }
        *open.of_business.entry(business).or_default() += 1;
        *open.of_key.entry(key).or_default() += 1;
        drop(open);
        Ok(Place { streams: self.clone(), business, key })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.streams.lock();
        leave(&mut open.of_business, &self.business);
        leave(&mut open.of_key, &self.key);
    }
}

fn leave<K: Eq + Hash>(open: &mut HashMap<K, usize>, of: &K) {
    if let Some(count) = open.get_mut(of) {
        *count -= 1;
        if *count == 0 {
            open.remove(of);
        }
    }
}

/// Parameters of `GET calls/{call_id}/events`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    language: Option<String>,
}

/// Tells a call what becomes of its slots, until there is nothing left to tell of.
pub(super) async fn events(
    State(api): State<Api>,
    caller: Caller,
    Path((business, call_id)): Path<(BusinessId, String)>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.at(business, Scope::Receptionist)?;
    check_call(Some(&call_id), "call_id")?;
    let language = language("language", query.language.as_deref())?;
    let (last, was_over) = last_event(&headers)?;
    let place = api.streams.enter(business, caller.key)?;
    let (watch, first) = api.desk.watch_call(business, call_id, last, language).await?;
    if was_over && !first.iter().any(|event| is_lively(&event.message)) {
        // The word for clients that come back by themselves: do not.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let stop = api.streams.stop.clone();
    api.streams.tasks.spawn(async move {
        pump(watch, first, sender, stop).await;
        drop(place);
    });
    let told = stream::unfold(receiver, |mut receiver| async move {
        let event: CallEvent = receiver.recv().await?;
        Some((Ok::<Event, Infallible>(render(&event)), receiver))
    });
    let alive = KeepAlive::new().interval(KEEP_ALIVE).text("alive");
    let mut response = Sse::new(told).keep_alive(alive).into_response();
    // Proxies that collect answers would keep the events to themselves.
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

/// What a client was told that comes back, and whether that was the end.
fn last_event(headers: &HeaderMap) -> Result<(Option<Told>, bool), Problem> {
    let Some(value) = headers.get("last-event-id").filter(|value| !value.is_empty()) else { return Ok((None, false)) };
    if value == OVER {
        return Ok((None, true));
    }
    let told = value.to_str().ok().and_then(Told::parse);
    let expected = || Problem::invalid("Last-Event-ID", "send the `id` of the last event, unchanged, or leave it out");
    told.map(|told| (Some(told), false)).ok_or_else(expected)
}

/// Whether there is anything to hear of a call that was over.
fn is_lively(message: &Message) -> bool {
    let Message::Hello { picture, .. } = message else { return false };
    let live = |hold: &crate::booking::Hold| matches!(hold.standing, HoldStanding::Live(..));
    !picture.offers.is_empty() || picture.holds.iter().any(live)
}

/// Hands events on as they come, until the last, the client's leaving, or the stop of the process.
async fn pump(mut watch: CallWatch, first: Vec<CallEvent>, sender: mpsc::Sender<CallEvent>, stop: CancellationToken) {
    let mut events = first;
    loop {
        for event in events {
            if !hand_on(&sender, event, PATIENCE).await {
                return;
            }
        }
        if watch.is_over() {
            return;
        }
        events = tokio::select! {
            () = stop.cancelled() => vec![watch.end(Ending::Stopping)],
            () = sender.closed() => return,
            events = watch.next() => events,
        };
    }
}

/// `false` when the client is gone, or too slow: its stream ends, and it may come back with the last event it read.
async fn hand_on<T>(sender: &mpsc::Sender<T>, event: T, patience: Duration) -> bool {
    let Ok(sent) = timeout(patience, sender.send(event)).await else {
        tracing::debug!("a client reads its events too slowly; its stream ends");
        return false;
    };
    sent.is_ok()
}

fn render(event: &CallEvent) -> Event {
    let (name, data) = body(event);
    let told = Event::default().id(&event.id).event(name).retry(RETRY);
    // What is made of strings and numbers can be written.
    told.json_data(data).unwrap_or_default()
}

fn body(event: &CallEvent) -> (&'static str, Value) {
    let (voices, now) = (&*event.voices, event.now);
    let mut data = Map::new();
    let mut put = |name: &str, value: Value| _ = data.insert(name.to_owned(), value);
    put("at", json!(local(now, voices.anybody().zone)));
    let name = match &event.message {
        Message::Hello { picture, resumed } => {
            put("resumed", json!(resumed));
            let offers = picture.offers.iter().map(|(offer, standing)| offer_body(offer, *standing, voices, now));
            put("offers", offers.collect());
            let live = picture.holds.iter().filter_map(|hold| match hold.standing {
                HoldStanding::Live(until, by) => Some((hold, until, by)),
                _ => None,
            });
            let holds = live.map(|(hold, until, by)| {
                let mut body = held(&hold.slot, hold.id, voices, now);
                expiry(&mut body, &hold.slot, until, voices, now);
                if let Some(by) = by {
                    body.insert("by".to_owned(), json!(by.as_str()));
                }
                Value::Object(body)
            });
            put("holds", holds.collect());
            "hello"
        }
        Message::News { news, next_free } => {
            let (name, slot, hold) = match news {
                News::Taken(slot, hold, by, reason) => {
                    put("by", json!(by.as_str()));
                    put("reason", json!(reason));
                    let next = next_free.iter().map(|next| {
                        serde_json::to_value(AlternativeBody::new(next, voices.of(next.slot.resource), now))
                            .unwrap_or_default()
                    });
                    put("next_free", next.collect());
                    ("taken", slot, *hold)
                }
                News::FreeAgain(slot, hold) => ("free_again", slot, *hold),
                News::HoldExpiring(slot, hold, until) => {
                    let mut body = Map::new();
                    expiry(&mut body, slot, *until, voices, now);
                    for (name, value) in body {
                        put(&name, value);
                    }
                    ("hold_expiring", slot, Some(*hold))
                }
                News::HoldExpired(slot, hold) => ("hold_expired", slot, Some(*hold)),
                News::HoldReleased(slot, hold) => ("hold_released", slot, Some(*hold)),
                News::HoldBooked(slot, hold) => ("hold_booked", slot, Some(*hold)),
            };
            if let Some(hold) = hold {
                put("hold_id", json!(hold));
            }
            put("slot", Value::Object(slot_body(slot, voices, now)));
            name
        }
        Message::Ended(why) => {
            put("reason", json!(why.as_str()));
            put("reconnect", json!(why.is_for_now()));
            "ended"
        }
    };
    (name, Value::Object(data))
}

fn slot_body(offer: &Offer, voices: &Voices, now: DateTime<Utc>) -> Map<String, Value> {
    let voice = voices.of(offer.resource);
    let slot = Slot { interval: offer.interval, resource: offer.resource, besides: Besides::default() };
    let mut body = Map::new();
    body.insert("start".to_owned(), json!(local(slot.interval.start(), voice.zone)));
    body.insert("end".to_owned(), json!(local(slot.interval.end(), voice.zone)));
    body.insert("resource".to_owned(), json!(slot.resource));
    if let Some(service) = offer.service {
        body.insert("service".to_owned(), json!(service));
    }
    body.insert("spoken".to_owned(), json!(spoken(slot.interval.start(), voice, now)));
    if is_ambiguous(slot.interval.start(), voice.zone) {
        body.insert("ambiguous".to_owned(), json!(true));
    }
    body
}

fn offer_body(offer: &Offer, standing: OfferStanding, voices: &Voices, now: DateTime<Utc>) -> Value {
    let (status, taken): (_, Option<(&str, Reason)>) = match standing {
        OfferStanding::Free => ("free", None),
        OfferStanding::Taken(by, reason) => ("taken", Some((by.as_str(), reason))),
        OfferStanding::Unknown => ("unknown", None),
    };
    let mut body = Map::new();
    body.insert("status".to_owned(), json!(status));
    if let Some((by, reason)) = taken {
        body.insert("by".to_owned(), json!(by));
        body.insert("reason".to_owned(), json!(reason));
    }
    body.insert("slot".to_owned(), Value::Object(slot_body(offer, voices, now)));
    Value::Object(body)
}

fn held(slot: &Offer, id: BookingId, voices: &Voices, now: DateTime<Utc>) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("hold_id".to_owned(), json!(id));
    body.insert("slot".to_owned(), Value::Object(slot_body(slot, voices, now)));
    body
}

fn expiry(body: &mut Map<String, Value>, slot: &Offer, until: DateTime<Utc>, voices: &Voices, now: DateTime<Utc>) {
    body.insert("expires_at".to_owned(), json!(local(until, voices.of(slot.resource).zone)));
    body.insert("expires_in_s".to_owned(), json!((until - now).num_seconds().max(0)));
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn streams(per_business: usize, per_key: usize) -> Streams {
        let config =
            config::Calls { streams_per_business: per_business, streams_per_key: per_key, ..Default::default() };
        Streams::new(&config, CancellationToken::new())
    }

    fn business(number: u128) -> BusinessId {
        BusinessId::new(Uuid::from_u128(number))
    }

    fn key(number: u128) -> ApiKeyId {
        ApiKeyId::new(Uuid::from_u128(number))
    }

    #[test]
    fn there_is_room_for_so_many_streams_and_for_another_when_one_ends() {
        let streams = streams(2, 3);
        let first = streams.enter(business(1), key(1)).unwrap();
        let _second = streams.enter(business(1), key(2)).unwrap();
        let full = streams.enter(business(1), key(3)).unwrap_err();
        assert_eq!(full.status(), StatusCode::TOO_MANY_REQUESTS);
        drop(first);
        let _third = streams.enter(business(1), key(1)).unwrap();
        let _fourth = streams.enter(business(2), key(1)).unwrap();
        let _fifth = streams.enter(business(3), key(1)).unwrap();
        assert!(streams.enter(business(4), key(1)).is_err(), "the key has as many as it may");
        assert!(streams.enter(business(4), key(2)).is_ok());
    }

    #[test]
    fn nothing_is_kept_of_streams_that_ended() {
        let streams = streams(2, 2);
        drop(streams.enter(business(1), key(1)).unwrap());
        assert!(streams.lock().of_business.is_empty() && streams.lock().of_key.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_nothing_for_long_is_dropped() {
        let (sender, mut receiver) = mpsc::channel(1);
        assert!(hand_on(&sender, 1, PATIENCE).await);
        assert!(!hand_on(&sender, 2, PATIENCE).await, "there is no room, and nobody reads");
        assert_eq!(receiver.recv().await, Some(1));
        assert!(hand_on(&sender, 3, PATIENCE).await);
        drop(receiver);
        assert!(!hand_on(&sender, 4, PATIENCE).await, "the client is gone");
    }
}
