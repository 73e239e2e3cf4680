//! Moving, editing and cancelling a booking.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;

use super::{
    Booked, BookingError, Desk, Key, Reply,
    book::{Render, invitation, time, warning},
    customer::CustomerChange,
    freshness::Terms,
    office::{Office, Order, What, Wish},
    remember::{keep, recall},
    together::{Own, claim, resources_of, settle},
};
use crate::{
    availability::Rules,
    domain::{
        BookingId, BusinessId, ResourceId,
        booking::{Party, State},
        sabotage::{Bug, sabotaged},
    },
    store::{
        self, Lane, Tx,
        bookings::{Booking, CalendarSync, Filter},
        cancellations::Gone,
        claims::{HistoryStep, Source, Step},
    },
};

/// What is to change of a booking. What is absent stays.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// A new time.
    pub start: Option<DateTime<Utc>>,
    /// Another service, or another length.
    pub what: Option<What>,
    /// Another resource, by id or name.
    pub resource: Option<String>,
    /// Other details of the customer.
    pub customer: Option<CustomerChange>,
    /// Another reference of the receptionist's; `Some(None)` takes it away.
    pub reference: Option<Option<String>>,
}

impl Change {
    /// Whether it names another time, length or resource.
    #[must_use]
    pub const fn moves(&self) -> bool {
        self.start.is_some() || self.what.is_some() || self.resource.is_some()
    }
}

pub(super) const OK: u16 = 200;

impl Desk {
    /// Moves or edits a booking, once for each `key`. A new time is looked at in Google first, like a new booking.
    pub async fn change(
        &self,
        business: BusinessId,
        id: BookingId,
        change: Change,
        key: Option<Key>,
        render: impl Fn(&Booked) -> Vec<u8> + Send + Sync + 'static,
    ) -> Result<Reply, BookingError> {
        let render: Render = Arc::new(render);
        let terms = if change.moves() {
            if let Some(reply) = self.recall(business, key.clone()).await? {
                return Ok(reply);
            }
            let moved = change.clone();
            // What cannot be moved at all is told by the transaction.
            let candidates = move |office: &Office, booking: Option<&Booking>, _: &[ResourceId]| match booking {
                Some(booking) if matches!(booking.state, State::Confirmed { .. }) => {
                    new_order(office, booking, &moved).map(|order| order.everybody())
                }
                _ => Ok(Vec::new()),
            };
            Some(self.look_before_booking(business, Some(id), candidates).await?)
        } else {
            None
        };
        let outcome = self.retry_and_wake(move |tx| {
            let (change, key, render) = (change.clone(), key.clone(), Arc::clone(&render));
            Box::pin(async move {
                // The lock first: a request with the same key that came just before is waited for, and then recalled.
                let booking = tx.lock_booking(business, id).await?;
                if let Some(reply) = recall(tx, business, key.as_ref()).await? {
                    return Ok(reply);
                }
                let mut booking = booking.ok_or(BookingError::Unknown("booking"))?;
                if !matches!(booking.state, State::Confirmed { .. }) {
                    return Err(crate::domain::booking::Refused::AlreadyOver.into());
                }
                let office = Office::read(tx, business).await?;
                if let Some(terms) = &terms {
                    reschedule(tx, &office, &mut booking, &change, terms).await?;
                }
                if let (Some(change), Some(customer)) = (change.customer, &mut booking.customer) {
                    change.apply(customer);
                }
                if let Some(reference) = change.reference {
                    booking.reference = reference;
                }
                let step = if terms.is_some() { Step::Rescheduled } else { Step::Edited };
                save(tx, &mut booking, step).await?;
                answer(tx, &office, booking, terms.as_ref(), key.as_ref(), &render).await
            })
        });
        self.with_alternatives(business, outcome.await).await
    }

    /// Cancels a booking, once for each `key`. Cancelling twice is harmless.
    pub async fn cancel(
        &self,
        business: BusinessId,
        id: BookingId,
        key: Option<Key>,
        render: impl Fn(&Booked) -> Vec<u8> + Send + Sync + 'static,
    ) -> Result<Reply, BookingError> {
        let render: Render = Arc::new(render);
        let outcome = self.retry_and_wake(move |tx| {
            let (key, render) = (key.clone(), Arc::clone(&render));
            Box::pin(async move {
                let booking = tx.lock_booking(business, id).await?;
                if let Some(reply) = recall(tx, business, key.as_ref()).await? {
                    return Ok(reply);
                }
                let mut booking = booking.ok_or(BookingError::Unknown("booking"))?;
                let office = Office::read(tx, business).await?;
                let state = booking.state.cancel(tx.now(), Party::Customer)?;
                if state != booking.state {
                    booking.state = state;
                    tx.end_claims(&booking).await?;
                    tx.end_conflicts(&booking, false).await?;
                    save(tx, &mut booking, Step::Cancelled).await?;
                }
                answer(tx, &office, booking, None, key.as_ref(), &render).await
            })
        });
        outcome.await
    }

    /// Runs a change again when another request with the same key, or for the same slot, came in between.
    pub(super) async fn retry_and_wake<F>(&self, work: F) -> Result<Reply, BookingError>
    where
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<Reply, BookingError>> + Clone + Send + 'static,
    {
        let mut outcome = self.store.write(Lane::Caller, work.clone()).await;
        if matches!(
            outcome,
            Err(BookingError::Store(store::Error::Exists | store::Error::Overlap | store::Error::Contended))
        ) {
            outcome = self.store.write(Lane::Caller, work).await;
        }
        self.outbox.notify_one();
        outcome
    }

    /// One booking and its history.
    pub async fn booking(
        &self,
        business: BusinessId,
        id: BookingId,
    ) -> Result<(Booked, Vec<HistoryStep>), BookingError> {
        let read = store::work::<(Booked, Vec<HistoryStep>), BookingError, _>(move |tx| {
            Box::pin(async move {
                let booking = tx.booking(business, id).await?.ok_or(BookingError::Unknown("booking"))?;
                let office = Office::read(tx, business).await?;
                let history = tx.history(business, id).await?;
                Ok((told(tx, &office, booking, None).await?, history))
            })
        });
        self.store.read(read).await
    }

    /// Up to `limit` bookings in the order of their starts.
    pub async fn bookings(
        &self,
        business: BusinessId,
        filter: Filter,
        limit: usize,
    ) -> Result<Vec<Booked>, BookingError> {
        let read = store::work::<Vec<Booked>, BookingError, _>(move |tx| {
            Box::pin(async move {
                let office = Office::read(tx, business).await?;
                let mut bookings = Vec::new();
                for booking in tx.bookings(business, &filter, limit).await? {
                    bookings.push(told(tx, &office, booking, None).await?);
                }
                Ok(bookings)
            })
        });
        self.store.read(read).await
    }
}

/// Finds the new time under the locks and moves the claims there, in one transaction with everything else.
async fn reschedule(
    tx: &mut Tx,
    office: &Office,
    booking: &mut Booking,
    change: &Change,
    terms: &Terms,
) -> Result<(), BookingError> {
    let start = change.start.unwrap_or(booking.interval.start());
    let claimed = booking.resource;
    let order = new_order(office, booking, change)?;
    let own = Own::moving(tx, office, booking).await?;
    let taken = settle(tx, office, &order, start, &own, terms).await?;
    let resource = *taken.first().ok_or(BookingError::Unknown("resource"))?;
    booking.interval = time(start, order.rules.duration)?;
    booking.service = order.service;
    (booking.buffer_before, booking.buffer_after) = (order.rules.buffer_before, order.rules.buffer_after);
    if resource != booking.resource {
        booking.resource = resource;
        move_event(tx, office, booking).await?;
    }
    if sabotaged(Bug::OldClaimKept) && resource == claimed {
        return Ok(());
    }
    tx.delete_claims(booking).await?;
    claim(tx, office, booking, &taken).await?;
    tx.end_conflicts(booking, true).await?;
    Ok(())
}

/// The event goes to the new resource's calendar: the old one is owed a deletion by the id it has there.
async fn move_event(tx: &mut Tx, office: &Office, booking: &mut Booking) -> Result<(), BookingError> {
    let old = booking.link.take();
    // Counted, for a booking that had no calendar in between does not remember, and a deleted id is never good again.
    let generation = tx.event_ids_derived(booking.business, booking.id).await?;
    let same = |link: &store::bookings::EventLink| {
        office.target(booking.resource).is_some_and(|target| target.id == link.calendar)
    };
    if let Some(link) = old.as_ref().filter(|link| same(link)) {
        booking.link = Some(link.clone());
        return Ok(());
    }
    if let Some(link) = old.filter(|link| link.written.is_some() || link.sent.is_some()) {
        tx.owe_removal(booking.business, link.calendar, &link.event_id).await?;
    }
    booking.link = super::book::link(office, booking.resource, booking.id, generation);
    tx.own_event(booking).await?;
    Ok(())
}

/// What is booked after `change`, in this business's terms.
pub(super) fn new_order(office: &Office, booking: &Booking, change: &Change) -> Result<Order, BookingError> {
    let what = match (&change.what, booking.service) {
        (Some(what), _) => what.clone(),
        (None, Some(service)) => What::Service(service.to_string()),
        (None, None) => What::Lasting(booking.interval.duration()),
    };
    // Who does it, or leads, stays the same unless somebody else is named.
    let resource = change.resource.clone().unwrap_or_else(|| booking.resource.to_string());
    let mut order = office.order(&Wish { what, resource: Some(resource), call_id: None })?;
    order.keep_lead(booking.resource);
    if change.what.is_none() && booking.service.is_some() && booking.interval.duration() != order.rules.duration {
        // The owner made it longer or shorter: that stays.
        order.rules = Rules { duration: booking.interval.duration(), ..order.rules };
    }
    Ok(order)
}

/// Saves a change and owes it to Google.
async fn save(tx: &mut Tx, booking: &mut Booking, step: Step) -> Result<(), BookingError> {
    booking.version += 1;
    booking.updated_at = tx.now();
    // An event that the owner removed and does not want back is nothing to tell Google about.
    let told = booking.link.as_ref().is_some_and(|link| link.gone != Some(Gone::Kept));
    booking.calendar_sync = if told { CalendarSync::Pending } else { CalendarSync::None };
    tx.update_booking(booking).await?;
    tx.record_step(booking, step, Source::Receptionist).await?;
    if told && !(sabotaged(Bug::RemovalUnowed) && step == Step::Cancelled) {
        tx.owe_event(booking.business, booking.id).await?;
    }
    Ok(())
}

async fn answer(
    tx: &mut Tx,
    office: &Office,
    booking: Booking,
    relied: Option<&Terms>,
    key: Option<&Key>,
    render: &Render,
) -> Result<Reply, BookingError> {
    let resources = resources_of(tx, office, &booking).await?;
    let warning = warning(office, &resources, relied, tx.now());
    let business = booking.business;
    let booked = told(tx, office, booking, warning).await?;
    let reply = Reply { status: OK, body: render(&booked), replayed: false };
    keep(tx, business, key, &reply).await?;
    Ok(reply)
}

pub(super) async fn told(
    tx: &mut Tx,
    office: &Office,
    booking: Booking,
    warning: Option<&'static str>,
) -> Result<Booked, BookingError> {
    let known = match &booking.link {
        Some(link) => tx.event_guest(booking.business, &link.event_id).await?,
        None => None,
    };
    Ok(Booked {
        invitation: invitation(office, &booking, known.as_ref()),
        resources: resources_of(tx, office, &booking).await?,
        conflicts: tx.open_conflicts(booking.business, booking.id).await?,
        voice: office.voice(Some(booking.resource)),
        warning,
        now: tx.now(),
        booking,
    })
}
