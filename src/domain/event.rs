//! The mirrored Google event, reduced to what decides when somebody is busy.

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::sabotage::{Bug, sabotaged};

/// A start, end or original start as Google gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventTime {
    /// `date`: a whole day in the calendar's zone. As an end it is exclusive.
    Date(NaiveDate),
    /// `dateTime`: an instant, with the zone in which a series repeats.
    At {
        /// The instant, UTC.
        at: DateTime<Utc>,
        /// `timeZone`, when given and known; else the calendar's zone counts.
        zone: Option<Tz>,
    },
}

/// What an item of `events.list` with `singleEvents=false` is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// Happens once.
    Single,
    /// The first of a series and its rules.
    Master {
        /// `recurrence[]`: RRULE, RDATE, EXDATE and EXRULE lines of RFC 5545, without DTSTART and DTEND.
        recurrence: Vec<String>,
    },
    /// An instance of a series that was changed or cancelled.
    Exception {
        /// `recurringEventId`.
        master: String,
        /// `originalStartTime`: the start that the rules give, which this replaces.
        original: EventTime,
    },
}

/// Google's `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventStatus {
    /// The default.
    Confirmed,
    /// Blocks like a confirmed one, unless it is transparent.
    Tentative,
    /// Deleted; for an exception, a hole in its series.
    Cancelled,
}

/// One item of a calendar. Holds no title, no guest and no text: those are nobody's business when asking "is it free?".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Google's id, unique in its calendar.
    pub id: String,
    /// Single, master or exception.
    pub kind: EventKind,
    /// Confirmed, tentative or cancelled.
    pub status: EventStatus,
    /// Start and end. Only cancelled events may lack them.
    pub times: Option<(EventTime, EventTime)>,
    /// `transparency: transparent`: shown in the calendar, but free.
    pub transparent: bool,
    /// The owner of this calendar declined the invitation (`attendees[self].responseStatus`).
    pub declined: bool,
}

impl Event {
    /// Whether the time of this event is taken: not cancelled, not transparent, not declined. Tentative and unanswered
    /// events count, as in Google's own free/busy view.
    #[must_use]
    pub fn blocks(&self) -> bool {
        self.status != EventStatus::Cancelled
            && (!self.transparent || sabotaged(Bug::TransparentBusy))
            && (!self.declined || sabotaged(Bug::DeclinedBusy))
    }

    /// Whether when it happens depends on the calendar's zone: it is a matter of days, or repeats without a zone of its own.
    #[must_use]
    pub fn floats(&self) -> bool {
        let day = |time: &EventTime| matches!(time, EventTime::Date(_));
        let timed = self.times.iter().any(|(start, end)| {
            let zoneless = matches!(start, EventTime::At { zone: None, .. });
            day(start) || day(end) || zoneless && matches!(self.kind, EventKind::Master { .. })
        });
        timed || matches!(&self.kind, EventKind::Exception { original, .. } if day(original))
    }

    /// The id under which the busy slots of this event are kept: the master's for an exception, else its own. Slots of
    /// one series are replaced together.
    #[must_use]
    pub fn series_id(&self) -> &str {
        match &self.kind {
            EventKind::Exception { master, .. } => master,
            EventKind::Single | EventKind::Master { .. } => &self.id,
        }
    }
}
