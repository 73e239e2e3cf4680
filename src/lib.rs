//! slotd mirrors every business's Google Calendars into a local busy-slot table, answers "is it free?" from it,
//! takes bookings that can never collide, and writes them back to Google exactly once.
//!
//! `docs/architecture.md` tells the floors of this building; `tests/it/floors.rs` holds them.

pub mod app;
pub mod auth;
pub mod availability;
pub mod booking;
pub mod cli;
pub mod config;
pub mod crypto;
pub mod domain;
pub mod google;
pub mod http;
pub mod lifecycle;
pub mod notify;
pub mod outbox;
pub mod store;
pub mod sync;
pub mod telemetry;
