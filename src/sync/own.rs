//! Events that slotd itself wrote: they are their bookings' shadows, and the way the owner moves a booking.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::{
    Mirrors,
    changes::{Slots, expand, single},
    pass::{Pass, PassError},
};
use crate::{
    domain::{
        BookingId, BusinessId, Event, EventKind, EventStatus, Interval,
        booking::{Party, State},
        brake, event_id,
        expand::single_interval,
        sabotage::{Bug, sabotaged},
    },
    google::Item,
    store::{
        self, Lane, Store, Tx,
        bookings::Booking,
        events::{BusySlot, MirroredEvent},
        follow::seen,
    },
};

/// A list may lag this far behind slotd's own writes, clocks of several nodes included.
const SETTLING: TimeDelta = TimeDelta::minutes(1);

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

    /// Whether it is just what slotd wrote last, so that there is nothing to decide.
    pub(super) fn is_echo(&self, zone: Tz) -> bool {
        let Some(link) = self.booking.link.as_ref().filter(|_| !sabotaged(Bug::EchoIsOwners)) else { return false };
        matches!(self.booking.state, State::Confirmed { .. })
            && self.event.kind == EventKind::Single
            && self.event.blocks()
            && single_interval(&self.event, zone) == Some(self.booking.interval)
            && link.sent.is_none()
            && link.gone.is_none()
            && link.etag == self.etag
            && link.written.is_some_and(|written| written.version == self.booking.version)
    }
}

/// What a booking's own event makes busy besides the booking.
///
/// While the owner's time differs from the booking's, both are busy; else the booking alone says so. A cancelled booking's
/// event that is not deleted yet is not busy, unless the owner deleted it and wants it back.
pub(super) fn busy_besides(event: &Event, booking: &Booking, zone: Tz, window: Interval) -> Vec<BusySlot> {
    match booking.state {
        State::Confirmed { .. } => {}
        // Deleted and restored by the owner: it is their event now.
        State::Cancelled { by: Party::Owner, .. } => return single(event, zone, window).into_iter().collect(),
        _ => return Vec::new(),
    }
    let known = known_times(booking);
    let mut slots = Slots::default();
    expand(std::slice::from_ref(event), zone, window, &mut slots);
    slots.busy.retain(|slot| !known.contains(&Some(slot.interval)));
    slots.busy
}

/// The times at which the booking itself is busy, or that slotd wrote to its event.
pub(super) fn known_times(booking: &Booking) -> [Option<Interval>; 3] {
    let link = booking.link.as_ref();
    [
        Some(booking.interval),
        link.and_then(|link| link.written)
            // Told, and elsewhere all the same: the owner moved it, and the booking was kept.
            .filter(|written| written.version < booking.version || written.interval == booking.interval)
            .map(|written| written.interval),
        link.and_then(|link| link.sent).map(|sent| sent.interval),
    ]
}

/// The busy slots of events that may differ from their bookings, which stay as they are until the transaction ends: no
/// booking can follow its event in between and leave a slot behind.
pub(super) async fn own_slots(
    tx: &mut Tx,
    own: &[OwnEvent],
    zone: Tz,
    window: Interval,
) -> store::Result<Vec<BusySlot>> {
    let mut slots = Vec::new();
    let mut sorted: Vec<&OwnEvent> = own.iter().collect();
    // In the order of their ids, so that two passes never wait for each other.
    sorted.sort_unstable_by_key(|own| own.booking.id);
    for own in sorted {
        if let Some(booking) = tx.lock_booking(own.booking.business, own.booking.id).await? {
            slots.extend(busy_besides(&own.event, &booking, zone, window));
        }
    }
    Ok(slots)
}

impl Mirrors {
    /// Lets each booking follow what the owner did to its event. Comes before the token is kept, so that nothing is missed
    /// when the process dies in between; following twice is harmless.
    pub(super) async fn follow_owner(&self, pass: &Pass, own: &[OwnEvent]) -> Result<(), PassError> {
        let (zone, lease, length, since) = (pass.calendar.time_zone, pass.lease, self.lease(), pass.began - SETTLING);
        let held = self.hold_deletions(pass, own, since).await?;
        let mut followed = false;
        for own in own.iter().filter(|own| !own.is_echo(zone) && !held.contains(&own.booking.id)) {
            let (booking, event_id) = (own.booking.id, own.event.id.clone());
            let facts = seen(&own.event, own.etag.as_deref(), zone);
            let follow = store::work::<bool, store::Error, _>(move |tx| {
                Box::pin(async move {
                    // A pass that lost its lease knows nothing new any more.
                    tx.keep_lease(&lease, length, 0).await?;
                    let event = (lease.calendar, event_id.as_str());
                    tx.follow_owner(lease.business, booking, event, &facts, since).await
                })
            });
            if self.store.write(Lane::Background, follow).await? {
                self.outbox.notify_one();
            }
            followed = true;
        }
        if followed {
            self.settle_conflicts().await;
        }
        Ok(())
    }

    /// Records what bookings meet by what a pass brought. What fails here is done by the next job.
    pub(super) async fn settle_conflicts(&self) {
        if let Err(error) = store::conflicts::settle(&self.store).await {
            tracing::warn!(%error, "cannot record conflicts of bookings");
        }
    }

    /// Many events deleted at once end no booking before the owner has said so. Returns the bookings of those.
    async fn hold_deletions(
        &self,
        pass: &Pass,
        own: &[OwnEvent],
        since: DateTime<Utc>,
    ) -> Result<Vec<BookingId>, PassError> {
        let deleted = own.iter().filter(|own| own.event.status == EventStatus::Cancelled);
        let mut deleted: Vec<(BookingId, String)> = deleted.map(|own| (own.booking.id, own.event.id.clone())).collect();
        // So few are judged one by one.
        if deleted.len() <= brake::ALWAYS {
            return Ok(Vec::new());
        }
        // In the order of their ids, so that two passes never wait for each other.
        deleted.sort_unstable();
        let (lease, length) = (pass.lease, self.lease());
        let judge = store::work::<Vec<BookingId>, store::Error, _>(move |tx| {
            Box::pin(async move {
                tx.keep_lease(&lease, length, 0).await?;
                tx.judge_deletions(lease.business, lease.calendar, &deleted, since).await
            })
        });
        let held = self.store.write(Lane::Background, judge).await?;
        if !held.is_empty() {
            self.outbox.notify_one();
        }
        Ok(held)
    }

    /// In a full pass: a booking's event that was not listed is looked up by its id, for absence alone cancels nothing.
    pub(super) async fn recheck_absent(&self, pass: &Pass, listed: HashSet<String>) -> Result<(), PassError> {
        let (business, calendar) = (pass.calendar.business, pass.calendar.id);
        let (lease, length) = (pass.lease, self.lease());
        let mark = store::work::<usize, store::Error, _>(move |tx| {
            Box::pin(async move {
                tx.keep_lease(&lease, length, 0).await?;
                let written = tx.written_bookings(business, calendar).await?;
                let absent = written.into_iter().filter(|(_, event_id)| !listed.contains(event_id));
                let absent: Vec<BookingId> = absent.map(|(booking, _)| booking).collect();
                if sabotaged(Bug::AbsenceCancels) {
                    for id in &absent {
                        if let Some(mut booking) = tx.lock_booking(business, *id).await? {
                            tx.cancel_with_owner(&mut booking).await?;
                        }
                    }
                } else if !absent.is_empty() {
                    tx.doubt_absent(business, calendar, &absent).await?;
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
