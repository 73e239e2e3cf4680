//! What is said, at rest, of bookings and calendars that do not agree: just that, and of just those.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sqlx::Row as _;

use crate::{
    oracle::{Booking, Span, meet},
    owner::{is_live, is_series, span},
    template::{CAPACITIES, chair_of},
    world::{Verdict, World},
};

/// Every conflict that is open.
const OPEN: &str = "SELECT booking_id, kind, meets FROM conflict WHERE resolved_at IS NULL";
/// What the mirror shows as busy, and on which chair.
const BUSY: &str = "SELECT c.resource_id, s.event_id, s.start_at, s.end_at FROM busy_slot s
        JOIN calendar c ON c.business_id = s.business_id AND c.id = s.calendar_id AND c.generation = s.generation
       WHERE c.blocks = 1";

/// The events of each chair by their ids.
pub(crate) type Events = [BTreeMap<String, Value>];

impl World {
    /// A conflict is open for each event and each other booking over a booking's time, and for each event of a booking that
    /// is not as the booking is; and no other.
    pub(crate) async fn conflicts(&mut self, events: &Events) -> Verdict {
        let mut open: BTreeMap<String, BTreeSet<(String, String)>> = BTreeMap::new();
        for row in sqlx::query(OPEN).fetch_all(&self.pool).await.unwrap() {
            open.entry(row.get(0)).or_default().insert((row.get(1), row.get(2)));
        }
        let busy: Vec<(usize, String, Span)> = sqlx::query(BUSY)
            .fetch_all(&self.pool)
            .await
            .unwrap()
            .into_iter()
            .map(|row| (chair_of(row.get(0)), row.get(1), (row.get(2), row.get(3))))
            .collect();
        let bookings = self.tables.bookings.clone();
        for (id, booking) in &bookings {
            let told = open.remove(id).unwrap_or_default();
            let upcoming = booking.state == "confirmed" && booking.span.1 > self.now();
            let mut wanted = BTreeSet::new();
            if upcoming {
                wanted.extend(meetings(id, booking, &bookings, &busy, self.now()));
                match self.difference(booking, events) {
                    // It is not judged, and so is nothing that is said of it.
                    Difference::Unjudged => wanted.extend(told.iter().filter(|(kind, _)| is_own(kind)).cloned()),
                    Difference::Of(kind) => {
                        self.seen.note("a booking and its event differ");
                        wanted.insert((kind.to_owned(), booking.event.clone().unwrap_or_default()));
                    }
                    Difference::None => {}
                }
            }
            // Of bookings that share a chair with others, who meets whom is a matter of choice.
            let exclusive = CAPACITIES[booking.chair] == 1;
            let judged = |(kind, _): &&(String, String)| exclusive || kind != "booking";
            if !told.iter().filter(judged).eq(wanted.iter().filter(judged)) {
                return Err(format!(
                    "at rest, booking {id} is said to be in conflict as {told:?} and is so as {wanted:?}"
                ));
            }
            if !wanted.is_empty() {
                self.seen.note("a conflict is open");
            }
        }
        Ok(())
    }

    /// Whether the owner restored an event, and a list kept that from slotd.
    pub(crate) fn is_unknowable(&self, event: &str) -> bool {
        self.owner.restored.contains(event) && self.google.was_forgotten(event)
    }

    /// How a booking that stands differs from its event.
    fn difference(&self, booking: &Booking, events: &Events) -> Difference {
        let Some(linked) = &booking.event else { return Difference::None };
        if booking.gone.as_deref() == Some("asked") || self.is_unknowable(linked) {
            return Difference::Unjudged;
        }
        let event = events.iter().find_map(|events| events.get(linked).filter(|event| is_live(event)));
        match event {
            None if self.keeps => Difference::Of("deleted"),
            Some(event) if is_series(event) => Difference::Of("series"),
            Some(event) if span(event) != Some(booking.span) => Difference::Of("moved"),
            Some(event) if event["transparency"] == "transparent" => Difference::Of("free"),
            None | Some(_) => Difference::None,
        }
    }

    /// A booking that stands, where bookings are kept: it has gone nowhere, and its event is where the owner put it.
    pub(crate) fn kept(&mut self, booking: &Booking, linked: &str, live: &[&Value]) -> Verdict {
        let Some(event) = live.iter().find(|event| event["id"] == linked) else {
            if booking.sync != "none" || booking.gone.as_deref() != Some("kept") {
                return Err(format!("it stands without an event, and is {} and {:?}", booking.sync, booking.gone));
            }
            if !self.owner.deleted.contains(linked) {
                return Err("it stands without an event, which nobody deleted".to_owned());
            }
            self.seen.note("a booking is kept without its event");
            return Ok(());
        };
        if booking.gone.as_deref() == Some("kept") && self.is_unknowable(linked) {
            return Ok(());
        }
        if booking.sync != "synced" || booking.written != Some(booking.version) {
            return Err(format!(
                "Google was told of version {:?} of {}: {}",
                booking.written, booking.version, booking.sync
            ));
        }
        let elsewhere = |shown: &Span| *shown != booking.span && !is_series(event);
        let Some(shown) = span(event).filter(elsewhere) else { return Ok(()) };
        if !self.owner.spans.get(linked).is_some_and(|spans| spans.contains(&shown)) {
            return Err(format!("it is at {:?} and its event at {shown:?}, where nobody put it", booking.span));
        }
        self.seen.note("a booking is kept at its time");
        Ok(())
    }
}

/// How a booking differs from its event.
enum Difference {
    None,
    Of(&'static str),
    Unjudged,
}

fn is_own(kind: &str) -> bool {
    !matches!(kind, "event" | "booking")
}

/// Whatever else is over the time that a booking claims.
fn meetings(
    id: &str,
    booking: &Booking,
    bookings: &BTreeMap<String, Booking>,
    busy: &[(usize, String, Span)],
    now: i64,
) -> BTreeSet<(String, String)> {
    let claim = booking.claim();
    let events = busy
        .iter()
        .filter(|(chair, event, span)| {
            *chair == booking.chair && meet(*span, claim) && Some(event) != booking.event.as_ref()
        })
        .map(|(_, event, _)| ("event".to_owned(), event.clone()));
    let others = bookings
        .iter()
        .filter(|(other, known)| {
            *other != id
                && known.chair == booking.chair
                && known.state == "confirmed"
                && known.span.1 > now
                && meet(known.claim(), claim)
        })
        .map(|(other, _)| ("booking".to_owned(), other.clone()));
    events.chain(others).collect()
}
