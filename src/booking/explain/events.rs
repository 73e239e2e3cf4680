//! The events that have to do with a moment, those that do not count among them.

use chrono::TimeDelta;

use super::{
    Cause, CauseKind,
    find::{CAUSES_MAX, Found, Scope},
};
use crate::{
    booking::BookingError,
    domain::{
        CalendarId, Event, EventKind, EventStatus, EventTime, Interval, event_id,
        expand::{Limits, free_interval, single_interval},
        zone::day_start,
    },
    store::{
        Tx,
        bookings::Booking,
        calendars::Calendar,
        causes::{BusyCause, TitledEvent},
        events::Generation,
    },
};

/// Most events of one calendar that do not block and are looked through.
const FREE_EVENTS_MAX: usize = 5_000;
/// Most series of one calendar that are worked out to find those that do not block.
const SERIES_MAX: usize = 100;
/// An instance that was called off is looked for when it began no longer than this before.
const LONGEST_HOLE: TimeDelta = TimeDelta::days(31);

impl Cause {
    /// Google's id of the event that it is about.
    pub(super) fn event_id(&self) -> Option<&str> {
        match &self.kind {
            CauseKind::Event { event_id, .. } | CauseKind::OwnEvent { event_id, .. } => Some(event_id),
            CauseKind::Booking { .. }
            | CauseKind::Hours { .. }
            | CauseKind::Override { .. }
            | CauseKind::Rule { .. }
            | CauseKind::Coverage { .. }
            | CauseKind::Stale { .. } => None,
        }
    }

    fn event(calendar: CalendarId, event: &Event, title: Option<String>, interval: Interval) -> Self {
        let kind = CauseKind::Event {
            calendar,
            event_id: event.id.clone(),
            series_id: (event.kind != EventKind::Single).then(|| event.series_id().to_owned()),
            occurs: match event.kind {
                EventKind::Single => "single",
                EventKind::Master { .. } => "instance",
                EventKind::Exception { .. } => "exception",
            },
            interval,
            title,
            ignored: match (event.status, event.declined, event.transparent) {
                (EventStatus::Cancelled, _, _) => Some("cancelled"),
                (_, true, _) => Some("declined"),
                (_, _, true) => Some("transparent"),
                (_, false, false) => None,
            },
        };
        Self { blocks: event.blocks(), kind }
    }
}

const fn generation(calendar: &Calendar) -> Generation {
    Generation { business: calendar.business, calendar: calendar.id, number: calendar.mirror.generation }
}

impl Scope<'_> {
    /// What is behind the busy slots.
    pub(super) async fn busy_events(&self, tx: &mut Tx) -> Result<Vec<Cause>, BookingError> {
        let business = self.office.business.id;
        let slots = tx.busy_causes(business, self.agenda.resource, self.window, CAUSES_MAX + 1).await?;
        let mut causes = Vec::with_capacity(slots.len());
        for BusyCause { calendar, interval, event_id, event } in slots {
            let own =
                if event_id::has_shape(&event_id) { tx.booking_of_event(business, &event_id).await? } else { None };
            causes.push(match (own, event) {
                (Some(booking), _) => {
                    Cause { blocks: true, kind: CauseKind::OwnEvent { calendar, event_id, booking, interval } }
                }
                (None, Some(TitledEvent { event, title })) => {
                    Cause { blocks: true, ..Cause::event(calendar, &event, title, interval) }
                }
                (None, None) => Cause {
                    blocks: true,
                    kind: CauseKind::Event {
                        calendar,
                        event_id,
                        series_id: None,
                        occurs: "single",
                        interval,
                        title: None,
                        ignored: None,
                    },
                },
            });
        }
        Ok(causes)
    }

    /// The events of bookings, which count through their bookings.
    pub(super) async fn own_events(&self, tx: &mut Tx, bookings: Vec<Booking>) -> Result<Vec<Cause>, BookingError> {
        let mut causes = Vec::new();
        for Booking { id, link, .. } in bookings {
            let Some(link) = link else { continue };
            let Some(calendar) = self.office.calendars.iter().find(|known| known.id == link.calendar) else { continue };
            let Some(TitledEvent { event, .. }) = tx.titled_event(generation(calendar), &link.event_id).await? else {
                continue;
            };
            let interval = single_interval(&event, calendar.time_zone).filter(|one| one.overlaps(self.window));
            if let Some(interval) = interval.filter(|_| event.status != EventStatus::Cancelled) {
                let (calendar, event_id) = (calendar.id, link.event_id);
                causes.push(Cause {
                    blocks: false,
                    kind: CauseKind::OwnEvent { calendar, event_id, booking: id, interval },
                });
            }
        }
        Ok(causes)
    }

    /// Events that would be there and do not count.
    pub(super) async fn free_events(
        &self,
        tx: &mut Tx,
        calendar: &Calendar,
        found: &mut Found,
    ) -> Result<(), BookingError> {
        let (of, zone) = (generation(calendar), calendar.time_zone);
        let mut events = tx.free_events(of, FREE_EVENTS_MAX + 1).await?;
        found.truncated |= events.len() > FREE_EVENTS_MAX;
        events.truncate(FREE_EVENTS_MAX);
        let (mut causes, mut read) = (Vec::new(), 0);
        for TitledEvent { event, title } in events {
            if !self.may_meet(&event, zone) {
                continue;
            }
            let needs_series = matches!(event.kind, EventKind::Master { .. }) || event.status == EventStatus::Cancelled;
            if needs_series && read == SERIES_MAX {
                found.truncated = true;
                continue;
            }
            let series = if needs_series {
                read += 1;
                tx.series(of, event.series_id()).await?
            } else {
                Vec::new()
            };
            let (interval, cut) = free_interval(&event, &series, zone, self.window, &Limits::default());
            found.truncated |= cut;
            if let Some(interval) = interval
                && !self.is_own(tx, &event.id).await?
            {
                causes.push(Cause::event(calendar.id, &event, title, interval));
            }
        }
        found.take(causes);
        Ok(())
    }

    async fn is_own(&self, tx: &mut Tx, id: &str) -> Result<bool, BookingError> {
        Ok(event_id::has_shape(id) && tx.booking_of_event(self.office.business.id, id).await?.is_some())
    }

    /// Rules out, by what the event itself says, that it has to do with the time.
    fn may_meet(&self, event: &Event, zone: chrono_tz::Tz) -> bool {
        let instant = |time: EventTime| match time {
            EventTime::Date(date) => day_start(date, zone),
            EventTime::At { at, .. } => at,
        };
        match &event.kind {
            EventKind::Exception { original, .. } if event.status == EventStatus::Cancelled => {
                let start = instant(*original);
                start < self.window.end() + TimeDelta::days(1) && self.window.start() - LONGEST_HOLE < start
            }
            EventKind::Single | EventKind::Exception { .. } => {
                single_interval(event, zone).is_some_and(|interval| interval.overlaps(self.window))
            }
            EventKind::Master { .. } => {
                event.times.is_some_and(|(start, _)| instant(start) < self.window.end() + TimeDelta::days(1))
            }
        }
    }
}
