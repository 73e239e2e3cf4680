//! What has to be true once nothing fails any more and everything has come to rest.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::Value;
use sqlx::Row as _;

use crate::{
    gate::{PROPERTY, is_derived},
    owner::{is_live, is_series, span},
    template::CAPACITIES,
    world::{Verdict, Work, World},
};

/// After so many rounds everything must be at rest. The longest wait between two tries is less than two rounds.
const ROUNDS: usize = 10;
const ROUND: TimeDelta = TimeDelta::minutes(20);
/// In one round nobody has more to do than this.
const WORK_MAX: usize = 200;
const EVENT_IDS: &str = "SELECT event_id, booking_id, calendar_id FROM booking_event";
const MIRROR: &str = "SELECT c.resource_id, s.event_id, s.start_at, s.end_at FROM busy_slot s
        JOIN calendar c ON c.business_id = s.business_id AND c.id = s.calendar_id AND c.generation = s.generation";
/// What is owed, and the calendars that nobody could look at.
const UNFINISHED: &str = "SELECT (SELECT COUNT(*) FROM outbox) + (SELECT COUNT(*) FROM calendar WHERE failures > 0)";
const COVERED: &str = "SELECT MAX(covered_from) FROM calendar";

impl World {
    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query(sql).fetch_one(&self.pool).await.unwrap().get(0)
    }

    /// Lets everybody work until nobody has anything to do, and judges.
    pub(crate) async fn rest(&mut self) -> Verdict {
        for _ in 0..ROUNDS {
            let (writes, bookings) = (self.google.writes(), self.tables.bookings.clone());
            self.pass_time(ROUND);
            self.work_off().await?;
            let same = writes == self.google.writes() && bookings == self.tables.bookings;
            if same && self.count(UNFINISHED).await == 0 {
                return self.judge().await;
            }
        }
        let owed = self.count("SELECT COUNT(*) FROM outbox").await;
        Err(format!("no rest: {owed} deliveries are owed, and events are written again and again"))
    }

    async fn work_off(&mut self) -> Verdict {
        self.do_alone(Work::Settle).await?;
        for _ in 0..WORK_MAX {
            let now = self.now();
            let due =
                format!("SELECT COUNT(*) FROM outbox WHERE dead = 0 AND due_at <= {now} AND lease_until <= {now}");
            let owed: i64 = sqlx::query(sqlx::AssertSqlSafe(due)).fetch_one(&self.pool).await.unwrap().get(0);
            let due = format!("SELECT COUNT(*) FROM calendar WHERE due_at <= {now} AND lease_until <= {now}");
            let behind: i64 = sqlx::query(sqlx::AssertSqlSafe(due)).fetch_one(&self.pool).await.unwrap().get(0);
            match (owed, behind) {
                (0, 0) => return Ok(()),
                (0, _) => self.do_alone(Work::Pass).await?,
                _ => self.do_alone(Work::Delivery).await?,
            }
        }
        Err("no rest: there is always something to do at once".to_owned())
    }

    async fn judge(&mut self) -> Verdict {
        let mut events: Vec<BTreeMap<String, Value>> = Vec::new();
        for chair in 0..CAPACITIES.len() {
            let named = |event: Value| (event["id"].as_str().unwrap_or_default().to_owned(), event);
            events.push(self.google.events(chair).await.into_iter().map(named).collect());
        }
        let ids = sqlx::query(EVENT_IDS).fetch_all(&self.pool).await.unwrap();
        let mut derived: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for row in ids {
            derived.entry(row.get(1)).or_default().push(row.get(0));
        }
        self.stored()?;
        if !self.tables.keeps_its_history(&self.pool, self.now()).await {
            return Err("a history was rewritten".to_owned());
        }
        let bookings: Vec<String> = self.tables.bookings.keys().cloned().collect();
        for id in &bookings {
            let known = derived.get(id).cloned().unwrap_or_default();
            self.event_of(id, &known, &events).map_err(|wrong| format!("at rest, booking {id}: {wrong}"))?;
        }
        self.conflicts(&events).await?;
        self.mirror(&events).await?;
        self.seen.note("a run comes to rest");
        Ok(())
    }

    /// Acknowledged ⊆ stored ⊆ attempted, and nothing lasts longer than it should.
    fn stored(&self) -> Verdict {
        if let Some(lost) = self.acknowledged.iter().find(|id| !self.tables.bookings.contains_key(*id)) {
            return Err(format!("the acknowledged booking {lost} is lost"));
        }
        let mut references: BTreeMap<&str, usize> = BTreeMap::new();
        for (id, booking) in &self.tables.bookings {
            if let Some(reference) = &booking.reference {
                if !self.attempted.contains(reference) {
                    return Err(format!("nobody asked for booking {id}"));
                }
                *references.entry(reference).or_default() += 1;
            }
            let now = self.now();
            if booking.state == "held" && booking.state_at <= now {
                return Err(format!("hold {id} ran out, and nobody says so"));
            }
            if booking.state == "confirmed" && booking.span.1 <= now {
                return Err(format!("booking {id} is over, and nobody says so"));
            }
        }
        let twice = references.iter().find(|(_, times)| **times > 1);
        let keyed =
            |tag: &str| self.keys.values().any(|used| format!("{:?}", used.request).contains(&format!("\"{tag}\"")));
        match twice {
            Some((tag, times)) if keyed(tag) => Err(format!("one request under a key made {times} bookings: {tag}")),
            _ => Ok(()),
        }
    }

    /// One live event for each booking that stands, at its time, and none for any other.
    fn event_of(&mut self, id: &str, derived: &[String], events: &[BTreeMap<String, Value>]) -> Verdict {
        let booking = &self.tables.bookings[id].clone();
        let ours = |event: &&Value| {
            is_derived(event["id"].as_str().unwrap_or_default())
                && event["extendedProperties"]["private"][PROPERTY] == id
                && is_live(event)
        };
        let name = |event: &Value| event["id"].as_str().unwrap_or_default().to_owned();
        let linked = booking.event.clone().unwrap_or_default();
        // Left behind by the booking, restored by the owner, and kept from slotd by the list.
        let unknowable = |event: &&Value| {
            let event = name(event);
            event != linked && self.is_unknowable(&event)
        };
        let live = events.iter().flat_map(BTreeMap::values).filter(ours).filter(|event| !unknowable(event));
        let live: Vec<&Value> = live.collect();
        let deleted = derived.iter().any(|event| self.owner.deleted.contains(event));
        let restored = live.iter().any(|event| self.owner.restored.contains(&name(event)));
        if live.len() > 1 && !restored {
            return Err(format!(
                "it has {} events: {:?}",
                live.len(),
                live.iter().map(|e| name(e)).collect::<Vec<_>>()
            ));
        }
        // What the owner deleted and did not restore is not made again.
        if self.owner.deleted.contains(&linked) && live.iter().any(|event| name(event) == linked) && !restored {
            return Err("an event is there that the owner deleted".to_owned());
        }
        if booking.stands() && !live.is_empty() && deleted && !restored && !self.owner.reseated.contains(id) {
            return Err("an event that the owner deleted was made again".to_owned());
        }
        if let ("cancelled", Some("owner")) = (booking.state.as_str(), booking.by.as_deref()) {
            if self.keeps {
                return Err("it was to be kept, and ended with its event".to_owned());
            }
            if !deleted {
                return Err("it ended with its event, which nobody deleted".to_owned());
            }
            return match live.first() {
                Some(event) if !restored => Err(format!("it has ended with its event, and {} is there", name(event))),
                _ => Ok(()),
            };
        }
        if !booking.stands() {
            return match live.first() {
                // Restored by the owner, and kept from slotd by the list.
                Some(event) if self.is_unknowable(&name(event)) => Ok(()),
                Some(event) => Err(format!("it is {}, and its event {} is there", booking.state, name(event))),
                None => Ok(()),
            };
        }
        // The owner's edits of what is over are history, and so is what is not told any more.
        if booking.span.1 <= self.now() {
            return Ok(());
        }
        if booking.gone.as_deref() == Some("asked") {
            return Ok(());
        }
        if self.keeps {
            return self.kept(booking, &linked, &live);
        }
        if booking.sync != "synced" || booking.written != Some(booking.version) {
            return Err(format!(
                "Google was told of version {:?} of {}: {}",
                booking.written, booking.version, booking.sync
            ));
        }
        let [event] = live.as_slice() else {
            return Err(format!("it stands and has {} events; the owner deleted one: {deleted}", live.len()));
        };
        if name(event) != linked {
            return Err(format!("its event is {} and not {linked}", name(event)));
        }
        if !is_series(event) && span(event) != Some(booking.span) {
            return Err(format!("it is at {:?} and its event at {:?}", booking.span, span(event)));
        }
        match self.owner.places.get(&linked) {
            Some(place) if event["location"] != place.as_str() => {
                Err("the place that the owner noted is lost".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Whatever the owner has in the calendars is busy, and nothing else of theirs.
    async fn mirror(&self, events: &[BTreeMap<String, Value>]) -> Verdict {
        let from = self.count(COVERED).await;
        let rows = sqlx::query(MIRROR).fetch_all(&self.pool).await.unwrap();
        let mirrored = rows.into_iter().filter(|row| !is_derived(row.get(1))).map(|row| {
            let chair = crate::template::chair_of(row.get(0));
            (chair, row.get::<String, _>(1), row.get::<i64, _>(2), row.get::<i64, _>(3))
        });
        let mut mirrored: Vec<_> = mirrored.collect();
        let mut wanted = Vec::new();
        for (chair, events) in events.iter().enumerate() {
            for (id, event) in events {
                let Some((start, end)) = span(event).filter(|_| is_live(event) && !is_derived(id)) else { continue };
                if event["transparency"] != "transparent" && end > from {
                    wanted.push((chair, id.clone(), start, end));
                }
            }
        }
        mirrored.sort();
        wanted.sort();
        if mirrored == wanted { Ok(()) } else { Err(format!("the mirror has {mirrored:?} and Google {wanted:?}")) }
    }
}
