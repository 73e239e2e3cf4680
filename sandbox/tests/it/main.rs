//! The stand-in over real HTTP, judged by what Google documents.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod calendars;
mod channels;
mod disorder;
mod errors;
mod faults;
mod google_errors;
mod harness;
mod oauth;
mod push;
mod pushes;
mod recurrence;
mod speed;
mod sync;
mod tokens;
mod weather;
mod writes;
