//! Events that slotd itself wrote: they are their bookings' shadows, and the way the owner moves a booking.

use std::collections::{BTreeMap, HashSet};

use chrono_tz::Tz;

use super::{
    Mirrors,
    changes::{Slots, expand, single},
    pass::{Pass, PassError},
};
use crate::{
    domain::{
        BusinessId, Event, EventKind, Interval,
        booking::{Party, State},
        event_id,
        expand::single_interval,
    },
    google::Item,
    store::{
        self, Lane, Store,
        bookings::Booking,
        events::{BusySlot, MirroredEvent},
        follow::seen,
    },
};

/// An event whose id slotd derived, and its booking.
pub(super) struct OwnEvent {
    pub(super) event: Event,
    etag: Option<String>,
    title: Option<String>,
    booking: Booking,
}

/// The bookings behind those of `ids` that slotd derived.
pub(super) async fn own_bookings(
    store: &Store,
    business: BusinessId,
    ids: impl Iterator<Item = String>,
) -> store::Result<BTreeMap<String, Booking>> {
    // Most ids are Google's, and tell so by their shape.
    let candidates: Vec<String> = ids.filter(|id| event_id::has_shape(id)).collect();
    if candidates.is_empty() {
        return Ok(BTreeMap::new());
    }
    let read = store::work::<BTreeMap<String, Booking>, store::Error, _>(move |tx| {
        Box::pin(async move {
            let mut own = BTreeMap::new();
            for id in candidates {
                if let Some(booking) = tx.booking_of_event(business, &id).await?
                    && let Some(booking) = tx.booking(business, booking).await?
                {
                    own.insert(id, booking);
                }
            }
            Ok(own)
        })
    });
    store.read(read).await
}

/// Parts slotd's own events from the owner's. A copy that an owner makes of one has an id of Google's and is the owner's.
pub(super) async fn split_own(
    store: &Store,
    business: BusinessId,
    items: Vec<Item>,
) -> store::Result<(Vec<OwnEvent>, Vec<Item>)> {
    let mut bookings = own_bookings(store, business, items.iter().map(|item| item.event.id.clone())).await?;
    let (mut own, mut theirs) = (Vec::new(), Vec::with_capacity(items.len()));
    for item in items {
        match bookings.remove(&item.event.id) {
            Some(booking) => {
                own.push(OwnEvent { event: item.event, etag: item.etag, title: item.title, booking });
            }
            None => theirs.push(item),
        }
    }
    Ok((own, theirs))
}

impl OwnEvent {
    /// Its row in the mirror.
    pub(super) fn row(&self) -> MirroredEvent {
        MirroredEvent { event: self.event.clone(), etag: self.etag.clone(), title: self.title.clone() }
    }

    /// While the owner's time differs from the booking's, both are busy; else the booking alone says so. A cancelled
    /// booking's event that is not deleted yet is not busy, unless the owner deleted it and wants it back.
    pub(super) fn busy(&self, zone: Tz, window: Interval) -> Option<BusySlot> {
        match self.booking.state {
            State::Confirmed { .. } => {}
            // Deleted and restored by the owner: it is their event now.
            State::Cancelled { by: Party::Owner, .. } => {
                return single(&self.event, zone, window);
            }
            _ => return None,
        }
        let link = self.booking.link.as_ref();
        let known = [
            Some(self.booking.interval),
            link.and_then(|link| link.written).map(|written| written.interval),
            link.and_then(|link| link.sent).map(|sent| sent.interval),
        ];
        let mut slots = Slots::default();
        expand(std::slice::from_ref(&self.event), zone, window, &mut slots);
        slots.busy.into_iter().find(|slot| !known.contains(&Some(slot.interval)))
    }

    /// Whether it is just what slotd wrote last, so that there is nothing to decide.
    fn is_echo(&self, zone: Tz) -> bool {
        let Some(link) = &self.booking.link else { return false };
        matches!(self.booking.state, State::Confirmed { .. })
            && self.event.kind == EventKind::Single
            && self.event.blocks()
            && single_interval(&self.event, zone) == Some(self.booking.interval)
            && link.sent.is_none()
            && link.etag == self.etag
            && link.written.is_some_and(|written| written.version == self.booking.version)
    }
}

impl Mirrors {
    /// Lets each booking follow what the owner did to its event.
    pub(super) async fn follow_owner(&self, pass: &Pass, own: Vec<OwnEvent>) -> Result<(), PassError> {
        let zone = pass.calendar.time_zone;
        for own in own.into_iter().filter(|own| !own.is_echo(zone)) {
            let (business, booking, calendar) = (own.booking.business, own.booking.id, pass.calendar.id);
            let facts = seen(&own.event, own.etag.as_deref(), zone);
            let follow = store::work::<bool, store::Error, _>(move |tx| {
                Box::pin(async move { tx.follow_owner(business, booking, calendar, &facts).await })
            });
            if self.store.write(Lane::Background, follow).await? {
                self.outbox.notify_one();
            }
        }
        Ok(())
    }

    /// After a full pass: a booking's event that was not listed is looked up by its id, for absence alone cancels
    /// nothing.
    pub(super) async fn recheck_absent(&self, pass: &Pass, own: &[OwnEvent]) -> Result<(), PassError> {
        let listed: HashSet<String> = own.iter().map(|own| own.event.id.clone()).collect();
        let (business, calendar) = (pass.calendar.business, pass.calendar.id);
        let mark = store::work::<usize, store::Error, _>(move |tx| {
            Box::pin(async move {
                let mut absent = tx.written_bookings(business, calendar).await?;
                absent.retain(|(_, event_id)| !listed.contains(event_id));
                for (booking, _) in &absent {
                    tx.recheck_event(business, *booking).await?;
                }
                Ok(absent.len())
            })
        });
        if self.store.write(Lane::Background, mark).await? > 0 {
            self.outbox.notify_one();
        }
        Ok(())
    }
}
