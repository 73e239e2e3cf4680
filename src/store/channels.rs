//! Watch channels: where Google was asked to push.

use chrono::{DateTime, Utc};

use super::{Result, Sql, Tx, execute, fetch, instant, micros, parse};
use crate::domain::{BusinessId, CalendarId, ChannelId};

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
const DELETE: Sql = Sql::same("DELETE FROM channel WHERE business_id = $1 AND id = $2");
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("INSERT", INSERT),
    ("BY_ID", BY_ID),
    ("OF_CALENDAR", OF_CALENDAR),
    ("LIVE", LIVE),
    ("STOPPING", STOPPING),
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

    /// Forgets a channel that was stopped, refused or has run out.
    pub async fn delete_channel(&mut self, business: BusinessId, id: ChannelId) -> Result<()> {
        execute!(self, DELETE, business.to_string(), id.to_string())?;
        Ok(())
    }
}
