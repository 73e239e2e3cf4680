//! Watch channels and the notifications they carry.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http_body_util::Full;
use hyper::Request;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::faults::Effect;
use crate::state::AppState;

/// Most notifications that may wait for one receiver; further ones are lost, as happens with Google.
const WAITING_MAX: usize = 4096;
/// How long a receiver may take for one notification.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The wait before the first retry, doubled each time.
const RETRY_AFTER: Duration = Duration::from_millis(200);
const RETRIES_MAX: u32 = 6;

/// A watch channel.
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    pub(crate) id: String,
    pub(crate) resource_id: String,
    pub(crate) resource_uri: String,
    pub(crate) calendar: String,
    pub(crate) user: String,
    pub(crate) address: String,
    pub(crate) token: Option<String>,
    pub(crate) expiration: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Sync,
    Exists,
}

#[derive(Debug)]
struct Live {
    channel: Channel,
    number: u64,
    messages: mpsc::Sender<(u64, State)>,
    stop: CancellationToken,
}

/// The live channels by id.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    live: Mutex<HashMap<String, Live>>,
}

impl Channels {
    /// Tells every channel that watches a resource that it has changed.
    pub(crate) fn notify(&self, resource_id: &str) {
        for live in self.lock().values_mut().filter(|live| live.channel.resource_id == resource_id) {
            live.say(State::Exists);
        }
    }

    /// Ends a channel that the user opened. Returns whether there was one.
    pub(crate) fn stop(&self, id: &str, resource_id: &str, user: &str) -> bool {
        let mut live = self.lock();
        let fits = |channel: &Channel| channel.resource_id == resource_id && channel.user == user;
        if !live.get(id).is_some_and(|live| fits(&live.channel)) {
            return false;
        }
        live.remove(id);
        true
    }

    /// Ends all channels of a user, as when the grant is revoked.
    pub(crate) fn stop_all_of(&self, user: &str) {
        self.lock().retain(|_, live| live.channel.user != user);
    }

    /// Ends the channels of a calendar that one user, or anybody, has opened.
    pub(crate) fn stop_all_for(&self, calendar: &str, user: Option<&str>) {
        let ends = |channel: &Channel| channel.calendar == calendar && user.is_none_or(|user| channel.user == user);
        self.lock().retain(|_, live| !ends(&live.channel));
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    fn say(&mut self, state: State) {
        self.number += 1;
        // A receiver that is far behind loses messages; the numbers show the gap.
        let _ = self.messages.try_send((self.number, state));
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Opens a channel and sends its sync message. `false` when the id is in use.
pub(crate) fn open(state: &AppState, channel: Channel) -> bool {
    let mut live = state.channels.lock();
    let now = clock::now();
    live.retain(|_, live| live.channel.expiration > now);
    if live.contains_key(&channel.id) {
        return false;
    }
    let (messages, waiting) = mpsc::channel(WAITING_MAX);
    let stop = state.stop.child_token();
    let mut opened = Live { channel: channel.clone(), number: 0, messages, stop: stop.clone() };
    opened.say(State::Sync);
    live.insert(channel.id.clone(), opened);
    state.tasks.spawn(stop.clone().run_until_cancelled_owned(carry(state.clone(), channel, waiting, stop)));
    true
}

/// Sends a channel's messages in order until it ends.
async fn carry(state: AppState, channel: Channel, mut waiting: mpsc::Receiver<(u64, State)>, stop: CancellationToken) {
    let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    while let Some((number, kind)) = waiting.recv().await {
        if clock::now() >= channel.expiration {
            return;
        }
        match state.faults.strike("push", Some(&channel.calendar), Some(&channel.user)) {
            Some(Effect::Delay { ms }) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Some(Effect::Twice) => {
                send(&client, &channel, number, kind).await;
            }
            Some(_) => continue,
            None => {}
        }
        tokio::time::sleep(state.options.push_delay).await;
        if send(&client, &channel, number, kind).await == Sent::Retry {
            // Later messages do not wait for one that has to be repeated.
            let repeat = repeat(client.clone(), channel.clone(), number, kind);
            state.tasks.spawn(stop.clone().run_until_cancelled_owned(repeat));
        }
    }
}

async fn repeat(client: Client<HttpConnector, Full<Bytes>>, channel: Channel, number: u64, kind: State) {
    for retry in 0..RETRIES_MAX {
        tokio::time::sleep(RETRY_AFTER * 2_u32.pow(retry)).await;
        if clock::now() >= channel.expiration || send(&client, &channel, number, kind).await != Sent::Retry {
            return;
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    Done,
    /// Google repeats a message only on these statuses: 500, 502, 503, 504.
    Retry,
}

async fn send(client: &Client<HttpConnector, Full<Bytes>>, channel: &Channel, number: u64, kind: State) -> Sent {
    let mut request = Request::post(&channel.address)
        .header("Content-Type", "application/json; utf-8")
        .header("Content-Length", "0")
        .header("User-Agent", "APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)")
        .header("X-Goog-Channel-ID", &channel.id)
        .header("X-Goog-Channel-Expiration", channel.expiration.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
        .header("X-Goog-Message-Number", number)
        .header("X-Goog-Resource-ID", &channel.resource_id)
        .header("X-Goog-Resource-State", if matches!(kind, State::Sync) { "sync" } else { "exists" })
        .header("X-Goog-Resource-URI", &channel.resource_uri);
    if let Some(token) = &channel.token {
        request = request.header("X-Goog-Channel-Token", token);
    }
    let Ok(request) = request.body(Full::new(Bytes::new())) else { return Sent::Done };
    match tokio::time::timeout(ANSWER_TIMEOUT, client.request(request)).await {
        Ok(Ok(response)) if matches!(response.status().as_u16(), 500 | 502 | 503 | 504) => Sent::Retry,
        Ok(Ok(_)) | Err(_) => Sent::Done,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a notification was not delivered");
            Sent::Done
        }
    }
}
