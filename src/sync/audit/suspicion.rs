//! What looks not the same on both sides, series by series. Pure.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono_tz::Tz;

use super::look::{Key, Listed, Print, key};
use crate::{
    domain::{
        Event, EventKind, Interval,
        booking::State,
        drift::{Comparison, Drift, Pair, busy_drift, lasting},
        interval::merge,
    },
    store::{
        bookings::Booking,
        events::{BusySlot, Generation},
        survey::StoredEvent,
    },
    sync::{
        changes::{Slots, expand, is_tombstone},
        own::{busy_besides, known_times},
    },
};

/// A busy slot: when, and by which event.
type Slot = (Interval, String);

/// How the busy slots of one series differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct SlotDifference {
    /// What Google's events make busy and is not served.
    missing: BTreeSet<Slot>,
    /// What is served although Google's events do not make it busy.
    surplus: BTreeSet<Slot>,
    /// Events of the series that differ themselves.
    touched: BTreeSet<Key>,
}

/// What one look found.
pub(super) struct Suspicions {
    /// The state of the mirror that was looked at.
    pub(super) of: Generation,
    /// How many events Google listed.
    pub(super) compared: usize,
    zone: Tz,
    coverage: Interval,
    comparison: Comparison<Key, Print>,
    /// Google's events that were asked for and are not judged yet, by series.
    kept: BTreeMap<String, Vec<Event>>,
    judged: HashSet<Key>,
    slots: BTreeMap<String, SlotDifference>,
}

impl Suspicions {
    pub(super) fn over(listed: Listed, zone: Tz, coverage: Interval, of: Generation) -> Self {
        Self {
            of,
            compared: listed.prints.len(),
            zone,
            coverage,
            comparison: Comparison::with(listed.prints),
            kept: listed.kept,
            judged: HashSet::new(),
            slots: BTreeMap::new(),
        }
    }

    /// Series of Google's that were asked for and that the mirror does not have.
    pub(super) fn unseen(&self) -> Vec<String> {
        self.kept.keys().cloned().collect()
    }

    pub(super) fn has_judged(&self, series: &str) -> bool {
        self.judged.contains(&key(series))
    }

    /// Takes exceptions that stand beside a single event. They make nothing busy, and Google does not say when they go.
    pub(super) fn leave(&mut self, rows: &[StoredEvent]) {
        for row in rows {
            let key = key(&row.event.id);
            self.comparison.meet(key, row.print());
            if self.comparison.is_surplus(&key) {
                self.comparison.excuse(&key);
            }
        }
    }

    /// Compares what is stored and served under one series id with what Google has of it.
    pub(super) fn judge(&mut self, id: &str, rows: &[StoredEvent], served: Vec<BusySlot>, own: Option<&Booking>) {
        self.judged.insert(key(id));
        let sent = self.kept.remove(id).unwrap_or_default();
        let (mut theirs, mut touched): (Vec<Event>, BTreeSet<Key>) = (Vec::new(), BTreeSet::new());
        // A row of a deleted event has no counterpart in a list without deleted events.
        for row in rows.iter().filter(|row| !is_tombstone(&row.event)) {
            let key = key(&row.event.id);
            if self.comparison.meet(key, row.print()) {
                theirs.push(row.event.clone());
            } else {
                touched.insert(key);
            }
        }
        for event in sent {
            if theirs.iter().all(|known| known.id != event.id) {
                touched.insert(key(&event.id));
                theirs.push(event);
            }
        }
        if own.is_some_and(in_flight) {
            for key in &touched {
                self.comparison.excuse(key);
            }
            return;
        }
        self.excuse_idle(rows, &theirs, &mut touched);
        let known: BTreeSet<Key> = theirs.iter().map(|event| key(&event.id)).collect();
        if touched.iter().any(|key| !known.contains(key) && !self.comparison.is_surplus(key)) {
            // How Google has it is known only in the next look.
            return;
        }
        let Some(expected) = self.expected(&theirs, own) else { return };
        // While it stands, a booking is busy by itself at its own times.
        let standing = own.filter(|booking| matches!(booking.state, State::Confirmed { .. }));
        let known = standing.map(known_times).unwrap_or_default();
        let served: BTreeSet<Slot> = served
            .into_iter()
            .filter(|slot| slot.interval.overlaps(self.coverage) && !known.contains(&Some(slot.interval)))
            .map(|slot| (slot.interval, slot.event_id))
            .collect();
        let difference = SlotDifference {
            missing: expected.difference(&served).cloned().collect(),
            surplus: served.difference(&expected).cloned().collect(),
            touched,
        };
        if !difference.missing.is_empty() || !difference.surplus.is_empty() {
            self.slots.insert(id.to_owned(), difference);
        }
    }

    /// Exceptions that only the mirror has, and that change nothing: Google does not say when they go.
    fn excuse_idle(&mut self, rows: &[StoredEvent], theirs: &[Event], touched: &mut BTreeSet<Key>) {
        let idle: Vec<&Event> = rows
            .iter()
            .map(|row| &row.event)
            .filter(|event| {
                matches!(event.kind, EventKind::Exception { .. }) && self.comparison.is_surplus(&key(&event.id))
            })
            .collect();
        if idle.is_empty() {
            return;
        }
        let with: Vec<Event> = theirs.iter().chain(idle.iter().copied()).cloned().collect();
        if self.expected(&with, None) == self.expected(theirs, None) {
            for event in idle {
                let key = key(&event.id);
                self.comparison.excuse(&key);
                touched.remove(&key);
            }
        }
    }

    /// The busy slots that Google's events have to lead to. `None` where nobody can say.
    fn expected(&self, theirs: &[Event], own: Option<&Booking>) -> Option<BTreeSet<Slot>> {
        let busy = match (own, theirs) {
            (None, _) => {
                let mut slots = Slots::default();
                expand(theirs, self.zone, self.coverage, &mut slots);
                slots.busy
            }
            (Some(_), []) => Vec::new(),
            (Some(booking), [event]) => busy_besides(event, booking, self.zone, self.coverage),
            // The owner made a series of a booking's event, with exceptions: passes judge them one by one.
            (Some(_), _) => return None,
        };
        Some(busy.into_iter().map(|slot| (slot.interval, slot.event_id)).collect())
    }

    /// Ends the look.
    pub(super) fn close(self) -> Look {
        Look {
            of: self.of,
            compared: self.compared,
            coverage: self.coverage,
            events: self.comparison.finish(),
            slots: self.slots,
        }
    }
}

/// Whether slotd itself is changing the event just now.
fn in_flight(booking: &Booking) -> bool {
    let Some(link) = &booking.link else { return false };
    let told = link.written.is_some_and(|written| written.version == booking.version);
    link.sent.is_some() || (matches!(booking.state, State::Confirmed { .. }) && !told)
}

/// The end of a look.
pub(super) struct Look {
    pub(super) of: Generation,
    pub(super) compared: usize,
    coverage: Interval,
    events: BTreeMap<Key, Pair<Print>>,
    slots: BTreeMap<String, SlotDifference>,
}

impl Look {
    /// Whether both sides were the same.
    pub(super) fn is_clean(&self) -> bool {
        self.events.is_empty() && self.slots.is_empty()
    }

    /// What the next look has to know whole.
    pub(super) fn differing(&self) -> BTreeSet<Key> {
        self.events.keys().copied().collect()
    }

    /// What this look says like the one before. Changes that are on their way differ from one look to the next.
    pub(super) fn confirmed(mut self, before: &Self) -> Self {
        let events = lasting(&before.events, &self.events);
        self.slots.retain(|series, now| {
            if now.touched.is_empty() {
                before.slots.get(series) == Some(now)
            } else {
                now.touched.iter().all(|key| events.contains_key(key))
            }
        });
        Self { events, ..self }
    }

    pub(super) fn events_differing(&self) -> usize {
        self.events.len()
    }

    /// Where busy slots differ, merged.
    pub(super) fn places(&self) -> Vec<Interval> {
        let slots = self.slots.values().flat_map(|one| one.missing.iter().chain(&one.surplus));
        merge(slots.map(|(interval, _)| *interval).collect())
    }

    /// The busy time that differs, when `served` is what is served around [`Look::places`].
    pub(super) fn drift(&self, served: &[BusySlot]) -> Drift {
        let only = |of: fn(&SlotDifference) -> &BTreeSet<Slot>| {
            self.slots.values().flat_map(of).map(|(interval, _)| *interval).collect::<Vec<_>>()
        };
        let surplus: HashSet<(Interval, &str)> =
            self.slots.values().flat_map(|one| &one.surplus).map(|(at, event)| (*at, event.as_str())).collect();
        let both: Vec<Interval> = served
            .iter()
            .filter(|slot| !surplus.contains(&(slot.interval, slot.event_id.as_str())))
            .map(|slot| slot.interval)
            .collect();
        busy_drift(&only(|one| &one.missing), &only(|one| &one.surplus), &both, self.coverage)
    }
}
