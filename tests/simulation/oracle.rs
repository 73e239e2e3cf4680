//! What has to be true after each transaction. It reads the tables by SQL of its own and shares no code with slotd.

use std::collections::BTreeMap;

use slotd::store::Moment;
use sqlx::{Row as _, SqlitePool, sqlite::SqliteRow};

use crate::{
    gate::Point,
    template::{CAPACITIES, LEASE, SERVICES, chair_of, service},
};

const BOOKINGS: &str =
    "SELECT id, state, state_at, state_by, resource_id, service_id, start_at, end_at, version, reference,
        call_id, event_id, calendar_sync, sent_version, written_version, gone, written_start_at FROM booking";
const CLAIMS: &str = "SELECT booking_id, resource_id, start_at, end_at, active, expires_at FROM claim";
const STEPS: &str = "SELECT booking_id, what, source, state, start_at, end_at, at, rowid FROM booking_history
       WHERE rowid > $1 ORDER BY rowid";
const BUSY: &str = "SELECT c.resource_id, s.start_at, s.end_at FROM busy_slot s
        JOIN calendar c ON c.business_id = s.business_id AND c.id = s.calendar_id AND c.generation = s.generation
       WHERE c.blocks = 1";
const LEASES: &str = "SELECT id, fence, lease_until, 'delivery' FROM outbox
        UNION ALL SELECT id, fence, lease_until, 'calendar' FROM calendar";

/// A stretch of time in microseconds, half-open.
pub(crate) type Span = (i64, i64);

pub(crate) fn meet(one: Span, other: Span) -> bool {
    one.0 < other.1 && other.0 < one.1
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) chair: usize,
    pub(crate) span: Span,
    pub(crate) active: bool,
    pub(crate) ends: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) what: String,
    pub(crate) source: String,
    pub(crate) state: String,
    pub(crate) span: Span,
    pub(crate) at: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Booking {
    pub(crate) state: String,
    pub(crate) state_at: i64,
    pub(crate) by: Option<String>,
    pub(crate) chair: usize,
    pub(crate) service: Option<usize>,
    pub(crate) span: Span,
    pub(crate) version: i64,
    pub(crate) reference: Option<String>,
    pub(crate) call: Option<String>,
    pub(crate) event: Option<String>,
    pub(crate) sync: String,
    pub(crate) sent: Option<i64>,
    pub(crate) written: Option<i64>,
    pub(crate) gone: Option<String>,
    pub(crate) written_start: Option<i64>,
    pub(crate) claims: Vec<Claim>,
    pub(crate) steps: Vec<Step>,
}

impl Booking {
    /// What it has to claim, by the business's own rules.
    pub(crate) fn claim(&self) -> Span {
        let (before, after) = self.service.map_or((0, 0), |number| (SERVICES[number].2, SERVICES[number].3));
        (self.span.0 - before * 60_000_000, self.span.1 + after * 60_000_000)
    }

    /// Who put it where it is.
    fn placed_by(&self) -> &str {
        let places = |step: &&Step| matches!(step.what.as_str(), "created" | "held" | "rescheduled");
        self.steps.iter().rev().find(places).map_or("", |step| step.source.as_str())
    }

    /// Whether it keeps others out.
    pub(crate) fn counts(&self, now: i64) -> bool {
        match self.state.as_str() {
            "held" => now < self.state_at,
            "confirmed" | "completed" => true,
            _ => false,
        }
    }

    pub(crate) fn stands(&self) -> bool {
        matches!(self.state.as_str(), "confirmed" | "completed")
    }
}

/// A lease as the table has it, and until when it lasts by the oracle's own reckoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) fence: i64,
    pub(crate) is_delivery: bool,
    lasts: i64,
}

/// The tables after a transaction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tables {
    pub(crate) bookings: BTreeMap<String, Booking>,
    pub(crate) busy: Vec<(usize, Span)>,
    pub(crate) leases: BTreeMap<String, Lease>,
    /// How much of the history was read.
    steps: i64,
}

fn span(row: &SqliteRow, place: usize) -> Span {
    (row.get(place), row.get(place + 1))
}

impl Tables {
    /// Reads everything. `before` is how it was before this transaction, which ended at `now`.
    pub(crate) async fn read(pool: &SqlitePool, before: &Self, now: i64) -> Self {
        let mut tables = Self { steps: before.steps, ..Self::default() };
        for row in sqlx::query(BOOKINGS).fetch_all(pool).await.unwrap() {
            let named = row.get::<Option<String>, _>(5);
            let known = |id: &String| (0..SERVICES.len()).find(|number| service(*number).to_string() == *id);
            let booking = Booking {
                state: row.get(1),
                state_at: row.get(2),
                by: row.get(3),
                chair: chair_of(row.get(4)),
                service: named.as_ref().and_then(known),
                span: span(&row, 6),
                version: row.get(8),
                reference: row.get(9),
                call: row.get(10),
                event: row.get(11),
                sync: row.get(12),
                sent: row.get(13),
                written: row.get(14),
                gone: row.get(15),
                written_start: row.get(16),
                claims: Vec::new(),
                // Nothing of a history changes once it is written.
                steps: before.bookings.get(row.get::<&str, _>(0)).map_or_else(Vec::new, |former| former.steps.clone()),
            };
            tables.bookings.insert(row.get(0), booking);
        }
        for row in sqlx::query(CLAIMS).fetch_all(pool).await.unwrap() {
            let claim = Claim {
                chair: chair_of(row.get(1)),
                span: span(&row, 2),
                active: row.get::<i64, _>(4) == 1,
                ends: row.get(5),
            };
            tables.bookings.get_mut(row.get::<&str, _>(0)).unwrap().claims.push(claim);
        }
        for row in sqlx::query(STEPS).bind(before.steps).fetch_all(pool).await.unwrap() {
            let step =
                Step { what: row.get(1), source: row.get(2), state: row.get(3), span: span(&row, 4), at: row.get(6) };
            tables.bookings.get_mut(row.get::<&str, _>(0)).unwrap().steps.push(step);
            tables.steps = row.get(7);
        }
        for row in sqlx::query(BUSY).fetch_all(pool).await.unwrap() {
            tables.busy.push((chair_of(row.get(0)), span(&row, 1)));
        }
        for row in sqlx::query(LEASES).fetch_all(pool).await.unwrap() {
            let (id, fence): (String, i64) = (row.get(0), row.get(1));
            let known = before.leases.get(&id);
            let taken = known.map_or(fence > 0, |known| known.fence < fence);
            let free = row.get::<i64, _>(2) == 0;
            let lasts = match known {
                _ if free => 0,
                _ if taken => now + LEASE.num_microseconds().unwrap(),
                // A pass that goes on keeps its lease.
                Some(known) => known.lasts.max(row.get(2)),
                None => 0,
            };
            tables.leases.insert(id, Lease { fence, is_delivery: row.get::<&str, _>(3) == "delivery", lasts });
        }
        tables
    }

    /// Whether the history is what it was when it was written.
    pub(crate) async fn keeps_its_history(&self, pool: &SqlitePool, now: i64) -> bool {
        let anew = Self::read(pool, &Self::default(), now).await;
        self.bookings.iter().all(|(id, known)| anew.bookings.get(id).is_some_and(|read| read.steps == known.steps))
    }

    /// Whether a chair has no room for `wanted`.
    pub(crate) fn is_taken(&self, chair: usize, wanted: Span, now: i64) -> bool {
        let count = |instant: i64| {
            let there = |booking: &&Booking| {
                booking.counts(now) && booking.chair == chair && {
                    let claim = booking.claim();
                    claim.0 <= instant && instant < claim.1
                }
            };
            i64::try_from(self.bookings.values().filter(there).count()).unwrap()
        };
        let starts =
            self.bookings.values().map(|booking| booking.claim().0).filter(|start| meet(wanted, (*start, start + 1)));
        self.busy.iter().any(|(of, span)| *of == chair && meet(*span, wanted))
            || starts.chain([wanted.0]).any(|instant| count(instant) >= CAPACITIES[chair])
    }

    /// The lease that a transaction took, if it took one.
    pub(crate) fn taken_since(&self, before: &Self) -> Option<(String, i64)> {
        let risen =
            |(id, lease): &(&String, &Lease)| before.leases.get(*id).map_or(0, |known| known.fence) < lease.fence;
        self.leases.iter().find(risen).map(|(id, lease)| (id.clone(), lease.fence))
    }
}

/// Whether one state may follow another.
fn may_follow(from: Option<&str>, to: &str) -> bool {
    match from {
        None => matches!(to, "held" | "confirmed"),
        Some(from) if from == to => true,
        Some("held") => matches!(to, "confirmed" | "expired" | "released"),
        Some("confirmed") => matches!(to, "completed" | "cancelled"),
        Some(_) => false,
    }
}

/// What is wrong after a transaction that led from `before` to `after` at `now`. `lost` tells that its node has lost the
/// lease under which it works.
pub(crate) fn check(before: &Tables, after: &Tables, now: i64, lost: bool) -> Result<(), String> {
    if let Some(id) = before.bookings.keys().find(|id| !after.bookings.contains_key(*id)) {
        return Err(format!("booking {id} is gone"));
    }
    for (id, booking) in &after.bookings {
        let former = before.bookings.get(id);
        if former != Some(booking) {
            changed(former, booking, after, now).map_err(|wrong| format!("booking {id}: {wrong}"))?;
        }
        claims(booking, now).map_err(|wrong| format!("booking {id}: {wrong}"))?;
    }
    for (chair, capacity) in CAPACITIES.iter().enumerate() {
        overlap(after, chair, *capacity, now)?;
    }
    for (id, lease) in &after.leases {
        let Some(known) = before.leases.get(id) else { continue };
        if lease.fence > known.fence && now < known.lasts {
            return Err(format!("two nodes work on one {}", if lease.is_delivery { "delivery" } else { "calendar" }));
        }
    }
    let doubt = after.bookings.values().any(|booking| booking.gone.is_some());
    let changed =
        after.bookings.iter().any(|(id, booking)| before.bookings.get(id) != Some(&without_news(before, id, booking)));
    if lost && !doubt && changed {
        return Err("a node that has lost its lease changed a booking".to_owned());
    }
    Ok(())
}

/// A booking without the conflicts that were just recorded: anybody may do that, by what the tables hold.
fn without_news(before: &Tables, id: &str, booking: &Booking) -> Booking {
    let known = before.bookings.get(id).map_or(0, |known| known.steps.len());
    let mut booking = booking.clone();
    let mut place = 0;
    booking.steps.retain(|step| {
        place += 1;
        place <= known || step.what != "conflict"
    });
    booking
}

fn changed(former: Option<&Booking>, booking: &Booking, after: &Tables, now: i64) -> Result<(), String> {
    let from = former.map(|former| former.state.as_str());
    if !may_follow(from, &booking.state) {
        return Err(format!("{from:?} became {}", booking.state));
    }
    if let (Some(former), "confirmed") = (former, booking.state.as_str())
        && former.state == "held"
        && former.state_at <= now
    {
        return Err("a hold that had run out was booked".to_owned());
    }
    let placed = former.is_none_or(|former| (former.span, former.chair) != (booking.span, booking.chair));
    let stepped = former.is_none_or(|former| former.state != booking.state) || placed;
    let last = booking.steps.last().ok_or("it has no history")?;
    if stepped && (last.state != booking.state || last.span != booking.span || last.at != now) {
        return Err(format!("its history does not tell that it is {} at {:?} now", booking.state, booking.span));
    }
    if placed && booking.placed_by() == "receptionist" {
        let claim = booking.claim();
        if after.busy.iter().any(|(chair, busy)| *chair == booking.chair && meet(*busy, claim)) {
            return Err("it was put over time that was known to be busy".to_owned());
        }
    }
    Ok(())
}

fn claims(booking: &Booking, now: i64) -> Result<(), String> {
    let active: Vec<&Claim> = booking.claims.iter().filter(|claim| claim.active).collect();
    if !booking.counts(now) {
        let keeps = active.iter().any(|claim| claim.ends.is_none_or(|ends| now < ends));
        return if keeps { Err(format!("it is {} and keeps others out", booking.state)) } else { Ok(()) };
    }
    let [claim] = active.as_slice() else { return Err(format!("it has {} active claims", active.len())) };
    let ends = (booking.state == "held").then_some(booking.state_at);
    if claim.ends != ends {
        return Err(format!("it is {} and its claim ends at {:?}", booking.state, claim.ends));
    }
    // An owner may move a booking to where no claim fits; nobody does here.
    if (claim.chair, claim.span) != (booking.chair, booking.claim()) {
        return Err(format!("it claims {:?} and should claim {:?}", claim.span, booking.claim()));
    }
    Ok(())
}

/// What the owner put somewhere stays there. Everything else fits.
fn overlap(tables: &Tables, chair: usize, capacity: i64, now: i64) -> Result<(), String> {
    let there: Vec<Span> = tables
        .bookings
        .values()
        .filter(|booking| booking.chair == chair && booking.counts(now) && booking.placed_by() != "owner")
        .map(Booking::claim)
        .collect();
    let at = |instant: i64| there.iter().filter(|claim| claim.0 <= instant && instant < claim.1).count();
    if there.iter().any(|claim| i64::try_from(at(claim.0)).unwrap() > capacity) {
        return Err(format!("chair {} is booked more often than it may be", chair + 1));
    }
    Ok(())
}

/// Whether a transaction follows from here, so that the tables may differ afterwards.
pub(crate) const fn writes(point: &Point) -> bool {
    matches!(point, Point::Store(Moment::BeforeWrite))
}
