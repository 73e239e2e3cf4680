//! Watch channels and the notifications they carry.

mod carry;
mod forge;

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::faults::Effect;
use crate::state::AppState;
use carry::Carrier;
pub use forge::{Forgery, NoChannel, Push};

/// Most notifications that may wait for one receiver; further ones are lost, as happens with Google.
const WAITING_MAX: usize = 4096;
/// Most channels that are remembered after their end.
const ENDED_MAX: usize = 256;
/// How long a watch call waits for the messages that are to arrive before its answer.
const FIRST_TIMEOUT: Duration = Duration::from_secs(10);

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

/// A channel as tests and scripts see it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenChannel {
    /// The id that its opener gave it.
    pub id: String,
    /// Names what it watches.
    pub resource_id: String,
    /// The calendar whose events it watches; empty when it watches something else.
    pub calendar: String,
    /// Who opened it.
    pub user: String,
    /// Where it sends to.
    pub address: String,
    /// When it ends.
    pub expiration: DateTime<Utc>,
    /// The number of its latest message.
    pub messages: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Sync,
    Exists,
    NotExists,
}

#[derive(Clone, Copy, Debug)]
struct Message {
    number: u64,
    state: State,
}

#[derive(Debug)]
struct Live {
    channel: Channel,
    number: u64,
    messages: mpsc::Sender<Message>,
    /// How many messages have left the queue.
    carried: watch::Receiver<u64>,
    stop: CancellationToken,
}

/// The live channels by id, and those that have ended lately.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    live: Mutex<HashMap<String, Live>>,
    ended: Mutex<VecDeque<(Channel, u64)>>,
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
        self.end(|channel| channel.id == id && channel.resource_id == resource_id && channel.user == user) > 0
    }

    /// Ends all channels of a user, as when the grant is revoked.
    pub(crate) fn stop_all_of(&self, user: &str) {
        self.end(|channel| channel.user == user);
    }

    /// Ends the channels for which `ends` holds, without a word to anybody. Returns how many.
    pub(crate) fn end(&self, ends: impl Fn(&Channel) -> bool) -> usize {
        let gone: Vec<Live> = {
            let mut live = self.lock();
            live.extract_if(|_, live| ends(&live.channel)).map(|(_, live)| live).collect()
        };
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        for live in &gone {
            if ended.len() == ENDED_MAX {
                ended.pop_front();
            }
            ended.push_back((live.channel.clone(), live.number));
        }
        gone.len()
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// The channels that still say something, by id.
    pub(crate) fn open(&self) -> Vec<OpenChannel> {
        let now = clock::now();
        let mut open: Vec<OpenChannel> =
            self.lock().values().filter(|live| live.channel.expiration > now).map(Live::shown).collect();
        open.sort_by(|one, other| one.id.cmp(&other.id));
        open
    }

    /// Waits until a channel's first messages have been carried: the sync message and `further` ones.
    pub(crate) async fn first_carried(&self, id: &str, further: u32) {
        let Some(mut carried) = self.lock().get(id).map(|live| live.carried.clone()) else { return };
        let first = carried.wait_for(|carried| *carried > u64::from(further));
        // A receiver that does not answer must not keep the watch call open for ever.
        let _ = tokio::time::timeout(FIRST_TIMEOUT, first).await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    fn say(&mut self, state: State) {
        self.number += 1;
        // A receiver that is far behind loses messages; the numbers show the gap.
        let _ = self.messages.try_send(Message { number: self.number, state });
    }

    fn shown(&self) -> OpenChannel {
        let Channel { id, resource_id, calendar, user, address, expiration, .. } = self.channel.clone();
        OpenChannel { id, resource_id, calendar, user, address, expiration, messages: self.number }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Opens a channel and sends its sync message. `false` when the id is in use. `effect` is what has struck the watch call.
pub(crate) fn open(state: &AppState, channel: Channel, effect: Option<&Effect>) -> bool {
    let now = clock::now();
    state.channels.end(|channel| channel.expiration <= now);
    let mut live = state.channels.lock();
    if live.contains_key(&channel.id) {
        return false;
    }
    let (messages, waiting) = mpsc::channel(WAITING_MAX);
    let (progress, carried) = watch::channel(0);
    let stop = state.stop.child_token();
    let mut opened = Live { channel: channel.clone(), number: 0, messages, carried, stop: stop.clone() };
    opened.say(State::Sync);
    if let Some(Effect::SyncFirst { messages }) = effect {
        (0..*messages).for_each(|_| opened.say(State::Exists));
    }
    live.insert(channel.id.clone(), opened);
    let journey = Carrier::new(state.clone(), channel, waiting, progress, stop.clone());
    state.tasks.spawn(stop.run_until_cancelled_owned(journey.run(effect.cloned())));
    true
}
