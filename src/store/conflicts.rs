//! Where the calendar and the bookings disagree: recorded once, told, and resolved when it ends.
//!
//! What a booking meets follows from its claims and the busy slots, so it is never kept up step by step: it is computed
//! for a resource, and what differs from the open rows is written. A transaction that changes claims or slots only reads,
//! and leaves a mark when something differs ([`Tx::note_conflicts`]); the rows are written by a transaction of their own
//! ([`settle`]), which takes its locks in the order of all others: bookings, then resources.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use chrono::{DateTime, Utc};

use super::{
    Error, Lane, Result, Sql, Store, Tx,
    bookings::Booking,
    claims::{Source, Step},
    execute, fetch, instant, micros, parse,
};
use crate::domain::{
    BookingId, BusinessId, CalendarId, Interval, ResourceId, conflict::collisions, id::ConflictId,
    reconcile::Difference,
};

/// What a booking is in conflict with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An event over its time.
    Event,
    /// Another booking over its time.
    Booking,
    /// Its own event.
    Own(Difference),
}

impl Kind {
    /// Every kind that is not about the booking's own event.
    const MEETINGS: [Self; 2] = [Self::Event, Self::Booking];

    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::MEETINGS.into_iter().chain(Difference::ALL.map(Self::Own))
    }

    /// The word for it, in the table and in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Booking => "booking",
            Self::Own(difference) => difference.as_str(),
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::all().find(|kind| kind.as_str() == text).ok_or_else(|| format!("`{text}` is not known"))
    }
}

/// One conflict of a booking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Its id; later ones have greater ids.
    pub id: ConflictId,
    /// Whose it is.
    pub booking: BookingId,
    /// With what.
    pub kind: Kind,
    /// Which resource is wanted twice; of a difference, the booking's lead resource.
    pub resource: ResourceId,
    /// The calendar of the event.
    pub calendar: Option<CalendarId>,
    /// Google's id of the event, or the id of the other booking.
    pub meets: String,
    /// When that is.
    pub interval: Option<Interval>,
    /// When it was found.
    pub since: DateTime<Utc>,
    /// When it was found to be over.
    pub resolved: Option<DateTime<Utc>>,
}

/// What happened to a booking that somebody may want to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// The owner moved it in Google, and it followed.
    MovedByOwner,
    /// The owner deleted its event, and it was called off.
    CancelledByOwner,
    /// It has a new conflict.
    Conflict,
    /// It has none any more.
    ConflictResolved,
}

impl News {
    /// The kind of its announcement.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MovedByOwner => "booking.moved_by_owner",
            Self::CancelledByOwner => "booking.cancelled_by_owner",
            Self::Conflict => "booking.conflict",
            Self::ConflictResolved => "booking.conflict_resolved",
        }
    }
}

const T: &str = "conflict";
#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    booking_id: String,
    kind: String,
    resource_id: String,
    calendar_id: String,
    meets: String,
    start_at: Option<i64>,
    end_at: Option<i64>,
    since_at: i64,
    resolved_at: Option<i64>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, booking_id, kind, resource_id, calendar_id, meets, start_at, end_at, since_at, resolved_at
               FROM conflict WHERE business_id = $1 AND ",
            $rest
        )
    };
}
/// Upcoming bookings and what they claim of a resource. No claim is longer than a week, which bounds the search.
const CLAIMS: Sql = Sql::same(
    "SELECT c.booking_id, c.start_at, c.end_at, k.start_at, k.end_at
       FROM claim c JOIN booking k ON k.business_id = c.business_id AND k.id = c.booking_id
      WHERE c.business_id = $1 AND c.resource_id = $2 AND c.active = 1 AND c.start_at > $3 - 604800000000
        AND k.state = 'confirmed' AND k.end_at > $3
      ORDER BY c.start_at",
);
/// The busy slots over upcoming claims of a resource. A booking does not meet its own event: that differs from it.
const MEETINGS: Sql = Sql::same(
    "SELECT c.booking_id, b.calendar_id, b.event_id, b.start_at, b.end_at
       FROM claim c
       JOIN booking k ON k.business_id = c.business_id AND k.id = c.booking_id
       JOIN calendar r ON r.business_id = c.business_id AND r.resource_id = c.resource_id AND r.blocks = 1
       JOIN busy_slot b ON b.business_id = r.business_id AND b.calendar_id = r.id AND b.generation = r.generation
        AND b.start_at < c.end_at AND b.start_at >= c.start_at - r.longest_us AND b.end_at > c.start_at
      WHERE c.business_id = $1 AND c.resource_id = $2 AND c.active = 1 AND c.start_at > $3 - 604800000000
        AND k.state = 'confirmed' AND k.end_at > $3 AND (k.event_id IS NULL OR k.event_id <> b.event_id)
      ORDER BY b.start_at",
);
const OPEN_AT: Sql =
    Sql::same(select!("resource_id = $2 AND resolved_at IS NULL AND kind IN ('event', 'booking') ORDER BY id"));
const OPEN_OF: Sql = Sql::same(select!("booking_id = $2 AND resolved_at IS NULL ORDER BY id"));
const LIST: Sql = Sql::same(select!(
    "id > $2 AND (CAST($3 AS BIGINT) IS NULL OR ($3 = 1) = (resolved_at IS NULL)) ORDER BY id LIMIT $4"
));
const INSERT: Sql = Sql::same(
    "INSERT INTO conflict (business_id, id, booking_id, kind, resource_id, calendar_id, meets, start_at, end_at, since_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
);
const SHIFT: Sql = Sql::same("UPDATE conflict SET start_at = $3, end_at = $4 WHERE business_id = $1 AND id = $2");
const RESOLVE: Sql =
    Sql::same("UPDATE conflict SET resolved_at = $3 WHERE business_id = $1 AND id = $2 AND resolved_at IS NULL");
/// Of a booking, and of those that it meets, in the order of their ids.
const AROUND: Sql =
    Sql::same(select!("resolved_at IS NULL AND (booking_id = $2 OR kind = 'booking' AND meets = $2) ORDER BY id"));
const NOTE: Sql =
    Sql::same("INSERT INTO conflict_due (business_id, resource_id) VALUES ($1, $2) ON CONFLICT DO NOTHING");
const DONE: Sql = Sql::same("DELETE FROM conflict_due WHERE business_id = $1 AND resource_id = $2");
const DUE: Sql =
    Sql::same("SELECT business_id, resource_id FROM conflict_due ORDER BY business_id, resource_id LIMIT 500");
const OPEN: Sql =
    Sql::same("SELECT kind, CAST(COUNT(*) AS BIGINT) FROM conflict WHERE resolved_at IS NULL GROUP BY kind");
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("CLAIMS", CLAIMS),
    ("MEETINGS", MEETINGS),
    ("OPEN_AT", OPEN_AT),
    ("OPEN_OF", OPEN_OF),
    ("LIST", LIST),
    ("INSERT", INSERT),
    ("SHIFT", SHIFT),
    ("RESOLVE", RESOLVE),
    ("AROUND", AROUND),
    ("NOTE", NOTE),
    ("DONE", DONE),
    ("DUE", DUE),
    ("OPEN", OPEN),
];

/// What makes two conflicts of a resource the same.
type Meeting = (BookingId, &'static str, String, String);

/// Says what happened, and to whom it may matter.
pub(super) fn tell(business: BusinessId, booking: BookingId, news: News) {
    tracing::info!(%business, %booking, news = news.as_str(), "the owner's calendar and a booking");
}

/// How the open rows of a resource differ from what its bookings meet.
#[derive(Debug, Default)]
struct Changes {
    begun: Vec<(Meeting, Interval)>,
    shifted: Vec<(ConflictId, Interval)>,
    over: Vec<Conflict>,
}

impl Changes {
    const fn is_empty(&self) -> bool {
        self.begun.is_empty() && self.shifted.is_empty() && self.over.is_empty()
    }
}

fn time(start: i64, end: i64) -> Result<Interval> {
    let empty = || Error::Corrupt { table: T, column: "end_at", why: "it ends before it starts".into() };
    Interval::new(instant(T, "start_at", start)?, instant(T, "end_at", end)?).ok_or_else(empty)
}

impl TryFrom<Row> for Conflict {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: parse(T, "id", &row.id)?,
            booking: parse(T, "booking_id", &row.booking_id)?,
            kind: parse(T, "kind", &row.kind)?,
            resource: parse(T, "resource_id", &row.resource_id)?,
            calendar: (!row.calendar_id.is_empty()).then(|| parse(T, "calendar_id", &row.calendar_id)).transpose()?,
            meets: row.meets,
            interval: row.start_at.zip(row.end_at).map(|(start, end)| time(start, end)).transpose()?,
            since: instant(T, "since_at", row.since_at)?,
            resolved: row.resolved_at.map(|at| instant(T, "resolved_at", at)).transpose()?,
        })
    }
}

impl Tx {
    /// Compares the conflicts of a resource with its open rows.
    async fn conflict_changes(&mut self, business: BusinessId, resource: ResourceId) -> Result<Changes> {
        let (now, tenant, at) = (micros(self.now()), business.to_string(), resource.to_string());
        let mut wanted: BTreeMap<Meeting, Interval> = BTreeMap::new();
        let claims: Vec<(String, i64, i64, i64, i64)> = fetch!(fetch_all, self, CLAIMS, &tenant, &at, now)?;
        if !claims.is_empty() {
            let mut booked = BTreeMap::new();
            let mut occupied = Vec::with_capacity(claims.len());
            for (id, start, end, booked_from, booked_to) in claims {
                let id: BookingId = parse("claim", "booking_id", &id)?;
                occupied.push((id, time(start, end)?));
                booked.insert(id, time(booked_from, booked_to)?);
            }
            let resources = self.resources(business).await?;
            let capacity = resources.iter().find(|known| known.id == resource).map_or(1, |known| known.capacity);
            for (one, other) in collisions(&occupied, usize::try_from(capacity).unwrap_or(1)) {
                if let Some(interval) = booked.get(&other) {
                    wanted.insert((one, Kind::Booking.as_str(), String::new(), other.to_string()), *interval);
                }
            }
            let slots: Vec<(String, String, String, i64, i64)> = fetch!(fetch_all, self, MEETINGS, &tenant, &at, now)?;
            for (booking, calendar, event, start, end) in slots {
                let booking = parse("claim", "booking_id", &booking)?;
                // Of a series the first instance is told.
                wanted.entry((booking, Kind::Event.as_str(), calendar, event)).or_insert(time(start, end)?);
            }
        }
        let rows: Vec<Row> = fetch!(fetch_all, self, OPEN_AT, &tenant, &at)?;
        let mut changes = Changes::default();
        for row in rows {
            let conflict = Conflict::try_from(row)?;
            let calendar = conflict.calendar.map(|id| id.to_string()).unwrap_or_default();
            match wanted.remove(&(conflict.booking, conflict.kind.as_str(), calendar, conflict.meets.clone())) {
                Some(interval) if conflict.interval == Some(interval) => {}
                Some(interval) => changes.shifted.push((conflict.id, interval)),
                None => changes.over.push(conflict),
            }
        }
        changes.begun = wanted.into_iter().collect();
        Ok(changes)
    }

    /// Leaves a mark when the conflicts of a resource are not as they were, for [`settle`]. Writes nothing else.
    pub async fn note_conflicts(&mut self, business: BusinessId, resource: ResourceId) -> Result<bool> {
        if self.conflict_changes(business, resource).await?.is_empty() {
            return Ok(false);
        }
        execute!(self, NOTE, business.to_string(), resource.to_string())?;
        Ok(true)
    }

    /// Records what a resource's bookings meet now, and what they meet no more.
    async fn record_conflicts(&mut self, business: BusinessId, resource: ResourceId) -> Result<()> {
        let before = self.conflict_changes(business, resource).await?;
        let locked: BTreeSet<BookingId> = before.begun.iter().map(|((booking, ..), _)| *booking).collect();
        let mut bookings = BTreeMap::new();
        for id in locked {
            if let Some(booking) = self.lock_booking(business, id).await? {
                bookings.insert(id, booking);
            }
        }
        self.lock_resources(business, &[resource]).await?;
        if self.apply_conflicts(business, resource, &bookings).await? {
            execute!(self, DONE, business.to_string(), resource.to_string())?;
        }
        Ok(())
    }

    /// The same in the transaction that moved `booking` and has locked its resources: what it meets is recorded at once,
    /// and what is met by it is left to [`settle`].
    pub(super) async fn meet_others(&mut self, booking: &Booking, resource: ResourceId) -> Result<()> {
        let locked = BTreeMap::from([(booking.id, booking.clone())]);
        if !self.apply_conflicts(booking.business, resource, &locked).await? {
            execute!(self, NOTE, booking.business.to_string(), resource.to_string())?;
        }
        Ok(())
    }

    /// Writes the conflicts of a resource whose lock is held. `false` when those of bookings that are not in `bookings`,
    /// which are locked, are still to be written.
    async fn apply_conflicts(
        &mut self,
        business: BusinessId,
        resource: ResourceId,
        bookings: &BTreeMap<BookingId, Booking>,
    ) -> Result<bool> {
        let changes = self.conflict_changes(business, resource).await?;
        self.resolve(business, &changes.over).await?;
        for (id, interval) in changes.shifted {
            let (start, end) = (micros(interval.start()), micros(interval.end()));
            execute!(self, SHIFT, business.to_string(), id.to_string(), start, end)?;
        }
        let (mut told, mut whole) = (BTreeSet::new(), true);
        for ((id, kind, calendar, meets), interval) in changes.begun {
            let Some(booking) = bookings.get(&id) else {
                whole = false;
                continue;
            };
            let recorded = self.insert_conflict(booking, kind, (resource, &calendar, &meets), Some(interval)).await?;
            if recorded {
                told.insert(id);
            }
        }
        for id in told {
            self.record_step(&bookings[&id], Step::Conflict, Source::Owner).await?;
            tell(business, id, News::Conflict);
        }
        Ok(whole)
    }

    async fn insert_conflict(
        &mut self,
        booking: &Booking,
        kind: &'static str,
        (resource, calendar, meets): (ResourceId, &str, &str),
        interval: Option<Interval>,
    ) -> Result<bool> {
        let now = self.now();
        let id = ConflictId::new(self.chance().uuid(now));
        let inserted = execute!(
            self,
            INSERT,
            booking.business.to_string(),
            id.to_string(),
            booking.id.to_string(),
            kind,
            resource.to_string(),
            calendar,
            meets,
            interval.map(|interval| micros(interval.start())),
            interval.map(|interval| micros(interval.end())),
            micros(now),
        )?;
        Ok(inserted > 0)
    }

    /// Ends conflicts. Whoever has no other one is told so.
    async fn resolve(&mut self, business: BusinessId, over: &[Conflict]) -> Result<()> {
        let now = micros(self.now());
        let mut touched = BTreeSet::new();
        for conflict in over {
            if execute!(self, RESOLVE, business.to_string(), conflict.id.to_string(), now)? > 0 {
                touched.insert(conflict.booking);
            }
        }
        for booking in touched {
            if self.open_conflicts(business, booking).await?.is_empty() {
                tell(business, booking, News::ConflictResolved);
            }
        }
        Ok(())
    }

    /// Notes how a booking's own event differs from it, or that it does not. The transaction has locked the booking.
    pub(super) async fn set_difference(
        &mut self,
        booking: &Booking,
        difference: Option<Difference>,
        interval: Option<Interval>,
    ) -> Result<()> {
        let Some(link) = booking.link.as_ref() else { return Ok(()) };
        let open = self.open_conflicts(booking.business, booking.id).await?;
        let own = open.into_iter().filter(|conflict| matches!(conflict.kind, Kind::Own(_)));
        let (same, over): (Vec<Conflict>, Vec<Conflict>) = own.partition(|conflict| {
            difference.is_some_and(|difference| conflict.kind == Kind::Own(difference))
                && conflict.meets == link.event_id
        });
        if let Some(known) = same.first() {
            if let Some(interval) = interval.filter(|_| known.interval != interval) {
                let (start, end) = (micros(interval.start()), micros(interval.end()));
                execute!(self, SHIFT, booking.business.to_string(), known.id.to_string(), start, end)?;
            }
        } else if let Some(difference) = difference {
            let calendar = link.calendar.to_string();
            let place = (booking.resource, calendar.as_str(), link.event_id.as_str());
            if self.insert_conflict(booking, difference.as_str(), place, interval).await? {
                self.record_step(booking, Step::Conflict, Source::Owner).await?;
                tell(booking.business, booking.id, News::Conflict);
            }
        }
        self.resolve(booking.business, &over).await
    }

    /// Whether the owner gave a booking's event a time that the booking did not follow, or made something of it that has
    /// no one time: its event keeps that.
    pub async fn stands_apart(&mut self, business: BusinessId, booking: BookingId) -> Result<bool> {
        let open = self.open_conflicts(business, booking).await?;
        let times = [Difference::Moved, Difference::Series, Difference::AllDay, Difference::Unfit];
        Ok(open.iter().any(|conflict| matches!(conflict.kind, Kind::Own(difference) if times.contains(&difference))))
    }

    /// A booking is over, off or somewhere else: it meets nothing any more, and nothing meets it. When it only went
    /// somewhere else, what the owner made of its event stays as it is, but for the time, and unless it gets another event.
    pub async fn end_conflicts(&mut self, booking: &Booking, moved: bool) -> Result<()> {
        let rows: Vec<Row> = fetch!(fetch_all, self, AROUND, booking.business.to_string(), booking.id.to_string())?;
        let mut over = Vec::with_capacity(rows.len());
        for row in rows {
            let conflict = Conflict::try_from(row)?;
            let same = booking.link.as_ref().is_some_and(|link| link.event_id == conflict.meets);
            let stays = same && matches!(conflict.kind, Kind::Own(difference) if difference != Difference::Moved);
            if !(moved && stays) {
                over.push(conflict);
            }
        }
        self.resolve(booking.business, &over).await
    }

    /// What a booking is in conflict with now.
    pub async fn open_conflicts(&mut self, business: BusinessId, booking: BookingId) -> Result<Vec<Conflict>> {
        let rows: Vec<Row> = fetch!(fetch_all, self, OPEN_OF, business.to_string(), booking.to_string())?;
        rows.into_iter().map(Conflict::try_from).collect()
    }

    /// Up to `limit` conflicts of a business, open or resolved ones or both, in the order in which they were found.
    pub async fn conflicts(
        &mut self,
        business: BusinessId,
        open: Option<bool>,
        after: Option<ConflictId>,
        limit: usize,
    ) -> Result<Vec<Conflict>> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows: Vec<Row> = fetch!(fetch_all, self, LIST, business.to_string(), &after, open.map(i64::from), limit)?;
        rows.into_iter().map(Conflict::try_from).collect()
    }

    /// How many conflicts of all businesses are open, by kind.
    pub async fn open_conflicts_everywhere(&mut self) -> Result<Vec<(Kind, i64)>> {
        let rows: Vec<(String, i64)> = fetch!(fetch_all, self, OPEN)?;
        rows.into_iter().map(|(kind, count)| Ok((parse(T, "kind", &kind)?, count))).collect()
    }

    async fn conflicts_due(&mut self) -> Result<Vec<(BusinessId, ResourceId)>> {
        let rows: Vec<(String, String)> = fetch!(fetch_all, self, DUE)?;
        rows.into_iter()
            .map(|(business, resource)| {
                Ok((parse("conflict_due", "business_id", &business)?, parse("conflict_due", "resource_id", &resource)?))
            })
            .collect()
    }
}

/// Records the conflicts of every resource that has a mark. What fails keeps its mark.
pub async fn settle(store: &Store) -> Result<()> {
    let due =
        super::work::<Vec<(BusinessId, ResourceId)>, Error, _>(|tx| Box::pin(async move { tx.conflicts_due().await }));
    for (business, resource) in store.read(due).await? {
        let record = super::work::<(), Error, _>(move |tx| {
            Box::pin(async move { tx.record_conflicts(business, resource).await })
        });
        store.write(Lane::Background, record).await?;
    }
    Ok(())
}
