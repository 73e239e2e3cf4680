//! Mirrored calendars: whom they concern and how their mirror stands.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::{Error, Result, Sql, Tx, accounts::AccountStatus, execute, fetch, instant, micros, parse};
use crate::{
    crypto::Cell,
    domain::{AccountId, BusinessId, CalendarId, Interval, ResourceId},
};

/// A mirrored calendar.
#[derive(Debug, Clone)]
pub struct Calendar {
    /// The tenant.
    pub business: BusinessId,
    /// slotd's id of it.
    pub id: CalendarId,
    /// Through which account it is read.
    pub account: AccountId,
    /// Google's id of it; of a primary calendar, the account's e-mail address.
    pub google_id: String,
    /// Its title in Google.
    pub summary: String,
    /// In which its all-day events lie.
    pub time_zone: Tz,
    /// Google's word for what the account may do with it.
    pub access_role: String,
    /// Whom it concerns.
    pub resource: Option<ResourceId>,
    /// Whether its events make the resource busy.
    pub blocks: bool,
    /// Whether bookings of the resource are written to it.
    pub target: bool,
    /// How its mirror stands.
    pub mirror: Mirror,
}

/// How the mirror of a calendar stands.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug, Clone, PartialEq)]
pub struct Mirror {
    /// Rises with each visible change.
    pub version: i64,
    /// Which staged rows are served.
    pub generation: i64,
    /// Where the next incremental pass begins; none before the first full sync.
    pub sync_token: Option<String>,
    /// The start of the last successful pass.
    pub as_of: Option<DateTime<Utc>>,
    /// The time for which the mirror knows everything.
    pub coverage: Option<Interval>,
    /// Items that could only be read in part.
    pub odd_events: i64,
    /// Series that are not mirrored in full.
    pub limited_series: i64,
    /// Items read by the full sync under way, or by the last one.
    pub synced_events: i64,
    /// A push came that no pass has answered yet.
    pub pushed: bool,
    /// When Google is looked at next.
    pub due_at: DateTime<Utc>,
    /// Failed passes in a row.
    pub failures: i64,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// Whether Google can push for it.
    pub watchable: bool,
    /// Whether Google still lets slotd in.
    pub account_status: AccountStatus,
    /// A live channel's end, when there is one.
    pub watched_until: Option<DateTime<Utc>>,
    /// Whether the list of the account names it.
    pub listed: bool,
    /// Whether the owner hides it there.
    pub hidden: bool,
    /// Passes in a row that Google did not let in.
    pub refusals: i64,
    /// Since when Google does not show it any more; what was served goes on being served.
    pub lost_at: Option<DateTime<Utc>>,
    /// Passes with changes that no push announced, since the last push.
    pub unannounced: i64,
    /// When the first of them was.
    pub unannounced_at: Option<DateTime<Utc>>,
    /// How often Google is looked at while nobody watches it; none before the first pass.
    pub period: Option<TimeDelta>,
    /// Google asked slotd to leave the account alone until then; may lie in the past.
    pub paused_until: DateTime<Utc>,
}

impl Mirror {
    /// The mirror of a calendar that was never read.
    #[must_use]
    pub const fn unread(account_status: AccountStatus) -> Self {
        Self {
            version: 0,
            generation: 0,
            sync_token: None,
            as_of: None,
            coverage: None,
            odd_events: 0,
            limited_series: 0,
            synced_events: 0,
            pushed: false,
            due_at: DateTime::UNIX_EPOCH,
            failures: 0,
            last_error: None,
            watchable: true,
            account_status,
            watched_until: None,
            listed: true,
            hidden: false,
            refusals: 0,
            lost_at: None,
            unannounced: 0,
            unannounced_at: None,
            period: None,
            paused_until: DateTime::UNIX_EPOCH,
        }
    }

    /// Whether a pass is owed and waits for a quota: what Google said meanwhile is not known.
    #[must_use]
    pub fn waits_for_quota(&self, now: DateTime<Utc>) -> bool {
        // A pass that went well leaves no error, one that failed is counted: the rest was postponed.
        let postponed = self.failures == 0 && self.last_error.is_some();
        self.pushed && (postponed || now < self.paused_until)
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    business_id: String,
    id: String,
    account_id: String,
    google_id: String,
    summary: Vec<u8>,
    time_zone: String,
    access_role: String,
    resource_id: Option<String>,
    blocks: i64,
    target: i64,
    version: i64,
    generation: i64,
    sync_token: Option<String>,
    as_of: Option<i64>,
    covered_from: Option<i64>,
    covered_to: Option<i64>,
    odd_events: i64,
    limited_series: i64,
    synced_events: i64,
    dirty: i64,
    seen: i64,
    due_at: i64,
    failures: i64,
    last_error: Option<String>,
    watchable: i64,
    watched_until: Option<i64>,
    account_status: String,
    listed: i64,
    hidden: i64,
    refusals: i64,
    lost_at: Option<i64>,
    unannounced: i64,
    unannounced_at: Option<i64>,
    period_us: Option<i64>,
    paused_until: i64,
}

const T: &str = "calendar";
const INSERT: Sql = Sql::same(
    "INSERT INTO calendar (business_id, id, account_id, google_id, summary, time_zone, access_role, resource_id, blocks,
                           target, version, generation, longest_us, odd_events, synced_events, dirty, seen, due_at,
                           lease_until, fence, failures, watchable, watch_due_at, created_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, 0, 0, 0, 0, 0, 0, $11, 0, 0, 0, 1, $11, $11)",
);
macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT c.business_id, c.id, c.account_id, c.google_id, c.summary, c.time_zone, c.access_role,
                    c.resource_id, c.blocks, c.target, c.version, c.generation, c.sync_token, c.as_of, c.covered_from,
                    c.covered_to, c.odd_events, c.synced_events, c.dirty, c.seen, c.due_at, c.failures, c.last_error,
                    c.watchable, c.listed, c.hidden, c.refusals, c.lost_at, c.unannounced, c.unannounced_at, c.period_us,
                    (SELECT COUNT(*) FROM limited_series l
                      WHERE l.business_id = c.business_id AND l.calendar_id = c.id
                        AND l.generation = c.generation) AS limited_series,
                    (SELECT MAX(w.expires_at) FROM channel w
                      WHERE w.business_id = c.business_id AND w.calendar_id = c.id AND w.state = 'live') AS watched_until,
                    (SELECT a.status FROM account a
                      WHERE a.business_id = c.business_id AND a.id = c.account_id) AS account_status,
                    (SELECT a.paused_until FROM account a
                      WHERE a.business_id = c.business_id AND a.id = c.account_id) AS paused_until
               FROM calendar c WHERE ",
            $condition
        )
    };
}
const LIST: Sql = Sql::same(select!("c.business_id = $1 ORDER BY c.id"));
const SELECT: Sql = Sql::same(select!("c.business_id = $1 AND c.id = $2"));
const ASSIGN: Sql = Sql::same(
    "UPDATE calendar SET resource_id = $3, blocks = $4, target = $5, version = version + 1,
            watch_due_at = CASE WHEN blocks = 0 AND target = 0 THEN $6 ELSE watch_due_at END
      WHERE business_id = $1 AND id = $2",
);
/// Whether a pass that has not begun is owed already: now, or when a quota that an earlier push waits for has room.
macro_rules! is_awake {
    () => {
        "dirty > CASE WHEN lease_until > $4 THEN leased_dirty ELSE seen END
         AND (due_at <= $3 OR (pushed_at IS NOT NULL AND failures = 0 AND last_error IS NOT NULL))"
    };
}
/// Not where a pass is owed already. One more push does not bring a pass forward that waits for a quota. What was due
/// before stays so: a push that came in a moment earlier, and is written a moment later, then finds it owed.
const WAKE: Sql = Sql::same(concat!(
    "UPDATE calendar SET dirty = dirty + 1, pushed_at = COALESCE(pushed_at, $3), unannounced = 0,
            unannounced_at = NULL, watch_failures = 0,
            due_at = CASE WHEN pushed_at IS NOT NULL AND failures = 0 AND last_error IS NOT NULL OR due_at <= $3
                          THEN due_at ELSE $3 END
      WHERE business_id = $1 AND id = $2 AND NOT (",
    is_awake!(),
    ")"
));
const AWAKE: Sql =
    Sql::same(concat!("SELECT COUNT(*) FROM calendar WHERE business_id = $1 AND id = $2 AND ", is_awake!()));
/// An account that was connected anew: its calendars are looked at, and watched anew, at once.
const WAKE_ACCOUNT: Sql = Sql::same(
    "UPDATE calendar SET due_at = $3, watch_due_at = $3, failures = 0 WHERE business_id = $1 AND account_id = $2",
);
/// One under way may have read Google before.
const LOOK: Sql = Sql::same(
    "UPDATE calendar SET dirty = dirty + 1, due_at = CASE WHEN due_at > $3 THEN $3 ELSE due_at END
      WHERE business_id = $1 AND id = $2",
);
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("INSERT", INSERT),
    ("LIST", LIST),
    ("SELECT", SELECT),
    ("ASSIGN", ASSIGN),
    ("WAKE", WAKE),
    ("AWAKE", AWAKE),
    ("WAKE_ACCOUNT", WAKE_ACCOUNT),
    ("LOOK", LOOK),
];

pub(super) fn cell(business: BusinessId, row: &str) -> Cell<'_> {
    Cell { business, table: T, column: "summary", row }
}

impl Tx {
    pub(super) async fn read_calendar(&mut self, row: Row) -> Result<Calendar> {
        let business = parse(T, "business_id", &row.business_id)?;
        let keys = self.keys(business).await?;
        let summary = String::from_utf8(keys.data.open(&cell(business, &row.id), &row.summary)?.to_vec())
            .map_err(|error| Error::Corrupt { table: T, column: "summary", why: error.to_string() })?;
        let time = |column, micros: Option<i64>| micros.map(|at| instant(T, column, at)).transpose();
        let (from, to) = (time("covered_from", row.covered_from)?, time("covered_to", row.covered_to)?);
        Ok(Calendar {
            business,
            id: parse(T, "id", &row.id)?,
            account: parse(T, "account_id", &row.account_id)?,
            google_id: row.google_id,
            summary,
            time_zone: parse(T, "time_zone", &row.time_zone)?,
            access_role: row.access_role,
            resource: row.resource_id.map(|id| parse(T, "resource_id", &id)).transpose()?,
            blocks: row.blocks == 1,
            target: row.target == 1,
            mirror: Mirror {
                version: row.version,
                generation: row.generation,
                sync_token: row.sync_token,
                as_of: time("as_of", row.as_of)?,
                coverage: from.zip(to).and_then(|(from, to)| Interval::new(from, to)),
                odd_events: row.odd_events,
                limited_series: row.limited_series,
                synced_events: row.synced_events,
                pushed: row.dirty > row.seen,
                due_at: instant(T, "due_at", row.due_at)?,
                failures: row.failures,
                last_error: row.last_error,
                watchable: row.watchable == 1,
                account_status: parse(T, "account_status", &row.account_status)?,
                watched_until: time("watched_until", row.watched_until)?,
                listed: row.listed == 1,
                hidden: row.hidden == 1,
                refusals: row.refusals,
                lost_at: time("lost_at", row.lost_at)?,
                unannounced: row.unannounced,
                unannounced_at: time("unannounced_at", row.unannounced_at)?,
                period: row.period_us.map(TimeDelta::microseconds),
                paused_until: instant(T, "paused_until", row.paused_until)?,
            },
        })
    }

    /// Adds a calendar whose first sync is due at once.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] when the account has it already, or the resource has another target.
    pub async fn insert_calendar(&mut self, calendar: &Calendar) -> Result<()> {
        let keys = self.keys(calendar.business).await?;
        let id = calendar.id.to_string();
        let summary = keys.data.seal(&cell(calendar.business, &id), calendar.summary.as_bytes(), &**self.chance());
        let now = micros(self.now());
        execute!(
            self,
            INSERT,
            calendar.business.to_string(),
            &id,
            calendar.account.to_string(),
            &calendar.google_id,
            &summary,
            calendar.time_zone.name(),
            &calendar.access_role,
            calendar.resource.map(|id| id.to_string()),
            i64::from(calendar.blocks),
            i64::from(calendar.target),
            now,
        )?;
        Ok(())
    }

    /// Every calendar of a business, oldest first.
    pub async fn calendars(&mut self, business: BusinessId) -> Result<Vec<Calendar>> {
        let rows: Vec<Row> = fetch!(fetch_all, self, LIST, business.to_string())?;
        let mut calendars = Vec::with_capacity(rows.len());
        for row in rows {
            calendars.push(self.read_calendar(row).await?);
        }
        Ok(calendars)
    }

    /// The calendar with this id.
    pub async fn calendar(&mut self, business: BusinessId, id: CalendarId) -> Result<Option<Calendar>> {
        let row: Option<Row> = fetch!(fetch_optional, self, SELECT, business.to_string(), id.to_string())?;
        match row {
            Some(row) => self.read_calendar(row).await.map(Some),
            None => Ok(None),
        }
    }

    /// Says whom a calendar concerns, whether it blocks, and whether bookings go there.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] when the resource has another target.
    pub async fn assign_calendar(
        &mut self,
        business: BusinessId,
        id: CalendarId,
        resource: Option<ResourceId>,
        blocks: bool,
        target: bool,
    ) -> Result<()> {
        let now = micros(self.now());
        self.changed(business, super::changes::Part::All);
        execute!(
            self,
            ASSIGN,
            business.to_string(),
            id.to_string(),
            resource.map(|id| id.to_string()),
            i64::from(blocks),
            i64::from(target),
            now,
        )?;
        Ok(())
    }

    /// Asks for a pass over a calendar, now, though nothing is known to have changed.
    pub async fn look_at_calendar(&mut self, business: BusinessId, id: CalendarId) -> Result<()> {
        let now = micros(self.now());
        execute!(self, LOOK, business.to_string(), id.to_string(), now)?;
        Ok(())
    }

    /// Makes every calendar of an account due, for its grant was renewed.
    pub async fn wake_account(&mut self, business: BusinessId, account: AccountId) -> Result<()> {
        let now = micros(self.now());
        execute!(self, WAKE_ACCOUNT, business.to_string(), account.to_string(), now)?;
        Ok(())
    }

    /// Notes that Google pushed: a pass over the calendar is owed, now. Any number of such wishes before it begins are one,
    /// and only the first of them writes. Returns whether it did.
    pub async fn wake_calendar(&mut self, business: BusinessId, id: CalendarId) -> Result<bool> {
        let (now, lease_now) = (micros(self.now()), micros(self.lease_time().await?));
        Ok(execute!(self, WAKE, business.to_string(), id.to_string(), now, lease_now)? > 0)
    }

    /// Whether a pass that has not begun is owed already, now: [`Tx::wake_calendar`] would change nothing.
    pub async fn is_awake(&mut self, business: BusinessId, id: CalendarId) -> Result<bool> {
        let (now, lease_now) = (micros(self.now()), micros(self.lease_time().await?));
        let (owed,): (i64,) = fetch!(fetch_one, self, AWAKE, business.to_string(), id.to_string(), now, lease_now)?;
        Ok(owed > 0)
    }
}
