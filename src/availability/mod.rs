//! Answers "is it free?" and "when can I come?" from busy time, opening hours and the rules of a service.
//!
//! Everything here is pure: the caller brings the intervals and the current instant. [`check`] is the one judge; a slot
//! that [`slots`] or [`alternatives`] offer is a start that [`check`] accepts.

mod agenda;
mod alternatives;
mod cap;
mod fair;
mod hours;
mod policy;
mod reason;
mod slots;
mod spoken;
mod timetable;
mod together;

#[cfg(test)]
mod reference;

pub use agenda::{Agenda, Rules, check};
pub use alternatives::{Alternative, Kind, alternatives};
pub use cap::{capped_days, day_of, whole_days};
pub use fair::{Rank, WeekLoad, week_of, weeks_of};
pub use hours::{DayHours, HoursError, WeeklyHours};
pub use policy::{Course, Facts, Freshness, Policy, Purpose, WhenStale, WhenUnknown, decide};
pub use reason::Reason;
pub use slots::{Slot, slots};
pub use spoken::{Language, UnknownLanguage, Voice, is_ambiguous, spoken};
pub use timetable::{DateOverride, Door, Timetable};
pub use together::{Besides, GROUPS_MAX, alternatives_together, combine, free_together, slots_together};
