//! Notifications that a test asks for: true ones, many at once, and forged ones.

use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};

use super::carry::{Letter, send, sender};
use super::{Channel, Channels, Message, State};
use crate::state::AppState;

/// Most notifications that are on their way at a time.
const AT_ONCE: usize = 64;
/// Most notifications of one order.
const MESSAGES_MAX: u32 = 100_000;

/// What is wrong with a forged notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Forgery {
    /// Another token than the channel's.
    WrongToken,
    /// No token.
    NoToken,
    /// The id of a channel that never was.
    UnknownChannel,
    /// The token of another channel that is open.
    OtherToken,
    /// The id of another resource.
    WrongResource,
    /// True in every part, but of a channel that has ended.
    EndedChannel,
    /// A message of an open channel that has come before.
    Replay,
}

/// Notifications to send now, besides those that writes cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Push {
    /// The calendar whose channel is used.
    pub calendar: String,
    /// The channel; any of the calendar when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// How many, all at once.
    #[serde(default = "one")]
    pub messages: u32,
    /// What is wrong with them; nothing when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forgery: Option<Forgery>,
}

fn one() -> u32 {
    1
}

/// Why notifications could not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoChannel {
    /// There is no open channel to use.
    #[error("calendar: no channel of this calendar is open")]
    NotOpen,
    /// A channel that has ended is needed.
    #[error("forgery: no channel of this calendar has ended yet")]
    NotEnded,
    /// Two channels are needed.
    #[error("forgery: only one channel is open; the token of another is needed")]
    NoOther,
    /// Too many at once.
    #[error("messages: give a number from 1 to 100000")]
    TooMany,
}

impl Push {
    /// True notifications for a calendar.
    #[must_use]
    pub fn genuine(calendar: &str, messages: u32) -> Self {
        Self { calendar: calendar.to_owned(), channel: None, messages, forgery: None }
    }

    /// A forged notification for a calendar.
    #[must_use]
    pub fn forged(calendar: &str, forgery: Forgery) -> Self {
        Self { forgery: Some(forgery), ..Self::genuine(calendar, 1) }
    }

    /// Sends the notifications, past faults and queues. Returns the receiver's statuses in order, 0 for no answer.
    pub(crate) async fn send(self, state: &AppState) -> Result<Vec<u16>, NoChannel> {
        let letters = self.letters(&state.channels)?;
        let client = sender();
        let sent = stream::iter(letters).map(|letter| {
            let client = client.clone();
            async move { send(&client, &letter).await.unwrap_or(0) }
        });
        Ok(sent.buffered(AT_ONCE).collect().await)
    }

    fn letters(&self, channels: &Channels) -> Result<Vec<Letter>, NoChannel> {
        if !(1..=MESSAGES_MAX).contains(&self.messages) {
            return Err(NoChannel::TooMany);
        }
        let fits = |channel: &Channel| {
            channel.calendar == self.calendar && self.channel.as_ref().is_none_or(|id| channel.id == *id)
        };
        let first = if self.forgery == Some(Forgery::EndedChannel) {
            let (channel, number) = channels.last_ended(fits).ok_or(NoChannel::NotEnded)?;
            Letter::exists(channel, number + 1)
        } else {
            let mut live = channels.lock();
            let live = live.values_mut().find(|live| fits(&live.channel)).ok_or(NoChannel::NotOpen)?;
            let first = live.number + 1;
            if self.forgery.is_none() {
                live.number += u64::from(self.messages);
            }
            Letter::exists(live.channel.clone(), first)
        };
        let first = match self.forgery {
            None | Some(Forgery::EndedChannel) => first,
            Some(forgery) => forged(channels, &first, forgery).ok_or(NoChannel::NoOther)?,
        };
        let number = first.message.number;
        Ok((number..number + u64::from(self.messages)).map(|number| first.numbered(number)).collect())
    }
}

impl Letter {
    fn exists(channel: Channel, number: u64) -> Self {
        Self { channel, message: Message { number, state: State::Exists }, tells_expiration: true }
    }
}

impl Channels {
    fn last_ended(&self, fits: impl Fn(&Channel) -> bool) -> Option<(Channel, u64)> {
        let ended = self.ended.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        ended.iter().rev().find(|(channel, _)| fits(channel)).cloned()
    }
}

/// A forged message like a true one; `None` when the channel is missing that it needs.
pub(super) fn forged(channels: &Channels, letter: &Letter, forgery: Forgery) -> Option<Letter> {
    let mut letter = letter.clone();
    letter.message.state = State::Exists;
    let channel = &mut letter.channel;
    match forgery {
        Forgery::WrongToken => channel.token = Some(invented()),
        Forgery::NoToken => channel.token = None,
        Forgery::UnknownChannel => channel.id = invented(),
        Forgery::WrongResource => channel.resource_id = invented(),
        Forgery::Replay => letter.message.number = 1,
        Forgery::OtherToken => {
            let live = channels.lock();
            let other = live.values().find(|other| other.channel.id != channel.id);
            channel.token.clone_from(&other?.channel.token);
        }
        Forgery::EndedChannel => {
            let address = channel.address.clone();
            let (channel, number) = channels.last_ended(|ended| ended.address == address)?;
            letter = Letter::exists(channel, number + 1);
        }
    }
    Some(letter)
}

fn invented() -> String {
    data_encoding::HEXLOWER.encode(&rand::random::<[u8; 16]>())
}
