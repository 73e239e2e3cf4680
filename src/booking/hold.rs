//! Holds: a slot is reserved while the caller makes up their mind.
//!
//! A hold is a booking in state `held`. At `until` it is gone, whether or not anybody noticed: every check compares with
//! the time of its transaction. It keeps its id when it becomes a booking.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Booked, BookingError, Desk, Key, Reply,
    book::{CREATED, Render, time, warning},
    change::{Change, OK, new_order},
    freshness::Terms,
    office::{Office, Order, Wish},
    remember::{keep, recall},
    together::{Own, claim, resources_of, settle},
};
use crate::{
    domain::{
        BookingId, BusinessId, ResourceId, booking,
        booking::State,
        sabotage::{Bug, sabotaged},
    },
    store::{
        self, Lane, Tx,
        bookings::{Booking, CalendarSync},
        claims::{Source, Step},
        offers::Offer,
    },
};

/// Most slots that one call may hold at once.
pub const HOLDS_OF_CALL_MAX: usize = 5;
/// No hold lasts longer than this after it was taken, however often it is extended.
pub const HOLD_LIFE_MAX: TimeDelta = TimeDelta::hours(1);

/// A slot that somebody wants reserved.
#[derive(Debug, Clone)]
pub struct NewHold {
    /// What and with whom.
    pub wish: Wish,
    /// When.
    pub start: DateTime<Utc>,
    /// For how long the slot is kept.
    pub ttl: TimeDelta,
    /// For which call.
    pub call_id: String,
}

/// What is to change of a hold. What is absent stays.
#[derive(Debug, Clone, Default)]
pub struct HoldChange {
    /// Another slot, taken in the same transaction that gives the old one up.
    pub slot: Change,
    /// How long it lasts from now on.
    pub ttl: Option<TimeDelta>,
}

impl Desk {
    /// Reserves a slot for a call, once for each `key`. The same slot again, by the same call, extends its hold.
    ///
    /// # Errors
    ///
    /// [`BookingError::Refused`] with alternatives when the time cannot be had; [`BookingError::TooManyHolds`].
    pub async fn hold(
        &self,
        business: BusinessId,
        new: NewHold,
        key: Option<Key>,
        render: impl Fn(&Booked) -> Vec<u8> + Send + Sync + 'static,
    ) -> Result<Reply, BookingError> {
        let render: Render = Arc::new(render);
        if let Some(reply) = self.recall(business, key.clone()).await? {
            return Ok(reply);
        }
        let wish = new.wish.clone();
        let candidates = move |office: &Office, _: Option<&Booking>, _: &[ResourceId]| {
            office.order(&wish).map(|order| order.everybody())
        };
        let terms = self.look_before_booking(business, None, candidates).await?;
        let call_id = new.call_id.clone();
        let outcome = self.retry_and_wake(move |tx| {
            let (new, key, render) = (new.clone(), key.clone(), Arc::clone(&render));
            Box::pin(async move {
                if let Some(reply) = recall(tx, business, key.as_ref()).await? {
                    return Ok(reply);
                }
                let office = Office::read(tx, business).await?;
                let (status, hold, taken) = take(tx, &office, &new, &terms).await?;
                tx.touch_call(business, &new.call_id, None).await?;
                // When the hold is over, the call may still want the slot.
                tx.remember_offers(business, &new.call_id, &[slot_of(&hold)]).await?;
                let booked = held(&office, hold, taken, &terms, tx.now());
                let reply = Reply { status, body: render(&booked), replayed: false };
                keep(tx, business, key.as_ref(), &reply).await?;
                Ok(reply)
            })
        });
        let outcome = self.with_alternatives(business, outcome.await).await;
        self.note_refusal(business, Some(&call_id), &outcome);
        self.metrics.holds(match &outcome {
            Ok(reply) if reply.replayed => "replayed",
            Ok(reply) if reply.status == OK => "extended",
            Ok(_) => "held",
            Err(BookingError::Refused(_)) => "refused",
            Err(_) => "failed",
        });
        outcome
    }

    /// Extends a hold, or swaps it for another slot: either the new slot is held, or the old one still is.
    pub async fn change_hold(
        &self,
        business: BusinessId,
        id: BookingId,
        change: HoldChange,
        key: Option<Key>,
        render: impl Fn(&Booked) -> Vec<u8> + Send + Sync + 'static,
    ) -> Result<Reply, BookingError> {
        let render: Render = Arc::new(render);
        if let Some(reply) = self.recall(business, key.clone()).await? {
            return Ok(reply);
        }
        let moved = change.slot.clone();
        let candidates = move |office: &Office, hold: Option<&Booking>, _: &[ResourceId]| match hold {
            Some(hold) if moved.moves() => new_order(office, hold, &moved).map(|order| order.everybody()),
            _ => Ok(Vec::new()),
        };
        let terms = self.look_before_booking(business, Some(id), candidates).await?;
        let outcome = self.retry_and_wake(move |tx| {
            let (change, key, render) = (change.clone(), key.clone(), Arc::clone(&render));
            Box::pin(async move {
                let hold = tx.lock_booking(business, id).await?;
                if let Some(reply) = recall(tx, business, key.as_ref()).await? {
                    return Ok(reply);
                }
                let mut hold = hold.ok_or(BookingError::Unknown("hold"))?;
                let until = live(&hold, tx.now())?;
                let office = Office::read(tx, business).await?;
                let until = change.ttl.map_or(until, |ttl| extended(&hold, tx.now(), ttl));
                hold.state = State::Held { until };
                hold.updated_at = tx.now();
                let taken = if change.slot.moves() {
                    let taken = swap(tx, &office, &mut hold, &change.slot, &terms).await?;
                    tx.update_booking(&hold).await?;
                    tx.record_step(&hold, Step::Rescheduled, Source::Receptionist).await?;
                    if let Some(call_id) = &hold.call_id {
                        tx.remember_offers(business, call_id, &[slot_of(&hold)]).await?;
                    }
                    taken
                } else {
                    extend(tx, &hold, until).await?;
                    resources_of(tx, &office, &hold).await?
                };
                let booked = held(&office, hold, taken, &terms, tx.now());
                let reply = Reply { status: OK, body: render(&booked), replayed: false };
                keep(tx, business, key.as_ref(), &reply).await?;
                Ok(reply)
            })
        });
        self.with_alternatives(business, outcome.await).await
    }

    /// Gives a hold back. Doing so twice, or after it ran out, is harmless.
    ///
    /// # Errors
    ///
    /// [`BookingError::State`] when it became a booking meanwhile.
    pub async fn release(&self, business: BusinessId, id: BookingId) -> Result<(), BookingError> {
        let work = store::work::<(), BookingError, _>(move |tx| {
            Box::pin(async move {
                let mut hold = tx.lock_booking(business, id).await?.ok_or(BookingError::Unknown("hold"))?;
                release(tx, &mut hold).await
            })
        });
        self.store.write(Lane::Caller, work).await
    }

    /// The caller hung up: gives all holds of the call back.
    pub async fn release_call(&self, business: BusinessId, call_id: String) -> Result<(), BookingError> {
        let work = store::work::<(), BookingError, _>(move |tx| {
            Box::pin(async move {
                tx.business(business).await?.ok_or(BookingError::Unknown("business"))?;
                let mut holds = Vec::new();
                for id in tx.holds_of_call(business, &call_id).await? {
                    let hold = tx.lock_booking(business, id).await?;
                    holds.extend(hold.filter(|hold| matches!(hold.state, State::Held { .. })));
                }
                // Those of all at once, in the order of their ids, and after all bookings.
                let ids: Vec<BookingId> = holds.iter().map(|hold| hold.id).collect();
                tx.lock_claimed(business, &ids).await?;
                for mut hold in holds {
                    release(tx, &mut hold).await?;
                }
                Ok(tx.hang_up(business, &call_id).await?)
            })
        });
        self.store.write(Lane::Caller, work).await
    }

    /// Marks holds that ran out and bookings that are over, up to `limit` of each. Returns whether there may be more.
    /// Nothing waits for it: what ran out counts no longer from that instant on.
    pub async fn settle_what_is_over(&self, limit: usize) -> store::Result<bool> {
        let read = store::work::<_, store::Error, _>(move |tx| {
            Box::pin(async move { Ok((tx.holds_that_ran_out(limit).await?, tx.bookings_that_are_over(limit).await?)) })
        });
        let (ran_out, over) = self.store.read(read).await?;
        let more = ran_out.len() == limit || over.len() == limit;
        for (business, id) in ran_out.into_iter().chain(over) {
            let settle = store::work::<(), store::Error, _>(move |tx| {
                Box::pin(async move {
                    let Some(mut booking) = tx.lock_booking(business, id).await? else { return Ok(()) };
                    let now = tx.now();
                    if let Ok(state @ State::Expired { .. }) = booking.state.expire(now) {
                        if state != booking.state {
                            booking.state = state;
                            tx.end_hold(&mut booking, Step::Expired, Source::Slotd).await?;
                        }
                    } else if let Ok(state) = booking.state.complete(now, booking.interval.end())
                        && state != booking.state
                    {
                        // Google is not told: its event looks the same.
                        booking.state = state;
                        booking.updated_at = now;
                        tx.update_booking(&booking).await?;
                        tx.record_step(&booking, Step::Completed, Source::Slotd).await?;
                        tx.end_conflicts(&booking, false).await?;
                    }
                    Ok(())
                })
            });
            self.store.write(Lane::Background, settle).await?;
        }
        Ok(more)
    }
}

/// What a hold holds, as something that the call was offered.
pub(super) fn slot_of(hold: &Booking) -> Offer {
    Offer { interval: hold.interval, resource: hold.resource, service: hold.service }
}

/// Until when a hold lasts that is asked for, or extended, now.
fn extended(hold: &Booking, now: DateTime<Utc>, ttl: TimeDelta) -> DateTime<Utc> {
    (now + ttl).min(hold.created_at + HOLD_LIFE_MAX)
}

/// Whether a hold still counts.
pub(super) fn is_live(hold: &Booking, now: DateTime<Utc>) -> bool {
    matches!(hold.state, State::Held { until } if now < until || (sabotaged(Bug::HoldOutlivesItsEnd) && now == until))
}

/// The end of a hold that still counts.
fn live(hold: &Booking, now: DateTime<Utc>) -> Result<DateTime<Utc>, BookingError> {
    hold.state.confirm(now)?;
    match hold.state {
        State::Held { until } => Ok(until),
        _ => Err(booking::Refused::Confirmed.into()),
    }
}

async fn extend(tx: &mut Tx, hold: &Booking, until: DateTime<Utc>) -> Result<(), BookingError> {
    tx.claim_until(hold, Some(until)).await?;
    tx.update_booking(hold).await?;
    Ok(tx.record_step(hold, Step::Extended, Source::Receptionist).await?)
}

/// Gives a locked hold back, or marks that it ran out.
pub(super) async fn release(tx: &mut Tx, hold: &mut Booking) -> Result<(), BookingError> {
    let state = hold.state.release(tx.now())?;
    if state == hold.state {
        return Ok(());
    }
    let (step, source) = match state {
        State::Expired { .. } => (Step::Expired, Source::Slotd),
        _ => (Step::Released, Source::Receptionist),
    };
    hold.state = state;
    Ok(tx.end_hold(hold, step, source).await?)
}

/// The live holds of a call, locked, in the order of their ids.
pub(super) async fn holds_of(
    tx: &mut Tx,
    business: BusinessId,
    call_id: Option<&str>,
) -> Result<Vec<Booking>, BookingError> {
    let Some(call_id) = call_id else { return Ok(Vec::new()) };
    let mut holds = Vec::new();
    for id in tx.holds_of_call(business, call_id).await? {
        if let Some(hold) = tx.lock_booking(business, id).await?
            && is_live(&hold, tx.now())
        {
            holds.push(hold);
        }
    }
    Ok(holds)
}

/// The one of `holds` that is what `order` wants at `start`, with all that it claims, the lead first.
pub(super) async fn held_for(
    tx: &mut Tx,
    office: &Office,
    holds: &[Booking],
    order: &Order,
    start: DateTime<Utc>,
) -> Result<Option<(Booking, Vec<ResourceId>)>, BookingError> {
    for hold in holds {
        let is_then = hold.interval.start() == start && hold.interval.duration() == order.rules.duration;
        if is_then && hold.service == order.service {
            let held = resources_of(tx, office, hold).await?;
            if order.is_met_by(&held) {
                return Ok(Some((hold.clone(), held)));
            }
        }
    }
    Ok(None)
}

async fn take(
    tx: &mut Tx,
    office: &Office,
    new: &NewHold,
    terms: &Terms,
) -> Result<(u16, Booking, Vec<ResourceId>), BookingError> {
    let (business, now) = (office.business.id, tx.now());
    let order = office.order(&new.wish)?;
    let mine = holds_of(tx, business, Some(&new.call_id)).await?;
    if let Some((mut hold, held)) = held_for(tx, office, &mine, &order, new.start).await? {
        let until = extended(&hold, now, new.ttl);
        hold.state = State::Held { until };
        hold.updated_at = now;
        extend(tx, &hold, until).await?;
        return Ok((OK, hold, held));
    }
    if mine.len() >= HOLDS_OF_CALL_MAX {
        return Err(BookingError::TooManyHolds);
    }
    let taken = settle(tx, office, &order, new.start, &Own::default(), terms).await?;
    let resource = *taken.first().ok_or(BookingError::Unknown("resource"))?;
    let hold = Booking {
        business,
        id: BookingId::new(tx.chance().uuid(now)),
        state: State::Held { until: now + new.ttl },
        resource,
        service: order.service,
        interval: time(new.start, order.rules.duration)?,
        buffer_before: order.rules.buffer_before,
        buffer_after: order.rules.buffer_after,
        customer: None,
        reference: None,
        call_id: Some(new.call_id.clone()),
        version: 1,
        calendar_sync: CalendarSync::None,
        link: None,
        created_at: now,
        updated_at: now,
    };
    tx.insert_booking(&hold).await?;
    claim(tx, office, &hold, &taken).await?;
    tx.record_step(&hold, Step::Held, Source::Receptionist).await?;
    Ok((CREATED, hold, taken))
}

/// Finds the new slot under the locks and moves the claims of a locked hold there. Returns what it takes.
async fn swap(
    tx: &mut Tx,
    office: &Office,
    hold: &mut Booking,
    slot: &Change,
    terms: &Terms,
) -> Result<Vec<ResourceId>, BookingError> {
    let start = slot.start.unwrap_or(hold.interval.start());
    let order = new_order(office, hold, slot)?;
    let own = Own::moving(tx, office, hold).await?;
    let taken = settle(tx, office, &order, start, &own, terms).await?;
    hold.interval = time(start, order.rules.duration)?;
    hold.service = order.service;
    (hold.buffer_before, hold.buffer_after) = (order.rules.buffer_before, order.rules.buffer_after);
    hold.resource = *taken.first().ok_or(BookingError::Unknown("resource"))?;
    tx.delete_claims(hold).await?;
    claim(tx, office, hold, &taken).await?;
    Ok(taken)
}

fn held(office: &Office, hold: Booking, taken: Vec<ResourceId>, terms: &Terms, now: DateTime<Utc>) -> Booked {
    Booked {
        conflicts: Vec::new(),
        invitation: None,
        voice: office.voice(Some(hold.resource)),
        warning: warning(office, &taken, Some(terms), now),
        resources: taken,
        now,
        booking: hold,
    }
}
