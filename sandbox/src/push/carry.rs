//! Carries a channel's messages to their receiver, with whatever befalls them on the way.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::Full;
use hyper::Request;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::forge::forged;
use super::{Channel, Message, State};
use crate::clock;
use crate::faults::{Effect, PUSH, Target};
use crate::state::AppState;

/// How long a receiver may take for one notification.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The wait before the first retry, doubled each time.
const RETRY_AFTER: Duration = Duration::from_millis(200);
const RETRIES_MAX: u32 = 6;
/// How long a message that is to come after the next one waits for it.
const SWAP_MAX: Duration = Duration::from_secs(1);

pub(super) type Sender = Client<HttpConnector, Full<Bytes>>;

pub(super) fn sender() -> Sender {
    Client::builder(TokioExecutor::new()).build(HttpConnector::new())
}

/// A notification as it goes out.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) channel: Channel,
    pub(super) message: Message,
    pub(super) tells_expiration: bool,
}

pub(super) struct Carrier {
    state: AppState,
    channel: Channel,
    client: Sender,
    waiting: mpsc::Receiver<Message>,
    carried: watch::Sender<u64>,
    stop: CancellationToken,
    /// A message that is to come after the next one.
    held: Option<Letter>,
    /// What gaps and bursts have added to the numbers.
    added: u64,
}

impl Carrier {
    pub(super) fn new(
        state: AppState,
        channel: Channel,
        waiting: mpsc::Receiver<Message>,
        carried: watch::Sender<u64>,
        stop: CancellationToken,
    ) -> Self {
        Self { state, channel, client: sender(), waiting, carried, stop, held: None, added: 0 }
    }

    /// Sends the messages in order until the channel ends. `effect` is what has struck the watch call.
    pub(super) async fn run(mut self, effect: Option<Effect>) {
        let (state, id) = (self.state.clone(), self.channel.id.clone());
        match effect {
            Some(Effect::SyncLater { ms }) => {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                self.carry(u64::MAX).await;
            }
            Some(Effect::DieEarly { messages, ms }) => {
                let life = ms.map_or(Duration::MAX, Duration::from_millis);
                let _ = tokio::time::timeout(life, self.carry(messages.unwrap_or(u64::MAX))).await;
            }
            _ => self.carry(u64::MAX).await,
        }
        state.channels.end(|channel| channel.id == id);
    }

    async fn carry(&mut self, most: u64) {
        let mut handled = 0;
        while handled < most {
            let next = match self.held.take() {
                None => self.waiting.recv().await,
                Some(held) => {
                    let next = tokio::time::timeout(SWAP_MAX, self.waiting.recv()).await;
                    self.held = Some(held);
                    let Ok(next) = next else {
                        self.release().await;
                        continue;
                    };
                    next
                }
            };
            let Some(message) = next else { return };
            if clock::now() >= self.channel.expiration {
                return;
            }
            let swapped = self.held.is_some();
            self.one(message).await;
            if swapped {
                self.release().await;
            }
            handled += 1;
            self.carried.send_replace(handled);
        }
    }

    /// Sends the message that was held back.
    async fn release(&mut self) {
        if let Some(letter) = self.held.take() {
            self.deliver(letter).await;
        }
    }

    async fn one(&mut self, mut message: Message) {
        let target = Target {
            method: PUSH,
            calendar: Some(&self.channel.calendar),
            user: Some(&self.channel.user),
            channel: Some(&self.channel.id),
            ..Target::default()
        };
        let effect = self.state.faults.strike(target);
        if let Some(Effect::Gap { numbers }) = effect {
            self.added += numbers;
        }
        message.number += self.added;
        if effect == Some(Effect::NotExists) {
            message.state = State::NotExists;
        }
        let tells_expiration = effect != Some(Effect::WithoutExpiration);
        let letter = Letter { channel: self.channel.clone(), message, tells_expiration };
        match effect {
            Some(Effect::Drop) => return,
            Some(Effect::Delay { ms }) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Some(Effect::Late { ms }) => return self.postpone(letter, Duration::from_millis(ms)),
            Some(Effect::Swap) if self.held.is_none() => {
                self.held = Some(letter);
                return;
            }
            Some(Effect::Twice) => {
                send(&self.client, &letter).await;
            }
            Some(Effect::Burst { messages }) => {
                let further = u64::from(messages) - 1;
                self.added += further;
                let number = letter.message.number;
                let letters = (number + 1..=number + further).map(|number| letter.numbered(number));
                join_all(letters.map(|letter| self.deliver(letter))).await;
            }
            Some(Effect::Forge { forgery }) => {
                if let Some(forged) = forged(&self.state.channels, &letter, forgery) {
                    send(&self.client, &forged).await;
                }
            }
            _ => {}
        }
        self.deliver(letter).await;
    }

    async fn deliver(&self, letter: Letter) {
        tokio::time::sleep(self.state.options.push_delay).await;
        if send(&self.client, &letter).await.is_some_and(is_repeated) {
            // Later messages do not wait for one that has to be repeated.
            let repeat = repeat(self.client.clone(), letter);
            self.state.tasks.spawn(self.stop.clone().run_until_cancelled_owned(repeat));
        }
    }

    fn postpone(&self, letter: Letter, wait: Duration) {
        let client = self.client.clone();
        let late = async move {
            tokio::time::sleep(wait).await;
            if send(&client, &letter).await.is_some_and(is_repeated) {
                repeat(client, letter).await;
            }
        };
        self.state.tasks.spawn(self.stop.clone().run_until_cancelled_owned(late));
    }
}

impl Letter {
    pub(super) fn numbered(&self, number: u64) -> Self {
        let mut letter = self.clone();
        letter.message.number = number;
        letter
    }
}

async fn repeat(client: Sender, letter: Letter) {
    for retry in 0..RETRIES_MAX {
        tokio::time::sleep(RETRY_AFTER * 2_u32.pow(retry)).await;
        if clock::now() >= letter.channel.expiration || !send(&client, &letter).await.is_some_and(is_repeated) {
            return;
        }
    }
}

/// Google repeats a message only on these statuses.
pub(super) fn is_repeated(status: u16) -> bool {
    matches!(status, 500 | 502 | 503 | 504)
}

/// Sends a notification. Returns the receiver's status, if it answered.
pub(super) async fn send(client: &Sender, letter: &Letter) -> Option<u16> {
    let Letter { channel, message, tells_expiration } = letter;
    let state = match message.state {
        State::Sync => "sync",
        State::Exists => "exists",
        State::NotExists => "not_exists",
    };
    let mut request = Request::post(&channel.address)
        .header("Content-Type", "application/json; utf-8")
        .header("Content-Length", "0")
        .header("User-Agent", "APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)")
        .header("X-Goog-Channel-ID", &channel.id)
        .header("X-Goog-Message-Number", message.number)
        .header("X-Goog-Resource-ID", &channel.resource_id)
        .header("X-Goog-Resource-State", state)
        .header("X-Goog-Resource-URI", &channel.resource_uri);
    if *tells_expiration {
        let expiration = channel.expiration.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        request = request.header("X-Goog-Channel-Expiration", expiration);
    }
    if let Some(token) = &channel.token {
        request = request.header("X-Goog-Channel-Token", token);
    }
    let request = request.body(Full::new(Bytes::new())).ok()?;
    match tokio::time::timeout(ANSWER_TIMEOUT, client.request(request)).await {
        Ok(Ok(response)) => Some(response.status().as_u16()),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a notification was not delivered");
            None
        }
        Err(_) => None,
    }
}
