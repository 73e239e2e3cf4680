//! The stand-in over real HTTP, judged by what Google documents.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod calendars;
mod errors;
mod faults;
mod harness;
mod oauth;
mod push;
mod recurrence;
mod speed;
mod sync;
mod writes;
