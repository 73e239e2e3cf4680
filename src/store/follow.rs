//! A booking follows what happened to its event: the plan is pure ([`reconcile`]), this carries it out in one
//! transaction.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::{
    Result, Sql, Tx,
    bookings::{Booking, CalendarSync, Content},
    cancellations::Gone,
    claims::{LONGEST, Source, Step, claimed},
    conflicts::{News, tell},
    execute,
};
use crate::domain::{
    BookingId, BusinessId, CalendarId, Event, EventKind, EventStatus, EventTime, Interval,
    booking::{Party, State},
    expand::single_interval,
    reconcile::{self, Decision, Difference, Linked, Mark, Policy, Seen, Shape, Written},
    sabotage::{Bug, sabotaged},
};

const RECHECK: Sql = Sql::same("UPDATE booking SET recheck = 1 WHERE business_id = $1 AND id = $2");
const FAILED: Sql = Sql::same("UPDATE booking SET calendar_sync = 'failed' WHERE business_id = $1 AND id = $2");
pub(super) const STATEMENTS: &[(&str, Sql)] = &[("RECHECK", RECHECK), ("FAILED", FAILED)];

/// What a mirrored event tells its booking. `zone` is the calendar's.
#[must_use]
pub fn seen(event: &Event, etag: Option<&str>, zone: Tz) -> Seen {
    if event.status == EventStatus::Cancelled {
        return Seen::Deleted;
    }
    let day = |time: EventTime| matches!(time, EventTime::Date(_));
    let shape = match (&event.kind, event.times) {
        (EventKind::Single, Some((start, end))) if day(start) || day(end) => Shape::AllDay,
        (EventKind::Single, _) => Shape::Once,
        (EventKind::Master { .. } | EventKind::Exception { .. }, _) => Shape::Series,
    };
    let mark = match event {
        Event { declined: true, .. } => Mark::Declined,
        Event { transparent: true, .. } => Mark::Free,
        _ => Mark::Busy,
    };
    Seen::Live { interval: single_interval(event, zone), etag: etag.map(str::to_owned), shape, mark }
}

/// Whether Google was told of the booking as it is.
fn told(booking: &Booking) -> bool {
    booking.link.as_ref().and_then(|link| link.written).is_some_and(|written| written.version == booking.version)
}

/// The booking as the plan looks at it. `None` without an event.
fn linked(booking: &Booking, policy: Policy, now: DateTime<Utc>) -> Option<Linked<'_>> {
    let link = booking.link.as_ref()?;
    Some(Linked {
        interval: booking.interval,
        stands: matches!(booking.state, State::Confirmed { .. } | State::Completed { .. }),
        ended_by_owner: matches!(booking.state, State::Cancelled { by: Party::Owner, .. }),
        over: booking.interval.end() <= now,
        told: told(booking),
        written: link.written.map(|written| Written { interval: written.interval, etag: link.etag.as_deref() }),
        sent: link.sent.map(|sent| sent.interval),
        longest: LONGEST - booking.buffer_before - booking.buffer_after,
        policy,
    })
}

fn decide(booking: &Booking, seen: &Seen, policy: Policy, now: DateTime<Utc>) -> Decision {
    match linked(booking, policy, now).map(|linked| reconcile::plan(&linked, seen)) {
        None => Decision::Nothing,
        // Negative buffers leave nothing of a booking that is so short.
        Some(Decision::Move(to)) if claimed(booking, to).is_none() => Decision::Remember,
        Some(decision) => decision,
    }
}

impl Tx {
    /// Notes that a booking's event is to be read by its id before anything is decided, and owes that.
    pub async fn recheck_event(&mut self, business: BusinessId, booking: BookingId) -> Result<()> {
        execute!(self, RECHECK, business.to_string(), booking.to_string())?;
        self.owe_event(business, booking).await
    }

    /// Notes that Google refused a booking's event for good, so that a person looks.
    pub async fn event_failed(&mut self, business: BusinessId, booking: BookingId) -> Result<()> {
        execute!(self, FAILED, business.to_string(), booking.to_string())?;
        Ok(())
    }

    /// Lets a booking follow its event, as a list of `calendar` shows it. Returns whether Google is owed something now.
    ///
    /// A list may be older than slotd's own last write. So a booking that changed after `since` neither moves nor ends by
    /// it: its event is read by its id first.
    pub async fn follow_owner(
        &mut self,
        business: BusinessId,
        id: BookingId,
        (calendar, event_id): (CalendarId, &str),
        seen: &Seen,
        since: DateTime<Utc>,
    ) -> Result<bool> {
        let Some(mut booking) = self.lock_booking(business, id).await? else { return Ok(false) };
        let stands = matches!(booking.state, State::Confirmed { .. } | State::Completed { .. });
        match &booking.link {
            // Nothing was ever sent under this id, so it is somebody else's event. The delivery that is owed meets it, and
            // takes another id.
            Some(link) if stands && link.event_id == event_id && link.is_unsent() => return Ok(false),
            Some(link) if link.event_id == event_id && link.calendar == calendar => {}
            // The owner moved it to another calendar of theirs: there it is an event like any other.
            Some(link) if link.event_id == event_id => return Ok(false),
            // Left behind when the booking moved to another calendar: what happens to it is not the booking's business.
            _ => {
                let live = matches!(seen, Seen::Live { .. });
                if !live || matches!(booking.state, State::Cancelled { by: Party::Owner, .. }) {
                    return Ok(false);
                }
                // It came to be after its removal was tried.
                self.owe_removal(business, calendar, event_id).await?;
                return Ok(true);
            }
        }
        let policy = self.calendar_changes(business).await?;
        let decision = match decide(&booking, seen, policy, self.now()) {
            Decision::Move(_) | Decision::Cancel | Decision::Keep if booking.updated_at >= since => Decision::Wait,
            // It may be in another calendar of the owner's: the read looks there.
            Decision::Cancel | Decision::Keep
                if *seen == Seen::Deleted && !self.sister_calendars(business, calendar).await?.is_empty() =>
            {
                Decision::Wait
            }
            decision => decision,
        };
        self.carry_out(&mut booking, seen, decision, policy).await
    }

    /// Lets a booking that this transaction has locked follow its event, as Google just gave it. Saves it.
    pub async fn follow(&mut self, booking: &mut Booking, seen: &Seen) -> Result<bool> {
        let policy = self.calendar_changes(booking.business).await?;
        let decision = decide(booking, seen, policy, self.now());
        self.carry_out(booking, seen, decision, policy).await
    }

    async fn carry_out(
        &mut self,
        booking: &mut Booking,
        seen: &Seen,
        decision: Decision,
        policy: Policy,
    ) -> Result<bool> {
        let owed = self.do_decided(booking, seen, decision).await?;
        let Seen::Live { interval, shape, .. } = seen else { return Ok(owed) };
        let difference = match decision {
            Decision::Keep => Some(Difference::Moved),
            // What differs while something is to be written may differ for that.
            Decision::Write if *shape == Shape::Once && *interval != Some(booking.interval) => return Ok(owed),
            Decision::Remember | Decision::Move(_) | Decision::Write => {
                linked(booking, policy, self.now()).and_then(|linked| reconcile::difference(&linked, seen))
            }
            Decision::Nothing | Decision::Wait | Decision::Cancel | Decision::Remove => return Ok(owed),
        };
        self.set_difference(booking, difference, *interval).await?;
        Ok(owed)
    }

    async fn do_decided(&mut self, booking: &mut Booking, seen: &Seen, decision: Decision) -> Result<bool> {
        let etag = match seen {
            Seen::Live { etag, .. } => etag.clone(),
            Seen::Deleted | Seen::Missing => None,
        };
        if let Some(gone) = booking.link.as_ref().and_then(|link| link.gone) {
            match seen {
                Seen::Live { .. } => self.found_again(booking, gone).await?,
                Seen::Deleted | Seen::Missing if gone != Gone::Doubted => return Ok(false),
                Seen::Deleted | Seen::Missing => {}
            }
        }
        match decision {
            Decision::Nothing => Ok(false),
            Decision::Remember => {
                if let Some(link) = booking.link.as_mut().filter(|link| link.etag != etag) {
                    // With the etag of what the owner left, the next change of ours meets no conflict.
                    link.etag = etag;
                    self.update_booking(booking).await?;
                }
                Ok(false)
            }
            Decision::Wait => {
                self.recheck_event(booking.business, booking.id).await?;
                Ok(true)
            }
            Decision::Move(interval) => self.move_with_owner(booking, interval, etag).await,
            Decision::Cancel if sabotaged(Bug::DeletionRevived) => {
                let google_id = match &booking.link {
                    Some(link) => self.calendar(booking.business, link.calendar).await?.map(|known| known.google_id),
                    None => None,
                };
                if let (Some(link), Some(google_id)) = (&mut booking.link, google_id) {
                    link.generation += 1;
                    let generation = u64::try_from(link.generation).unwrap_or_default();
                    link.event_id = crate::domain::event_id::derive(booking.id, &google_id, generation);
                    (link.written, link.etag) = (None, None);
                }
                self.update_booking(booking).await?;
                self.own_event(booking).await?;
                self.owe_event(booking.business, booking.id).await?;
                Ok(true)
            }
            Decision::Cancel => {
                if !self.hold_back(booking).await? {
                    self.cancel_with_owner(booking).await?;
                }
                Ok(false)
            }
            Decision::Keep => self.keep_against_owner(booking, seen, etag).await,
            Decision::Write | Decision::Remove => {
                if let (Some(link), Seen::Live { interval, .. }) = (&mut booking.link, seen) {
                    // Google holds something: the next step is a change or a removal of that.
                    let version = link.written.map_or(0, |written| written.version);
                    let interval = interval.unwrap_or(booking.interval);
                    link.written = Some(Content { version: version.min(booking.version - 1), interval });
                    link.etag = etag;
                }
                self.update_booking(booking).await?;
                self.owe_event(booking.business, booking.id).await?;
                Ok(true)
            }
        }
    }

    /// Whether the booking would end, were its event seen like this.
    pub(super) fn would_cancel(&self, booking: &Booking, seen: &Seen, policy: Policy) -> bool {
        booking.link.as_ref().is_some_and(|link| link.gone.is_none())
            && decide(booking, seen, policy, self.now()) == Decision::Cancel
    }

    /// The booking stays as it is, and so does what the owner made of its event.
    async fn keep_against_owner(&mut self, booking: &mut Booking, seen: &Seen, etag: Option<String>) -> Result<bool> {
        let told = told(booking);
        booking.updated_at = self.now();
        let Seen::Live { interval, .. } = seen else {
            if let Some(link) = &mut booking.link {
                (link.gone, link.recheck) = (Some(Gone::Kept), false);
            }
            booking.calendar_sync = CalendarSync::None;
            self.update_booking(booking).await?;
            self.set_difference(booking, Some(Difference::Deleted), None).await?;
            return Ok(false);
        };
        if let (Some(link), Some(interval)) = (&mut booking.link, *interval) {
            // Details that Google was not told yet are still owed; the time is the owner's to change back.
            let version = if told { booking.version } else { booking.version - 1 };
            link.written = Some(Content { version, interval });
            link.etag = etag;
        }
        self.update_booking(booking).await?;
        if !told {
            self.owe_event(booking.business, booking.id).await?;
        }
        Ok(!told)
    }

    /// The event is there after all, or again.
    async fn found_again(&mut self, booking: &mut Booking, was: Gone) -> Result<()> {
        if was == Gone::Kept {
            booking.calendar_sync = if told(booking) { CalendarSync::Synced } else { CalendarSync::Pending };
        }
        if let Some(link) = &mut booking.link {
            link.gone = None;
        }
        self.update_booking(booking).await?;
        if was == Gone::Kept {
            // Also where it is to be written next, and what else differs is told after that.
            self.set_difference(booking, None, None).await?;
        }
        Ok(())
    }

    async fn move_with_owner(&mut self, booking: &mut Booking, to: Interval, etag: Option<String>) -> Result<bool> {
        let now = self.now();
        let told = told(booking);
        let resources = self.claimed_resources(booking.business, booking.id).await?;
        let before = resources.clone();
        self.lock_resources(booking.business, &resources).await?;
        booking.interval = to;
        booking.version += 1;
        booking.updated_at = now;
        booking.calendar_sync = if told { CalendarSync::Synced } else { CalendarSync::Pending };
        if let Some(link) = &mut booking.link {
            // Other details that Google was not told yet are still owed, at the owner's time.
            let version = if told { booking.version } else { booking.version - 1 };
            link.written = Some(Content { version, interval: to });
            link.etag = etag;
        }
        self.delete_claims(booking).await?;
        let capacities = self.resources(booking.business).await?;
        let mut meets = false;
        for resource in resources {
            self.expire_claims(booking.business, resource, now).await?;
            let exclusive = capacities.iter().any(|known| known.id == resource && known.capacity == 1);
            let claim = claimed(booking, to).unwrap_or(to);
            let taken = !self.claims(booking.business, Some(resource), claim, now).await?.is_empty();
            // The owner's word stands, also over another booking: both stay, and it is recorded.
            let forced = exclusive && taken;
            meets |= forced;
            self.insert_claim(booking, resource, exclusive, forced).await?;
        }
        self.update_booking(booking).await?;
        self.record_step(booking, Step::Rescheduled, Source::Owner).await?;
        tell(booking.business, booking.id, News::MovedByOwner);
        if meets {
            tracing::warn!(business = %booking.business, booking = %booking.id, "the owner moved a booking onto another");
        }
        if let Some(link) = &booking.link {
            let (calendar, event) = (link.calendar, link.event_id.clone());
            self.drop_own_busy(booking.business, calendar, &event).await?;
        }
        for resource in before {
            self.meet_others(booking, resource).await?;
        }
        if !told {
            self.owe_event(booking.business, booking.id).await?;
        }
        Ok(!told)
    }

    /// Calls a booking off that this transaction has locked, for the owner did.
    pub async fn cancel_with_owner(&mut self, booking: &mut Booking) -> Result<()> {
        let Ok(state) = booking.state.cancel(self.now(), Party::Owner) else { return Ok(()) };
        booking.state = state;
        booking.version += 1;
        booking.updated_at = self.now();
        booking.calendar_sync = CalendarSync::Synced;
        if let Some(link) = &mut booking.link {
            link.written = None;
            link.etag = None;
        }
        self.end_claims(booking).await?;
        self.update_booking(booking).await?;
        self.record_step(booking, Step::Cancelled, Source::Owner).await?;
        tell(booking.business, booking.id, News::CancelledByOwner);
        self.end_conflicts(booking, false).await?;
        if let Some(link) = &booking.link {
            let (calendar, event) = (link.calendar, link.event_id.clone());
            self.drop_own_busy(booking.business, calendar, &event).await?;
        }
        Ok(())
    }
}
