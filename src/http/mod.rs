//! The HTTP API: how connections are accepted, requests are read, answered and refused.

pub mod accept;
pub mod extract;
pub mod problem;

mod api;
mod audits;
mod availability;
mod bookings;
mod calendar_body;
mod calendars;
mod cancellations;
mod conflicts;
mod customer;
mod deliveries;
mod endpoints;
mod events;
mod explain;
mod google;
mod holds;
mod router;
mod search;
mod setup;
mod status;
mod wire;

pub use api::Api;
pub use customer::load_phone_numbers;
pub use events::Streams;
pub use extract::{BodyLimit, Json, Path, Query, Rfc3339};
pub use problem::Problem;
pub use router::router;
