//! Taking a booking.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    BookingError, Desk, Key, Reply,
    change::{Change, new_order},
    freshness::{Freshness, Terms},
    hold::{held_for, holds_of, is_live, release},
    office::{Office, Order, What, Wish},
    remember::{keep, recall},
    together::{self, Own, Wanted, foresee, refusal, resources_of},
};
use crate::{
    availability::{Course, Purpose, Rules, Voice, day_of},
    domain::{
        BookingId, BusinessId, Interval, ResourceId,
        booking::State,
        event_id,
        guests::{self, Known},
        sabotage::{Bug, sabotaged},
    },
    store::{
        self, Lane, Tx,
        accounts::AccountStatus,
        bookings::{Booking, CalendarSync, Customer, EventLink},
        calendars::Calendar,
        claims::{Source, Step},
        conflicts::Conflict,
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
    /// What it is in conflict with now.
    pub conflicts: Vec<Conflict>,
    /// How to tell its time.
    pub voice: Voice,
    /// How it stands with the customer's invitation to the event: `pending`, `sent`, or `refused` by Google.
    pub invitation: Option<&'static str>,
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
        let candidates = move |office: &Office, _: Option<&Booking>, held: &[ResourceId]| match asked {
            Some(wish) => office.order(&wish).map(|order| order.everybody()),
            None => Ok(held.to_vec()),
        };
        let terms = self.look_before_booking(business, hold, candidates).await?;
        let call_id = new.call_id.clone();
        let once = || self.try_book(business, new.clone(), key.clone(), Arc::clone(&render), terms);
        let mut outcome = match self.refuse_early(business, &new, terms).await {
            Ok(()) => once().await,
            Err(refused) => Err(refused),
        };
        for _ in 1..TRIES {
            // Somebody was faster between the check and the insert, or with the same key: look again.
            let Err(BookingError::Store(store::Error::Exists | store::Error::Overlap | store::Error::Contended)) =
                outcome
            else {
                break;
            };
            outcome = once().await;
        }
        if matches!(outcome, Err(BookingError::Refused(_)))
            && let Some(reply) = self.recall(business, key).await?
        {
            // The time was taken by this very request, repeated while the first was under way.
            outcome = Ok(reply);
        }
        let outcome = self.with_alternatives(business, outcome).await;
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

    /// Refuses what cannot be had anyway before it asks for a place in the row of those who book: most of those who want
    /// the same time come too late. The transaction of the booking decides about all others.
    async fn refuse_early(&self, business: BusinessId, new: &NewBooking, terms: Terms) -> Result<(), BookingError> {
        let Asked::Time { wish, start } = &new.asked else { return Ok(()) };
        let (wish, start, call_id) = (wish.clone(), *start, new.call_id.clone());
        let read = store::work::<(), BookingError, _>(move |tx| {
            Box::pin(async move {
                // What a call holds itself is sorted out under the locks.
                if let Some(call_id) = &call_id
                    && !tx.holds_of_call(business, call_id).await?.is_empty()
                {
                    return Ok(());
                }
                let office = Office::read(tx, business).await?;
                let order = office.order(&wish)?;
                match foresee(tx, &office, &order, start, &[], &terms).await? {
                    Ok(_) => Ok(()),
                    Err(reason) => {
                        let wanted = Wanted { order, start, except: Vec::new(), terms };
                        let refusal = refusal(&office, reason, wanted, tx.now());
                        Err(BookingError::Refused(refusal.with_alternatives(tx, &office).await?))
                    }
                }
            })
        });
        self.store.read(read).await
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
                let (order, start) = (&understood.order, understood.start);
                let bookings = understood.mine.iter().map(|hold| hold.id).collect();
                let own = Own { bookings, preferred: understood.preferred.clone() };
                let taken = together::settle(tx, &office, order, start, &own, &terms).await?;
                let booking = write(tx, &office, understood, &taken, &new).await?;
                let booked = Booked {
                    conflicts: Vec::new(),
                    invitation: invitation(&office, &booking, None),
                    voice: office.voice(Some(booking.resource)),
                    warning: warning(&office, &taken, Some(&terms), tx.now()),
                    now: tx.now(),
                    resources: taken,
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
    /// those whom it may concern; `moved` is the booking that is moved, which is told to it with all that it claims.
    pub(super) async fn look_before_booking(
        &self,
        business: BusinessId,
        moved: Option<BookingId>,
        candidates: impl FnOnce(&Office, Option<&Booking>, &[ResourceId]) -> Result<Vec<ResourceId>, BookingError>
        + Send
        + 'static,
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
                let claimed = match moved {
                    Some(id) => tx.claimed_resources(business, id).await?,
                    None => Vec::new(),
                };
                let candidates = candidates(&office, booking.as_ref(), &claimed)?;
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
/// relied on, and by whether the event can be written. The first of `resources` leads.
pub(super) fn warning(
    office: &Office,
    resources: &[ResourceId],
    relied: Option<&Terms>,
    now: DateTime<Utc>,
) -> Option<&'static str> {
    let target = resources.first().and_then(|lead| office.target(*lead));
    let unwritable = |target: &Calendar| target.mirror.account_status != AccountStatus::Connected;
    let courses = |terms| resources.iter().map(move |resource| office.course(*resource, terms, now));
    let course = relied.and_then(|terms| courses(terms).find(|(_, course)| *course == Course::Warn));
    match course {
        _ if target.is_some_and(unwritable) => Some(TO_RECONNECT),
        Some((standing, Course::Warn)) if standing.freshness == Freshness::Unknown => Some(UNREAD),
        Some((_, Course::Warn)) => Some(UNCHECKED),
        _ => target.is_some_and(|target| target.mirror.failures > 0).then_some(UNCHECKED),
    }
}

/// A request in this business's terms.
struct Understood {
    order: Order,
    start: DateTime<Utc>,
    /// What becomes the booking: it is among `mine`.
    hold: Option<BookingId>,
    /// The holds, locked, that do not stand in the way.
    mine: Vec<Booking>,
    /// Whom to take again where they can be had.
    preferred: Vec<ResourceId>,
}

async fn understand(tx: &mut Tx, office: &Office, new: &NewBooking) -> Result<Understood, BookingError> {
    let business = office.business.id;
    match &new.asked {
        Asked::Time { wish, start } => {
            let mut order = office.order(wish)?;
            let mine = holds_of(tx, business, new.call_id.as_deref()).await?;
            let hold = held_for(tx, office, &mine, &order, *start).await?;
            if let Some((_, held)) = &hold {
                order.take_only(held);
                order.rules = promised(order.rules);
            }
            let hold = hold.map(|(hold, _)| hold.id);
            Ok(Understood { order, start: *start, hold, mine, preferred: Vec::new() })
        }
        Asked::Hold { id, start, what, resource } => {
            let hold = tx.lock_booking(business, *id).await?.ok_or(BookingError::Unknown("hold"))?;
            let differs = |field| {
                let detail = "it differs from what is held: swap the hold first, or leave this out".to_owned();
                Err(BookingError::Invalid { field, detail })
            };
            if new.call_id.is_some() && new.call_id != hold.call_id && !sabotaged(Bug::ForeignHoldUsable) {
                return differs("call_id");
            }
            let mut order = new_order(office, &hold, &Change::default())?;
            let claimed = resources_of(tx, office, &hold).await?;
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
                && !claimed.contains(&office.resource(text)?)
            {
                return differs("resource");
            }
            let start = hold.interval.start();
            // A booking is no hold any more.
            hold.state.release(tx.now())?;
            let live = is_live(&hold, tx.now());
            if live {
                order.take_only(&claimed);
                order.rules = promised(order.rules);
            }
            // When it ran out or was given back, the slot may still be free, and then the booking is one of its own.
            Ok(Understood { order, start, hold: live.then_some(hold.id), mine: vec![hold], preferred: claimed })
        }
    }
}

/// The rules for what a hold has reserved: the notice was kept when it was taken, and runs short while the caller speaks.
const fn promised(rules: Rules) -> Rules {
    Rules { minimum_notice: TimeDelta::zero(), ..rules }
}

/// How many of its own holds of the day the call gives up with a booking at `start`, so that the service stays within its
/// daily cap: they were not counted against the booking.
async fn over_cap(
    tx: &mut Tx,
    office: &Office,
    order: &Order,
    day: Interval,
    hold: bool,
) -> Result<usize, BookingError> {
    let (Some(service), Some(cap)) = (order.service, order.rules.daily_cap) else { return Ok(0) };
    let begun = tx.starts_of_service(office.business.id, service, day).await?.len() + usize::from(!hold);
    Ok(begun.saturating_sub(usize::try_from(cap).unwrap_or(usize::MAX)))
}

async fn write(
    tx: &mut Tx,
    office: &Office,
    understood: Understood,
    taken: &[ResourceId],
    new: &NewBooking,
) -> Result<Booking, BookingError> {
    let Understood { order, start, hold, mine, .. } = understood;
    let (business, now) = (office.business.id, tx.now());
    let interval = time(start, order.rules.duration)?;
    let claim = crate::domain::booking::claim(interval, order.rules.buffer_before, order.rules.buffer_after);
    let day = day_of(start, office.business.time_zone).unwrap_or(interval);
    let mut over = if mine.is_empty() { 0 } else { over_cap(tx, office, &order, day, hold.is_some()).await? };
    let mut confirmed = None;
    for mut held in mine {
        let of_day = held.service == order.service && day.contains(held.interval.start());
        if Some(held.id) == hold {
            confirmed = Some(held);
        } else if is_live(&held, now) {
            let meets = crate::domain::booking::claim(held.interval, held.buffer_before, held.buffer_after)
                .zip(claim)
                .is_some_and(|(held, claim)| held.overlaps(claim));
            let in_the_way =
                meets && tx.claimed_resources(business, held.id).await?.iter().any(|one| taken.contains(one));
            if in_the_way || (over > 0 && of_day) {
                // The call takes another time over what it held, or on a day that has no room for both: one can stay.
                release(tx, &mut held).await?;
                over = over.saturating_sub(usize::from(of_day));
            }
        } else if matches!(held.state, State::Held { .. }) {
            // It ran out, and nobody has marked it yet.
            release(tx, &mut held).await?;
        }
    }
    let booking = if let Some(hold) = confirmed {
        confirm(tx, office, hold, new).await?
    } else {
        let id = BookingId::new(tx.chance().uuid(now));
        let resource = *taken.first().ok_or(BookingError::Unknown("resource"))?;
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
        together::claim(tx, office, &booking, taken).await?;
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
    if !sabotaged(Bug::HoldStillEnds) {
        tx.claim_until(&hold, None).await?;
    }
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

/// How it stands with the customer's invitation, by whom slotd is known to have added to the event.
pub(super) fn invitation(office: &Office, booking: &Booking, known: Option<&Known>) -> Option<&'static str> {
    let email = booking.customer.as_ref().and_then(|customer| customer.email.as_ref())?;
    let about_them = |known: &&Known| known.emails.first().is_some_and(|first| first.is_same(email));
    match known.filter(about_them).map(|known| known.state) {
        Some(guests::State::Invited) => Some("sent"),
        Some(guests::State::Refused) => Some("refused"),
        Some(guests::State::Asked) => Some("pending"),
        None if booking.calendar_sync == CalendarSync::Pending => office.business.invite_customers.then_some("pending"),
        None => None,
    }
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
