//! Google shows a booking as it is: its event is inserted, changed, read again or removed.

use chrono_tz::Tz;

use super::{
    Outbox,
    guests::{self, Guest, Told},
    worker::Delivered,
};
use crate::{
    domain::{
        BookingId, BusinessId, CalendarId, EventStatus, Interval,
        booking::State,
        event_id,
        reconcile::Seen,
        sabotage::{Bug, sabotaged},
        template::{self, Values},
    },
    google::{self, AccountKey, EventPatch, EventsQuery, Item, NewEvent},
    store::{
        self, Lane, Tx,
        bookings::{Booking, CalendarSync, Content, EventLink},
        businesses::Business,
        calendars::Calendar,
        cancellations::Gone,
        follow::seen,
        outbox::Delivery,
    },
};

/// Tries, over half a minute, for which an id may be known to Google without an event that can be read.
const LAGGING_MAX: i64 = 4;

/// What Google is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// Nothing: it shows the booking as it is, or there was never anything to show.
    Nothing,
    /// Make the event.
    Insert,
    /// Change it.
    Patch,
    /// Read it, before anything is decided.
    Read,
    /// Remove it.
    Delete,
}

/// A delivery, with all that it needs from the store.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) booking: Booking,
    pub(super) link: EventLink,
    pub(super) calendar: Calendar,
    pub(super) guest: Guest,
    zone: Tz,
    title: String,
    body: String,
    /// Of what title and body tell.
    fingerprint: Vec<u8>,
    /// What they tell has changed since Google was told. Else they are the owner's to edit, and are left alone.
    texts_changed: bool,
    /// The time that the event is to have: the booking's, or the owner's where that was not followed.
    time: Option<Interval>,
    /// Where else the owner may have moved the event.
    sisters: Vec<Calendar>,
    act: Act,
    /// Tries so far, this one included.
    attempts: i64,
}

impl Job {
    pub(super) const fn account(&self) -> AccountKey {
        AccountKey { business: self.booking.business, account: self.calendar.account }
    }

    /// Whether an event says that it belongs to this booking.
    fn is_named_by(&self, item: &Item) -> bool {
        item.private_booking.as_deref() == Some(self.booking.id.to_string().as_str())
    }

    fn content(&self) -> Content {
        Content { version: self.booking.version, interval: self.time.unwrap_or(self.booking.interval) }
    }
}

/// What Google answered, in the booking's terms.
enum Outcome {
    /// It shows the booking as it was sent, under this etag; and what became of the guest.
    Shows(Option<String>, Told),
    /// It shows something else, which the booking may have to follow.
    Saw(Seen),
    /// It is in another calendar of the owner's.
    Elsewhere(Box<Calendar>, Seen),
    /// Another event has our id: the next generation's id is tried.
    Foreign,
    /// The event is gone, as it should be.
    Removed,
}

/// What to tell Google about a booking as it is now.
fn act(booking: &Booking) -> Act {
    let Some(link) = &booking.link else { return Act::Nothing };
    let stands = matches!(booking.state, State::Confirmed { .. } | State::Completed { .. });
    if stands && link.is_silent() {
        return Act::Nothing;
    }
    if link.recheck {
        return Act::Read;
    }
    let maybe_there = link.written.is_some() || link.sent.is_some();
    // An earlier write, of other content, may have gone through although its answer was lost. Telling Google something
    // else first would make that content look like the owner's.
    let unsettled = link.sent.is_some_and(|sent| sent.version != booking.version);
    match booking.state {
        State::Confirmed { .. } | State::Completed { .. } if unsettled => Act::Read,
        State::Confirmed { .. } | State::Completed { .. } => match link.written {
            None => Act::Insert,
            Some(written) if written.version < booking.version => Act::Patch,
            Some(_) => Act::Nothing,
        },
        _ if maybe_there => Act::Delete,
        _ => Act::Nothing,
    }
}

impl Outbox {
    pub(super) async fn deliver_event(&self, delivery: &Delivery, booking: BookingId) -> Delivered {
        let job = match self.prepare(delivery, booking).await {
            Ok(Some(job)) => job,
            Ok(None) => return Delivered::Settled,
            Err(error) => return Delivered::Unsettled(error),
        };
        let asked_at = self.clock.now();
        let performed = match self.perform(&job).await {
            Ok(Outcome::Saw(gone @ (Seen::Deleted | Seen::Missing))) => self.sought(&job, gone).await,
            performed => performed,
        };
        let outcome = match performed {
            Ok(outcome) => outcome,
            Err(error) => return Delivered::Later { error, account: job.account(), asked_at },
        };
        let followed = matches!(outcome, Outcome::Saw(_) | Outcome::Elsewhere(..));
        let doubted = (job.link.gone == Some(Gone::Doubted)).then_some((job.booking.business, job.calendar.id));
        let (delivery, outbox) = (delivery.clone(), self.wake.clone());
        let settle = store::work::<Option<&'static str>, store::Error, _>(move |tx| {
            Box::pin(async move { settle(tx, &delivery, &job, outcome).await })
        });
        match self.store.write(Lane::Background, settle).await {
            Ok(invitation) => {
                outbox.notify_one();
                if let Some(outcome) = invitation {
                    self.metrics.invitations(outcome);
                }
                if followed && let Err(error) = store::conflicts::settle(&self.store).await {
                    tracing::warn!(%error, "cannot record conflicts of bookings");
                }
                if let Some((business, calendar)) = doubted {
                    self.settle_gone(business, calendar).await;
                }
                Delivered::Settled
            }
            Err(error) => Delivered::Unsettled(error),
        }
    }

    /// What became of an event that is gone from its calendar, or of one that was never there.
    async fn sought(&self, job: &Job, gone: Seen) -> Result<Outcome, google::Error> {
        let (event, booking) = (job.link.event_id.as_str(), job.booking.id);
        let found = self.look_elsewhere(job.account(), &job.sisters, event, booking).await?;
        Ok(found.map_or(Outcome::Saw(gone), |(calendar, seen)| Outcome::Elsewhere(Box::new(calendar), seen)))
    }

    /// Decides about events that are gone, once all that were missing together have been read. What fails here is done
    /// after the calendar's next pass.
    pub(super) async fn settle_gone(&self, business: BusinessId, calendar: CalendarId) {
        let settle = store::work::<(), store::Error, _>(move |tx| {
            Box::pin(async move { tx.settle_gone(business, calendar).await })
        });
        if let Err(error) = self.store.write(Lane::Background, settle).await {
            tracing::warn!(%calendar, %error, "cannot decide about bookings whose events are gone");
        }
    }

    /// Reads the booking, decides, and notes that a write is under way. `None` when there is nothing left to do.
    async fn prepare(&self, delivery: &Delivery, id: BookingId) -> store::Result<Option<Job>> {
        let (delivery, event_link) = (delivery.clone(), self.event_link.clone());
        let work = store::work::<Option<Job>, store::Error, _>(move |tx| {
            Box::pin(async move {
                let (business, attempts) = (delivery.business, delivery.attempts);
                let booking = tx.lock_booking(business, id).await?;
                if !tx.holds_delivery(&delivery).await? {
                    return Ok(None);
                }
                let Some(mut booking) = booking else {
                    tx.delivered(&delivery).await?;
                    return Ok(None);
                };
                let act = act(&booking);
                let (Some(mut link), true) = (booking.link.clone(), act != Act::Nothing) else {
                    tx.delivered(&delivery).await?;
                    return Ok(None);
                };
                let (Some(calendar), Some(owner)) =
                    (tx.calendar(business, link.calendar).await?, tx.business(business).await?)
                else {
                    tx.delivered(&delivery).await?;
                    return Ok(None);
                };
                let link_text = event_link.map(|pattern| pattern.link(business, id)).unwrap_or_default();
                let Texts { title, body, told } = texts(tx, &booking, &owner, &link_text).await?;
                let fingerprint = tx.keys(business).await?.index.index(&told).to_vec();
                let texts_changed = tx.written_texts(business, id).await?.as_ref() != Some(&fingerprint);
                if act == Act::Insert && sabotaged(Bug::EventIdPerTry) {
                    let tries = u64::try_from(delivery.fence).unwrap_or_default();
                    link.event_id = event_id::derive(id, &calendar.google_id, tries);
                    booking.link = Some(link.clone());
                    tx.own_event(&booking).await?;
                }
                if act == Act::Insert {
                    // Noted before it is sent, for its answer may be lost; an insert that did not arrive is repeated whole.
                    tx.texts_written(business, id, &fingerprint).await?;
                }
                let zone = zone(tx, &booking, &owner).await?;
                let writes = matches!(act, Act::Insert | Act::Patch);
                let guest = guests::prepare(tx, &booking, &owner, writes).await?;
                let stands = matches!(booking.state, State::Confirmed { .. });
                let sisters = if stands { tx.sister_calendars(business, calendar.id).await? } else { Vec::new() };
                // An event that the owner moved from its booking is not moved back.
                let apart = act == Act::Patch && tx.stands_apart(business, id).await?;
                let time = link.written.filter(|_| apart).map(|written| written.interval);
                if matches!(act, Act::Insert | Act::Patch | Act::Delete) && !sabotaged(Bug::SentUnnoted) {
                    let interval = time.unwrap_or(booking.interval);
                    link.sent = Some(Content { version: booking.version, interval });
                    booking.link = Some(link.clone());
                    tx.update_booking(&booking).await?;
                }
                Ok(Some(Job {
                    booking,
                    link,
                    calendar,
                    guest,
                    zone,
                    title,
                    body,
                    fingerprint,
                    texts_changed,
                    time,
                    sisters,
                    act,
                    attempts,
                }))
            })
        });
        self.store.write(Lane::Background, work).await
    }

    /// Asks Google, with no transaction open.
    async fn perform(&self, job: &Job) -> Result<Outcome, google::Error> {
        let (calendar, id) = (job.calendar.google_id.as_str(), job.link.event_id.as_str());
        match job.act {
            Act::Nothing => Ok(Outcome::Removed),
            Act::Read => match self.read(job).await? {
                (Some(item), Seen::Live { .. }) if job.link.written.is_none() && !job.is_named_by(&item) => {
                    Ok(Outcome::Foreign)
                }
                (_, seen) => Ok(Outcome::Saw(seen)),
            },
            Act::Insert => {
                let course = &job.guest.course;
                let guest = course.wanted.as_ref().filter(|_| course.tells).map(|email| email.to_string());
                let invites = guest.is_some();
                let mut event = NewEvent {
                    id: id.to_owned(),
                    title: job.title.clone(),
                    description: Some(job.body.clone()).filter(|text| !text.is_empty()),
                    start: job.booking.interval.start(),
                    end: job.booking.interval.end(),
                    zone: job.zone,
                    booking: job.booking.id.to_string(),
                    guest,
                };
                let google = self.google.telling_guests(invites);
                let mut told = Told::AsMeant { ours: invites };
                let mut inserted = google.insert_event(job.account(), calendar, &event).await;
                if matches!(inserted, Err(google::Error::GuestsRefused { .. })) {
                    (event.guest, told) = (None, Told::Refused);
                    inserted = self.google.insert_event(job.account(), calendar, &event).await;
                }
                match inserted {
                    Ok(item) => Ok(Outcome::Shows(item.etag, told)),
                    // An earlier try may have gone through and its answer been lost; or the owner deleted the event.
                    Err(google::Error::Duplicate) if sabotaged(Bug::DuplicateIsSuccess) => {
                        Ok(Outcome::Shows(None, told))
                    }
                    Err(google::Error::Duplicate) => self.after_duplicate(job).await,
                    Err(error) => Err(error),
                }
            }
            Act::Patch => {
                let interval = job.booking.interval;
                let mut patch = match job.time {
                    // Nothing of what Google shows has changed.
                    Some(_) if !job.texts_changed && !job.guest.course.changes => {
                        return Ok(Outcome::Shows(job.link.etag.clone(), Told::AsMeant { ours: false }));
                    }
                    Some(_) => EventPatch::default(),
                    None => EventPatch::default().times(interval.start(), interval.end(), job.zone),
                };
                if job.texts_changed {
                    let body = Some(job.body.as_str()).filter(|text| !text.is_empty());
                    patch = patch.title(&job.title).description(body);
                }
                match self.patch(job, &patch).await {
                    // A deleted event can be changed and stays deleted.
                    Ok((item, _)) if item.event.status == EventStatus::Cancelled => Ok(Outcome::Saw(Seen::Deleted)),
                    Ok((item, told)) => Ok(Outcome::Shows(item.etag, told)),
                    // The owner changed it meanwhile: what they made of it decides.
                    Err(
                        google::Error::PreconditionFailed | google::Error::NotFound | google::Error::AlreadyDeleted,
                    ) => self.read(job).await.map(|(_, seen)| Outcome::Saw(seen)),
                    // So it also refuses to change what was deleted and is in no trash any more.
                    Err(refused @ google::Error::Forbidden { .. }) => match self.read(job).await {
                        Ok((_, gone @ (Seen::Deleted | Seen::Missing))) => Ok(Outcome::Saw(gone)),
                        _ => Err(refused),
                    },
                    Err(error) => Err(error),
                }
            }
            Act::Delete => {
                let there = job.guest.known.as_ref().is_some_and(|known| !known.perhaps_there().is_empty());
                let tells = job.guest.course.tells && there;
                match self.delete(job.account(), (calendar, id), job.link.etag.as_deref(), tells).await {
                    Ok(()) | Err(google::Error::NotFound | google::Error::AlreadyDeleted) => Ok(Outcome::Removed),
                    Err(google::Error::PreconditionFailed) => self.read(job).await.map(|(_, seen)| match seen {
                        Seen::Deleted | Seen::Missing => Outcome::Removed,
                        live @ Seen::Live { .. } => Outcome::Saw(live),
                    }),
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// Google has the id already: ours and live is as good as inserted; deleted means that the owner did it; foreign asks
    /// for another id.
    async fn after_duplicate(&self, job: &Job) -> Result<Outcome, google::Error> {
        let (item, seen) = self.read(job).await?;
        match (item, seen) {
            (Some(item), Seen::Live { .. }) if !job.is_named_by(&item) => Ok(Outcome::Foreign),
            // Seen by the insert and not by the read: Google's answer lags, or the owner deleted the event and emptied the
            // trash. No answer lags for so long.
            (_, Seen::Missing) if job.attempts <= LAGGING_MAX => Err(google::Error::NotFound),
            (_, Seen::Missing) => Ok(Outcome::Saw(Seen::Deleted)),
            (Some(item), Seen::Live { interval, .. }) if interval == Some(job.booking.interval) => {
                let there = job.guest.course.changes && self.guest_is_there(job).await?;
                Ok(Outcome::Shows(item.etag, Told::AsMeant { ours: there }))
            }
            (_, seen) => Ok(Outcome::Saw(seen)),
        }
    }

    /// The event by its id.
    async fn read(&self, job: &Job) -> Result<(Option<Item>, Seen), google::Error> {
        let (calendar, id) = (job.calendar.google_id.as_str(), job.link.event_id.as_str());
        match self.google.get_event(job.account(), calendar, id).await {
            Ok(item) => {
                let seen = seen(&item.event, item.etag.as_deref(), job.calendar.time_zone);
                Ok((Some(item), seen))
            }
            Err(google::Error::AlreadyDeleted) => Ok((None, Seen::Deleted)),
            Err(google::Error::NotFound) => {
                // Not found may also mean that the calendar cannot be read: that must not call a booking off.
                match self.google.calendar(job.account(), calendar).await {
                    Ok(_) => {}
                    // The owner may have taken it off their list, and it can be read all the same.
                    Err(google::Error::NotFound) => {
                        let one = EventsQuery { max_results: 1, ..EventsQuery::default() };
                        self.google.list_events(job.account(), calendar, &one).await?;
                    }
                    Err(error) => return Err(error),
                }
                Ok((None, Seen::Missing))
            }
            Err(error) => Err(error),
        }
    }

    /// Removes an event whose booking is written elsewhere now.
    pub(super) async fn deliver_removal(&self, delivery: &Delivery, calendar: CalendarId, event_id: &str) -> Delivered {
        let business = delivery.business;
        let event = event_id.to_owned();
        let read = store::work::<Option<(Calendar, bool)>, store::Error, _>(move |tx| {
            Box::pin(async move {
                let invites = tx.business(business).await?.is_some_and(|business| business.invite_customers);
                let guest = tx.event_guest(business, &event).await?.filter(|_| invites);
                let tells = guest.is_some_and(|known| !known.perhaps_there().is_empty());
                Ok(tx.calendar(business, calendar).await?.map(|calendar| (calendar, tells)))
            })
        });
        let found = match self.store.read(read).await {
            Ok(found) => found,
            Err(error) => return Delivered::Unsettled(error),
        };
        if let Some((calendar, tells)) = found {
            let account = AccountKey { business, account: calendar.account };
            let asked_at = self.clock.now();
            match self.delete(account, (&calendar.google_id, event_id), None, tells).await {
                Ok(()) | Err(google::Error::NotFound | google::Error::AlreadyDeleted) => {}
                Err(error) => return Delivered::Later { error, account, asked_at },
            }
        }
        let held = delivery.clone();
        let done = store::work::<(), store::Error, _>(move |tx| Box::pin(async move { tx.delivered(&held).await }));
        match self.store.write(Lane::Background, done).await {
            Ok(()) => Delivered::Settled,
            Err(error) => Delivered::Unsettled(error),
        }
    }
}

/// Keeps what Google answered, and ends the delivery, unless it was taken over meanwhile.
/// Returns what to count about the guest.
async fn settle(tx: &mut Tx, delivery: &Delivery, job: &Job, outcome: Outcome) -> store::Result<Option<&'static str>> {
    let booking = tx.lock_booking(delivery.business, job.booking.id).await?;
    if !tx.holds_delivery(delivery).await? {
        return Ok(None);
    }
    let Some(mut booking) = booking else { return tx.delivered(delivery).await.map(|()| None) };
    let mut invitation = None;
    let Some(link) = booking.link.as_mut().filter(|link| link.event_id == job.link.event_id) else {
        // It moved to another calendar meanwhile, which is owed a delivery of its own. The removal of this event may have
        // been tried before the event was there.
        if matches!(outcome, Outcome::Shows(..) | Outcome::Elsewhere(..) | Outcome::Saw(Seen::Live { .. })) {
            tx.owe_removal(delivery.business, job.link.calendar, &job.link.event_id).await?;
        }
        return tx.delivered(delivery).await.map(|()| None);
    };
    let sent = link.sent.take();
    booking.updated_at = tx.now();
    match outcome {
        Outcome::Shows(etag, told) => {
            link.written = Some(job.content());
            link.etag = etag;
            if job.booking.version == booking.version {
                booking.calendar_sync = CalendarSync::Synced;
            }
            tx.update_booking(&booking).await?;
            tx.texts_written(booking.business, booking.id, &job.fingerprint).await?;
            invitation = guests::settle(tx, &booking, job, told).await?;
        }
        Outcome::Removed => {
            link.written = None;
            link.etag = None;
            booking.calendar_sync = CalendarSync::Synced;
            tx.update_booking(&booking).await?;
            tx.forget_event_guest(booking.business, &job.link.event_id).await?;
        }
        Outcome::Foreign => {
            link.generation += 1;
            let generation = u64::try_from(link.generation).unwrap_or_default();
            link.event_id = event_id::derive(booking.id, &job.calendar.google_id, generation);
            tx.update_booking(&booking).await?;
            tx.own_event(&booking).await?;
            tx.owe_event(booking.business, booking.id).await?;
        }
        Outcome::Elsewhere(calendar, seen) => {
            tx.follow_elsewhere(&mut booking, &calendar, &seen).await?;
        }
        Outcome::Saw(seen) => {
            link.recheck = false;
            if seen == Seen::Deleted && link.written.is_none() {
                // The insert went through unseen, or there would be nothing to delete. Restored, it is as it was sent.
                link.written = sent;
            }
            if let Seen::Live { interval, etag, .. } = &seen {
                // Of a write that did not touch the time, the time tells nothing.
                let telling = |sent: &Content| link.written.is_none_or(|written| written.interval != sent.interval);
                let through = sent.filter(|sent| *interval == Some(sent.interval)).filter(telling);
                if let Some(sent) = through {
                    // The write went through, and its answer was lost.
                    link.written = Some(sent);
                    link.etag.clone_from(etag);
                    if sent.version == booking.version {
                        booking.calendar_sync = CalendarSync::Synced;
                    }
                } else if link.written.is_none() {
                    link.written = Some(Content { version: 0, interval: job.booking.interval });
                }
            }
            tx.update_booking(&booking).await?;
            tx.follow(&mut booking, &seen).await?;
        }
    }
    tx.delivered(delivery).await.map(|()| invitation)
}

/// The texts of an event.
struct Texts {
    title: String,
    body: String,
    /// What they tell, apart from how: another template is no reason to write over what the owner made of them.
    told: String,
}

/// Title and description of the event.
async fn texts(tx: &mut Tx, booking: &Booking, business: &Business, link: &str) -> store::Result<Texts> {
    let services = tx.services(business.id).await?;
    let service = services.iter().find(|service| Some(service.id) == booking.service);
    let customer = booking.customer.as_ref();
    let values = Values {
        service: service.map_or("Appointment", |service| service.name.as_str()),
        name: customer.map_or("", |customer| customer.name.as_str()),
        phone: customer.map_or("", |customer| customer.phone.as_str()),
        notes: customer.and_then(|customer| customer.notes.as_deref()).unwrap_or_default(),
        reference: booking.reference.as_deref().unwrap_or_default(),
        link,
    };
    let Values { service, name, phone, notes, reference, link: _ } = values;
    let told = format!("event texts\0{service}\0{name}\0{phone}\0{notes}\0{reference}");
    let (title, body) = template::texts(&business.event_title, &business.event_body, &values);
    Ok(Texts { title, body, told })
}

/// The zone in which the event is written: where the resource is.
async fn zone(tx: &mut Tx, booking: &Booking, business: &Business) -> store::Result<Tz> {
    let resources = tx.resources(business.id).await?;
    let resource = resources.iter().find(|resource| resource.id == booking.resource);
    Ok(resource.and_then(|resource| resource.time_zone).unwrap_or(business.time_zone))
}
