//! Watch channels: where Google was asked to push.

use chrono::{DateTime, Utc};

use super::{Result, Sql, Tx, execute, fetch, instant, micros, parse};
use crate::domain::{AccountId, BusinessId, CalendarId, ChannelId};

/// A watch channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// The tenant.
    pub business: BusinessId,
    /// Its id, which Google repeats in each push.
    pub id: ChannelId,
    /// What it watches.
    pub calendar: CalendarId,
    /// SHA-256 of the token that Google repeats in each push.
    pub token_hash: Vec<u8>,
    /// Google's id of what is watched, needed to stop the channel. Unknown until Google answered.
    pub google_resource_id: Option<String>,
    /// Whether it is to be stopped.
    pub stopping: bool,
    /// Google is silent from then on.
    pub expires_at: DateTime<Utc>,
}

/// A channel to be stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwanted {
    /// The tenant.
    pub business: BusinessId,
    /// Its id.
    pub id: ChannelId,
    /// What it watches.
    pub calendar: CalendarId,
    /// Who opened it; nobody else can stop it.
    pub account: AccountId,
    /// Google's id of what is watched.
    pub google_resource_id: String,
}

#[derive(sqlx::FromRow)]
struct Row {
    business_id: String,
    id: String,
    calendar_id: String,
    token_hash: Vec<u8>,
    google_resource_id: Option<String>,
    state: String,
    expires_at: i64,
}

const T: &str = "channel";
const INSERT: Sql = Sql::same(
    "INSERT INTO channel (business_id, id, calendar_id, token_hash, state, expires_at, created_at)
     VALUES ($1, $2, $3, $4, 'pending', $5, $6)",
);
const BY_ID: Sql = Sql::same(
    "SELECT business_id, id, calendar_id, token_hash, google_resource_id, state, expires_at FROM channel WHERE id = $1",
);
const OF_CALENDAR: Sql = Sql::same(
    "SELECT business_id, id, calendar_id, token_hash, google_resource_id, state, expires_at
       FROM channel WHERE business_id = $1 AND calendar_id = $2 ORDER BY created_at",
);
const LIVE: Sql = Sql::same(
    "UPDATE channel SET state = 'live', google_resource_id = $3, expires_at = $4 WHERE business_id = $1 AND id = $2",
);
const STOPPING: Sql =
    Sql::same("UPDATE channel SET state = 'stopping' WHERE business_id = $1 AND calendar_id = $2 AND id <> $3");
const GIVE_UP: Sql =
    Sql::same("UPDATE channel SET state = 'stopping' WHERE business_id = $1 AND calendar_id = $2 AND state = 'live'");
const GIVE_UP_ONE: Sql = Sql::same("UPDATE channel SET state = 'stopping' WHERE business_id = $1 AND id = $2");
/// Of an account that Google lets in no more: it sends nothing, and nothing can be stopped until the owner is back.
const GIVE_UP_ACCOUNT: Sql = Sql::same(
    "UPDATE channel SET state = 'stopping'
      WHERE business_id = $1
        AND calendar_id IN (SELECT c.id FROM calendar c WHERE c.business_id = $1 AND c.account_id = $2)",
);
const LEARN: Sql = Sql::same(
    "UPDATE channel SET google_resource_id = $3 WHERE business_id = $1 AND id = $2 AND google_resource_id IS NULL",
);
const EXPIRED: Sql = Sql::same("DELETE FROM channel WHERE expires_at <= $1");
/// Channels that nobody wants: replaced, never confirmed, or of calendars that concern nobody. All channels of a calendar
/// watch the same thing, so that any of them tells the name by which one is stopped.
const UNWANTED: Sql = Sql::same(
    "SELECT h.business_id, h.id, h.calendar_id, c.account_id,
            COALESCE(h.google_resource_id, (SELECT MAX(o.google_resource_id) FROM channel o
                                             WHERE o.business_id = h.business_id AND o.calendar_id = h.calendar_id))
       FROM channel h
       JOIN calendar c ON c.business_id = h.business_id AND c.id = h.calendar_id
       JOIN account a ON a.business_id = c.business_id AND a.id = c.account_id
      WHERE a.status = 'connected'
        AND (h.state = 'stopping' OR (h.state = 'pending' AND h.created_at <= $1)
             OR c.resource_id IS NULL OR (c.blocks = 0 AND c.target = 0))
        AND EXISTS (SELECT 1 FROM channel o
                     WHERE o.business_id = h.business_id AND o.calendar_id = h.calendar_id
                       AND o.google_resource_id IS NOT NULL)
        AND (h.business_id, h.id) > ($2, $3)
      ORDER BY h.business_id, h.id LIMIT $4",
);
const DELETE: Sql = Sql::same("DELETE FROM channel WHERE business_id = $1 AND id = $2");
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("INSERT", INSERT),
    ("BY_ID", BY_ID),
    ("OF_CALENDAR", OF_CALENDAR),
    ("LIVE", LIVE),
    ("STOPPING", STOPPING),
    ("GIVE_UP", GIVE_UP),
    ("GIVE_UP_ONE", GIVE_UP_ONE),
    ("GIVE_UP_ACCOUNT", GIVE_UP_ACCOUNT),
    ("LEARN", LEARN),
    ("EXPIRED", EXPIRED),
    ("UNWANTED", UNWANTED),
    ("DELETE", DELETE),
];

impl TryFrom<Row> for Channel {
    type Error = super::Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            business: parse(T, "business_id", &row.business_id)?,
            id: parse(T, "id", &row.id)?,
            calendar: parse(T, "calendar_id", &row.calendar_id)?,
            token_hash: row.token_hash,
            google_resource_id: row.google_resource_id,
            stopping: row.state == "stopping",
            expires_at: instant(T, "expires_at", row.expires_at)?,
        })
    }
}

impl Tx {
    /// Keeps a channel that Google is about to be asked for: its first push may come before Google's answer.
    pub async fn insert_channel(&mut self, channel: &Channel) -> Result<()> {
        let now = micros(self.now());
        execute!(
            self,
            INSERT,
            channel.business.to_string(),
            channel.id.to_string(),
            channel.calendar.to_string(),
            &channel.token_hash,
            micros(channel.expires_at),
            now,
        )?;
        Ok(())
    }

    /// The channel with this id, of whichever business.
    pub async fn channel(&mut self, id: ChannelId) -> Result<Option<Channel>> {
        let row: Option<Row> = fetch!(fetch_optional, self, BY_ID, id.to_string())?;
        row.map(Channel::try_from).transpose()
    }

    /// The channels of a calendar, oldest first.
    pub async fn channels(&mut self, business: BusinessId, calendar: CalendarId) -> Result<Vec<Channel>> {
        let rows: Vec<Row> = fetch!(fetch_all, self, OF_CALENDAR, business.to_string(), calendar.to_string())?;
        rows.into_iter().map(Channel::try_from).collect()
    }

    /// Google granted the channel; every other channel of the calendar is to be stopped.
    pub async fn channel_granted(
        &mut self,
        channel: &Channel,
        google_resource_id: &str,
        expires_at: DateTime<Utc>,
    ) -> Result<()> {
        let (business, id) = (channel.business.to_string(), channel.id.to_string());
        execute!(self, LIVE, &business, &id, google_resource_id, micros(expires_at))?;
        execute!(self, STOPPING, &business, channel.calendar.to_string(), &id)?;
        Ok(())
    }

    /// Nothing is expected of the live channels of a calendar any more; they are to be stopped.
    pub(super) async fn give_channels_up(&mut self, business: BusinessId, calendar: CalendarId) -> Result<()> {
        execute!(self, GIVE_UP, business.to_string(), calendar.to_string())?;
        Ok(())
    }

    /// A channel that Google may have opened, though its answer was lost, is to be stopped.
    pub async fn give_channel_up(&mut self, business: BusinessId, id: ChannelId) -> Result<()> {
        execute!(self, GIVE_UP_ONE, business.to_string(), id.to_string())?;
        Ok(())
    }

    /// Nothing is expected of the channels of an account any more, for Google ended its grant.
    pub(super) async fn give_account_channels_up(&mut self, business: BusinessId, account: AccountId) -> Result<()> {
        execute!(self, GIVE_UP_ACCOUNT, business.to_string(), account.to_string())?;
        Ok(())
    }

    /// Keeps Google's name of what a channel watches, which a push told.
    pub async fn learn_resource(&mut self, channel: &Channel, google_resource_id: &str) -> Result<()> {
        execute!(self, LEARN, channel.business.to_string(), channel.id.to_string(), google_resource_id)?;
        Ok(())
    }

    /// Forgets channels that have run out. Returns how many.
    pub async fn forget_ended_channels(&mut self) -> Result<u64> {
        let now = micros(self.now());
        execute!(self, EXPIRED, now)
    }

    /// Up to `limit` channels after `after` that nobody wants and that can be stopped. One that Google has not confirmed
    /// is unwanted when it was asked for before `asked_before`.
    pub async fn unwanted_channels(
        &mut self,
        asked_before: DateTime<Utc>,
        after: Option<(BusinessId, ChannelId)>,
        limit: usize,
    ) -> Result<Vec<Unwanted>> {
        let (business, id) = after.map_or_else(Default::default, |(b, id)| (b.to_string(), id.to_string()));
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows: Vec<(String, String, String, String, String)> =
            fetch!(fetch_all, self, UNWANTED, micros(asked_before), &business, &id, limit)?;
        rows.into_iter()
            .map(|(business, id, calendar, account, google_resource_id)| {
                Ok(Unwanted {
                    business: parse(T, "business_id", &business)?,
                    id: parse(T, "id", &id)?,
                    calendar: parse(T, "calendar_id", &calendar)?,
                    account: parse(T, "account_id", &account)?,
                    google_resource_id,
                })
            })
            .collect()
    }

    /// Forgets a channel that was stopped, refused or has run out.
    pub async fn delete_channel(&mut self, business: BusinessId, id: ChannelId) -> Result<()> {
        execute!(self, DELETE, business.to_string(), id.to_string())?;
        Ok(())
    }
}
