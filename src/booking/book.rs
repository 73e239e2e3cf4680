//! Taking a booking.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    BookingError, Desk, Key, Refusal, Reply,
    change::{Change, new_order},
    freshness::{Freshness, Standing, Terms},
    hold::{holds_of, is_for, is_live, release},
    office::{Diary, Office, Order, What, Wish, around, find_alternatives, judge},
    remember::{keep, recall},
};
use crate::{
    availability::{Course, Purpose, Reason, Voice},
    domain::{BookingId, BusinessId, Interval, ResourceId, booking::State, event_id},
    store::{
        self, Lane, Tx,
        accounts::AccountStatus,
        bookings::{Booking, CalendarSync, Customer, EventLink},
        calendars::Calendar,
        claims::{Source, Step},
    },
};

/// What is asked to be booked.
#[derive(Debug, Clone)]
pub enum Asked {
    /// A time. When the call holds just that, its hold becomes the booking.
    Time {
        /// What and with whom.
        wish: Wish,
        /// When.
        start: DateTime<Utc>,
    },
    /// What a hold reserved. Whatever else is said has to agree with it.
    Hold {
        /// Which.
        id: BookingId,
        /// When.
        start: Option<DateTime<Utc>>,
        /// What.
        what: Option<What>,
        /// With whom, by id or name.
        resource: Option<String>,
    },
}

/// What somebody wants to book.
#[derive(Debug, Clone)]
pub struct NewBooking {
    /// What, with whom and when.
    pub asked: Asked,
    /// For whom.
    pub customer: Customer,
    /// The receptionist's own reference.
    pub reference: Option<String>,
    /// In which call.
    pub call_id: Option<String>,
}

/// A booking as it is told.
#[derive(Debug, Clone)]
pub struct Booked {
    /// The booking.
    pub booking: Booking,
    /// Every resource that it claims.
    pub resources: Vec<ResourceId>,
    /// How to tell its time.
    pub voice: Voice,
    /// What the receptionist should know.
    pub warning: Option<&'static str>,
    /// The instant of the answer.
    pub now: DateTime<Utc>,
}

/// Makes the body of an answer, inside the transaction that keeps it.
pub(super) type Render = Arc<dyn Fn(&Booked) -> Vec<u8> + Send + Sync>;

pub(super) const CREATED: u16 = 201;

/// How often a booking is tried again when two requests with one key, or two bookings of one slot, meet.
const TRIES: usize = 3;

impl Desk {
    /// Takes a booking, once for each `key`, and answers when it is durable.
    ///
    /// # Errors
    ///
    /// [`BookingError::Refused`] with alternatives when the time cannot be had.
    pub async fn book(
        &self,
        business: BusinessId,
        new: NewBooking,
        key: Option<Key>,
        render: impl Fn(&Booked) -> Vec<u8> + Send + Sync + 'static,
    ) -> Result<Reply, BookingError> {
        let render: Render = Arc::new(render);
        if let Some(reply) = self.recall(business, key.clone()).await? {
            return Ok(reply);
        }
        let (asked, hold) = match &new.asked {
            Asked::Time { wish, .. } => (Some(wish.clone()), None),
            Asked::Hold { id, .. } => (None, Some(*id)),
        };
        let candidates = move |office: &Office, hold: Option<&Booking>| match (asked, hold) {
            (Some(wish), _) => office.order(&wish).map(|order| order.candidates),
            (None, hold) => Ok(hold.map(|hold| hold.resource).into_iter().collect()),
        };
        let terms = self.look_before_booking(business, hold, candidates).await?;
        let call_id = new.call_id.clone();
        let mut outcome = Err(BookingError::Store(store::Error::Exists));
        for _ in 0..TRIES {
            outcome = self.try_book(business, new.clone(), key.clone(), Arc::clone(&render), terms).await;
            match &outcome {
                // Somebody was faster between the check and the insert, or with the same key: look again.
                Err(BookingError::Store(store::Error::Exists | store::Error::Overlap | store::Error::Contended)) => {}
                _ => break,
            }
        }
        if matches!(outcome, Err(BookingError::Refused(_)))
            && let Some(reply) = self.recall(business, key).await?
        {
            // The time was taken by this very request, repeated while the first was under way.
            outcome = Ok(reply);
        }
        self.metrics.bookings(match &outcome {
            Ok(reply) if reply.replayed => "replayed",
            Ok(_) => "booked",
            Err(BookingError::Refused(_)) => "refused",
            Err(_) => "failed",
        });
        self.note_refusal(business, call_id.as_deref(), &outcome);
        if outcome.as_ref().is_ok_and(|reply| !reply.replayed) {
            self.outbox.notify_one();
        }
        outcome
    }

    /// What was answered to a key before anything else is looked at.
    pub(super) async fn recall(&self, business: BusinessId, key: Option<Key>) -> Result<Option<Reply>, BookingError> {
        if key.is_none() {
            return Ok(None);
        }
        let read = store::work::<Option<Reply>, BookingError, _>(move |tx| {
            Box::pin(async move { recall(tx, business, key.as_ref()).await })
        });
        self.store.read(read).await
    }

    async fn try_book(
        &self,
        business: BusinessId,
        new: NewBooking,
        key: Option<Key>,
        render: Render,
        terms: Terms,
    ) -> Result<Reply, BookingError> {
        let work = store::work::<Reply, BookingError, _>(move |tx| {
            Box::pin(async move {
                if let Some(reply) = recall(tx, business, key.as_ref()).await? {
                    return Ok(reply);
                }
                let office = Office::read(tx, business).await?;
                let understood = understand(tx, &office, &new).await?;
                let except: Vec<BookingId> = understood.mine.iter().map(|hold| hold.id).collect();
                let resource = settle(tx, &office, &understood.order, understood.start, &except, &terms).await?;
                let booking = write(tx, &office, understood, resource, &new).await?;
                let booked = Booked {
                    resources: vec![resource],
                    voice: office.voice(Some(resource)),
                    warning: warning(&office, resource, Some(&terms), tx.now()),
                    now: tx.now(),
                    booking,
                };
                let reply = Reply { status: CREATED, body: render(&booked), replayed: false };
                keep(tx, business, key.as_ref(), &reply).await?;
                Ok(reply)
            })
        });
        self.store.write(Lane::Caller, work).await
    }
}

impl Desk {
    /// Looks at Google before a booking where the business wants that, and gives the terms to book on. `candidates` are
    /// those whom it may concern; `moved` is the booking that is moved.
    pub(super) async fn look_before_booking(
        &self,
        business: BusinessId,
        moved: Option<BookingId>,
        candidates: impl FnOnce(&Office, Option<&Booking>) -> Result<Vec<ResourceId>, BookingError> + Send + 'static,
    ) -> Result<Terms, BookingError> {
        let deadline = self.deadline();
        let terms = Terms {
            purpose: Purpose::Booking,
            since: Some(self.clock.now() - self.limits.verify_after),
            fresh_for: self.limits.fresh_for,
            looked: false,
        };
        let read = store::work::<Vec<Calendar>, BookingError, _>(move |tx| {
            Box::pin(async move {
                let office = Office::read(tx, business).await?;
                let booking = match moved {
                    Some(id) => tx.booking(business, id).await?,
                    None => None,
                };
                let candidates = candidates(&office, booking.as_ref())?;
                Ok(office.behind(&candidates, &terms, tx.now()))
            })
        });
        let behind = self.store.read(read).await?;
        self.look(business, behind, &terms, deadline).await?;
        Ok(Terms { looked: true, ..terms })
    }
}

const UNCHECKED: &str = "Google Calendar cannot be checked at the moment. The booking stands and is written to the calendar as \
                         soon as Google answers; a change that the owner made meanwhile may not be known yet.";
const UNREAD: &str = "The calendar has not been read yet, so nobody knows what else is in it. The booking stands and is written \
                      to the calendar.";
const TO_RECONNECT: &str =
    "The owner has to connect Google Calendar again. The booking stands and is written to the calendar then.";

/// What the receptionist should know about a booking that stands all the same: by how the mirror stands, when it was
/// relied on, and by whether the event can be written.
pub(super) fn warning(
    office: &Office,
    resource: ResourceId,
    relied: Option<&Terms>,
    now: DateTime<Utc>,
) -> Option<&'static str> {
    let target = office.target(resource);
    let unwritable = |target: &Calendar| target.mirror.account_status != AccountStatus::Connected;
    let course = relied.map(|terms| office.course(resource, terms, now));
    match course {
        _ if target.is_some_and(unwritable) => Some(TO_RECONNECT),
        Some((standing, Course::Warn)) if standing.freshness == Freshness::Unknown => Some(UNREAD),
        Some((_, Course::Warn)) => Some(UNCHECKED),
        _ => target.is_some_and(|target| target.mirror.failures > 0).then_some(UNCHECKED),
    }
}

/// Chooses who does it and locks them, so that what was checked stays true until the transaction ends.
///
/// Candidates are looked at without a lock first, and locked in the order of their ids, each then checked again. Those
/// whose mirror is not behind come before those who need a warning.
pub(super) async fn settle(
    tx: &mut Tx,
    office: &Office,
    order: &Order,
    start: DateTime<Utc>,
    except: &[BookingId],
    terms: &Terms,
) -> Result<ResourceId, BookingError> {
    let (business, now) = (office.business.id, tx.now());
    let window = around(start, &order.rules)?;
    let diary = Diary::read(tx, business, &order.candidates, window, except).await?;
    let mut reason = match judge(&office.agendas(&order.candidates, &diary, terms, now), &order.rules, start, now) {
        Err(reason) => reason,
        Ok(mut able) => {
            let is_sure = |id: &ResourceId| office.course(*id, terms, now).1 == Course::Answer;
            if able.iter().any(is_sure) {
                able.retain(is_sure);
            }
            able.sort_unstable();
            let mut last = Reason::Busy;
            for resource in able {
                tx.lock_resources(business, &[resource]).await?;
                tx.expire_claims(business, resource, now).await?;
                // In statements of its own, after the lock: the snapshot of the lock's statement may be older.
                let diary = Diary::read(tx, business, &[resource], window, except).await?;
                match judge(&office.agendas(&[resource], &diary, terms, now), &order.rules, start, now) {
                    Ok(_) => return Ok(resource),
                    Err(reason) => last = reason,
                }
            }
            last
        }
    };
    if reason == Reason::Closed && order.candidates.is_empty() {
        reason = Reason::Busy;
    }
    let alternatives = find_alternatives(tx, office, order, start, except, terms).await?;
    let standing = Standing::of(office.blocking(&order.candidates), now, terms.fresh_for);
    let (service, voice) = (order.service, office.voice(order.named));
    Err(BookingError::Refused(Box::new(Refusal { reason, alternatives, service, standing, voice, now })))
}

/// A request in this business's terms.
struct Understood {
    order: Order,
    start: DateTime<Utc>,
    /// What becomes the booking: it is among `mine`.
    hold: Option<BookingId>,
    /// The live holds, locked, that do not stand in the way.
    mine: Vec<Booking>,
}

async fn understand(tx: &mut Tx, office: &Office, new: &NewBooking) -> Result<Understood, BookingError> {
    let business = office.business.id;
    match &new.asked {
        Asked::Time { wish, start } => {
            let mut order = office.order(wish)?;
            let mine = holds_of(tx, business, new.call_id.as_deref()).await?;
            let hold = mine.iter().find(|hold| is_for(hold, &order, *start));
            if let Some(hold) = hold {
                order.candidates = vec![hold.resource];
            }
            Ok(Understood { order, start: *start, hold: hold.map(|hold| hold.id), mine })
        }
        Asked::Hold { id, start, what, resource } => {
            let mut hold = tx.lock_booking(business, *id).await?.ok_or(BookingError::Unknown("hold"))?;
            let differs = |field| {
                let detail = "it differs from what is held: swap the hold first, or leave this out".to_owned();
                Err(BookingError::Invalid { field, detail })
            };
            if new.call_id.is_some() && new.call_id != hold.call_id {
                return differs("call_id");
            }
            let order = new_order(office, &hold, &Change::default())?;
            if start.is_some_and(|start| start != hold.interval.start()) {
                return differs("start");
            }
            if let Some(what) = what {
                let wish = Wish { what: what.clone(), resource: None, call_id: None };
                let asked = office.order(&wish)?;
                if asked.service != hold.service || asked.rules.duration != order.rules.duration {
                    return differs(if matches!(what, What::Service(_)) { "service" } else { "duration_min" });
                }
            }
            if let Some(text) = resource
                && office.resource(text)? != hold.resource
            {
                return differs("resource");
            }
            let start = hold.interval.start();
            if is_live(&hold, tx.now()) {
                return Ok(Understood { order, start, hold: Some(hold.id), mine: vec![hold] });
            }
            // It ran out or was given back: the slot may still be free, and then the booking is one of its own.
            release(tx, &mut hold).await?;
            Ok(Understood { order, start, hold: None, mine: Vec::new() })
        }
    }
}

async fn write(
    tx: &mut Tx,
    office: &Office,
    understood: Understood,
    resource: ResourceId,
    new: &NewBooking,
) -> Result<Booking, BookingError> {
    let Understood { order, start, hold, mine } = understood;
    let (business, now) = (office.business.id, tx.now());
    let interval = time(start, order.rules.duration)?;
    let claim = crate::domain::booking::claim(interval, order.rules.buffer_before, order.rules.buffer_after);
    let mut confirmed = None;
    for mut held in mine {
        if Some(held.id) == hold {
            confirmed = Some(held);
        } else if held.resource == resource
            && crate::domain::booking::claim(held.interval, held.buffer_before, held.buffer_after)
                .zip(claim)
                .is_some_and(|(held, claim)| held.overlaps(claim))
        {
            // The call takes another time over what it held: one of both can stay.
            release(tx, &mut held).await?;
        }
    }
    let booking = if let Some(hold) = confirmed {
        confirm(tx, office, hold, new).await?
    } else {
        let id = BookingId::new(tx.chance().uuid(now));
        let link = link(office, resource, id, 0);
        let booking = Booking {
            business,
            id,
            state: State::Confirmed { at: now },
            resource,
            service: order.service,
            interval,
            buffer_before: order.rules.buffer_before,
            buffer_after: order.rules.buffer_after,
            customer: Some(new.customer.clone()),
            reference: new.reference.clone(),
            call_id: new.call_id.clone(),
            version: 1,
            calendar_sync: if link.is_some() { CalendarSync::Pending } else { CalendarSync::None },
            link,
            created_at: now,
            updated_at: now,
        };
        tx.insert_booking(&booking).await?;
        tx.insert_claim(&booking, resource, exclusive(office, resource), false).await?;
        tx.record_step(&booking, Step::Created, Source::Receptionist).await?;
        booking
    };
    if let Some(call) = &booking.call_id {
        let event = booking.link.as_ref().map(|link| link.event_id.as_str());
        tx.touch_call(business, call, event).await?;
    }
    if booking.link.is_some() {
        tx.own_event(&booking).await?;
        tx.owe_event(business, booking.id).await?;
    }
    Ok(booking)
}

/// Makes a booking of a locked hold: its claim stays where it is, and no longer ends by itself.
async fn confirm(tx: &mut Tx, office: &Office, mut hold: Booking, new: &NewBooking) -> Result<Booking, BookingError> {
    hold.state = hold.state.confirm(tx.now())?;
    hold.customer = Some(new.customer.clone());
    hold.reference.clone_from(&new.reference);
    hold.link = link(office, hold.resource, hold.id, 0);
    hold.calendar_sync = if hold.link.is_some() { CalendarSync::Pending } else { CalendarSync::None };
    hold.updated_at = tx.now();
    tx.update_booking(&hold).await?;
    tx.claim_until(&hold, None).await?;
    tx.record_step(&hold, Step::Confirmed, Source::Receptionist).await?;
    Ok(hold)
}

/// The time of a booking.
pub(super) fn time(start: DateTime<Utc>, duration: TimeDelta) -> Result<Interval, BookingError> {
    let empty = || BookingError::Invalid { field: "duration_min", detail: "at least a minute is expected".to_owned() };
    start.checked_add_signed(duration).and_then(|end| Interval::new(start, end)).ok_or_else(empty)
}

/// Whether a resource holds one booking at a time, so that the constraint watches over it.
pub(super) fn exclusive(office: &Office, resource: ResourceId) -> bool {
    office.resources.iter().any(|known| known.id == resource && known.capacity == 1)
}

/// Where the event of a booking will be.
pub(super) fn link(office: &Office, resource: ResourceId, booking: BookingId, generation: i64) -> Option<EventLink> {
    let target = office.target(resource)?;
    Some(EventLink {
        calendar: target.id,
        event_id: event_id::derive(booking, &target.google_id, u64::try_from(generation).unwrap_or_default()),
        generation,
        sent: None,
        written: None,
        etag: None,
        recheck: false,
        gone: None,
    })
}
