//! What has to do with a moment: hours, rules, how the mirrors stand, and bookings.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Cause, CauseKind, MOMENT};
use crate::{
    availability::{Agenda, Reason, Rules, Timetable, WeeklyHours, check, day_of, slots},
    booking::{BookingError, Doubt, freshness::Terms, office::Office},
    domain::{BookingId, Interval, booking::State},
    store::{Tx, bookings::Booking, calendars::Calendar},
};

/// Most causes of one kind that are told of one resource.
pub(super) const CAUSES_MAX: usize = 50;

/// Whose moment is explained, and within what.
pub(super) struct Scope<'a> {
    pub(super) office: &'a Office,
    pub(super) agenda: &'a Agenda<'a>,
    pub(super) at: DateTime<Utc>,
    /// Of the service that was asked about.
    pub(super) rules: Option<Rules>,
    /// The moment, or all that the service would occupy.
    pub(super) window: Interval,
    pub(super) terms: &'a Terms,
    pub(super) now: DateTime<Utc>,
}

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) causes: Vec<Cause>,
    pub(super) truncated: bool,
}

impl Found {
    /// Takes up to [`CAUSES_MAX`] of `causes`.
    pub(super) fn take(&mut self, causes: Vec<Cause>) {
        self.truncated |= causes.len() > CAUSES_MAX;
        self.causes.extend(causes.into_iter().take(CAUSES_MAX));
    }
}

impl Scope<'_> {
    pub(super) async fn find(&self, tx: &mut Tx) -> Result<Found, BookingError> {
        let mut found = Found::default();
        found.causes.push(self.hours());
        found.causes.extend(self.rules.and_then(|rules| self.rule(&rules)));
        let calendars: Vec<&Calendar> = self.office.blocking(std::slice::from_ref(&self.agenda.resource)).collect();
        found.take(calendars.iter().flat_map(|calendar| self.doubts(calendar)).collect());

        let busy = self.busy_events(tx).await?;
        let shown: BTreeSet<String> = busy.iter().filter_map(|cause| cause.event_id().map(str::to_owned)).collect();
        found.take(busy);
        let bookings = self.bookings(tx, &mut found).await?;
        let mut own = self.own_events(tx, bookings).await?;
        own.retain(|cause| cause.event_id().is_none_or(|id| !shown.contains(id)));
        found.take(own);
        for calendar in calendars {
            self.free_events(tx, calendar, &mut found).await?;
        }
        Ok(found)
    }

    fn hours(&self) -> Cause {
        let (agenda, at) = (self.agenda, self.at);
        let length = self.rules.map_or(MOMENT, |rules| rules.duration);
        let open = Interval::new(at, at + length).is_some_and(|bare| agenda.hours.covers(bare, agenda.zone));
        let door = agenda.hours.about(at, agenda.zone);
        let kind = if let Some((dates, own)) = agenda.hours.override_at(at, agenda.zone) {
            CauseKind::Override { own, dates: dates.clone(), door }
        } else {
            let own = self.office.resources.iter().any(|known| known.id == agenda.resource && known.hours.is_some());
            CauseKind::Hours { own, door }
        };
        Cause { blocks: !open, kind }
    }

    /// The rule of the service that speaks about beginning then, by the engine that answers "is it free?".
    fn rule(&self, rules: &Rules) -> Option<Cause> {
        let (agenda, at, now) = (self.agenda, self.at, self.now);
        let cause = |blocks, rule, from, to| Some(Cause { blocks, kind: CauseKind::Rule { rule, from, to } });
        match check(agenda, rules, at, now) {
            Err(Reason::Past) => cause(true, "past", Some(now), None),
            Err(Reason::Notice) => cause(true, "notice", now.checked_add_signed(rules.minimum_notice), None),
            Err(Reason::Horizon) => cause(true, "horizon", None, now.checked_add_signed(rules.horizon)),
            Err(Reason::Cap) => {
                let day = day_of(at, self.office.business.time_zone);
                cause(true, "cap", day.map(Interval::end), day.map(Interval::start))
            }
            Err(Reason::Buffer) => cause(true, "buffer", Some(self.window.start()), Some(self.window.end())),
            // It can be booked, and is not among the slots that are offered.
            Ok(()) => {
                let moment = Interval::new(at, at + MOMENT)?;
                let offered = !slots(std::slice::from_ref(agenda), rules, moment, now, 1, false).is_empty();
                if offered { None } else { cause(false, "step", None, None) }
            }
            Err(Reason::Busy | Reason::Closed | Reason::OutsideCoverage | Reason::Stale) => None,
        }
    }

    /// Whether a calendar says nothing about the time, and whether it is behind.
    fn doubts(&self, calendar: &Calendar) -> Vec<Cause> {
        let mut causes = Vec::new();
        let doubt = Doubt::about(calendar, self.now, self.terms.fresh_for);
        let covered = calendar.mirror.coverage.filter(|_| doubt != Some(Doubt::NeverRead));
        if covered.is_none_or(|covered| !covered.covers(self.window)) {
            causes.push(Cause { blocks: true, kind: CauseKind::Coverage { calendar: calendar.id, covered } });
        }
        if let Some(doubt) = doubt.filter(|doubt| *doubt != Doubt::NeverRead) {
            let blocks = self.agenda.withheld == Some(Reason::Stale);
            let kind = CauseKind::Stale { calendar: calendar.id, as_of: calendar.mirror.as_of, doubt };
            causes.push(Cause { blocks, kind });
        }
        causes
    }

    /// Tells what claims the time. Returns the bookings of the time, whatever became of them.
    async fn bookings(&self, tx: &mut Tx, found: &mut Found) -> Result<Vec<Booking>, BookingError> {
        let (business, resource) = (self.office.business.id, self.agenda.resource);
        let claims = tx.claims(business, Some(resource), self.window, self.now).await?;
        let blocks = self.is_full();
        let (mut causes, mut bookings) = (Vec::new(), Vec::new());
        for claim in claims.iter().take(CAUSES_MAX + 1) {
            let Some(booking) = tx.booking(business, claim.booking).await? else { continue };
            let kind = CauseKind::Booking {
                booking: booking.id,
                state: booking.state.as_str(),
                interval: booking.interval,
                claim: claim.interval,
                expires_at: match booking.state {
                    State::Held { until } => Some(until),
                    _ => None,
                },
            };
            causes.push(Cause { blocks, kind });
            bookings.push(booking);
        }
        found.take(causes);
        let others: Vec<BookingId> = tx.bookings_meeting(business, resource, self.window, CAUSES_MAX).await?;
        for id in others {
            if !bookings.iter().any(|known| known.id == id) {
                bookings.extend(tx.booking(business, id).await?);
            }
        }
        Ok(bookings)
    }

    /// Whether the claims alone leave no room.
    fn is_full(&self) -> bool {
        let hours = WeeklyHours::always();
        let bookings_alone = Agenda {
            hours: Timetable::from(&hours),
            busy: &[],
            coverage: None,
            withheld: None,
            capped: &[],
            ..*self.agenda
        };
        let rules = self.rules.unwrap_or(Rules::lasting(MOMENT));
        let whenever = Rules { minimum_notice: TimeDelta::zero(), horizon: Rules::HORIZON, ..rules };
        check(&bookings_alone, &whenever, self.at, self.at).is_err()
    }
}
