//! The customer as a guest of the event: invited with the write that makes or changes it.
//!
//! Google limits how many people an account may invite. When it refuses for that, the event is written all the same,
//! without anybody being told, and the booking's history says so.

use chrono::TimeDelta;

use super::{Outbox, event::Job};
use crate::{
    domain::guests::{self, Course, Known, Merged, State},
    google::{self, EventPatch, Item},
    store::{self, Tx, bookings::Booking, businesses::Business},
};

/// After Google refused to tell guests, it is not asked to for so long.
const HUSH: TimeDelta = TimeDelta::hours(1);

/// The guest of an event that is about to be written.
#[derive(Debug, Clone, Default)]
pub(super) struct Guest {
    /// Before this delivery.
    pub(super) known: Option<Known>,
    /// What is done.
    pub(super) course: Course,
}

/// What became of the guest with a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// All went as it was meant to. `ours`: the guest who was wanted is on the event, and not by the owner's doing.
    AsMeant {
        /// See above.
        ours: bool,
    },
    /// Google refused to tell them, so nobody was told, or added.
    Refused,
}

/// Decides about the guest of a booking's event, and notes who may be on it from now on. `writes`: the event is made or
/// changed, and not removed.
pub(super) async fn prepare(tx: &mut Tx, booking: &Booking, business: &Business, writes: bool) -> store::Result<Guest> {
    let Some(link) = &booking.link else { return Ok(Guest::default()) };
    let known = tx.event_guest(business.id, &link.event_id).await?;
    let email = booking.customer.as_ref().and_then(|customer| customer.email.as_ref());
    if known.is_none() && (email.is_none() || !business.invite_customers) {
        return Ok(Guest::default());
    }
    let hushed = business.invite_customers && tx.guests_were_refused(business.id, tx.now() - HUSH).await?;
    let course = guests::course(known.as_ref(), email, business.invite_customers, hushed);
    if writes && course.changes {
        // Noted before it is sent, for the answer may be lost.
        let before = known.as_ref().map_or(&[][..], Known::perhaps_there);
        let others = before.iter().filter(|email| course.wanted.as_ref() != Some(email)).cloned();
        let emails = course.wanted.iter().cloned().chain(others).collect();
        tx.keep_event_guest(business.id, &link.event_id, &Known { state: State::Asked, emails }).await?;
    }
    Ok(Guest { known, course })
}

/// Keeps what became of the guest, in the transaction that keeps what became of the event. Returns the word to count.
pub(super) async fn settle(
    tx: &mut Tx,
    booking: &Booking,
    job: &Job,
    told: Told,
) -> store::Result<Option<&'static str>> {
    let (business, event_id) = (booking.business, job.link.event_id.as_str());
    let Course { wanted, changes, tells, skipped } = &job.guest.course;
    let refused = told == Told::Refused;
    let email = job.booking.customer.as_ref().and_then(|customer| customer.email.clone());
    match told {
        Told::AsMeant { ours } if *changes => match wanted.clone().filter(|_| ours) {
            Some(email) => {
                tx.keep_event_guest(business, event_id, &Known { state: State::Invited, emails: vec![email] }).await?;
            }
            None => tx.forget_event_guest(business, event_id).await?,
        },
        Told::Refused if *changes => {
            let emails = wanted.iter().cloned().collect();
            tx.keep_event_guest(business, event_id, &Known { state: State::Refused, emails }).await?;
        }
        _ => {}
    }
    if *skipped
        && wanted.is_none()
        && let Some(email) = email
    {
        tx.keep_event_guest(business, event_id, &Known { state: State::Refused, emails: vec![email] }).await?;
    }
    if refused {
        tx.guest_refused(business, event_id).await?;
        tracing::warn!(%business, booking = %booking.id, "Google refused to invite a customer; the event stands without");
    }
    if refused || *skipped {
        tx.record_step(booking, store::claims::Step::NotInvited, store::claims::Source::Slotd).await?;
    }
    Ok(match (refused, *skipped, *tells) {
        (true, ..) => Some("refused"),
        (_, true, _) => Some("skipped"),
        (_, _, true) => Some("sent"),
        _ => None,
    })
}

impl Outbox {
    /// Changes the event; when Google refuses to tell its guests, without telling them.
    pub(super) async fn patch(&self, job: &Job, patch: &EventPatch) -> Result<(Item, Told), google::Error> {
        let Course { wanted, changes, tells, .. } = &job.guest.course;
        let (account, calendar, id) = (job.account(), job.calendar.google_id.as_str(), job.link.event_id.as_str());
        let present = if *changes { Some(self.google.guests(account, calendar, id).await?) } else { None };
        // Of a list that Google cuts short the rest would be lost.
        let whole = present.as_ref().filter(|guests| !guests.omitted);
        let with = |wanted: Option<&crate::domain::contact::Email>| -> (EventPatch, bool) {
            let Some(guests) = whole else { return (patch.clone(), false) };
            let Merged { attendees, ours } = guests::merge(&guests.list, job.guest.known.as_ref(), wanted);
            let patch = patch.clone();
            (attendees.into_iter().fold(patch, EventPatch::attendees), ours)
        };
        let etag = job.link.etag.clone().or_else(|| whole.and_then(|guests| guests.etag.clone()));
        let (full, ours) = with(wanted.as_ref());
        let google = self.google.telling_guests(*tells);
        match google.patch_event(account, calendar, id, &full, etag.as_deref()).await {
            Err(google::Error::GuestsRefused { .. }) => {
                let (quiet, _) = with(None);
                let item = self.google.patch_event(account, calendar, id, &quiet, etag.as_deref()).await?;
                Ok((item, Told::Refused))
            }
            done => Ok((done?, Told::AsMeant { ours })),
        }
    }

    /// Removes an event; when Google refuses to tell its guests, without telling them.
    pub(super) async fn delete(
        &self,
        account: google::AccountKey,
        (calendar, id): (&str, &str),
        etag: Option<&str>,
        tells: bool,
    ) -> Result<(), google::Error> {
        match self.google.telling_guests(tells).delete_event(account, calendar, id, etag).await {
            Err(google::Error::GuestsRefused { .. }) => {
                self.metrics.invitations("refused");
                self.google.delete_event(account, calendar, id, etag).await
            }
            done => done,
        }
    }

    /// Whether the customer is on an event that was written before, by slotd's doing.
    pub(super) async fn guest_is_there(&self, job: &Job) -> Result<bool, google::Error> {
        let (account, calendar, id) = (job.account(), job.calendar.google_id.as_str(), job.link.event_id.as_str());
        let Some(wanted) = &job.guest.course.wanted else { return Ok(false) };
        let guests = self.google.guests(account, calendar, id).await?;
        Ok(guests.list.iter().any(|guest| guest["email"].as_str().is_some_and(|email| wanted.is_same(email))))
    }
}
