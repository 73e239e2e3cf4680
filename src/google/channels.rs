//! Watch channels: Google pushes a note when a calendar changes.

use chrono::{DateTime, Utc};
use google_calendar3::api;
use hyper::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

use super::{
    AccountKey, Error, Google,
    call::{Call, json},
};
use crate::domain::ChannelId;

/// A channel to be opened. Commit it before asking Google: the first push may come before the answer.
#[derive(Debug, Clone)]
pub struct NewChannel {
    /// Never used before in this Google project.
    pub id: ChannelId,
    /// Comes back with each push and is the only proof of its origin. At most 256 characters.
    pub token: SecretString,
    /// Where the pushes go; https, except to a stand-in.
    pub address: Url,
    /// Wished lifetime in seconds; Google may give less.
    pub ttl_s: u32,
}

/// A channel that Google has opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Google's name of what is watched; needed to stop the channel.
    pub resource_id: String,
    /// When it falls silent, UTC. `None` when Google does not say: then the wished lifetime is the best guess.
    pub expires_at: Option<DateTime<Utc>>,
}

fn channel(body: &[u8]) -> Result<Channel, Error> {
    let mut value = json(body)?;
    // Documented as a string of milliseconds, shown as a number in Google's own guide.
    if let Some(Value::Number(millis)) = value.get("expiration") {
        value["expiration"] = json!(millis.to_string());
    }
    let channel: api::Channel = serde_json::from_value(value).map_err(|_| Error::Malformed("channel"))?;
    Ok(Channel {
        resource_id: channel.resource_id.ok_or(Error::Malformed("channel"))?,
        expires_at: channel.expiration.and_then(DateTime::from_timestamp_millis),
    })
}

impl Google {
    /// Asks for pushes when events of a calendar change.
    pub async fn watch_events(&self, account: AccountKey, calendar: &str, new: &NewChannel) -> Result<Channel, Error> {
        let path = ["calendars", calendar, "events", "watch"];
        let body = json!({
            "id": new.id,
            "type": "web_hook",
            "token": new.token.expose_secret(),
            "address": new.address.as_str(),
            "params": { "ttl": new.ttl_s.to_string() },
        });
        let call = Call { body: Some(&body), ..Call::new("events.watch", Method::POST, &path) };
        self.call(account, call, channel).await
    }

    /// Ends a channel. [`Error::NotFound`] means that it had ended before. Only the account that opened it may.
    pub async fn stop_channel(&self, account: AccountKey, id: ChannelId, resource_id: &str) -> Result<(), Error> {
        let body = json!({ "id": id, "resourceId": resource_id });
        let call = Call { body: Some(&body), ..Call::new("channels.stop", Method::POST, &["channels", "stop"]) };
        self.call(account, call, |_| Ok(())).await
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::google::{
        Limits,
        fixture::{ACCOUNT, Canned, Stand, google_at},
    };

    #[tokio::test]
    async fn a_channel_is_opened_and_stopped() {
        let opened = |expiration: Value| {
            Canned::json(200, json!({ "kind": "api#channel", "resourceId": "r1", "expiration": expiration }))
        };
        let stopped = Canned::new(204, bytes::Bytes::new());
        let answers =
            [opened(json!("1800000000000")), opened(json!(1_800_000_000_000_u64)), opened(Value::Null), stopped];
        let stand = Stand::answering(answers).await;
        let google = google_at(stand.url(), Limits::default());
        let new = NewChannel {
            id: ChannelId::new(Uuid::from_u128(9)),
            token: "secret".into(),
            address: "https://slotd.example/push".parse().unwrap(),
            ttl_s: 604_800,
        };
        let expires_at = DateTime::from_timestamp(1_800_000_000, 0);
        for expires_at in [expires_at, expires_at, None] {
            let channel = google.watch_events(ACCOUNT, "primary", &new).await.unwrap();
            assert_eq!(channel, Channel { resource_id: "r1".to_owned(), expires_at });
        }
        google.stop_channel(ACCOUNT, new.id, "r1").await.unwrap();

        let seen = stand.seen();
        assert_eq!(seen[0].target, "/calendar/v3/calendars/primary/events/watch");
        let sent: Value = serde_json::from_str(&seen[0].body).unwrap();
        let expected = json!({ "id": new.id, "type": "web_hook", "token": "secret",
            "address": "https://slotd.example/push", "params": { "ttl": "604800" } });
        assert_eq!(sent, expected);
        assert_eq!(seen[3].target, "/calendar/v3/channels/stop");
        assert_eq!(seen[3].body, json!({ "id": new.id, "resourceId": "r1" }).to_string());
        assert!(!format!("{new:?}").contains("secret"));
    }
}
