//! Facts and rules with no I/O: instants and intervals, mirrored events, recurrence, bookings, reconciliation.
//!
//! Everything here is synchronous and total. Time and randomness come in through [`Clock`] and [`Chance`].

pub mod access;
pub mod booking;
pub mod brake;
pub mod clock;
pub mod conflict;
pub mod contact;
pub mod drift;
pub mod event;
pub mod event_id;
pub mod expand;
pub mod guests;
pub mod id;
pub mod interval;
pub mod names;
pub mod notice;
pub mod reconcile;
mod recurrence;
pub mod sabotage;
pub mod template;
pub mod tries;
pub mod zone;

pub use clock::{Chance, Clock, SharedChance, SharedClock};
pub use event::{Event, EventKind, EventStatus, EventTime};
pub use id::{AccountId, BookingId, BusinessId, CalendarId, ChannelId, Id, OverrideId, ResourceId, ServiceId};
pub use interval::Interval;
