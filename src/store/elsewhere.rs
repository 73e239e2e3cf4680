//! The owner moved a booking's event to another calendar of theirs: the booking goes with it.

use super::{
    Result, Tx,
    bookings::{Booking, Content},
    calendars::Calendar,
    claims::{Source, Step, claimed},
    conflicts::{News, tell},
};
use crate::domain::{
    BusinessId, CalendarId,
    booking::State,
    reconcile::{Policy, Seen},
};

/// Other calendars of the account that are looked through. An owner has a few.
const LOOKED_THROUGH: usize = 10;

impl Tx {
    /// The other mirrored calendars of the account that `calendar` belongs to.
    pub async fn sister_calendars(&mut self, business: BusinessId, calendar: CalendarId) -> Result<Vec<Calendar>> {
        let all = self.calendars(business).await?;
        let Some(account) = all.iter().find(|one| one.id == calendar).map(|one| one.account) else {
            return Ok(Vec::new());
        };
        let sister = |one: &Calendar| one.account == account && one.id != calendar && one.mirror.lost_at.is_none();
        Ok(all.into_iter().filter(sister).take(LOOKED_THROUGH).collect())
    }

    /// Lets a locked booking go with its event, which `calendar` shows now: its changes are written there from now on. When
    /// the calendar is another resource's, that resource does it, unless the business wants its bookings kept.
    pub async fn follow_elsewhere(&mut self, booking: &mut Booking, calendar: &Calendar, seen: &Seen) -> Result<bool> {
        let business = booking.business;
        let (Seen::Live { etag, .. }, Some(link)) = (seen, booking.link.as_mut()) else { return Ok(false) };
        let old = std::mem::replace(&mut link.calendar, calendar.id);
        link.etag.clone_from(etag);
        (link.recheck, link.sent, link.gone) = (false, None, None);
        if link.written.is_none() {
            link.written = Some(Content { version: 0, interval: booking.interval });
        }
        let event_id = link.event_id.clone();
        booking.updated_at = self.now();
        let to = calendar.resource.filter(|to| *to != booking.resource);
        let stands = matches!(booking.state, State::Confirmed { .. });
        let follows = self.calendar_changes(business).await? == Policy::OwnerWins;
        if let Some(to) = to.filter(|_| stands && follows) {
            let mut claims = self.claimed_resources(business, booking.id).await?;
            let mut locked = claims.clone();
            locked.push(to);
            self.lock_resources(business, &locked).await?;
            claims.retain(|resource| *resource != booking.resource && *resource != to);
            claims.push(to);
            booking.resource = to;
            self.delete_claims(booking).await?;
            let now = self.now();
            let resources = self.resources(business).await?;
            let claim = claimed(booking, booking.interval).unwrap_or(booking.interval);
            for resource in claims {
                self.expire_claims(business, resource, now).await?;
                let exclusive = resources.iter().any(|known| known.id == resource && known.capacity == 1);
                let forced = exclusive && !self.claims(business, Some(resource), claim, now).await?.is_empty();
                self.insert_claim(booking, resource, exclusive, forced).await?;
            }
            self.update_booking(booking).await?;
            self.record_step(booking, Step::Rescheduled, Source::Owner).await?;
            tell(business, booking.id, News::MovedByOwner);
            for resource in locked {
                self.meet_others(booking, resource).await?;
            }
        } else {
            self.update_booking(booking).await?;
        }
        self.drop_own_busy(business, old, &event_id).await?;
        self.drop_own_busy(business, calendar.id, &event_id).await?;
        // The time may have changed on the way.
        self.follow(booking, seen).await
    }
}
